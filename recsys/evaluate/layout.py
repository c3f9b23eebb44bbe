"""Lists laid out as arrays, one row a user, one column a place; and which of their places hold a pair of another table."""

from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.errors import TableError
from recsys.metrics import Bools
from recsys.schema import RECOMMENDATIONS, Column, Table, check

Index = NDArray[np.int32]
Rows = NDArray[np.int64]
Keys = NDArray[np.uint64]

LISTS = RECOMMENDATIONS.columns[:3]
TRUTH = (
    Column("user_id", pl.String, "who"),
    Column("item_id", pl.String, "which item"),
    Column("label", pl.Int32, "label of the item in the window, > 0"),
)
EMPTY = np.uint64(2**64 - 1)
"""Key of a place without an item: no place of a list ends in so many ones."""


@dataclass(frozen=True)
class Laid:
    """Lists over n_users users and k places, whatever the order of their rows, and those of other users beyond.

    items      item_id of each row of the lists
    cell       (rows,): user * k + place of each row
    row_of     (users, k): row of the lists at that place; -1 where there is no item
    ordered    (users, k), rising: of each place the hash of its item, its last bits replaced by the place; no user has a hash twice
    seed       of the hash
    """

    users: pl.Series
    k: int
    items: pl.Series
    cell: Rows
    row_of: Index
    ordered: Keys
    seed: int

    @property
    def n_empty(self) -> int:
        """How many of `users` have no list."""
        return int((self.ordered[: len(self.users), 0] == EMPTY).sum())

    @property
    def n_beyond(self) -> int:
        """Users who have a list and are not among `users`."""
        return len(self.ordered) - len(self.users)

    def dense(self, values: NDArray[Any], empty: int) -> Index:
        """(n_users, k) int32 of values (rows,); `empty` where there is no item."""
        dense = np.full(self.ordered.shape, empty, dtype=np.int32)
        dense.ravel()[self.cell] = values
        return dense[: len(self.users)]

    def labels(self, user: Rows, pairs: pl.DataFrame) -> Index:
        """(n_users, k) int32: the label of the pairs (item_id, label; one row a pair of `user` (rows,)) at their places; else 0."""
        low = _mask(self.k)
        key = _hashes(pairs["item_id"], self.seed) & ~low
        found = self.ordered[user, _first_not_below(self.ordered, user, key)]
        at = np.flatnonzero(((found & ~low) == key) & (found != EMPTY))
        cell = user[at] * self.k + (found[at] & low).astype(np.int64)
        # Two items may share a hash: the ids decide. A list holds each hash once, so a pair that is listed is found under it.
        is_same = (self.items.gather(self.row_of.ravel()[cell]) == pairs["item_id"].gather(at)).to_numpy()
        labels = np.zeros((len(self.users), self.k), dtype=np.int32)
        labels.ravel()[cell[is_same]] = pairs["label"].gather(at[is_same]).to_numpy()
        return labels


def laid_out(frame: pl.DataFrame, users: pl.Series, k: int, name: str) -> Laid:
    """Lists user_id, item_id, rank (Int32 from 1), as rows of `users` (unique) and of whoever else has one.

    Raises TableError: a column is missing or of another type, a rank is outside 1 .. k, a user has a rank or an item twice.
    """
    check(frame, Table(name, LISTS))
    refuse(frame, ~frame["rank"].is_between(1, k), f"{name}: {{n}} rows have a rank outside 1 to {k} (first: {{row}})")
    user, n_users = _numbered(frame["user_id"], users)
    place = frame["rank"].to_numpy() - 1
    cell = user * k
    cell += place
    row_of = np.full((n_users, k), -1, dtype=np.int32)
    row_of.ravel()[cell] = np.arange(len(cell), dtype=np.int32)
    if np.count_nonzero(row_of >= 0) < len(cell):
        _refuse_repeats(frame, "rank", name)
    for seed in count():
        keys = _hashes(frame["item_id"], seed) & ~_mask(k)
        keys |= place.astype(np.uint64)
        ordered = np.full(row_of.shape, EMPTY)
        ordered.ravel()[cell] = keys
        ordered.sort(axis=1)
        clashing = _has_twice(ordered)
        if not clashing.any():
            return Laid(users, k, frame["item_id"], cell, row_of, ordered, seed)
        _refuse_repeats(frame.filter(pl.Series(clashing[user])), "item_id", name)
    raise AssertionError


def users_of(ids: pl.Series) -> pl.Series:
    """The distinct user_ids, sorted."""
    return ids.gather(_starts(ids)).unique().sort()


