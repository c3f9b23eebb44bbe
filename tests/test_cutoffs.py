"""Users who ask at several cutoffs: drawn whole, signed whole, and every figure by an oracle written another way."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import TableError
from recsys.evaluate import across, compare, permutation_p, spread
from recsys.evaluate.intervals import bootstrap_means, summed
from recsys.evaluate.verdict import PAIRED

METRIC = "ndcg@10"


def asked_often(rng: np.random.Generator, n_users: int, apart: float, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Values (n_rows,) around 0 and whose each is: users have one to eight rows, which differ less than users do."""
    n_rows = rng.integers(1, 9, n_users)
    user = np.repeat(np.arange(n_users), n_rows)
    return rng.normal(0, apart, n_users)[user] + rng.normal(0, within, len(user)), user


def test_where_every_user_has_one_row_nothing_changes() -> None:
    rng = np.random.default_rng(3)
    per_user = {name: {"m": rng.random(60)} for name in ("ranker", "text")}
    assert compare(per_user, "ranker", ("m",), 100, 7, np.arange(60)) == compare(per_user, "ranker", ("m",), 100, 7)


def test_clustered_intervals_cover_the_truth_where_those_of_rows_do_not() -> None:
    rng, covered = np.random.default_rng(11), {"users": 0, "rows": 0}
    for seed in range(200):
        values, user = asked_often(rng, 80, apart=1.0, within=0.3)
        for name, given_user in (("users", user), ("rows", None)):
            low, high = np.percentile(bootstrap_means({"": values}, 300, seed, given_user)[""], (2.5, 97.5))
            covered[name] += low <= 0 <= high
    assert covered["users"] >= 180
    assert covered["rows"] <= 150


def test_a_paired_difference_is_as_unsure_as_users_are() -> None:
    differences, user = asked_often(np.random.default_rng(5), 80, apart=1.0, within=0.3)
    base = np.random.default_rng(6).random(len(user))
    per_row = {"ranker": {"m": base + differences}, "text": {"m": base}}
    whole, rows = (compare(per_row, "ranker", ("m",), 500, 7, given_user)[1][0] for given_user in (user, None))
    assert whole.difference == rows.difference == pytest.approx(differences.mean())
    assert whole.high - whole.low > 1.5 * (rows.high - rows.low)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([-0.5, 0.0, 0.25, 1.0])), min_size=1, max_size=12), st.integers(0, 99))
def test_resampled_means_are_those_of_a_loop_over_drawn_users(rows: list[tuple[int, float]], seed: int) -> None:
    user = np.unique([who for who, _ in rows], return_inverse=True)[1]
    values = np.array([value for _, value in rows])
    n = int(user.max()) + 1
    drawn = np.random.default_rng(seed).integers(0, n, (20, n))
    expected = [np.mean([value for who in draw for value in values[user == who]]) for draw in drawn]
    assert bootstrap_means({"m": values}, 20, seed, user)["m"] == pytest.approx(expected)


def test_a_user_counts_once_among_better_tied_and_worse_and_in_n() -> None:
    per_row = {"ranker": {"m": np.array([1.0, 1.0, 0.0, 0.5, 0.2])}, "text": {"m": np.array([0.0, 0.0, 0.5, 0.5, 0.4])}}
    figures, (pair,) = compare(per_row, "ranker", ("m",), 50, 7, np.array([0, 0, 0, 1, 2]))
    assert (pair.better, pair.tied, pair.worse) == (1, 1, 1)
    assert figures["ranker"]["m"].n == 3
    assert figures["ranker"]["m"].value == pytest.approx(2.7 / 5)


def test_a_p_value_by_user_is_that_of_all_ways_to_swap_whole_users() -> None:
    values, user = asked_often(np.random.default_rng(1), 9, apart=0.5, within=0.2)
    values += 0.3
    sums = [values[user == who].sum() for who in range(9)]
    means = [abs(sum(sign * s for sign, s in zip(signs, sums, strict=True)) / len(values)) for signs in product((1, -1), repeat=9)]
    expected = np.mean([mean >= abs(values.mean()) - 1e-12 for mean in means])
    assert permutation_p(summed(values, user), 20_000, 7) == pytest.approx(expected, abs=0.02)


def test_users_who_are_alike_are_told_apart_as_often_as_the_level_says_by_user_and_far_more_often_by_row() -> None:
    rng, found = np.random.default_rng(21), {"users": 0, "rows": 0}
    for seed in range(1000):
        values, user = asked_often(rng, 40, apart=1.0, within=0.3)
        found["users"] += permutation_p(summed(values, user), 199, seed) <= 0.05
        found["rows"] += permutation_p(values, 199, seed) <= 0.05
    assert 25 <= found["users"] <= 75
    assert found["rows"] >= 200


def judged(rows: list[tuple[str, str, str, float]]) -> pl.DataFrame:
    """(cutoff, system, user, value) as `Verdict.per_user`, every metric the same."""
    frame = pl.DataFrame(rows, schema=["cutoff", "system", "user_id", METRIC], orient="row")
    return frame.with_columns(pl.col(METRIC).alias(name) for name in PAIRED)


