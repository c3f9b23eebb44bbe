"""Scored candidates to the lists people see: places, ties, seen items, reasons."""

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import END

from recsys.rules import REASONS, Scored, recommend
from recsys.schema import RECOMMENDATIONS, check

Row = tuple[int, str, float, bool]
USERS = pl.Series("user_id", ["u0", "u1", "u2"])


def lists(rows: list[Row], k: int = 10, task: str = "all", **columns: Any) -> pl.DataFrame:
    user, item, score, seen = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    n = len(rows)
    rank = {name: np.full(n, np.nan, np.float32) for name in REASONS} | {"popularity": np.ones(n, np.float32)} | columns.pop("rank", {})
    scored = Scored(USERS, np.array(user, np.int32), pl.Series(item, dtype=pl.String), np.array(score, float), np.array(seen, bool), rank)
    amounts = {"pair_likes_all": [0.0] * n, "pair_since_last": [None] * n} | columns
    frame = pl.DataFrame(amounts, schema={"pair_likes_all": pl.Float32, "pair_since_last": pl.Float32})
    return recommend(scored, frame, END, "run_1", k, task)


pool = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from("abcdef"), st.sampled_from([-1.0, 0.0, 2.5]), st.booleans()),
    unique_by=lambda row: row[:2],
    max_size=18,
)


@given(rows=pool, k=st.integers(1, 8), task=st.sampled_from(["all", "new"]))
@settings(deadline=None)
def test_lists_are_what_a_sort_by_hand_gives(rows: list[Row], k: int, task: str) -> None:
    found = lists(rows, k, task)
    expected = []
    for user in range(3):
        own = [row for row in rows if row[0] == user and not (task == "new" and row[3])]
        own.sort(key=lambda row: (-row[2], row[1]))
        expected += [(USERS[user], item, rank, score) for rank, (_, item, score, _) in enumerate(own[:k], start=1)]
    assert found.select("user_id", "item_id", "rank", "score").rows() == expected
    check(found, RECOMMENDATIONS)


def test_ranks_begin_at_one_and_have_no_gap_when_there_are_fewer_candidates_than_places() -> None:
    found = lists([(0, "a", 1.0, False), (0, "b", 3.0, False), (1, "c", 0.0, False)], k=100)
    assert found["rank"].to_list() == [1, 2, 1]


def test_ties_go_by_item_id() -> None:
    assert lists([(0, name, 1.0, False) for name in ("b10", "b9", "a")])["item_id"].to_list() == ["a", "b10", "b9"]


def test_task_new_leaves_out_what_the_user_had_and_counts_places_without_it() -> None:
    rows = [(0, "a", 9.0, True), (0, "b", 1.0, False)]
    assert lists(rows, task="new").select("item_id", "rank").rows() == [("b", 1)]
    assert lists(rows, task="all").select("item_id", "rank").rows() == [("a", 1), ("b", 2)]


def test_the_reason_is_that_of_the_source_that_placed_it_highest() -> None:
    rank = {
        "text": np.array([1, 9], np.float32),
        "collaborative": np.array([2, 3], np.float32),
        "popularity": np.array([5, np.nan], np.float32),
    }
    found = lists([(0, "a", 2.0, False), (0, "b", 1.0, False)], rank=rank)
    assert found["reason"].to_list() == [REASONS["text"], REASONS["collaborative"]]


def test_where_no_blend_was_chosen_the_other_sources_give_the_reason() -> None:
    rank = {"text": np.array([2], np.float32), "popularity": np.array([3], np.float32)}
    frame = pl.DataFrame({"pair_likes_all": [0.0], "pair_since_last": [None]}, schema_overrides={"pair_since_last": pl.Float32})
    scored = Scored(USERS, np.zeros(1, np.int32), pl.Series(["a"]), np.ones(1), np.zeros(1, bool), rank)
    assert recommend(scored, frame, END, "run_1", 5, "all")["reason"].to_list() == [REASONS["text"]]


def test_an_item_had_before_says_how_often_and_how_long_ago() -> None:
    found = lists([(0, "a", 2.0, True)], pair_likes_all=[3.0], pair_since_last=[12.7])
    assert found["reason"].to_list() == ["had it before 3 times, last 12 days ago"]


def test_an_item_had_once_says_once() -> None:
    found = lists([(0, "a", 2.0, True)], pair_likes_all=[1.0], pair_since_last=[1.2])
    assert found["reason"].to_list() == ["had it before once, last 1 day ago"]


def test_nobody_to_list_for_gives_an_empty_table_of_the_right_shape() -> None:
    assert check(lists([]), RECOMMENDATIONS).height == 0
