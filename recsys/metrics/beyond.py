"""Beyond accuracy: how much of the catalogue the lists show, how evenly, how rare, how unlike each other, and how much of it is old."""

import numpy as np
from numpy.typing import NDArray

from recsys.metrics.arrays import Bools, Floats, Ints, filled, mean_of_items, ratio, sum_by_row

CELLS = 8_000_000
"""Most numbers of text vectors held at once: 64 MB."""


def coverage(item_index: Ints, n_items: int) -> float:
    """Share of a catalogue of `n_items` that stands in at least one of the lists: one number for all of them.

    Zero case: no list 0; an empty catalogue NaN.
    Example: the lists (i0, i1) and (i1, i2) over 4 items: 3 / 4.
    Source: catalog coverage of Ge, Delgado-Battenfeld and Jannach 2010.
    """
    return len(np.unique(item_index[item_index >= 0])) / n_items if n_items else float("nan")


def gini(item_index: Ints, n_items: int) -> float:
    """How unevenly the places of the lists go to the items, c_1 <= .. <= c_n of them each: sum (2 i - n - 1) c_i / (n sum c_i).

    0: every item of the catalogue is listed equally often; 1 - 1 / n: one item alone. An item that is never listed counts.
    Zero case: nothing is listed, or an empty catalogue: NaN.
    Example: the lists (i0, i1) and (i1, i2) over 4 items, listed 0, 1, 1, 2 times: (-3 * 0 - 1 * 1 + 1 * 1 + 3 * 2) / (4 * 4) = 0.375.
    Source: Gini 1912, for recommendations Fleder and Hosanagar 2009.
    """
    times = np.sort(np.bincount(item_index[item_index >= 0], minlength=n_items))
    place = np.arange(1, n_items + 1)
    return float((2 * place - n_items - 1) @ times / (n_items * times.sum())) if times.any() else float("nan")


def novelty(item_index: Ints, n_users_of: Ints, n_users: int) -> Floats:
    """(n,) novelty@k (MIUF): mean over a list's items of -log2(users who had the item / `n_users`), in bits.

    n_users_of (n_items,): users who had the item; a cold item counts as 1 user.
    Zero case: an empty list has no novelty: NaN. Items that everybody had: 0.
    Example, 8 users: items had by 8 and by 2: (0 + 2) / 2 = 1; a cold item alone: 3.
    Source: mean self-information of Zhou et al. 2010; MIUF of RecTools.
    """
    return mean_of_items(item_index, np.log2(max(n_users, 1)) - np.log2(np.maximum(n_users_of, 1)))


def popularity(item_index: Ints, n_users_of: Ints) -> Floats:
    """(n,) popularity@k: mean over a list's items of the users who had the item; its mean over the lists is the ARP.

    Zero case: an empty list: NaN. Cold items alone: 0. Example: items had by 8 and by 2 users: 5.
    Source: average recommendation popularity of Yin et al. 2012.
    """
    return mean_of_items(item_index, n_users_of)


def serendipity(hits: Bools, item_index: Ints, is_expected: Bools) -> Floats:
    """(n,) serendipity@k: hits that are not expected / k; is_expected (n_items,): the list that a primitive model gives everybody.

    Here that model is popularity: the k items that most users had, ties by item_id.
    Zero case: no such hit 0. Example, k = 2, i0 and i1 are expected: the list (i0, i2), both relevant: i2 alone counts, 1 / 2.
    Source: unexpected and useful, Ge, Delgado-Battenfeld and Jannach 2010.
    """
    row, place = filled(hits)
    surprises = ~is_expected[item_index[row, place]]
    return np.asarray(sum_by_row(row, surprises, len(hits)) / hits.shape[1])


def intra_list_diversity(item_index: Ints, vectors: NDArray[np.floating]) -> Floats:
    """(n,) ild@k: mean over the pairs of a list's items of 1 - cosine of their text vectors (n_items, dim).

    An item whose vector is zero has no text: it is in no pair, and is neither near nor far.
    Zero case: fewer than two items with a text: NaN. One text many times: 0.
    Example: (1, 0), (0, 1), (1, 0): distances 1, 0, 1: 2 / 3. Source: Smyth and McClave 2001; Ziegler et al. 2005.
    """
    lengths = np.append(np.linalg.norm(vectors.astype(np.float64), axis=1), 0.0)
    scale = np.divide(1.0, lengths, out=np.zeros(len(lengths)), where=lengths > 0)
    rows = max(1, CELLS // max(vectors.shape[1], 1))
    parts = [_diversity(item_index[start : start + rows], vectors, scale) for start in range(0, len(item_index), rows)]
    return np.concatenate([*parts, np.zeros(0)])


def _diversity(item_index: Ints, vectors: NDArray[np.floating], scale: Floats) -> Floats:
    # The cosines of all pairs of m unit vectors add up to (|their sum|^2 - m) / 2: no table of pairs. scale is 0 where there is no text.
    together = np.zeros((len(item_index), vectors.shape[1]))
    for place in item_index.T:
        together += vectors[place] * scale[place, None]
    m = (scale[item_index] > 0).sum(axis=1)
    cosines = ((together**2).sum(axis=1) - m) / 2
    return np.clip(1 - ratio(cosines, m * (m - 1) / 2), 0, 2)


def repeat_rate(is_seen: Bools, item_index: Ints) -> Floats:
    """(n,) repeat_rate@k: share of a list's items that the user had before; is_seen (n, k), False where there is no item.

    Zero case: an empty list: NaN. Nothing old 0. Example: a list of 3, one of them had: 1 / 3.
    Source: repetition ratio of Li, Jullien, Ariannezhad and de Rijke 2023.
    """
    return ratio(is_seen.sum(axis=1), (item_index >= 0).sum(axis=1))
