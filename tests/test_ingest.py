import os
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.config import Config
from recsys.config_file import load, parse
from recsys.errors import SourceError, TableError
from recsys.ingest import Tables, ingest
from recsys.schema import EVENTS, ITEMS, REJECTS, check

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("RECSYS_DATA", ROOT / "../shared/data"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)

ITEM_ROWS = [{"sku": "007", "name": "Mug", "cost": "2.5"}, {"sku": "8", "name": "Plate", "cost": "4"}]
EVENT_ROWS = [
    {"who": "ann", "what": "007", "did": "buy", "at": "2025-05-01 10:00:00", "paid": "2.5"},
    {"who": "ann", "what": "8", "did": "look", "at": "2025-05-01 09:00:00", "paid": ""},
    {"who": "bob", "what": "8", "did": "buy", "at": "2025-05-02T10:00:00Z", "paid": "4"},
]


def config(**changes: Any) -> Config:
    """A shop of two CSV files; `items__path="x"` changes one key of a section."""
    values: dict[str, Any] = {
        "items": {"path": "items.csv", "columns": {"item_id": "sku", "title": "name", "price": "cost"}},
        "events": {
            "path": "events.csv",
            "columns": {"user_id": "who", "item_id": "what", "event_type": "did", "event_time": "at", "value": "paid"},
            "types": {"click": {"names": ["look"]}, "purchase": {"names": ["buy"], "label": 1}},
        },
    }
    for key, value in changes.items():
        section, name = key.split("__")
        old = values.setdefault(section, {}).get(name)
        values[section][name] = old | value if isinstance(old, dict) and name == "columns" else value
    return parse(values, "test")


def csv(rows: list[dict[str, Any]], separator: str = ",") -> bytes:
    return pl.DataFrame(rows, infer_schema_length=None).write_csv(separator=separator).encode()


def shop(folder: Path, events: list[dict[str, Any]] = EVENT_ROWS, items: list[dict[str, Any]] = ITEM_ROWS) -> Path:
    (folder / "items.csv").write_bytes(csv(items))
    (folder / "events.csv").write_bytes(csv(events))
    return folder


def event(**changes: Any) -> dict[str, Any]:
    return EVENT_ROWS[0] | changes


def reasons(tables: Tables) -> dict[str, int]:
    return dict(tables.rejects.group_by("reason").len().iter_rows())


def test_files_become_checked_tables_in_a_fixed_order(tmp_path: Path) -> None:
    tables = ingest(config(), shop(tmp_path), NOW)
    check(tables.items, ITEMS)
    check(tables.events, EVENTS)
    check(tables.rejects, REJECTS)
    assert tables.items.select("item_id", "title", "price").rows() == [("007", "Mug", 2.5), ("8", "Plate", 4.0)]
    assert tables.events.select("user_id", "item_id", "event_type", "event_time", "value").rows() == [
        ("ann", "8", "click", datetime(2025, 5, 1, 9, tzinfo=UTC), None),
        ("ann", "007", "purchase", datetime(2025, 5, 1, 10, tzinfo=UTC), 2.5),
        ("bob", "8", "purchase", datetime(2025, 5, 2, 10, tzinfo=UTC), 4.0),
    ]
    assert tables.counts == {
        f"{table} {name}": n
        for table, kept in (("items", 2), ("events", 3))
        for name, n in (("read", kept), ("kept", kept), ("merged", 0), ("rejected", 0))
    }


BAD_EXPRESSIONS = {
    "user_id": ("wo", r"events\.columns\.user_id: `wo` asks for the column 'wo', which events\.csv has not; did you mean 'who'\?"),
    "item_id": ("UPPER(what", r"events\.columns\.item_id: `UPPER\(what` cannot be computed"),
    "event_type": ("NOSUCH(did)", r"unsupported function 'nosuch'"),
    "value": ("CAST(paid AS BIGINT)", r"events\.columns\.value: .*TRY_CAST makes it null"),
}


@pytest.mark.parametrize("column", BAD_EXPRESSIONS)
def test_a_bad_expression_is_named_with_its_column(tmp_path: Path, column: str) -> None:
    text, message = BAD_EXPRESSIONS[column]
    with pytest.raises(SourceError, match=message):
        ingest(config(events__columns={column: text}), shop(tmp_path), NOW)


