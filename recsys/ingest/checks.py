"""Named checks of the config against the files, before anything is trained: PASS, WARN or FAIL, a count, the first rows at fault."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl

from recsys.config import Config
from recsys.config_tables import Check
from recsys.errors import DataError
from recsys.ingest.columns import EXCLUDED, RANGES, given
from recsys.ingest.habits import habit_checks
from recsys.ingest.result import N_EXAMPLES, CheckResult, Status
from recsys.ingest.tables import DUPLICATE, ORPHAN, OTHER_TEXT, OTHER_VALUES, Tables, build, read_sources, top_reasons
from recsys.schema import EVENTS, OWN_TEXTS

EXAMPLE_CHARACTERS = 160
ITEM_ID = next(column for column in EVENTS.columns if column.name == "item_id")

SPELLINGS = {
    "end in .0": (r"\.0$", "REGEXP_REPLACE(column, '\\.0$', '')"),
    "start with zeros": (r"^0+", "REGEXP_REPLACE(column, '^0+', '')"),
}
"""Spellings of one id that do not join: what to take away, and the SQL that does it."""


def run_checks(
    config: Config, base: Path, now: datetime, left_out: Callable[[Tables], Tables] = lambda tables: tables
) -> list[CheckResult]:
    """Every check in order. Files or expressions that do not fit are a FAIL of `files` or `columns`, and nothing after it runs.

    left_out: takes those out of the tables whom no example may name.
    """
    try:
        sources = read_sources(config, base)
    except DataError as error:
        return [CheckResult("files", "FAIL", 1, str(error), ())]
    counted = f"{sources.items.height:,} rows of items, {sources.events.height:,} of events"
    results = [CheckResult("files", "PASS", 0, "one file for both: " + counted if config.items.from_events else counted, ())]
    try:
        tables = left_out(build(sources, config, now))
    except DataError as error:
        return [*results, CheckResult("columns", "FAIL", 1, str(error), ())]
    fitting = f"{len(config.items.columns)} columns of items, {len(config.events.columns)} of events fit"
    results.append(CheckResult("columns", "PASS", 0, fitting, ()))
    item_ids = given(sources.events, ITEM_ID, config.events, "events").cast(pl.String).drop_nulls().unique()
    return [
        *results,
        _items(tables),
        _item_text(tables, config.text.template, config.check),
        _ids(tables),
        _types(tables),
        _times(tables),
        _numbers(tables),
        _joins(tables, item_ids, config.check),
        _duplicates(tables),
        _excludes(tables),
        _rejects(tables, config.check),
        *_users(tables),
        *habit_checks(tables.events, config.check, now),
    ]


def _items(tables: Tables) -> CheckResult:
    is_repeat = pl.col("reason").is_in([OTHER_TEXT, OTHER_VALUES, DUPLICATE])
    is_fault = is_repeat | (pl.col("reason") == "item_id is missing") | pl.col("reason").str.ends_with("be parsed")
    result = _rejected("items", tables, "items", is_fault, "with a repeated or missing id or an unreadable time, rejected")
    if tables.items.is_empty():
        reasons = top_reasons(tables.rejects.filter(pl.col("table") == "items"))
        return CheckResult("items", "FAIL", result.count, f"no item is left ({reasons})", result.examples)
    return result


def _item_text(tables: Tables, template: tuple[str, ...], limits: Check) -> CheckResult:
    own = [name for name in template if name in OWN_TEXTS]
    textless = tables.items.filter(pl.all_horizontal(pl.col(own).fill_null("") == ""))["item_id"]
    status: Status = "PASS" if textless.is_empty() else "FAIL" if len(textless) > limits.textless_share * tables.items.height else "WARN"
    message = f"{len(textless):,} of {tables.items.height:,} items have no {' and no '.join(own)}"
    return CheckResult("item text", status, len(textless), message, tuple(textless.head(N_EXAMPLES)))


def _ids(tables: Tables) -> CheckResult:
    is_fault = pl.col("reason").is_in(["user_id is missing", "item_id is missing"])
    return _rejected("ids", tables, "events", is_fault, "without a user_id or item_id")


def _types(tables: Tables) -> CheckResult:
    message = "with an unknown or missing event_type; name the word in events.types"
    return _rejected("event types", tables, "events", pl.col("reason").str.starts_with("event_type "), message)


def _times(tables: Tables) -> CheckResult:
    message = "with a missing, unreadable or future event_time; see events.time_format and time_zone"
    return _rejected("times", tables, "events", pl.col("reason").str.starts_with("event_time "), message)


def _numbers(tables: Tables) -> CheckResult:
    result = _rejected("numbers", tables, None, pl.col("reason").str.ends_with("is not a number"), "with a number that is none")
    mended = {name: count for name, count in tables.counts.items() if name.endswith(" made null")}
    if not mended:
        return result
    told = ", ".join(f"{name} {count:,} times" for name, count in mended.items())
    ranges = ", ".join(f"{name} {meaning}" for name, (_, meaning) in RANGES.items())
    message = f"{result.message}; {told} (must be: {ranges})"
    return CheckResult("numbers", "WARN", result.count + sum(mended.values()), message, result.examples)


def _joins(tables: Tables, item_ids: pl.Series, limits: Check) -> CheckResult:
    orphans = tables.rejects.filter((pl.col("table") == "events") & (pl.col("reason") == ORPHAN))
    known = tables.counts["events kept"] + tables.counts.get(f"events rejected: {DUPLICATE}", 0)
    share = orphans.height / max(orphans.height + known, 1)
    status: Status = "FAIL" if share > limits.rejected_share else "WARN" if orphans.height else "PASS"
    message = f"{orphans.height:,} events ({share:.1%}) have an item_id that no item has"
    return CheckResult("joins", status, orphans.height, message + _spelling_hint(tables.items["item_id"], item_ids), _examples(orphans))


def _spelling_hint(items: pl.Series, item_ids: pl.Series) -> str:
    """The rule to declare where `items` and the `item_ids` of events spell the same ids in two ways."""
    orphans = item_ids.filter(~item_ids.is_in(items.implode()))
    for told, (pattern, rule) in SPELLINGS.items():
        if orphans.str.contains(pattern).any() and orphans.str.replace(pattern, "").is_in(items.implode()).any():
            return f"; ids of the events {told}, those of the items do not: in events.columns.item_id declare {rule}"
        if orphans.is_in(items.str.replace(pattern, "").implode()).any():
            return f"; ids of the items {told}, those of the events do not: in items.columns.item_id declare {rule}"
    return ""


def _duplicates(tables: Tables) -> CheckResult:
    message = "equal in every column of ours to an earlier one, which is kept"
    return _rejected("duplicates", tables, "events", pl.col("reason") == DUPLICATE, message)


def _excludes(tables: Tables) -> CheckResult:
    excluded = tables.rejects.filter(pl.col("reason").str.starts_with(EXCLUDED))
    return CheckResult("excludes", "PASS", excluded.height, f"{excluded.height:,} rows taken out by declared excludes", _examples(excluded))


def _rejects(tables: Tables, limits: Check) -> CheckResult:
    events = tables.rejects.filter(pl.col("table") == "events")
    faults = events.filter(~pl.col("reason").str.starts_with(EXCLUDED))
    considered = tables.counts["events read"] - (events.height - faults.height)
    share = faults.height / max(considered, 1)
    status: Status = "FAIL" if share > limits.rejected_share or tables.events.is_empty() else "WARN" if faults.height else "PASS"
    reasons = f" ({top_reasons(events if tables.events.is_empty() else faults)})" if status != "PASS" else ""
    message = f"{faults.height:,} of {considered:,} events ({share:.1%}) rejected for a fault, {tables.events.height:,} kept{reasons}"
    return CheckResult("rejects", status, faults.height, message, _examples(faults))


def _users(tables: Tables) -> list[CheckResult]:
    if tables.users is None:
        return []
    acted = tables.events["user_id"].unique().sort()
    unknown = acted.filter(~acted.is_in(tables.users["user_id"].implode()))
    rejected = tables.rejects.filter(pl.col("table") == "users")
    reasons = f", {rejected.height:,} rows rejected ({top_reasons(rejected)})" if rejected.height else ""
    message = f"{tables.users.height:,} users; {len(unknown):,} of {len(acted):,} who did something are not among them{reasons}"
    status: Status = "WARN" if len(unknown) or rejected.height else "PASS"
    return [CheckResult("users", status, len(unknown) + rejected.height, message, (*unknown.head(N_EXAMPLES), *_examples(rejected)))]


def _rejected(name: str, tables: Tables, table: str | None, reasons: pl.Expr, message: str) -> CheckResult:
    found = tables.rejects.filter(reasons & ((pl.col("table") == table) if table else pl.lit(True)))
    return CheckResult(name, "WARN" if found.height else "PASS", found.height, f"{found.height:,} rows {message}", _examples(found))


def _examples(rejects: pl.DataFrame) -> tuple[str, ...]:
    rows = rejects.head(N_EXAMPLES).iter_rows(named=True)
    return tuple(f"{row['file']} row {row['row']}: {row['reason']}: {row['content'][:EXAMPLE_CHARACTERS]}" for row in rows)
