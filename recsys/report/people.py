"""What a user did and what tonight's list offers them, with titles and prices: reads the rows of that user, never the whole table."""

import polars as pl

from recsys.artefacts import Home, Run, collected
from recsys.report.explained import explanations_of
from recsys.report.items import TITLE, before, items_of
from recsys.report.nights import scan_night
from recsys.rules import BECAUSE, REASONS
from recsys.schema import CHANCES, INTERACTIONS

LAST = "\U0010ffff"
"""No character comes after it."""


def user_ids(home: Home, source: Run, search: str = "", limit: int = 50) -> list[str]:
    """At most `limit` ids that hold `search`: the equal one first, then those that begin with it, then the others.

    source: a run, for the users with events, or a night, for those with a list too. Where enough begin with it, only the row groups that
    may hold them are read.
    """
    user = pl.col("user_id")
    beginning = _ids(home, source, user.is_between(pl.lit(search), pl.lit(search + LAST)))
    if len(beginning) < limit:
        beginning |= _ids(home, source, user.str.contains(search, literal=True))
    return sorted(beginning, key=lambda one: (one != search, not one.startswith(search), one))[:limit]


def _ids(home: Home, source: Run, asked: pl.Expr) -> set[str]:
    ids = [home.tables(source.manifest["tables"]).scan("events").select("user_id")]
    if _is_night(source):
        ids.append(scan_night(source).select("user_id"))
    return set(collected(pl.concat([some.filter(asked).unique() for some in ids]), source)["user_id"])


def active_users(home: Home, source: Run, limit: int = 50) -> list[str]:
    """The ids of those who acted last before the as_of of a run or night, the latest first."""
    acts = home.tables(source.manifest["tables"]).scan("events").filter(before(source) & pl.col("event_type").is_in(INTERACTIONS))
    latest = acts.group_by("user_id").agg(pl.col("event_time").max())
    return collected(latest.sort(["event_time", "user_id"], descending=[True, False]).head(limit), source)["user_id"].to_list()


def history_of(home: Home, source: Run, user_id: str) -> pl.DataFrame:
    """item_id, title, category, event_type, event_time, price: the user's interactions, latest first.

    source: a run or a night; nothing at or after its as_of is shown.
    """
    tables = home.tables(source.manifest["tables"])
    events = (
        tables.scan("events")
        .filter((pl.col("user_id") == user_id) & before(source) & pl.col("event_type").is_in(INTERACTIONS))
        .select("item_id", "event_type", "event_time", "price")
    )
    titles = tables.scan("items").select("item_id", TITLE, "category")
    rows = events.join(titles, on="item_id", how="left").sort("event_time", "item_id", "event_type", descending=[True, False, False])
    named = rows.with_columns(pl.col("title").fill_null(pl.col("item_id")))
    return collected(named.select("item_id", "title", "category", "event_type", "event_time", "price"), tables)


def tonight_of(home: Home, night_id: str | None, user_id: str, items: pl.DataFrame | None = None) -> pl.DataFrame:
    """rank, item_id, title, category, price, score, reason, source and CHANCES: the user's list of a night (None: the one that is served).

    No row: no list. source: the one that placed it highest, empty for none; by what the reason says where the night keeps no
    explanations. items: of `items_of`, as of the night, where they are at hand. Raises ArtefactError where nothing is published.
    """
    night = home.night(night_id)
    rows = collected(scan_night(night).filter(pl.col("user_id") == user_id), night)
    known = items_of(home, night, rows["item_id"]) if items is None else items
    described = rows.join(known, on="item_id", how="left").sort("rank").with_columns(pl.col("title").fill_null(pl.col("item_id")))
    found = explanations_of(night, user_id).select("item_id", source=pl.col("sources").list.first().fill_null(""))
    if found.is_empty():
        found = rows.select("item_id", source=pl.Series(map(source_of, rows["reason"]), dtype=pl.String))
    listed = described.join(found, on="item_id", how="left", maintain_order="left")
    return listed.select("rank", "item_id", "title", "category", "price", "score", "reason", "source", *CHANCES)


def source_of(reason: str) -> str:
    """The candidate source that a reason speaks of; empty where it is of none."""
    if reason.startswith(f"{BECAUSE} "):
        return "text"
    return next((source for source, words in REASONS.items() if reason == words or reason.startswith(f"{words} ")), "")


def moves(listed: pl.DataFrame, other: pl.DataFrame) -> list[int | None]:
    """How many places each item of a list stands higher than in the other list; None for one that is not in the other."""
    there = dict(zip(other["item_id"], other["rank"], strict=True))
    return [there[item] - rank if item in there else None for item, rank in zip(listed["item_id"], listed["rank"], strict=True)]


def _is_night(source: Run) -> bool:
    return any(name.startswith("recommendations/") for name in source.manifest["digests"])