def test_an_exclude_must_be_a_condition(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"events\.exclude\.till: `who` is String, not true or false"):
        ingest(config(events__exclude={"till": "who"}), shop(tmp_path), NOW)


def test_a_column_name_with_blanks_is_a_column_not_sql(tmp_path: Path) -> None:
    rows = [{"Item no. (new)" if name == "sku" else name: value for name, value in row.items()} for row in ITEM_ROWS]
    tables = ingest(config(items__columns={"item_id": "Item no. (new)"}), shop(tmp_path, items=rows), NOW)
    assert tables.items["item_id"].to_list() == ["007", "8"]


REJECTED = {
    "user_id is missing": event(who="  "),
    "item_id is missing": event(what=None),
    "event_time is missing": event(at=""),
    "event_time cannot be parsed": event(at="2025-02-30 10:00:00"),
    "event_time is after 2026-01-01T00:00:00Z": event(at="2026-01-01 00:00:01"),
    "event_type is missing": event(did=None),
    "event_type 'foo' is unknown": event(did="foo"),
    "value is not a number": event(paid="2,50"),
    "item_id is not in items": event(what="7"),
    "exact duplicate": event(),
    "excluded: staff": event(who="till"),
}


@pytest.mark.parametrize("reason", REJECTED)
def test_a_bad_row_is_kept_with_its_reason_and_counted(tmp_path: Path, reason: str) -> None:
    shop(tmp_path, [*EVENT_ROWS, REJECTED[reason]])
    tables = ingest(config(events__exclude={"staff": "who = 'till'"}), tmp_path, NOW)
    assert tables.events.height == 3
    assert tables.rejects.select("table", "file", "row", "reason").rows() == [("events", "events.csv", 4, reason)]
    assert tables.counts[f"events rejected: {reason}"] == 1


def test_nothing_is_lost_when_everything_is_wrong_at_once(tmp_path: Path) -> None:
    tables = ingest(config(events__exclude={"staff": "who = 'till'"}), shop(tmp_path, [*EVENT_ROWS, *REJECTED.values()]), NOW)
    assert reasons(tables) == dict.fromkeys(REJECTED, 1)
    assert tables.counts["events read"] == 3 + len(REJECTED) == tables.counts["events kept"] + tables.counts["events rejected"]


def test_when_every_row_is_rejected_the_reasons_are_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"events: none of the 2 rows of events\.csv can be used \(event_type 'foo' is unknown: 2\)"):
        ingest(config(), shop(tmp_path, [event(did="foo"), event(did="foo")]), NOW)


def test_two_lines_of_an_item_with_other_values_are_two_events(tmp_path: Path) -> None:
    tables = ingest(config(), shop(tmp_path, [event(), event(paid="5"), event(paid="5.0")]), NOW)
    assert tables.events["value"].to_list() == [2.5, 5.0]
    assert reasons(tables) == {"exact duplicate": 1}


def test_a_null_condition_excludes_nothing(tmp_path: Path) -> None:
    tables = ingest(config(events__exclude={"cheap": "TRY_CAST(paid AS DOUBLE) < 3"}), shop(tmp_path), NOW)
    assert tables.events.height == 2
    assert reasons(tables) == {"excluded: cheap": 1}


@pytest.mark.parametrize("price", ["NaN", "inf", "-1", "1e300"])
def test_a_price_out_of_range_becomes_null_and_its_row_stays(tmp_path: Path, price: str) -> None:
    tables = ingest(config(), shop(tmp_path, items=[ITEM_ROWS[0] | {"cost": price}, ITEM_ROWS[1]]), NOW)
    assert tables.items["price"].to_list() == [None, 4.0]
    assert tables.counts["items price made null"] == 1


def test_repeated_items_collapse_and_the_first_with_a_text_stays(tmp_path: Path) -> None:
    rows = [{"sku": "a", "name": name, "cost": cost} for name, cost in (("", "1"), ("Cup", "1"), ("Cup", "1"), ("Cup", "2"), ("Mug", "1"))]
    tables = ingest(config(), shop(tmp_path, items=[*rows, *ITEM_ROWS]), NOW)
    assert tables.items.filter(pl.col("item_id") == "a").select("title", "price").rows() == [("Cup", 1.0)]
    assert tables.rejects.select("row", "reason").rows() == [
        (1, "item_id repeats with other text"),
        (3, "exact duplicate"),
        (4, "item_id repeats with other values"),
        (5, "item_id repeats with other text"),
    ]


