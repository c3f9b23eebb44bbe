"""The in-memory shapes that stages share: the catalogue, a block of users with their histories, and exact top-k.

A block holds a bounded number of users, so a dense `(n_users, n_items)` array of it is bounded too. Nothing here is
larger than a block or than the catalogue, except the history of all users, which fits statistics and is O(events).
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.schema import EVENT_TYPES, INTERACTIONS, LIKED, TIME

if TYPE_CHECKING:
    from scipy import sparse

Floats = NDArray[np.float32]
Index = NDArray[np.int32]
Bools = NDArray[np.bool_]

MICROSECONDS_A_DAY = 86_400_000_000.0
LIKED_CODES = np.array([EVENT_TYPES.index(name) for name in LIKED], dtype=np.int8)


@dataclass(frozen=True)
class Catalogue:
    """The items, in order of item_id: an `item_index` is a row of `items`."""

    items: pl.DataFrame

    @classmethod
    def of(cls, items: pl.DataFrame) -> "Catalogue":
        """A catalogue of an ITEMS table, whatever its order."""
        return cls(items.sort("item_id"))

    def __len__(self) -> int:
        return self.items.height

    @cached_property
    def _index(self) -> pl.DataFrame:
        return self.items.select("item_id", item_index=pl.int_range(pl.len(), dtype=pl.Int32))

    def index_of(self, item_ids: pl.Series) -> Index:
        """item_index (n,) int32 of each item_id; -1 where it is not in the catalogue."""
        frame = pl.DataFrame({"item_id": item_ids}).join(self._index, on="item_id", how="left", maintain_order="left")
        return frame["item_index"].fill_null(-1).to_numpy().astype(np.int32)

    def ids(self, item_index: Index) -> pl.Series:
        """item_id of each item_index."""
        return self.items["item_id"].gather(item_index.astype(np.uint32))

    @cached_property
    def categories(self) -> list[str]:
        """Names of the categories, sorted."""
        return self.items["category"].drop_nulls().unique().sort().to_list()

    @cached_property
    def category_index(self) -> Index:
        """(n_items,) int32: position of an item's category in `categories`; -1 for none."""
        places = {name: place for place, name in enumerate(self.categories)}
        return np.array([places.get(name, -1) for name in self.items["category"]], dtype=np.int32)

    def eligible(self, as_of: datetime, until: datetime) -> Bools:
        """(n_items,): may the item be shown in `[as_of, until)`: available before `until` and not withdrawn by `as_of`."""
        begun = pl.col("available_from").is_null() | (pl.col("available_from") < until)
        lasts = pl.col("available_until").is_null() | (pl.col("available_until") > as_of)
        return self.items.select((begun & lasts).alias("eligible"))["eligible"].to_numpy().astype(bool)

    def sale_days(self, as_of: datetime) -> Floats:
        """(n_items, 2) float32: days before as_of at which the item came on sale and left it; inf and -inf where nobody says."""
        columns = (("available_from", np.inf), ("available_until", -np.inf))
        ages = [((pl.lit(as_of, TIME) - pl.col(name)).dt.total_seconds() / 86_400).fill_null(unknown) for name, unknown in columns]
        return self.items.select(ages[0].alias("from"), ages[1].alias("until")).to_numpy().astype(np.float32)


