"""What lists cost against others: figures that can be added up by hand."""

import math

import polars as pl
import pytest

from recsys import evaluate

USERS = ["a", "b", "c"]
ITEMS = ["i1", "i2", "i3", "i4"]


def question(truth: list[tuple[str, str]], prices: list[float | None]) -> evaluate.Question:
    return evaluate.Question(
        truth=pl.DataFrame(
            [(u, i, 1) for u, i in truth], schema={"user_id": pl.String, "item_id": pl.String, "label": pl.Int32}, orient="row"
        ),
        users=pl.Series("user_id", USERS),
        relevant_from=1,
        gains=(0.0, 1.0),
        catalogue=pl.DataFrame(
            {"item_id": ITEMS, "n_users": [1] * 4, "item_age": ["older"] * 4, "item_popularity": ["head"] * 4, "price": prices},
            schema_overrides={"price": pl.Float32},
        ),
        user_slices=pl.DataFrame({"user_id": USERS, "user_activity": ["some"] * 3}),
        n_all_users=3,
    )


def lists(*items: str) -> pl.DataFrame:
    """The same list for everybody."""
    rows = [(user, item, rank) for user in USERS for rank, item in enumerate(items, 1)]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32}, orient="row")


def priced(prices: list[float | None], truth: list[tuple[str, str]]) -> dict[str, evaluate.Price]:
    asked = {"none": lists("i1", "i2"), "capped": lists("i2"), "empty": lists("i1").head(0)}
    return {one.name: one for one in evaluate.price_lists(asked, question(truth, prices), "none", 100, 7)}


TRUTH = [("a", "i1"), ("a", "i2"), ("b", "i2")]


def test_figures_differences_coverage_and_revenue_are_those_added_up_by_hand() -> None:
    found = priced([10.0, 4.0, 100.0, None], TRUTH)
    second, ideal = 1 / math.log2(3), 1 + 1 / math.log2(3)
    ndcg = {"none": (1 + second) / 2, "capped": (1 / ideal + 1) / 2, "empty": 0.0}
    for name, value in ndcg.items():
        assert found[name].ndcg.value == pytest.approx(value)
    assert found["none"].difference is None
    capped = found["capped"].difference
    assert capped is not None
    assert capped.difference == pytest.approx(ndcg["capped"] - ndcg["none"])
    assert (capped.better, capped.tied, capped.worse) == (1, 0, 1)
    assert {name: one.coverage.value for name, one in found.items()} == {"none": 0.5, "capped": 0.25, "empty": 0.0}
    # Of user a the i1 and i2, of user b the i2; what is listed and not wanted earns nothing.
    assert {name: one.revenue for name, one in found.items()} == {"none": 18.0, "capped": 8.0, "empty": 0.0}


def test_an_item_without_a_price_earns_nothing_and_without_any_price_there_is_no_revenue() -> None:
    assert priced([None, 4.0, None, None], TRUTH)["none"].revenue == 8.0
    assert priced([None, float("nan"), 5.0, 5.0], TRUTH)["none"].revenue is None


def test_with_nothing_to_find_every_figure_is_none_and_json_takes_it() -> None:
    found = priced([1.0] * 4, [])["capped"].as_dict()
    assert found["ndcg"]["value"] is None
    assert found["difference"]["difference"] is None
    assert found["revenue"] is None
