"""Raw rows to Items, Events, Users and rejects: every row read is kept, merged or rejected with its reason, and counted."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from recsys.config import Config
from recsys.config_tables import Events, Items, Users
from recsys.errors import SourceError, TableError
from recsys.ingest.columns import EXCLUDED, REASON, Parsed, given, own, parse
from recsys.ingest.read import FILE, ROW, read
from recsys.schema import EVENTS, ITEM_TEXTS, ITEMS, OWN_TEXTS, REJECTS, TIME, USERS

DUPLICATE = "exact duplicate"
ORPHAN = "item_id is not in items"
OTHER_TEXT = "item_id repeats with other text"
OTHER_VALUES = "item_id repeats with other values"
OTHER_USER = "user_id repeats with other values"
LATE = "event_time is in the future"
TIMELESS = "event_time is missing or cannot be parsed"

NOT_FROM_EVENTS = ("price", "available_from", "available_until")
"""Columns that items made from events do not take: a price is always as of, and an item is there from its first line on."""


@dataclass(frozen=True)
class Sources:
    """The raw rows of the tables; the same frame twice where the items come out of the event file; users None where none are named."""

    items: pl.DataFrame
    events: pl.DataFrame
    users: pl.DataFrame | None = None


@dataclass(frozen=True)
class Tables:
    """ITEMS by item_id, EVENTS by all columns from user_id and event_time on, REJECTS by table, file and row, and the counts.

    items: followed by the columns of `items.extra`. users: USERS by user_id, followed by the shop's own columns, or None.
    `counts` holds per table `<table> read`, `kept`, `merged` (lines of an item made from events, beyond one an item),
    `rejected`, `rejected: <reason>`, and `<column> made null` for numbers out of range. read = kept + merged + rejected.
    """

    items: pl.DataFrame
    events: pl.DataFrame
    rejects: pl.DataFrame
    counts: dict[str, int]
    users: pl.DataFrame | None = None


def read_sources(config: Config, base: Path) -> Sources:
    """The raw rows. Raises SourceError or TableError, naming the file."""
    if config.items.from_events and config.items.path != config.events.path:
        raise SourceError(f"items.path: is {config.items.path!r}, and with from_events = true must be events.path, {config.events.path!r}.")
    events = read(config.events.path, base)
    users = read(config.users.path, base) if config.users.path else None
    return Sources(events if config.items.from_events else read(config.items.path, base), events, users)


def build(sources: Sources, config: Config, now: datetime) -> Tables:
    """The tables out of the raw rows; they may be empty. Raises SourceError where an expression does not fit."""
    now = now.astimezone(UTC) if now.tzinfo else now.replace(tzinfo=UTC)
    parsed = parse_events(sources.events, config.events, now)
    if config.items.from_events:
        items, rejected_items, n_items = _items_of_events(sources.events, config.items, parsed.rows, now)
        mended_items: dict[str, int] = {}
    else:
        items, rejected_items, mended_items = _items_of_catalogue(sources.items, config.items)
        n_items = sources.items.height
    events, rejected_events = _kept_events(sources.events, parsed.rows, items)
    counts = _counts("items", n_items, items, rejected_items) | _counts("events", sources.events.height, events, rejected_events)
    mended = {"items": mended_items, "events": parsed.mended}
    counts |= {f"{table} {column} made null": count for table, columns in mended.items() for column, count in columns.items()}
    rejects = [rejected_items, rejected_events]
    users = None
    if sources.users is not None:
        users, rejected_users = _users(sources.users, config.users)
        counts |= _counts("users", sources.users.height, users, rejected_users)
        rejects.append(rejected_users)
    return Tables(items, events, pl.concat(rejects), counts, users)


def before(sources: Sources, times: pl.Series, moment: datetime) -> Sources:
    """The raw rows as they stood at a moment: the lines of the events file from it on, and those without a time, are not there yet.

    times: of each line, as `parse_events` reads it. The files of items and users stay: nobody knows when a line of them was written.
    """
    events = sources.events.filter((times < moment).fill_null(False))
    return Sources(events if sources.items is sources.events else sources.items, events, sources.users)


def parse_events(raw: pl.DataFrame, section: Events, now: datetime) -> Parsed:
    """EVENTS columns and REASON in the order read; duplicates and joins are not looked at yet."""
    parsed = parse(raw, section, EVENTS)
    late = pl.when(pl.col("event_time") > pl.lit(now, TIME)).then(pl.lit(f"event_time is after {now:%Y-%m-%dT%H:%M:%SZ}"))
    return Parsed(parsed.rows.with_columns(pl.coalesce(REASON, late)), parsed.mended)


def _kept_events(raw: pl.DataFrame, rows: pl.DataFrame, items: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    orphan = pl.when(~pl.col("item_id").is_in(items["item_id"].implode())).then(pl.lit(ORPHAN))
    rows = rows.with_columns(pl.coalesce(REASON, orphan))
    repeats = pl.when(pl.col(REASON).is_null() & ~pl.struct(*EVENTS.names, REASON).is_first_distinct()).then(pl.lit(DUPLICATE))
    rows = rows.with_columns(pl.coalesce(REASON, repeats))
    order = ["user_id", "event_time", "item_id", "event_type", "value", "price", "request_id", "position", "propensity"]
    return rows.filter(pl.col(REASON).is_null()).select(EVENTS.names).sort(order), _rejects("events", raw, rows[REASON])


def _items_of_catalogue(raw: pl.DataFrame, section: Items) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """One row an id: the first in file order that has a text (the first where none has); the others are rejected."""
    parsed, extra = parse(raw, section, ITEMS), own(raw, section.extra, "items.extra.")
    names, rows = [*ITEMS.names, *extra.columns], parsed.rows.hstack(extra)
    textless = pl.all_horizontal(pl.col(OWN_TEXTS).fill_null("") == "")
    usable = rows.with_row_index("index").filter(pl.col(REASON).is_null()).sort("item_id", textless, "index").with_columns(_repeat(names))
    repeats = usable.filter(~pl.col("item_id").is_first_distinct()).select("index", "repeat")
    reasons = rows.with_row_index("index").join(repeats, on="index", how="left", maintain_order="left")
    kept = usable.unique("item_id", keep="first", maintain_order=True).select(names)
    kept = kept.rename(dict(zip(extra.columns, section.extra, strict=True)))
    return kept, _rejects("items", raw, reasons.select(pl.coalesce(REASON, "repeat"))[REASON]), parsed.mended


def _repeat(names: list[str]) -> pl.Expr:
    """How a row differs from the first of its item_id."""
    is_other = {name: pl.col(name).ne_missing(pl.col(name).first().over("item_id")) for name in names}
    other_text = pl.when(pl.any_horizontal(is_other[name] for name in OWN_TEXTS)).then(pl.lit(OTHER_TEXT))
    return other_text.when(pl.any_horizontal(is_other.values())).then(pl.lit(OTHER_VALUES)).otherwise(pl.lit(DUPLICATE)).alias("repeat")


def _items_of_events(raw: pl.DataFrame, section: Items, events: pl.DataFrame, now: datetime) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """One row an id: each text is the earliest usable spelling (ties: the smallest string), available from its first line.

    Lines are those that no exclude of the events removes, customers without an id included.
    """
    taken = sorted(set(section.columns) & set(NOT_FROM_EVENTS))
    if taken:
        raise SourceError(f"items.columns.{taken[0]}: items from events take no {taken[0]}. Take the line away.")
    is_line = ~events[REASON].str.starts_with(EXCLUDED).fill_null(False)
    lines = raw.filter(is_line)
    parsed = parse(lines, section, ITEMS)
    time = pl.col("available_from")
    timeless = pl.when(time.is_null()).then(pl.lit(TIMELESS)).when(time > pl.lit(now, TIME)).then(pl.lit(LATE))
    rows = parsed.rows.with_columns(events.filter(is_line)["event_time"].alias("available_from"))
    rows = rows.with_columns(pl.coalesce(REASON, timeless))
    usable = rows.filter(pl.col(REASON).is_null())
    items = usable.group_by("item_id").agg(time.min())
    for text in ITEM_TEXTS:
        items = items.join(_earliest(usable, text), on="item_id", how="left")
    items = items.with_columns(
        pl.col("title", "description").fill_null(""),
        pl.lit(None, ITEMS.dtype("price")).alias("price"),
        pl.lit(None, TIME).alias("available_until"),
    )
    return items.select(ITEMS.names).sort("item_id"), _rejects("items", lines, rows[REASON]), lines.height


def _earliest(lines: pl.DataFrame, text: str) -> pl.DataFrame:
    spellings = lines.filter(pl.col(text) != "").group_by("item_id", text).agg(pl.col("available_from").min())
    return spellings.sort("item_id", "available_from", text).unique("item_id", keep="first").select("item_id", text)


def _users(raw: pl.DataFrame, section: Users) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One row an id. Of an id whose rows differ none is kept: an age or a country that may be the other one must open no door."""
    user_id = given(raw, USERS.columns[0], section, "users").cast(pl.String).alias("user_id")
    names = [name for name in section.columns if name != "user_id"]
    rows = user_id.to_frame().hstack(own(raw, {name: section.columns[name] for name in names}, "users.columns."))
    is_once = pl.struct(pl.all()).is_first_distinct()
    reason = rows.select(
        pl.when(pl.col("user_id").is_null())
        .then(pl.lit("user_id is missing"))
        .when(is_once.sum().over("user_id") > 1)
        .then(pl.lit(OTHER_USER))
        .when(~is_once)
        .then(pl.lit(DUPLICATE))
        .alias(REASON)
    )[REASON]
    kept = rows.filter(reason.is_null()).rename({f"users.columns.{name}": name for name in names})
    return kept.sort("user_id"), _rejects("users", raw, reason)


