"""What is asked in one window and what happened, checked and laid out as arrays: one row a user with something to find."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.errors import TableError
from recsys.metrics import Bools
from recsys.schema import RECOMMENDATIONS, Column, Table, check

K = 10
"""Places of a list that are judged."""

TRUTH = (
    Column("user_id", pl.String, "who"),
    Column("item_id", pl.String, "which item"),
    Column("label", pl.Int32, "label of the item in the window, > 0"),
)
Index = NDArray[np.int32]


@dataclass(frozen=True)
class Lists:
    """The lists of one system: item_index (n_users, K) int32, -1 where there is no item, and label (n_users, K) int32, 0 there."""

    item_index: Index
    label: Index


@dataclass(frozen=True)
class Question:
    """One task in one window: what is asked and what happened.

    truth            user_id, item_id, label (Int32, > 0): the pairs that count in this task, every item in the catalogue
    users            every user with a query in the window; those without a relevant pair are left out of means, and counted
    relevant_from    lowest label that is relevant
    gains            worth of each label from 0 up, for graded metrics
    catalogue        item_id, n_users (users who had the item before as_of, 0 for a cold one); each further column of text is a slice
    user_slices      user_id; each further column of text is a slice. An Enum has its values in the order in which they are told
    n_all_users      users with an interaction before as_of
    made_by          what makes an item relevant, by label from 0 up: the slice event_type; (): no such slice
    """

    truth: pl.DataFrame
    users: pl.Series
    relevant_from: int
    gains: tuple[float, ...]
    catalogue: pl.DataFrame
    user_slices: pl.DataFrame
    n_all_users: int
    made_by: tuple[str, ...] = ()

    @cached_property
    def judged(self) -> pl.Series:
        """user_id (n_users,), sorted: the users with a relevant pair. Raises TableError where the truth or the users are unusable."""
        _refuse(self.users.to_frame("user_id"), self.users.is_duplicated(), "users: {n} rows repeat a user (first: {row})")
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
        check(frame, Table(name, RECOMMENDATIONS.columns[:3]))
        _refuse(frame, ~frame["rank"].is_between(1, K), f"{name}: {{n}} rows have a rank outside 1 to {K} (first: {{row}})")
        for column in ("rank", "item_id"):
            repeats = frame.select("user_id", column).is_duplicated()
            _refuse(frame, repeats, f"{name}: {{n}} rows repeat a {column} within a user (first: {{row}})")
        _refuse(frame, ~frame["item_id"].is_in(self._item_ids), name + ": {n} rows name an item outside the catalogue (first: {row})")
        rows = self._indexed(frame).join(self.truth, on=["user_id", "item_id"], how="left")
        places = rows["user_index"].to_numpy(), rows["rank"].to_numpy() - 1
        return Lists(self._dense(places, rows["item_index"], -1), self._dense(places, rows["label"].fill_null(0), 0))

    def user_slice(self, column: str) -> pl.Series:
        """The value of a slice for each judged user. Raises TableError where a user has none, or two."""
        repeats = self.user_slices["user_id"].is_duplicated()
        _refuse(self.user_slices, repeats, "user_slices: {n} rows repeat a user (first: {row})")
        asked = self.judged.to_frame("user_id")
        values = asked.join(self.user_slices, on="user_id", how="left", maintain_order="left")
        _refuse(values, values[column].is_null(), f"user_slices: {{n}} users have no {column} (first: {{row}})")
        return values[column]

    def item_slice(self, column: str) -> pl.Series:
        """The value of a slice for each item of the catalogue. Raises TableError where an item has none."""
        _refuse(self.catalogue, self.catalogue[column].is_null(), f"catalogue: {{n}} items have no {column} (first: {{row}})")
        return self.catalogue[column]

    @cached_property
    def _relevant(self) -> pl.DataFrame:
        truth = check(self.truth, Table("truth", TRUTH))
        _refuse(truth, truth["label"] < 1, "truth: {n} rows have a label below 1 (first: {row})")
        _refuse(truth, truth.select("user_id", "item_id").is_duplicated(), "truth: {n} rows repeat a user and item (first: {row})")
        _refuse(truth, ~truth["user_id"].is_in(self.users.implode()), "truth: {n} rows of users without a query (first: {row})")
        _refuse(truth, ~truth["item_id"].is_in(self._item_ids), "truth: {n} rows name an item outside the catalogue (first: {row})")
        return truth.filter(pl.col("label") >= self.relevant_from)

    @cached_property
    def _item_ids(self) -> pl.Series:
        items = self.catalogue.select("item_id")
        _refuse(items, items.is_duplicated(), "catalogue: {n} rows repeat an item (first: {row})")
        return self.catalogue["item_id"].implode()

    def _indexed(self, frame: pl.DataFrame) -> pl.DataFrame:
        users = self.judged.to_frame("user_id").with_columns(user_index=pl.int_range(pl.len(), dtype=pl.Int32))
        items = self.catalogue.select("item_id", item_index=pl.int_range(pl.len(), dtype=pl.Int32))
        return frame.join(users, on="user_id", how="inner").join(items, on="item_id", how="inner")

    def _dense(self, places: tuple[NDArray[Any], NDArray[Any]], values: pl.Series, empty: int) -> Index:
        dense = np.full((len(self.judged), K), empty, dtype=np.int32)
        dense[places] = values.to_numpy()
        return dense


def _refuse(frame: pl.DataFrame, is_wrong: pl.Series, message: str) -> None:
    wrong = frame.filter(is_wrong)
    if wrong.height:
        raise TableError(message.format(n=wrong.height, row=wrong.row(0, named=True)) + ". Make the table again.")
