"""How much two lists have in common, the first places counting most."""

from itertools import product

import numpy as np
import polars as pl

from recsys.metrics import Floats, Ints

PERSISTENCE = 0.9
"""Chance that a reader who looked at a place looks at the next one: the first ten places then have 86 % of the weight."""


def rank_biased_overlap(a: Ints, b: Ints, p: float = PERSISTENCE) -> Floats:
    """(n,) extrapolated rank-biased overlap of the lists a and b (n, k): items by place, -1 behind the end of a shorter list.

    Of two lists of m places: (1 - p) / p * sum of X_d / d * p^d over d = 1 .. m, plus X_m / m * p^m, X_d the items that both hold
    among their first d. It lies in [0, 1]; 1 where both hold the same in the same order, 0 where they share nothing.
    Zero cases: both empty: 1; one empty: 0. Example, p = .9, two places, swapped: .1 / .9 * .81 + .81 = .9.
    Source: Webber, Moffat and Zobel 2010, RBO_EXT, equation 32 for lists of two lengths.
    """
    n, k = a.shape
    depth = np.arange(1, k + 1)
    common = _common(a, b)
    lengths = np.sort(np.stack([(a >= 0).sum(axis=1), (b >= 0).sum(axis=1)]), axis=0)
    short, long = lengths[:, :, None]
    row = np.arange(n)
    at_short, at_long = (common[row, np.maximum(of - 1, 0)] for of in lengths)
    weights = p**depth * (depth <= long)
    beyond = at_short[:, None] * np.maximum(depth - short, 0) / np.maximum(short * depth, 1)
    seen = ((common / depth + beyond) * weights).sum(axis=1) * (1 - p) / p
    rest = ((at_long - at_short) / np.maximum(lengths[1], 1) + at_short / np.maximum(lengths[0], 1)) * p ** lengths[1]
    return np.where(lengths[1] == 0, 1.0, np.where(lengths[0] == 0, 0.0, seen + rest))


def overlap_by_user(a: pl.DataFrame, b: pl.DataFrame, users: pl.Series) -> pl.DataFrame:
    """user_id, overlap (Float64) of each user's two lists; a and b: user_id, item_id, rank (Int32 from 1, without a gap)."""
    asked = users.to_frame("user_id").with_row_index("row")
    items = pl.concat([a["item_id"], b["item_id"]]).unique(maintain_order=True).to_frame().with_row_index("item")
    places = pl.concat([a["rank"], b["rank"]]).to_numpy()
    k = int(places.max(initial=1))
    of_a, of_b = (_dense(lists.join(asked, on="user_id").join(items, on="item_id"), len(users), k) for lists in (a, b))
    return pl.DataFrame({"user_id": users, "overlap": rank_biased_overlap(of_a, of_b)})


def _common(a: Ints, b: Ints) -> Floats:
    """(n, k): how many items both lists hold among their first d places, d = 1 .. k."""
    n, k = a.shape
    new = np.zeros((n, k))
    for i, j in product(range(k), range(k)):  # a pair of places, all users at once: no (n, k, k) array
        new[:, max(i, j)] += (a[:, i] == b[:, j]) & (a[:, i] >= 0)
    return new.cumsum(axis=1)


def _dense(rows: pl.DataFrame, n: int, k: int) -> Ints:
    dense = np.full((n, k), -1, dtype=np.int64)
    dense[rows["row"].to_numpy(), rows["rank"].to_numpy() - 1] = rows["item"].to_numpy()
    return dense