def test_texts_lose_control_characters_and_runs_of_blanks_only(tmp_path: Path) -> None:
    tables = ingest(config(), shop(tmp_path, items=[*ITEM_ROWS, {"sku": "9", "name": " Café\t\x07 \u00a0crème\n ☕ ", "cost": None}]), NOW)
    assert tables.items["title"].to_list() == ["Mug", "Plate", "Café crème ☕"]


def test_ids_that_are_numbers_in_one_table_and_strings_in_the_other_join(tmp_path: Path) -> None:
    shop(tmp_path)
    items = pl.DataFrame({"sku": [7, 8], "name": ["Mug", "Plate"], "cost": [1.0, float("nan")]})
    items.write_parquet(tmp_path / "items.parquet")
    (tmp_path / "events.csv").write_bytes(csv([event(what="7"), event(what="8")]))
    tables = ingest(config(items__path="items.parquet"), tmp_path, NOW)
    assert tables.events["item_id"].to_list() == ["7", "8"]
    assert tables.counts["items price made null"] == 1


def test_a_declared_rule_takes_the_decimal_from_an_id(tmp_path: Path) -> None:
    shop(tmp_path, [event(who="17850.0"), event(who="17850"), event(who="170.05")])
    tables = ingest(config(events__columns={"user_id": r"REGEXP_REPLACE(who, '\.0$', '')"}), tmp_path, NOW)
    assert tables.events["user_id"].to_list() == ["170.05", "17850"]


def test_a_missing_id_that_is_nan_in_parquet_is_missing(tmp_path: Path) -> None:
    shop(tmp_path)
    events = pl.DataFrame(EVENT_ROWS).with_columns(who=pl.Series([1.0, float("nan"), 2.0]))
    events.write_parquet(tmp_path / "events.parquet")
    tables = ingest(config(events__path="events.parquet"), tmp_path, NOW)
    assert tables.events["user_id"].to_list() == ["1.0", "2.0"]
    assert reasons(tables) == {"user_id is missing": 1}


def test_a_column_of_the_wrong_type_is_named(tmp_path: Path) -> None:
    shop(tmp_path)
    lists = pl.DataFrame(EVENT_ROWS).with_columns(who=pl.Series([["a"], ["b"], ["c"]]), at=pl.Series([1, 2, 3]))
    lists.write_parquet(tmp_path / "events.parquet")
    with pytest.raises(SourceError, match=r"events\.columns\.user_id: List\(String\) does not fit"):
        ingest(config(events__path="events.parquet"), tmp_path, NOW)
    lists.with_columns(who=pl.lit("ann")).write_parquet(tmp_path / "events.parquet")
    with pytest.raises(SourceError, match=r"is Int64, and time_format is 'iso'\. Set time_format to unix_s or unix_ms"):
        ingest(config(events__path="events.parquet"), tmp_path, NOW)


def test_rejected_rows_of_bytes_are_written_in_hex(tmp_path: Path) -> None:
    shop(tmp_path)
    pl.DataFrame([*EVENT_ROWS, event(who=None)]).with_columns(raw=pl.lit(b"\x01\xff")).write_parquet(tmp_path / "events.parquet")
    rejects = ingest(config(events__path="events.parquet"), tmp_path, NOW).rejects
    assert '"raw":"01ff"' in rejects["content"][0]


def from_events(**changes: Any) -> Config:
    values = {"items__path": "events.csv", "items__from_events": True, "items__columns": {"item_id": "what", "title": "name"}}
    made = config(**(values | changes)).model_dump()
    made["items"]["columns"].pop("price", None)
    return parse(made, "test")


LINES = [
    event(who="", at="2025-05-03", name="MUG, RED"),
    event(at="2025-05-02", name="  Red  mug "),
    event(at="2025-05-02", name="Red mug!"),
    event(at="2025-05-01", name=" "),
    event(at="2025-04-01", name="damaged", did="lost"),
    event(at="2027-01-01", name="Mug of the future"),
    event(what="8", at="2025-05-01", name=None),
]


def test_an_item_of_the_events_has_its_earliest_usable_spelling(tmp_path: Path) -> None:
    tables = ingest(from_events(events__exclude={"write-off": "did = 'lost'"}), shop(tmp_path, LINES), NOW)
    assert tables.items.select("item_id", "title", "available_from", "price").rows() == [
        ("007", "Red mug", datetime(2025, 5, 1, tzinfo=UTC), None),
        ("8", "", datetime(2025, 5, 1, tzinfo=UTC), None),
    ]
    counts = tables.counts
    assert (counts["items read"], counts["items kept"], counts["items merged"], counts["items rejected"]) == (6, 2, 3, 1)


