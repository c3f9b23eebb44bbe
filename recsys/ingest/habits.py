"""Named checks of how people behave in the tables: silent days, stale or unusual volumes, robots, users of one event, positions."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import polars as pl

from recsys.config_tables import Check
from recsys.ingest.result import N_EXAMPLES, CheckResult, Status

WEEKS = 8
"""A day is compared with the same day of so many weeks before: shops have weekends."""

FEWEST_WEEKS = 3
"""With fewer of them to compare with, no volume is called unusual."""

FEWEST_USUAL = 30
"""Of fewer events a day, half or three times as many are chance."""


def habit_checks(events: pl.DataFrame, limits: Check, now: datetime) -> Iterator[CheckResult]:
    """The checks of an EVENTS table, in order; none where it is empty. `now` must know its zone."""
    if events.is_empty():
        return
    daily = events.group_by(day=pl.col("event_time").dt.date(), kind="event_type").len().sort("day", "kind")
    yield _gaps(daily, limits)
    yield _late(events, limits, now)
    yield _volumes(daily, limits, now.date())
    yield _dominant(events, limits)
    yield _robots(events, limits)
    yield _one_event(events, limits)
    yield _positions(events)


def _gaps(daily: pl.DataFrame, limits: Check) -> CheckResult:
    days = daily.select(pl.col("day").unique().sort()).with_columns(silent=(pl.col("day").diff().dt.total_days() - 1))
    gaps = days.filter(pl.col("silent") > limits.gap_days)
    examples = tuple(
        f"{day - timedelta(days=silent)} to {day - timedelta(days=1)}: {silent} days" for day, silent in gaps.head(N_EXAMPLES).iter_rows()
    )
    message = f"{gaps.height} stretches of more than {limits.gap_days} days without an event"
    return CheckResult("gaps", "WARN" if gaps.height else "PASS", gaps.height, message, examples)


def _late(events: pl.DataFrame, limits: Check, now: datetime) -> CheckResult:
    last = events["event_time"].max()
    assert isinstance(last, datetime)
    days = max((now - last) // timedelta(days=1), 0)
    status: Status = "FAIL" if limits.late_days and days >= limits.late_days else "PASS"
    asked = f"check.late_days allows fewer than {limits.late_days}" if limits.late_days else "check.late_days = 0 does not ask"
    return CheckResult("late events", status, days, f"the last event is {days:,} whole days old ({last:%Y-%m-%d %H:%M}); {asked}", ())


def _volumes(daily: pl.DataFrame, limits: Check, today: date) -> CheckResult:
    """The last whole day, each type against the median of the same weekday before."""
    whole = daily.filter(pl.col("day") < today)
    last = whole["day"].max()
    if not isinstance(last, date):
        return CheckResult("volumes", "PASS", 0, "no whole day yet", ())
    before = [last - timedelta(weeks=back) for back in range(1, WEEKS + 1)]
    first = daily["day"].min()
    assert isinstance(first, date)
    known = [day for day in before if day >= first]
    if len(known) < FEWEST_WEEKS:
        return CheckResult("volumes", "PASS", 0, f"{last}: fewer than {FEWEST_WEEKS} weeks before to compare it with", ())
    counts = {(day, kind): count for day, kind, count in whole.iter_rows()}
    found = []
    for kind in sorted(set(daily["kind"])):
        usual = float(pl.Series([counts.get((day, kind), 0) for day in known]).median() or 0)  # type: ignore[arg-type]
        if usual >= FEWEST_USUAL:
            found.append((kind, counts.get((last, kind), 0), usual))
    return _judged(last, found, limits)


def _judged(last: date, found: list[tuple[str, int, float]], limits: Check) -> CheckResult:
    strange = [(kind, count, usual) for kind, count, usual in found if not limits.volume_low <= count / usual <= limits.volume_high]
    broken = [kind for kind, count, usual in strange if count / usual < limits.volume_fail]
    status: Status = "FAIL" if broken else "WARN" if strange else "PASS"
    examples = tuple(f"{kind}: {count:,}, usually {usual:,.0f}" for kind, count, usual in strange[:N_EXAMPLES])
    message = f"{last}, the last whole day: {len(strange)} of {len(found)} event types far from the same weekday of the weeks before"
    return CheckResult("volumes", status, len(strange), message, examples)


def _dominant(events: pl.DataFrame, limits: Check) -> CheckResult:
    per_user = events.group_by("user_id").len().sort(["len", "user_id"], descending=[True, False])
    dominant = per_user.filter((pl.col("len") > limits.dominant_events) & (pl.col("len") > limits.dominant_share * events.height))
    examples = tuple(f"{user}: {count:,} events" for user, count in dominant.head(N_EXAMPLES).iter_rows())
    message = f"{dominant.height} users hold more than {limits.dominant_share:.0%} of all events and more than {limits.dominant_events:,}"
    hint = ": a till, a crawler or a missing id? Exclude them in events.exclude" if dominant.height else ""
    return CheckResult("dominant user", "WARN" if dominant.height else "PASS", dominant.height, message + hint, examples)


def _robots(events: pl.DataFrame, limits: Check) -> CheckResult:
    """What people do, not what they are shown: a page shows dozens of items at once."""
    acts = events.filter(pl.col("event_type") != "impression")
    per_day = acts.group_by("user_id", day=pl.col("event_time").dt.date()).len().filter(pl.col("len") > limits.day_events)
    robots = per_day.sort(["len", "user_id", "day"], descending=[True, False, False]).unique("user_id", keep="first", maintain_order=True)
    examples = tuple(f"{user}: {count:,} on {day}" for user, day, count in robots.head(N_EXAMPLES).iter_rows())
    message = f"{robots.height} users did more than {limits.day_events:,} things in one day"
    hint = ": robots? Exclude them in events.exclude" if robots.height else ""
    return CheckResult("robots", "WARN" if robots.height else "PASS", robots.height, message + hint, examples)


def _one_event(events: pl.DataFrame, limits: Check) -> CheckResult:
    per_user = events.filter(pl.col("event_type") != "impression").group_by("user_id").len()
    alone = int((per_user["len"] == 1).sum())
    share = alone / max(per_user.height, 1)
    status: Status = "WARN" if share > limits.one_event_share else "PASS"
    hint = ": do their ids change from visit to visit?" if status == "WARN" else ""
    return CheckResult(
        "one-event users", status, alone, f"{alone:,} of {per_user.height:,} users ({share:.0%}) did one thing only{hint}", ()
    )


def _positions(events: pl.DataFrame) -> CheckResult:
    """Positions are worth something where they tell places of one page apart."""
    placed = events.filter(pl.col("position").is_not_null())
    if placed.is_empty():
        return CheckResult("positions", "PASS", 0, "no event has a position", ())
    shown = placed.filter(pl.col("request_id").is_not_null() & (pl.col("event_type") == "impression"))
    twice = (
        shown.group_by("request_id", "position").agg(n=pl.col("item_id").n_unique()).filter(pl.col("n") > 1).sort("request_id", "position")
    )
    if placed["position"].n_unique() == 1:
        message = f"every one of the {placed.height:,} positions is {placed['position'][0]}: it tells nothing; take the column away"
        return CheckResult("positions", "WARN", placed.height, message, ())
    examples = tuple(f"request {request}, position {place}: {n} items" for request, place, n in twice.head(N_EXAMPLES).iter_rows())
    message = f"{placed.height:,} events have a position; {twice.height:,} places of a request show several items"
    return CheckResult("positions", "WARN" if twice.height else "PASS", twice.height, message, examples)
