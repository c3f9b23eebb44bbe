"""How far a list is from the best possible one, by the truth that training never reads.

The worth of showing an item is its expected label were it examined: P(click) (1 + P(cart | click) (1 + P(purchase | cart))),
0 to 3, with what the user knows and owns by then. Refills that a user would have bought unasked are not in it.
"""

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from recsys.demo.world import START, Floats, sigmoid, worth
from recsys.errors import DataError

CUTOFF = 10
CHUNK_USERS = 512


@dataclass(frozen=True)
class Truth:
    """The files of truth/: items in order of item_id; users one row per period; habits one row per change."""

    items: pl.DataFrame
    users: pl.DataFrame
    habits: pl.DataFrame

    @classmethod
    def read(cls, folder: Path) -> "Truth":
        """Read the truth of the shop in `folder`. Raises DataError where there is none."""
        paths = [folder / "truth" / f"{name}.parquet" for name in ("items", "users", "habits")]
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            raise DataError(f"{', '.join(missing)}: no such file. Only a shop written by `recsys demo` has a truth; write it again.")
        return cls(*(pl.read_parquet(path) for path in paths))

    def day(self, when: date) -> int:
        """Days from the shop's first one. Raises DataError outside the days it lived and the one after."""
        day, last = (when - START).days, self.items.schema["lift"].shape[0] - 1  # type: ignore[attr-defined]
        if not 0 <= day <= last:
            raise DataError(f"demo shop: {when} is not one of its days, {START} and {last} days on. Ask for a day of the shop.")
        return day

    def interest(self, user_ids: pl.Series, when: date) -> Floats:
        """As `true_interest`."""
        return self._offered(worth(self._logit(user_ids, self.day(when))), when)

    def click_chance(self, user_ids: pl.Series, when: date) -> Floats:
        """(n_users, n_items) float32: P(click) of an item looked at, by what the user knew that morning; else as `true_interest`."""
        return self._offered(sigmoid(self._logit(user_ids, self.day(when))), when)

    def _offered(self, values: Floats, when: date) -> Floats:
        """The values, 0 for what is not on offer."""
        day = self.day(when)
        is_open = self.items.select(open=(pl.col("first_day") <= day) & (pl.col("last_day") > day))["open"].to_numpy()
        return np.where(is_open, values, 0).astype(np.float32)

    def _logit(self, user_ids: pl.Series, day: int) -> Floats:
        period = self.users.filter(pl.col("first_day") <= day).filter(pl.col("period") == pl.col("period").max())
        people = period.with_row_index("place").select("user_id", "place", "taste")
        users = pl.DataFrame({"user_id": user_ids}).join(people, on="user_id", how="left", maintain_order="left")
        unknown = users.filter(pl.col("place").is_null())["user_id"]
        if len(unknown):
            raise DataError(f"demo shop: {len(unknown)} user_ids are not its own (first: {unknown[0]}). Pass users of this shop.")
        logit = users["taste"].to_numpy() @ self.items["traits"].to_numpy().T + self.items["lift"].to_numpy()[:, day]
        return np.asarray(logit + self._habit(users["place"], day))

    def _habit(self, places: pl.Series, day: int) -> Floats:
        """(n_users, n_items): what the past does to interest, for the users at these places. The latest change holds."""
        asked = pl.DataFrame({"row": np.arange(len(places)), "user_index": places.cast(pl.Int64)})
        changes = self.habits.with_row_index("order").filter(pl.col("day") < day).join(asked, on="user_index").sort("order")
        habit = np.zeros((len(places), self.items.height), dtype=np.float32)
        habit[changes["row"].to_numpy(), changes["item_index"].to_numpy()] = changes["logit"].to_numpy()
        return habit


def true_interest(folder: Path, user_ids: pl.Series, day: date) -> Floats:
    """Expected label of every item for every user on `day`, were it examined: (n_users, n_items) float32, 0 to 3.

    Items in order of item_id; 0 for those not on offer that day. `day` may be any day of the shop or the one after its last.
    Dense: pass users in chunks. Raises DataError for unknown users, other days, and a folder without a truth.
    """
    return Truth.read(folder).interest(user_ids, day)


def oracle_share(folder: Path, lists: pl.DataFrame) -> pl.DataFrame:
    """Per list, its share of what was possible: true worth of its top 10 over that of the 10 truly best items on offer.

    lists: user_id, item_id, rank from 1, as_of (date or datetime). Returns user_id, as_of, share (Float64, 0 to 1), sorted.
    An item not on offer is worth nothing. Raises DataError for users, items or days that are not the shop's.
    """
    truth = Truth.read(folder)
    places = truth.items.select("item_id", item_index=pl.int_range(pl.len()))
    top = lists.filter(pl.col("rank") <= CUTOFF).join(places, on="item_id", how="left")
    unknown = top.filter(pl.col("item_index").is_null())["item_id"]
    if len(unknown):
        raise DataError(f"demo shop: {len(unknown)} item_ids are not its own (first: {unknown[0]}). Pass lists made for this shop.")
    chunks = []
    for (as_of,), rows in top.sort("as_of", "user_id").partition_by("as_of", as_dict=True, maintain_order=True).items():
        day = as_of.date() if isinstance(as_of, datetime) else as_of
        users = rows["user_id"].unique().sort()
        for start in range(0, len(users), CHUNK_USERS):
            chunks.append(_shares(truth, rows, users[start : start + CHUNK_USERS], day))
    empty = top.select("user_id", "as_of", share=pl.lit(0.0)).clear()
    return pl.concat([empty, *chunks]).sort("user_id", "as_of")


def _shares(truth: Truth, rows: pl.DataFrame, users: pl.Series, day: date) -> pl.DataFrame:
    interest = truth.interest(users, day)
    best = np.partition(interest, -CUTOFF, axis=1)[:, -CUTOFF:].sum(axis=1, dtype=np.float64)
    listed = rows.join(pl.DataFrame({"user_id": users, "row": np.arange(len(users))}), on="user_id")
    worths = interest[listed["row"].to_numpy(), listed["item_index"].to_numpy()].astype(np.float64)
    got = np.bincount(listed["row"].to_numpy(), weights=worths, minlength=len(users))
    as_of = pl.Series("as_of", [rows["as_of"][0]], dtype=rows.schema["as_of"]).new_from_index(0, len(users))
    return pl.DataFrame({"user_id": users, "as_of": as_of, "share": got / best})
