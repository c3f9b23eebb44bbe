"""What rules may speak of: a table of users, and columns of items beside ours."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_ingest import ITEM_ROWS, NOW, config, csv, shop

from recsys.errors import SourceError, TableError
from recsys.ingest import ingest
from recsys.schema import ITEMS

USERS = {"users__path": "users.csv", "users__columns": {"user_id": "id", "age": "CAST(years AS INT)", "land": "land"}}


def with_users(folder: Path, rows: list[dict[str, Any]]) -> Path:
    (folder / "users.csv").write_bytes(csv(rows))
    return shop(folder)


def test_users_become_a_table_by_id_of_the_columns_that_the_shop_names(tmp_path: Path) -> None:
    rows = [
        {"id": "bob", "years": "40", "land": " DE "},
        {"id": "ann", "years": None, "land": ""},
        {"id": "ann", "years": None, "land": ""},
    ]
    made = ingest(config(**USERS), with_users(tmp_path, rows), NOW)
    assert made.users is not None
    assert made.users.rows() == [("ann", None, None), ("bob", 40, "DE")]
    assert made.users.schema == {"user_id": pl.String, "age": pl.Int32, "land": pl.String}
    assert made.counts["users rejected: exact duplicate"] == 1


def test_of_a_user_id_with_other_values_no_row_is_kept_and_every_row_is_counted(tmp_path: Path) -> None:
    rows = [{"id": name, "years": years, "land": "DE"} for name, years in (("ann", "12"), ("bob", "40"), ("ann", "30"), ("", "50"))]
    made = ingest(config(**USERS), with_users(tmp_path, rows), NOW)
    assert made.users is not None
    assert made.users["user_id"].to_list() == ["bob"]
    rejected = made.rejects.filter(pl.col("table") == "users")
    assert rejected.select("row", "reason").rows() == [
        (1, "user_id repeats with other values"),
        (3, "user_id repeats with other values"),
        (4, "user_id is missing"),
    ]
    assert [made.counts[f"users {name}"] for name in ("read", "kept", "merged", "rejected")] == [4, 1, 0, 3]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"id": "ann", "age": "3", "land": "DE"}], r"users.columns.age: .* asks for the column 'years', which users.csv has not"),
        ([{"id": "ann", "years": "3x", "land": "DE"}], r"users.columns.age: .* cannot be computed: .*TRY_CAST"),
        ([{"id": "", "years": "3", "land": "DE"}], r"users: none of the 1 rows of users.csv can be used \(user_id is missing: 1\)"),
    ],
)
def test_a_table_of_users_that_does_not_fit_is_named(tmp_path: Path, rows: list[dict[str, Any]], told: str) -> None:
    with pytest.raises((SourceError, TableError), match=told):
        ingest(config(**USERS), with_users(tmp_path, rows), NOW)


def test_extra_columns_of_items_stand_beside_ours_and_their_repeats_are_other_values(tmp_path: Path) -> None:
    more = [{"left": "3", "reason": "sale"}, {"left": None, "reason": ""}, {"left": "4", "reason": "sale"}]
    rows = [ITEM_ROWS[place] | given for place, given in zip((0, 1, 0), more, strict=True)]
    made = ingest(config(items__extra={"stock": "CAST(left AS INT)", "reason": "reason"}), shop(tmp_path, items=rows), NOW)
    assert made.items.select("item_id", "stock", "reason").rows() == [("007", 3, "sale"), ("8", None, None)]
    assert made.items.columns == [*ITEMS.names, "stock", "reason"]
    assert made.rejects["reason"].to_list() == ["item_id repeats with other values"]


def test_an_extra_column_that_the_file_has_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"items.extra.stock: `lft` asks for the column 'lft'"):
        ingest(config(items__extra={"stock": "lft"}), shop(tmp_path), NOW)
