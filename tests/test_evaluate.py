"""The verdict against worlds with a known answer: who is counted, what stays in the denominator, how sure a figure is."""

import itertools
import json
import math
import random
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys import metrics
from recsys.errors import TableError
from recsys.evaluate import METRICS, Question, Verdict, candidate_recall, judge
from recsys.evaluate.intervals import bootstrap_means, compare, coverage_figure, gini_figure, mean_figure, weighted_figure
from recsys.schema import RECOMMENDATIONS

Pairs = dict[str, list[str]]
ITEMS = [f"i{i}" for i in range(1, 10)] + ["x1", "x2", "x3", "x4"]
TRUTH: Pairs = {"A": ["i1", "i2", "i3", "i4", "i5"], "B": ["i1"], "C": ["i9"], "D": ["i1", "i2"], "E": ["i1"]}
LISTS: Pairs = {
    "A": ["i1", "x1", "i2", "i3"],
    "B": ["x1", "i1", "x2", "x3"],
    "C": ["x1", "x2", "x3"],
    "D": ["i1", "x1"],
    "F": ["x1", "x2", "x3", "x4"],
}
PER_USER = ("ndcg@10", "recall@10", "map@10", "mrr@10")


def lists_of(by_user: Pairs) -> pl.DataFrame:
    rows = [(user, item, rank) for user, items in by_user.items() for rank, item in enumerate(items, 1)]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32}, orient="row")


def truth_of(by_user: Pairs, label: int = 1) -> pl.DataFrame:
    rows = [(user, item, label) for user, items in by_user.items() for item in items]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "label": pl.Int32}, orient="row")


def question_of(truth: pl.DataFrame, users: list[str], items: list[str] = ITEMS) -> Question:
    catalogue = pl.DataFrame(
        {
            "item_id": items,
            "n_users": [8 if item.startswith("i") else 0 for item in items],
            "item_age": ["cold" if item.startswith("x") or item == "i9" else "old" for item in items],
            "item_popularity": ["high" if item == "i1" else "low" for item in items],
        },
        schema_overrides={"item_id": pl.String, "n_users": pl.UInt32, "item_age": pl.String, "item_popularity": pl.String},
    )
    activity = pl.DataFrame({"user_id": users, "user_activity": ["5+" if user < "C" else "0" for user in users]})
    return Question(truth, pl.Series(users, dtype=pl.String), 1, (0.0, 1.0), catalogue, activity, 8)


def fixture(lists: dict[str, pl.DataFrame] | None = None) -> Verdict:
    question = question_of(truth_of(TRUTH), list("ABCDEF"))
    return judge(lists or {"popularity": lists_of({}), "ranker": lists_of(LISTS)}, question, "ranker", 200, 7)


def worlds(n_users: int = 60, seed: int = 3) -> tuple[dict[str, pl.DataFrame], Question]:
    draw = random.Random(seed)
    users = [f"u{i:03d}" for i in range(n_users)]
    truth = {user: draw.sample(ITEMS, draw.randint(0, 4)) for user in users}
    lists = {name: lists_of({user: draw.sample(ITEMS, draw.randint(0, 10)) for user in users}) for name in ("popularity", "text", "ranker")}
    return lists, question_of(truth_of(truth), users)


def as_bytes(verdict: Verdict) -> tuple[bytes, bytes]:
    return json.dumps(verdict.as_dict(), allow_nan=False).encode(), verdict.per_user.write_csv().encode()


def test_the_worked_fixture_comes_out_as_on_paper() -> None:
    by_user = fixture().per_user.filter(pl.col("system") == "ranker")
    assert by_user["user_id"].to_list() == list("ABCDE")
    # At ten places A's third hit, at rank 4, counts too.
    ideal_of_five = sum(1 / math.log2(rank + 1) for rank in range(1, 6))
    assert by_user["ndcg@10"].to_list() == pytest.approx([(1 + 0.5 + 1 / math.log2(5)) / ideal_of_five, 0.6309, 0, 0.6131, 0], abs=5e-5)
    assert by_user["map@10"].to_list() == pytest.approx([(1 + 2 / 3 + 3 / 4) / 5, 0.5, 0, 0.5, 0])
    assert by_user["recall@10"].to_list() == pytest.approx([0.6, 1, 0, 0.5, 0])
    assert by_user["mrr@10"].to_list() == pytest.approx([1, 0.5, 0, 1, 0])


def test_users_without_truth_are_left_out_and_counted_and_users_without_a_list_score_zero() -> None:
    verdict = fixture()
    assert verdict.n_without_truth == 1
    assert verdict.systems["ranker"]["recall@10"].n == 5
    assert verdict.systems["ranker"]["recall@10"].value == pytest.approx((0.6 + 1 + 0.5) / 5)
    assert [verdict.systems["popularity"][metric].value for metric in PER_USER] == [0.0] * 4
    assert verdict.systems["popularity"]["ndcg@10"].n == 5


def test_coverage_and_novelty_are_of_the_lists_of_users_with_truth() -> None:
    verdict = fixture()
    coverage, novelty = verdict.systems["ranker"]["coverage@10"], verdict.systems["ranker"]["novelty@10"]
    assert (coverage.value, coverage.n) == (6 / len(ITEMS), 4)  # i1 i2 i3 x1 x2 x3; x4 stands only in the list of F
    assert novelty.n == 4
    assert novelty.value == pytest.approx((3 * 1 / 4 + 3 * 3 / 4 + 3 + 3 * 1 / 2) / 4)  # x: one of eight users, three bits


def test_labels_below_relevant_from_are_not_relevant() -> None:
    truth = pl.concat([truth_of({"A": ["i1"], "B": ["i1"]}, label=1), truth_of({"A": ["i2"]}, label=3)])
    question = replace(question_of(truth, ["A", "B"]), relevant_from=2, gains=(0.0, 1.0, 2.0, 3.0))
    verdict = judge({"ranker": lists_of({"A": ["i1", "i2"], "B": ["i1"]})}, question, "ranker", 50, 7)
    assert verdict.n_without_truth == 1
    assert verdict.systems["ranker"]["mrr@10"].value == 0.5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_figures_agree_with_a_loop_over_users(seed: int) -> None:
    lists, question = worlds(12, seed)
    verdict = judge(lists, question, "ranker", 10, 7)
    truth = {user: set(rows["item_id"]) for (user,), rows in question.truth.group_by("user_id")}
    scores = {name: loop_scores(frame, truth) for name, frame in lists.items()}
    for name, by_user in scores.items():
        assert verdict.systems[name]["ndcg@10"].value == pytest.approx(np.mean([ndcg for ndcg, _ in by_user.values()]))
        assert verdict.systems[name]["recall@10"].value == pytest.approx(np.mean([recall for _, recall in by_user.values()]))
    pair = next(pair for pair in verdict.paired if (pair.b, pair.metric) == ("text", "recall@10"))
    differences = [scores["ranker"][user][1] - scores["text"][user][1] for user in truth]
    assert pair.difference == pytest.approx(np.mean(differences))
    assert (pair.better, pair.worse) == (sum(d > 1e-9 for d in differences), sum(d < -1e-9 for d in differences))


def loop_scores(frame: pl.DataFrame, truth: dict[str, set[str]]) -> dict[str, tuple[float, float]]:
    rows = frame.rows()
    scores = {}
    for user, relevant in truth.items():
        ranks = [rank for who, item, rank in rows if who == user and item in relevant]
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(10, len(relevant)) + 1))
        scores[user] = (sum(1 / math.log2(rank + 1) for rank in ranks) / ideal, len(ranks) / len(relevant))
    return scores


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_further_figures_agree_with_a_loop_over_users(seed: int) -> None:
    lists, question = knowing(worlds(12, seed), seed)
    verdict = judge(lists, question, "ranker", 10, 7)
    items = {row["item_id"]: row | {"vector": v} for row, v in zip(question.catalogue.iter_rows(named=True), question.vectors, strict=True)}
    truth = {user: dict(rows.select("item_id", "label").rows()) for (user,), rows in question.truth.group_by("user_id")}
    had = set(question.seen.rows())
    for name, frame in lists.items():
        expected = {metric: [] for metric in FURTHER}
        for user, wanted in truth.items():
            listed = [item for who, item, _ in sorted(frame.rows(), key=lambda row: row[2]) if who == user]
            for metric, value in loop_further(user, listed, wanted, items, had).items():
                expected[metric] += [] if value is None else [value]
        for metric, values in expected.items():
            figure = verdict.systems[name][metric]
            assert figure.n == len(values), metric
            assert figure.value == pytest.approx(np.mean(values) if values else math.nan, nan_ok=True), metric


FURTHER = (
    *("precision@10", "hit_rate@10", "ndcg_graded@10", "revenue_ndcg@10", "serendipity@10"),
    *("ild@10", "popularity@10", "repeat_rate@10"),
)


def knowing(world: tuple[dict[str, pl.DataFrame], Question], seed: int = 1) -> tuple[dict[str, pl.DataFrame], Question]:
    """The same world with labels from 1 to 3, and a question that knows prices, texts and what was seen."""
    lists, question = world
    rng, n = np.random.default_rng(seed), question.catalogue.height
    prices = [None if number % 4 == 0 else float(number) for number in rng.integers(1, 20, n)]
    labels = pl.Series(rng.integers(1, 4, question.truth.height), dtype=pl.Int32)
    pairs = [(user, item) for user in question.users for item in question.catalogue["item_id"] if rng.random() < 0.3]
    return lists, replace(
        question,
        truth=question.truth.with_columns(label=labels),
        gains=(0.0, 1.0, 2.0, 4.0),
        catalogue=question.catalogue.with_columns(price=pl.Series(prices, dtype=pl.Float32), n_users=pl.Series(rng.integers(0, 9, n))),
        seen=pl.DataFrame(pairs, schema={"user_id": pl.String, "item_id": pl.String}, orient="row"),
        vectors=rng.integers(-1, 2, (n, 2)).astype(np.float32),
    )


def loop_further(user: str, listed: list[str], wanted: dict[str, int], items: dict[str, dict], had: set) -> dict[str, float | None]:
    def dcg(worths: list[float]) -> float:
        return sum(worth / math.log2(rank + 1) for rank, worth in enumerate(worths[:10], 1))

    def by_ideal(worth_of: dict[str, float]) -> float | None:
        ideal = dcg(sorted(worth_of.values(), reverse=True))
        return dcg([worth_of.get(item, 0.0) for item in listed]) / ideal if ideal else None

    def mean(values: list[float]) -> float | None:
        return sum(values) / len(values) if values else None

    expected = sorted(items, key=lambda item: (-items[item]["n_users"], item))[:10]
    hits = [item for item in listed if item in wanted]
    told = [items[item]["vector"] for item in listed if items[item]["vector"].any()]
    return {
        "precision@10": len(hits) / 10,
        "hit_rate@10": float(bool(hits)),
        "ndcg_graded@10": by_ideal({item: (0.0, 1.0, 2.0, 4.0)[label] for item, label in wanted.items()}),
        "revenue_ndcg@10": by_ideal({item: items[item]["price"] or 0.0 for item in wanted}),
        "serendipity@10": sum(item not in expected for item in hits) / 10,
        "ild@10": mean([1 - float(a @ b / math.hypot(*a) / math.hypot(*b)) for a, b in itertools.combinations(told, 2)]),
        "popularity@10": mean([items[item]["n_users"] for item in listed]),
        "repeat_rate@10": mean([(user, item) in had for item in listed]),
    }


def test_what_the_question_does_not_know_is_undefined_and_counted_as_nobody() -> None:
    figures = fixture().systems["ranker"]
    for metric in ("revenue_ndcg@10", "ild@10", "repeat_rate@10"):
        assert (figures[metric].n, math.isnan(figures[metric].value), math.isnan(figures[metric].low)) == (0, True, True)
    lists, question = knowing(worlds())
    free = replace(question, catalogue=question.catalogue.with_columns(price=pl.lit(0.0)))
    assert judge(lists, free, "ranker", 20, 7).systems["ranker"]["revenue_ndcg@10"].n == 0


def test_the_health_of_the_judged_lists_counts_who_asked_and_got_none_or_too_few() -> None:
    found = fixture().health
    assert found["missing"] == {"count": 1, "share": 1 / 6}  # E
    assert found["short"] == {"count": 5, "share": 5 / 6}
    assert (found["duplicates"]["count"], found["unavailable"]["count"], found["strangers"]["count"]) == (0, 0, 0)


def test_every_pair_has_a_first_and_better_tied_and_worse_make_n() -> None:
    lists, question = worlds()
    verdict = judge(lists, question, "ranker", 100, 7)
    n = verdict.systems["ranker"]["ndcg@10"].n
    assert [(pair.a, pair.b, pair.metric) for pair in verdict.paired] == [
        ("ranker", b, metric) for b in ("popularity", "text") for metric in PER_USER
    ]
    for pair in verdict.paired:
        means = [verdict.systems[name][pair.metric].value for name in (pair.a, pair.b)]
        assert pair.difference == pytest.approx(means[0] - means[1])
        assert pair.low <= pair.difference <= pair.high
        assert pair.better + pair.tied + pair.worse == n


def test_a_system_against_itself_is_all_tied_and_exactly_zero() -> None:
    lists, question = worlds()
    verdict = judge({"ranker": lists["ranker"], "twin": lists["ranker"]}, question, "ranker", 100, 7)
    of_slices = [pair for part in verdict.slices for pair in part.paired if not part.is_small]
    assert len(of_slices) == 4
    for pair in [*verdict.paired, *of_slices]:
        assert (pair.difference, pair.low, pair.high) == (0.0, 0.0, 0.0)
        assert (pair.better, pair.worse) == (0, 0)
    assert verdict.as_dict()["systems"]["twin"] == verdict.as_dict()["systems"]["ranker"]


def test_a_constant_gain_is_certain_however_much_users_differ() -> None:
    base = np.random.default_rng(5).random(400)
    figures, (pair,) = compare({"ranker": {"m": base + 0.01}, "text": {"m": base}}, "ranker", ("m",), 500, 7)
    assert figures["ranker"]["m"].low < figures["text"]["m"].high  # the marginal intervals overlap and decide nothing
    assert (pair.low, pair.high) == pytest.approx((0.01, 0.01))
    assert pair.better == 400


def test_the_interval_covers_a_known_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(11)
    figures = [mean_figure(rng.random(80), 300, seed) for seed in range(200)]
    assert 182 <= sum(figure.low <= 0.5 <= figure.high for figure in figures) <= 198
    assert all(figure.low < figure.value < figure.high and figure.n == 80 for figure in figures)


def test_the_bootstrap_spread_is_the_standard_error_and_columns_share_resamples() -> None:
    values = np.random.default_rng(2).normal(size=500)
    means = bootstrap_means({"once": values, "twice": 2 * values}, 4000, 7)
    assert means["once"].std() == pytest.approx(values.std() / math.sqrt(500), rel=0.05)
    assert means["twice"] == pytest.approx(2 * means["once"])


def test_memory_chunks_draw_every_resample_of_every_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.evaluate.intervals.CELLS", 700)
    means = bootstrap_means({"one": np.ones(100), "index": np.arange(100.0)}, 53, 7)
    assert means["one"].tolist() == [1.0] * 53
    assert len(set(means["index"])) > 50


def test_the_interval_of_coverage_is_the_delete_one_list_jackknife() -> None:
    rng = np.random.default_rng(4)
    places = np.argsort(rng.gumbel(size=(30, 80)) - np.log(np.arange(1, 81)), axis=1)[:, -5:]
    value = len(np.unique(places)) / 80
    without = [len(np.unique(np.delete(places, row, axis=0))) / 80 for row in range(30)]
    error = 1.959964 * math.sqrt(29 / 30 * sum((share - np.mean(without)) ** 2 for share in without))
    figure = coverage_figure(value, places, 80)
    assert (figure.low, figure.high) == pytest.approx((value - error, value + error))
    assert coverage_figure(1.0, np.arange(30)[:, None], 30).high == 1.0


def test_the_interval_of_gini_is_the_delete_one_list_jackknife() -> None:
    rng = np.random.default_rng(4)
    places = np.argsort(rng.gumbel(size=(30, 40)) - np.log(np.arange(1, 41)), axis=1)[:, -5:]
    places[3, 2:], places[7] = -1, -1
    value = metrics.gini(places, 40)
    full = [row for row in range(30) if row != 7]
    without = [metrics.gini(np.delete(places, row, axis=0), 40) for row in full]
    error = 1.959964 * math.sqrt(28 / 29 * sum((share - np.mean(without)) ** 2 for share in without))
    figure = gini_figure(value, places, 40)
    assert (figure.low, figure.high) == pytest.approx((value - error, value + error), abs=1e-12)
    assert figure.n == 29
    nothing = gini_figure(math.nan, np.full((2, 3), -1), 40)
    assert (math.isnan(nothing.low), math.isnan(nothing.high), nothing.n) == (True, True, 0)


def test_a_bootstrap_mean_is_of_the_users_that_a_resample_has_a_value_for() -> None:
    values = np.where(np.arange(60) % 3 == 0, np.nan, np.random.default_rng(2).normal(size=60))
    means = bootstrap_means({"whole": np.ones(60), "gappy": values, "of none": np.full(60, np.nan)}, 500, 7)
    rng = np.random.default_rng(7)
    drawn = rng.integers(0, 60, (500, 60))
    assert means["gappy"] == pytest.approx(np.nanmean(values[drawn], axis=1))
    assert means["whole"].tolist() == [1.0] * 500
    assert np.isnan(means["of none"]).all()
    figures, _ = compare({"ranker": {"m": values}}, "ranker", (), 500, 7)
    assert figures["ranker"]["m"].n == 40
    assert figures["ranker"]["m"].value == pytest.approx(np.nanmean(values))


def test_a_weighted_figure_weighs_value_and_interval_alike() -> None:
    values, weights = np.array([0.2, 0.8, np.nan, 0.5]), np.array([10.0, 30.0, 99.0, 0.0])
    figure = weighted_figure(values, weights, 200, 7)
    assert (figure.value, figure.n) == (pytest.approx(0.65), 3)
    assert figure.low <= 0.65 <= figure.high <= 0.8
    nothing = weighted_figure(np.array([np.nan]), np.array([3.0]), 20, 7)
    assert (math.isnan(nothing.value), math.isnan(nothing.low), nothing.n) == (True, True, 0)


def test_a_slice_of_users_takes_those_users() -> None:
    part = next(part for part in fixture().slices if (part.slice, part.value) == ("user_activity", "5+"))
    assert part.n == 2  # A and B
    assert part.systems["ranker"]["recall@10"].value == pytest.approx((0.6 + 1) / 2)
    assert (part.paired[0].b, part.paired[0].metric, part.paired[0].better) == ("popularity", "ndcg@10", 2)


def test_a_slice_of_items_counts_only_its_items_and_keeps_the_lists() -> None:
    slices = {(part.slice, part.value): part for part in fixture().slices}
    low = slices["item_popularity", "low"]  # truth: A i2..i5, C i9, D i2
    assert low.n == 3
    assert low.systems["ranker"]["recall@10"].value == pytest.approx((2 / 4 + 0 + 0) / 3)
    ideal_of_four = sum(1 / math.log2(rank + 1) for rank in range(1, 5))
    assert low.systems["ranker"]["ndcg@10"].value == pytest.approx((0.5 + 1 / math.log2(5)) / ideal_of_four / 3)
    assert slices["item_age", "cold"].n == 1  # C alone wanted a cold item


def test_slices_come_in_order_and_only_where_somebody_is_counted() -> None:
    keys = [(part.slice, part.value) for part in fixture().slices]
    assert keys == [
        ("item_age", "cold"),
        ("item_age", "old"),
        ("user_activity", "0"),
        ("user_activity", "5+"),
        ("item_popularity", "high"),
        ("item_popularity", "low"),
    ]
    warm_only = judge({"ranker": lists_of({})}, question_of(truth_of({"A": ["i1"]}), ["A"]), "ranker", 20, 7)
    assert [(part.slice, part.value, part.n) for part in warm_only.slices] == [
        ("item_age", "old", 1),
        ("user_activity", "5+", 1),
        ("item_popularity", "high", 1),
    ]


def test_the_order_of_rows_changes_no_byte() -> None:
    lists, question = worlds()
    shuffled = {name: frame.sample(fraction=1.0, shuffle=True, seed=9) for name, frame in lists.items()}
    other = replace(
        question,
        truth=question.truth.sample(fraction=1.0, shuffle=True, seed=1),
        users=question.users.sample(fraction=1.0, shuffle=True, seed=2),
        catalogue=question.catalogue.sample(fraction=1.0, shuffle=True, seed=3),
        user_slices=question.user_slices.sample(fraction=1.0, shuffle=True, seed=4),
    )
    assert as_bytes(judge(lists, question, "ranker", 50, 7)) == as_bytes(judge(shuffled, other, "ranker", 50, 7))


def test_the_json_has_every_system_and_metric_and_null_where_undefined() -> None:
    whole = json.loads(json.dumps(fixture().as_dict(), allow_nan=False))
    assert set(whole) == {"systems", "paired", "slices", "n_without_truth", "health"}
    for system in ("popularity", "ranker"):
        assert tuple(whole["systems"][system]) == METRICS
        assert all(set(figure) == {"value", "low", "high", "n"} for figure in whole["systems"][system].values())
    assert whole["systems"]["popularity"]["novelty@10"] == {"value": None, "low": None, "high": None, "n": 0}
    assert whole["systems"]["popularity"]["coverage@10"] == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 0}
    assert set(whole["paired"][0]) == {"a", "b", "metric", "difference", "low", "high", "better", "tied", "worse"}
    assert set(whole["slices"][0]) == {"slice", "value", "n", "systems", "paired", "share", "share_of", "parts", "is_small"}


def test_one_user_is_judged_with_an_interval_of_no_width() -> None:
    lists, question = knowing(({"ranker": lists_of({"A": ["x1", "i1"]})}, question_of(truth_of({"A": ["i1"]}), ["A"])))
    verdict = judge(lists, replace(question, vectors=np.ones((len(ITEMS), 2))), "ranker", 20, 7)
    for metric in METRICS:
        figure = verdict.systems["ranker"][metric]
        assert figure.low == figure.value == figure.high
        assert figure.n == 1


def test_nobody_with_truth_is_undefined_and_not_an_accident() -> None:
    question = question_of(truth_of({}), ["A", "B"])
    verdict = judge({"ranker": lists_of({"A": ["i1"]}), "text": lists_of({})}, question, "ranker", 20, 7)
    assert verdict.n_without_truth == 2
    assert verdict.per_user.height == 0
    assert verdict.slices == []
    assert verdict.as_dict()["systems"]["ranker"]["ndcg@10"] == {"value": None, "low": None, "high": None, "n": 0}
    assert (verdict.paired[0].better, verdict.paired[0].tied, verdict.paired[0].worse) == (0, 0, 0)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([("A", "i1", 1), ("A", "i2", 1)], "2 rows repeat a rank within a user"),
        ([("A", "i1", 1), ("A", "i1", 2)], "2 rows repeat a item_id within a user"),
        ([("A", "i1", 11)], "1 rows have a rank outside 1 to 10 .*'rank': 11"),
        ([("A", "i1", 0)], "1 rows have a rank outside 1 to 10"),
        ([("A", "nowhere", 1)], "1 rows name an item outside the catalogue .*nowhere"),
        ([("A", None, 1)], "'item_id' has 1 nulls"),
    ],
)
def test_lists_that_cannot_be_judged_are_refused_by_name(rows: list[tuple[str, str | None, int]], fault: str) -> None:
    frame = pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32}, orient="row")
    with pytest.raises(TableError, match=f"lists of ranker: .*{fault}"):
        fixture({"ranker": frame})


