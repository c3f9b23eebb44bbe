"""Every measure against a naive loop or a known answer."""

import math
from collections import Counter
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import DAY, END, events_table, items_table

from recsys.monitor import (
    Grid,
    changed_places,
    changed_vectors,
    neighbours_lost,
    probes,
    psi,
    reactions,
    read,
    surges,
    table_of,
    topic_names,
    topics,
    volumes,
)
from recsys.monitor.vectors import N_PROBES
from recsys.schema import MONITORING, check

RNG = np.random.default_rng(7)
VALUES = st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=60)
SHORT = (pl.col("event_type") == "click") & (pl.col("value") < 5)


def grid(*chunks: list[float]) -> pl.DataFrame:
    counted = Grid(["x"])
    for chunk in chunks:
        counted.add("x", np.array(chunk, np.float32))
    return counted.table()


# -- distributions -----------------------------------------------------------------------------------------------------


def test_psi_of_a_few_values_is_the_sum_of_its_definition() -> None:
    before, now = Counter({1.0: 300, 2.0: 300, 3.0: 200, math.nan: 200}), Counter({1.0: 50, 2.0: 150, 3.0: 100, 8.0: 100})
    bins = [1.0, 2.0, 3.0, 8.0, math.nan]  # each holds a tenth or more of its night, but 8: it is beyond all that was
    q, p = ([(counts[value] + 0.5) for value in bins] for counts in (before, now))
    expected = sum((b / sum(p) - a / sum(q)) * math.log((b / sum(p)) / (a / sum(q))) for a, b in zip(q, p, strict=True))
    assert psi(grid(list(before.elements())), grid(list(now.elements())), "x") == pytest.approx(expected, rel=1e-12)


def test_psi_of_two_normal_distributions_is_near_its_integral() -> None:
    before, now = RNG.normal(0, 1, 200_000), RNG.normal(0.5, 1, 200_000)
    # The integral over all values is the squared distance of the means; ten bins see a little less of it.
    assert 0.22 < (psi(grid(before.tolist()), grid(now.tolist()), "x") or 0) < 0.25
    assert (psi(grid(before.tolist()), grid(RNG.normal(0, 1, 200_000).tolist()), "x") or 0) < 0.001


@given(VALUES, VALUES)
def test_psi_is_never_negative_and_always_a_number(before: list[float], now: list[float]) -> None:
    found = psi(grid(before), grid(now), "x")
    assert found is not None
    assert found >= 0
    assert math.isfinite(found)


@given(VALUES)
def test_psi_of_a_night_with_itself_is_nothing(values: list[float]) -> None:
    assert psi(grid(values), grid(values), "x") == 0


@given(VALUES, st.integers(0, 60))
def test_chunks_and_their_order_change_no_count(values: list[float], cut: int) -> None:
    assert grid(values[cut:], values[:cut]).equals(grid(values))


@given(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False))
def test_cells_keep_the_order_of_values_and_are_narrow(a: float, b: float) -> None:
    low, high = sorted((a, b))
    cells = [grid([value])["cell"][0] for value in (low, high)]
    assert cells[0] <= cells[1]
    if cells[0] == cells[1] and abs(low) > 1e-37 and math.isfinite(high):
        assert abs(high - low) <= 2**-7 * abs(low) or abs(high - low) <= 2**-7 * abs(high)


def test_a_value_that_never_was_is_drift_on_either_side() -> None:
    for other in (-5.0, 0.0, 99.0, math.nan):
        assert (psi(grid([3.0] * 500), grid([other] * 500), "x") or 0) > 5


def test_a_value_that_many_share_may_stray_a_little_and_not_much() -> None:
    rest = RNG.random(500).tolist()
    before, near, far = (grid([value] * 500, rest) for value in (3.0, 3.06, 3.6))
    assert (psi(before, near, "x") or 0) < 0.01
    assert (psi(before, far, "x") or 0) > 1


