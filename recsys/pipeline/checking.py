"""`recsys check`: checks of the data, of windows, rules and slices, whether a loss over impressions has any, and of leaks if asked."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import numpy as np
import polars as pl

from recsys import ingest, rules, timeline
from recsys.blocks import Catalogue
from recsys.config import Config
from recsys.errors import RecsysError
from recsys.ingest import CheckResult
from recsys.pipeline import forgotten
from recsys.pipeline.job import Job
from recsys.pipeline.slicing import try_slices


def check(job: Job, leaks: bool = False) -> list[CheckResult]:
    """Every named check, in order, of the raw files without those who were forgotten; nothing is trained or written.

    leaks: also those of the family `leak:`, which take minutes.
    """
    left_out = partial(forgotten.left_out, forgotten=forgotten.digests(job.home.folder))
    results = ingest.run_checks(job.config, job.base, job.now, left_out)
    if any(result.status == "FAIL" for result in results):
        return results + ([_no_audit()] if leaks else [])
    sources = ingest.read_sources(job.config, job.base)
    tables = left_out(ingest.build(sources, job.config, job.now))
    try:
        ingest.reject_empty(tables, job.config)
        ledger = timeline.evaluation_ledger(*timeline.span(tables.events.lazy()), job.config)
    except RecsysError as error:
        results += [CheckResult("windows", "FAIL", 1, str(error), ())]
        return results + (_leaks(job, sources, tables, None, left_out) if leaks else [])
    results += [_windows(tables.events, ledger)]
    results += [_rules(job, tables)] if job.config.rules.names else []
    results += [_slices(job, tables)] if job.config.evaluate.slices else []
    if job.config.text.loss != "softmax":
        results += [_lists(job, Catalogue.of(tables.items), tables.events, ledger.text)]
    return results + (_leaks(job, sources, tables, ledger, left_out) if leaks else [])


def _leaks(
    job: Job,
    sources: ingest.Sources,
    tables: ingest.Tables,
    ledger: timeline.Ledger | None,
    left_out: Callable[[ingest.Tables], ingest.Tables],
) -> list[CheckResult]:
    from recsys.pipeline import leaks  # torch: only where candidates are made

    return leaks.audit(job, sources, tables, ledger, left_out)


def _no_audit() -> CheckResult:
    from recsys.pipeline.leaks import unjudged

    return unjudged("audit", "mend what fails above first")


def _windows(events: pl.DataFrame, ledger: timeline.Ledger) -> CheckResult:
    empty = [window.name for window in ledger.windows if not len(timeline.active_users(events, window))]
    if empty:
        return CheckResult("windows", "FAIL", len(empty), f"nobody acted in: {', '.join(empty)}. Choose longer windows in [time].", ())
    spans = tuple(f"{w.name} {w.start:%Y-%m-%d} to {w.end:%Y-%m-%d}: {len(timeline.active_users(events, w))} users" for w in ledger.windows)
    return CheckResult("windows", "PASS", len(spans), "text, ranker folds, valid and test fit in the data", spans)


def try_rules(config: Config, items: pl.DataFrame, users: pl.LazyFrame | None) -> list[str]:
    """Read every rule on every item and user: what can never come true. Raises SourceError where a condition does not fit."""
    if not config.rules.names:
        return []
    known = users.collect() if users is not None else pl.DataFrame()
    everything = np.ones(items.height, bool)
    return rules.Book.of(config.rules, items, known.head(0), everything, None).tried(known, config.rank.k)


def _rules(job: Job, tables: ingest.Tables) -> CheckResult:
    users = tables.users.lazy() if tables.users is not None else None
    try:
        notes = try_rules(job.config, tables.items, users)
    except RecsysError as error:
        return CheckResult("rules", "FAIL", 1, str(error), ())
    fitting = f"{len(job.config.rules.names)} rules fit the columns of items and users"
    return CheckResult("rules", "WARN" if notes else "PASS", len(notes), "; ".join(notes) if notes else fitting, ())


def _slices(job: Job, tables: ingest.Tables) -> CheckResult:
    try:
        try_slices(job.config, tables.items, tables.users.lazy() if tables.users is not None else None)
    except RecsysError as error:
        return CheckResult("slices", "FAIL", 1, str(error), ())
    asked = job.config.evaluate.slices
    return CheckResult("slices", "PASS", len(asked), f"numbers, text or yes and no: {', '.join(asked)}", ())


def _lists(job: Job, catalogue: Catalogue, events: pl.DataFrame, window: timeline.Window) -> CheckResult:
    from recsys.pipeline.shown import shown_lists  # torch: only where a loss asks for it
    from recsys.text.shown import refuse_none

    end = window.end - timedelta(days=job.config.text.valid_days)
    shown = shown_lists(events.lazy(), catalogue, timeline.active_users(events, window), window.start, end, job.config)
    try:
        refuse_none(shown, job.config.text.loss)
    except RecsysError as error:
        return CheckResult("lists", "FAIL", len(shown), str(error), ())
    told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in shown.counts.items())
    return CheckResult("lists", "PASS", len(shown), f"what was shown in the text window: {told}", ())
