"""Checks of how people behave: each of a table with one known habit, and of the same table without it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from recsys.config_tables import Check
from recsys.ingest import CheckResult
from recsys.ingest.habits import habit_checks
from recsys.schema import EVENTS

FIRST = datetime(2026, 1, 5, 12, tzinfo=UTC)  # a Monday
N_DAYS = 71
NOW = FIRST + timedelta(days=N_DAYS)


def row(day: int, user: str = "u1", kind: str = "click", **more: Any) -> dict[str, Any]:
    return {"user_id": user, "item_id": f"i{day}", "event_type": kind, "event_time": FIRST + timedelta(days=day), **more}


def table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = {column.name: column.dtype for column in EVENTS.columns}
    return pl.DataFrame([{name: one.get(name) for name in schema} for one in rows], schema=schema)


def calm(n_a_day: int = 10) -> list[dict[str, Any]]:
    """Ten users who each click once a day."""
    return [row(day, f"u{user}") for day in range(N_DAYS) for user in range(n_a_day)]


def checked(rows: list[dict[str, Any]], now: datetime = NOW, **limits: Any) -> dict[str, CheckResult]:
    return {result.name: result for result in habit_checks(table(rows), Check(**limits), now)}


def told(results: dict[str, CheckResult]) -> dict[str, str]:
    return {name: result.status for name, result in results.items() if result.status != "PASS"}


def test_calm_habits_pass_and_no_events_have_none() -> None:
    assert told(checked(calm())) == {}
    assert checked([]) == {}


def test_a_gap_longer_than_allowed_is_named_by_its_first_and_last_silent_day() -> None:
    rows = [one for one in calm() if not datetime(2026, 2, 1, tzinfo=UTC) <= one["event_time"] < datetime(2026, 2, 5, tzinfo=UTC)]
    assert told(checked(rows)) == {"gaps": "WARN"}
    assert checked(rows)["gaps"].examples == ("2026-02-01 to 2026-02-04: 4 days",)
    assert told(checked(rows, gap_days=4)) == {}


@pytest.mark.parametrize(("late_days", "age", "status"), [(0, 900, "PASS"), (2, 1, "PASS"), (2, 2, "FAIL"), (2, 40, "FAIL")])
def test_the_age_of_the_last_event_fails_only_where_it_is_asked(late_days: int, age: int, status: str) -> None:
    now = FIRST + timedelta(days=N_DAYS - 1 + age, hours=1)
    found = checked(calm(), now, late_days=late_days)["late events"]
    assert (found.status, found.count) == (status, age)


@pytest.mark.parametrize(("n", "status"), [(0, "FAIL"), (3, "FAIL"), (4, "WARN"), (19, "WARN"), (20, "PASS"), (120, "PASS"), (121, "WARN")])
def test_the_last_whole_day_is_held_against_the_same_weekday_before(n: int, status: str) -> None:
    last = N_DAYS - 1
    rows = [one for one in calm(40) if one["event_time"] < FIRST + timedelta(days=last)] + [row(last, f"u{user}") for user in range(n)]
    rows.append(row(last, kind="purchase"))
    found = checked(rows)["volumes"]
    assert found.status == status
    if n == 0:
        assert found.examples == ("click: 0, usually 40",)


def test_a_day_that_is_not_over_is_not_judged_and_a_quiet_weekday_is_usual() -> None:
    today = [row(N_DAYS)]
    assert checked(calm(40) + today, NOW + timedelta(hours=1))["volumes"].status == "PASS"
    sundays = [one for one in calm(40) if one["event_time"].weekday() != 6 or one["user_id"] in ("u0", "u1")]
    last_sunday = NOW - timedelta(days=(NOW.weekday() + 1) % 7)
    until = [one for one in sundays if one["event_time"] <= last_sunday]
    assert checked(until, last_sunday + timedelta(days=1))["volumes"].status == "PASS"


def test_with_few_weeks_to_compare_no_volume_is_called_unusual() -> None:
    rows = [one for one in calm(40) if one["event_time"] > FIRST + timedelta(days=N_DAYS - 21)][:-39]
    assert checked(rows)["volumes"].status == "PASS"


def test_of_a_handful_of_events_no_day_is_unusual() -> None:
    rows = calm(29)[:-28]
    assert checked(rows)["volumes"].status == "PASS"


def test_one_user_with_a_large_part_of_all_events_is_named() -> None:
    rows = calm() + [row(day, "till") for day in range(N_DAYS)] * 5
    limits = {"dominant_share": 0.2, "dominant_events": 300}
    assert told(checked(rows, **limits)) == {"dominant user": "WARN"}
    assert checked(rows, **limits)["dominant user"].examples == ("till: 355 events",)
    assert told(checked(rows, dominant_share=0.2, dominant_events=355)) == {}


def test_a_user_who_does_more_in_a_day_than_a_person_can_is_named_and_what_was_shown_does_not_count() -> None:
    rows = calm() + [row(30, "crawler")] * 21 + [row(30, "reader", "impression")] * 100
    assert told(checked(rows, day_events=20)) == {"robots": "WARN"}
    assert checked(rows, day_events=20)["robots"].examples == ("crawler: 21 on 2026-02-04",)
    assert told(checked(rows, day_events=21)) == {}


def test_many_users_of_one_act_are_pointed_at() -> None:
    rows = calm() + [row(40, f"once{n}") for n in range(30)]
    found = checked(rows, one_event_share=0.7)["one-event users"]
    assert (found.status, found.count) == ("WARN", 30)
    assert checked(rows, one_event_share=0.8)["one-event users"].status == "PASS"


def test_positions_that_say_nothing_or_contradict_each_other_are_pointed_at() -> None:
    shown = [row(3, "u1", "impression", request_id="r", position=place) for place in (1, 2, 3)]
    assert checked(calm() + shown)["positions"].status == "PASS"
    same = [one | {"position": 1} for one in shown]
    assert "it tells nothing" in checked(calm() + same)["positions"].message
    doubled = [*shown, {**shown[0], "item_id": "other"}]
    found = checked(calm() + doubled)["positions"]
    assert (found.status, found.examples) == ("WARN", ("request r, position 1: 2 items",))
