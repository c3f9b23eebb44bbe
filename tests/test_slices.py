"""Slices: cold first, small ones said to be small, parts that add up to the mean; columns of any kind, or refused in words."""

import math
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import SourceError
from recsys.evaluate import FEWEST_USERS, Question, Slice, Verdict, as_slice, judge
from recsys.evaluate.intervals import compare, compare_parts

ITEMS = [f"i{n:02}" for n in range(12)]
TYPES = ("", "click", "cart", "purchase")


def ones(n: int) -> pl.Series:
    return pl.ones(n, pl.UInt32, eager=True)


def asked(n_users: int, seed: int = 0) -> tuple[dict[str, pl.DataFrame], Question]:
    """Random lists of two systems and a random truth with labels 1 to 3, over twelve items of two ages, users of three countries."""
    rng = np.random.default_rng(seed)
    users = [f"u{n:03}" for n in range(n_users)]
    lists = {}
    for system in ("a", "b"):
        rows = [(user, ITEMS[i], place + 1) for user in users for place, i in enumerate(rng.permutation(12)[:10])]
        lists[system] = pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32}, orient="row")
    truth = [(user, ITEMS[i], int(rng.integers(1, 4))) for user in users for i in rng.choice(12, 3, replace=False)]
    ages = pl.Series(["old"] * 8 + ["cold"] * 4, dtype=pl.Enum(["cold", "old"]))
    return lists, Question(
        truth=pl.DataFrame(truth, schema={"user_id": pl.String, "item_id": pl.String, "label": pl.Int32}, orient="row"),
        users=pl.Series("user_id", users),
        relevant_from=1,
        gains=(0.0, 1.0, 2.0, 3.0),
        catalogue=pl.DataFrame({"item_id": ITEMS, "n_users": [1] * 12, "item.brand": ["x", "y"] * 6, "item_age": ages}),
        user_slices=pl.DataFrame({"user_id": users, "user.country": rng.choice(["DE", "FR", "IT"], n_users)}),
        n_all_users=n_users,
        made_by=TYPES,
    )


def verdict(n_users: int, seed: int = 0) -> Verdict:
    lists, question = asked(n_users, seed)
    return judge(lists, question, "a", 200, 7)


def by_slice(found: Verdict) -> dict[str, list[Slice]]:
    names = dict.fromkeys(part.slice for part in found.slices)
    return {name: [part for part in found.slices if part.slice == name] for name in names}


def test_cold_slices_come_first_and_values_in_their_own_order() -> None:
    found = by_slice(verdict(60))
    assert list(found) == ["item_age", "item.brand", "event_type", "user.country"]
    assert [part.value for part in found["item_age"]] == ["cold", "old"]
    assert [part.value for part in found["event_type"]] == ["click", "cart", "purchase"]


