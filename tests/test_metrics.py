"""Every metric against its worked example, against another library, and against a loop a person can read."""

import ir_measures
import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG
from sklearn.metrics import f1_score, ndcg_score, precision_recall_fscore_support, roc_auc_score

from recsys import metrics

MAX_PLACES = 12


@st.composite
def queries(draw: st.DrawFn, top_label: int = 1) -> tuple[np.ndarray, np.ndarray, int]:
    """labels of a list (1, k), the user's labels (in the list and never retrieved) falling, k."""
    k = draw(st.integers(1, MAX_PLACES))
    labels = draw(st.lists(st.integers(0, top_label), min_size=k, max_size=k))
    missed = draw(st.lists(st.integers(1, top_label), max_size=MAX_PLACES))
    truth = sorted([label for label in labels if label] + missed, reverse=True)
    return np.array([labels]), np.array(truth, dtype=np.int64), k


def ideal_of(truth: np.ndarray, k: int) -> np.ndarray:
    return np.pad(truth[:k], (0, max(0, k - len(truth))))[None, :]


def trec(labels: np.ndarray, n_relevant: int, measure: ir_measures.Measure) -> float:
    run = [ir_measures.ScoredDoc("q", f"d{place:02d}", float(-place)) for place in range(labels.size)]
    held = [ir_measures.Qrel("q", f"d{place:02d}", int(label)) for place, label in enumerate(labels[0]) if label]
    missed = [ir_measures.Qrel("q", f"m{place:02d}", 1) for place in range(n_relevant - len(held))]
    return next(ir_measures.iter_calc([measure], held + missed, run)).value


FIXTURE = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
FIXTURE_RELEVANT = np.array([5, 1, 1, 2, 1])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (metrics.ndcg(FIXTURE, FIXTURE_RELEVANT), [0.7039, 0.6309, 0, 0.6131, 0]),
        (metrics.average_precision(FIXTURE, FIXTURE_RELEVANT), [0.5556, 0.5, 0, 0.5, 0]),
        (metrics.ap_trec(FIXTURE, FIXTURE_RELEVANT), [0.3333, 0.5, 0, 0.5, 0]),
        (metrics.recall(FIXTURE, FIXTURE_RELEVANT), [0.4, 1, 0, 0.5, 0]),
        (metrics.precision(FIXTURE), [0.6667, 0.3333, 0, 0.3333, 0]),
        (metrics.hit_rate(FIXTURE), [1, 1, 0, 1, 0]),
        (metrics.reciprocal_rank(FIXTURE), [1, 0.5, 0, 1, 0]),
    ],
    ids=["ndcg", "map", "ap_trec", "recall", "precision", "hit_rate", "mrr"],
)
def test_the_worked_fixture_comes_out_as_on_paper(found: np.ndarray, expected: list[float]) -> None:
    assert found == pytest.approx(expected, abs=5e-5)


def test_the_means_of_the_worked_fixture_come_out_as_on_paper() -> None:
    assert metrics.ndcg(FIXTURE, FIXTURE_RELEVANT).mean() == pytest.approx(0.3896, abs=5e-5)
    assert metrics.average_precision(FIXTURE, FIXTURE_RELEVANT).mean() == pytest.approx(0.3111, abs=5e-5)


def test_the_docstrings_examples_of_the_graded_metrics_hold() -> None:
    labels, ideal = np.array([[1, 3]]), np.array([[3, 1]])
    assert metrics.ndcg_graded(labels, ideal, (0, 1, 2, 3))[0] == pytest.approx(0.7967, abs=5e-5)
    assert metrics.ndcg_exp(labels, ideal)[0] == pytest.approx(0.7098, abs=5e-5)


@settings(max_examples=150, deadline=None)
@given(query=queries().filter(lambda query: query[1].size > 0))
def test_binary_metrics_agree_with_trec_eval(query: tuple[np.ndarray, np.ndarray, int]) -> None:
    labels, truth, k = query
    hits, n_relevant = labels > 0, np.array([truth.size])
    for found, measure in [
        (metrics.ndcg(hits, n_relevant), nDCG @ k),
        (metrics.ap_trec(hits, n_relevant), AP @ k),
        (metrics.recall(hits, n_relevant), R @ k),
        (metrics.precision(hits), P @ k),
        (metrics.hit_rate(hits), Success @ k),
        (metrics.reciprocal_rank(hits), RR @ k),
    ]:
        assert found[0] == pytest.approx(trec(labels, truth.size, measure), abs=1e-12), measure


