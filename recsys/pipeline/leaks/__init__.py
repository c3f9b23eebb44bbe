"""`recsys check --leaks`: does anything in the shop's tables tell the past what came later? Named checks of the family `leak:`.

`of_tables` looks at the tables alone, in seconds; `audit` also reads the raw lines again without the future, and makes candidates and
features of some users. Nothing is trained or written.
"""

from collections.abc import Callable
from datetime import datetime

import polars as pl

from recsys import ingest, timeline
from recsys.blocks import Catalogue
from recsys.config import Config
from recsys.ingest import CheckResult, Sources, Tables
from recsys.ingest.read import FILE
from recsys.pipeline.job import Job
from recsys.pipeline.leaks import alone, asof, borders, columns, logs, reread, sale
from recsys.pipeline.leaks.found import unjudged
from recsys.pipeline.leaks.side import kept_side
from recsys.pipeline.snapshot import labels

__all__ = ["audit", "of_tables", "unjudged"]

NO_WINDOWS = "the windows do not fit in the data"

Drop = Callable[[Tables], Tables]
"""Takes those out of the tables whom no example may name."""


def audit(job: Job, sources: Sources, tables: Tables, ledger: timeline.Ledger | None, left_out: Drop) -> list[CheckResult]:
    """Every leak check, in order. ledger: None where the data are too short for the windows: then what needs them says so."""
    times = ingest.parse_events(sources.events, job.config.events, job.now).rows["event_time"]
    files = logs.days_of_files(pl.DataFrame({"file": sources.events[FILE], "event_time": times}))
    quick = [*of_tables(job.config, tables.items, tables.events, ledger), files]
    if ledger is None:
        names = (reread.NAME, asof.FEATURES, asof.ON_SALE, alone.NAME)
        return [*(unjudged(name, NO_WINDOWS) for name in names), *quick]

    def then(moment: datetime) -> Tables:
        return left_out(ingest.build(ingest.before(sources, times, moment), job.config, job.now))

    return [*_without_the_future(job, tables, ledger, then), *quick]


def of_tables(config: Config, items: pl.DataFrame, events: pl.DataFrame, ledger: timeline.Ledger | None) -> list[CheckResult]:
    """The checks that need nothing but ITEMS and EVENTS, and the windows where they fit."""
    limits = config.check
    always = [sale.events_on_sale(items, events, limits), logs.impressions(events, limits), logs.order_within_days(events)]
    if ledger is None:
        names = (columns.NAME, borders.WINDOWS, borders.COPIES, borders.SESSIONS, sale.DATES)
        return [*(unjudged(name, NO_WINDOWS) for name in names), *always]
    judged = ledger.windows[-2:]
    return [
        columns.item_columns(Catalogue.of(items), events, judged, labels(config), limits),
        borders.windows_apart(ledger, events, config.time.gap_days),
        borders.copies(ledger, events, limits),
        borders.sessions(ledger, events, limits),
        sale.dates_after_the_fact(items, events, judged, config.items.from_events, limits),
        *always,
    ]


def _without_the_future(job: Job, tables: Tables, ledger: timeline.Ledger, then: Callable[[datetime], Tables]) -> list[CheckResult]:
    """As of the first fold, the valid and the test window: what was read, and what is made of it, without the lines from then on."""
    catalogue, changed, looked = Catalogue.of(tables.items), [], []
    side, windows = kept_side(job, catalogue), [ledger.folds[0], *ledger.windows[-2:]]
    for done, window in enumerate(windows, start=1):
        past = then(window.start)
        changed.append(reread.changed(tables, past, window.start, job.config.items.from_events))
        looked.append(asof.look(job, catalogue, side, tables.events, past.events, window))
        job.display.progress("leaks: windows", done, len(windows))
    return [
        reread.reread(changed),
        asof.without_the_future(looked, bool(side.vectors)),
        asof.on_sale(looked),
        alone.features_alone(looked[1], catalogue, tables.events, labels(job.config), job.config.check),
    ]
