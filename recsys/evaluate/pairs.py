"""Chosen pairs of systems, paired by user: overall, and in every slice."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from recsys import metrics
from recsys.evaluate.intervals import Figure, Paired, mean_figure, paired_figures
from recsys.evaluate.question import Question
from recsys.evaluate.slices import Slice, judge_slices
from recsys.evaluate.verdict import without_nan

METRIC = "ndcg@10"

Pair = tuple[str, str]


@dataclass(frozen=True)
class Differences:
    """What `judge_pairs` found, all of it in ndcg@10: each system's figure, each pair's difference, and the differences by slice."""

    systems: dict[str, Figure]
    paired: list[Paired]
    slices: list[Slice]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: None where a figure is undefined, never NaN."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


def judge_pairs(lists: Mapping[str, pl.DataFrame], question: Question, pairs: Sequence[Pair], bootstrap: int, seed: int) -> Differences:
    """Judge each system's lists (as `judge` takes them) and, for each pair (a, b), a against b; slices as in `judge`."""
    dense = {system: question.lists(frame, system) for system, frame in lists.items()}
    hits = {system: places.label >= question.relevant_from for system, places in dense.items()}
    per_user = {system: {METRIC: metrics.ndcg(hit, question.n_relevant)} for system, hit in hits.items()}
    return Differences(
        {system: mean_figure(by[METRIC], bootstrap, seed) for system, by in per_user.items()},
        paired_figures(per_user, pairs, METRIC, bootstrap, seed),
        judge_slices(dense, question, pairs, bootstrap, seed),
    )
