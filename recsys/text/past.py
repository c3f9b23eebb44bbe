"""What the history tower sees of a user at a moment: the latest interactions, latest first, and a summary of all that is older."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.blocks import Bools, Floats, History


@dataclass(frozen=True)
class Past:
    """The pasts of n users, at most l interactions each, latest first.

    item (n, l) int64, item_index; real (n, l) bool, which places hold an interaction; event_type (n, l) int8; weight (n, l) float32;
    age_days (n, l) float32 before the moment; gap_days (n, l) float32 since the user's interaction before it, 0 for the first.
    older (n, n_items) float32, each row the weights (sum 1) of the items liked before those l, empty without any;
    older_days (n,) float32 their mean age; n_older (n,) float32 how many.
    """

    item: NDArray[np.int64]
    real: Bools
    event_type: NDArray[np.int8]
    weight: Floats
    age_days: Floats
    gap_days: Floats
    older: sparse.csr_array
    older_days: Floats
    n_older: Floats

    def rows(self, chosen: slice) -> "Past":
        """Some of the pasts."""
        return Past(*(getattr(self, part.name)[chosen] for part in fields(self)))


def past_of(history: History, user: NDArray[np.int64], end: NDArray[np.int64], now: Floats, length: int, n_items: int) -> Past:
    """The pasts of `user` (n,), rows of the block, from the rows of the history before `end` (n,), `now` (n,) days before its as_of."""
    places = end[:, None] - 1 - np.arange(length)[None, :]
    first = history.indptr[user].astype(np.int64)
    real = places >= first[:, None]
    earlier = np.where(places > first[:, None], places - 1, np.where(real, places, 0))
    places = np.where(real, places, 0)
    age = _at(history.age_days, places)
    older, n_older, older_days = _older(history, first, np.maximum(end - length, first), n_items)
    return Past(
        _at(history.item_index, places).astype(np.int64),
        real,
        _at(history.event_type, places),
        _at(history.weight, places),
        np.maximum(age - now[:, None], 0).astype(np.float32),
        np.maximum(_at(history.age_days, earlier) - age, 0).astype(np.float32),
        older,
        np.where(n_older > 0, older_days - now, 0).astype(np.float32),
        n_older,
    )


def whole_past(history: History, length: int, n_items: int) -> Past:
    """The past of every user of a block as of its moment."""
    user = np.arange(history.n_users)
    return past_of(history, user, history.indptr[1:].astype(np.int64), np.zeros(history.n_users, np.float32), length, n_items)


def _older(history: History, first: NDArray[np.int64], stop: NDArray[np.int64], n_items: int) -> tuple[sparse.csr_array, Floats, Floats]:
    counts = stop - first
    owner = np.repeat(np.arange(len(first)), counts)
    places = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(len(owner))
    kept = _at(history.is_liked, places).astype(bool)
    owner, places = owner[kept], places[kept]
    number = np.bincount(owner, minlength=len(first)).astype(np.float32)
    share = (1 / np.maximum(number, 1))[owner].astype(np.float32)
    mean_days = np.bincount(owner, _at(history.age_days, places) * share, minlength=len(first)).astype(np.float32)
    matrix = sparse.csr_array((share, (owner, _at(history.item_index, places))), shape=(len(first), n_items), dtype=np.float32)
    return matrix, number, mean_days


def _at(array: NDArray, places: NDArray[np.int64]) -> NDArray:  # type: ignore[type-arg]
    # A block of newcomers alone has no row to stand in for the masked places.
    return array[places] if len(array) else np.zeros(places.shape, array.dtype)
