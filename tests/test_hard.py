"""Hard rules on a written part: what breaks them is found, by joins and SQL that know nothing of how the lists were made."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from recsys.publish import Hard, Rest
from recsys.schema import EVENTS, RECOMMENDATIONS

AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
ITEMS = pl.DataFrame(
    {
        "item_id": ["i1", "i2", "i3", "i4"],
        "category": ["tea", "tea", "lamp", None],
        "brand": ["x", "x", None, None],
        "min_age": [None, 18, 6, None],
        "title": ["One", "Two", "Three", "Four"],
    }
)
USERS = pl.DataFrame({"user_id": ["a", "b"], "age": [12, 40], "title": ["Ms", "Mr"]})


def part(rows: list[tuple[str, str]], score: float = 1.0, reason: str = "popular now", chance: float | None = None) -> pl.DataFrame:
    """Lists of (user_id, item_id)."""
    full = [(user, item, rank, score, AS_OF, "run", reason, None, chance) for rank, (user, item) in enumerate(rows, 1)]
    return pl.DataFrame(full, schema={column.name: column.dtype for column in RECOMMENDATIONS.columns}, orient="row")


def hard(events: list[tuple[str, str, str, float]] = [], **changes: Any) -> Hard:  # noqa: B006 - read only
    """events: (user_id, item_id, event_type, days before AS_OF)."""
    rows = [{"user_id": u, "item_id": i, "event_type": t, "event_time": AS_OF - timedelta(days=d)} for u, i, t, d in events]
    table = pl.DataFrame(rows, schema={column.name: column.dtype for column in EVENTS.columns})
    return Hard(**{"as_of": AS_OF, "items": ITEMS, "users": USERS.lazy(), "events": table.lazy()} | changes)


def broken(rules: Hard, rows: pl.DataFrame) -> dict[str, list[tuple[str, str]]]:
    return {name: sorted(found.select("user_id", "item_id").rows()) for name, found in rules.breaches(rows)}


ALL = part([(user, item) for user in ("a", "b", "c") for item in ITEMS["item_id"]])


def test_without_a_rule_nothing_is_broken() -> None:
    assert broken(hard(), ALL) == {}


def test_a_condition_that_is_not_true_is_broken_and_null_is_not_true() -> None:
    rules = hard(conditions={"age": "item.min_age <= user.age", "named": "user.title = 'Mr' OR item.title <> 'Two' -- both have one"})
    assert broken(rules, ALL) == {
        "age": [("a", "i1"), ("a", "i2"), ("a", "i4"), ("b", "i1"), ("b", "i4"), *(("c", f"i{n}") for n in range(1, 5))],
        "named": [("a", "i2"), ("c", "i2")],
    }
    assert broken(rules, part([("b", "i2"), ("b", "i3"), ("a", "i3")])) == {}


def test_a_condition_on_items_alone_needs_no_table_of_users() -> None:
    assert broken(hard(users=None, conditions={"x": "item.brand IS NULL"}), ALL) == {"x": [(u, i) for u in "abc" for i in ("i1", "i2")]}


def test_more_of_a_value_than_its_cap_breaks_it_and_no_value_is_no_value() -> None:
    assert broken(hard(caps={"caps.brand": ("brand", 1)}), ALL) == {"caps.brand": [(u, i) for u in "abc" for i in ("i1", "i2")]}
    assert broken(hard(caps={"caps.brand": ("brand", 2)}), ALL) == {}


EVENTS_OF_A = [("a", "i1", "purchase", 9.0), ("a", "i3", "purchase", 9.0), ("a", "i4", "purchase", 2.0), ("a", "i2", "click", 1.0)]


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (Rest(("purchase",), 10), ["i1", "i3", "i4"]),
        (Rest(("purchase",), 9), ["i4"]),  # to the second nine days ago: they are over
        (Rest(("purchase",), 3, {"lamp": 30}), ["i3", "i4"]),
        (Rest(("purchase",), 30, {"lamp": 0, "tea": 5}), ["i4"]),
        (Rest(("click", "purchase"), None), ["i1", "i2", "i3", "i4"]),
    ],
)
def test_what_happened_too_lately_breaks_a_rest(rest: Rest, expected: list[str]) -> None:
    found = broken(hard([*EVENTS_OF_A, ("z", "i1", "purchase", 1.0)], rests={"rest": rest}), ALL)
    assert found == {"rest": [("a", item) for item in expected]}


def test_the_latest_purchase_counts_and_what_comes_after_the_moment_does_not() -> None:
    events = [("a", "i1", "purchase", 50.0), ("a", "i1", "purchase", 5.0), ("b", "i1", "purchase", -1.0)]
    assert broken(hard(events, rests={"rest": Rest(("purchase",), 10)}), ALL) == {"rest": [("a", "i1")]}


def test_a_lower_chance_than_the_least_and_an_unknown_one_break_it_unless_the_shop_placed_it() -> None:
    rules = hard(least={"rules.min_purchase_probability": ("purchase_probability", 0.1)}, pinned="placed")
    assert broken(rules, part([("a", "i1")], chance=0.1)) == {}
    for chance in (0.09, None):
        assert broken(rules, part([("a", "i1")], chance=chance)) == {"rules.min_purchase_probability": [("a", "i1")]}
    assert broken(rules, part([("a", "i1")], reason="placed")) == {}


def test_a_lower_score_than_the_floor_breaks_it_unless_the_shop_placed_it() -> None:
    floors = [pl.DataFrame({"user_id": ["a"], "floor": [1.5]}), pl.DataFrame({"user_id": ["b", "c"], "floor": [1.0, 0.5]})]
    assert broken(hard(floors=floors, pinned="placed"), ALL) == {"rules.min_score": [("a", i) for i in ITEMS["item_id"]]}
    assert broken(hard(floors=floors, pinned="placed"), part([("a", "i1")], reason="placed")) == {}
    assert broken(hard(floors=floors, pinned="placed"), part([("d", "i1")])) == {"rules.min_score": [("d", "i1")]}