@settings(max_examples=15, deadline=None)
@given(n_users=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_the_parts_and_shares_of_every_slice_add_up_to_the_whole(n_users: int, seed: int) -> None:
    found = verdict(n_users, seed)
    for parts in by_slice(found).values():
        assert sum(part.share for part in parts) == pytest.approx(1)
        for system in ("a", "b"):
            assert sum(part.parts[system] for part in parts) == pytest.approx(found.systems[system]["ndcg@10"].value)


def test_shares_and_parts_are_those_counted_by_a_loop() -> None:
    lists, question = asked(50)
    found = {(part.slice, part.value): part for part in judge(lists, question, "a", 50, 7).slices}
    wanted = dict(question.truth.group_by("user_id"))

    brought = dict.fromkeys(("cold", "purchase", "DE"), 0.0)
    counted = dict.fromkeys(("cold", "purchase", "DE"), 0)
    country = dict(question.user_slices.iter_rows())
    for (user,), rows in wanted.items():
        ranks = dict(lists["a"].filter(pl.col("user_id") == user).select("item_id", "rank").iter_rows())
        ideal = sum(1 / math.log2(place + 2) for place in range(rows.height))
        counted["DE"] += country[user] == "DE"
        for _, item, label in rows.iter_rows():
            worth = 1 / math.log2(ranks[item] + 1) / ideal / 50 if item in ranks else 0.0
            for name, is_in in {"cold": item >= "i08", "purchase": label == 3, "DE": country[user] == "DE"}.items():
                brought[name] += worth * is_in
                counted[name] += is_in and name != "DE"
    for slice, value, whole in (("item_age", "cold", 150), ("event_type", "purchase", 150), ("user.country", "DE", 50)):
        assert found[slice, value].share == pytest.approx(counted[value] / whole)
        assert found[slice, value].parts["a"] == pytest.approx(brought[value])
    assert found["user.country", "DE"].n == counted["DE"]
    assert (found["item_age", "cold"].share_of, found["user.country", "DE"].share_of) == ("relevant items", "users")


def test_the_slice_of_purchases_counts_only_what_was_purchased() -> None:
    lists, question = asked(50)
    whole = {part.value: part for part in judge(lists, question, "a", 50, 7).slices if part.slice == "event_type"}
    bought = judge(lists, Question(**{**vars_of(question), "relevant_from": 3}), "a", 50, 7)
    assert whole["purchase"].systems["a"]["ndcg@10"].value == pytest.approx(bought.systems["a"]["ndcg@10"].value)
    assert whole["purchase"].n == bought.systems["a"]["ndcg@10"].n


def vars_of(question: Question) -> dict[str, Any]:
    return {name: getattr(question, name) for name in Question.__dataclass_fields__}


def test_a_slice_of_too_few_users_is_there_says_so_and_has_no_interval() -> None:
    for n_users, is_small in ((FEWEST_USERS - 1, True), (FEWEST_USERS, False)):
        lists, question = asked(n_users)
        whole = question.user_slices.select("user_id", everybody=pl.lit("all of them"))
        found = judge(lists, Question(**{**vars_of(question), "user_slices": whole}), "a", 100, 7)
        part = next(part for part in found.slices if part.slice == "everybody")
        assert (part.n, part.is_small) == (n_users, is_small)
        for one in (part.systems["a"]["ndcg@10"], part.systems["b"]["recall@10"], part.paired[0]):
            assert math.isnan(one.low) == math.isnan(one.high) == is_small
        assert part.systems["a"]["ndcg@10"].value == found.systems["a"]["ndcg@10"].value
        told = next(one for one in found.as_dict()["slices"] if one["slice"] == "everybody")
        assert (told["paired"][0]["low"] is None) == told["is_small"] == is_small
        assert found.as_dict()["systems"]["a"]["ndcg@10"]["low"] is not None  # of everybody there always is one


def test_one_user_is_in_one_small_value_of_each_slice_of_users() -> None:
    found = by_slice(verdict(1))
    assert [(part.n, part.share, part.is_small) for part in found["user.country"]] == [(1, 1.0, True)]
    assert all(part.n == 1 for parts in found.values() for part in parts)


def test_the_interval_of_a_part_is_as_wide_as_if_it_had_been_asked_alone() -> None:
    rng = np.random.default_rng(3)
    values = {"a": {"m": rng.random(600)}, "b": {"m": rng.random(600)}}
    rows = np.arange(0, 600, 3)
    part = {name: {"m": by["m"][rows]} for name, by in values.items()}
    ((figures, (pair,)),) = compare_parts([(rows, part)], 600, [("a", "b")], "m", 4000, 7)
    alone, (other,) = compare(part, "a", ("m",), 4000, 7)
    assert (figures["a"]["m"].value, pair.difference) == (alone["a"]["m"].value, other.difference)
    for one, two in ((figures["a"]["m"], alone["a"]["m"]), (pair, other)):
        assert one.high - one.low == pytest.approx(two.high - two.low, rel=0.06)
        assert (one.low, one.high) == pytest.approx((two.low, two.high), abs=0.005)


def test_parts_in_memory_blocks_meet_every_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.evaluate.intervals.CELLS", 700)
    ((figures, _),) = compare_parts([(np.arange(50), {"a": {"m": np.ones(50)}})], 100, [], "m", 53, 7)
    assert (figures["a"]["m"].low, figures["a"]["m"].high) == (1.0, 1.0)


def test_numbers_are_cut_at_their_quartiles_and_equal_ones_stay_together() -> None:
    found = as_slice(pl.Series([4.0, 1.0, 2.0, 3.0, None, float("nan")]), ones(6), "item.x")
    assert found.to_list() == ["quarter 4: above 3", "quarter 1: up to 1", "quarter 2: to 2", "quarter 3: to 3", "(unknown)", "(unknown)"]
    assert found.unique().sort().to_list()[0] == "quarter 1: up to 1"
    assert as_slice(pl.Series([5, 5, 5]), ones(3), "item.x").unique().to_list() == ["quarter 1: up to 5"]
    assert as_slice(pl.Series([1234567.0, 2345678.0, 3.25, 4.5]), ones(4), "x").to_list()[0] == "quarter 3: to 1234567"


@given(st.lists(st.one_of(st.none(), st.integers(-50, 50)), min_size=1, max_size=60))
def test_quarters_hold_every_number_once_and_rise(numbers: list[int | None]) -> None:
    found = as_slice(pl.Series(numbers, dtype=pl.Int64), ones(len(numbers)), "item.x").cast(pl.String).to_list()
    assert [value == "(unknown)" for value in found] == [number is None for number in numbers]
    known = sorted((number, value) for number, value in zip(numbers, found, strict=True) if number is not None)
    assert [value for _, value in known] == sorted(value for _, value in known)
    assert len({(number, value) for number, value in known}) == len({number for number, _ in known})


def test_of_text_the_largest_values_are_told_and_the_rest_together() -> None:
    names = [f"brand {n:02}" for n in range(12)]
    counts = pl.Series([5, 1, *range(2, 12)], dtype=pl.UInt32)
    found = as_slice(pl.Series([*names, None]), pl.concat([counts, ones(1)]), "item.brand").cast(pl.String).to_list()
    assert [name for name, value in zip(names, found, strict=False) if value == "(all others)"] == ["brand 01", "brand 02"]
    assert found[-1] == "(unknown)"
    assert as_slice(pl.Series(["b", "a"]), ones(2), "x").unique().sort().to_list() == ["a", "b"]  # of equal size: by name


@pytest.mark.parametrize("dtype", [pl.String, pl.Float32, pl.Int64, pl.Boolean, pl.Null])
def test_a_column_without_any_value_is_unknown_and_counted(dtype: Any) -> None:
    assert as_slice(pl.Series([None] * 3, dtype=dtype), ones(3), "item.x").to_list() == ["(unknown)"] * 3


def test_yes_and_no_are_values() -> None:
    assert as_slice(pl.Series([True, False, None]), ones(3), "item.x").to_list() == ["true", "false", "(unknown)"]


@pytest.mark.parametrize("values", [[date(2026, 1, 1)], [["a", "b"]], [b"a"], [{"a": 1}]])
def test_a_list_a_date_and_bytes_are_refused_in_words(values: list[Any]) -> None:
    with pytest.raises(SourceError, match=r"evaluate.slices: item.x is .*, and a slice is cut from numbers, text or yes and no"):
        as_slice(pl.Series(values), ones(1), "item.x")
