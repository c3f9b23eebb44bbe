"""The borders of the windows: what stands on both sides of one, so that the label is in the history."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import polars as pl

from recsys import timeline
from recsys.config_tables import Check
from recsys.ingest import CheckResult
from recsys.pipeline.leaks.found import FEWEST, beyond, found
from recsys.schema import INTERACTIONS

WINDOWS, COPIES, SESSIONS = "windows", "copies across borders", "sessions across borders"

ACT = ("user_id", "item_id", "event_type")
"""Two events alike in these are the same act again, or its copy."""

NEAR, WEEK, SOON, SESSION = timedelta(minutes=10), timedelta(days=7), timedelta(seconds=60), timedelta(minutes=30)


def windows_apart(ledger: timeline.Ledger, events: pl.DataFrame, gap_days: int) -> CheckResult:
    """No window overlaps another, and folds, valid and test begin the gap after what is before them."""
    wrong = [
        f"{one.name} ends {one.end:%Y-%m-%d}, {other.name} begins {other.start:%Y-%m-%d}" for one, other in _touching(ledger, gap_days)
    ]
    border = events["event_time"].is_in(ledger.moments).sum()
    message = (
        f"{len(wrong)} of {len(ledger.windows)} windows overlap another or begin less than {gap_days} days after it; "
        f"{border:,} events stand at the very first moment of one: they are labels in it and unknown to its features"
    )
    return found(WINDOWS, "FAIL" if wrong else "PASS", len(wrong), message, wrong)


def _touching(ledger: timeline.Ledger, gap_days: int) -> list[tuple[timeline.Window, timeline.Window]]:
    gapped = {ledger.folds[0].name, *(w.name for w in (ledger.valid, ledger.test) if w)}
    pairs = pairwise(ledger.windows)
    return [(a, b) for a, b in pairs if b.start < a.end + timedelta(days=gap_days if b.name in gapped else 0)]


@dataclass(frozen=True)
class Border:
    """What the acts right before a window have to do with those in it.

    near: acts of the last ten minutes; again: of them, those that come again in the window; usual: the share of those of the week before
    that do; minute, late: acts of the last minute, and of them those that come again within a minute, beyond the border.
    """

    window: timeline.Window
    near: int
    again: int
    usual: float
    minute: int
    late: int
    examples: tuple[str, ...]

    @property
    def excess(self) -> float:
        """How much more of them comes again than is usual: 0 to 1, 0 where they are few."""
        near = self.again / self.near - self.usual if self.near >= FEWEST else 0.0
        soon = self.late / self.minute - self.usual if self.minute >= FEWEST else 0.0
        return max(near, soon)


def copies(ledger: timeline.Ledger, events: pl.DataFrame, limits: Check) -> CheckResult:
    """Acts (same user, item and type) right before a window that come again inside it, far more than those of the week before do."""
    borders = [_border(events, window) for window in ledger.windows[1:]]
    worst = max(borders, key=lambda one: one.excess)
    status = beyond(worst.excess, limits.leak_copies)
    n_near, n_again, n_late = (sum(getattr(one, name) for one in borders) for name in ("near", "again", "late"))
    message = (
        f"at {len(borders)} borders {n_near:,} acts stand in the ten minutes before, {n_again:,} of them come again in the window, "
        f"{n_late:,} within a minute"
    )
    if status == "PASS":
        return found(COPIES, status, 0, message)
    message += (
        f"; before {worst.window.name} {worst.again:,} of {worst.near:,} and, in the last minute, {worst.late:,} of {worst.minute:,}, "
        f"where {worst.usual:.0%} are usual: copies that came late, or a wrong clock. The history knows the label: take them out in "
        "events.exclude"
    )
    return found(COPIES, status, worst.again, message, worst.examples)


def _border(events: pl.DataFrame, window: timeline.Window) -> Border:
    acts = events.filter(pl.col("event_type").is_in(INTERACTIONS)).select(*ACT, "event_time")
    since = timeline.Window("before", window.start - WEEK, window.start)
    inside = window.of(acts).group_by(ACT).agg(next=pl.col("event_time").min())
    before = (
        since.of(acts)
        .join(inside, on=ACT, how="left")
        .with_columns(is_near=pl.col("event_time") >= window.start - NEAR, is_last=pl.col("event_time") >= window.start - SOON)
    )
    near, far = before.filter("is_near"), before.filter(~pl.col("is_near"))
    again, last = near.filter(pl.col("next").is_not_null()), near.filter("is_last")
    late = last.filter(pl.col("next") - pl.col("event_time") <= SOON)
    usual = far["next"].is_not_null().mean()
    rows = again.sort("event_time", *ACT).select(*ACT, "event_time", "next").head(3).iter_rows()
    examples = tuple(f"{' '.join(row[:3])} {row[3]:%Y-%m-%d %H:%M:%S}, again {row[4]:%Y-%m-%d %H:%M:%S}" for row in rows)
    return Border(window, near.height, again.height, float(usual or 0), last.height, late.height, examples)  # type: ignore[arg-type]


def sessions(ledger: timeline.Ledger, events: pl.DataFrame, limits: Check) -> CheckResult:
    """Users who were at it half an hour before a border and half an hour after: part of their visit is history, part is label."""
    acts = events.filter(pl.col("event_type").is_in(INTERACTIONS)).select("user_id", "event_time")
    told = []
    for window in ledger.windows[1:]:
        sides = [timeline.Window("", window.start - SESSION, window.start), timeline.Window("", window.start, window.start + SESSION)]
        before, after = (side.of(acts)["user_id"].unique() for side in sides)
        n_users = window.of(acts)["user_id"].n_unique()
        told.append((int(before.is_in(after.implode()).sum()), n_users, window.name))
    n, n_users, name = max(told, key=lambda one: one[0] / max(one[1], 1))
    status = beyond(n / max(n_users, 1), limits.leak_sessions)
    message = (
        f"at {len(told)} borders {sum(one[0] for one in told):,} users act in the half hour before and in that after; "
        f"at most {n / max(n_users, 1):.1%} of a window's users ({n:,} of {n_users:,} of {name})"
    )
    hint = "" if status == "PASS" else ". Midnight UTC is rush hour here: set time.gap_days = 1, or events.time_zone if times are local"
    return found(SESSIONS, status, sum(one[0] for one in told), message + hint)
