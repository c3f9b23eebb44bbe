"""How events were written down: impressions only of what was chosen, days without an order, files that know days to come."""

import re

import polars as pl

from recsys.config_tables import Check
from recsys.ingest import CheckResult
from recsys.pipeline.leaks.found import FEWEST, beyond, found
from recsys.schema import LIKED

IMPRESSIONS, ORDER, FILES = "impressions", "order within days", "days of files"

ONE_MOMENT = 0.9
"""Share of a day's events that stand at one moment from which the day has no order."""

FEWEST_USERS = 5
"""One user's order of twenty lines is one moment too; so many users at one moment are a day without a clock."""

FILE_DAY = re.compile(r"(\d{4})[-_]?(\d{2})[-_]?(\d{2})")


def impressions(events: pl.DataFrame, limits: Check) -> CheckResult:
    """Impressions upon which the user acts on the item within a day: where that is nearly all, only what was chosen was written down."""
    shown = events.filter(pl.col("event_type") == "impression").select("user_id", "item_id", "event_time").sort("event_time")
    if shown.height < FEWEST:
        return found(IMPRESSIONS, "PASS", 0, f"{shown.height:,} impressions: nothing to tell an answer by")
    acts = (
        events.filter(pl.col("event_type").is_in(LIKED)).select("user_id", "item_id", "event_time", acted="event_time").sort("event_time")
    )
    by = ["user_id", "item_id"]
    followed = shown.join_asof(acts, on="event_time", by=by, strategy="forward", tolerance="1d", check_sortedness=False)
    n = followed.height - followed["acted"].null_count()
    share = n / shown.height
    status = beyond(share, limits.leak_impressions)
    message = f"upon {n:,} of {shown.height:,} impressions ({share:.1%}) the user acts on the item within a day"
    hint = (
        ""
        if status == "PASS"
        else ": what was shown in vain is not written down, so being shown is the answer. Leave impressions out, or log them all"
    )
    return found(IMPRESSIONS, status, n if status != "PASS" else 0, message + hint)


def order_within_days(events: pl.DataFrame) -> CheckResult:
    """Days on which nearly all events stand at one moment: what came first is not known, so what led to what is a guess."""
    moments = events.group_by(day=pl.col("event_time").dt.date(), moment="event_time").agg(n=pl.len(), users=pl.col("user_id").n_unique())
    most = pl.col("n") == pl.col("n").max().over("day")
    days = moments.with_columns(share=pl.col("n") / pl.col("n").sum().over("day")).filter(most)
    days = days.sort("day", "moment").unique("day", keep="first", maintain_order=True)
    flat = days.filter((pl.col("share") >= ONE_MOMENT) & (pl.col("users") >= FEWEST_USERS))
    message = f"on {flat.height:,} of {days.height:,} days nearly all events stand at one moment"
    hint = ": the order within the day is lost, a cart may stand before its click. Export times, not dates" if flat.height else ""
    examples = [f"{row['day']}: {row['n']:,} events at {row['moment']:%H:%M:%S}" for row in flat.head(3).iter_rows(named=True)]
    return found(ORDER, "WARN" if flat.height else "PASS", flat.height, message + hint, examples)


def days_of_files(lines: pl.DataFrame) -> CheckResult:
    """Events later than the day in the name of their file. lines: file, event_time, one row a line of the events files.

    One day more is allowed for zones. Where most lines are later, the names are first days of longer stretches and tell nothing.
    """
    names = pl.DataFrame(
        [(name, _day(name)) for name in lines["file"].unique().sort()], schema={"file": pl.String, "day": pl.String}, orient="row"
    )
    dated = lines.drop_nulls().join(names.with_columns(pl.col("day").str.to_date(strict=False)).drop_nulls(), on="file")
    if dated.is_empty():
        return found(FILES, "PASS", 0, f"none of {names.height:,} file names holds a day: nothing to hold events against")
    late = dated.filter(pl.col("event_time").dt.date() > pl.col("day").dt.offset_by("1d"))
    if late.height > dated.height / 2:
        return found(FILES, "PASS", 0, f"the days in {names.height:,} file names are where stretches begin: nothing to hold events against")
    message = f"{late.height:,} of {dated.height:,} events are later than the day in the name of their file"
    hint = ": a clock that is wrong, or a file that was written again. Their times cannot be trusted" if late.height else ""
    latest = late.group_by("file").agg(n=pl.len(), last=pl.col("event_time").max()).sort("file").head(3)
    examples = [f"{row['file']}: {row['n']:,}, up to {row['last']:%Y-%m-%d %H:%M}" for row in latest.iter_rows(named=True)]
    return found(FILES, "WARN" if late.height else "PASS", late.height, message + hint, examples)


def _day(name: str) -> str | None:
    """The last day in a file name, `YYYY-MM-DD`; None where there is none."""
    days = FILE_DAY.findall(name)
    return "-".join(days[-1]) if days else None
