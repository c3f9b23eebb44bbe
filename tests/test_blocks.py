"""The shared shapes: exact top-k, histories as they stood, the catalogue."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from worlds import END, START, checkerboard, events_table, items_table

from recsys.blocks import Catalogue, History, top_k
from recsys.schema import EVENT_TYPES, INTERACTIONS, LIKED

WEIGHTS = {"impression": 0.0, "click": 0.25, "cart": 0.5, "purchase": 1.0, "return": 0.0}
FEW = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 0.5, 0.5000001, 3e38])
Row = tuple[str, str, str, datetime]
rows = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from("xyz"),
        st.sampled_from(EVENT_TYPES),
        st.integers(0, 9).map(lambda h: START + timedelta(hours=h)),
    ),
    max_size=30,
)


@given(
    scores=arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=FEW.map(np.float32)), k=st.integers(0, 11)
)
@settings(deadline=None)
def test_top_k_is_a_stable_sort_with_ties_by_column(scores: np.ndarray, k: int) -> None:
    columns, values = top_k(scores, k)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    sorted_scores = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_array_equal(values, sorted_scores)
    np.testing.assert_array_equal(columns, np.where(np.isneginf(sorted_scores), -1, order))


@given(k=st.integers(1, 12), n_levels=st.integers(1, 400), masked=st.sampled_from([0.0, 0.5, 0.999]), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_top_k_of_wide_rows_is_that_of_a_sort_whatever_columns_were_looked_at_first(
    k: int, n_levels: int, masked: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, n_levels, (3, 2_000)).astype(np.float32)
    scores[1] = np.sort(scores[1])  # the best of every sth column say little of columns in order
    scores[rng.random(scores.shape) < masked] = -np.inf
    columns, values = top_k(scores, k)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    sorted_scores = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_array_equal(values, sorted_scores)
    np.testing.assert_array_equal(columns, np.where(np.isneginf(sorted_scores), -1, order))


def test_more_places_than_scores_that_are_not_masked_are_minus_one() -> None:
    columns, values = top_k(np.array([[-np.inf, 3, -np.inf], [-np.inf] * 3, [-0.0, 0.0, -1.0]], np.float32), 2)
    np.testing.assert_array_equal(columns, [[1, -1], [-1, -1], [0, 1]])
    np.testing.assert_array_equal(values, [[3, -np.inf], [-np.inf, -np.inf], [0, 0]])


def catalogue() -> Catalogue:
    return Catalogue.of(items_table([{"item_id": name, "title": name} for name in "zxy"]))


def oracle(events: list[Row], users: str, as_of: datetime) -> list[list[tuple[datetime, str, str]]]:
    found: list[list[tuple[datetime, str, str]]] = []
    for user in users:
        own = []
        for who, item, kind, time in events:
            if who == user and kind in INTERACTIONS and time < as_of:
                own.append((time, item, kind))
        found.append(sorted(own))
    return found


@given(events=rows, first=st.integers(0, 3), more=st.integers(0, 3))
@settings(deadline=None)
def test_a_part_of_a_history_is_the_history_of_those_users(events: list[Row], first: int, more: int) -> None:
    users, stop = pl.Series("user_id", ["a", "b", "c"]), min(first + more, 3)
    first = min(first, stop)
    weights = {"click": 0.5}
    whole = History.of(events_table([(u, i, k, t) for u, i, k, t in events]), catalogue(), users, END, weights)
    own = History.of(events_table([(u, i, k, t) for u, i, k, t in events]), catalogue(), users[first:stop], END, weights)
    part = whole.part(first, stop)
    assert part.user_ids.to_list() == own.user_ids.to_list()
    for name in ("indptr", "item_index", "event_type", "age_days", "weight", "user_index"):
        np.testing.assert_array_equal(getattr(part, name), getattr(own, name))


@given(events=rows, hour=st.integers(0, 10))
@settings(deadline=None)
def test_a_history_is_what_a_nested_loop_finds_strictly_before_as_of(events: list[Row], hour: int) -> None:
    as_of = START + timedelta(hours=hour)
    users = pl.Series("user_id", list("abd"))
    history = History.of(events_table(events), catalogue(), users, as_of, WEIGHTS)
    for n, expected in enumerate(oracle(events, "abd", as_of)):
        own = slice(history.indptr[n], history.indptr[n + 1])
        assert ["xyz"[i] for i in history.item_index[own]] == [item for _, item, _ in expected]
        assert [EVENT_TYPES[code] for code in history.event_type[own]] == [kind for _, _, kind in expected]
        ages = [np.float32((as_of - time) / timedelta(days=1)) for time, _, _ in expected]
        np.testing.assert_allclose(history.age_days[own], ages, rtol=1e-6)
        assert history.weight[own].tolist() == [WEIGHTS[kind] for _, _, kind in expected]
    assert (history.age_days > 0).all()


def test_an_event_at_the_very_moment_is_not_history() -> None:
    events = events_table([("a", "x", "click", START)])
    users = pl.Series("user_id", ["a"])
    assert History.of(events, catalogue(), users, START, WEIGHTS).indptr.tolist() == [0, 0]
    assert History.of(events, catalogue(), users, START + timedelta(microseconds=1), WEIGHTS).indptr.tolist() == [0, 1]


def test_newcomers_and_nobody_have_empty_histories() -> None:
    events = events_table([("a", "x", "click", START)])
    history = History.of(events, catalogue(), pl.Series("user_id", ["p", "q"]), START + timedelta(days=1), WEIGHTS)
    assert history.indptr.tolist() == [0, 0, 0]
    assert not history.seen(3).any()
    assert not history.latest(5)[1].any()
    assert History.of(events, catalogue(), pl.Series("user_id", [], dtype=pl.String), START, WEIGHTS).n_users == 0


@given(events=rows, items=st.lists(st.booleans(), min_size=3, max_size=3))
@settings(deadline=None)
def test_who_likes_any_of_some_items_is_what_a_loop_gives(events: list[Row], items: list[bool]) -> None:
    as_of = START + timedelta(days=1)
    history = History.of(events_table(events), catalogue(), pl.Series("user_id", list("abd")), as_of, WEIGHTS)
    liked = [{"xyz".index(item) for _, item, kind in own if kind in LIKED} for own in oracle(events, "abd", as_of)]
    assert history.likes_any(np.array(items)).tolist() == [any(items[item] for item in own) for own in liked]


@given(events=rows, n=st.integers(1, 5))
@settings(deadline=None)
def test_the_latest_rows_come_latest_first_and_never_from_another_user(events: list[Row], n: int) -> None:
    as_of = START + timedelta(days=1)
    history = History.of(events_table(events), catalogue(), pl.Series("user_id", list("abc")), as_of, WEIGHTS)
    places, real = history.latest(n)
    for user in range(3):
        own = list(range(history.indptr[user], history.indptr[user + 1]))
        assert places[user][real[user]].tolist() == own[::-1][:n]


@given(events=rows)
@settings(deadline=None)
def test_a_matrix_sums_a_users_rows_and_leaves_the_history_as_it_was(events: list[Row]) -> None:
    history = History.of(events_table(events), catalogue(), pl.Series("user_id", list("abc")), START + timedelta(days=1), WEIGHTS)
    before = [array.copy() for array in (history.indptr, history.item_index, history.event_type, history.age_days, history.weight)]
    expected = np.zeros((3, 3), np.float32)
    for row, user in enumerate(history.user_index):
        expected[user, history.item_index[row]] += history.weight[row]
    np.testing.assert_array_equal(history.matrix(history.weight, 3).toarray(), expected)
    for array, kept in zip((history.indptr, history.item_index, history.event_type, history.age_days, history.weight), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_item_index_is_the_place_in_order_of_item_id() -> None:
    assert catalogue().index_of(pl.Series(["z", "x", "no", "x"])).tolist() == [2, 0, -1, 0]
    assert catalogue().ids(np.array([2, 0], np.int32)).to_list() == ["z", "x"]


def test_categories_have_codes_in_order_and_none_has_minus_one() -> None:
    shop = Catalogue.of(items_table([{"item_id": "1", "category": "tea"}, {"item_id": "2"}, {"item_id": "3", "category": "cups"}]))
    assert shop.categories == ["cups", "tea"]
    assert shop.category_index.tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("begun", "ended", "shown"),
    [(None, None, True), (9, None, True), (10, None, False), (None, 5, False), (None, 6, True), (5, 5, False), (3, 20, True)],
)
def test_an_item_is_eligible_when_its_days_meet_the_half_open_window(begun: int | None, ended: int | None, shown: bool) -> None:
    # The window is [5, 10): an item that begins at 10 is not in it, one withdrawn at 5 is not in it.
    day = [None if n is None else START + timedelta(days=n) for n in (begun, ended)]
    shop = Catalogue.of(items_table([{"item_id": "1", "available_from": day[0], "available_until": day[1]}]))
    assert shop.eligible(START + timedelta(days=5), START + timedelta(days=10)).tolist() == [shown]


def test_sale_days_count_back_from_as_of_and_are_endless_where_nobody_says() -> None:
    day = [START + timedelta(days=n) for n in (2, 9)]
    shop = Catalogue.of(items_table([{"item_id": "1", "available_from": day[0], "available_until": day[1]}, {"item_id": "2"}]))
    assert shop.sale_days(START + timedelta(days=5)).tolist() == [[3.0, -4.0], [np.inf, -np.inf]]


def test_histories_of_blocks_that_follow_one_another_join_into_that_of_all() -> None:
    world = checkerboard()
    catalogue, users = Catalogue.of(world.items), world.events["user_id"].unique().sort()
    whole = History.of(world.events, catalogue, users, END, WEIGHTS)
    cuts = [users[:7], users[7:8], users[8:8], users[8:]]
    joined = History.joined([History.of(world.events, catalogue, part, END, WEIGHTS) for part in cuts])
    assert joined.user_ids.to_list() == whole.user_ids.to_list()
    assert joined.as_of == whole.as_of
    for name in ("indptr", "item_index", "event_type", "age_days", "weight"):
        assert getattr(joined, name).tobytes() == getattr(whole, name).tobytes(), name
