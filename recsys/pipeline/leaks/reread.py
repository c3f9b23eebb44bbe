"""Drop the future from the files: read again as if the later lines were not there, items and events must be the same.

An SQL expression may look at many lines (`COUNT(*) OVER (PARTITION BY customer)`), and items that come out of the events take their
text from lines: in both, what comes later can change what was.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from recsys.ingest import CheckResult, Tables
from recsys.pipeline.leaks.found import found
from recsys.schema import EVENTS, ITEMS, TIME

NAME = "tables without the future"


@dataclass(frozen=True)
class Changed:
    """What differs as of one moment: events (EVENTS), one row each, and items (item_id, column, now, then), one row a value."""

    moment: datetime
    events: pl.DataFrame
    items: pl.DataFrame
    n_events: int
    n_items: int


def changed(whole: Tables, then: Tables, moment: datetime, from_events: bool) -> Changed:
    """The tables of all lines against those of the lines before the moment. Of items from events, those born by then."""
    events, items = whole.events.filter(_before("event_time", moment)), whole.items
    if from_events:
        items = items.filter(_before("available_from", moment))
    return Changed(moment, _one_sided(events, then.events), _other_values(items, then.items), events.height, items.height)


def reread(parts: list[Changed]) -> CheckResult:
    """One result of all moments."""
    n_events, n_items = sum(part.events.height for part in parts), sum(part.items["item_id"].n_unique() for part in parts)
    looked = ", ".join(f"{part.moment:%Y-%m-%d} ({part.n_events:,} events, {part.n_items:,} items)" for part in parts)
    if not n_events + n_items:
        return found(NAME, "PASS", 0, f"read again without what came later, all is the same as of {looked}")
    message = (
        f"{n_events:,} events and {n_items:,} items are other ones where the lines that came later are taken away (as of {looked}): "
        "an expression of the config looks at many lines. Let it look at its own line alone"
    )
    return found(NAME, "FAIL", n_events + n_items, message, (example for part in parts for example in _examples(part)))


def _before(column: str, moment: datetime) -> pl.Expr:
    return pl.col(column) < pl.lit(moment, TIME)


def _one_sided(events: pl.DataFrame, then: pl.DataFrame) -> pl.DataFrame:
    if events.equals(then):
        return events.clear()
    sides = ((events, then), (then, events))
    return pl.concat([one.join(other, on=EVENTS.names, how="anti", nulls_equal=True) for one, other in sides])


def _other_values(items: pl.DataFrame, then: pl.DataFrame) -> pl.DataFrame:
    both = items.join(then, on="item_id", how="full", coalesce=True, suffix=" then")
    texts = [name for name in ITEMS.names if name != "item_id"]
    parts = [
        both.filter(pl.col(name).ne_missing(pl.col(f"{name} then"))).select(
            "item_id",
            column=pl.lit(name),
            now=pl.col(name).cast(pl.String),
            then=pl.col(f"{name} then").cast(pl.String),
        )
        for name in texts
    ]
    return pl.concat(parts).sort("item_id", maintain_order=True)


def _examples(part: Changed) -> list[str]:
    items = [
        f"{row['item_id']}: {row['column']} {row['now']!r}, and {row['then']!r} before" for row in part.items.head(3).iter_rows(named=True)
    ]
    rows = part.events.head(3).iter_rows(named=True)
    events = [f"{row['user_id']} {row['event_type']} {row['item_id']} {row['event_time']:%Y-%m-%d %H:%M:%S}" for row in rows]
    return [f"as of {part.moment:%Y-%m-%d}: {example}" for example in items + events]
