"""recsys.toml: every fault at once, each with its place and a way out."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from worlds import SMALL, config, settings, write_world

from recsys.config import Config
from recsys.config_file import describe, find, load, parse
from recsys.config_rules import Boost, Pin, Rules
from recsys.config_tables import EventType
from recsys.errors import ConfigError

NEEDED = {
    "items": {"path": "items.csv", "columns": {"item_id": "sku", "title": "name"}},
    "events": {"path": "events.csv", "columns": {name: name for name in ("user_id", "item_id", "event_type", "event_time")}},
}


def message(*changes: tuple[str, Any]) -> str:
    """What is said of the least config with some dotted keys set."""
    values: dict[str, Any] = deepcopy(NEEDED)
    for key, value in changes:
        *path, last = key.split(".")
        section = values
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    with pytest.raises(ConfigError) as caught:
        parse(values, "recsys.toml")
    return str(caught.value)


def test_only_files_and_columns_are_needed_and_the_defaults_are_valid() -> None:
    made = parse(deepcopy(NEEDED), "recsys.toml")
    assert Config.model_validate(made.model_dump()) == made
    assert made.gains == (0.0, 1.0, 2.0, 3.0)


def test_all_faults_come_at_once() -> None:
    said = message(("text.steps", -1), ("ranker.leafs", 31), ("events.types.buy", {"label": 1}), ("time.fold_days", "x"), ("rank.k", 0))
    assert said.startswith("recsys.toml: 5 faults\n")
    for place in ("text.steps", "ranker.leafs", "events.types.buy", "time.fold_days", "rank.k"):
        assert f"  {place}: " in said


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("ranker.leafs", 31, "did you mean 'leaves'?"),
        ("rankr", {}, "did you mean 'ranker'?"),
        ("text.zzzzzz", 1, "known: encoder, pooling"),
        ("events.types.click", {"wieght": 1.0}, "events.types.click.wieght: no such key; did you mean 'weight'?"),
        ("events.types.purchas", {}, "events.types.purchas: not an event type; did you mean 'purchase'?"),
        ("items.columns.titel", "name", "items.columns.titel: no such column of ours; did you mean 'title'?"),
        ("events.columns.when", "t", "events.columns.when: no such column of ours"),
        (
            "search.text",
            {"lerning_rate": [1e-5, 1e-3]},
            "search.text.lerning_rate: no such setting to search; did you mean 'learning_rate'?",
        ),
        ("search.text", {"valid_days": [7, 14]}, "search.text.valid_days: no such setting to search"),
        ("search.text", {"blend_steps": [0, 600]}, "search.text.blend_steps: no such setting to search"),
        ("search.text", {"scoring": ["float32", "int8"]}, "search.text.scoring: no such setting to search"),
        ("search.ranker", {"leafs": [7, 63]}, "search.ranker.leafs: no such setting to search; did you mean 'leaves'?"),
        ("rules.bougt_days", 3, "rules.bougt_days: no such key; did you mean 'bought_days'?"),
        ("rules.pins", {"spring": {"rnk": 1, "item": "a"}}, "rules.pins.spring.rnk: no such key; did you mean 'rank'?"),
        ("rules.boosts", {"ours": {"wher": "item.title = 'x'", "by": 1}}, "rules.boosts.ours.wher: no such key; did you mean 'where'?"),
        ("rules.caps", {"titel": 2}, "rules.caps.titel: items have no such column; did you mean 'title'?"),
        (
            "rules.eligible",
            {"age": "item.titel = 'x'"},
            "rules.eligible.age: `item.titel = 'x'` names item.titel, which there is not; did you",
        ),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(key: str, value: object, told: str) -> None:
    assert told in message((key, value))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("time.n_folds", 0, "greater than or equal to 1, not 0"),
        ("ranker.feature_share", 1.5, "less than or equal to 1, not 1.5"),
        ("text.learning_rate", float("nan"), "finite"),
        ("text.pooling", "max", "'mean' or 'cls', not 'max'"),
        ("project.task", "both", "'all' or 'new', not 'both'"),
        ("ranker.monotone", {"fusion": 2}, "ranker.monotone.fusion"),
        ("project.name", "../x", "project.name"),
        ("search.text", {"steps": [-1, 9]}, "search.text.steps: input should be greater than or equal to 0, not -1"),
        ("search.text", {"pooling": ["mean", "max"]}, "search.text.pooling: input should be 'mean' or 'cls', not 'max'"),
        ("search.ranker", {"leaves": [7.5, 63]}, "search.ranker.leaves: input should be a valid integer"),
        ("search.ranker", {"leaves": [63, 7]}, "whose low end is above its high end; give [low, high]"),
        ("search.ranker", {"leaves": [63]}, "search.ranker.leaves: is [63]; give [low, high], or two or more different choices"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_range(key: str, value: object, told: str) -> None:
    said = message((key, value))
    assert key in said
    assert told in said


def test_what_is_missing_is_said() -> None:
    with pytest.raises(ConfigError, match=r"2 faults\n  items: is missing and has no default\n  events: is missing"):
        parse({}, "recsys.toml")
    columns = {"item_id": "sku"}
    assert "items.columns.title: is missing; say which of your columns it is" in message(("items.columns", columns))


def test_a_word_of_the_shop_has_one_meaning() -> None:
    said = message(("events.types", {"click": {"names": ["view"], "label": 1}, "cart": {"names": ["view"]}}))
    assert "events.types.cart.names: 'view' already means click" in said


def test_only_a_click_can_be_a_short_view() -> None:
    said = message(("events.types", {"click": {"label": 1, "short_below": 5}, "purchase": {"short_below": 5}}))
    assert said.startswith("recsys.toml: 1 fault\n")
    assert "events.types.purchase.short_below: only a click can be a short view" in said


def test_label_gains_reach_the_highest_label() -> None:
    assert "ranker.label_gain: 2 gains for labels 0 to 3: give 4" in message(("ranker.label_gain", [0, 1]))
    assert config({"ranker": {"label_gain": [0, 1, 3, 7]}}).gains == (0, 1, 3, 7)


def test_something_must_be_able_to_be_relevant() -> None:
    assert "evaluate.relevant_from: no event type has so high a label" in message(("evaluate.relevant_from", 4))


def test_a_range_to_search_is_read_as_its_setting_is() -> None:
    made = config({"search": {"ranker": {"feature_share": [0.5, 1], "leaves": [7, 63.0]}}})
    assert made.search.ranker == {"feature_share": (0.5, 1.0), "leaves": (7, 63)}
    assert isinstance(made.search.ranker["feature_share"][1], float)
    assert isinstance(made.search.ranker["leaves"][1], int)


ITEM = {"rank": 1, "item": "a"}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (
            "rules.eligible",
            {"age": "item.title ="},
            "rules.eligible.age: `item.title =` is no SQL: expected: an expression, found: EOF at its end",
        ),
        ("rules.eligible", {"age": "user.age > 3"}, "names user.age, and there is no table of users; say in [users] where it is"),
        ("rules.caps", {"brand": 2}, "rules.caps.brand: items have no such column; known: item_id, title"),
        ("rules.bought_days_by_category", {"tea": 3}, "rules.bought_days_by_category: items have no category; say in items.columns"),
        ("rules.pins", {"a": {"rank": 1}}, "rules.pins.a: has neither item nor items; give one of them"),
        ("rules.pins", {"a": ITEM | {"items": "item.title = 'x'"}}, "rules.pins.a: has both item and items; give one of them"),
        ("rules.pins", {"a": ITEM | {"rank": 21}}, "rules.pins.a.rank: 21 is beyond the list, rank.k = 20"),
        (
            "rules.pins",
            {"a": ITEM, "b": {"rank": 1, "item": "b"}},
            "rules.pins.b.rank: rank 1 is taken by rules.pins.a; give both a condition",
        ),
        ("rules.pins", {"a": ITEM | {"users": "item.title = 'x'"}}, "names item.title; whom a pin is for, user.* alone says"),
        ("rules.mmr_lambda", 1.5, "rules.mmr_lambda: input should be less than or equal to 1, not 1.5"),
        ("items.extra", {"brand": "b"}, "items.extra.brand: is a column of ours; declare it in items.columns"),
        ("users", {"columns": {"user_id": "id"}}, "users.path: is missing; say where the table is"),
        ("users", {"path": "users.csv", "columns": {"age": "a"}}, "users.columns.user_id: is missing; say which of your columns it is"),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(key: str, value: object, told: str) -> None:
    assert told in message((key, value))


def test_two_pins_may_share_a_rank_where_each_says_for_whom() -> None:
    users = {"path": "users.csv", "columns": {"user_id": "id", "country": "land"}}
    pins = {name: {"rank": 1, "item": name, "users": f"user.country = '{name}'"} for name in ("DE", "FR")}
    made = parse(deepcopy(NEEDED) | {"users": users, "rules": {"pins": pins}}, "recsys.toml")
    assert made.rules.names == ("pins.DE", "pins.FR")


def test_items_from_events_take_no_extra_columns() -> None:
    assert "items.extra.stock: items from events take no extra columns" in message(
        ("items.from_events", True), ("items.extra", {"stock": "s"})
    )


def test_the_rules_that_are_set_are_told_in_order_and_the_others_not() -> None:
    assert Rules().names == ()
    assert Rules(bought_days_by_category={"tea": 0}).names == ()
    given = {
        "mmr_lambda": 0.5,
        "caps": {"b": 2, "a": 1},
        "min_score": 0.0,
        "min_click_probability": 0.1,
        "bought_days_by_category": {"tea": 3},
        "seen_days": 1,
    }
    assert Rules.model_validate(given).each == {
        "seen_days": 1,
        "bought_days": [0, {"tea": 3}],
        "min_score": 0.0,
        "min_click_probability": 0.1,
        "caps.b": 2,
        "caps.a": 1,
        "mmr_lambda": 0.5,
    }


def test_describe_covers_every_field_with_a_meaning() -> None:
    keys = {key for key, *_ in describe()}
    of_each = {"events.types": EventType, "rules.boosts": Boost, "rules.pins": Pin}
    expected = {f"{place}.X.{name}" for place, section in of_each.items() for name in section.model_fields}
    for section, field in Config.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, BaseModel)
        expected |= {f"{section}.{name}" for name in field.annotation.model_fields}
    assert keys == expected
    assert all(meaning for *_, meaning in describe())


def test_describe_gives_default_and_range() -> None:
    rows = {key: (default, legal) for key, default, legal, _ in describe()}
    assert rows["time.n_folds"] == ("3", ">= 1, <= 52")
    assert rows["project.task"] == ('"all"', "all or new")
    assert rows["items.path"][0] == "required"


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        config().rank.k = 3


def test_the_digest_depends_on_the_values_and_not_on_how_they_were_written() -> None:
    shuffled = {section: dict(reversed(values.items())) for section, values in reversed(settings().items())}
    assert parse(shuffled, "x").digest() == config().digest()
    assert config({"rank": {"k": 6}}).digest() != config().digest()
    spelled_out = parse(config().model_dump(), "x")
    assert spelled_out.digest() == config().digest()
    assert len(config().digest()) == 12


def test_a_config_written_as_toml_is_read_back(tmp_path: Path) -> None:
    from worlds import checkerboard

    world = checkerboard()
    assert load(write_world(tmp_path, world.items, world.events)) == parse(SMALL, "x")


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"[items\npath = 1", "not TOML"), (b"name = '\xff\xfe'", "not TOML"), (b"", "items: is missing"), (b"\xef\xbb\xbf[items]\n", "")],
)
def test_a_file_that_is_no_config_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "recsys.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"recsys\.toml") as caught:
        load(path)
    assert told in str(caught.value)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: no such file\. Name one with --config"):
        load(tmp_path / "gone.toml")


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path))):
        load(tmp_path)


def test_the_nearest_config_above_is_found(tmp_path: Path) -> None:
    (tmp_path / "recsys.toml").touch()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find(below) == tmp_path / "recsys.toml"
