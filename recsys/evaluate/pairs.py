"""Chosen pairs of systems, paired by user: overall, by kind of item, by kind of user and by category."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from recsys import metrics
from recsys.evaluate.intervals import Figure, Paired, PerUser, mean_figure, paired_figures
from recsys.evaluate.question import Lists, Question
from recsys.evaluate.slices import by_item, by_user
from recsys.evaluate.verdict import without_nan

METRIC = "ndcg@10"
USER_SLICES = ("user_activity",)
ITEM_SLICES = ("item_age", "item_popularity")
CATEGORY = "item_category"
CATEGORIES = 10
CATEGORY_USERS = 100
"""Users with something relevant in a category, below which it gets no row: its interval would say nothing."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class PairedSlice:
    """The pairs within one value of one slice, over its n users."""

    slice: str
    value: str
    n: int
    paired: list[Paired]


@dataclass(frozen=True)
class Differences:
    """What `judge_pairs` found, all of it in ndcg@10: each system's figure, each pair's difference, and the differences by slice."""

    systems: dict[str, Figure]
    paired: list[Paired]
    slices: list[PairedSlice]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: None where a figure is undefined, never NaN."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


def judge_pairs(lists: Mapping[str, pl.DataFrame], question: Question, pairs: Sequence[Pair], bootstrap: int, seed: int) -> Differences:
    """Judge each system's lists (as `judge` takes them) and, for each pair (a, b), a against b.

    Slices as in `judge`; of the categories (`item_category` of the question's catalogue) the CATEGORIES with the most users.
    """
    dense = {system: question.lists(frame, system) for system, frame in lists.items()}
    hits = {system: places.label >= question.relevant_from for system, places in dense.items()}
    per_user = {system: {METRIC: metrics.ndcg(hit, question.n_relevant)} for system, hit in hits.items()}
    return Differences(
        {system: mean_figure(by[METRIC], bootstrap, seed) for system, by in per_user.items()},
        paired_figures(per_user, pairs, METRIC, bootstrap, seed),
        [
            PairedSlice(name, value, _n(of_slice), paired_figures(of_slice, pairs, METRIC, bootstrap, seed))
            for name, value, of_slice in parts_of(per_user, dense, question)
            if _n(of_slice)
        ],
    )


def parts_of(per_user: PerUser, dense: Mapping[str, Lists], question: Question) -> list[tuple[str, str, PerUser]]:
    """Name, value and ndcg@10 by system of every slice: of items, of users, and the CATEGORIES with the most users."""
    sliced = [*by_item(dense, question, ITEM_SLICES), *by_user(per_user, question, USER_SLICES, (METRIC,))]
    categories = [part for part in by_item(dense, question, (CATEGORY,)) if _n(part[2]) >= CATEGORY_USERS]
    return sliced + sorted(categories, key=lambda part: (-_n(part[2]), part[1]))[:CATEGORIES]


def _n(per_user: PerUser) -> int:
    return len(next(iter(per_user.values()))[METRIC])
