"""`recsys init`: a look at somebody's own files gives a config that works, or says what a person has to fill in."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ingest import DATA

from recsys import config_file, ingest, timeline
from recsys.cli import main
from recsys.demo.shop import write_shop
from recsys.errors import ConfigError, SourceError
from recsys.ingest.columns import evaluate
from recsys.ingest.draft import _toml
from recsys.ingest.guess import TIME_FORMATS, _id, formats, guess_events, guess_items
from recsys.ingest.read import read
from recsys.pipeline.starting import Started, start

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MOMENTS = [datetime(2026, month, day, hour, 5, tzinfo=UTC) for month in (1, 4, 12) for day in (2, 13, 28) for hour in (3, 17)]


def csv(folder: Path, name: str, columns: dict[str, list[Any]]) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_csv(path)
    return str(path)


def lines(n: int = 60, **more: list[Any]) -> dict[str, list[Any]]:
    """Events of a shop with common names: ten users, twelve items, one event a day."""
    days = pl.date_range(datetime(2026, 1, 1), datetime(2026, 12, 31), eager=True).head(n)
    return {
        "customer": [f"c{place % 10}" for place in range(n)],
        "sku": [f"s{place % 12}" for place in range(n)],
        "date": days.dt.to_string("%Y-%m-%d").to_list(),
        **more,
    }


def items(n: int = 12, **more: list[Any]) -> dict[str, list[Any]]:
    return {"sku": [f"s{place}" for place in range(n)], "name": [f"a mug of colour {place}" for place in range(n)], **more}


def begun(folder: Path, events: str, catalogue: str | None) -> tuple[Started, dict[str, Any]]:
    path = folder / "recsys.toml"
    started = start(events, catalogue, path, NOW)
    return started, tomllib.loads(path.read_text(encoding="utf-8"))


def test_the_demo_shops_files_give_the_tables_of_the_config_that_was_written_for_them(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop", 7, n_items=60, n_users=80)
    path = tmp_path / "elsewhere" / "mine.toml"
    path.parent.mkdir()
    started = start(str(tmp_path / "shop" / "events" / "*.csv.gz"), str(tmp_path / "shop" / "items.csv"), path, NOW)
    assert started.unknown == {}
    found = ingest.ingest(config_file.load(path), path.parent, NOW)
    known = ingest.ingest(config_file.load(tmp_path / "shop" / "recsys.toml"), tmp_path / "shop", NOW)
    assert found.items.equals(known.items)
    assert found.events.equals(known.events)
    types, theirs = (config_file.load(one).events.types for one in (path, tmp_path / "shop" / "recsys.toml"))
    assert types == theirs


def test_a_config_that_is_there_is_left_alone(tmp_path: Path) -> None:
    events = csv(tmp_path, "events.csv", lines())
    (tmp_path / "recsys.toml").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        start(events, None, tmp_path / "recsys.toml", NOW)
    assert (tmp_path / "recsys.toml").read_text() == "mine"


def test_files_that_are_not_there_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        start(str(tmp_path / "events.csv"), None, tmp_path / "recsys.toml", NOW)
    assert list(tmp_path.iterdir()) == []


def test_events_without_a_text_ask_a_person_for_the_title_and_no_command_takes_the_file_before(tmp_path: Path) -> None:
    events = csv(tmp_path, "events.csv", lines(colour=["red"] * 60))
    path = tmp_path / "recsys.toml"
    done = CliRunner().invoke(main, ["init", "--events", events, "--config", str(path)])
    assert done.exit_code == 1
    assert "Fill in  items.columns.title: which of customer, date, colour?" in done.output
    assert "needs you: items.columns.title" in done.output
    with pytest.raises(ConfigError, match=r"items\.columns\.title"):
        config_file.load(path)
    path.write_text(path.read_text().replace('title = ""', 'title = "colour"'))
    assert ingest.ingest(config_file.load(path), tmp_path, NOW).items["title"].unique().to_list() == ["red"]


def test_the_command_ends_with_the_file_and_has_checked_it(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop", 7, n_items=60, n_users=80)
    path = tmp_path / "mine.toml"
    asked = ["init", "--events", str(tmp_path / "shop" / "events"), "--items", str(tmp_path / "shop" / "items.csv"), "--config", str(path)]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == str(path)
    assert "PASS  windows" in done.output


@pytest.mark.parametrize("form", TIME_FORMATS)
def test_every_way_to_write_a_time_is_told_from_the_others(form: str) -> None:
    written = pl.Series([moment.strftime(form) for moment in MOMENTS])
    assert formats(written) == [form]


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (["2026-01-02", "2026-02-03T04:05:06Z"], "iso"),
        (["1767323106", "1767323107.0"], "unix_s"),
        ([1767323106000, 1767323107000], "unix_ms"),
        ([datetime(2026, 1, 2)], "iso"),
    ],
)
def test_iso_times_numbers_since_1970_and_typed_times_are_told(written: list[Any], form: str) -> None:
    assert formats(pl.Series(written)) == [form]


@pytest.mark.parametrize("written", [["red", "blue"], [1.5, 2.5], [None, None], ["2026-01-02", "no time", "neither"]])
def test_what_is_no_time_has_no_format(written: list[Any]) -> None:
    assert formats(pl.Series(written)) == []


def test_where_no_row_tells_day_from_month_that_is_said(tmp_path: Path) -> None:
    events = lines()
    events["date"] = [f"0{1 + place % 9}/0{1 + place % 7}/2026" for place in range(60)]
    started, config = begun(tmp_path, csv(tmp_path, "e.csv", events), csv(tmp_path, "i.csv", items()))
    assert any("%d/%m/%Y and %m/%d/%Y both read every time" in doubt for doubt in started.doubts)
    assert config["events"]["time_format"] == "%d/%m/%Y"


def test_ids_that_went_through_a_float_and_ids_in_two_cases_become_one(tmp_path: Path) -> None:
    events = lines()
    events["customer"] = [f"{100 + place % 10}.0" for place in range(60)]
    events["sku"] = [("s" if place else "S") + str(place % 12) for place in range(60)]
    begun(tmp_path, csv(tmp_path, "e.csv", events), csv(tmp_path, "i.csv", {"sku": [f"S{n}" for n in range(12)], "name": ["mug"] * 12}))
    tables = ingest.ingest(config_file.load(tmp_path / "recsys.toml"), tmp_path, NOW)
    assert sorted(tables.events["user_id"].unique()) == [str(100 + n) for n in range(10)]
    assert tables.events["item_id"].n_unique() == 12


def test_ids_that_are_floats_in_the_file_and_items_in_another_case_are_joined(tmp_path: Path) -> None:
    events = lines()
    events["customer"] = [100.0 + place % 10 for place in range(60)]
    events["sku"] = [("s" if place else "S") + str(place % 12) for place in range(60)]
    pl.DataFrame(events).write_parquet(tmp_path / "e.parquet")
    begun(tmp_path, str(tmp_path / "e.parquet"), csv(tmp_path, "i.csv", items()))
    tables = ingest.ingest(config_file.load(tmp_path / "recsys.toml"), tmp_path, NOW)
    assert sorted(tables.events["user_id"].unique()) == [str(100 + n) for n in range(10)]
    assert tables.events.height == 60


def test_item_ids_that_are_floats_in_the_catalogue_are_joined(tmp_path: Path) -> None:
    events = lines() | {"sku": [str(place % 12) for place in range(60)]}
    pl.DataFrame({"sku": [float(n) for n in range(12)], "name": ["mug"] * 12}).write_parquet(tmp_path / "i.parquet")
    begun(tmp_path, csv(tmp_path, "e.csv", events), str(tmp_path / "i.parquet"))
    assert ingest.ingest(config_file.load(tmp_path / "recsys.toml"), tmp_path, NOW).events.height == 60


def test_one_file_named_twice_is_events_with_their_texts(tmp_path: Path) -> None:
    both = csv(tmp_path, "e.csv", lines(name=["a mug"] * 60, price=[1.0] * 60))
    started, config = begun(tmp_path, both, both)
    assert started.unknown == {}
    assert config["items"] == {"path": "e.csv", "from_events": True, "columns": {"item_id": "sku", "title": "name"}}


def test_names_of_columns_never_break_the_file_and_only_what_is_unused_is_called_so(tmp_path: Path) -> None:
    events = lines() | {"two\nlines": ["x"] * 60, "id": ["y"] * 60}
    pl.DataFrame(events).write_parquet(tmp_path / "e.parquet")
    begun(tmp_path, str(tmp_path / "e.parquet"), csv(tmp_path, "i.csv", items()))
    assert "# not used: two lines, id" in (tmp_path / "recsys.toml").read_text()


def test_ids_whose_case_tells_them_apart_stay_apart() -> None:
    raw = pl.DataFrame({"user": ["aB", "Ab", "ab"], "item": ["x", "y", "z"], "time": ["2026-01-01"] * 3})
    assert guess_events(raw).columns["user_id"].expression == "user"


def test_items_whose_ids_have_lost_their_zeros_are_joined(tmp_path: Path) -> None:
    events = lines()
    events["sku"] = [f"{place % 12 + 1}" for place in range(60)]
    catalogue = {"code": [f"000{n + 1}" for n in range(12)], "stock": list(range(50, 62)), "name": ["mug"] * 12}
    begun(tmp_path, csv(tmp_path, "e.csv", events), csv(tmp_path, "i.csv", catalogue))
    tables = ingest.ingest(config_file.load(tmp_path / "recsys.toml"), tmp_path, NOW)
    assert tables.events.height == 60


def test_the_item_id_is_the_column_that_joins_whatever_it_is_called() -> None:
    raw = pl.DataFrame({"id": ["1", "2"], "reference": ["s1", "s2"], "title": ["a mug", "a cup"]})
    assert guess_items(raw, pl.Series(["s1", "s2"])).columns["item_id"].expression == "reference"


def test_words_of_events_are_given_to_our_types_and_a_strange_one_is_named(tmp_path: Path) -> None:
    words = ["view", "Add to cart", "transaction", "teleported"] * 15
    started, config = begun(tmp_path, csv(tmp_path, "e.csv", lines(event=words)), csv(tmp_path, "i.csv", items()))
    assert {ours: kind["names"] for ours, kind in config["events"]["types"].items()} == {
        "click": ["view"],
        "cart": ["Add to cart"],
        "purchase": ["transaction"],
    }
    assert any("no type names 'teleported'" in doubt for doubt in started.doubts)


def test_words_that_all_are_strange_ask_a_person(tmp_path: Path) -> None:
    started, _ = begun(tmp_path, csv(tmp_path, "e.csv", lines(event=["teleported", "returned"] * 30)), csv(tmp_path, "i.csv", items()))
    assert "events.columns.event_type" in started.unknown


def test_ratings_say_what_was_liked(tmp_path: Path) -> None:
    begun(tmp_path, csv(tmp_path, "e.csv", lines(rating=[1, 3, 4, 5] * 15)), csv(tmp_path, "i.csv", items()))
    events = ingest.ingest(config_file.load(tmp_path / "recsys.toml"), tmp_path, NOW).events
    assert dict(events.group_by("event_type").len().iter_rows()) == {"return": 15, "click": 15, "purchase": 30}


def test_negative_quantities_are_returns_and_the_value_is_quantity_times_price(tmp_path: Path) -> None:
    more = {"quantity": [2, -1, 3] * 20, "unit_price": [1.5] * 60}
    begun(tmp_path, csv(tmp_path, "e.csv", lines(**more)), csv(tmp_path, "i.csv", items()))
    events = ingest.ingest(config_file.load(tmp_path / "recsys.toml"), tmp_path, NOW).events
    assert dict(events.group_by("event_type").len().iter_rows()) == {"return": 20, "purchase": 40}
    assert sorted(events["value"].unique()) == [-1.5, 3.0, 4.5]


def test_rows_at_no_price_and_ids_without_a_digit_are_pointed_at() -> None:
    raw = pl.DataFrame(lines() | {"price": [0.0] * 2 + [1.0] * 58, "sku": [f"s{n % 30}" for n in range(59)] + ["POST"]})
    doubts = guess_events(raw).doubts
    assert any("2 rows have a price of 0 or less" in doubt for doubt in doubts)
    assert any("1 item ids hold no digit (POST ...)" in doubt for doubt in doubts)


def test_too_few_days_are_said_and_the_file_is_written(tmp_path: Path) -> None:
    started, config = begun(tmp_path, csv(tmp_path, "e.csv", lines(4)), csv(tmp_path, "i.csv", items()))
    assert any("the events span 4 days" in doubt for doubt in started.doubts)
    assert "time" not in config


def test_events_that_join_no_item_are_said_and_the_file_is_written(tmp_path: Path) -> None:
    catalogue = csv(tmp_path, "i.csv", {"sku": ["other"], "name": ["mug"]})
    started, config = begun(tmp_path, csv(tmp_path, "e.csv", lines()), catalogue)
    assert any("none of the 60 rows" in doubt for doubt in started.doubts)
    assert config["items"]["columns"]["item_id"] == "sku"


@pytest.mark.parametrize("n_days", [6, 20, 40, 84, 120, 200, 365])
def test_the_windows_proposed_fit_into_the_days_there_are(tmp_path: Path, n_days: int) -> None:
    begun(tmp_path, csv(tmp_path, "e.csv", lines(n_days)), csv(tmp_path, "i.csv", items()))
    config = config_file.load(tmp_path / "recsys.toml")
    events = ingest.ingest(config, tmp_path, NOW).events
    ledger = timeline.evaluation_ledger(*timeline.span(events.lazy()), config)
    assert all(len(timeline.active_users(events, window)) for window in ledger.windows)


@given(text=st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_written_so_that_toml_reads_it_back(text: str) -> None:
    encodable = text.encode("utf-8", "ignore").decode()
    assert tomllib.loads(f"key = {_toml(encodable)}")["key"] == encodable


@pytest.mark.parametrize("name", ["user name", 'the "user"', "naïve", "user;--", "a.b", "#user", "select"])
def test_a_column_of_any_name_is_found_again(tmp_path: Path, name: str) -> None:
    events = {name if key == "customer" else key: values for key, values in lines().items()} | {"rating": [5] * 60}
    events[name] = [f"{n % 10}.0" for n in range(60)]
    pl.DataFrame(events).write_parquet(tmp_path / "events.parquet")
    raw = read("events.parquet", tmp_path)
    assert sorted(evaluate(raw, _id(raw, name).expression, "x").unique()) == [str(n) for n in range(10)]


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data is not here")
@pytest.mark.parametrize(
    ("events", "catalogue"), [("online_retail/online_retail.csv.gz", None), ("movies/ratings.csv.gz", "movies/movies.csv.gz")]
)
def test_real_files_give_a_config_that_passes_every_check(tmp_path: Path, events: str, catalogue: str | None) -> None:
    path = tmp_path / "recsys.toml"
    asked = ["init", "--events", str(DATA / events), "--config", str(path), *(["--items", str(DATA / catalogue)] if catalogue else [])]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    assert ", 0 FAIL" in done.output
