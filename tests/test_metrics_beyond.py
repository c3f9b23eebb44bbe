"""Metrics beyond accuracy, list health, worth and grouped AUC: each against its worked example and against a loop written another way."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import nDCG
from sklearn.metrics import ndcg_score, roc_auc_score
from test_metrics import ideal_of, queries, trec

from recsys import metrics
from recsys.errors import TableError

N_ITEMS = 8


@st.composite
def lists(draw: st.DrawFn, repeats: bool = False) -> np.ndarray:
    """item_index (n, k): a few lists, some short, some empty; with an item twice only where `repeats`."""
    k = draw(st.integers(1, 6))
    one = st.lists(st.integers(0, N_ITEMS - 1), max_size=k, unique=not repeats)
    rows = draw(st.lists(one, max_size=6))
    return np.array([row + [-1] * (k - len(row)) for row in rows], dtype=np.int32).reshape(-1, k)


def items_of(row: np.ndarray) -> list[int]:
    return [int(item) for item in row if item >= 0]


@settings(max_examples=150, deadline=None)
@given(index=lists())
def test_gini_is_the_mean_difference_of_all_pairs_of_items(index: np.ndarray) -> None:
    times = Counter(itertools.chain.from_iterable(items_of(row) for row in index))
    counts = [times[item] for item in range(N_ITEMS)]
    total = sum(abs(one - other) for one in counts for other in counts)
    expected = total / (2 * N_ITEMS * sum(counts)) if sum(counts) else math.nan
    assert metrics.gini(index, N_ITEMS) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_gini_is_0_where_all_are_listed_alike_and_near_1_where_one_takes_all() -> None:
    assert metrics.gini(np.array([[0, 1], [1, 2]]), 4) == 0.375
    assert metrics.gini(np.array([[0, 1], [2, 3]]), 4) == 0.0
    assert metrics.gini(np.array([[3], [3], [3]]), 4) == 0.75
    assert math.isnan(metrics.gini(np.full((2, 2), -1), 4))
    assert math.isnan(metrics.gini(np.zeros((0, 2), dtype=int), 0))


@settings(max_examples=150, deadline=None)
@given(index=lists(), vectors=st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=N_ITEMS, max_size=N_ITEMS))
def test_diversity_is_the_mean_distance_of_every_pair_with_a_text(index: np.ndarray, vectors: list[tuple[int, int, int]]) -> None:
    found = metrics.intra_list_diversity(index, np.array(vectors, dtype=np.float32))
    for row, value in zip(index, found, strict=True):
        told = [vectors[item] for item in items_of(row) if any(vectors[item])]
        far = [
            1 - sum(p * q for p, q in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
            for a, b in itertools.combinations(told, 2)
        ]
        assert value == pytest.approx(sum(far) / len(far) if far else math.nan, abs=1e-6, nan_ok=True)


def test_diversity_in_blocks_is_that_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    index, vectors = rng.integers(-1, 50, (40, 5)), rng.normal(size=(50, 4))
    whole = metrics.intra_list_diversity(index, vectors)
    monkeypatch.setattr("recsys.metrics.beyond.CELLS", 12)
    assert metrics.intra_list_diversity(index, vectors).tolist() == pytest.approx(whole.tolist(), nan_ok=True)


def test_an_item_without_a_text_is_in_no_pair_and_one_text_twice_is_0() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.0]])
    found = metrics.intra_list_diversity(np.array([[0, 1, 2], [0, 2, 3], [0, 3, -1], [-1, -1, -1]]), vectors)
    assert found == pytest.approx([2 / 3, 0.0, np.nan, np.nan], nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(index=lists(), had_by=st.lists(st.integers(0, 4), min_size=N_ITEMS, max_size=N_ITEMS), wanted=st.sets(st.integers(0, N_ITEMS - 1)))
def test_serendipity_popularity_and_repeats_agree_with_a_loop(index: np.ndarray, had_by: list[int], wanted: set[int]) -> None:
    k = index.shape[1]
    is_wanted = np.array([[item in wanted for item in row] for row in index], dtype=bool).reshape(index.shape)
    expected = sorted(range(N_ITEMS), key=lambda item: (-had_by[item], item))[:k]
    surprise = [sum(item in wanted and item not in expected for item in items_of(row)) / k for row in index]
    is_expected = np.array([item in expected for item in range(N_ITEMS)])
    assert metrics.serendipity(is_wanted, index, is_expected).tolist() == pytest.approx(surprise)
    filled = [items_of(row) for row in index]
    popular = [sum(had_by[item] for item in row) / len(row) if row else math.nan for row in filled]
    assert metrics.popularity(index, np.array(had_by)).tolist() == pytest.approx(popular, nan_ok=True)
    repeats = [sum(item in wanted for item in row) / len(row) if row else math.nan for row in filled]
    assert metrics.repeat_rate(is_wanted, index).tolist() == pytest.approx(repeats, nan_ok=True)


def test_the_docstrings_examples_beyond_accuracy_hold() -> None:
    assert metrics.serendipity(np.array([[True, True]]), np.array([[0, 2]]), np.array([True, True, False]))[0] == 0.5
    assert metrics.popularity(np.array([[0, 1]]), np.array([8, 2]))[0] == 5.0
    assert metrics.repeat_rate(np.array([[True, False, False]]), np.array([[0, 1, 2]]))[0] == pytest.approx(1 / 3)


@settings(max_examples=150, deadline=None)
@given(index=lists(repeats=True), gone=st.sets(st.integers(0, N_ITEMS - 1)))
def test_list_health_agrees_with_a_loop(index: np.ndarray, gone: set[int]) -> None:
    rows, k = [items_of(row) for row in index], index.shape[1]
    assert metrics.is_missing(index).tolist() == [not row for row in rows]
    assert metrics.is_short(index).tolist() == [0 < len(row) < k for row in rows]
    assert metrics.duplicates(index).tolist() == [len(row) - len(set(row)) for row in rows]
    is_available = np.array([item not in gone for item in range(N_ITEMS)])
    assert metrics.unavailable(index, is_available).tolist() == [sum(item in gone for item in row) for row in rows]


PRICES = st.integers(0, 5)


@settings(max_examples=150, deadline=None)
@given(query=queries(top_label=5).filter(lambda query: query[1].size > 0))
def test_revenue_ndcg_is_scikit_learns_ndcg_with_the_price_as_relevance(query: tuple[np.ndarray, np.ndarray, int]) -> None:
    worth, truth, k = query
    missed = truth.tolist()
    for price in worth[0][worth[0] > 0]:
        missed.remove(price)
    relevance = np.array([[*worth[0], *missed, 0]])
    found = metrics.revenue_ndcg(worth > 0, worth.astype(float), ideal_of(truth, k).astype(float))
    assert found[0] == pytest.approx(ndcg_score(relevance, -np.arange(relevance.size)[None, :], k=k, ignore_ties=True), abs=1e-12)
    assert metrics.revenue_recall(worth > 0, worth.astype(float), truth.sum(keepdims=True))[0] == pytest.approx(worth.sum() / truth.sum())
    assert metrics.revenue(worth > 0, worth.astype(float))[0] == worth.sum()


@settings(max_examples=60, deadline=None)
@given(query=queries().filter(lambda query: query[1].size > 0))
def test_where_everything_costs_the_same_revenue_metrics_are_the_plain_ones(query: tuple[np.ndarray, np.ndarray, int]) -> None:
    labels, truth, k = query
    hits, worth = labels > 0, np.full(labels.shape, 7.5)
    assert metrics.revenue_ndcg(hits, worth, 7.5 * ideal_of(truth, k))[0] == pytest.approx(trec(labels, truth.size, nDCG @ k), abs=1e-12)
    total, n = np.array([7.5 * truth.size]), np.array([truth.size])
    assert metrics.revenue_recall(hits, worth, total) == pytest.approx(metrics.recall(hits, n))


def test_the_docstrings_examples_of_worth_hold_and_what_is_not_wanted_earns_nothing() -> None:
    worth, wanted = np.array([[4.0, 10.0]]), np.array([[True, True]])
    assert metrics.revenue_ndcg(wanted, worth, np.array([[10.0, 4.0]]))[0] == pytest.approx(0.8232, abs=5e-5)
    assert metrics.revenue_recall(np.array([[True, False]]), worth, np.array([14.0]))[0] == pytest.approx(0.2857, abs=5e-5)
    assert metrics.revenue(wanted, worth)[0] == 14.0
    assert metrics.revenue(~wanted, worth)[0] == 0.0
    assert np.isnan(metrics.revenue_ndcg(wanted, 0 * worth, np.zeros((1, 2))))[0]
    assert np.isnan(metrics.revenue_recall(wanted, 0 * worth, np.zeros(1)))[0]


SHOWN = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(rows=SHOWN)
def test_grouped_auc_is_scikit_learns_auc_of_each_group_weighted_by_its_rows(rows: list[tuple[int, bool, int]]) -> None:
    group, told, score = (np.array([row[column] for row in rows], dtype=kind) for column, kind in ((0, int), (1, bool), (2, float)))
    parts, left_out = [], 0
    for one in set(group.tolist()):
        inside = group == one
        if len(set(told[inside].tolist())) == 1:
            left_out += 1
        else:
            parts.append((inside.sum(), roc_auc_score(told[inside], score[inside])))
    found = metrics.grouped_auc(told, score, group)
    expected = sum(n * auc for n, auc in parts) / sum(n for n, _ in parts) if parts else math.nan
    assert found["value"] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert (found["n"], found["n_left_out"]) == (len(parts), left_out)


def test_the_docstrings_examples_of_grouped_auc_hold() -> None:
    told = np.array([1, 1, 0, 0, 1, 0, 0], dtype=bool)
    score, group = np.array([0.9, 0.2, 0.8, 0.1, 0.3, 0.4, 0.5]), np.array([0, 0, 0, 0, 1, 1, 2])
    assert metrics.auc_by_group(told, score, group, 4) == pytest.approx([0.75, 0.0, np.nan, np.nan], nan_ok=True)
    assert metrics.grouped_auc(told, score, group) == {"value": 0.5, "n": 2, "n_left_out": 1}


def test_infinite_scores_have_an_order_and_scores_that_are_no_number_are_refused() -> None:
    told = np.array([True, False, True, False])
    assert metrics.roc_auc(told, np.array([np.inf, -np.inf, 0.0, 0.0])) == 3.5 / 4
    broken = np.array([0.5, np.nan, 0.1, np.nan])
    for use in (
        lambda: metrics.roc_auc(told, broken),
        lambda: metrics.best_threshold(told, broken),
        lambda: metrics.grouped_auc(told, broken, np.zeros(4, dtype=int)),
        lambda: metrics.classification(told, broken, 0.5),
    ):
        with pytest.raises(TableError, match="2 of 4 are no number"):
            use()


def test_no_user_gives_no_row_beyond_accuracy_either() -> None:
    nobody, none = np.full((0, 3), -1), np.zeros((0, 3), dtype=bool)
    found = [
        metrics.novelty(nobody, np.ones(4), 8),
        metrics.popularity(nobody, np.ones(4)),
        metrics.serendipity(none, nobody, np.ones(4, dtype=bool)),
        metrics.intra_list_diversity(nobody, np.eye(4)),
        metrics.repeat_rate(none, nobody),
        metrics.revenue_ndcg(none, np.zeros((0, 3)), np.zeros((0, 3))),
        metrics.duplicates(nobody),
    ]
    assert [part.shape for part in found] == [(0,)] * len(found)
