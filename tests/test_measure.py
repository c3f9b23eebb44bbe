"""Metrics from plain tables: the same figures as trec_eval, whatever the order of rows; and what cannot be measured is refused by name."""

import math
import random

import ir_measures
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG

from recsys import evaluate
from recsys.errors import TableError
from recsys.evaluate import MEASURES, list_health, measure, rank_by_score
from recsys.evaluate.layout import laid_out, rows_of

USERS = [f"u{number}" for number in range(7)]
ITEMS = [f"i{number}" for number in range(12)]


def lists_of(by_user: dict[str, list[str]]) -> pl.DataFrame:
    rows = [(user, item, rank) for user, items in by_user.items() for rank, item in enumerate(items, 1)]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32}, orient="row")


def truth_of(by_user: dict[str, dict[str, int]]) -> pl.DataFrame:
    rows = [(user, item, label) for user, labels in by_user.items() for item, label in labels.items()]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "label": pl.Int32}, orient="row")


WORLDS = st.tuples(
    st.dictionaries(st.sampled_from(USERS), st.lists(st.sampled_from(ITEMS), unique=True, max_size=9), max_size=7),
    st.dictionaries(st.sampled_from(USERS), st.dictionaries(st.sampled_from(ITEMS), st.integers(1, 3), min_size=1, max_size=6), max_size=7),
    st.integers(1, 11),
    st.randoms(use_true_random=False),
)


def shuffled(frame: pl.DataFrame, draw: random.Random) -> pl.DataFrame:
    order = list(range(frame.height))
    draw.shuffle(order)
    return frame[order]