def two_cutoffs() -> list[tuple[str, str, str, float]]:
    """The ranker is ahead in May and behind in June; `late` is there in June alone; u1 asks twice."""
    may = [("05", "ranker", "u1", 1.0), ("05", "ranker", "u2", 0.8), ("05", "text", "u1", 0.4), ("05", "text", "u2", 0.2)]
    june = [("06", "ranker", "u1", 0.3), ("06", "text", "u1", 0.5), ("06", "late", "u1", 0.3)]
    return may + june


def test_mean_spread_and_wins_on_paper() -> None:
    found = across(judged(two_cutoffs()), "ranker", 50, 7)
    ranker = found.systems["ranker"][METRIC]
    assert (found.n_users, found.n_queries) == (2, 3)
    assert ranker.figure.value == pytest.approx((1.0 + 0.8 + 0.3) / 3)
    assert ranker.figure.n == 2
    assert (ranker.spread.mean, ranker.spread.lowest, ranker.spread.highest) == pytest.approx((0.6, 0.3, 0.9))
    assert ranker.spread.sd == pytest.approx(0.6 / 2**0.5)
    against = {one.paired.b: one for one in found.paired}["text"]
    assert (against.won, against.lost, against.spread.n_cutoffs) == (1, 1, 2)
    assert against.paired.difference == pytest.approx((0.6 + 0.6 - 0.2) / 3)
    assert (against.spread.lowest, against.spread.highest) == pytest.approx((-0.2, 0.6))


def test_a_system_of_some_cutoffs_alone_is_compared_on_those() -> None:
    found = across(judged(two_cutoffs()), "ranker", 50, 7)
    assert found.systems["late"][METRIC].spread.n_cutoffs == 1
    assert found.systems["late"][METRIC].figure.n == 1
    late = {one.paired.b: one for one in found.paired}["late"]
    assert (late.paired.difference, late.won, late.lost, late.p) == (0, 0, 0, 1)
    assert found.systems["ranker"][METRIC].spread.n_cutoffs == 2


def test_the_p_value_of_a_comparison_goes_by_user() -> None:
    # Eight users ask at six cutoffs and always like the ranker better: two of 2^8 ways to swap users are as far, of 2^48 rows none.
    rows = [(str(c), s, f"u{n}", 0.5 + 0.1 * (s == "ranker")) for c in range(6) for s in ("ranker", "text") for n in range(8)]
    (found,) = across(judged(rows), "ranker", 50, 7).paired
    assert found.p == pytest.approx(2 / 2**8, abs=0.005)
    assert found.p > 0.0025


def test_holm_corrects_over_all_systems() -> None:
    rng = np.random.default_rng(2)
    rows = [
        (cutoff, system, f"u{n:02}", float(rng.random() + (0.3 if system == "ranker" else 0)))
        for cutoff in ("05", "06")
        for system in ("ranker", "text", "a", "b")
        for n in range(30)
    ]
    found = across(judged(rows), "ranker", 50, 7)
    assert len(found.paired) == 3
    least = min(found.paired, key=lambda one: one.p)
    assert least.p_holm == pytest.approx(3 * least.p)


def test_one_cutoff_has_no_standard_deviation_and_its_interval_is_the_plain_one() -> None:
    rng = np.random.default_rng(4)
    rows = [("05", system, f"u{n:02}", float(rng.random())) for system in ("ranker", "text") for n in range(20)]
    found = across(judged(rows), "ranker", 100, 7)
    values = {system: {METRIC: np.array([row[3] for row in rows if row[1] == system])} for system in ("ranker", "text")}
    figures, (pair,) = compare(values, "ranker", (METRIC,), 100, 7)
    assert found.systems["text"][METRIC].figure == figures["text"][METRIC]
    assert found.paired[0].paired == pair
    assert found.as_dict()["systems"]["ranker"][METRIC]["spread"]["sd"] is None


def test_nobody_judged_is_no_system_and_undefined_values_are_left_out_of_a_spread() -> None:
    assert across(judged(two_cutoffs()).head(0), "ranker", 50, 7).as_dict() == {"systems": {}, "paired": [], "n_users": 0, "n_queries": 0}
    found = spread([None, 0.5, float("nan"), 0.7])
    assert (found.mean, found.n_cutoffs) == (pytest.approx(0.6), 2)
    assert spread([None]).n_cutoffs == 0


def test_systems_judged_on_other_users_are_refused_by_name() -> None:
    with pytest.raises(TableError, match="same users as the others: text"):
        across(judged([row for row in two_cutoffs() if row[:3] != ("05", "text", "u2")]), "ranker", 50, 7)


def test_the_order_of_rows_changes_no_figure() -> None:
    rows = judged(two_cutoffs())
    assert across(rows.reverse(), "ranker", 50, 7) == across(rows, "ranker", 50, 7)
