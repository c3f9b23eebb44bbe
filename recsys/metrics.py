"""Metrics of ranked lists, and of yes or no: pure functions over arrays, one row a user, one column a place; the width is k.

Shapes, everywhere below (yes or no, at the end, has its own):
    hits (n, k) bool           is the item at this place relevant; False where there is no item
    labels (n, k) int          its label; 0 where it is irrelevant or there is no item
    n_relevant (n,) int        relevant items of the user, in the list or not
    ideal (n, k) int           the user's k highest labels, falling; 0 beyond the last
    item_index (n, k) int      row of the item in the catalogue; -1 where there is no item
A list shorter than k is filled up with misses. A user without a relevant item gets NaN where the definition divides by what
is relevant, so that a mean over somebody who should have been left out, and counted, cannot pass unseen.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.integer[Any]]


def ndcg(hits: Bools, n_relevant: Ints) -> Floats:
    """(n,) binary nDCG@k: sum of 1 / log2(rank + 1) over the hits, by the same sum over ranks 1 .. min(k, n_relevant).

    Zero case: no hit 0; no relevant item NaN.
    Example, k = 3: hits at ranks 1 and 3, five relevant: (1 + 0.5) / (1 + 0.6309 + 0.5) = 0.7039.
    Source: Järvelin and Kekäläinen 2002, with the discount of Burges et al. 2005, as in trec_eval's ndcg_cut.
    """
    k = hits.shape[1]
    ideal = np.concatenate([[0.0], np.cumsum(_discounts(k))])
    return _ratio(_dcg(hits.astype(np.float64)), ideal[np.minimum(n_relevant, k)])


def ndcg_graded(labels: Ints, ideal: Ints, gains: Sequence[float]) -> Floats:
    """(n,) nDCG@k where an item of label l is worth gains[l]; gains never fall, and label 0 is always worth nothing.

    Zero case: an ideal list worth nothing: NaN.
    Example, k = 2, gains (0, 1, 2, 3): labels 1, 3 where 3, 1 is ideal: (1 + 3 * 0.6309) / (3 + 1 * 0.6309) = 0.7967.
    Source: Järvelin and Kekäläinen 2002; with linear gains, scikit-learn's ndcg_score.
    """
    return _ratio(_dcg(_worth(labels, gains)), _dcg(_worth(ideal, gains)))


def ndcg_exp(labels: Ints, ideal: Ints) -> Floats:
    """(n,) nDCG@k where an item of label l is worth 2^l - 1.

    Zero case: nothing relevant: NaN (LightGBM's own figure says 1 there).
    Example, k = 2: labels 1, 3 where 3, 1 is ideal: (1 + 7 * 0.6309) / (7 + 1 * 0.6309) = 0.7098.
    Source: Burges et al. 2005.
    """
    return _ratio(_dcg(_exponential(labels)), _dcg(_exponential(ideal)))


def recall(hits: Bools, n_relevant: Ints) -> Floats:
    """(n,) recall@k: hits / n_relevant.

    Zero case: no hit 0; no relevant item NaN. More relevant items than places: it cannot reach 1.
    Example, k = 3: 2 hits, 5 relevant: 0.4. Source: trec_eval's recall.
    """
    return _ratio(hits.sum(axis=1, dtype=np.float64), n_relevant)


def precision(hits: Bools) -> Floats:
    """(n,) precision@k: hits / k, also where the list is shorter than k.

    Zero case: no hit 0. Example, k = 3: 2 hits: 0.6667. Source: trec_eval's P.
    """
    return np.asarray(hits.mean(axis=1, dtype=np.float64))


def hit_rate(hits: Bools) -> Floats:
    """(n,) hit_rate@k: 1 if any place is a hit, else 0.

    Zero case: no hit 0. Example, k = 3: a hit at rank 3: 1. Source: trec_eval's success.
    """
    return np.asarray(hits.any(axis=1), dtype=np.float64)


def average_precision(hits: Bools, n_relevant: Ints) -> Floats:
    """(n,) what map@k is the mean of: sum of the precision at each hit's rank / min(k, n_relevant).

    Zero case: no hit 0; no relevant item NaN.
    Example, k = 3: hits at ranks 1 and 3, five relevant: (1/1 + 2/3) / 3 = 0.5556.
    Source: the usual map@k of recommender challenges (Million Song Dataset Challenge 2012): a perfect list of k scores 1.
    """
    return _ratio(_precision_sum(hits), np.minimum(n_relevant, hits.shape[1]))


def ap_trec(hits: Bools, n_relevant: Ints) -> Floats:
    """(n,) average precision as trec_eval cuts it: sum of the precision at each hit's rank / n_relevant.

    Zero case: no hit 0; no relevant item NaN.
    Example, k = 3: hits at ranks 1 and 3, five relevant: (1/1 + 2/3) / 5 = 0.3333. Source: trec_eval's map_cut.
    """
    return _ratio(_precision_sum(hits), n_relevant)


def reciprocal_rank(hits: Bools) -> Floats:
    """(n,) what mrr@k is the mean of: 1 / rank of the first hit.

    Zero case: no hit within k: 0. Example: hits at ranks 2 and 3: 0.5. Source: Voorhees 1999; trec_eval's recip_rank, cut at k.
    """
    return np.where(hits.any(axis=1), 1.0 / (1 + hits.argmax(axis=1)), 0.0)


def coverage(item_index: Ints, n_items: int) -> float:
    """Share of a catalogue of `n_items` that stands in at least one of the lists: one number for all of them.

    Zero case: no list 0; an empty catalogue NaN.
    Example: the lists (i0, i1) and (i1, i2) over 4 items: 3 / 4.
    Source: catalog coverage of Ge, Delgado-Battenfeld and Jannach 2010.
    """
    return len(np.unique(item_index[item_index >= 0])) / n_items if n_items else float("nan")


def novelty(item_index: Ints, n_users_of: Ints, n_users: int) -> Floats:
    """(n,) novelty@k (MIUF): mean over a list's items of -log2(users who had the item / `n_users`), in bits.

    n_users_of (n_items,): users who had the item; a cold item counts as 1 user.
    Zero case: an empty list has no novelty: NaN. Items that everybody had: 0.
    Example, 8 users: items had by 8 and by 2: (0 + 2) / 2 = 1; a cold item alone: 3.
    Source: mean self-information of Zhou et al. 2010; MIUF of RecTools.
    """
    rarity = np.log2(max(n_users, 1)) - np.log2(np.maximum(n_users_of, 1))
    is_item = item_index >= 0
    bits = np.zeros(item_index.shape)
    bits[is_item] = rarity[item_index[is_item]]
    return _ratio(bits.sum(axis=1), is_item.sum(axis=1))


def classification(is_positive: Bools, score: Floats, threshold: float) -> dict[str, float | int]:
    """How well `score >= threshold` says who is positive: for both classes precision, recall, f1 and support; accuracy and roc_auc.

    is_positive, score (n,), no score NaN. Keys: `positive_precision`, `positive_recall`, `positive_f1`, `positive_support`, the same
    with `negative_`, `accuracy`, `roc_auc`. precision = hits / predicted so, recall = hits / support, f1 = 2 hits / (both together).
    Zero cases: nothing predicted so: precision NaN; nothing of the class: recall NaN; neither: f1 NaN; no row: all NaN, supports 0.
    Example: positive T T F F F at scores .9 .2 .8 .1 .3, threshold .5: positive 1/2, 1/2, 1/2 of 2, negative 2/3, 2/3, 2/3 of 3,
    accuracy 3/5, roc_auc 4/6. Source: van Rijsbergen 1979; scikit-learn's classification_report with zero_division NaN.
    """
    is_predicted = score >= threshold
    sides = [_one_class(is_positive, is_predicted, "positive"), _one_class(~is_positive, ~is_predicted, "negative")]
    accuracy = _share(int((is_positive == is_predicted).sum()), len(is_positive))
    return {**sides[0], **sides[1], "accuracy": accuracy, "roc_auc": roc_auc(is_positive, score)}


def _one_class(is_member: Bools, is_predicted: Bools, name: str) -> dict[str, float | int]:
    hits, support, predicted = int((is_member & is_predicted).sum()), int(is_member.sum()), int(is_predicted.sum())
    precision, recalled, f1 = _share(hits, predicted), _share(hits, support), _share(2 * hits, support + predicted)
    return {f"{name}_precision": precision, f"{name}_recall": recalled, f"{name}_f1": f1, f"{name}_support": support}


def roc_auc(is_positive: Bools, score: Floats) -> float:
    """Chance that a positive scores above a negative, a tie counting half: the area under the ROC curve.

    is_positive, score (n,). Zero case: one class is empty: NaN. Example: positives at .9 and .2, negatives at .8, .1, .3: 4 of 6 pairs.
    Source: the Mann-Whitney statistic with mean ranks (Hanley and McNeil 1982); scikit-learn's roc_auc_score.
    """
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2
    n_positive = int(is_positive.sum())
    above = mean_rank[place[is_positive]].sum() - n_positive * (n_positive + 1) / 2
    return _share(float(above), n_positive * (len(score) - n_positive))


def grouped_auc(is_positive: Bools, score: Floats, group: Ints) -> Floats:
    """The roc_auc within each group, in order of the group's number: (n_groups,) float64, NaN for a group of one class.

    is_positive, score, group (n,), in any order, no score NaN; its mean over groups is the GAUC of Zhu et al. 2017, unweighted.
    Example: groups 7 7 7 9 9, positive T F F F T, scores .3 .1 .3 .8 .2: 1.5 of 2 pairs and 0 of 1: .75 and 0.
    """
    order = np.lexsort((score, group))
    score, group, is_positive = score[order], group[order], is_positive[order]
    is_first = np.r_[True, np.diff(group) != 0][: len(group)]
    place = np.cumsum(is_first) - 1
    is_tie_first = is_first | np.r_[True, score[1:] != score[:-1]][: len(score)]  # infinite ones tie, and have no difference
    start = np.flatnonzero(is_tie_first)
    mean_rank = (start + np.r_[start[1:], len(score)] + 1)[np.cumsum(is_tie_first) - 1] / 2 - np.flatnonzero(is_first)[place]
    n = np.bincount(place)
    n_positive = np.bincount(place, is_positive, minlength=len(n))
    above = np.bincount(place, mean_rank * is_positive, minlength=len(n)) - n_positive * (n_positive + 1) / 2
    return _ratio(above, n_positive * (n - n_positive))


def best_threshold(is_positive: Bools, score: Floats) -> float:
    """The score at or above which to call a row positive for the highest f1; the highest such score where several are equal.

    is_positive, score (n,). Choose it on rows that are not judged. Zero case: no positive: inf, nothing is called so.
    Example: positives at .9 and .2, negatives at .8, .1, .3: f1 is 2/3 at .9, 2/4, 2/5, 4/6 at .2, 4/7: .9.
    """
    if not is_positive.any():
        return float("inf")
    level, place = np.unique(-score, return_inverse=True)
    hits = np.cumsum(np.bincount(place, is_positive))
    f1 = 2 * hits / (is_positive.sum() + np.cumsum(np.bincount(place)))
    return float(-level[f1.argmax()])


def _share(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")


def _discounts(k: int) -> Floats:
    return 1.0 / np.log2(np.arange(2, k + 2))


def _dcg(worth: Floats) -> Floats:
    return _sum_in_order(worth * _discounts(worth.shape[1]))


def _worth(labels: Ints, gains: Sequence[float]) -> Floats:
    worth: Floats = np.asarray(gains, dtype=np.float64)[labels]
    return np.where(labels > 0, worth, 0.0)


def _exponential(labels: Ints) -> Floats:
    worth: Floats = np.exp2(labels.astype(np.float64)) - 1.0
    return worth


def _precision_sum(hits: Bools) -> Floats:
    precision_at = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return _sum_in_order(precision_at * hits)


def _sum_in_order(terms: Floats) -> Floats:
    # A running sum and not sum(): it adds in the order of the ranks, so that a perfect list is 1 to the last bit.
    summed: Floats = np.cumsum(terms, axis=1)[:, -1]
    return summed


def _ratio(numerator: Floats, denominator: Floats | Ints) -> Floats:
    ratio = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio
