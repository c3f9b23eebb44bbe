"""The feature store, on machines that report temperatures: what was known about a machine at a moment, and nothing after it."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store import Count, Entity, Feature, FeatureStore, FeatureView, Last, Mean, SinceFirst, SinceLast, Sum, ViewError
from feature_store.store import TIME

MACHINE = Entity("machine", ("machine_id",))
PART = Entity("machine_part", ("machine_id", "part_id"))
T0 = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SCHEMA = {"machine_id": pl.String, "part_id": pl.String, "event_time": TIME, "alarm": pl.Boolean, "heat": pl.Float32}
WHERES = (None, "alarm")
WINDOWS = (None, 0.5, 2)

Row = dict[str, Any]


def at(days: float) -> datetime:
    return T0 + days * DAY


def reading(machine: str | None, days: float, heat: float | None = 1.0, alarm: bool | None = True, part: str | None = "p") -> Row:
    return {"machine_id": machine, "part_id": part, "event_time": at(days), "alarm": alarm, "heat": heat}


def table(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def machines(*names: str | None) -> pl.DataFrame:
    return pl.DataFrame({"machine_id": list(names)}, schema={"machine_id": pl.String})


def store(*features: Feature, ttl_days: float | None = None, entity: Entity = MACHINE) -> FeatureStore:
    return FeatureStore(FeatureView("v", entity, features, ttl_days))


def one(feature: Feature, events: pl.DataFrame, as_of: datetime, ttl_days: float | None = None) -> float | None:
    return store(feature, ttl_days=ttl_days).values("v", events, machines("a"), as_of).item()


def every_feature(fill: float | None) -> tuple[Feature, ...]:
    features: list[Feature] = []
    for where in WHERES:
        features += [SinceLast(f"since_last_{where}", "m", where, fill), SinceFirst(f"since_first_{where}", "m", where, fill)]
        for days in WINDOWS:
            end = f"{where}_{days}"
            features.append(Count(f"count_{end}", "m", where, days, fill))
            features += [kind(f"{kind.__name__}_{end}", "m", "heat", where, days, fill) for kind in (Sum, Mean, Last)]
    return tuple(features)


# --- the oracle: a nested loop, no window arithmetic shared with the kernel


def is_value(heat: float | None) -> bool:
    return heat is not None and not math.isnan(heat)


def oracle(feature: Feature, rows: list[Row], keys: Row, as_of: datetime, ttl_days: float | None) -> float | None:
    column, days = getattr(feature, "column", None), getattr(feature, "days", None) or ttl_days
    used = []
    for row in rows:
        same = all(value is not None and row[key] == value for key, value in keys.items())
        inside = row["event_time"] < as_of and (days is None or row["event_time"] >= as_of - days * DAY)
        if same and inside and (feature.where is None or row[feature.where]) and (column is None or is_value(row[column])):
            used.append(row)
    return answer(feature, used, as_of) if used else feature.fill


def answer(feature: Feature, used: list[Row], as_of: datetime) -> float:
    times = [row["event_time"] for row in used]
    if isinstance(feature, Count):
        return float(len(used))
    if isinstance(feature, SinceLast | SinceFirst):
        return (as_of - (max(times) if isinstance(feature, SinceLast) else min(times))) / DAY
    if isinstance(feature, Last):
        return float(max(row["heat"] for row in used if row["event_time"] == max(times)))
    total = sum(round(row["heat"] * 1_000_000) for row in used) / 1_000_000
    return total if isinstance(feature, Sum) else total / len(used)


halves = st.integers(0, 16).map(lambda n: n / 4)
heats = st.one_of(st.none(), st.just(float("nan")), st.just(-0.0), st.floats(-1e5, 1e5, width=32))
names = st.sampled_from(["a", "b", "c", None])
parts = st.sampled_from(["p", "q"])
readings = st.lists(st.builds(reading, names, halves, heats, st.sampled_from([True, False, None]), parts), max_size=25)
asked = st.lists(st.tuples(st.sampled_from(["a", "b", "unknown", None]), parts, halves), max_size=8)
ttls = st.sampled_from([None, 2.0, 3.0])


def ask(
    entity: Entity, features: tuple[Feature, ...], rows: list[Row], queries: list[tuple[str | None, str, float]], ttl: float | None
) -> pl.DataFrame:
    keys = pl.DataFrame(
        {"machine_id": [q[0] for q in queries], "part_id": [q[1] for q in queries]}, schema={"machine_id": pl.String, "part_id": pl.String}
    )
    moments = pl.Series("as_of", [at(q[2]) for q in queries], dtype=TIME)
    return store(*features, ttl_days=ttl, entity=entity).values("v", table(*rows), keys, moments)


def same_bytes(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    def raw(frame: pl.DataFrame) -> list[bytes]:
        return [column.is_null().to_numpy().tobytes() + column.fill_null(0).to_numpy().tobytes() for column in frame]

    return left.schema == right.schema and raw(left) == raw(right)


@settings(deadline=None, max_examples=100)
@given(readings, asked, ttls, st.sampled_from([MACHINE, PART]), st.sampled_from([None, -1.0]))
def test_every_feature_is_what_a_nested_loop_finds(
    rows: list[Row], queries: list[tuple[str | None, str, float]], ttl: float | None, entity: Entity, fill: float | None
) -> None:
    features = every_feature(fill)
    got = ask(entity, features, rows, queries, ttl)
    assert got.columns == [feature.name for feature in features]
    assert set(got.dtypes) == {pl.Float32}
    kept = table(*rows).to_dicts()  # as Float32, like the store's
    for feature in features:
        want = [oracle(feature, kept, dict(zip(entity.keys, q, strict=False)), at(q[2]), ttl) for q in queries]
        assert got[feature.name].to_list() == [None if value is None else float(np.float32(value)) for value in want], feature


@settings(deadline=None, max_examples=40)
@given(readings, asked, ttls, halves)
def test_dropping_the_future_changes_no_byte(
    rows: list[Row], queries: list[tuple[str | None, str, float]], ttl: float | None, cut: float
) -> None:
    past = [row for row in rows if row["event_time"] < at(cut)]
    queries = [(name, part, min(days, cut)) for name, part, days in queries]
    features = every_feature(None)
    assert same_bytes(ask(PART, features, rows, queries, ttl), ask(PART, features, past, queries, ttl))


@settings(deadline=None, max_examples=40)
@given(readings, asked, st.randoms(use_true_random=False))
def test_the_order_of_the_events_changes_no_byte(rows: list[Row], queries: list[tuple[str | None, str, float]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    features = every_feature(None)
    assert same_bytes(ask(MACHINE, features, rows, queries, None), ask(MACHINE, features, shuffled, queries, None))


@settings(deadline=None, max_examples=40)
@given(readings, ttls, halves)
def test_a_snapshot_holds_every_entity_with_a_past_and_the_same_values(rows: list[Row], ttl: float | None, days: float) -> None:
    asking = store(*every_feature(None), ttl_days=ttl, entity=PART)
    snapshot = asking.materialise("v", table(*rows), at(days))
    keys = snapshot.select(PART.keys)
    used = [r for r in rows if r["machine_id"] and r["event_time"] < at(days) and (ttl is None or r["event_time"] >= at(days - ttl))]
    assert keys.rows() == sorted({(row["machine_id"], row["part_id"]) for row in used})
    assert same_bytes(snapshot.drop(PART.keys), asking.values("v", table(*rows), keys, at(days)))


# --- known answers


def test_sums_of_a_long_history_keep_every_millionth() -> None:
    n = 100_000
    events = pl.DataFrame(
        {"machine_id": ["a"] * n, "event_time": [T0] * n, "heat": np.full(n, 0.1)},
        schema={"machine_id": pl.String, "event_time": TIME, "heat": pl.Float64},
    )
    late = events.with_columns(event_time=pl.lit(at(9), TIME), heat=pl.lit(8e9))  # running totals wrap around beyond these
    both = pl.concat([late.with_columns(machine_id=pl.format("{}", pl.int_range(n))), events])
    keys = machines("a", *map(str, range(n)))
    got = store(Sum("s", "m", "heat")).values("v", both, keys, at(10))["s"]
    assert got[0] == 10_000.0
    assert got[1:].unique().to_list() == [8e9]


def test_an_event_at_as_of_is_not_used_and_one_at_the_start_of_the_window_is() -> None:
    events = table(reading("a", 1), reading("a", 3))
    assert one(Count("n", "m", days=2), events, at(3)) == 1
    assert one(Count("n", "m", days=2), events, at(3) + timedelta(microseconds=1)) == 1
    assert one(Count("n", "m"), events, at(3) + timedelta(microseconds=1)) == 2
    assert one(Count("n", "m", days=1.5), events, at(3)) == 0


def test_nothing_older_than_the_ttl_is_used() -> None:
    events = table(reading("a", 0, heat=5.0), reading("a", 3, heat=None))
    assert one(Last("x", "m", "heat"), events, at(4)) == 5.0
    assert one(Last("x", "m", "heat"), events, at(4), ttl_days=2) is None
    assert one(SinceFirst("x", "m"), events, at(4), ttl_days=2) == 1.0
    assert one(SinceLast("x", "m"), events, at(6), ttl_days=2) is None
    assert one(Count("x", "m"), events, at(4), ttl_days=2) == 1.0


def test_of_several_last_values_at_one_moment_the_largest_counts() -> None:
    events = table(reading("a", 1, heat=7.0), reading("a", 2, heat=1.0), reading("a", 2, heat=3.0), reading("a", 2, heat=2.0))
    assert one(Last("x", "m", "heat"), events, at(3)) == 3.0


def test_a_neighbour_that_reports_at_the_same_moment_is_not_taken_for_oneself() -> None:
    events = table(reading("a", 1, heat=1.0), reading("b", 1, heat=9.0), reading("c", 1, heat=5.0))
    got = store(Last("x", "m", "heat")).values("v", events, machines("a", "b", "c"), at(2))
    assert got["x"].to_list() == [1.0, 9.0, 5.0]


def test_zeros_of_both_signs_at_one_moment_give_the_same_bytes_in_any_order() -> None:
    rows = [reading("a", 1, heat=heat) for heat in (0.0, -0.0)]
    found = [one(Last("x", "m", "heat"), table(*order), at(2)) for order in (rows, rows[::-1], rows[1:])]
    assert [math.copysign(1, value) for value in found if value is not None] == [1, 1, 1]


def test_an_entity_without_a_past_gets_the_fills() -> None:
    asking = store(Count("n", "m"), Mean("mean", "m", "heat"), SinceLast("since", "m", fill=999.0))
    events = table(reading("a", 1), reading(None, 1))
    got = asking.values("v", events, machines("unknown", None, "a"), at(2))
    assert got.rows() == [(0.0, None, 999.0), (0.0, None, 999.0), (1.0, 1.0, 1.0)]


def test_no_event_and_no_key_are_no_trouble() -> None:
    asking = store(*every_feature(None))
    none = asking.values("v", table(), machines("a", "b"), at(1))
    assert none.shape == (2, len(every_feature(None)))
    assert none.null_count().sum_horizontal().item() == none.height * none.width
    assert asking.values("v", table(reading("a", 0)), machines(), at(1)).shape == (0, none.width)
    assert asking.values("v", table(), machines(), pl.Series([], dtype=TIME)).schema == none.schema
    assert asking.materialise("v", table(), at(1)).columns == ["machine_id", *none.columns]


def test_a_key_asked_twice_is_answered_twice_in_order() -> None:
    events = table(reading("a", 0), reading("a", 1), reading("b", 0))
    moments = pl.Series([at(2), at(2), at(2), at(1)], dtype=TIME)
    assert store(Count("n", "m")).values("v", events, machines("a", "b", "a", "a"), moments)["n"].to_list() == [2, 1, 2, 1]


def test_meanings_are_told_over_all_views() -> None:
    views = [FeatureView(name, MACHINE, (Count(f"{name}_n", f"events of {name}"),)) for name in ("x", "y")]
    assert FeatureStore(*views).meanings() == {"x_n": "events of x", "y_n": "events of y"}


# --- refusals

N = Count("n", "m")


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: Entity("machine", ()), "at least one key"),
        (lambda: Entity("machine", ("k", "k")), "none twice"),
        (lambda: store(), "no feature"),
        (lambda: store(N, N), "'n' is declared 2 times"),
        (lambda: store(Count("machine_id", "m")), "key column"),
        (lambda: store(Count("n", "m", days=0)), "days of 'n' is 0"),
        (lambda: store(Count("n", "m", days=float("nan"))), "days of 'n' is nan"),
        (lambda: store(N, ttl_days=-1), "ttl_days is -1"),
        (lambda: store(Sum("n", "m", "heat", days=8), ttl_days=7), "8, more than the TTL of 7"),
        (lambda: FeatureStore(FeatureView("v", MACHINE, (N,)), FeatureView("v", MACHINE, (N,))), "more than once: 'v'"),
        (lambda: FeatureStore(FeatureView("v", MACHINE, (N,)), FeatureView("w", MACHINE, (N,))).meanings(), "more than one view: 'n'"),
    ],
)
def test_a_bad_declaration_is_refused_by_name(declare: Callable[[], object], says: str) -> None:
    with pytest.raises(ViewError, match=says):
        declare()


GOOD = table(reading("a", 1))
ALL = store(Count("n", "m", where="alarm"), Sum("s", "m", "heat"))
REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: ALL.values("w", GOOD, machines("a"), T0), "'w' is not declared. Declared are: v"),
    (lambda: ALL.values("v", GOOD.drop("alarm"), machines("a"), T0), "table events: column 'alarm' is missing"),
    (lambda: ALL.values("v", GOOD.drop("heat"), machines("a"), T0), "table events: column 'heat' is missing"),
    (lambda: ALL.values("v", GOOD, machines("a").rename({"machine_id": "id"}), T0), "table keys: column 'machine_id' is missing"),
    (lambda: ALL.values("v", GOOD.with_columns(alarm=pl.lit(1)), machines("a"), T0), "'alarm' is Int32, not Boolean"),
    (lambda: ALL.values("v", GOOD.with_columns(heat=pl.lit("hot")), machines("a"), T0), "'heat' is String, not numeric"),
    (lambda: ALL.values("v", GOOD.with_columns(event_time=pl.lit(None, TIME)), machines("a"), T0), "1 of 1 events have no event_time"),
    (lambda: ALL.values("v", GOOD, machines("a"), T0.replace(tzinfo=None)), "no time zone"),
    (lambda: ALL.values("v", GOOD, machines("a"), pl.Series([T0, T0], dtype=TIME)), "as_of: 2 moments"),
    (lambda: ALL.values("v", GOOD, machines("a"), pl.Series([1])), "as_of: 1 moments of Int64"),
    (lambda: ALL.values("v", GOOD.with_columns(heat=pl.lit(1e10)), machines("a"), at(2)), "'heat': 1 of 1 values are beyond 9.01e"),
    (lambda: ALL.values("v", GOOD.with_columns(heat=pl.lit(math.inf)), machines("a"), at(2)), "the largest: inf"),
    (lambda: ALL.values("v", pl.concat([GOOD.with_columns(heat=pl.lit(9e9))] * 600), machines("a"), at(2)), "one entity add up to more"),
]


@pytest.mark.parametrize(("asking", "says"), REFUSED)
def test_a_table_that_does_not_fit_is_refused_by_column(asking: Callable[[], object], says: str) -> None:
    with pytest.raises(ViewError, match=says):
        asking()
