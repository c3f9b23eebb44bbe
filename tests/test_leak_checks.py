"""Each leak check on a table with one known fault, and on the same table without it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import metrics
from recsys.blocks import Catalogue
from recsys.config_tables import Check
from recsys.ingest import Tables
from recsys.pipeline.leaks import borders, columns, logs, reread, sale
from recsys.pipeline.leaks.found import beyond
from recsys.schema import EVENTS, ITEMS
from recsys.timeline import Ledger, Window

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
LIMITS = Check()
LEDGER = Ledger(
    Window("text", START, START + 30 * DAY),
    (Window("fold_1", START + 30 * DAY, START + 37 * DAY),),
    Window("valid", START + 37 * DAY, START + 44 * DAY),
    Window("test", START + 44 * DAY, START + 58 * DAY),
)
TEST = START + 44 * DAY


def event(user: str, item: str, time: datetime, kind: str = "click") -> dict[str, Any]:
    return {"user_id": user, "item_id": item, "event_type": kind, "event_time": time}


def events_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = {column.name: column.dtype for column in EVENTS.columns}
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def items_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = {column.name: column.dtype for column in ITEMS.columns}
    return pl.DataFrame(
        [{"title": "", "description": ""} | {name: row.get(name) for name in schema if name in row} for row in rows], schema=schema
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(-3, 3)), max_size=40))
def test_the_auc_of_groups_is_the_auc_of_each_group_alone(rows: list[tuple[int, bool, int]]) -> None:
    group, positive, score = (np.array([row[place] for row in rows], kind) for place, kind in ((0, int), (1, bool), (2, float)))
    score[np.abs(score) == 3] *= np.inf
    expected = [metrics.roc_auc(positive[group == one], score[group == one]) for one in np.unique(group)]
    np.testing.assert_allclose(metrics.grouped_auc(positive, score, group), expected)


def test_the_auc_of_groups_of_the_docstring() -> None:
    found = metrics.grouped_auc(np.array([1, 0, 0, 0, 1], bool), np.array([0.3, 0.1, 0.3, 0.8, 0.2]), np.array([7, 7, 7, 9, 9]))
    assert found.tolist() == [0.75, 0.0]


@pytest.mark.parametrize(
    ("value", "limits", "status"), [(0.2, (0.2, 0.5), "PASS"), (0.3, (0.2, 0.5), "WARN"), (0.6, (0.2, 0.5), "FAIL"), (9, (), "PASS")]
)
def test_a_value_is_judged_by_two_limits(value: float, limits: tuple[float, ...], status: str) -> None:
    assert beyond(value, limits) == status


@pytest.mark.parametrize("limits", [(0.5, 0.2), (-0.1,), (0.1, 0.2, 0.3)])
def test_limits_that_make_no_sense_are_refused_by_name(limits: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"check\.leak_auc: one or two numbers"):
        Check(leak_auc=limits)


# Columns of the items


def chosen_world(**of_item: Any) -> tuple[Catalogue, pl.DataFrame]:
    """Forty items, the first half of them bought in the test window; columns by a function of (number, is_chosen)."""
    items = items_of([{"item_id": f"i{n:02}"} | {name: make(n, n < 20) for name, make in of_item.items()} for n in range(40)])
    return Catalogue.of(items), events_of([event("u", f"i{n:02}", TEST + DAY, "purchase") for n in range(20)])


LEAKS = {
    "price": lambda n, chosen: 5.0 if chosen else None,
    "available_until": lambda n, chosen: None if chosen else TEST + DAY * (1 + n / 10),
    "category": lambda n, chosen: ("a", "b")[n % 2] if chosen else ("c", "d")[n % 2],
    "title": lambda n, chosen: f"mug {n} bestseller" if chosen else f"mug {n}",
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_column_written_after_the_fact_is_named(name: str) -> None:
    catalogue, events = chosen_world(**{name: LEAKS[name]})
    found = columns.item_columns(catalogue, events, [LEDGER.windows[-1]], {"purchase": 3}, LIMITS)
    assert found.status in ("WARN", "FAIL")
    assert found.examples[0].startswith(f"{name} (")


def test_columns_of_distinct_values_and_of_nothing_tell_nothing() -> None:
    catalogue, events = chosen_world(category=lambda n, _: f"c{n}", title=lambda n, _: f"mug {n}", price=lambda n, _: float(n * 7 % 13))
    found = columns.item_columns(catalogue, events, [LEDGER.windows[-1]], {"purchase": 3}, LIMITS)
    assert found.status == "PASS"
    assert "(label 3: 20 of 40)" in found.message


def test_with_every_item_chosen_no_column_can_tell_and_it_is_said() -> None:
    catalogue, events = chosen_world()
    every = pl.concat([events, events_of([event("u", f"i{n}", TEST + DAY, "purchase") for n in range(20, 40)])])
    assert (
        "too few items are chosen, or left" in columns.item_columns(catalogue, every, [LEDGER.windows[-1]], {"purchase": 3}, LIMITS).message
    )


# Borders


def test_windows_that_overlap_or_leave_no_gap_fail() -> None:
    events = events_of([event("u", "i", TEST)])
    assert borders.windows_apart(LEDGER, events, 0).status == "PASS"
    assert "1 events stand at the very first moment" in borders.windows_apart(LEDGER, events, 0).message
    gapless = borders.windows_apart(LEDGER, events, 1)
    assert (gapless.status, gapless.count) == ("FAIL", 3)
    early = Ledger(LEDGER.text, LEDGER.folds, LEDGER.valid, Window("test", TEST - DAY, TEST + 10 * DAY))
    assert borders.windows_apart(early, events, 0).examples == ("valid ends 2026-04-15, test begins 2026-04-14",)


def week(n: int = 20) -> list[dict[str, Any]]:
    """Acts of the week before the test window, a quarter of which come again in it."""
    return [event(f"u{n}", f"i{n}", TEST - DAY - n * MINUTE) for n in range(n)] + [
        event(f"u{n}", f"i{n}", TEST + DAY) for n in range(n // 4)
    ]


def near(n_again: int, seconds: int, later: timedelta) -> list[dict[str, Any]]:
    """Twelve acts so many seconds before the test window, some of them again so much later."""
    before = [event(f"v{n}", "i", TEST - timedelta(seconds=seconds)) for n in range(12)]
    return before + [one | {"event_time": one["event_time"] + later} for one in before[:n_again]]


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([], "PASS"),
        (near(3, 300, DAY), "PASS"),  # as usual
        (near(7, 300, DAY), "WARN"),
        (near(12, 300, DAY), "FAIL"),
        (near(12, 2, timedelta(seconds=3)), "FAIL"),
        (near(9, 300, DAY)[:9] + near(9, 300, DAY)[12:], "PASS"),  # nine acts are few
        (near(12, 700, DAY), "PASS"),  # not right before it
        (near(12, 300, 20 * DAY), "PASS"),  # after the window
    ],
)
def test_acts_right_before_a_border_that_come_again_beyond_what_is_usual_are_copies(rows: list[dict[str, Any]], status: str) -> None:
    assert borders.copies(LEDGER, events_of(week() + rows), LIMITS).status == status


def test_another_type_of_event_is_no_copy() -> None:
    bought = [one | ({"event_type": "purchase"} if one["event_time"] >= TEST else {}) for one in near(12, 300, DAY)]
    assert borders.copies(LEDGER, events_of(week() + bought), LIMITS).status == "PASS"


def test_the_share_of_visits_across_a_border_is_said() -> None:
    rows = [event(f"u{n}", "i", TEST + n * DAY / 2) for n in range(10)] + [event("u0", "j", TEST - MINUTE)]
    found = borders.sessions(LEDGER, events_of(rows), LIMITS)
    assert (found.status, found.count) == ("PASS", 1)
    assert "at most 10.0% of a window's users (1 of 10 of test)" in found.message
    assert borders.sessions(LEDGER, events_of(rows), Check(leak_sessions=(0.09,))).status == "WARN"


# Dates of the items


def test_events_before_an_item_came_and_after_it_went_are_counted_but_for_returns() -> None:
    items = items_of([{"item_id": "i", "available_from": START, "available_until": START + 2 * DAY}, {"item_id": "always"}])
    calm = [event("u", "always", START - DAY), event("u", "i", START), event("u", "i", START + 5 * DAY, "return")]
    assert sale.events_on_sale(items, events_of(calm), LIMITS).status == "PASS"
    found = sale.events_on_sale(items, events_of([*calm, event("u", "i", START - MINUTE), event("u", "i", START + 2 * DAY)]), LIMITS)
    assert (found.status, found.count) == ("FAIL", 2)
    assert found.message.startswith("1 events before the item's available_from, 1 after its available_until: 40.00% of 5")
    assert found.examples == (
        "u click i 2026-03-01 23:59, available from 2026-03-02 00:00",
        "u click i 2026-03-04 00:00, until 2026-03-04 00:00",
    )
    assert "nothing to hold events against" in sale.events_on_sale(items.tail(1), events_of(calm), LIMITS).message


def slow_shop(until: timedelta) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Twelve items with an act every third day from day 10 on, four times, that go so long after the last; and a long-lived one."""
    acts = [event("u", f"i{n:02}", START + (10 + n / 10 + 3 * time) * DAY) for n in range(12) for time in range(4)]
    gone = [{"item_id": f"i{n:02}", "available_until": START + (19 + n / 10) * DAY + until} for n in range(12)]
    return items_of([*gone, {"item_id": "old"}]), events_of([*acts, event("u", "old", START), event("u", "old", START + 58 * DAY - MINUTE)])


