"""The verdict: lists against what happened. Every figure has its n and an interval, every comparison is paired by user."""

from recsys.evaluate.frames import MEASURES, Measured, measure, rank_by_score
from recsys.evaluate.health import list_health
from recsys.evaluate.intervals import Figure, Paired, compare, mean_figure, weighted_figure
from recsys.evaluate.pairs import Differences, PairedSlice, judge_pairs
from recsys.evaluate.prices import Price, price_lists
from recsys.evaluate.question import K, Question
from recsys.evaluate.retrieved import candidate_recall
from recsys.evaluate.significance import DECISIONS, Decision, decision, effect_seen, holm, permutation_p, users_needed
from recsys.evaluate.slices import Slice
from recsys.evaluate.verdict import METRICS, Verdict, judge, without_nan

__all__ = [
    "DECISIONS",
    "MEASURES",
    "METRICS",
    "Decision",
    "Differences",
    "Figure",
    "K",
    "Measured",
    "Paired",
    "PairedSlice",
    "Price",
    "Question",
    "Slice",
    "Verdict",
    "candidate_recall",
    "compare",
    "decision",
    "effect_seen",
    "holm",
    "judge",
    "judge_pairs",
    "list_health",
    "mean_figure",
    "measure",
    "permutation_p",
    "price_lists",
    "rank_by_score",
    "users_needed",
    "weighted_figure",
    "without_nan",
]
