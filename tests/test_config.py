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


def test_describe_covers_every_field_with_a_meaning() -> None:
    keys = {key for key, *_ in describe()}
    expected = {f"events.types.X.{name}" for name in EventType.model_fields}
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