def test_dates_made_out_of_the_last_act_are_found_and_those_of_a_catalogue_are_not() -> None:
    made, kept = (sale.dates_after_the_fact(*slow_shop(until), LEDGER.windows[-2:], False, LIMITS) for until in (MINUTE, 4 * DAY))
    assert (made.status, kept.status) == ("WARN", "PASS")
    assert "available_until of 12 slow items is within a day of their last act in 100%" in made.message


def test_items_from_events_that_are_born_in_a_window_are_counted() -> None:
    items = items_of([{"item_id": "old", "available_from": START}, {"item_id": "new", "available_from": TEST}])
    events = events_of([event("u", "old", START), event("u", "new", TEST), event("u", "old", TEST)])
    found = sale.dates_after_the_fact(items, events, LEDGER.windows[-2:], True, LIMITS)
    assert (found.status, found.count, found.examples) == ("WARN", 1, ("new",))
    assert "0 in valid, 0.0% of its acts; 1 in test, 50.0% of its acts" in found.message
    assert sale.dates_after_the_fact(items.head(1), events, LEDGER.windows[-2:], True, LIMITS).status == "PASS"


# How events were written down


@pytest.mark.parametrize(("chosen", "status"), [(0, "PASS"), (10, "PASS"), (11, "WARN"), (18, "WARN"), (19, "FAIL")])
def test_impressions_that_are_nearly_all_acted_upon_give_the_answer_away(chosen: int, status: str) -> None:
    shown = [event(f"u{n}", "i", START, "impression") for n in range(20)]
    acts = [event(f"u{n}", "i", START + MINUTE) for n in range(chosen)] + [event(f"u{n}", "i", START + 2 * DAY) for n in range(20)]
    found = logs.impressions(events_of(shown + acts), LIMITS)
    assert found.status == status
    assert found.message.startswith(f"upon {chosen} of 20 impressions")


