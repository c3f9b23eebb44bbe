"""The verdict: lists against what happened. Every figure has its n and an interval, every comparison is paired by user."""

from recsys.evaluate.intervals import Figure, Paired, compare
from recsys.evaluate.pairs import Differences, PairedSlice, judge_pairs
from recsys.evaluate.prices import Price, price_lists
from recsys.evaluate.question import K, Question
from recsys.evaluate.reliability import Bin, Reliability, Sliced, brier, ece, log_loss, reliability, sliced
from recsys.evaluate.retrieved import candidate_recall
from recsys.evaluate.significance import DECISIONS, Decision, decision, effect_seen, holm, permutation_p, users_needed
from recsys.evaluate.slices import Slice
from recsys.evaluate.verdict import METRICS, Verdict, judge

__all__ = [
    "DECISIONS",
    "METRICS",
    "Bin",
    "Decision",
    "Differences",
    "Figure",
    "K",
    "Paired",
    "PairedSlice",
    "Price",
    "Question",
    "Reliability",
    "Slice",
    "Sliced",
    "Verdict",
    "brier",
    "candidate_recall",
    "compare",
    "decision",
    "ece",
    "effect_seen",
    "holm",
    "judge",
    "judge_pairs",
    "log_loss",
    "permutation_p",
    "price_lists",
    "reliability",
    "sliced",
    "users_needed",
]