def test_a_night_without_a_row_is_not_compared() -> None:
    assert psi(grid([]), grid([1.0]), "x") is None
    assert psi(grid([1.0]), grid([]), "x") is None


# -- lists -------------------------------------------------------------------------------------------------------------


LISTS = st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from("uvwxyz"), unique=True, min_size=1), min_size=1)


def lists(of: dict[str, list[str]]) -> pl.DataFrame:
    rows = [(user, item, rank) for user, items in of.items() for rank, item in enumerate(items, 1)]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32}, orient="row")


@given(LISTS, LISTS, st.integers(1, 6))
def test_the_places_that_changed_are_those_of_a_naive_loop(before: dict[str, list[str]], now: dict[str, list[str]], k: int) -> None:
    expected = {}
    for user in sorted(before.keys() & now.keys()):
        one, two = set(before[user][:k]), set(now[user][:k])
        expected[user] = 1 - len(one & two) / max(len(one), len(two))
    found = changed_places(lists(before), lists(now), k)
    assert dict(found.iter_rows()) == pytest.approx(expected)


def test_three_of_ten_places_are_three_tenths() -> None:
    before, now = {"a": list("0123456789")}, {"a": list("9876543xyz")}
    assert changed_places(lists(before), lists(now), 10)["share"].to_list() == pytest.approx([0.3])


# -- vectors -----------------------------------------------------------------------------------------------------------


def unit(n: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_neighbours_lost_are_those_of_a_naive_loop() -> None:
    one = unit(60)
    two = one + 0.3 * unit(60, seed=1)
    two /= np.linalg.norm(two, axis=1, keepdims=True)
    shares = []
    for row in range(60):
        near = [
            sorted((other for other in range(60) if other != row), key=lambda other: -float(vectors[row] @ vectors[other]))[:10]
            for vectors in (one, two)
        ]
        shares.append(1 - len(set(near[0]) & set(near[1])) / 10)
    assert 0.1 < np.mean(shares) < 0.9
    assert neighbours_lost(one, two) == pytest.approx(np.mean(shares))


def test_a_space_that_is_turned_keeps_its_neighbours_though_every_vector_changes() -> None:
    one = unit(200)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))[0].astype(np.float32)
    assert neighbours_lost(one, one @ turn) == pytest.approx(0, abs=0.005)
    assert changed_vectors(one, one @ turn) == 1
    assert changed_vectors(one, one) == 0


def test_one_changed_text_of_four_is_a_quarter() -> None:
    one = unit(4)
    two = np.vstack([one[:3], unit(1, seed=9)])
    assert changed_vectors(one, two) == 0.25


def test_equal_texts_are_no_drift_of_each_other() -> None:
    one = np.repeat(unit(6), 10, axis=0)  # sixty items of six texts: rounding must not choose among the ten
    noise = 1e-7 * unit(60, seed=5)
    assert neighbours_lost(one, one + noise) == 0


def test_too_few_items_have_no_neighbours_to_lose() -> None:
    assert neighbours_lost(unit(19), unit(19)) is None
    assert changed_vectors(unit(0), unit(0)) is None


def test_probes_stay_the_same_when_other_items_come_and_go() -> None:
    ids = pl.Series("item_id", [f"i{n:05}" for n in range(3000)])
    drawn = set(ids.gather(probes(ids, np.ones(3000, bool))))
    fewer = ids.filter(pl.Series(RNG.random(3000) < 0.8))
    again = set(fewer.gather(probes(fewer, np.ones(len(fewer), bool))))
    assert len(drawn) == len(again) == N_PROBES
    assert drawn & set(fewer) <= again
    assert not set(ids.gather(probes(ids, ids.is_in(list(drawn)).not_().to_numpy()))) & drawn


# -- topics ------------------------------------------------------------------------------------------------------------