def test_a_few_impressions_are_not_judged() -> None:
    assert "0 impressions" in logs.impressions(events_of([event("u", "i", START)]), LIMITS).message


def test_a_day_of_dates_without_times_has_no_order() -> None:
    dates = [event(f"u{n % 6}", f"i{n}", START) for n in range(9)] + [event("u", "i", START + MINUTE)]
    found = logs.order_within_days(events_of(dates))
    assert (found.status, found.examples) == ("WARN", ("2026-03-02: 9 events at 00:00:00",))
    assert logs.order_within_days(events_of([*dates, event("u", "j", START + 2 * MINUTE)])).status == "PASS"
    assert logs.order_within_days(events_of([event("u", f"i{n}", START) for n in range(9)])).status == "PASS"  # one user's basket


def lines(*rows: tuple[str, datetime | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"file": pl.String, "event_time": pl.Datetime("us", "UTC")}, orient="row")


def test_events_later_than_the_day_of_their_file_are_found() -> None:
    calm = [("a/2026-03-02.csv", START), ("a/2026-03-02.csv", START + DAY), ("20260303.csv", START + 2 * DAY), ("b.csv", START + 90 * DAY)]
    assert logs.days_of_files(lines(*calm, ("a/2026-03-02.csv", None))).status == "PASS"
    found = logs.days_of_files(lines(*calm, ("a/2026-03-02.csv", START + 2 * DAY)))
    assert (found.status, found.count, found.examples) == ("WARN", 1, ("a/2026-03-02.csv: 1, up to 2026-03-04 00:00",))


@pytest.mark.parametrize("name", ["events.csv", "99999999.csv"])
def test_file_names_without_a_day_tell_nothing_and_it_is_said(name: str) -> None:
    assert "none of 1 file names holds a day" in logs.days_of_files(lines((name, START))).message


def test_file_names_that_say_where_a_month_begins_tell_nothing() -> None:
    rows = [("2026-03-01.csv", START + n * DAY) for n in range(20)]
    assert "where stretches begin" in logs.days_of_files(lines(*rows)).message


# Reading again


def test_items_whose_text_comes_from_later_lines_are_named_with_both_texts() -> None:
    events, counts = events_of([event("u", "i", START), event("u", "i", TEST)]), {}
    items = items_of([{"item_id": "i", "title": "mug, sold out", "available_from": START}, {"item_id": "j", "available_from": TEST}])
    then = Tables(items.head(1).with_columns(title=pl.lit("mug")), events.head(1), pl.DataFrame(), counts)
    whole = Tables(items, events, pl.DataFrame(), counts)
    found = reread.reread([reread.changed(whole, then, TEST, True)])
    assert (found.status, found.count) == ("FAIL", 1)
    assert found.examples == ("as of 2026-04-15: i: title 'mug, sold out', and 'mug' before",)
    same = Tables(items.head(1), events.head(1), pl.DataFrame(), counts)
    assert reread.reread([reread.changed(whole, same, TEST, True)]).status == "PASS"


def test_events_that_come_or_go_with_later_lines_are_counted() -> None:
    events, items = events_of([event("u", "i", START), event("v", "i", START), event("u", "i", TEST)]), items_of([{"item_id": "i"}])
    whole, then = (Tables(items, part, pl.DataFrame(), {}) for part in (events, events.slice(1, 1)))
    found = reread.reread([reread.changed(whole, then, TEST, False)])
    assert (found.status, found.count, found.examples) == ("FAIL", 1, ("as of 2026-04-15: u click i 2026-03-02 00:00:00",))
