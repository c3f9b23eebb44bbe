"""Metrics of anybody's lists, straight from two tables: what was listed, and what was then wanted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from recsys import metrics
from recsys.errors import TableError, nearest
from recsys.evaluate.layout import LISTS, Index, Laid, Rows, checked_truth, falling, laid_out, refuse, rows_of, users_of
from recsys.metrics import Bools, Floats
from recsys.schema import Column, Table, check

GRADED = ("ndcg_graded", "ndcg_exp")
TOP_LABEL = 30
"""Highest label that graded metrics take, as LightGBM's own gains do: a label is a grade, no count."""

SCORES = (*LISTS[:2], Column("score", pl.Float64, "higher is better"))


@dataclass(frozen=True)
class Measured:
    """What `measure` found.

    per_user           user_id and `<metric>@<k>` (Float64), a row a user with something relevant, sorted by user_id
    means              `<metric>@<k>` -> mean over those users; NaN where there is nobody
    n                  those users; n_without_list of them got no list and score 0
    n_without_truth    users with a list and nothing relevant: in no figure
    """

    per_user: pl.DataFrame
    means: dict[str, float]
    n: int
    n_without_list: int
    n_without_truth: int


@dataclass(frozen=True)
class _Places:
    """Lists beside the truth, as arrays: a row a judged user; truth (rows,) of them, its `user` and its label."""

    laid: Laid
    user: Rows
    truth: pl.DataFrame
    relevant_from: int

    @cached_property
    def label(self) -> Index:
        return self.laid.labels(self.user, self.truth)

    @cached_property
    def hits(self) -> Bools:
        return self.label >= self.relevant_from

    @cached_property
    def n_relevant(self) -> metrics.Ints:
        is_relevant = (self.truth["label"] >= self.relevant_from).to_numpy()
        return np.bincount(self.user[is_relevant], minlength=len(self.label))

    @cached_property
    def ideal(self) -> Index:
        return falling(self.user, self.truth["label"].to_numpy(), len(self.label), self.laid.k)

    @property
    def gains(self) -> range:
        """A label is worth itself."""
        return range(max(1, int(self.ideal.max(initial=0))) + 1)


MEASURES: dict[str, Callable[[_Places], Floats]] = {
    "ndcg": lambda at: metrics.ndcg(at.hits, at.n_relevant),
    "ndcg_graded": lambda at: metrics.ndcg_graded(at.label, at.ideal, at.gains),
    "ndcg_exp": lambda at: metrics.ndcg_exp(at.label, at.ideal),
    "recall": lambda at: metrics.recall(at.hits, at.n_relevant),
    "precision": lambda at: metrics.precision(at.hits),
    "hit_rate": lambda at: metrics.hit_rate(at.hits),
    "map": lambda at: metrics.average_precision(at.hits, at.n_relevant),
    "ap_trec": lambda at: metrics.ap_trec(at.hits, at.n_relevant),
    "mrr": lambda at: metrics.reciprocal_rank(at.hits),
}


def measure(
    lists: pl.DataFrame, truth: pl.DataFrame, k: int, names: Sequence[str] = ("ndcg", "recall", "map", "mrr"), relevant_from: int = 1
) -> Measured:
    """The metrics `names` (of MEASURES) at the first k places of lists user_id, item_id, rank (integers from 1) against a truth.

    truth: user_id, item_id, label (integers from 1, each pair once); relevant is label >= relevant_from, and in `ndcg_graded` a label is
    worth itself. Lists may be longer than k, or shorter, in any order, and hold items that the truth does not. A user with something
    relevant and no list scores 0. For an interval of a mean: `mean_figure(found.per_user["ndcg@10"].to_numpy(), 1000, seed)`.
    Raises TableError: a metric is unknown, k is below 1, a column is missing or of another type, a rank or a label is below 1, a label
    is above TOP_LABEL where a metric is graded, a user has a rank or an item twice within the first k.
    """
    _refuse_unknown(k, names)
    lists, truth = _whole(lists, "lists", "rank"), checked_truth(_whole(truth, "truth", "label"))
    if set(names) & set(GRADED):
        refuse(truth, truth["label"] > TOP_LABEL, f"truth: {{n}} rows have a label above {TOP_LABEL}: no grade (first: {{row}})")
    check(lists, Table("lists", LISTS))
    beyond = lists["rank"] > k
    places = _laid_out(lists.filter(~beyond) if beyond.any() else lists, truth, k, relevant_from)
    users, laid = places.laid.users, places.laid
    found = {f"{name}@{k}": MEASURES[name](places) for name in names}
    return Measured(
        per_user=pl.DataFrame({"user_id": users, **found}),
        means={name: float(values.mean()) if len(values) else float("nan") for name, values in found.items()},
        n=len(users),
        n_without_list=laid.n_empty,
        n_without_truth=laid.n_beyond,
    )


def rank_by_score(scores: pl.DataFrame, k: int) -> pl.DataFrame:
    """user_id, item_id, rank (Int32): the k highest scores of each user, ties by item_id, sorted by user_id and rank.

    scores: user_id, item_id (String), score (Float64). Raises TableError: a column is missing or of another type, a score is NaN or
    infinite, a user has an item twice.
    """
    check(scores, Table("scores", SCORES))
    refuse(scores, ~scores["score"].is_finite(), "scores: {n} rows have a score that is NaN or infinite (first: {row})")
    refuse(scores, scores.select("user_id", "item_id").is_duplicated(), "scores: {n} rows repeat an item within a user (first: {row})")
    ordered = scores.sort("user_id", "score", "item_id", descending=[False, True, False])
    ranked = ordered.select("user_id", "item_id", rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("user_id"))
    return ranked.filter(pl.col("rank") <= k)


def _laid_out(lists: pl.DataFrame, truth: pl.DataFrame, k: int, relevant_from: int) -> _Places:
    is_relevant = truth["label"] >= relevant_from
    users = users_of(truth["user_id"] if is_relevant.all() else truth["user_id"].filter(is_relevant))
    user = rows_of(truth["user_id"], users)
    is_judged = user >= 0
    return _Places(laid_out(lists, users, k, "lists"), user[is_judged], truth.filter(pl.Series(is_judged)), relevant_from)


def _refuse_unknown(k: int, names: Sequence[str]) -> None:
    if k < 1:
        raise TableError(f"k is {k}: at least one place of a list has to be looked at.")
    for name in names:
        if name not in MEASURES:
            raise TableError(f"metrics: there is no {name!r}{nearest(name, tuple(MEASURES))}. The place is given by k, here {k}.")


def _whole(frame: pl.DataFrame, name: str, column: str) -> pl.DataFrame:
    """The frame with whole numbers of any width as Int32. Raises TableError where it is no polars frame."""
    if not isinstance(frame, pl.DataFrame):
        raise TableError(f"{name}: a {type(frame).__name__} is no polars DataFrame. Give polars.from_pandas(...) of it.")
    if column in frame.columns and frame.schema[column].is_integer() and frame.schema[column] != pl.Int32:
        return frame.with_columns(pl.col(column).cast(pl.Int32))
    return frame
