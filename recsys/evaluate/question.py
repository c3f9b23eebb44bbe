"""What is asked in one window and what happened, checked and laid out as arrays: one row a user with something to find."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.evaluate.layout import Index, Rows, checked_truth, falling, laid_out, refuse, rows_of
from recsys.metrics import Bools, Floats

K = 10
"""Places of a list that are judged."""


@dataclass(frozen=True)
class Lists:
    """The lists of one system: item_index (n_users, K) int32, -1 where there is no item, label (n_users, K) int32, 0 there, and
    is_seen (n_users, K), False there: did the user have the item before.
    """

    item_index: Index
    label: Index
    is_seen: Bools


@dataclass(frozen=True)
class Question:
    """One task in one window: what is asked and what happened.

    truth            user_id, item_id, label (Int32, > 0): the pairs that count in this task, every item in the catalogue
    users            every user with a query in the window; those without a relevant pair are left out of means, and counted
    relevant_from    lowest label that is relevant
    gains            worth of each label from 0 up, for graded metrics
    catalogue        item_id, n_users (users who had the item before as_of, 0 for a cold one); where the shop has prices, price as of
                     as_of (null where nobody knows it); each further column of text is a slice
    user_slices      user_id; each further column of text is a slice. An Enum has its values in the order in which they are told
    n_all_users      users with an interaction before as_of
    made_by          what makes an item relevant, by label from 0 up: the slice event_type; (): no such slice
    seen             user_id, item_id, once each: what users had before as_of; None: nobody knows
    vectors          (n_items, dim): texts of the catalogue's items, in its order, zero without a text; None: nobody knows
    """

    truth: pl.DataFrame
    users: pl.Series
    relevant_from: int
    gains: tuple[float, ...]
    catalogue: pl.DataFrame
    user_slices: pl.DataFrame
    n_all_users: int
    made_by: tuple[str, ...] = ()
    seen: pl.DataFrame | None = None
    vectors: NDArray[np.floating] | None = None

    @cached_property
    def judged(self) -> pl.Series:
        """user_id (n_users,), sorted: the users with a relevant pair. Raises TableError where the truth or the users are unusable."""
        refuse(self.users.to_frame("user_id"), self.users.is_duplicated(), "users: {n} rows repeat a user (first: {row})")
        return self._relevant["user_id"].unique().sort()

    @cached_property
    def n_without_truth(self) -> int:
        """Users with a query and nothing relevant."""
        return len(self.users) - len(self.judged)

    @cached_property
    def n_relevant(self) -> NDArray[np.int64]:
        """(n_users,): relevant items of each judged user."""
        return self.relevant_where(np.ones(self.catalogue.height, dtype=bool))

    def relevant_where(self, is_counted: Bools) -> NDArray[np.int64]:
        """(n_users,): relevant items of each judged user among those that is_counted (n_items,) marks, in the catalogue's order."""
        user_index, item_index, _ = self.relevant_pairs
        return np.bincount(user_index[is_counted[item_index]], minlength=len(self.judged))

    @cached_property
    def ideal(self) -> Index:
        """(n_users, K) int32: the highest labels of each judged user, falling; 0 beyond the last."""
        user, truth = self._truth_rows
        return falling(user, truth["label"].to_numpy(), len(self.judged), K)

    @cached_property
    def is_expected(self) -> Bools:
        """(n_items,): is it one of the K items of the catalogue that most users had, ties by item_id."""
        places = self.catalogue.select("item_id", n=pl.col("n_users").cast(pl.Int64), place=pl.int_range(pl.len(), dtype=pl.UInt32))
        first = places.sort("n", "item_id", descending=[True, False])["place"].head(K).to_numpy()
        return np.isin(np.arange(places.height), first)

    @cached_property
    def worth(self) -> Floats | None:
        """(n_items,): the price of each item of the catalogue, 0 where it is unknown; None where no relevant item has one."""
        if "price" not in self.catalogue.columns:
            return None
        worth = self.catalogue["price"].cast(pl.Float64).fill_nan(None).fill_null(0).clip(0).to_numpy()
        return worth if self.relevant_where(worth > 0).any() else None

    def ideal_worth(self, worth: Floats) -> Floats:
        """(n_users, K): the highest worths (n_items,) among what is relevant for each judged user, falling; 0 beyond the last."""
        users, items, _ = self.relevant_pairs
        return falling(users.astype(np.int64), worth[items], len(self.judged), K)

    @cached_property
    def relevant_pairs(self) -> tuple[Index, Index, Index]:
        """(n_pairs,) int32 each: row of the judged user, row of the catalogue, and label of every relevant pair."""
        rows = self._indexed(self._relevant)
        return rows["user_index"].to_numpy(), rows["item_index"].to_numpy(), rows["label"].to_numpy()

    def lists(self, frame: pl.DataFrame, system: str) -> Lists:
        """A system's (user_id, item_id, rank Int32 from 1) as arrays; users who are not judged are passed over.

        Raises TableError: a column is missing or of another type, a rank is outside 1 .. K, a user has a rank or an item twice,
        an item is not in the catalogue.
        """
        name = f"lists of {system}"
        laid = laid_out(frame, self.judged, K, name)
        known = self.catalogue.select("item_id", item_index=pl.int_range(pl.len(), dtype=pl.Int32))
        index = frame.select("item_id").join(known, on="item_id", how="left", maintain_order="left")["item_index"]
        refuse(frame, index.is_null(), name + ": {n} rows name an item outside the catalogue (first: {row})")
        label = laid.labels(*self._truth_rows)
        is_seen = laid.labels(*self._seen_rows) > 0
        return Lists(laid.dense(index.to_numpy(), -1), label, is_seen)

    def user_slice(self, column: str) -> pl.Series:
        """The value of a slice for each judged user. Raises TableError where a user has none, or two."""
        repeats = self.user_slices["user_id"].is_duplicated()
        refuse(self.user_slices, repeats, "user_slices: {n} rows repeat a user (first: {row})")
        asked = self.judged.to_frame("user_id")
        values = asked.join(self.user_slices, on="user_id", how="left", maintain_order="left")
        refuse(values, values[column].is_null(), f"user_slices: {{n}} users have no {column} (first: {{row}})")
        return values[column]

    def item_slice(self, column: str) -> pl.Series:
        """The value of a slice for each item of the catalogue. Raises TableError where an item has none."""
        refuse(self.catalogue, self.catalogue[column].is_null(), f"catalogue: {{n}} items have no {column} (first: {{row}})")
        return self.catalogue[column]

    @cached_property
    def _relevant(self) -> pl.DataFrame:
        truth = checked_truth(self.truth)
        refuse(
            truth,
            truth["label"] >= len(self.gains),
            f"truth: {{n}} rows have a label above {len(self.gains) - 1}, the last with a gain (first: {{row}})",
        )
        refuse(truth, ~truth["user_id"].is_in(self.users.implode()), "truth: {n} rows of users without a query (first: {row})")
        refuse(truth, ~truth["item_id"].is_in(self._item_ids), "truth: {n} rows name an item outside the catalogue (first: {row})")
        return truth.filter(pl.col("label") >= self.relevant_from)

    @cached_property
    def _truth_rows(self) -> tuple[Rows, pl.DataFrame]:
        return self._of_judged(self.truth)

    @cached_property
    def _seen_rows(self) -> tuple[Rows, pl.DataFrame]:
        seen = self.truth.head(0) if self.seen is None else self.seen
        return self._of_judged(seen.select("user_id", "item_id", label=pl.lit(1, pl.Int32)))

    def _of_judged(self, pairs: pl.DataFrame) -> tuple[Rows, pl.DataFrame]:
        """The row of the judged user of each pair, and those pairs."""
        user = rows_of(pairs["user_id"], self.judged)
        return user[user >= 0], pairs.filter(pl.Series(user >= 0))

    @cached_property
    def _item_ids(self) -> pl.Series:
        items = self.catalogue.select("item_id")
        refuse(items, items.is_duplicated(), "catalogue: {n} rows repeat an item (first: {row})")
        return self.catalogue["item_id"].implode()

    def _indexed(self, frame: pl.DataFrame) -> pl.DataFrame:
        users = self.judged.to_frame("user_id").with_columns(user_index=pl.int_range(pl.len(), dtype=pl.Int32))
        items = self.catalogue.select("item_id", item_index=pl.int_range(pl.len(), dtype=pl.Int32))
        return frame.join(users, on="user_id", how="inner").join(items, on="item_id", how="inner")
