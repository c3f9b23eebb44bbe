"""P-values, corrections and sample sizes against the exact test, worked examples, and simulations."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluate import Paired, decision, effect_seen, holm, permutation_p, users_needed


def exact_p(differences: list[float]) -> float:
    """All choices of signs, one by one."""
    seen = abs(sum(differences))
    sums = [abs(sum(sign * d for sign, d in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=len(differences))]
    return sum(total >= seen - 1e-12 for total in sums) / len(sums)


@given(st.lists(st.sampled_from([-0.5, -0.25, 0.0, 0.125, 0.5, 1.0]), max_size=8))
def test_a_p_value_is_that_of_all_signs(differences: list[float]) -> None:
    estimated = permutation_p(np.array(differences), 20_000, 7)
    assert estimated == pytest.approx(exact_p(differences), abs=0.02)


def test_a_p_value_is_never_zero_and_its_least_is_one_of_those_asked() -> None:
    assert permutation_p(np.ones(50), 999, 7) == 1 / 1000


def test_without_a_difference_nothing_is_shown() -> None:
    assert permutation_p(np.zeros(50), 99, 7) == 1
    assert permutation_p(np.array([]), 99, 7) == 1


def test_systems_that_are_alike_are_told_apart_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(7)
    found = [permutation_p(rng.normal(size=30) ** 3, 199, seed) <= 0.05 for seed in range(600)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.025)


def test_many_users_go_through_in_parts_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.random.default_rng(7).normal(0.02, 1, 500)
    whole = permutation_p(differences, 400, 7)
    monkeypatch.setattr("recsys.evaluate.significance.CELLS", 5_000)
    assert permutation_p(differences, 400, 7) == pytest.approx(whole, abs=0.05)


def test_holm_on_paper() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.6, 0.9]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_a_corrected_p_value_is_never_smaller_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(after >= before for after, before in zip(adjusted, p_values, strict=True))
    assert max(adjusted) <= 1
    for one, other in product(range(len(p_values)), repeat=2):
        assert p_values[one] > p_values[other] or adjusted[one] <= adjusted[other]


@pytest.mark.parametrize(
    ("low", "high", "margin", "word"),
    [
        (0.001, 0.01, 0.0, "better"),
        (-0.01, -0.001, 0.0, "worse"),
        (-0.01, 0.01, 0.0, "undecided"),
        (0.0, 0.0, 0.0, "tied"),
        (-0.004, 0.005, 0.005, "tied"),
        (-0.006, 0.004, 0.005, "undecided"),
        (0.001, 0.002, 0.005, "better"),
        (float("nan"), float("nan"), 0.005, "undecided"),
    ],
)
def test_the_word_for_an_interval(low: float, high: float, margin: float, word: str) -> None:
    assert decision(Paired("a", "b", "ndcg@10", (low + high) / 2, low, high, 1, 1, 1), margin) == word


def test_the_users_needed_are_those_of_the_book() -> None:
    differences = np.array([-0.25, 0.25] * 500)
    assert users_needed(differences, 0.01) == pytest.approx(4906, rel=0.002)
    assert effect_seen(differences) == pytest.approx(2.8016 * 0.25 / 1000**0.5, rel=0.002)


def test_as_many_users_as_said_show_the_difference_as_often_as_said() -> None:
    rng = np.random.default_rng(7)
    n = users_needed(rng.normal(0, 0.2, 5_000), 0.05)
    shown = [abs(d.mean()) / (d.std(ddof=1) / n**0.5) > 1.96 for d in rng.normal(0.05, 0.2, (2_000, n))]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.04)


def test_no_effect_and_no_users_are_refused() -> None:
    with pytest.raises(ValueError, match="needs an effect above 0"):
        users_needed(np.array([0.1, 0.2]), 0)
    with pytest.raises(ValueError, match="two users"):
        users_needed(np.array([0.1]), 0.1)
    assert np.isnan(effect_seen(np.array([0.1])))