@settings(max_examples=150, deadline=None)
@given(query=queries().filter(lambda query: query[1].size > 0))
def test_map_agrees_with_a_nested_loop(query: tuple[np.ndarray, np.ndarray, int]) -> None:
    labels, truth, k = query
    total = 0.0
    for rank in range(1, k + 1):
        if labels[0][rank - 1]:
            total += sum(1 for label in labels[0][:rank] if label) / rank
    found = metrics.average_precision(labels > 0, np.array([truth.size]))
    assert found[0] == pytest.approx(total / min(k, truth.size), abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(query=queries(top_label=3).filter(lambda query: query[1].size > 0))
def test_graded_ndcg_agrees_with_scikit_learn(query: tuple[np.ndarray, np.ndarray, int]) -> None:
    labels, truth, k = query
    held = labels[0][labels[0] > 0].tolist()
    missed = truth.tolist()
    for label in held:
        missed.remove(label)
    # One more irrelevant item: scikit-learn refuses to score a single document.
    relevance = np.array([[*labels[0], *missed, 0]])
    order = -np.arange(relevance.size, dtype=float)[None, :]
    linear = metrics.ndcg_graded(labels, ideal_of(truth, k), (0, 1, 2, 3))
    assert linear[0] == pytest.approx(ndcg_score(relevance, order, k=k, ignore_ties=True), abs=1e-12)
    exponential = metrics.ndcg_exp(labels, ideal_of(truth, k))
    assert exponential[0] == pytest.approx(ndcg_score(2.0**relevance - 1, order, k=k, ignore_ties=True), abs=1e-12)


@pytest.mark.parametrize("places", [1, 5, 10])
def test_exponential_ndcg_is_that_of_lightgbm_on_queries_with_something_relevant(places: int) -> None:
    rng = np.random.default_rng(places)
    label = rng.integers(0, 4, (40, 12))
    label[:, 0] = np.maximum(label[:, 0], 1)  # LightGBM calls a query without anything relevant perfect
    score = rng.permuted(np.arange(12.0) * np.ones((40, 1)), axis=1)
    ordered = np.take_along_axis(label, np.argsort(-score, axis=1), axis=1)[:, :places]
    ours = metrics.ndcg_exp(ordered, -np.sort(-label, axis=1)[:, :places]).mean()
    # A model that learns hardly anything leaves the scores that it begins with as they are.
    data = lgb.Dataset(rng.random((480, 1)), label.ravel(), group=[12] * 40, init_score=score.ravel())
    told: dict[str, dict[str, list[float]]] = {}
    given = {"objective": "lambdarank", "metric": "ndcg", "eval_at": [places], "learning_rate": 1e-9, "verbosity": -1}
    lgb.train(given, data, 1, valid_sets=[data], callbacks=[lgb.record_evaluation(told)])
    assert told["training"][f"ndcg@{places}"][0] == pytest.approx(ours, abs=1e-9)


@given(query=queries().filter(lambda query: query[1].size > 0))
def test_binary_ndcg_is_graded_ndcg_with_one_gain(query: tuple[np.ndarray, np.ndarray, int]) -> None:
    labels, truth, k = query
    binary = metrics.ndcg(labels > 0, np.array([truth.size]))
    assert binary == pytest.approx(metrics.ndcg_graded(labels, ideal_of(truth, k), (0, 1)))
    assert binary == pytest.approx(metrics.ndcg_exp(labels, ideal_of(truth, k)))


@given(k=st.integers(1, 50), n_relevant=st.integers(1, 80))
def test_a_perfect_list_is_one_to_the_last_bit(k: int, n_relevant: int) -> None:
    hits, n = (np.arange(k) < n_relevant)[None, :], np.array([n_relevant])
    assert metrics.ndcg(hits, n)[0] == 1.0
    assert metrics.average_precision(hits, n)[0] == pytest.approx(1.0, abs=1e-15)
    assert metrics.ndcg_graded(hits.astype(int), hits.astype(int), (0, 5))[0] == 1.0


def test_a_label_of_zero_is_worth_nothing_whatever_its_gain() -> None:
    ideal = np.array([[1, 0]])
    assert metrics.ndcg_graded(np.array([[0, 0]]), ideal, (9, 1))[0] == 0.0


def test_a_user_without_anything_relevant_is_nan_and_not_a_silent_number() -> None:
    nothing, none = np.zeros((1, 3), dtype=bool), np.array([0])
    for found in (metrics.ndcg(nothing, none), metrics.recall(nothing, none), metrics.average_precision(nothing, none)):
        assert np.isnan(found).all()
    labels = nothing.astype(int)
    assert np.isnan(metrics.ap_trec(nothing, none)).all()
    assert np.isnan(metrics.ndcg_graded(labels, labels, (0, 1))).all()
    assert np.isnan(metrics.ndcg_exp(labels, labels)).all()


def test_coverage_counts_distinct_items_over_the_whole_catalogue() -> None:
    assert metrics.coverage(np.array([[0, 1], [1, 2], [-1, -1]]), 4) == 0.75
    assert metrics.coverage(np.full((2, 2), -1), 4) == 0.0
    assert np.isnan(metrics.coverage(np.full((0, 2), -1), 0))


def test_novelty_is_bits_of_rarity_and_a_cold_item_counts_as_one_user() -> None:
    had_by = np.array([8, 2, 0])
    found = metrics.novelty(np.array([[0, 1], [2, -1], [-1, -1], [0, -1]]), had_by, 8)
    assert found == pytest.approx([1.0, 3.0, np.nan, 0.0], nan_ok=True)


@pytest.mark.parametrize("metric", ["ndcg", "recall", "average_precision", "ap_trec"])
def test_no_user_gives_no_row(metric: str) -> None:
    found = getattr(metrics, metric)(np.zeros((0, 3), dtype=bool), np.zeros(0, dtype=int))
    assert found.shape == (0,)
    assert found.dtype == np.float64


TOLD = np.array([True, True, False, False, False])
SCORED = np.array([0.9, 0.2, 0.8, 0.1, 0.3])


def test_the_docstrings_examples_of_yes_or_no_hold() -> None:
    found = metrics.classification(TOLD, SCORED, 0.5)
    assert [found[f"positive_{name}"] for name in ("precision", "recall", "f1", "support")] == [0.5, 0.5, 0.5, 2]
    assert [found[f"negative_{name}"] for name in ("precision", "recall", "f1", "support")] == pytest.approx([2 / 3, 2 / 3, 2 / 3, 3])
    assert (found["accuracy"], found["roc_auc"]) == pytest.approx((3 / 5, 4 / 6))
    assert metrics.best_threshold(TOLD, SCORED) == 0.9


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=30), line=st.integers(-1, 7))
def test_yes_or_no_agrees_with_scikit_learn_ties_and_empty_classes_included(rows: list[tuple[bool, int]], line: int) -> None:
    told, score = np.array([row[0] for row in rows]), np.array([row[1] / 6 for row in rows])
    found = metrics.classification(told, score, line / 6)
    expected = precision_recall_fscore_support(told, score >= line / 6, labels=[True, False], zero_division=np.nan)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [found[f"{side}_{name}"] for side in ("positive", "negative")] == pytest.approx(list(values), nan_ok=True)
    assert found["accuracy"] == (told == (score >= line / 6)).mean()
    if 0 < told.sum() < len(told):
        assert found["roc_auc"] == pytest.approx(roc_auc_score(told, score), abs=1e-12)
        best = max(f1_score(told, score >= level) for level in set(score))
        assert f1_score(told, score >= metrics.best_threshold(told, score)) == pytest.approx(best)
    else:
        assert np.isnan(found["roc_auc"])


def test_yes_or_no_of_nobody_is_nan_and_not_a_silent_number() -> None:
    found = metrics.classification(np.zeros(0, bool), np.zeros(0), 0.5)
    assert {name for name, value in found.items() if value == 0} == {"positive_support", "negative_support"}
    assert sum(np.isnan(value) for value in found.values()) == 8
    assert metrics.best_threshold(np.zeros(3, bool), np.ones(3)) == np.inf
