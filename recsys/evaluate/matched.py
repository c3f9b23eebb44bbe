"""Two systems on the same users: every paired difference with its p-value, corrected for as many as stand beside it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from recsys.evaluate.intervals import FEWEST_USERS, Paired, paired_figures
from recsys.evaluate.pairs import METRIC
from recsys.evaluate.question import Question
from recsys.evaluate.significance import Decision, decision, effect_seen, holm, permutation_p, users_needed
from recsys.evaluate.slices import parts_of
from recsys.metrics import Floats

PERMUTATIONS = 1999
"""Choices of signs: the least p-value is .0005."""

EFFECTS = (0.001, 0.005, 0.01)
"""Differences of which it is said how many users would show them."""

A, B = "a", "b"
Values = tuple[str, str, str, Floats, Floats]
"""Slice and value (both empty for everybody), metric, and it of each user (n,) by a and by b."""


@dataclass(frozen=True)
class Matched:
    """a minus b in one metric over the n users of one slice, or over all (slice and value empty).

    mean_a, mean_b: NaN over nobody. pair: the interval is NaN below two users, of whom no resample says anything.
    p, p_holm: as they are, and corrected by Holm for the others of the same table. word: by the interval.
    """

    slice: str
    value: str
    n: int
    mean_a: float
    mean_b: float
    pair: Paired
    p: float
    p_holm: float
    word: Decision


@dataclass(frozen=True)
class Reach:
    """What so many users can show. seen: the least mean difference (NaN below two users); needed: users by difference, None likewise."""

    n: int
    seen: float
    needed: dict[float, int | None]


def match_metrics(a: Mapping[str, Floats], b: Mapping[str, Floats], bootstrap: int, seed: int) -> list[Matched]:
    """Of each metric of a (name -> (n_users,)): a minus b; b has the same metrics of the same users in the same order."""
    return _matched((("", "", metric, values, b[metric]) for metric, values in a.items()), bootstrap, seed)


def match_slices(a: pl.DataFrame, b: pl.DataFrame, question: Question, bootstrap: int, seed: int) -> list[Matched]:
    """a minus b in ndcg@10 in each value of each slice, as `judge_slices` has them; a, b: lists as `judge` takes them.

    Raises TableError as `judge` does.
    """
    dense = {A: question.lists(a, A), B: question.lists(b, B)}
    parts = [(name, value, METRIC, by[A][METRIC], by[B][METRIC]) for name, value, by in parts_of(dense, question)]
    return _matched((part for part in parts if len(part[3])), bootstrap, seed)


def reach(differences: Floats) -> Reach:
    """What users who differ as these do, differences (n,), can show; their number for each of EFFECTS."""
    can_say = len(differences) >= 2
    return Reach(
        len(differences), effect_seen(differences), {effect: users_needed(differences, effect) if can_say else None for effect in EFFECTS}
    )


def _matched(parts: Iterable[Values], bootstrap: int, seed: int) -> list[Matched]:
    found = list(parts)
    p_values = [permutation_p(x - y, PERMUTATIONS, seed) for *_, x, y in found]
    return [_one(*part, p, corrected, bootstrap, seed) for part, p, corrected in zip(found, p_values, holm(p_values), strict=True)]


def _one(slice: str, value: str, metric: str, x: Floats, y: Floats, p: float, p_holm: float, bootstrap: int, seed: int) -> Matched:
    n = len(x)
    (pair,) = paired_figures({A: {metric: x}, B: {metric: y}}, [(A, B)], metric, bootstrap, seed)
    fewest = FEWEST_USERS if slice else 2  # as in the verdict, a slice of few has no interval
    pair = pair if n >= fewest else replace(pair, low=float("nan"), high=float("nan"))
    mean_a, mean_b = (float(np.mean(values)) if n else float("nan") for values in (x, y))
    return Matched(slice, value, n, mean_a, mean_b, pair, p, p_holm, decision(pair))
