"""Yes or no: how well a score tells who is positive, over all rows or within groups."""

import numpy as np

from recsys.errors import TableError
from recsys.metrics.arrays import Bools, Floats, Ints, ratio, share


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
    accuracy = share(int((is_positive == is_predicted).sum()), len(is_positive))
    return {**sides[0], **sides[1], "accuracy": accuracy, "roc_auc": roc_auc(is_positive, score)}


def _one_class(is_member: Bools, is_predicted: Bools, name: str) -> dict[str, float | int]:
    hits, support, predicted = int((is_member & is_predicted).sum()), int(is_member.sum()), int(is_predicted.sum())
    precision, recalled, f1 = share(hits, predicted), share(hits, support), share(2 * hits, support + predicted)
    return {f"{name}_precision": precision, f"{name}_recall": recalled, f"{name}_f1": f1, f"{name}_support": support}


def roc_auc(is_positive: Bools, score: Floats) -> float:
    """Chance that a positive scores above a negative, a tie counting half: the area under the ROC curve.

    is_positive, score (n,). Zero case: one class is empty: NaN. Example: positives at .9 and .2, negatives at .8, .1, .3: 4 of 6 pairs.
    Raises TableError where a score is NaN.
    Source: the Mann-Whitney statistic with mean ranks (Hanley and McNeil 1982); scikit-learn's roc_auc_score.
    """
    return float(auc_by_group(is_positive, score, np.zeros(len(score), dtype=np.int64), 1)[0])


def auc_by_group(is_positive: Bools, score: Floats, group: Ints, n_groups: int) -> Floats:
    """(n_groups,) `roc_auc` of the rows of each group; is_positive, score, group (n,), a group is a number from 0 on.

    Zero case: a group of one class, or of no row: NaN. Raises TableError where a score is NaN.
    Example: positives at .9, .2 and negatives at .8, .1 in group 0, a negative alone in group 1: (3 / 4, NaN).
    """
    _refuse_nan(score)
    order = np.lexsort((score, group))
    group, score, is_positive = group[order], score[order], is_positive[order]
    is_first = np.append(True, (group[1:] != group[:-1]) | (score[1:] != score[:-1]))[: len(score)]
    tie = np.cumsum(is_first) - 1
    count = np.bincount(tie)
    rank = (np.cumsum(count) - (count - 1) / 2)[tie] - np.searchsorted(group, group)
    n_positive, n = np.bincount(group, is_positive, minlength=n_groups), np.bincount(group, minlength=n_groups)
    above = np.bincount(group, rank * is_positive, minlength=n_groups) - n_positive * (n_positive + 1) / 2
    return ratio(above, n_positive * (n - n_positive))


def grouped_auc(is_positive: Bools, score: Floats, group: Ints) -> dict[str, float | int]:
    """GAUC over impressions: mean of the `roc_auc` of each group (a user, or a request), weighted by its rows.

    is_positive, score, group (n,), as in `auc_by_group`. Keys: `value`, `n` groups in it, `n_left_out`: groups of one class, which have no
    AUC. Zero case: every group is of one class, or there is none: value NaN. Raises TableError where a score is NaN.
    Example: group 0 of four rows has AUC 3 / 4, group 1 of two rows has 0, group 2 is all negative: (4 * .75 + 2 * 0) / 6 = 0.5.
    Source: Zhu et al. 2017; Zhou et al. 2018 (DIN), section 6.2.
    """
    rows = np.bincount(group)
    auc = auc_by_group(is_positive, score, group, len(rows))
    is_in = ~np.isnan(auc)
    weight, n = rows * is_in, int(is_in.sum())
    value = share(float(weight @ np.where(is_in, auc, 0.0)), int(weight.sum()))
    return {"value": value, "n": n, "n_left_out": int((rows > 0).sum()) - n}


def best_threshold(is_positive: Bools, score: Floats) -> float:
    """The score at or above which to call a row positive for the highest f1; the highest such score where several are equal.

    is_positive, score (n,). Choose it on rows that are not judged. Zero case: no positive: inf, nothing is called so.
    Raises TableError where a score is NaN.
    Example: positives at .9 and .2, negatives at .8, .1, .3: f1 is 2/3 at .9, 2/4, 2/5, 4/6 at .2, 4/7: .9.
    """
    _refuse_nan(score)
    if not is_positive.any():
        return float("inf")
    level, place = np.unique(-score, return_inverse=True)
    hits = np.cumsum(np.bincount(place, is_positive))
    f1 = 2 * hits / (is_positive.sum() + np.cumsum(np.bincount(place)))
    return float(-level[f1.argmax()])


def _refuse_nan(score: Floats) -> None:
    n = int(np.isnan(score).sum())
    if n:
        raise TableError(f"scores: {n} of {len(score)} are no number (NaN), so they have no order. Leave those rows out, and count them.")
