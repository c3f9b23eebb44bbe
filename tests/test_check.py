from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_ingest import EVENT_ROWS, ITEM_ROWS, NOW, ROOT, config, event, example, from_events, shop

from recsys.ingest import CheckResult, run_checks

NAMES = [
    "files",
    "columns",
    "items",
    "item text",
    "ids",
    "event types",
    "times",
    "numbers",
    "joins",
    "duplicates",
    "excludes",
    "rejects",
    "gaps",
    "late events",
    "volumes",
    "dominant user",
    "robots",
    "one-event users",
    "positions",
]


def checked(folder: Path, **changes: Any) -> dict[str, CheckResult]:
    calm = {"check__gap_days": 3650, "check__one_event_share": 1.0}  # a few rows have no habits: test_habits.py
    return {result.name: result for result in run_checks(config(**calm | changes), folder, NOW)}


def statuses(results: dict[str, CheckResult]) -> dict[str, str]:
    return {name: result.status for name, result in results.items() if result.status != "PASS"}


def test_a_sound_shop_passes_every_check_in_order(tmp_path: Path) -> None:
    results = checked(shop(tmp_path))
    assert list(results) == NAMES
    assert statuses(results) == {}
    assert results["files"].message == "2 rows of items, 3 of events"


FAULTS = {
    "ids": [event(who=""), event(what="")],
    "event types": [event(did="foo"), event(did="")],
    "times": [event(at="soon"), event(at=""), event(at="2030-01-01")],
    "numbers": [event(paid="2,5"), event(paid="NaN")],
    "joins": [event(what="7")],
    "duplicates": [event(), event()],
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_few_bad_rows_warn_with_their_count_and_first_examples(tmp_path: Path, name: str) -> None:
    sound = [event(at=f"2025-04-{day:02}") for day in range(1, 11)]
    results = checked(shop(tmp_path, [*EVENT_ROWS, *sound, *FAULTS[name]]))
    assert statuses(results) == {name: "WARN", "rejects": "WARN"}
    assert results[name].count == len(FAULTS[name])
    assert results[name].examples[0].startswith("events.csv row 14: ")


def test_declared_excludes_are_counted_and_are_no_fault(tmp_path: Path) -> None:
    results = checked(shop(tmp_path, [*EVENT_ROWS, *[event(who="till")] * 20]), events__exclude={"till": "who = 'till'"})
    assert statuses(results) == {}
    assert results["excludes"].count == 20


@pytest.mark.parametrize(
    ("path", "name", "message"),
    [
        ("gone.csv", "files", "gone.csv: no such file"),
        ("latin.csv", "files", "latin.csv: not UTF-8 at byte 4 (line 2"),
        ("empty.csv", "files", "empty.csv: no row"),
        ("other.csv", "columns", "asks for the column 'who', which other.csv has not"),
    ],
)
def test_unreadable_files_and_missing_columns_fail_without_an_exception(tmp_path: Path, path: str, name: str, message: str) -> None:
    shop(tmp_path)
    (tmp_path / "latin.csv").write_bytes(b"who\n\xe9\n")
    (tmp_path / "empty.csv").write_text("who,what\n")
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    results = checked(tmp_path, events__path=path)
    assert statuses(results) == {name: "FAIL"}
    assert message in results[name].message
    assert list(results)[-1] == name


def test_items_that_repeat_with_another_text_warn(tmp_path: Path) -> None:
    results = checked(shop(tmp_path, items=[*ITEM_ROWS, {"sku": "8", "name": "Dish", "cost": "4"}]))
    assert statuses(results) == {"items": "WARN"}
    assert results["items"].examples == ('items.csv row 3: item_id repeats with other text: {"sku":"8","name":"Dish","cost":"4"}',)


def test_items_without_a_text_warn_and_fail_when_none_has_one(tmp_path: Path) -> None:
    blank = [row | {"name": " "} for row in ITEM_ROWS]
    results = checked(shop(tmp_path, items=[ITEM_ROWS[0], blank[1]]))
    assert statuses(results) == {"item text": "WARN"}
    assert results["item text"].examples == ("8",)
    assert statuses(checked(shop(tmp_path, items=blank))) == {"item text": "FAIL"}


def test_prices_that_are_nan_warn(tmp_path: Path) -> None:
    results = checked(shop(tmp_path, items=[ITEM_ROWS[0] | {"cost": "NaN"}, ITEM_ROWS[1]]))
    assert statuses(results) == {"numbers": "WARN"}
    assert "items price made null 1 times" in results["numbers"].message


@pytest.mark.parametrize(
    ("item", "bought", "rule"),
    [
        ("17850", "17850.0", r"in events.columns.item_id declare REGEXP_REPLACE(column, '\.0$', '')"),
        ("17850.0", "17850", r"in items.columns.item_id declare REGEXP_REPLACE(column, '\.0$', '')"),
        ("7", "007", "in events.columns.item_id declare REGEXP_REPLACE(column, '^0+', '')"),
        ("007", "7", "in items.columns.item_id declare REGEXP_REPLACE(column, '^0+', '')"),
    ],
)
def test_ids_spelled_in_two_ways_fail_with_the_rule_that_mends_them(tmp_path: Path, item: str, bought: str, rule: str) -> None:
    shop(tmp_path, [event(what=bought)], [{"sku": item, "name": "Mug", "cost": "1"}])
    results = checked(tmp_path)
    assert statuses(results) == {"joins": "FAIL", "rejects": "FAIL"}
    assert results["joins"].message.endswith(rule)
    expression = rule.split("declare ")[1].replace("column", "sku" if "items" in rule else "what")
    section = "items__columns" if "items" in rule else "events__columns"
    assert statuses(checked(tmp_path, **{section: {"item_id": expression}})) == {}


def test_joins_fail_only_above_half_of_the_events(tmp_path: Path) -> None:
    sound = [event(at=f"2025-04-{day:02}") for day in range(1, 11)]
    orphans = [event(what="x", at=f"2025-04-{day:02}") for day in range(1, 12)]
    assert statuses(checked(shop(tmp_path, [*sound, *orphans[:10]]))) == {"joins": "WARN", "rejects": "WARN"}
    assert statuses(checked(shop(tmp_path, [*sound, *orphans]))) == {"joins": "FAIL", "rejects": "FAIL"}


def test_a_user_with_100_000_events_is_named(tmp_path: Path) -> None:
    shop(tmp_path)
    till = pl.select(
        who=pl.lit("till"), what=pl.lit("8"), did=pl.lit("buy"), at=pl.int_range(1_700_000_000, 1_700_100_000), paid=pl.lit("1")
    )
    till.write_parquet(tmp_path / "events.parquet")
    results = checked(tmp_path, events__path="events.parquet", events__time_format="unix_s")
    assert statuses(results) == {"dominant user": "WARN", "robots": "WARN"}
    assert results["dominant user"].examples == ("till: 100,000 events",)


def test_nothing_left_fails_and_names_the_reasons(tmp_path: Path) -> None:
    results = checked(shop(tmp_path), events__exclude={"all": "who = who"}, items__exclude={"all": "sku = sku"})
    assert statuses(results) == {"items": "FAIL", "rejects": "FAIL"}
    assert "excluded: all: 3" in results["rejects"].message
    assert "no item is left (excluded: all: 2)" in results["items"].message


def test_items_from_events_are_checked_too(tmp_path: Path) -> None:
    results = {r.name: r for r in run_checks(from_events(), shop(tmp_path, [row | {"name": "Mug"} for row in EVENT_ROWS]), NOW)}
    assert statuses(results) == {}
    assert results["files"].message.startswith("one file for both: 3 rows")


def test_online_retail_warns_of_lines_without_a_customer_and_fails_nothing() -> None:
    results = {r.name: r for r in run_checks(example("online_retail", "online_retail/online_retail.csv.gz"), ROOT, NOW)}
    assert statuses(results) == {"ids": "WARN", "duplicates": "WARN", "rejects": "WARN", "gaps": "WARN", "volumes": "WARN"}
    assert results["gaps"].examples[0].startswith("2010-12-24 to 2011-01-03")  # Christmas
    assert results["volumes"].message.startswith("2011-12-09")  # the file ends at noon
    assert results["ids"].count == 131_585


def test_users_that_are_not_known_or_were_rejected_are_counted(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("id,age\nann,3\nzoe,4\nzoe,5\n")
    asked = {"users__path": "users.csv", "users__columns": {"user_id": "id", "age": "age"}}
    found = checked(shop(tmp_path), **asked)["users"]
    assert (found.status, found.count) == ("WARN", 3)
    assert found.message == ("1 users; 1 of 2 who did something are not among them, 2 rows rejected (user_id repeats with other values: 2)")
    assert found.examples[0] == "bob"
