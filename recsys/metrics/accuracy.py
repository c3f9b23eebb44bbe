"""Accuracy: how much of what was relevant stands in a list, and how high."""

from collections.abc import Sequence

import numpy as np

from recsys.metrics.arrays import Bools, Floats, Ints, dcg, discounts, filled, ratio, sum_by_row


def ndcg(hits: Bools, n_relevant: Ints) -> Floats:
    """(n,) binary nDCG@k: sum of 1 / log2(rank + 1) over the hits, by the same sum over ranks 1 .. min(k, n_relevant).

    Zero case: no hit 0; no relevant item NaN.
    Example, k = 3: hits at ranks 1 and 3, five relevant: (1 + 0.5) / (1 + 0.6309 + 0.5) = 0.7039.
    Source: Järvelin and Kekäläinen 2002, with the discount of Burges et al. 2005, as in trec_eval's ndcg_cut.
    """
    k = hits.shape[1]
    ideal = np.concatenate([[0.0], np.cumsum(discounts(k))])
    return ratio(dcg(hits), ideal[np.minimum(n_relevant, k)])


def ndcg_graded(labels: Ints, ideal: Ints, gains: Sequence[float]) -> Floats:
    """(n,) nDCG@k where an item of label l is worth gains[l]; gains never fall, and label 0 is always worth nothing.

    Zero case: an ideal list worth nothing: NaN.
    Example, k = 2, gains (0, 1, 2, 3): labels 1, 3 where 3, 1 is ideal: (1 + 3 * 0.6309) / (3 + 1 * 0.6309) = 0.7967.
    Source: Järvelin and Kekäläinen 2002; with linear gains, scikit-learn's ndcg_score.
    """
    return ratio(dcg(_worth(labels, gains)), dcg(_worth(ideal, gains)))


def ndcg_exp(labels: Ints, ideal: Ints) -> Floats:
    """(n,) nDCG@k where an item of label l is worth 2^l - 1.

    Zero case: nothing relevant: NaN (LightGBM's own figure says 1 there).
    Example, k = 2: labels 1, 3 where 3, 1 is ideal: (1 + 7 * 0.6309) / (7 + 1 * 0.6309) = 0.7098.
    Source: Burges et al. 2005.
    """
    return ratio(dcg(_exponential(labels)), dcg(_exponential(ideal)))


def recall(hits: Bools, n_relevant: Ints) -> Floats:
    """(n,) recall@k: hits / n_relevant.

    Zero case: no hit 0; no relevant item NaN. More relevant items than places: it cannot reach 1.
    Example, k = 3: 2 hits, 5 relevant: 0.4. Source: trec_eval's recall.
    """
    return ratio(_counted(hits), n_relevant)


def precision(hits: Bools) -> Floats:
    """(n,) precision@k: hits / k, also where the list is shorter than k.

    Zero case: no hit 0. Example, k = 3: 2 hits: 0.6667. Source: trec_eval's P.
    """
    return np.asarray(_counted(hits) / hits.shape[1])


def hit_rate(hits: Bools) -> Floats:
    """(n,) hit_rate@k: 1 if any place is a hit, else 0.

    Zero case: no hit 0. Example, k = 3: a hit at rank 3: 1. Source: trec_eval's success.
    """
    return np.minimum(_counted(hits), 1.0)


def average_precision(hits: Bools, n_relevant: Ints) -> Floats:
    """(n,) what map@k is the mean of: sum of the precision at each hit's rank / min(k, n_relevant).

    Zero case: no hit 0; no relevant item NaN.
    Example, k = 3: hits at ranks 1 and 3, five relevant: (1/1 + 2/3) / 3 = 0.5556.
    Source: the usual map@k of recommender challenges (Million Song Dataset Challenge 2012): a perfect list of k scores 1.
    """
    return ratio(_precision_sum(hits), np.minimum(n_relevant, hits.shape[1]))


def ap_trec(hits: Bools, n_relevant: Ints) -> Floats:
    """(n,) average precision as trec_eval cuts it: sum of the precision at each hit's rank / n_relevant.

    Zero case: no hit 0; no relevant item NaN.
    Example, k = 3: hits at ranks 1 and 3, five relevant: (1/1 + 2/3) / 5 = 0.3333. Source: trec_eval's map_cut.
    """
    return ratio(_precision_sum(hits), n_relevant)


def reciprocal_rank(hits: Bools) -> Floats:
    """(n,) what mrr@k is the mean of: 1 / rank of the first hit.

    Zero case: no hit within k: 0. Example: hits at ranks 2 and 3: 0.5. Source: Voorhees 1999; trec_eval's recip_rank, cut at k.
    """
    row, place = filled(hits)
    is_first = np.diff(row, prepend=-1) > 0
    found = np.zeros(len(hits))
    found[row[is_first]] = 1.0 / (1 + place[is_first])
    return found


def _counted(hits: Bools) -> Floats:
    row, _ = filled(hits)
    return sum_by_row(row, np.ones(len(row)), len(hits))


def _worth(labels: Ints, gains: Sequence[float]) -> Floats:
    worth: Floats = np.asarray(gains, dtype=np.float64)[labels]
    return np.where(labels > 0, worth, 0.0)


def _exponential(labels: Ints) -> Floats:
    worth: Floats = np.exp2(labels.astype(np.float64)) - 1.0
    return worth


def _precision_sum(hits: Bools) -> Floats:
    row, place = filled(hits)
    first = np.searchsorted(row, np.arange(len(hits)))
    nth = np.arange(len(row)) - first[row] + 1
    return sum_by_row(row, nth / (place + 1), len(hits))
