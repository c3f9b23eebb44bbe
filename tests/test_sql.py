"""Conditions of the config: read, or refused with the place of the fault."""

import polars as pl
import pytest

from recsys import sql

KNOWN = {"item": ["item_id", "min_age", "brand", "Colour code"], "user": ["user_id", "age", "country"]}


def said(text: str) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is what is looked at
        sql.condition(text, KNOWN)
    return str(caught.value)


def test_a_condition_knows_the_columns_that_it_names() -> None:
    found = sql.condition("item.min_age <= user.age AND NOT item.\"Colour code\" = 'item.brand'", KNOWN)
    assert (found.item_columns, found.user_columns) == (("min_age", "Colour code"), ("age",))
    frame = pl.DataFrame({"item$min_age": [3, 3, None], "item$Colour code": ["red", "item.brand", "red"], "user$age": [4, 4, 4]})
    assert frame.select(found.expression).to_series().to_list() == [True, False, None]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("item.min_age <=", "is no SQL: expected: an expression, found: EOF at its end, character 15"),
        ("item.min_age > 3 3", "is no SQL: expected: end of statement, found: 3 at character 18"),
        ("item.brand = 'x", "is no SQL: unterminated string literal at character 14"),
        ("user.age > 3)", "is no SQL: expected: end of statement, found: ) at character 13"),
        ("user.age\n > > 3", "is no SQL: expected: an expression, found: > at line 2, character 4"),
        ("colour(item.brand) = 3", "is no SQL: unsupported function 'colour' at character 1"),
        ("item.brand = user", "is no SQL: unsupported function 'user' at character 14"),
    ],
)
def test_what_is_no_sql_is_said_with_its_position_in_what_was_written(text: str, told: str) -> None:
    assert said(text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("item.minage <= user.age", "names item.minage, which there is not; did you mean 'item.min_age'?"),
        ("user.contry = 'DE'", "names user.contry, which there is not; did you mean 'user.country'?"),
        ("min_age > 3", "names 'min_age', and a column is written item.x or user.y; did you mean 'item.min_age'?"),
        ("items.min_age > 3", "names 'items', and a column is written item.x or user.y; did you mean 'item.item_id'?"),
        ("TRUE", "names no column; write item.x or user.y"),
        ("item.brand = 'x' AND OR item.brand", "is no condition: 'item.brand' stands behind it, as the name of a column"),
        ("item.min_age > AVG(item.min_age)", "`AVG` at character 16 speaks of many rows; a condition is of one item and one user"),
        ("item.brand IN (SELECT 'x')", "`SELECT` at character 16 speaks of many rows; a condition is of one item and one user"),
    ],
)
def test_what_cannot_be_a_condition_is_named(text: str, told: str) -> None:
    assert said(text) == told


def test_words_in_strings_are_no_sql() -> None:
    assert sql.condition("item.brand = 'SUM(user.x)'", KNOWN).item_columns == ("brand",)


def test_without_a_table_of_users_nobody_can_be_named() -> None:
    with pytest.raises(ValueError, match=r"names user.age, and there is no table of users; say in \[users\] where it is"):
        sql.condition("user.age > 3", {"item": ["brand"], "user": []})
