"""Is a list whole, before anybody asks whether it is good: missing, short, with an item twice, or with one that cannot be had."""

import numpy as np

from recsys.metrics.arrays import Bools, Ints


def is_missing(item_index: Ints) -> Bools:
    """(n,): the user got no item at all. Zero case: nobody, no row. Example, k = 3: (-, -, -): True."""
    return np.asarray(~(item_index >= 0).any(axis=1))


def is_short(item_index: Ints) -> Bools:
    """(n,): the list holds an item, but fewer than k. A missing list is not short. Example, k = 3: (i4, i7, -): True."""
    n_items = (item_index >= 0).sum(axis=1)
    return np.asarray((n_items > 0) & (n_items < item_index.shape[1]))


def duplicates(item_index: Ints) -> Ints:
    """(n,) places that hold an item which the list already holds. Zero case: an empty list 0. Example: (i4, i7, i4, i4): 2."""
    ordered = np.sort(item_index, axis=1)
    repeats: Ints = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).sum(axis=1)
    return repeats


def unavailable(item_index: Ints, is_available: Bools) -> Ints:
    """(n,) places with an item that may not be shown; is_available (n_items,).

    Zero case: an empty list 0. Example: (i0, i1, -), i1 sold out: 1.
    """
    places: Ints = ((item_index >= 0) & ~np.append(is_available, True)[item_index]).sum(axis=1)
    return places
