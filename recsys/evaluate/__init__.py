"""The verdict: lists against what happened. Every figure has its n and an interval, every comparison is paired by user."""

from recsys.evaluate.anchors import ANCHORS, ORACLE, RANDOM, Anchors, anchors_of, random_scores
from recsys.evaluate.intervals import FEWEST_USERS, Figure, Paired, compare
from recsys.evaluate.mix import Change, Part, PartChange, Trap, mean_change, trap_of, traps_of
from recsys.evaluate.pairs import Differences, judge_pairs
from recsys.evaluate.prices import Price, price_lists
from recsys.evaluate.question import K, Question
from recsys.evaluate.retrieved import candidate_recall
from recsys.evaluate.significance import DECISIONS, Decision, decision, effect_seen, holm, permutation_p, users_needed
from recsys.evaluate.slices import Slice
from recsys.evaluate.values import as_slice, refuse_unsliceable
from recsys.evaluate.verdict import METRICS, Verdict, judge

__all__ = [
    "ANCHORS",
    "DECISIONS",
    "FEWEST_USERS",
    "METRICS",
    "ORACLE",
    "RANDOM",
    "Anchors",
    "Change",
    "Decision",
    "Differences",
    "Figure",
    "K",
    "Paired",
    "Part",
    "PartChange",
    "Price",
    "Question",
    "Slice",
    "Trap",
    "Verdict",
    "anchors_of",
    "as_slice",
    "candidate_recall",
    "compare",
    "decision",
    "effect_seen",
    "holm",
    "judge",
    "judge_pairs",
    "mean_change",
    "permutation_p",
    "price_lists",
    "random_scores",
    "refuse_unsliceable",
    "trap_of",
    "traps_of",
    "users_needed",
]