def test_topics_find_what_the_texts_are_about_and_are_named_by_it() -> None:
    centres = unit(3, dim=16)
    of = RNG.integers(0, 3, 90)
    vectors = centres[of] + 0.05 * unit(90, dim=16, seed=2)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    subjects = ["garden spade soil", "kitchen pan stove", "lamp bulb light"]
    texts = [f"new {subjects[n]} the old" for n in of]
    topic = topics(vectors.astype(np.float32), seed=7)
    names = topic_names(texts, topic)
    for found in range(topic.max() + 1):
        assert len({int(one) for one in of[topic == found]}) == 1  # no topic mixes two subjects
        assert set(names[found].split()[:3]) <= {*subjects[of[topic == found][0]].split(), str(found)}
    assert len(set(names)) == len(names)


def test_every_item_is_nearest_to_the_middle_of_its_topic() -> None:
    vectors = unit(400, dim=6)
    topic = topics(vectors, seed=1)
    middles = [vectors[topic == n].sum(axis=0) for n in range(topic.max() + 1)]
    middles = [middle / np.linalg.norm(middle) for middle in middles]
    agree = [int(np.argmax([vector @ middle for middle in middles])) == found for vector, found in zip(vectors, topic, strict=True)]
    assert np.mean(agree) > 0.99  # it ends after so many rounds, settled or not
    assert np.array_equal(topic, topics(vectors, seed=1))


def test_items_without_a_text_have_no_topic() -> None:
    vectors = unit(30)
    vectors[::3] = 0
    topic = topics(vectors, seed=1)
    assert np.array_equal(topic == -1, np.arange(30) % 3 == 0)
    assert topics(np.zeros((4, 8), np.float32), seed=1).tolist() == [-1] * 4
    assert topic_names(["a"] * 4, np.full(4, -1, np.int32)) == []


def test_equal_vectors_are_one_topic() -> None:
    assert topics(np.repeat(unit(1), 50, axis=0), seed=1).tolist() == [0] * 50
    assert topic_names(["Lamp lamp LIGHT"] * 50, np.zeros(50, np.int32)) == ["lamp light"]


# -- what happened -----------------------------------------------------------------------------------------------------


def shop(rows: list[tuple[str, str, float, float | None]]) -> pl.DataFrame:
    """Of (item_id, event_type, days before END, value)."""
    made = [(f"u{n}", item, kind, END - days * DAY) for n, (item, kind, days, _) in enumerate(rows)]
    values = [(f"u{n}", value) for n, (*_, value) in enumerate(rows)]
    given = pl.DataFrame(values, schema={"user_id": pl.String, "value": pl.Float32}, orient="row")
    return events_table(made).drop("value").join(given, on="user_id")


KINDS = ("return", "purchase", "click", "impression")


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(KINDS), st.integers(0, 40), st.sampled_from([None, 1.0, 9.0])), max_size=40)
)
def test_reactions_are_counted_as_by_a_naive_loop(rows: list[tuple[str, str, float, float | None]]) -> None:
    found = {
        row["item_id"]: row for row in reactions(shop([(i, k, d + 0.5, v) for i, k, d, v in rows]).lazy(), END, SHORT).iter_rows(named=True)
    }
    for item in "abc":
        for part, days in (("recent", range(7)), ("before", range(7, 35))):
            mine = [(kind, value) for one, kind, day, value in rows if one == item and day in days]
            expected = {
                "return": sum(kind == "return" for kind, _ in mine),
                "purchases": sum(kind == "purchase" for kind, _ in mine),
                "clicks": sum(kind == "click" for kind, _ in mine),
                "short view": sum(kind == "click" and value is not None and value < 5 for kind, value in mine),
            }
            assert {name: found[item][f"{name}_{part}"] if item in found else 0 for name in expected} == expected


