"""What a user did and what tonight's list offers them, with titles and prices: reads the rows of that user, never the whole table."""

import logging
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from recsys.artefacts import Home, Run
from recsys.errors import ArtefactError
from recsys.schema import INTERACTIONS, TIME

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

PARTS = "recommendations/part-*.parquet"
NIGHTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "night_id": pl.String,
    "as_of": TIME,
    "run_id": pl.String,
    "n_users": pl.Int64,
    "n_rows": pl.Int64,
    "seconds": pl.Float64,
    "is_served": pl.Boolean,
}


def nights(home: Home) -> "pd.DataFrame":
    """night_id, as_of, run_id, n_users, n_rows, seconds, is_served of every complete night, the latest first."""
    folders = [path.name for path in home.nights.glob("*/") if not path.name.startswith(".")] if home.nights.is_dir() else []
    complete = [night for name in folders if (night := _complete(home, name))]
    served = home.night().run_id if complete else None
    found = [
        (night.run_id, datetime.fromisoformat(m["as_of"]), m["run_id"], m["n_users"], m["n_rows"], m["seconds"], night.run_id == served)
        for night in complete
        for m in [night.manifest]
    ]
    return pl.DataFrame(found, schema=NIGHTS, orient="row").sort("as_of", "night_id", descending=True).to_pandas()


def _complete(home: Home, night_id: str) -> Run | None:
    try:
        return home.night(night_id)
    except ArtefactError as error:
        log.warning("left out: %s", error)
        return None


def user_ids(home: Home, source: Run, search: str = "", limit: int = 50) -> list[str]:
    """At most `limit` ids that hold `search`: the equal one first, then those that begin with it, then the others.

    source: a run, for the users with events, or a night, for those with a list too.
    """
    ids = [home.tables(source.manifest["tables"]).scan("events").select("user_id")]
    if _is_night(source):
        ids.append(pl.scan_parquet(source.path / PARTS).select("user_id"))
    user = pl.col("user_id")
    found = pl.concat(ids).filter(user.str.contains(search, literal=True)).unique()
    order = [user != search, ~user.str.starts_with(search), user]
    return found.sort(order).head(limit).collect()["user_id"].to_list()


def history_of(home: Home, source: Run, user_id: str) -> "pd.DataFrame":
    """item_id, title, category, event_type, event_time, price: the user's interactions, latest first.

    source: a run or a night; nothing at or after its as_of is shown.
    """
    tables = home.tables(source.manifest["tables"])
    events = (
        tables.scan("events")
        .filter((pl.col("user_id") == user_id) & _before(source) & pl.col("event_type").is_in(INTERACTIONS))
        .select("item_id", "event_type", "event_time", "price")
    )
    rows = events.join(_titles(tables), on="item_id", how="left").sort(
        "event_time", "item_id", "event_type", descending=[True, False, False]
    )
    return rows.select("item_id", "title", "category", "event_type", "event_time", "price").collect().to_pandas()


def tonight_of(home: Home, night_id: str | None, user_id: str) -> "pd.DataFrame":
    """rank, item_id, title, category, price, score, reason: the user's list of a night (None: the one that is served); no row: no list.

    price: as of the night, at the item's latest event, else the list price. Raises ArtefactError where nothing is published.
    """
    night = home.night(night_id)
    tables = home.tables(night.manifest["tables"])
    listed = pl.scan_parquet(night.path / PARTS).filter(pl.col("user_id") == user_id).collect()
    prices = tables.scan("events").filter(
        pl.col("item_id").is_in(listed["item_id"].implode()) & _before(night) & pl.col("price").is_not_null()
    )
    latest = prices.group_by("item_id").agg(pl.col("price").sort_by("event_time", "price").last().alias("event_price"))
    rows = listed.lazy().join(_titles(tables, "price"), on="item_id", how="left").join(latest, on="item_id", how="left").sort("rank")
    price = pl.coalesce("event_price", "price").alias("price")
    return rows.select("rank", "item_id", "title", "category", price, "score", "reason").collect().to_pandas()


def _titles(tables: Run, *more: str) -> pl.LazyFrame:
    """item_id, title (the id where the shop gives none), category."""
    title = pl.when(pl.col("title") == "").then("item_id").otherwise("title").alias("title")
    return tables.scan("items").select("item_id", title, "category", *more)


def _before(source: Run) -> pl.Expr:
    return pl.col("event_time") < pl.lit(datetime.fromisoformat(source.manifest["as_of"]), TIME)


def _is_night(source: Run) -> bool:
    return any(name.startswith("recommendations/") for name in source.manifest["digests"])