@dataclass(frozen=True)
class History:
    """The interactions of a block of users before `as_of`: rows of one user contiguous, in order of time.

    indptr (n_users + 1,) int64; item_index (n,) int32; event_type (n,) int8, a place in EVENT_TYPES;
    age_days (n,) float32, days before as_of, > 0; weight (n,) float32, the training weight of the event type.
    """

    user_ids: pl.Series
    as_of: datetime
    indptr: NDArray[np.int64]
    item_index: Index
    event_type: NDArray[np.int8]
    age_days: Floats
    weight: Floats

    @classmethod
    def of(cls, events: pl.DataFrame, catalogue: Catalogue, user_ids: pl.Series, as_of: datetime, weights: dict[str, float]) -> "History":
        """The history of `user_ids` (unique, sorted) out of an EVENTS table; users without a row have an empty one."""
        users = pl.DataFrame({"user_id": user_ids}).with_row_index("user_index")
        rows = (
            events.lazy()
            .filter((pl.col("event_time") < pl.lit(as_of, TIME)) & pl.col("event_type").is_in(INTERACTIONS))
            .select("user_id", "item_id", "event_time", "event_type")
            .join(users.lazy(), on="user_id", how="inner")
            .sort("user_index", "event_time", "item_id", "event_type")
            .collect()
        )
        counts = np.bincount(rows["user_index"].to_numpy(), minlength=len(user_ids)) if rows.height else np.zeros(len(user_ids), np.int64)
        codes = rows["event_type"].replace_strict({name: code for code, name in enumerate(EVENT_TYPES)}, return_dtype=pl.Int8)
        age = (pl.lit(as_of, TIME) - pl.col("event_time")).dt.total_microseconds() / MICROSECONDS_A_DAY
        return cls(
            user_ids,
            as_of,
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            catalogue.index_of(rows["item_id"]),
            codes.to_numpy(),
            rows.select(age.alias("age"))["age"].to_numpy().astype(np.float32),
            np.array([weights.get(name, 0.0) for name in EVENT_TYPES], np.float32)[codes.to_numpy()],
        )

    @classmethod
    def joined(cls, parts: "list[History]") -> "History":
        """The histories of blocks of users that follow one another, as of one moment, as one; at least one block."""
        counts = np.concatenate([np.diff(part.indptr) for part in parts])
        return cls(
            pl.concat([part.user_ids for part in parts]),
            parts[0].as_of,
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.concatenate([part.item_index for part in parts]),
            np.concatenate([part.event_type for part in parts]),
            np.concatenate([part.age_days for part in parts]),
            np.concatenate([part.weight for part in parts]),
        )

    def part(self, first: int, stop: int) -> "History":
        """The history of the block's users from row `first` to before row `stop`."""
        rows = slice(self.indptr[first], self.indptr[stop])
        return History(
            self.user_ids[first:stop],
            self.as_of,
            self.indptr[first : stop + 1] - self.indptr[first],
            self.item_index[rows],
            self.event_type[rows],
            self.age_days[rows],
            self.weight[rows],
        )

    @property
    def n_users(self) -> int:
        """Users of the block."""
        return len(self.indptr) - 1

    @cached_property
    def user_index(self) -> Index:
        """(n,) int32: the user of each row."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), np.diff(self.indptr))

    @cached_property
    def is_liked(self) -> Bools:
        """(n,): does the row speak for the item (a return does not)."""
        return np.isin(self.event_type, LIKED_CODES)

    def likes_any(self, items: Bools) -> Bools:
        """(n_users,): did the user like one of these items (n_items,)."""
        found: Bools = np.bincount(self.user_index, self.is_liked & items[self.item_index], minlength=self.n_users) > 0
        return found

    def matrix(self, values: Floats, n_items: int) -> "sparse.csr_array":
        """Sparse (n_users, n_items) float32: the sum of `values` (n,) over a user's rows of an item."""
        from scipy import sparse  # who only wants a catalogue, a page of the dashboard, does not wait for it

        shape = (self.n_users, n_items)
        # copy: sum_duplicates works in place, and would reorder the history itself.
        matrix = sparse.csr_array((values.astype(np.float32), self.item_index, self.indptr), shape=shape, copy=True)
        matrix.sum_duplicates()
        return matrix

    def seen(self, n_items: int) -> Bools:
        """Dense (n_users, n_items): did the user ever interact with the item."""
        seen = np.zeros((self.n_users, n_items), dtype=bool)
        seen[self.user_index, self.item_index] = True
        return seen

    def days_since(self, counted: Bools, n_items: int) -> Floats:
        """Dense (n_users, n_items) float32: days since the latest of the `counted` (n,) rows of user and item; inf for none."""
        days = np.full((self.n_users, n_items), np.inf, np.float32)
        # Rows of a user are in order of time, and of several values for one place NumPy keeps the last.
        days[self.user_index[counted], self.item_index[counted]] = self.age_days[counted]
        return days

    def latest(self, n: int) -> tuple[NDArray[np.int64], Bools]:
        """Rows of each user's latest `n` interactions, latest first: places (n_users, n) into the arrays, and which are real."""
        places = self.indptr[1:, None] - 1 - np.arange(n)[None, :]
        real = places >= self.indptr[:-1, None]
        return np.where(real, places, 0), real


def top_k(scores: Floats, k: int) -> tuple[Index, Floats]:
    """The `k` best columns of each row, best first, ties by the lower column: exact, so independent of the machine.

    scores (n, m) float32 without NaN, -inf where masked. Returns column (n, k) int32 (-1 beyond the unmasked ones) and score (n, k),
    -inf there. A partition of some columns finds what the others must reach; only those that do are sorted.
    """
    n, m = scores.shape
    k = min(k, m)
    columns, best = np.full((n, k), -1, np.int32), np.full((n, k), -np.inf, np.float32)
    if not k or not n:
        return columns, best
    row, column = np.nonzero(scores >= _least_needed(scores, k))
    score = scores[row, column]
    order = np.lexsort((column, -score, row))
    row = row[order]
    place = np.arange(len(row)) - np.searchsorted(row, np.arange(n))[row]
    kept = place < k
    columns[row[kept], place[kept]] = column[order[kept]]
    best[row[kept], place[kept]] = score[order[kept]]
    return columns, best


def _least_needed(scores: Floats, k: int) -> Floats:
    """A bound (n, 1) from below on the kth best of each row: the kth best of every sth column.

    Its partition takes an sth of the time and lets about s k of a row through to be sorted: s balances the two.
    """
    stride = max(1, int((scores.shape[1] / (8 * k)) ** 0.5))
    some = scores[:, ::stride]
    # Floats order as their bits do once those of negative ones are turned over; NumPy partitions integers several times as fast.
    bits = np.ascontiguousarray(some).view(np.int32)
    keys = (bits >> 31) & np.int32(0x7FFFFFFF)
    keys ^= bits
    keys.partition(some.shape[1] - k, axis=1)
    least = keys[:, some.shape[1] - k, None]
    # A row with fewer than k unmasked columns has -inf for its least: the number above it keeps those out.
    return np.maximum((least ^ ((least >> 31) & np.int32(0x7FFFFFFF))).view(np.float32), np.finfo(np.float32).min)
