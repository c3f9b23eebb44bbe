"""Where a system is good: the same lists, judged by kind of user, by kind of item, and by what made an item relevant."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import metrics
from recsys.evaluate.intervals import FEWEST_USERS, Figure, Paired, PerUser, compare_parts
from recsys.evaluate.question import Lists, Question
from recsys.metrics import Floats

ShareOf = Literal["users", "relevant items"]

FIRST = ("item_age", "user_activity")
"""Told before all others: they hold what is cold, where a recommender is weakest and a mean says least."""

MAIN = "ndcg@10"


@dataclass(frozen=True)
class Slice:
    """One value of one slice, over its n users.

    systems     every system's ndcg@10 and recall@10; without an interval where the slice is small
    paired      the asked pairs in ndcg@10; likewise
    share       of the judged users, or of all relevant pairs (`share_of`), that are in this value; those of one slice add up to 1
    parts       system -> what this value brings to its ndcg@10 over all users; those of one slice add up to that
    is_small    fewer than FEWEST_USERS users: too few to say anything
    """

    slice: str
    value: str
    n: int
    systems: dict[str, dict[str, Figure]]
    paired: list[Paired]
    share: float
    share_of: ShareOf
    parts: dict[str, float]
    is_small: bool


@dataclass(frozen=True)
class Slicing:
    """A slice before it is judged: each relevant pair has one value of it.

    codes: a place in `values` of each user (n_users,), item of the catalogue (n_items,), or label from 0 up, as `by` says.
    """

    name: str
    values: list[str]
    by: Literal["user", "item", "label"]
    codes: NDArray[np.int64]
    question: Question

    @property
    def share_of(self) -> ShareOf:
        """What its shares are of."""
        return "users" if self.by == "user" else "relevant items"

    def of_places(self, lists: Lists) -> NDArray[np.int64]:
        """(n_users, K) or (n_users, 1): the value of what stands at each place of a list; any value where nothing does."""
        if self.by == "user":
            return self.codes[:, None]
        return self.codes[lists.item_index if self.by == "item" else lists.label]

    @cached_property
    def n_relevant(self) -> NDArray[np.int64]:
        """(n_values, n_users): relevant items of each value that each judged user has."""
        user, item, label = self.question.relevant_pairs
        code = self.codes[{"user": user, "item": item, "label": label}[self.by]]
        shape = (len(self.values), len(self.question.judged))
        return np.bincount(code * shape[1] + user, minlength=shape[0] * shape[1]).reshape(shape)

    @property
    def shares(self) -> Floats:
        """(n_values,): of the judged users, or of all relevant pairs."""
        counted = (self.n_relevant > 0 if self.by == "user" else self.n_relevant).sum(axis=1)
        shares: Floats = counted / max(counted.sum(), 1)
        return shares


def judge_slices(
    lists: Mapping[str, Lists], question: Question, pairs: Sequence[tuple[str, str]], bootstrap: int, seed: int
) -> list[Slice]:
    """Every value of every slice that has a user: slices by FIRST, then as the question has them; values in their order.

    A slice of users takes the users of that value. A slice of items, or of what made an item relevant, takes the users with something
    relevant of that value, and counts only that as relevant; the lists stay as they are, so other items still fill their places.
    """
    return [part for slicing in slicings(question) for part in _judged(slicing, lists, pairs, bootstrap, seed)]


def slicings(question: Question) -> list[Slicing]:
    """The slices that a question asks for: the columns of text of its catalogue and of its users, and event_type."""
    found = [_of_column(question, "item", question.item_slice(name)) for name in _named(question.catalogue, "item_id")]
    if any(question.made_by):
        found.append(Slicing("event_type", list(question.made_by), "label", np.arange(len(question.made_by)), question))
    found += [_of_column(question, "user", question.user_slice(name)) for name in _named(question.user_slices, "user_id")]
    return sorted(found, key=lambda slicing: FIRST.index(slicing.name) if slicing.name in FIRST else len(FIRST))


def _named(frame: pl.DataFrame, id_column: str) -> list[str]:
    """Numbers are for metrics; a slice of them comes here cut."""
    return [name for name, dtype in frame.schema.items() if name != id_column and (dtype == pl.String or isinstance(dtype, pl.Enum))]


def _of_column(question: Question, by: Literal["user", "item"], column: pl.Series) -> Slicing:
    values = column.unique().sort()
    codes = column.replace_strict(values, np.arange(len(values)), return_dtype=pl.Int64).to_numpy()
    return Slicing(column.name, values.cast(pl.String).to_list(), by, codes.astype(np.int64), question)  # nobody: of objects until here


def parts_of(lists: Mapping[str, Lists], question: Question) -> Iterator[tuple[str, str, PerUser]]:
    """Slice, value, and every system's figures of the users with something relevant of it: as `judge_slices` has them."""
    for slicing in slicings(question):
        for code, hits in zip(*_of_values(slicing, lists), strict=True):
            yield slicing.name, slicing.values[code], _figures(hits, slicing.n_relevant[code])[1]


def _of_values(slicing: Slicing, lists: Mapping[str, Lists]) -> tuple[list[int], list[dict[str, metrics.Bools]]]:
    """The values that somebody has something relevant of, and for each of them the hits of every system on what is of it."""
    hits = {system: (made.label >= slicing.question.relevant_from, slicing.of_places(made)) for system, made in lists.items()}
    counted = [code for code, of_value in enumerate(slicing.n_relevant) if of_value.any()]
    return counted, [{system: hit & (place == code) for system, (hit, place) in hits.items()} for code in counted]


def _judged(slicing: Slicing, lists: Mapping[str, Lists], pairs: Sequence[tuple[str, str]], bootstrap: int, seed: int) -> list[Slice]:
    question, shares = slicing.question, slicing.shares
    counted, of_values = _of_values(slicing, lists)
    figures = [_figures(of_value, slicing.n_relevant[code]) for code, of_value in zip(counted, of_values, strict=True)]
    parts = [{name: float(metrics.ndcg(hit, question.n_relevant).mean()) for name, hit in of_value.items()} for of_value in of_values]
    told = compare_parts(figures, len(question.judged), pairs, MAIN, bootstrap, seed)
    return [
        Slice(slicing.name, slicing.values[code], n, systems, paired, float(shares[code]), slicing.share_of, part, n < FEWEST_USERS)
        for code, (systems, paired), part, n in zip(counted, told, parts, (len(rows) for rows, _ in figures), strict=True)
    ]


def _figures(hits: Mapping[str, metrics.Bools], n_relevant: metrics.Ints) -> tuple[metrics.Ints, PerUser]:
    """The users with something relevant, and every system's figures of them."""
    rows = np.flatnonzero(n_relevant)
    of_users = {system: (hit[rows], n_relevant[rows]) for system, hit in hits.items()}
    return rows, {system: {MAIN: metrics.ndcg(*found), "recall@10": metrics.recall(*found)} for system, found in of_users.items()}
