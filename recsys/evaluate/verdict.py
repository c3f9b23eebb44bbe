"""One task, one window, many systems: their figures, the paired differences of one against each other, the slices."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from recsys import metrics
from recsys.errors import TableError
from recsys.evaluate.health import list_health
from recsys.evaluate.intervals import Figure, Paired, PerUser, compare, coverage_figure, gini_figure
from recsys.evaluate.question import K, Lists, Question
from recsys.evaluate.slices import Slice, judge_slices
from recsys.metrics import Bools, Floats

PAIRED = ("ndcg@10", "recall@10", "map@10", "mrr@10")
METRICS = (
    *(*PAIRED, "precision@10", "hit_rate@10", "ndcg_graded@10", "revenue_ndcg@10"),
    *("novelty@10", "popularity@10", "serendipity@10", "repeat_rate@10", "ild@10", "coverage@10", "gini@10"),
)


@dataclass(frozen=True)
class Verdict:
    """What `judge` found.

    systems            system -> metric -> Figure, every metric of METRICS
    paired             `a` against each other system, every metric of PAIRED
    slices             cold ones first; a system's parts in the values of one slice add up to its ndcg@10
    n_without_truth    users left out of every figure because nothing was relevant for them
    health             of the lists of `a`, as `list_health` counts it, over all who asked
    per_user           system, user_id (String), ndcg@10, recall@10, map@10, mrr@10 (Float64), sorted by system and user_id
    """

    systems: dict[str, dict[str, Figure]]
    paired: list[Paired]
    slices: list[Slice]
    n_without_truth: int
    health: dict[str, dict[str, float | int]]
    per_user: pl.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """All but `per_user`, ready for JSON: None where a figure is undefined, never NaN."""
        systems = {system: {metric: asdict(figure) for metric, figure in by.items()} for system, by in self.systems.items()}
        whole = {
            "systems": systems,
            "paired": [asdict(pair) for pair in self.paired],
            "slices": [asdict(part) for part in self.slices],
            "n_without_truth": self.n_without_truth,
            "health": self.health,
        }
        plain: dict[str, Any] = without_nan(whole)
        return plain


def judge(lists: dict[str, pl.DataFrame], question: Question, a: str, bootstrap: int, seed: int) -> Verdict:
    """Judge every system's lists, and system `a` against each other one.

    lists: system -> user_id, item_id (String), rank (Int32 from 1); at most 10 rows a user, in any order. A user with something
    relevant and no list scores 0; a relevant item that was never retrieved stays in the denominator. Novelty, popularity, diversity,
    repeats, coverage and Gini are of the lists of users with something relevant, and their n counts the lists for which they are
    defined. What the question does not know (prices, vectors, what was seen) leaves its metric undefined, n 0. Raises TableError for
    lists or a truth that cannot be judged.
    """
    if a not in lists:
        raise TableError(f"lists: there is no system {a!r}, only {', '.join(lists) or 'none'}. Name one of them.")
    dense = {system: question.lists(frame, system) for system, frame in lists.items()}
    per_user = {system: _accuracy(places, question) | _beyond(places, question) for system, places in dense.items()}
    figures, paired = compare(per_user, a, PAIRED, bootstrap, seed)
    systems = {system: by | _of_all_lists(dense[system], question.catalogue.height) for system, by in figures.items()}
    slices = judge_slices(dense, question, [(a, b) for b in lists if b != a], bootstrap, seed)
    health = list_health(lists[a], question.users, K, question.catalogue["item_id"])
    return Verdict(systems, paired, slices, question.n_without_truth, health, _table(per_user, question))


def _accuracy(lists: Lists, question: Question) -> dict[str, Floats]:
    hits, n_relevant = lists.label >= question.relevant_from, question.n_relevant
    return {
        "ndcg@10": metrics.ndcg(hits, n_relevant),
        "recall@10": metrics.recall(hits, n_relevant),
        "map@10": metrics.average_precision(hits, n_relevant),
        "mrr@10": metrics.reciprocal_rank(hits),
        "precision@10": metrics.precision(hits),
        "hit_rate@10": metrics.hit_rate(hits),
        "ndcg_graded@10": metrics.ndcg_graded(lists.label, question.ideal, question.gains),
        "revenue_ndcg@10": _revenue_ndcg(hits, lists, question),
    }


def _revenue_ndcg(hits: Bools, lists: Lists, question: Question) -> Floats:
    worth = question.worth
    if worth is None:
        return np.full(len(hits), np.nan)
    return metrics.revenue_ndcg(hits, worth[lists.item_index], question.ideal_worth(worth))


def _beyond(lists: Lists, question: Question) -> dict[str, Floats]:
    hits, n_users_of = lists.label >= question.relevant_from, question.catalogue["n_users"].to_numpy()
    unknown = np.full(len(hits), np.nan)
    return {
        "novelty@10": metrics.novelty(lists.item_index, n_users_of, question.n_all_users),
        "popularity@10": metrics.popularity(lists.item_index, n_users_of),
        "serendipity@10": metrics.serendipity(hits, lists.item_index, question.is_expected),
        "repeat_rate@10": unknown if question.seen is None else metrics.repeat_rate(lists.is_seen, lists.item_index),
        "ild@10": unknown if question.vectors is None else metrics.intra_list_diversity(lists.item_index, question.vectors),
    }


def _of_all_lists(lists: Lists, n_items: int) -> dict[str, Figure]:
    places = lists.item_index
    return {
        "coverage@10": coverage_figure(metrics.coverage(places, n_items), places, n_items),
        "gini@10": gini_figure(metrics.gini(places, n_items), places, n_items),
    }


def _table(per_user: PerUser, question: Question) -> pl.DataFrame:
    parts = [
        pl.DataFrame({"user_id": question.judged, **by}).select(pl.lit(name).alias("system"), "user_id", *PAIRED)
        for name, by in per_user.items()
    ]
    return pl.concat(parts).sort("system", "user_id")


def without_nan(value: Any) -> Any:
    """A nest of dicts and lists with None for every NaN: JSON has no other word for what is undefined."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
