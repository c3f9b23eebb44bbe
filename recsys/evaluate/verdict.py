"""One task, one window, many systems: their figures, the paired differences of one against each other, the slices."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from recsys import metrics
from recsys.errors import TableError
from recsys.evaluate.intervals import Figure, Paired, PerUser, compare, coverage_figure, mean_figure
from recsys.evaluate.question import Lists, Question
from recsys.evaluate.slices import Slice, judge_slices
from recsys.metrics import Floats

PER_USER = ("ndcg@10", "recall@10", "map@10", "mrr@10")
METRICS = (*PER_USER, "coverage@10", "novelty@10")


@dataclass(frozen=True)
class Verdict:
    """What `judge` found.

    systems            system -> metric -> Figure, every metric of METRICS
    paired             `a` against each other system, every metric that is a mean over users
    slices             cold ones first; a system's parts in the values of one slice add up to its ndcg@10
    n_without_truth    users left out of every figure because nothing was relevant for them
    per_user           system, user_id (String), ndcg@10, recall@10, map@10, mrr@10 (Float64), sorted by system and user_id
    """

    systems: dict[str, dict[str, Figure]]
    paired: list[Paired]
    slices: list[Slice]
    n_without_truth: int
    per_user: pl.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """All but `per_user`, ready for JSON: None where a figure is undefined, never NaN."""
        systems = {system: {metric: asdict(figure) for metric, figure in by.items()} for system, by in self.systems.items()}
        whole = {
            "systems": systems,
            "paired": [asdict(pair) for pair in self.paired],
            "slices": [asdict(part) for part in self.slices],
            "n_without_truth": self.n_without_truth,
        }
        plain: dict[str, Any] = without_nan(whole)
        return plain


def judge(lists: dict[str, pl.DataFrame], question: Question, a: str, bootstrap: int, seed: int) -> Verdict:
    """Judge every system's lists, and system `a` against each other one.

    lists: system -> user_id, item_id (String), rank (Int32 from 1); at most 10 rows a user, in any order. A user with something
    relevant and no list scores 0; a relevant item that was never retrieved stays in the denominator. Coverage and novelty are of
    the lists of users with something relevant, their n counts those lists. Raises TableError for lists or a truth that cannot be judged.
    """
    if a not in lists:
        raise TableError(f"lists: there is no system {a!r}, only {', '.join(lists) or 'none'}. Name one of them.")
    dense = {system: question.lists(frame, system) for system, frame in lists.items()}
    per_user = {system: _per_user(places, question) for system, places in dense.items()}
    figures, paired = compare(per_user, a, PER_USER, bootstrap, seed)
    systems = {system: by | _of_lists(dense[system], question, bootstrap, seed) for system, by in figures.items()}
    slices = judge_slices(dense, question, [(a, b) for b in lists if b != a], bootstrap, seed)
    return Verdict(systems, paired, slices, question.n_without_truth, _table(per_user, question))


def _per_user(lists: Lists, question: Question) -> dict[str, Floats]:
    hits, n_relevant = lists.label >= question.relevant_from, question.n_relevant
    return {
        "ndcg@10": metrics.ndcg(hits, n_relevant),
        "recall@10": metrics.recall(hits, n_relevant),
        "map@10": metrics.average_precision(hits, n_relevant),
        "mrr@10": metrics.reciprocal_rank(hits),
    }


def _of_lists(lists: Lists, question: Question, bootstrap: int, seed: int) -> dict[str, Figure]:
    n_items = question.catalogue.height
    covered = metrics.coverage(lists.item_index, n_items)
    novelty = metrics.novelty(lists.item_index, question.catalogue["n_users"].to_numpy(), question.n_all_users)
    return {
        "coverage@10": coverage_figure(covered, lists.item_index, n_items),
        "novelty@10": mean_figure(novelty[(lists.item_index >= 0).any(axis=1)], bootstrap, seed),
    }


def _table(per_user: PerUser, question: Question) -> pl.DataFrame:
    parts = [
        pl.DataFrame({"user_id": question.judged, **by}).select(pl.lit(name).alias("system"), pl.all()) for name, by in per_user.items()
    ]
    return pl.concat(parts).sort("system", "user_id")


def without_nan(value: Any) -> Any:
    """A nest of dicts and lists with None for every NaN: JSON has no other word for what is undefined."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