def _starts(ids: pl.Series) -> Rows:
    """Where the id is another than that of the row before: a table mostly holds the rows of a user one after another."""
    return np.flatnonzero(ids.ne_missing(ids.shift(1)).to_numpy()) if len(ids) else np.zeros(0, dtype=np.int64)


def rows_of(ids: pl.Series, users: pl.Series) -> Rows:
    """(rows,): the row of each user_id in `users` (unique); -1 where it is not there."""
    starts = _starts(ids)  # only the first row of a user is looked up
    known = pl.DataFrame({"user_id": users, "row": np.arange(len(users))})
    heads = pl.DataFrame({"user_id": ids.gather(starts)}).join(known, on="user_id", how="left", maintain_order="left")
    return np.repeat(heads["row"].fill_null(-1).to_numpy(), np.diff(starts, append=len(ids)))


def checked_truth(truth: pl.DataFrame) -> pl.DataFrame:
    """A TRUTH table as it is. Raises TableError: a column is missing or of another type, a label is below 1, a pair is there twice."""
    check(truth, Table("truth", TRUTH))
    refuse(truth, truth["label"] < 1, "truth: {n} rows have a label below 1 (first: {row})")
    pairs = np.sort(truth["user_id"].hash().to_numpy() * np.uint64(3) + truth["item_id"].hash().to_numpy())
    # Where all hashes differ no pair is there twice. Elsewhere perhaps, and only then is it worth the time to look.
    if (pairs[1:] == pairs[:-1]).any():
        refuse(truth, truth.select("user_id", "item_id").is_duplicated(), "truth: {n} rows repeat a user and item (first: {row})")
    return truth


def falling(user: Rows, values: NDArray[Any], n_users: int, k: int) -> NDArray[Any]:
    """(n_users, k): the k highest values of each user, falling; 0 beyond the last."""
    order = np.lexsort((-values, user))
    user = user[order]
    place = np.arange(len(user)) - np.searchsorted(user, user)
    kept = place < k
    dense = np.zeros((n_users, k), dtype=values.dtype)
    dense[user[kept], place[kept]] = values[order][kept]
    return dense


def refuse(frame: pl.DataFrame, is_wrong: pl.Series, message: str) -> None:
    """Raise TableError with the message's {n} rows and the first {row} of them, where a row is wrong."""
    if is_wrong.any():
        wrong = frame.filter(is_wrong)
        raise TableError(message.format(n=wrong.height, row=wrong.row(0, named=True)) + ". Make the table again.")


def _refuse_repeats(frame: pl.DataFrame, column: str, name: str) -> None:
    repeats = frame.select("user_id", column).is_duplicated()
    refuse(frame, repeats, f"{name}: {{n}} rows repeat a {column} within a user (first: {{row}})")


def _numbered(ids: pl.Series, users: pl.Series) -> tuple[Rows, int]:
    """(rows,) and how many users there are: those of `users` first, then whoever else is there."""
    user = rows_of(ids, users)
    is_other = user < 0
    if not is_other.any():
        return user, len(users)
    others = ids.filter(pl.Series(is_other)).unique(maintain_order=True)
    return np.where(is_other, rows_of(ids, others) + len(users), user), len(users) + len(others)


def _has_twice(ordered: Keys) -> Bools:
    """(users,): do two places of the user hold items of one hash."""
    is_same = (ordered[:, 1:] ^ ordered[:, :-1]) <= _mask(ordered.shape[1])
    if not is_same.any():
        return np.zeros(len(ordered), dtype=bool)
    return np.asarray((is_same & (ordered[:, 1:] != EMPTY)).any(axis=1))


def _first_not_below(ordered: Keys, user: Rows, key: Keys) -> Rows:
    """(pairs,): by binary search the first place of the user's row that is not below the key; the last place where all are."""
    flat, k = ordered.ravel(), ordered.shape[1]
    low = user * k
    high = low + (k - 1)
    for _ in range(k.bit_length()):
        middle = (low + high) >> 1
        is_below = flat[middle] < key
        low, high = np.minimum(np.where(is_below, middle + 1, low), high), np.where(is_below, high, middle)
    return np.asarray(low - user * k)


def _hashes(items: pl.Series, seed: int) -> Keys:
    hashes: Keys = items.hash(seed).to_numpy()
    return hashes


def _mask(k: int) -> np.uint64:
    return np.uint64(2 ** k.bit_length() - 1)