def test_a_surge_is_a_multiple_of_the_usual_rate_by_item_category_and_topic() -> None:
    # Every item sells twice a day. Two in ten come back; of the last week's "a" nine in ten do.
    sold = [(item, "purchase", day + half, None) for item in "abcd" for day in range(35) for half in (0.3, 0.6)]
    back = [(item, "return", day + 0.4, None) for item in "abcd" for day in range(0, 35, 5) for _ in (1, 2)]
    more = [("a", "return", day % 7 + 0.2, None) for day in range(10)]
    items = pl.DataFrame({"item_id": list("abcd"), "category": ["x", "x", "y", None], "topic": ["t", "u", "u", None]})
    counts = reactions(shop(sold + back + more).lazy(), END, SHORT)
    shop_rate = (4 * 10 + 1) / (4 * 56 + 1)  # before: returns on days 10, 15, 20, 25, 30

    def times(recent: tuple[int, int], before: tuple[int, int]) -> float:
        rates = [(bad + 10 * shop_rate) / (of + 10) for bad, of in (recent, before)]
        return rates[0] / rates[1]

    found = dict(surges(counts, items, fewest=10))
    assert found == pytest.approx(
        {
            "return of item a": times((14, 14), (10, 56)),
            "return of category x": times((18, 28), (20, 112)),
            "return of topic t": times((14, 14), (10, 56)),
        }
    )
    assert found["return of item a"] > 3 > found["return of category x"]
    assert dict(surges(counts, items, fewest=15)).keys() == {"return of category x"}


def test_short_views_surge_against_clicks() -> None:
    clicks = [("a", "click", day + 0.5, 30.0) for day in range(35) for _ in range(3)]
    short = [("a", "click", day + 0.2, 1.0) for day in range(7) for _ in range(5)]
    items = pl.DataFrame(
        {"item_id": ["a"], "category": [None], "topic": [None]}, schema_overrides={"category": pl.String, "topic": pl.String}
    )
    found = dict(surges(reactions(shop(clicks + short).lazy(), END, SHORT), items, fewest=20))
    assert found.keys() == {"short view of item a"}
    assert found["short view of item a"] > 10


def test_without_a_time_before_nothing_is_a_surge() -> None:
    rows = [("a", "return", 1.0, None)] * 40 + [("a", "purchase", 2.0, None)] * 40
    items = pl.DataFrame({"item_id": ["a"], "category": ["x"], "topic": ["t"]})
    assert list(surges(reactions(shop(rows).lazy(), END, SHORT), items, fewest=1)) == []


def test_the_volumes_of_the_last_day_are_counted_by_type_and_may_all_be_zero() -> None:
    events = shop([("a", "click", 0.5, None), ("a", "click", 1.0, None), ("b", "purchase", 1.01, None), ("b", "cart", 0.9, None)])
    kinds = ["click", "cart", "purchase", "return"]
    assert volumes(events.lazy(), END, kinds) == {"click": 2, "cart": 1, "purchase": 0, "return": 0}
    assert volumes(events.lazy(), END + timedelta(days=3), kinds) == dict.fromkeys(kinds, 0)
    nothing = reactions(events.lazy(), END + timedelta(days=60), SHORT)
    assert nothing.height == 0
    assert list(surges(nothing, items_table([]).select("item_id", "category", topic="title"), 1)) == []


# -- limits ------------------------------------------------------------------------------------------------------------


def test_limits_are_passed_only_from_above() -> None:
    statuses = [read("churn", value, (0.2, 0.5))[0].status for value in (0.1, 0.2, 0.3, 0.5, 0.6)]
    assert statuses == ["PASS", "PASS", "WARN", "WARN", "FAIL"]
    assert [read("churn", 9.0, limits)[0].status for limits in ((), (0.2,))] == ["PASS", "WARN"]
    assert read("churn", None, (0.2,)) == []


def test_readings_are_a_table_of_the_house() -> None:
    table = table_of([*read("churn", 0.3, (0.2,)), *read("events", 7, key="click")], "n1", END)
    assert check(table, MONITORING).rows() == [("n1", END, "churn", "", 0.3, "WARN"), ("n1", END, "events", "click", 7.0, "PASS")]
