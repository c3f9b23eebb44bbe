"""Two systems on the same users against the verdict that judged them together, overlap against its definition, a question kept and read."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import evaluate
from recsys.evaluate import Question, match_metrics, match_slices, overlap_by_user, question_of, question_scales, question_tables, reach
from recsys.evaluate.overlap import rank_biased_overlap

N_USERS, N_ITEMS, BOOTSTRAP, SEED = 260, 30, 60, 5
LISTS = {"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32}


def question(seed: int = 0) -> Question:
    rng = np.random.default_rng(seed)
    users = [f"u{n:03}" for n in range(N_USERS)]
    truth = [(user, f"i{item:02}", int(rng.integers(1, 4))) for user in users[:-5] for item in rng.choice(N_ITEMS, 3, replace=False)]
    items = [f"i{item:02}" for item in range(N_ITEMS)]
    catalogue = {"item_id": items, "n_users": [3] * N_ITEMS, "item_age": ["older", "up to 28 days"] * 15}
    catalogue |= {"item_popularity": ["head", "tail", "tail"] * 10, "item_category": [f"c{n % 3}" for n in range(N_ITEMS)]}
    return Question(
        truth=pl.DataFrame(truth, schema={"user_id": pl.String, "item_id": pl.String, "label": pl.Int32}, orient="row"),
        users=pl.Series("user_id", users),
        relevant_from=2,
        gains=(0.0, 1.0, 2.0, 4.0),
        catalogue=pl.DataFrame(catalogue),
        user_slices=pl.DataFrame({"user_id": users, "user_activity": ["few", "many"] * (N_USERS // 2)}),
        n_all_users=N_USERS,
    )


def lists(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [(f"u{user:03}", f"i{item:02}", rank) for user in range(N_USERS) for rank, item in enumerate(rng.permutation(N_ITEMS)[:10], 1)]
    return pl.DataFrame(rows, schema=LISTS, orient="row")


def figures(pair: evaluate.Paired) -> list[float]:
    return [pair.difference, pair.low, pair.high, pair.better, pair.tied, pair.worse]


def test_slices_are_those_of_a_verdict_that_judges_both_together() -> None:
    asked, a, b = question(), lists(1), lists(2)
    together = evaluate.judge({"a": a, "b": b}, asked, "a", BOOTSTRAP, SEED)
    expected = {(part.slice, part.value): (part.n, part.paired[0]) for part in together.slices}
    found = {(one.slice, one.value): (one.n, one.pair) for one in match_slices(a, b, asked, BOOTSTRAP, SEED)}
    assert set(found) == set(expected)
    for key, (n, pair) in expected.items():
        assert found[key][0] == n
        mean, low, high, *counts = figures(found[key][1])
        assert (mean, *counts) == pytest.approx((pair.difference, pair.better, pair.tied, pair.worse))
        if n >= evaluate.FEWEST_USERS:  # by other resamples: there all parts meet the same ones of everybody
            assert (low, high) == pytest.approx((pair.low, pair.high), abs=0.05)


def test_metrics_are_those_of_a_verdict_that_judges_both_together() -> None:
    verdict = evaluate.judge({"a": lists(1), "b": lists(2)}, question(), "a", BOOTSTRAP, SEED)
    sides = [verdict.per_user.filter(pl.col("system") == name) for name in "ab"]
    by_a, by_b = ({metric: side[metric].to_numpy() for metric in ("ndcg@10", "recall@10", "map@10", "mrr@10")} for side in sides)
    found = match_metrics(by_a, by_b, BOOTSTRAP, SEED)
    assert [one.pair.metric for one in found] == [pair.metric for pair in verdict.paired]
    for one, pair in zip(found, verdict.paired, strict=True):
        assert figures(one.pair) == pytest.approx(figures(pair))
    assert [one.mean_a for one in found] == [pytest.approx(verdict.systems["a"][one.pair.metric].value) for one in found]
    assert [one.p_holm for one in found] == evaluate.holm([one.p for one in found])
    assert found[0].p == evaluate.permutation_p(by_a["ndcg@10"] - by_b["ndcg@10"], evaluate.PERMUTATIONS, SEED)


def test_one_user_decides_nothing_however_large_the_difference() -> None:
    (one,) = match_metrics({"m": np.array([1.0])}, {"m": np.array([0.0])}, BOOTSTRAP, SEED)
    assert (one.word, one.p, one.pair.difference, one.pair.better) == ("undecided", 1.0, 1.0, 1)
    assert np.isnan([one.pair.low, one.pair.high]).all()
    assert set(reach(np.array([1.0])).needed.values()) == {None}
    (nobody,) = match_metrics({"m": np.array([])}, {"m": np.array([])}, BOOTSTRAP, SEED)
    assert (nobody.n, nobody.word) == (0, "undecided")


def test_users_who_all_tie_are_called_so() -> None:
    values = np.random.default_rng(0).random(50)
    (one,) = match_metrics({"m": values}, {"m": values.copy()}, BOOTSTRAP, SEED)
    assert (one.word, one.p, one.pair.tied, one.pair.low, one.pair.high) == ("tied", 1.0, 50, 0.0, 0.0)


def test_a_difference_that_is_there_is_found_and_stands_after_the_correction() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(400)
    a = {"m": base + rng.normal(0.05, 0.1, 400), "n": base}
    found = match_metrics(a, {"m": base, "n": base + rng.normal(0, 0.1, 400)}, BOOTSTRAP, SEED)
    assert found[0].word == "better"
    assert found[0].p_holm == 2 * found[0].p == 2 / (evaluate.PERMUTATIONS + 1)
    assert found[1].p_holm > 0.05


def test_a_question_read_back_gives_the_verdict_that_it_gave() -> None:
    asked = {"all": question(), "new": question()}
    read = question_of("new", question_tables(asked), json.loads(json.dumps(question_scales(asked))))
    before, after = (evaluate.judge({"a": lists(1), "b": lists(2)}, one, "a", BOOTSTRAP, SEED) for one in (asked["new"], read))
    assert after.as_dict() == before.as_dict()
    assert after.per_user.equals(before.per_user)
    assert read.gains == asked["new"].gains


def by_definition(a: list[int], b: list[int], p: float = 0.9) -> float:
    """(1 - p) times the sum of p^(d - 1) and the agreement at depth d, to a depth where nothing is left. The end of the shorter list is
    taken to go on as it was, and both beyond the longer one."""
    short, long = sorted((a, b), key=len)
    if not short:
        return float(not long)
    rate = len({*short} & {*long[: len(short)]}) / len(short)
    total, agreement = 0.0, 0.0
    for depth in range(1, 3000):
        if depth <= len(long):
            found = len({*short[:depth]} & {*long[:depth]}) + rate * max(depth - len(short), 0)
            agreement = found / depth
        total += (1 - p) * p ** (depth - 1) * agreement
    return total


ranking = st.lists(st.integers(0, 12), unique=True, max_size=8)


def dense(*rows: list[int]) -> np.ndarray:
    return np.array([row + [-1] * (8 - len(row)) for row in rows])


@given(ranking, ranking)
def test_the_overlap_is_that_of_the_infinite_sum(a: list[int], b: list[int]) -> None:
    (found,) = rank_biased_overlap(dense(a), dense(b))
    assert found == pytest.approx(by_definition(a, b), abs=1e-9)
    assert rank_biased_overlap(dense(b), dense(a))[0] == pytest.approx(found)
    assert -1e-12 <= found <= 1 + 1e-12


def test_overlaps_on_paper() -> None:
    swapped, none, same, empty, one_empty = rank_biased_overlap(
        dense([1, 2], [1, 2], [1, 2], [], [1]), dense([2, 1], [3, 4], [1, 2], [], [])
    )
    assert (swapped, none, same, empty, one_empty) == (pytest.approx(0.9), 0, pytest.approx(1), 1, 0)
    top, bottom = rank_biased_overlap(dense([9, 2, 3, 4], [1, 2, 3, 9]), dense([1, 2, 3, 4], [1, 2, 3, 4]))
    assert top < bottom  # the first place counts most


def test_the_overlap_of_each_user_is_that_of_their_two_lists_and_users_without_one_are_told() -> None:
    a = pl.DataFrame([("u1", "x", 1), ("u1", "y", 2), ("u3", "x", 1)], schema=LISTS, orient="row")
    b = pl.DataFrame([("u1", "y", 1), ("u1", "x", 2), ("stranger", "z", 1)], schema=LISTS, orient="row")
    found = overlap_by_user(a, b, pl.Series("user_id", ["u1", "u2", "u3"]))
    assert found.rows() == [("u1", pytest.approx(0.9)), ("u2", 1.0), ("u3", 0.0)]
    assert overlap_by_user(a.head(0), b.head(0), pl.Series("user_id", ["u1"]))["overlap"].to_list() == [1.0]
