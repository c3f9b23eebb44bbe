"""Chances against what happened: known answers, scikit-learn as oracle, and what an interval over users knows."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from recsys import evaluate
from recsys.evaluate.reliability import bins

RNG = np.random.default_rng(11)
CHANCE = RNG.random(2000)
HAPPENED = RNG.random(2000) < CHANCE**2
USER = RNG.integers(0, 100, 2000)


def test_the_worked_example() -> None:
    happened, chance = np.array([False, True, False, False]), np.array([0.1, 0.9, 0.8, 0.2])
    found = bins(happened, chance, 2)
    assert [(one.n, one.predicted, one.happened) for one in found] == [(2, pytest.approx(0.15), 0.0), (2, pytest.approx(0.85), 0.5)]
    assert evaluate.ece(found) == pytest.approx(0.25)
    assert evaluate.brier(np.array([True]), np.array([0.8])) == pytest.approx(0.04)
    assert evaluate.log_loss(np.array([True]), np.array([0.8])) == pytest.approx(0.2231, abs=1e-4)


def test_losses_and_curve_are_those_of_scikit_learn() -> None:
    assert evaluate.brier(HAPPENED, CHANCE) == pytest.approx(brier_score_loss(HAPPENED, CHANCE))
    assert evaluate.log_loss(HAPPENED, CHANCE) == pytest.approx(sklearn_log_loss(HAPPENED, CHANCE))
    happened, predicted = calibration_curve(HAPPENED, CHANCE, n_bins=10, strategy="quantile")
    found = bins(HAPPENED, CHANCE, 10)
    assert [one.predicted for one in found] == pytest.approx(predicted, abs=2e-3)  # its edges are between rows
    assert [one.happened for one in found] == pytest.approx(happened, abs=2e-2)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.1, 0.5, 1.0])), max_size=40), st.integers(1, 12))
@settings(deadline=None)
def test_bins_lose_no_row_and_part_no_equal_chances(rows: list[tuple[bool, float]], n_bins: int) -> None:
    happened, chance = np.array([y for y, _ in rows], bool), np.array([p for _, p in rows], float)
    found = bins(happened, chance, n_bins)
    assert sum(one.n for one in found) == len(rows)
    assert sum(one.n * one.happened for one in found) == pytest.approx(happened.sum())
    assert sum(one.n * one.predicted for one in found) == pytest.approx(chance.sum())
    assert len(found) <= min(n_bins, len(set(chance.tolist())))
    assert math.isnan(evaluate.ece(found)) if not rows else 0 <= evaluate.ece(found) <= 1


def test_the_base_rate_has_neither_error_nor_skill_and_the_truth_has_all_of_it() -> None:
    constant = evaluate.reliability(HAPPENED, np.full(2000, HAPPENED.mean()), USER, 20, 7)
    assert (constant.ece, constant.gap) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))
    assert (constant.brier_skill, constant.log_loss_skill) == (pytest.approx(0), pytest.approx(0))
    told = evaluate.reliability(HAPPENED, HAPPENED.astype(float), USER, 20, 7)
    assert (told.ece, told.brier_skill, told.log_loss_skill) == (0, 1, pytest.approx(1, abs=1e-6))
    assert evaluate.reliability(HAPPENED, CHANCE**2, USER, 20, 7).ece < evaluate.reliability(HAPPENED, CHANCE, USER, 20, 7).ece


def test_the_interval_of_the_gap_draws_users_and_not_rows() -> None:
    # Of each of 50 users all of 40 rows happened, or none: 2,000 rows say no more than 50 users do.
    user = np.repeat(np.arange(50), 40)
    happened = (user % 2).astype(bool)
    found = evaluate.reliability(happened, np.full(2000, 0.5), user, 2000, 7)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(50), rel=0.1)
    assert found.low < 0 < found.high


def test_nothing_and_one_class_alone_are_undefined_and_fit_for_json() -> None:
    nothing = evaluate.reliability(np.zeros(0, bool), np.zeros(0), np.zeros(0, int), 20, 7).as_dict()
    assert nothing["ece"] is None
    assert nothing["low"] is None
    assert (nothing["n"], nothing["curve"]) == (0, [])
    none = evaluate.reliability(np.zeros(3, bool), np.full(3, 0.1), np.arange(3), 20, 7).as_dict()
    assert (none["ece"], none["gap"]) == (pytest.approx(0.1), pytest.approx(0.1))
    assert none["brier_skill"] is None
    json.dumps([nothing, none], allow_nan=False)


def test_a_chance_of_none_for_what_happened_is_bad_and_not_infinite() -> None:
    assert evaluate.log_loss(np.array([True, False]), np.array([0.0, 1.0])) == pytest.approx(-math.log(1e-9), rel=1e-3)


def test_slices_take_their_own_rows_and_values_without_a_row_are_left_out() -> None:
    place = np.where(CHANCE < 0.5, 0, 2)
    found = evaluate.sliced(HAPPENED, CHANCE, USER, {"half": (["low", "middle", "high"], place)}, 20, 7)
    assert [(one.slice, one.value) for one in found] == [("half", "low"), ("half", "high")]
    low = CHANCE < 0.5
    assert found[0].found == evaluate.reliability(HAPPENED[low], CHANCE[low], USER[low], 20, 7)
    assert sum(one.found.n for one in found) == 2000