@settings(max_examples=100, deadline=None)
@given(world=WORLDS)
def test_measure_agrees_with_trec_eval_for_any_lists_truth_and_k(world: tuple) -> None:
    listed, wanted, k, draw = world
    found = measure(shuffled(lists_of(listed), draw), shuffled(truth_of(wanted), draw), k, tuple(MEASURES))
    assert found.per_user["user_id"].to_list() == sorted(wanted)
    assert found.n == len(wanted)
    assert found.n_without_list == sum(not listed.get(user) for user in wanted)
    assert found.n_without_truth == sum(bool(items) and user not in wanted for user, items in listed.items())
    names = {"ndcg": nDCG @ k, "recall": R @ k, "precision": P @ k, "hit_rate": Success @ k, "ap_trec": AP @ k, "mrr": RR @ k}
    for user in wanted:
        qrels = [ir_measures.Qrel(user, item, 1) for item in wanted[user]]
        run = [ir_measures.ScoredDoc(user, item, -float(rank)) for rank, item in enumerate(listed.get(user, []))]
        mine = found.per_user.row(by_predicate=pl.col("user_id") == user, named=True)
        for name, oracle in names.items():
            expected = next(ir_measures.iter_calc([oracle], qrels, run)).value if run else 0.0
            assert mine[f"{name}@{k}"] == pytest.approx(expected, abs=1e-12), name
    for name, mean in found.means.items():
        assert mean == pytest.approx(found.per_user[name].mean() if wanted else math.nan, nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(world=WORLDS, bits=st.integers(0, 6))
def test_items_of_one_hash_are_told_apart(world: tuple, bits: int) -> None:
    # Real hashes never collide in a test: these have so few bits that items of a list, and of list and truth, do all the time.
    listed, wanted, k, draw = world

    def few(items: pl.Series, seed: int) -> np.ndarray:
        whole = items.hash(seed).to_numpy()
        return whole if seed > 40 else whole << np.uint64(64 - bits) if bits else whole * np.uint64(0)

    lists, truth = shuffled(lists_of(listed), draw), shuffled(truth_of(wanted), draw)
    plain = measure(lists, truth, k, tuple(MEASURES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsys.evaluate.layout._hashes", few)
        assert measure(lists, truth, k, tuple(MEASURES)).per_user.equals(plain.per_user)


def test_two_items_of_one_hash_are_no_duplicate_and_an_item_twice_is_one_under_any_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def same(items: pl.Series, seed: int) -> np.ndarray:
        asked.append(seed)
        return items.hash(seed).to_numpy() * np.uint64(seed > 2)

    monkeypatch.setattr("recsys.evaluate.layout._hashes", same)
    laid = laid_out(lists_of({"u0": ["i0", "i1"], "u1": ["i0"]}), pl.Series(["u1"]), 3, "lists")
    assert (laid.seed, asked) == (3, [0, 1, 2, 3])
    with pytest.raises(TableError, match="2 rows repeat a item_id within a user"):
        laid_out(lists_of({"u0": ["i0", "i1", "i0"]}), pl.Series(["u0"]), 3, "lists")


def test_a_truth_item_that_only_shares_a_hash_with_a_listed_one_is_no_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.evaluate.layout._hashes", lambda items, seed: np.zeros(len(items), dtype=np.uint64))
    found = measure(lists_of({"u0": ["i0"], "u1": ["i2"]}), truth_of({"u0": {"i1": 1}, "u1": {"i2": 1}}), 3, ("hit_rate",))
    assert found.per_user["hit_rate@3"].to_list() == [0.0, 1.0]


def test_graded_metrics_take_a_label_for_its_worth_and_relevant_from_draws_the_line() -> None:
    lists, truth = lists_of({"a": ["x", "y"], "b": ["x"]}), truth_of({"a": {"x": 1, "y": 3}, "b": {"x": 1}})
    found = measure(lists, truth, 2, ("ndcg_graded", "ndcg_exp", "recall"))
    assert found.per_user.row(0) == pytest.approx(("a", 0.7967, 0.7098, 1.0), abs=5e-5)
    strict = measure(lists, truth, 2, ("recall", "mrr"), relevant_from=2)
    assert (strict.n, strict.n_without_truth) == (1, 1)
    assert strict.means == {"recall@2": 1.0, "mrr@2": 0.5}


def test_a_mean_has_an_interval_for_who_asks() -> None:
    found = measure(lists_of({"a": ["x"], "b": ["x"]}), truth_of({"a": {"x": 1}, "b": {"y": 1}}), 1, ("recall",))
    figure = evaluate.mean_figure(found.per_user["recall@1"].to_numpy(), 200, 7)
    assert (figure.value, figure.low, figure.high, figure.n) == (0.5, 0.0, 1.0, 2)


def test_one_user_nobody_and_no_list_at_all_have_a_stated_answer() -> None:
    one = measure(lists_of({"a": ["x"]}), truth_of({"a": {"x": 1}}), 5)
    assert (one.n, one.means["ndcg@5"]) == (1, 1.0)
    nobody = measure(lists_of({"a": ["x"]}), truth_of({}), 5)
    assert (nobody.n, nobody.n_without_truth, nobody.per_user.height) == (0, 1, 0)
    assert math.isnan(nobody.means["ndcg@5"])
    silent = measure(lists_of({}), truth_of({"a": {"x": 1}}), 5)
    assert (silent.n, silent.n_without_list, silent.means["ndcg@5"]) == (1, 1, 0.0)


def test_places_beyond_k_and_items_that_nobody_wanted_change_nothing() -> None:
    truth = truth_of({"a": {"x": 1, "y": 1}})
    found = measure(lists_of({"a": ["nowhere", "x", "y"]}), truth, 2, ("recall", "precision"))
    assert found.means == {"recall@2": 0.5, "precision@2": 0.5}


@pytest.mark.parametrize(
    ("lists", "fault"),
    [
        (lists_of({"a": ["x", "x"]}), "lists: 2 rows repeat a item_id within a user"),
        (lists_of({"a": ["x", "y"]}).with_columns(rank=pl.lit(1, pl.Int32)), "lists: 2 rows repeat a rank within a user"),
        (lists_of({"a": ["x"]}).with_columns(rank=pl.lit(0, pl.Int32)), "lists: 1 rows have a rank outside 1 to 3 .*'rank': 0"),
        (lists_of({"a": ["x"]}).with_columns(rank=pl.lit(1.5)), "lists: column 'rank' is Float64, not Int32"),
        (lists_of({"a": ["x"]}).with_columns(item_id=pl.lit(None, pl.String)), "lists: column 'item_id' has 1 nulls"),
        (lists_of({"a": ["x"]}).drop("user_id"), "lists: column 'user_id' is missing"),
        (lists_of({"a": ["x"]}).to_pandas(), "lists: a DataFrame is no polars DataFrame. Give polars.from_pandas"),
    ],
)
def test_lists_that_cannot_be_measured_are_refused_by_name(lists: pl.DataFrame, fault: str) -> None:
    with pytest.raises(TableError, match=fault):
        measure(lists, truth_of({"a": {"x": 1}}), 3)


@pytest.mark.parametrize(
    ("truth", "fault"),
    [
        (pl.concat([truth_of({"a": {"x": 1}})] * 2), "truth: 2 rows repeat a user and item"),
        (truth_of({"a": {"x": 0}}), "truth: 1 rows have a label below 1"),
        (truth_of({"a": {"x": 1}}).with_columns(label=pl.lit(0.5)), "truth: column 'label' is Float64, not Int32"),
    ],
)
def test_a_truth_that_cannot_be_measured_is_refused_by_name(truth: pl.DataFrame, fault: str) -> None:
    with pytest.raises(TableError, match=fault):
        measure(lists_of({"a": ["x"]}), truth, 3)


def test_a_count_is_no_grade() -> None:
    lists, truth = lists_of({"a": ["x"]}), truth_of({"a": {"x": 31}})
    assert measure(lists, truth, 3, ("ndcg",)).means == {"ndcg@3": 1.0}
    for name in ("ndcg_graded", "ndcg_exp"):
        with pytest.raises(TableError, match=r"truth: 1 rows have a label above 30: no grade .*'label': 31"):
            measure(lists, truth, 3, (name,))


def test_an_unknown_metric_and_a_k_of_nothing_are_refused_by_name() -> None:
    lists, truth = lists_of({"a": ["x"]}), truth_of({"a": {"x": 1}})
    with pytest.raises(TableError, match="no 'ndgc'; did you mean 'ndcg'"):
        measure(lists, truth, 3, ("ndgc",))
    with pytest.raises(TableError, match="k is 0"):
        measure(lists, truth, 0)


def test_whole_numbers_of_any_width_will_do() -> None:
    lists = pl.from_pandas(pd.DataFrame({"user_id": ["a"], "item_id": ["x"], "rank": [1]}))
    truth = pl.from_pandas(pd.DataFrame({"user_id": ["a"], "item_id": ["x"], "label": [1]}))
    assert lists.schema["rank"] == pl.Int64
    assert measure(lists, truth, 1).means["recall@1"] == 1.0


def test_scores_become_ranks_by_score_then_item_id_and_bad_scores_are_refused() -> None:
    scores = pl.DataFrame({"user_id": ["b", "a", "a", "a"], "item_id": ["z", "z", "y", "x"], "score": [0.1, 0.5, 0.5, 0.9]})
    assert rank_by_score(scores, 2).rows() == [("a", "x", 1), ("a", "y", 2), ("b", "z", 1)]
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(TableError, match=r"scores: 1 rows have a score that is NaN or infinite .*'a'"):
            rank_by_score(scores.with_columns(score=pl.when(pl.col("item_id") == "x").then(bad).otherwise("score")), 2)
    with pytest.raises(TableError, match="scores: 2 rows repeat an item within a user"):
        rank_by_score(scores.with_columns(item_id=pl.Series(["z", "z", "z", "x"])), 2)


@given(ids=st.lists(st.sampled_from(USERS)), users=st.lists(st.sampled_from(USERS), unique=True))
def test_rows_of_users_are_found_whatever_the_order_of_the_table(ids: list[str], users: list[str]) -> None:
    found = rows_of(pl.Series(ids, dtype=pl.String), pl.Series(users, dtype=pl.String))
    assert found.tolist() == [users.index(one) if one in users else -1 for one in ids]


def test_list_health_counts_every_fault_of_lists_that_judge_would_refuse() -> None:
    lists = lists_of({"a": ["x", "y", "x"], "b": ["y", "gone"], "z": ["x"]})
    found = list_health(lists, pl.Series(["a", "b", "c", "d"]), 3, pl.Series(["x", "y"]))
    assert found == {
        "missing": {"count": 2, "share": 0.5},
        "short": {"count": 1, "share": 0.25},
        "duplicates": {"count": 1, "share": 1 / 5},
        "unavailable": {"count": 1, "share": 1 / 5},
        "strangers": {"count": 1, "share": 1 / 6},
    }


def test_list_health_of_nobody_is_no_number_and_a_list_too_long_is_refused() -> None:
    found = list_health(lists_of({}), pl.Series([], dtype=pl.String), 3, pl.Series(["x"]))
    assert all(part["count"] == 0 and math.isnan(part["share"]) for part in found.values())
    with pytest.raises(TableError, match="lists: 1 users have more than 2 rows"):
        list_health(lists_of({"a": ["x", "y", "z", "w"]}), pl.Series(["a"]), 2, pl.Series(["x"]))
