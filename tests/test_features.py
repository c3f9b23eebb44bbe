"""Features as they stood: nothing of the future, every value by a loop written another way."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from worlds import DAY, END, START, TYPES, World, cold_item_shop, config, events_table, items_table, tiny_bert

from recsys.blocks import Catalogue, Floats, History
from recsys.features import Retrieved, feature_rows, is_text, item_table, mark, meanings, names
from recsys.pipeline.job import Clock
from recsys.pipeline.snapshot import Chunk, TextSide, chunk, chunks, snapshot
from recsys.schema import EVENT_TYPES, LIKED
from recsys.text import Checkpoint, Encoder, Fitted, Training, item_texts

WEIGHTS = {name: float(kind["weight"]) for name, kind in TYPES.items()}
SOURCES = ("popularity", "category_popularity", "covisitation", "item_cosine", "collaborative", "repurchase", "text")
AT_NOON = START + 20 * DAY + timedelta(hours=12)

Row = tuple[str, str, str, datetime]


def test_there_are_60_to_95_features_and_each_says_what_it_means() -> None:
    assert 60 <= len(names()) <= 95
    assert len(set(names())) == len(names())
    assert set(meanings()) == set(names())
    assert all(len(meaning) > 10 for meaning in meanings().values())


def test_without_text_no_feature_knows_the_text() -> None:
    assert [name for name in names() if is_text(name)] == [name for name in names() if name.startswith("text_")]
    assert sum(map(is_text, names())) == 8


def shop_items() -> pl.DataFrame:
    rows = [{"item_id": "a", "category": "tea", "price": 2.0}, {"item_id": "b", "category": "tea", "price": None}]
    return items_table([*rows, {"item_id": "c", "category": None, "price": 5.0}, {"item_id": "d", "category": "cups"}])


def rows_at(
    events: pl.DataFrame, as_of: datetime, users: list[str], vectors: Floats | None = None, told: list[bool] | None = None
) -> pl.DataFrame:
    """Features of every pair of a user and an item, all retrieved by popularity; with user_id and item_id."""
    catalogue = Catalogue.of(shop_items())
    n = len(catalogue)
    history = History.of(events, catalogue, pl.Series("user_id", users), as_of, WEIGHTS)
    user, item = np.repeat(np.arange(len(users)), n).astype(np.int32), np.tile(np.arange(n), len(users)).astype(np.int32)
    nothing = np.full(len(user), np.nan, np.float32)
    rank = dict.fromkeys(SOURCES, nothing) | {"popularity": item + np.float32(1)}
    score = dict.fromkeys(SOURCES, nothing) | {"text": (item * 2).astype(np.float32)}
    retrieved = Retrieved(user, item, score, rank, np.zeros(len(user), np.float32))
    marked = mark(events, catalogue.items)
    table = item_table([(catalogue.items["item_id"], marked)], catalogue, as_of, catalogue.categories)
    rows = feature_rows(retrieved, history, marked, table, catalogue, vectors, np.array(told or [True] * len(users)))
    return rows.with_columns(user_id=history.user_ids.gather(user), item_id=catalogue.ids(item))


def test_every_column_is_float32_in_the_order_of_the_names() -> None:
    events = events_table([("u", "a", "click", START)])
    rows = rows_at(events, END, ["u", "new"], np.eye(4, dtype=np.float32)).drop("user_id", "item_id")
    assert rows.columns == names()
    assert set(rows.dtypes) == {pl.Float32}
    without = rows_at(events, END, ["u", "new"]).drop("user_id", "item_id")
    made_of_vectors = ["text_place", "text_z", "text_last", "text_best"]
    assert_frame_equal(without.drop(made_of_vectors), rows.drop(made_of_vectors))
    assert without.select(made_of_vectors).null_count().row(0) == (without.height,) * 4


def test_a_feature_never_sees_its_own_day() -> None:
    before = [("u", "a", "purchase", START), ("v", "b", "click", START + DAY)]
    own_day = [("u", "b", kind, AT_NOON + n * timedelta(hours=1)) for n, kind in enumerate(EVENT_TYPES)]
    own_day += [("u", "a", "click", AT_NOON), ("v", "c", "cart", AT_NOON + timedelta(microseconds=1))]
    vectors = np.eye(4, dtype=np.float32)
    expected = rows_at(events_table(before), AT_NOON, ["u", "v", "new"], vectors)
    assert_frame_equal(rows_at(events_table(before + own_day), AT_NOON, ["u", "v", "new"], vectors), expected)


moments = st.integers(0, 40).map(lambda half_days: START + half_days * timedelta(hours=12))
event_rows = st.lists(st.tuples(st.sampled_from("uv"), st.sampled_from("abcd"), st.sampled_from(EVENT_TYPES), moments), max_size=25)


@given(rows=event_rows)
@settings(deadline=None)
def test_marks_are_what_loops_over_a_users_past_give(rows: list[Row]) -> None:
    marked = mark(events_table(rows), shop_items())
    assert marked.height == len(rows)
    past: list[dict[str, object]] = []
    for row in marked.sort("event_time", maintain_order=True).iter_rows(named=True):
        day = row["event_time"].date()
        liked = row["event_type"] in LIKED
        own = [p for p in past if p["user_id"] == row["user_id"]]
        pair = [p for p in own if p["item_id"] == row["item_id"]]
        assert {name: row[f"is_{name}"] for name in EVENT_TYPES} == {name: name == row["event_type"] for name in EVENT_TYPES}
        assert row["is_liked"] == liked
        assert row["is_first"] == (liked and not pair)
        assert row["is_first_of_day"] == (liked and not any(p["day"] == day for p in own))
        assert row["is_first_of_pair_day"] == (liked and not any(p["day"] == day for p in pair))
        assert row["is_repeat"] == (liked and any(p["day"] < day for p in pair))
        if liked:
            past.append({"user_id": row["user_id"], "item_id": row["item_id"], "day": day})


@given(rows=event_rows)
@settings(deadline=None)
def test_counts_and_ages_are_what_loops_give(rows: list[Row]) -> None:
    found = rows_at(events_table(rows), AT_NOON, ["u", "v"])
    past = [row for row in rows if row[3] < AT_NOON]
    liked = [row for row in past if row[2] in LIKED]
    category = dict(shop_items().select("item_id", "category").rows())
    for row in found.iter_rows(named=True):
        user, item = row["user_id"], row["item_id"]
        own = [r for r in liked if r[:2] == (user, item)]
        ages = [(AT_NOON - r[3]) / DAY for r in own]
        assert row["item_likes_7d"] == sum(r[1] == item and r[3] >= AT_NOON - 7 * DAY for r in liked)
        assert row["item_users_all"] == len({r[0] for r in liked if r[1] == item})
        assert row["item_returns_90d"] == sum(r[1:3] == (item, "return") for r in past)
        assert row["user_items_all"] == len({r[1] for r in liked if r[0] == user})
        assert row["user_days_90d"] == len({r[3].date() for r in liked if r[0] == user})
        assert row["pair_likes_all"] == len(own)
        assert row["pair_days_all"] == len({r[3].date() for r in own})
        assert row["pair_since_last"] == (pytest.approx(min(ages), rel=1e-5) if ages else None)
        assert row["pair_since_first"] == (pytest.approx(max(ages), rel=1e-5) if ages else None)
        same = [r for r in liked if r[0] == user and category[r[1]] == category[item] is not None]
        assert (row["taste_likes_all"] or 0) == len(same)


def loop_cosines(rows: list[Row], user: str, item: int, vectors: Floats) -> tuple[float | None, float | None]:
    """Of the latest other liked item with a text, and the best of all, among the latest 30 interactions."""
    own = sorted((r for r in rows if r[0] == user and r[2] != "impression" and r[3] < AT_NOON), key=lambda r: (r[3], r[1], r[2]))[-30:]
    liked = ["abcd".index(r[1]) for r in own if r[2] in LIKED]
    usable = [n for n in liked if vectors[n].any() and n != item]
    if not usable or not vectors[item].any():
        return None, None
    return float(vectors[item] @ vectors[usable[-1]]), max(float(vectors[item] @ vectors[n]) for n in usable)


@given(rows=event_rows, seed=st.integers(0, 99))
@settings(deadline=None)
def test_text_matches_are_what_a_loop_over_the_history_gives(rows: list[Row], seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(4, 3)).astype(np.float32)
    vectors[seed % 4] = 0
    found = rows_at(events_table(rows), AT_NOON, ["u", "v", "w"], vectors)
    for row in found.iter_rows(named=True):
        last, best = loop_cosines(rows, row["user_id"], "abcd".index(row["item_id"]), vectors)
        assert row["text_last"] == (None if last is None else pytest.approx(last, abs=1e-5))
        assert row["text_best"] == (None if best is None else pytest.approx(best, abs=1e-5))


def test_text_place_and_z_compare_within_the_query() -> None:
    events = events_table([("u", "a", "click", START), ("v", "b", "click", START)])
    rows = rows_at(events, END, ["u", "v"], np.eye(4, dtype=np.float32))
    assert rows["text_place"].to_list() == [4, 3, 2, 1] * 2
    np.testing.assert_allclose(rows["text_z"].to_numpy(), np.tile((np.arange(4) - 1.5) / np.std(np.arange(4), ddof=1), 2), rtol=1e-5)


def test_of_a_user_who_is_not_told_of_no_feature_tells_of_text() -> None:
    events = events_table([("u", "a", "click", START)])
    rows = rows_at(events, END, ["new", "u"], np.eye(4, dtype=np.float32), [False, True])
    told = [name for name in names() if is_text(name)]
    by_user = {user: rows.filter(pl.col("user_id") == user).select(told) for user in ("new", "u")}
    assert by_user["new"].null_count().row(0) == (4,) * len(told)
    assert by_user["u"]["text_score"].null_count() == by_user["u"]["text_place"].null_count() == 0


def test_rates_are_finite_without_a_single_impression_and_in_an_empty_shop() -> None:
    rates = ("item_ctr_28d", "item_conversion_28d", "item_return_rate_90d", "item_repeat_rate_90d", "item_trend_7d")
    for events in (events_table([]), events_table([("u", "a", "purchase", START), ("u", "a", "return", START + DAY)])):
        for rate in rates:
            assert rows_at(events, AT_NOON, ["u"])[rate].is_finite().all()
            assert rows_at(events, AT_NOON, ["u"])[rate].null_count() == 0


def test_a_rate_is_drawn_to_the_shops_own_by_ten_events() -> None:
    shown = [("u", "a", "impression", START + n * timedelta(minutes=1)) for n in range(30)]
    clicked = [("u", "a", "click", START + n * timedelta(minutes=1)) for n in range(3)]
    rates = rows_at(events_table(shown + clicked), START + DAY, ["u"])["item_ctr_28d"]
    np.testing.assert_allclose(rates.to_numpy(), [(3 + 10 * 0.1) / (30 + 10), 0.1, 0.1, 0.1], rtol=1e-6)


def test_the_price_is_that_of_the_latest_event_else_the_list_price_else_missing() -> None:
    rows = [("u", "a", "click", START), ("u", "b", "click", START), ("u", "c", "click", START + DAY)]
    price = pl.Series([7.0, float("nan"), None], dtype=pl.Float32)
    events = events_table(rows).sort("item_id").with_columns(price=price).sort("user_id", "event_time", "item_id")
    found = rows_at(events, AT_NOON, ["u"]).sort("item_id")
    assert found["item_price"].to_list() == [7.0, None, 5.0, None]
    assert found["user_price_90d"].to_list() == [7.0] * 4
    assert not any(column.is_nan().any() for column in found.select(pl.col(pl.Float32)))


def test_a_category_the_model_never_saw_is_missing() -> None:
    catalogue = Catalogue.of(shop_items())
    table = item_table([(catalogue.items["item_id"], mark(events_table([]), catalogue.items))], catalogue, END, ["pots", "tea"])
    assert table.values["item_category"].to_list() == [1.0, 1.0, None, None]


def test_an_item_yet_to_come_has_age_zero() -> None:
    catalogue = Catalogue.of(items_table([{"item_id": "a", "available_from": END + DAY}, {"item_id": "b", "available_from": END - DAY}]))
    assert item_table([(catalogue.items["item_id"], mark(events_table([]), catalogue.items))], catalogue, END, []).values[
        "item_age_days"
    ].to_list() == [0.0, 1.0]


def small(world: World) -> World:
    """A world cut down to ten users and its items."""
    return World(world.items, world.events.filter(pl.col("user_id") < "u010"), world.answers)


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> TextSide:
    """The interest model of the cold-item shop as it stands before any training."""
    torch.set_num_threads(1)
    catalogue = Catalogue.of(cold_item_shop().items)
    encoder = Encoder(tiny_bert(tmp_path_factory.mktemp("tiny"), catalogue.items), "mean", 24, 1, 4096)
    inputs = encoder.tokens(item_texts(catalogue.items))
    pooled = encoder.encode(inputs, lambda *_: None)
    nobody = History.of(cold_item_shop().events.head(0), catalogue, pl.Series("user_id", ["u"]), END, WEIGHTS)
    group = np.arange(1, len(catalogue) + 1)
    rest = (config().text, 7, None, Fitted(), Checkpoint(None), lambda *_: None)
    model, _ = Training(encoder, inputs, pooled, group, nobody, *rest).run()
    return TextSide(model, {"text": model.item_vectors(pooled, group > 0)}, pooled, pooled)


def chunk_as_of(world: World, side: TextSide, as_of: datetime) -> Chunk:
    catalogue = Catalogue.of(world.items)
    users = pl.Series("user_id", [f"u{n:03}" for n in range(10)])
    known = snapshot(world.events.lazy(), catalogue, as_of, as_of + 5 * DAY, side, config(), catalogue.categories, 1, Clock())
    return chunk(known, world.events, users, Clock())


@given(hours=st.integers(1, 24 * 60))
@example(hours=24 * 30)
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_dropping_the_future_changes_no_byte_of_candidates_and_features(side: TextSide, hours: int) -> None:
    as_of, world = START + timedelta(hours=hours), small(cold_item_shop())
    past = World(world.items, world.events.filter(pl.col("event_time") < as_of), world.answers)
    one, other = chunk_as_of(world, side, as_of), chunk_as_of(past, side, as_of)
    for name in SOURCES:
        assert one.pool.score[name].tobytes() == other.pool.score[name].tobytes()
        assert one.pool.rank[name].tobytes() == other.pool.rank[name].tobytes()
    pairs = [(c.pool.user.tobytes(), c.pool.item.tobytes(), c.pool.is_seen.tobytes(), c.fused.tobytes()) for c in (one, other)]
    assert pairs[0] == pairs[1]
    assert one.frame.to_numpy().tobytes() == other.frame.to_numpy().tobytes()
    assert (one.frame.height > 0) == (past.events.height > 0)


@pytest.mark.parametrize("threads", [1, 3])
def test_chunks_made_side_by_side_come_in_order_and_are_those_made_one_by_one(side: TextSide, threads: int) -> None:
    world = small(cold_item_shop())
    catalogue, users = Catalogue.of(world.items), pl.Series("user_id", [f"u{n:03}" for n in range(10)])
    settings = config().model_copy(update={"rank": config().rank.model_copy(update={"chunk_users": 2})})
    known = snapshot(world.events.lazy(), catalogue, END, END + DAY, side, settings, catalogue.categories, threads, Clock())
    clock = Clock()
    made = list(chunks(known, world.events.lazy(), users, clock))
    assert [one.block.history.user_ids.to_list() for one in made] == [users[n : n + 2].to_list() for n in range(0, 10, 2)]
    for one in made:
        alone = chunk(known, world.events, one.block.history.user_ids, Clock())
        assert one.frame.equals(alone.frame)
        assert one.pool.item.tobytes() == alone.pool.item.tobytes()
    assert clock.seconds["features"] > 0


def test_a_chunk_that_fails_ends_the_others_with_its_error(side: TextSide) -> None:
    world = small(cold_item_shop())
    catalogue, users = Catalogue.of(world.items), pl.Series("user_id", [f"u{n:03}" for n in range(10)])
    known = snapshot(world.events.lazy(), catalogue, END, END + DAY, side, config(), catalogue.categories, 2, Clock())
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        list(chunks(known, world.events.lazy().drop("event_type"), users, Clock()))


def test_the_seen_flag_of_a_chunk_is_the_history_itself(side: TextSide) -> None:
    world = small(cold_item_shop())
    found = chunk_as_of(world, side, END)
    catalogue, users = Catalogue.of(world.items), found.block.history.user_ids
    had = set(world.events.select("user_id", "item_id").unique().rows())
    pairs = zip(users.gather(found.pool.user), catalogue.ids(found.pool.item), strict=True)
    assert found.pool.is_seen.tolist() == [pair in had for pair in pairs]
    assert found.pool.is_seen.any()
    assert (found.frame["pair_likes_all"].to_numpy() > 0).tolist() == found.pool.is_seen.tolist()


def test_features_need_no_more_than_the_events_of_the_blocks_users(side: TextSide) -> None:
    world = cold_item_shop()
    own = world.events.filter(pl.col("user_id") < "u010")
    catalogue = Catalogue.of(world.items)
    users = pl.Series("user_id", [f"u{n:03}" for n in range(10)])
    known = snapshot(world.events.lazy(), catalogue, END, END, side, config(), catalogue.categories, 1, Clock())
    assert_frame_equal(chunk(known, own, users, Clock()).frame, chunk(known, world.events, users, Clock()).frame)