@pytest.mark.parametrize(
    ("truth", "fault"),
    [
        (truth_of({"A": ["i1", "i1"]}), "repeat a user and item"),
        (truth_of({"A": ["i1"]}, label=0), "label below 1"),
        (truth_of({"A": ["i1"]}, label=2), "label above 1, the last with a gain"),
        (truth_of({"Z": ["i1"]}), "users without a query"),
        (truth_of({"A": ["nowhere"]}), "outside the catalogue"),
        (truth_of({"A": ["i1"]}).with_columns(pl.col("label").cast(pl.Int64)), "'label' is Int64"),
    ],
)
def test_a_truth_that_cannot_be_judged_is_refused_by_name(truth: pl.DataFrame, fault: str) -> None:
    with pytest.raises(TableError, match=fault):
        judge({"ranker": lists_of({})}, question_of(truth, ["A"]), "ranker", 20, 7)


def test_a_gap_in_the_question_is_refused_by_name() -> None:
    question = question_of(truth_of(TRUTH), list("ABCDEF"))
    ranked = {"ranker": lists_of(LISTS)}
    with pytest.raises(TableError, match=r"5 users have no user_activity .*'A'"):
        judge(ranked, replace(question, user_slices=question.user_slices.head(0)), "ranker", 20, 7)
    with pytest.raises(TableError, match="user_slices: 12 rows repeat a user"):
        judge(ranked, replace(question, user_slices=pl.concat([question.user_slices] * 2)), "ranker", 20, 7)
    with pytest.raises(TableError, match="items have no item_age"):
        judge(ranked, replace(question, catalogue=question.catalogue.with_columns(item_age=pl.lit(None, pl.String))), "ranker", 20, 7)
    with pytest.raises(TableError, match="catalogue: 2 rows repeat an item"):
        judge(ranked, replace(question, catalogue=pl.concat([question.catalogue, question.catalogue.head(1)])), "ranker", 20, 7)
    with pytest.raises(TableError, match="users: 2 rows repeat a user"):
        judge(ranked, replace(question, users=pl.Series([*"ABCDEF", "A"])), "ranker", 20, 7)
    with pytest.raises(TableError, match="no system 'ranker', only text"):
        judge({"text": lists_of({})}, question, "ranker", 20, 7)


def test_published_recommendations_can_be_judged_as_they_are() -> None:
    verdict = judge({"ranker": RECOMMENDATIONS.empty()}, question_of(truth_of(TRUTH), list("ABCDEF")), "ranker", 20, 7)
    assert verdict.systems["ranker"]["ndcg@10"].value == 0.0


CANDIDATES = pl.DataFrame(
    [("A", "i1", 1.0, None), ("A", "i2", 2.0, 1.0), ("A", "x1", None, 2.0), ("B", "i1", None, 1.0), ("F", "i1", 1.0, 1.0)],
    schema={"user_id": pl.String, "item_id": pl.String, "popular_rank": pl.Float32, "text_rank": pl.Float32},
    orient="row",
)


def test_candidate_recall_keeps_what_retrieval_missed_in_the_denominator() -> None:
    found = candidate_recall(CANDIDATES, truth_of(TRUTH), ("popular", "text"), 1)
    assert found["n"] == 5
    assert found["total"] == pytest.approx((2 / 5 + 1 + 0 + 0 + 0) / 5)
    assert found["sources"]["popular"] == pytest.approx({"value": 2 / 5 / 5, "alone": 2 / 10, "only": 1 / 10})
    assert found["sources"]["text"] == pytest.approx({"value": (1 / 5 + 1) / 5, "alone": 2 / 10, "only": 1 / 10})


def test_candidate_recall_of_nothing_is_undefined() -> None:
    found = candidate_recall(CANDIDATES, truth_of(TRUTH), ("popular", "text"), 2)
    assert found["n"] == 0
    assert found["total"] is None
    assert found["sources"]["text"] == {"value": None, "alone": None, "only": None}


def test_candidates_that_repeat_a_pair_are_refused() -> None:
    with pytest.raises(TableError, match="1 relevant pairs stand there twice"):
        candidate_recall(pl.concat([CANDIDATES, CANDIDATES.head(1)]), truth_of(TRUTH), ("popular", "text"), 1)
