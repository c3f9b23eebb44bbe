"""What the tables hold: events by day and type, what was read, kept and rejected; and what was found by named checks."""

from typing import TYPE_CHECKING, Any

import polars as pl

from recsys.artefacts import Home, Run, collected
from recsys.schema import EVENT_TYPES

if TYPE_CHECKING:
    import pandas as pd


COUNTED = ("read", "kept", "merged", "rejected")
"""In which order the counts of a table are read."""


def volumes_frame(home: Home, source: Run) -> "pd.DataFrame":
    """day, event_type, n of the events that a run or night stands on: each day of their span and each type they have, 0 where none."""
    tables = home.tables(source.manifest["tables"])
    days = tables.scan("events").select("event_type", day=pl.col("event_time").dt.date())
    counts = collected(days.group_by("day", "event_type").len("n"), tables)
    span = counts.select(pl.date_range(pl.col("day").min(), pl.col("day").max()))
    every = span.join(counts.select("event_type").unique(), how="cross").join(counts, on=["day", "event_type"], how="left")
    order = pl.col("event_type").replace_strict({name: place for place, name in enumerate(EVENT_TYPES)}, return_dtype=pl.Int8)
    rows = every.with_columns(pl.col("n").fill_null(0)).sort(order, "day")
    return rows.select(pl.col("day").cast(pl.Datetime("us")), "event_type", "n").to_pandas()


def counts_frame(home: Home, source: Run) -> "pd.DataFrame":
    """table, what, rows: what was read, kept, merged, rejected and for which reason, when the tables were made."""
    counts = home.tables(source.manifest["tables"]).record("counts")
    named = [(*name.split(" ", 1), count) for name, count in counts.items()]
    rows = sorted(named, key=lambda row: (row[0], *(not row[1].startswith(word) for word in COUNTED), row[1]))
    return pl.DataFrame(rows, schema={"table": pl.String, "what": pl.String, "rows": pl.Int64}, orient="row").to_pandas()


def checks_frame(found: dict[str, Any]) -> "pd.DataFrame":
    """name, status, count, message, examples (one a line) of what `Home.checks` gives."""
    rows = [(c["name"], c["status"], c["count"], c["message"], "\n".join(c["examples"])) for c in found["checks"]]
    schema = {"name": pl.String, "status": pl.String, "count": pl.Int64, "message": pl.String, "examples": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").to_pandas()