def _rejects(table: str, raw: pl.DataFrame, reason: pl.Series) -> pl.DataFrame:
    rejected = raw.with_columns(reason.alias("__reason__")).filter(pl.col("__reason__").is_not_null())
    theirs = [name for name in raw.columns if name not in (FILE, ROW)]
    content = pl.struct(_writable(name, raw.schema[name]) for name in theirs).struct.json_encode()
    columns = [pl.lit(table).alias("table"), pl.col(FILE).alias("file"), pl.col(ROW).alias("row"), pl.col("__reason__").alias("reason")]
    return rejected.select(*columns, content.alias("content")).select(REJECTS.names).sort("file", "row")


def _writable(name: str, dtype: pl.DataType) -> pl.Expr:
    """JSON knows no bytes (polars panics); they are written in hex."""
    return pl.col(name).bin.encode("hex") if dtype == pl.Binary else pl.col(name)


def _counts(table: str, n_read: int, kept: pl.DataFrame, rejected: pl.DataFrame) -> dict[str, int]:
    counts = {"read": n_read, "kept": kept.height, "merged": n_read - kept.height - rejected.height, "rejected": rejected.height}
    counts |= {f"rejected: {reason}": count for reason, count in _by_reason(rejected).iter_rows()}
    return {f"{table} {name}": count for name, count in counts.items()}


def _by_reason(rejects: pl.DataFrame) -> pl.DataFrame:
    return rejects.group_by("reason").len().sort(["len", "reason"], descending=[True, False])


def reject_empty(tables: Tables, config: Config) -> Tables:
    """The tables if each holds a row. Raises TableError naming the most frequent reasons."""
    faults = []
    asked = (
        ("items", tables.items, config.items.path),
        ("events", tables.events, config.events.path),
        ("users", tables.users, config.users.path),
    )
    for table, kept, path in asked:
        if kept is not None and kept.is_empty():
            reasons = top_reasons(tables.rejects.filter(pl.col("table") == table))
            faults.append(f"{table}: none of the {tables.counts[f'{table} read']:,} rows of {path} can be used ({reasons})")
    if faults:
        raise TableError("; ".join(faults) + ". Mend the columns or the excludes; `recsys check` shows rows.")
    return tables


def top_reasons(rejects: pl.DataFrame) -> str:
    """The three most frequent reasons of REJECTS rows with their counts."""
    return "; ".join(f"{reason}: {count:,}" for reason, count in _by_reason(rejects).head(3).iter_rows())
