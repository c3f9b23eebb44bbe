"""Items before they were available, and dates that were made out of what happened."""

import polars as pl

from recsys import timeline
from recsys.config_tables import Check
from recsys.ingest import CheckResult
from recsys.pipeline.leaks.found import FEWEST, beyond, found
from recsys.schema import INTERACTIONS, TIME

ON_SALE, DATES = "events on sale", "dates after the fact"

SLOW_DAYS = 2.0
"""Of an item with an act every other day or rarer, honest dates coincide with its first or last act in four of ten cases at most
(1 - exp(-1/2)); of a faster one they tell nothing.
"""


def events_on_sale(items: pl.DataFrame, events: pl.DataFrame, limits: Check) -> CheckResult:
    """Events of any type before the item's available_from or, but for returns, from its available_until on."""
    dated = items.filter(pl.col("available_from").is_not_null() | pl.col("available_until").is_not_null())
    if dated.is_empty():
        return found(ON_SALE, "PASS", 0, f"none of the {items.height:,} items says when it came or went: nothing to hold events against")
    moments = events.select("user_id", "item_id", "event_type", "event_time").join(
        dated.select("item_id", "available_from", "available_until"), on="item_id"
    )
    is_early = pl.col("event_time") < pl.col("available_from")
    is_late = (pl.col("event_time") >= pl.col("available_until")) & (pl.col("event_type") != "return")
    wrong = moments.with_columns(is_early=is_early.fill_null(False)).filter(pl.col("is_early") | is_late)
    n_early = int(wrong["is_early"].sum())
    share = wrong.height / max(events.height, 1)
    message = (
        f"{n_early:,} events before the item's available_from, {wrong.height - n_early:,} after its available_until: {share:.2%} of "
        f"{events.height:,}, {wrong['item_id'].n_unique():,} of {dated.height:,} items with a date"
    )
    status = beyond(share, limits.leak_early)
    hint = "" if status == "PASS" else ". Is it the date of a relaunch, or of the export? Such an item is no candidate when it could be had"
    return found(ON_SALE, status, wrong.height, message + hint, _wrong_examples(wrong))


def dates_after_the_fact(
    items: pl.DataFrame, events: pl.DataFrame, windows: list[timeline.Window], from_events: bool, limits: Check
) -> CheckResult:
    """Is available_from the day of an item's first act, or available_until that of its last: then who is on sale tells who sells."""
    if from_events:
        return _born_by_selling(items, events, windows)
    acts = _acts(events)
    told, shares = [], []
    for column, side in (("available_from", "first"), ("available_until", "last")):
        slow = _slow(items, acts, column, events)
        share = slow.select(((pl.col(column) - pl.col(side)).dt.total_hours().abs() < 24).mean()).item() if slow.height else None
        told.append(f"{column} of {slow.height:,} slow items is within a day of their {side} act in {share or 0:.0%}")
        shares.append(share if share is not None and slow.height >= FEWEST else 0.0)
    status = beyond(max(shares), limits.leak_dates)
    hint = "" if status == "PASS" else ". Dates made out of sales know who will sell: take those of the catalogue, or leave the column out"
    return found(DATES, status, sum(share > 0 for share in shares) if status != "PASS" else 0, "; ".join(told) + hint)


def _born_by_selling(items: pl.DataFrame, events: pl.DataFrame, windows: list[timeline.Window]) -> CheckResult:
    told, born_ids = [], []
    for window in windows:
        born = items.filter(pl.col("available_from").is_between(window.start, window.end, closed="left"))["item_id"]
        acts = window.of(events).filter(pl.col("event_type").is_in(INTERACTIONS))
        share = acts.select(pl.col("item_id").is_in(born.implode()).mean()).item() if acts.height else 0.0
        told.append(f"{len(born):,} in {window.name}, {share:.1%} of its acts")
        born_ids += born.to_list()
    message = (
        f"the items come out of the events, so one that is born inside a window is known by being sold there: {'; '.join(told)}. "
        "A catalogue with dates of its own (items.path) knows no such thing"
    )
    return found(DATES, "WARN" if born_ids else "PASS", len(born_ids), message, born_ids)


def _acts(events: pl.DataFrame) -> pl.DataFrame:
    acts = events.filter(pl.col("event_type").is_in(INTERACTIONS) & (pl.col("event_type") != "return"))
    return acts.group_by("item_id").agg(first=pl.col("event_time").min(), last=pl.col("event_time").max(), n=pl.len())


def _slow(items: pl.DataFrame, acts: pl.DataFrame, column: str, events: pl.DataFrame) -> pl.DataFrame:
    """Items with that date inside the days of the events, three acts or more, and a mean of SLOW_DAYS or more between two."""
    first, last = timeline.span(events.lazy())
    inside = items.filter((pl.col(column) > pl.lit(first, TIME)) & (pl.col(column) < pl.lit(last, TIME))).select("item_id", column)
    days = (pl.col("last") - pl.col("first")).dt.total_seconds() / 86_400
    return inside.join(acts.filter((pl.col("n") >= 3) & (days / (pl.col("n") - 1) >= SLOW_DAYS)), on="item_id")


def _wrong_examples(wrong: pl.DataFrame) -> list[str]:
    rows = wrong.sort("event_time", "user_id", "item_id").head(3).iter_rows(named=True)
    return [
        f"{row['user_id']} {row['event_type']} {row['item_id']} {row['event_time']:%Y-%m-%d %H:%M}, "
        + (
            f"available from {row['available_from']:%Y-%m-%d %H:%M}"
            if row["is_early"]
            else f"until {row['available_until']:%Y-%m-%d %H:%M}"
        )
        for row in rows
    ]
