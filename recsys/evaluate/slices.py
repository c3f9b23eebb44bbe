"""Where a system is good: the same lists, judged by kind of user and by kind of item."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from recsys import metrics
from recsys.evaluate.intervals import Figure, Paired, PerUser, compare
from recsys.evaluate.question import Lists, Question
from recsys.metrics import Floats

USER_SLICES = ("user_activity",)
ITEM_SLICES = ("item_age", "item_popularity")
SLICE_METRICS = ("ndcg@10", "recall@10")
PAIRED_METRICS = ("ndcg@10",)


@dataclass(frozen=True)
class Slice:
    """One value of one slice: every system's figures over its n users, and `a` against each other system in ndcg@10."""

    slice: str
    value: str
    n: int
    systems: dict[str, dict[str, Figure]]
    paired: list[Paired]


def judge_slices(per_user: PerUser, lists: Mapping[str, Lists], question: Question, a: str, bootstrap: int, seed: int) -> list[Slice]:
    """Every value of every slice that has a user, by name of slice, then value.

    A slice of users takes the users of that value. A slice of items takes the users with something relevant among those items,
    and counts only those items as relevant; the lists stay as they are, so other items still fill their places.
    """
    found = []
    for name, value, values in [*by_user(per_user, question, USER_SLICES, SLICE_METRICS), *by_item(lists, question, ITEM_SLICES)]:
        figures, paired = compare(values, a, PAIRED_METRICS, bootstrap, seed)
        found.append(Slice(name, value, figures[a]["ndcg@10"].n, figures, paired))
    return sorted((part for part in found if part.n), key=lambda part: (part.slice, part.value))


def by_user(
    per_user: PerUser, question: Question, names: tuple[str, ...], of_metrics: tuple[str, ...]
) -> Iterator[tuple[str, str, PerUser]]:
    """Name, value and figures of the users of each value of the named slices of users."""
    for name in names:
        of_user = question.user_slice(name)
        for value in of_user.unique().sort():
            chosen = (of_user == value).to_numpy()
            yield name, value, {system: {m: by[m][chosen] for m in of_metrics} for system, by in per_user.items()}


def by_item(lists: Mapping[str, Lists], question: Question, names: tuple[str, ...]) -> Iterator[tuple[str, str, PerUser]]:
    """Name, value and figures of the users with something relevant in each value of the named slices of items."""
    for name in names:
        of_item = question.item_slice(name)
        for value in of_item.unique().sort():
            is_counted = (of_item == value).to_numpy()
            n_relevant = question.relevant_where(is_counted)
            yield name, value, {system: _restricted(places, question, is_counted, n_relevant) for system, places in lists.items()}


def _restricted(lists: Lists, question: Question, is_counted: metrics.Bools, n_relevant: metrics.Ints) -> dict[str, Floats]:
    hits = (lists.label >= question.relevant_from) & is_counted[lists.item_index]
    chosen = np.flatnonzero(n_relevant)
    hits, n_relevant = hits[chosen], n_relevant[chosen]
    return {"ndcg@10": metrics.ndcg(hits, n_relevant), "recall@10": metrics.recall(hits, n_relevant)}