def test_items_from_events_read_one_file_and_take_no_price(tmp_path: Path) -> None:
    shop(tmp_path, LINES)
    with pytest.raises(SourceError, match=r"with from_events = true must be events\.path"):
        ingest(from_events(items__path="items.csv"), tmp_path, NOW)
    priced = from_events().model_dump()
    priced["items"]["columns"]["price"] = "paid"
    with pytest.raises(SourceError, match=r"items\.columns\.price: items from events take no price"):
        ingest(parse(priced, "test"), tmp_path, NOW)


def test_an_item_excluded_from_the_events_takes_its_events_along_with_a_reason(tmp_path: Path) -> None:
    rows = [event(name="Mug"), event(what="8", name="Gift card")]
    tables = ingest(from_events(items__exclude={"no article": "name LIKE 'Gift%'"}), shop(tmp_path, rows), NOW)
    assert tables.rejects.select("table", "reason").rows() == [("items", "excluded: no article"), ("events", "item_id is not in items")]


MANY = [
    event(who=f"u{n % 5}", what=what, at=f"2025-05-0{1 + n % 3}", paid=str(n % 4), name=f"{what} spelling {n % 7}")
    for n in range(60)
    for what in ("007", "8")
]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_shuffled_rows_give_the_same_bytes(tmp_path: Path, seed: int) -> None:
    expected = ingest(from_events(), shop(tmp_path, MANY), NOW)
    found = ingest(from_events(), shop(tmp_path, random.Random(seed).sample(MANY, len(MANY))), NOW)
    for a, b in ((expected.items, found.items), (expected.events, found.events)):
        a.write_parquet(tmp_path / "a.parquet")
        b.write_parquet(tmp_path / "b.parquet")
        assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert found.counts == expected.counts


def example(name: str, file: str) -> Config:
    """An example's config, with its files looked for in RECSYS_DATA."""
    if not (DATA / file).exists():
        pytest.skip(f"{DATA / file} is not there")
    values = load(ROOT / f"examples/{name}.toml").model_dump()
    for section in ("items", "events"):
        values[section]["path"] = values[section]["path"].replace("../../shared/data", str(DATA.resolve()))
    return parse(values, name)


def test_online_retail_has_the_customers_and_articles_its_example_says() -> None:
    tables = ingest(example("online_retail", "online_retail/online_retail.csv.gz"), ROOT, NOW)
    counts = tables.counts
    assert counts["events read"] == 541_909 == counts["events kept"] + counts["events rejected"]
    assert counts["events read"] - counts["items read"] == sum(
        n for name, n in counts.items() if name.startswith("events rejected: excluded")
    )
    rejected = {name.removeprefix("events rejected: "): n for name, n in counts.items() if name.startswith("events rejected: ")}
    assert rejected == {
        "user_id is missing": 131_585,
        "exact duplicate": 5_222,
        "excluded: no article": 3_045,
        "excluded: free of charge": 2_496,
    }
    assert set(tables.events["event_type"]) == {"purchase", "return"}
    assert tables.events.filter((pl.col("event_type") == "return") != (pl.col("value") < 0)).is_empty()
    assert not tables.events["user_id"].str.contains(r"\.").any()
    assert (tables.events["user_id"].n_unique(), tables.events["item_id"].n_unique(), tables.items.height) == (4362, 3675, 3810)


def test_movies_map_ratings_to_our_words() -> None:
    tables = ingest(example("movies", "movies/ratings.csv.gz"), ROOT, NOW)
    assert tables.rejects.is_empty()
    assert (tables.items.height, tables.events.height, tables.events["user_id"].n_unique()) == (9742, 100_836, 610)
    stars = tables.events.group_by("event_type").agg(low=pl.col("value").min(), high=pl.col("value").max()).sort("low")
    assert stars.rows() == [("return", 0.5, 2.5), ("click", 3.0, 3.5), ("purchase", 4.0, 5.0)]
    assert tables.items.filter(pl.col("item_id") == "1").select("title", "category").rows() == [("Toy Story (1995)", "Adventure")]
