"""Are lists whole? Who got none, whose is short, what stands twice, and what may not be shown: counted, whatever the lists are like."""

import numpy as np
import polars as pl

from recsys import metrics
from recsys.errors import TableError
from recsys.evaluate.layout import LISTS, rows_of
from recsys.schema import Table, check


def list_health(lists: pl.DataFrame, users: pl.Series, k: int, available: pl.Series) -> dict[str, dict[str, float | int]]:
    """`count` and `share` of each fault in the lists (user_id, item_id, rank) of `users` (unique), which should hold k items each.

    missing        users without an item, of all users
    short          users with fewer than k items, but one at least, of all users
    duplicates     places whose item stands in the list already, of all places that hold one
    unavailable    places whose item is not in `available` (item_id, unique), of all places that hold one
    strangers      rows of somebody who is not among `users`, of all rows; they are in no other count
    A share of nothing is NaN. Raises TableError where a column is missing or of another type, or somebody has more than k rows.
    """
    check(lists, Table("lists", LISTS))
    user = rows_of(lists["user_id"], users)
    rows = lists.select("item_id", "rank").with_columns(user=user).filter(pl.col("user") >= 0).sort("user", "rank", "item_id")
    places = _places(rows, available, len(users), k)
    held, n_items = int((places >= 0).sum()), len(available)
    return {
        "missing": _counted(metrics.is_missing(places).sum(), len(users)),
        "short": _counted(metrics.is_short(places).sum(), len(users)),
        "duplicates": _counted(metrics.duplicates(places).sum(), held),
        "unavailable": _counted(metrics.unavailable(places, np.arange(places.max(initial=0) + 1) < n_items).sum(), held),
        "strangers": _counted((user < 0).sum(), len(user)),
    }


def _places(rows: pl.DataFrame, available: pl.Series, n_users: int, k: int) -> metrics.Ints:
    """(n_users, k): the row of each item in `available`, numbers beyond for every other item; the rows of a user one after another."""
    user = rows["user"].to_numpy()
    place = np.arange(len(user)) - np.searchsorted(user, user)
    if place.max(initial=0) >= k:
        raise TableError(f"lists: {int((place == k).sum())} users have more than {k} rows. Give the length that lists should have.")
    others = rows.filter(~rows["item_id"].is_in(available.implode()))["item_id"].unique(maintain_order=True)
    known = pl.DataFrame({"item_id": pl.concat([available, others])}).with_columns(index=pl.int_range(pl.len(), dtype=pl.Int32))
    places = np.full((n_users, k), -1, dtype=np.int32)
    places[user, place] = rows.select("item_id").join(known, on="item_id", how="left", maintain_order="left")["index"].to_numpy()
    return places


def _counted(n: int, whole: int) -> dict[str, float | int]:
    return {"count": int(n), "share": int(n) / whole if whole else float("nan")}
