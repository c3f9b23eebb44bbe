"""Metrics of ranked lists, and of yes or no: pure functions over arrays, one row a user, one column a place; the width is k.

Shapes, everywhere here (yes or no has its own):
    hits (n, k) bool           is the item at this place relevant; False where there is no item
    labels (n, k) int          its label; 0 where it is irrelevant or there is no item
    n_relevant (n,) int        relevant items of the user, in the list or not
    ideal (n, k) int           the user's k highest labels, falling; 0 beyond the last
    item_index (n, k) int      row of the item in the catalogue; -1 where there is no item
    worth (n, k) float         price of the item at this place; 0 where nobody knows it or there is no item
A list shorter than k is filled up with misses. A user without a relevant item gets NaN where the definition divides by what
is relevant, so that a mean over somebody who should have been left out, and counted, cannot pass unseen. docs/metrics.md says in
plain words what each of them says and when it misleads.
"""

from recsys.metrics.accuracy import (
    ap_trec,
    average_precision,
    hit_rate,
    ndcg,
    ndcg_exp,
    ndcg_graded,
    precision,
    recall,
    reciprocal_rank,
)
from recsys.metrics.arrays import Bools, Floats, Ints
from recsys.metrics.beyond import coverage, gini, intra_list_diversity, novelty, popularity, repeat_rate, serendipity
from recsys.metrics.classes import auc_by_group, best_threshold, classification, grouped_auc, roc_auc
from recsys.metrics.health import duplicates, is_missing, is_short, unavailable
from recsys.metrics.worth import revenue, revenue_ndcg, revenue_recall

__all__ = [
    "Bools",
    "Floats",
    "Ints",
    "ap_trec",
    "auc_by_group",
    "average_precision",
    "best_threshold",
    "classification",
    "coverage",
    "duplicates",
    "gini",
    "grouped_auc",
    "hit_rate",
    "intra_list_diversity",
    "is_missing",
    "is_short",
    "ndcg",
    "ndcg_exp",
    "ndcg_graded",
    "novelty",
    "popularity",
    "precision",
    "recall",
    "reciprocal_rank",
    "repeat_rate",
    "revenue",
    "revenue_ndcg",
    "revenue_recall",
    "roc_auc",
    "serendipity",
    "unavailable",
]
