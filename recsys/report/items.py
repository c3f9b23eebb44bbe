"""The items as a run or night knew them: titles, prices, how old and how busy; and found again by what a person types."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from recsys.artefacts import Home, Run, collected
from recsys.schema import INTERACTIONS, TIME

if TYPE_CHECKING:
    import pandas as pd

TITLE = pl.when(pl.col("title") == "").then("item_id").otherwise("title").alias("title")
"""The id where the shop gives no title."""

NEW_DAYS = 28
"""An item is new for so many days, as in the verdict's slices by age."""


def moment_of(source: Run) -> datetime:
    """The as_of of a run or night."""
    return datetime.fromisoformat(source.manifest["as_of"])


def before(source: Run) -> pl.Expr:
    """Of an event: did it happen before the as_of of a run or night."""
    return pl.col("event_time") < pl.lit(moment_of(source), TIME)


def items_of(home: Home, source: Run, item_ids: pl.Series | None = None) -> pl.DataFrame:
    """item_id, title (the id where the shop gives none), category, price, since, n_events of every item, or of `item_ids`; by item_id.

    source: a run or a night; nothing at or after its as_of is known. price: at the item's latest event, else the list price. since: when
    it became available, else its first event; null where neither is known. n_events (UInt32): interactions.
    """
    tables = home.tables(source.manifest["tables"])
    is_asked = pl.lit(True) if item_ids is None else pl.col("item_id").is_in(item_ids.implode())
    events = tables.scan("events").filter(is_asked & before(source))
    priced = pl.when(pl.col("price").is_not_null()).then("event_time").alias("priced")
    acts = pl.col("event_type").is_in(INTERACTIONS).alias("acts")
    happened = (
        events.select("item_id", "event_time", "price", priced, acts)
        .group_by("item_id")
        .agg(
            pl.col("price").filter(pl.col("priced") == pl.col("priced").max()).max().alias("event_price"),
            pl.col("event_time").min().alias("first_event"),
            pl.col("acts").sum().alias("n_events"),
        )
    )
    items = tables.scan("items").filter(is_asked).join(happened, on="item_id", how="left")
    described = items.select(
        "item_id",
        TITLE,
        "category",
        pl.coalesce("event_price", "price").alias("price"),
        pl.coalesce("available_from", "first_event").alias("since"),
        pl.col("n_events").fill_null(0).cast(pl.UInt32),
    )
    return collected(described.sort("item_id"), tables)


def item_of(home: Home, source: Run, item_id: str) -> dict[str, object]:
    """The row of the items table, as the shop gives it; empty for an unknown id."""
    tables = home.tables(source.manifest["tables"])
    found = collected(tables.scan("items").filter(pl.col("item_id") == item_id), tables)
    return found.row(0, named=True) if found.height else {}


def search_items(items: pl.DataFrame, typed: str, limit: int) -> pl.DataFrame:
    """The rows of `items_of` whose id is `typed`, then those whose title, or id, holds it in any case; the busiest first."""
    words = pl.lit(typed.lower())
    in_title, in_id = (pl.col(name).str.to_lowercase().str.contains(words, literal=True) for name in ("title", "item_id"))
    return items.filter(in_title | in_id).sort(pl.col("item_id") != typed, -pl.col("n_events").cast(pl.Int64), "item_id").head(limit)


def new_items(items: pl.DataFrame, listed: pl.DataFrame, source: Run) -> "pd.DataFrame":
    """item_id, title, category, days, n_events, n_lists, mean_rank of what came in the last NEW_DAYS, the newest first.

    items: of `items_of`; listed: of `listed`. days (Float64) since it came; null for an item that says nothing of when, and that had no
    event yet. What comes only after the as_of is left out: it may not be listed yet.
    """
    now = pl.lit(moment_of(source), TIME)
    days = ((now - pl.col("since")).dt.total_seconds() / 86_400).alias("days")
    is_new = pl.col("since").is_null() | pl.col("since").is_between(now - timedelta(days=NEW_DAYS), now, closed="left")
    rows = items.filter(is_new).join(listed, on="item_id", how="left").with_columns(days, pl.col("n_lists").fill_null(0))
    order = rows.sort("days", "item_id", nulls_last=False)
    return order.select("item_id", "title", "category", "days", "n_events", "n_lists", "mean_rank").to_pandas()
