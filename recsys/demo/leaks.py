"""The leak audit of the tour: on the shop as it is, and on a copy of its tables with a leak planted in it, which must be found.

Both are the part of `recsys check --leaks` that needs the tables alone: seconds.
"""

from collections.abc import Iterator

import polars as pl

from recsys import timeline
from recsys.ingest import CheckResult
from recsys.pipeline import leaks, tables
from recsys.pipeline.job import Job


def audited(job: Job) -> Iterator[str]:
    """A line on the shop as it is, and one on the copy. The job's tables are there, or are ingested."""
    items, scanned = tables.read(tables.tables(job))
    events = scanned.collect()
    ledger = timeline.evaluation_ledger(*timeline.span(scanned), job.config)
    assert ledger.test is not None
    planted = plant_column(items, ledger.test.of(events))
    yield f"Leaks:           {_told(leaks.of_tables(job.config, items, events, ledger))}"
    yield f"... planted:     {_told(leaks.of_tables(job.config, planted, events, ledger))}"


def plant_column(items: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """The items with `attributes` that were written after the fact: which of them were bought in the later events."""
    bought = later.filter(pl.col("event_type") == "purchase")["item_id"].unique()
    return items.with_columns(attributes=pl.when(pl.col("item_id").is_in(bought.implode())).then(pl.lit("A1")).otherwise(pl.lit("B2")))


def _told(results: list[CheckResult]) -> str:
    n_passed = sum(result.status == "PASS" for result in results)
    caught = [
        f"{result.status} {result.name}: {', '.join(result.examples) or result.message}" for result in results if result.status != "PASS"
    ]
    return "; ".join([f"{n_passed} of {len(results)} checks of the tables pass", *caught])
