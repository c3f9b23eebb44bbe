"""The time ledger: half-open windows counted back from the end of the data, and what is asked in each of them.

|------ text ------|- fold_1 -|- fold_2 -|- fold_3 -|- valid -|- test -|      evaluation
             |------ text ------|- fold_1 -|- fold_2 -|- fold_3 -|- fold_4 -| as_of  refit
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TypeVar

import polars as pl

from recsys.config import Config, Time
from recsys.errors import TooShortError
from recsys.schema import INTERACTIONS, TIME, WINDOWS

DAY = timedelta(days=1)

Events = TypeVar("Events", pl.DataFrame, pl.LazyFrame)


@dataclass(frozen=True)
class Window:
    """A half-open stretch of time `[start, end)`. Its candidates and features are as of `start`, its labels from inside."""

    name: str
    start: datetime
    end: datetime

    def of(self, events: Events) -> Events:
        """The events inside."""
        return events.filter((pl.col("event_time") >= pl.lit(self.start, TIME)) & (pl.col("event_time") < pl.lit(self.end, TIME)))


@dataclass(frozen=True)
class Ledger:
    """The windows of one fit: text, ranker folds and, in the evaluation run, valid and test."""

    text: Window
    folds: tuple[Window, ...]
    valid: Window | None
    test: Window | None

    @property
    def windows(self) -> list[Window]:
        """All of them, in order of time."""
        return [self.text, *self.folds, *(w for w in (self.valid, self.test) if w)]

    @property
    def moments(self) -> list[datetime]:
        """As of when lists are made: the start of each fold, then of valid and test window; or tonight, where the last fold ends."""
        asked = [*self.folds, *(w for w in (self.valid, self.test) if w)]
        return [window.start for window in asked] + ([] if self.valid else [self.folds[-1].end])

    def table(self) -> pl.DataFrame:
        """As a WINDOWS table."""
        rows = [(w.name, w.start, w.end) for w in self.windows]
        return pl.DataFrame(rows, schema={c.name: c.dtype for c in WINDOWS.columns}, orient="row")


def span(events: pl.LazyFrame) -> tuple[datetime, datetime]:
    """First midnight (UTC) at or before the first event, and the first midnight after the last one."""
    first, last = events.select(first=pl.col("event_time").min(), last=pl.col("event_time").max()).collect().row(0)
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return _midnight(first), _midnight(last) + DAY


def evaluation_ledger(start: datetime, end: datetime, config: Config) -> Ledger:
    """The windows of the evaluation run over data in `[start, end)`. Raises TooShortError naming settings that would fit."""
    time, gap = config.time, timedelta(days=config.time.gap_days)
    test = Window("test", end - timedelta(days=time.test_days), end)
    valid = Window("valid", test.start - gap - timedelta(days=time.valid_days), test.start - gap)
    folds = _folds(valid.start - gap, time)
    text = Window("text", start, folds[0].start - gap)
    _refuse_short(text, start, end, config)
    return Ledger(text, folds, valid, test)


def refit_ledger(start: datetime, end: datetime, config: Config) -> Ledger:
    """The windows of the production refit: those of the evaluation run, moved until the valid window, now the last fold, ends at `end`."""
    judged = evaluation_ledger(start, end, config)
    assert judged.valid is not None
    moved = end - judged.valid.end
    folds = [*judged.folds, replace(judged.valid, name=f"fold_{len(judged.folds) + 1}")]
    shifted = tuple(replace(fold, start=fold.start + moved, end=fold.end + moved) for fold in folds)
    return Ledger(replace(judged.text, end=judged.text.end + moved), shifted, None, None)


def _folds(end: datetime, time: Time) -> tuple[Window, ...]:
    edges = [end - timedelta(days=time.fold_days * back) for back in range(time.n_folds, -1, -1)]
    return tuple(Window(f"fold_{n}", a, b) for n, (a, b) in enumerate(pairwise(edges), start=1))


def _refuse_short(text: Window, start: datetime, end: datetime, config: Config) -> None:
    time, needed = config.time, 2 * config.text.valid_days
    have = (text.end - text.start) / DAY
    if have >= needed:
        return
    days = (end - start) // DAY
    asked = time.n_folds * time.fold_days + time.valid_days + time.test_days + 3 * time.gap_days + needed
    raise TooShortError(
        f"events: {days} days ({start:%Y-%m-%d} to {end:%Y-%m-%d}) are too few for the windows asked for, which need {asked}: "
        f"{needed} of text (2 x text.valid_days), {time.n_folds} x {time.fold_days} of folds, {time.valid_days} valid, "
        f"{time.test_days} test, 3 x {time.gap_days} gap. {_smallest(days)}"
    )


def _smallest(days: int) -> str:
    unit = days // 6
    if unit < 1:
        return f"No setting fits {days} days: at least 6 are needed. Collect more."
    return (
        f"What would fit: text.valid_days = {unit}, time.fold_days = {unit}, time.n_folds = 2, time.valid_days = {unit}, "
        f"time.test_days = {unit}, time.gap_days = 0. The smallest that ever fit: 6 days, with 1 for each and n_folds = 2."
    )


def truth(events: pl.DataFrame, window: Window, labels: dict[str, int]) -> pl.DataFrame:
    """What happened in the window: user_id, item_id, label (Int32, > 0): the highest label over a pair's events in it.

    A return inside the window sets the pair to 0 (and so leaves it out); a later one changes nothing.
    """
    pairs = (
        window.of(events)
        .group_by("user_id", "item_id")
        .agg(
            label=pl.col("event_type").replace_strict(labels, default=0, return_dtype=pl.Int32).max(),
            is_returned=(pl.col("event_type") == "return").any(),
        )
    )
    return pairs.filter((pl.col("label") > 0) & ~pl.col("is_returned")).drop("is_returned").sort("user_id", "item_id")


def active_users(events: pl.DataFrame, window: Window) -> pl.Series:
    """Users with an interaction in the window, sorted: each has a query as of its start."""
    return window.of(events).filter(pl.col("event_type").is_in(INTERACTIONS))["user_id"].unique().sort()


def seen_pairs(events: pl.LazyFrame, as_of: datetime) -> pl.DataFrame:
    """user_id, item_id of every interaction before as_of, once each."""
    before = events.filter((pl.col("event_time") < pl.lit(as_of, TIME)) & pl.col("event_type").is_in(INTERACTIONS))
    return before.select("user_id", "item_id").unique().collect()


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
