"""What happened of late: how much of each kind, and of what more was sent back or closed at once than was usual."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl

from recsys.schema import TIME

RECENT_DAYS = 7
BEFORE_DAYS = 28
"""The last days are compared with those before them."""

PRIOR = 10.0
"""Strength of the shop's own rate in that of an item, category or topic, in events."""

MOST = 20
"""Surges that are told of each kind and level, the strongest first."""

REACTIONS = {"return": "purchases", "short view": "clicks"}
"""Kinds of bad reaction, and what they are counted against: who sells twice as much gets twice as much back."""

LEVELS = ("item", "category", "topic")


def volumes(events: pl.LazyFrame, as_of: datetime, types: list[str]) -> dict[str, int]:
    """Events of each of `types` on the day before as_of; 0 where there is none."""
    day = events.filter(pl.col("event_time").is_between(pl.lit(as_of - timedelta(days=1), TIME), pl.lit(as_of, TIME), closed="left"))
    found = dict(day.group_by("event_type").len().collect(engine="streaming").iter_rows())
    return {name: found.get(name, 0) for name in types}


def reactions(events: pl.LazyFrame, as_of: datetime, is_short: pl.Expr) -> pl.DataFrame:
    """item_id, and of each kind `<kind>`, and what it is counted against, `_recent` and `_before`: counts of an item's events.

    Recent: the last RECENT_DAYS before as_of; before: the BEFORE_DAYS before those. is_short: of an event, is it a short view.
    """
    recent, first = as_of - timedelta(days=RECENT_DAYS), as_of - timedelta(days=RECENT_DAYS + BEFORE_DAYS)
    is_recent, kind = pl.col("event_time") >= pl.lit(recent, TIME), pl.col("event_type")
    counted = {"return": kind == "return", "purchases": kind == "purchase", "short view": is_short, "clicks": kind == "click"}
    window = events.filter(pl.col("event_time").is_between(pl.lit(first, TIME), pl.lit(as_of, TIME), closed="left"))
    when = {"recent": is_recent, "before": ~is_recent}
    sums = [(which & time).sum().cast(pl.Int64).alias(f"{name}_{part}") for name, which in counted.items() for part, time in when.items()]
    return window.group_by("item_id").agg(sums).sort("item_id").collect(engine="streaming")


def surges(counts: pl.DataFrame, items: pl.DataFrame, fewest: int) -> Iterator[tuple[str, float]]:
    """`<kind> of <level> <name>`, and how many times the usual rate the recent one is: the MOST of each kind and level, strongest first.

    counts: of `reactions`; items: item_id and the other LEVELS, null where an item has none. Only what happened at least `fewest` times of
    late is told. Rates lean towards the shop's own of the time before, so that a handful of events is no rate; nothing is told of a kind
    for which there is no time before.
    """
    rows = counts.join(items, on="item_id", how="left").with_columns(item=pl.col("item_id"))
    for kind, against in REACTIONS.items():
        n_before, n_against = (int(rows[f"{name}_before"].sum()) for name in (kind, against))
        if not n_against:
            continue
        # One more on both sides: where nothing was ever sent back, the first dozen is a surge and no infinite one.
        shop = (n_before + 1) / (n_against + 1)
        for level in LEVELS:
            grouped = rows.filter(pl.col(level).is_not_null()).group_by(level).agg(pl.col(pl.Int64).sum())
            rate = {
                part: (pl.col(f"{kind}_{part}") + PRIOR * shop) / (pl.col(f"{against}_{part}") + PRIOR) for part in ("recent", "before")
            }
            found = grouped.filter(pl.col(f"{kind}_recent") >= fewest).select(level, times=rate["recent"] / rate["before"])
            for name, times in found.sort(["times", level], descending=[True, False]).head(MOST).iter_rows():
                yield f"{kind} of {level} {name}", times
