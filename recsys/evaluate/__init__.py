"""The verdict: lists against what happened. Every figure has its n and an interval, every comparison is paired by user."""

from recsys.evaluate.anchors import ANCHORS, ORACLE, RANDOM, Anchors, anchors_of, random_scores
from recsys.evaluate.cutoffs import Across, Against, Over, Spread, across, spread
from recsys.evaluate.examination import FEWEST_ACTS, Examination, Pages, fit_examination
from recsys.evaluate.frames import MEASURES, Measured, measure, rank_by_score
from recsys.evaluate.health import list_health
from recsys.evaluate.intervals import FEWEST_USERS, Figure, Paired, compare, mean_figure, weighted_figure
from recsys.evaluate.kept import KEPT_SCALES, KEPT_TABLES, question_of, question_scales, question_tables
from recsys.evaluate.matched import EFFECTS, PERMUTATIONS, Matched, Reach, match_metrics, match_slices, reach
from recsys.evaluate.mix import Change, Part, PartChange, Trap, mean_change, trap_of, traps_of
from recsys.evaluate.offpolicy import Estimate, Offer, estimates, offer_of_lists, offer_of_order
from recsys.evaluate.overlap import PERSISTENCE, overlap_by_user, rank_biased_overlap
from recsys.evaluate.pairs import Differences, judge_pairs
from recsys.evaluate.prices import Price, price_lists
from recsys.evaluate.question import K, Question
from recsys.evaluate.reliability import Bin, Reliability, Sliced, brier, ece, log_loss, reliability, sliced
from recsys.evaluate.retrieved import candidate_recall
from recsys.evaluate.significance import DECISIONS, Decision, decision, effect_seen, holm, permutation_p, users_needed
from recsys.evaluate.slices import Slice
from recsys.evaluate.values import as_slice, refuse_unsliceable
from recsys.evaluate.verdict import METRICS, Verdict, judge, without_nan

__all__ = [
    "ANCHORS",
    "DECISIONS",
    "EFFECTS",
    "FEWEST_ACTS",
    "FEWEST_USERS",
    "KEPT_SCALES",
    "KEPT_TABLES",
    "MEASURES",
    "METRICS",
    "ORACLE",
    "PERMUTATIONS",
    "PERSISTENCE",
    "RANDOM",
    "Across",
    "Against",
    "Anchors",
    "Bin",
    "Change",
    "Decision",
    "Differences",
    "Estimate",
    "Examination",
    "Figure",
    "K",
    "Matched",
    "Measured",
    "Offer",
    "Over",
    "Pages",
    "Paired",
    "Part",
    "PartChange",
    "Price",
    "Question",
    "Reach",
    "Reliability",
    "Slice",
    "Sliced",
    "Spread",
    "Trap",
    "Verdict",
    "across",
    "anchors_of",
    "as_slice",
    "brier",
    "candidate_recall",
    "compare",
    "decision",
    "ece",
    "effect_seen",
    "estimates",
    "fit_examination",
    "holm",
    "judge",
    "judge_pairs",
    "list_health",
    "log_loss",
    "match_metrics",
    "match_slices",
    "mean_change",
    "mean_figure",
    "measure",
    "offer_of_lists",
    "offer_of_order",
    "overlap_by_user",
    "permutation_p",
    "price_lists",
    "question_of",
    "question_scales",
    "question_tables",
    "random_scores",
    "rank_biased_overlap",
    "rank_by_score",
    "reach",
    "refuse_unsliceable",
    "reliability",
    "sliced",
    "spread",
    "trap_of",
    "traps_of",
    "users_needed",
    "weighted_figure",
    "without_nan",
]
