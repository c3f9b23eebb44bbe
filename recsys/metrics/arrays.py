"""The arrays that metrics are made over, and the sums and shares that several of them need."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.integer[Any]]


def ratio(numerator: Floats | Ints, denominator: Floats | Ints) -> Floats:
    """numerator / denominator, NaN where the denominator is not above 0."""
    found = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=found, where=denominator > 0)
    return found


def share(part: float, whole: int) -> float:
    """part / whole, NaN of nothing."""
    return part / whole if whole else float("nan")


def dcg(worth: Floats | Bools) -> Floats:
    """(n,) sum over the places of worth (n, k) / log2(rank + 1)."""
    row, place = filled(worth)
    return sum_by_row(row, worth[row, place] * discounts(worth.shape[1])[place], len(worth))


def filled(cells: Floats | Bools) -> tuple[Ints, Ints]:
    """Row and place of each cell (n, k) that is not 0, in order: most places are misses, so only the others need be touched."""
    # Adding up in the order of the ranks, a perfect list is 1 to the last bit. Flat, as numpy takes several times as long for two axes.
    row, place = np.divmod(np.flatnonzero(cells), cells.shape[1])
    return row, place


def sum_by_row(row: Ints, terms: Floats | Bools, n: int) -> Floats:
    """(n,) sums of the terms (m,) of each row (m,), added in their order."""
    return np.asarray(np.bincount(row, terms, minlength=n), dtype=np.float64)


def discounts(k: int) -> Floats:
    """(k,) 1 / log2(rank + 1) of ranks 1 .. k."""
    return 1.0 / np.log2(np.arange(2, k + 2))


def mean_of_items(item_index: Ints, of_item: Floats | Ints) -> Floats:
    """(n,) mean of of_item (n_items,) over the items of each list (n, k); NaN of an empty list."""
    is_item = item_index >= 0
    values = np.zeros(item_index.shape)
    values[is_item] = of_item[item_index[is_item]]
    return ratio(values.sum(axis=1), is_item.sum(axis=1))
