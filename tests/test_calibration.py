"""Scores to chances: right where the truth is known, in the order of the scores, and refused where there is nothing to learn from."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from recsys import calibration, evaluate
from recsys.artefacts import dumps
from recsys.calibration import FEWEST, KNOT_POSITIVES, Calibration, Curve, Rows
from recsys.errors import ArtefactError, TableError

N_ITEMS = 30


class Shop:
    """Users with a habit and candidates of a known chance: a score tells how good an item is for its user, plus anything of the user."""

    def __init__(self, n_users: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.likes = rng.choice([0, 0, 0, 1, 3, 20], n_users).astype(np.float64)
        self.user = np.repeat(np.arange(n_users), N_ITEMS).astype(np.int32)
        worth = rng.normal(size=len(self.user))
        offset = rng.normal(scale=2.0, size=n_users)
        self.score = worth + offset[self.user]
        # What a list is ordered by, and what a habit does: the offset of the user's scores says nothing.
        centred = worth - np.bincount(self.user, worth)[self.user] / N_ITEMS
        self.chance = calibration.logistic(-6.0 + 1.5 * centred + 1.5 * np.log1p(self.likes)[self.user])
        self.happened = rng.random(len(self.user)) < self.chance
        self.is_active = np.bincount(self.user, self.happened)[self.user] > 0
        nothing = np.zeros(n_users)
        habits = {"user_likes_28d": self.likes, "user_days_90d": nothing, "user_purchases_90d": nothing}
        self.rows = Rows.of(self.user, self.score, habits | {"user_since_last": np.full(n_users, np.nan)})


@pytest.fixture(scope="module")
def known() -> tuple[Shop, Shop]:
    """One to learn from, one to judge by."""
    return Shop(4000, 1), Shop(4000, 2)


def judged(shop: Shop, chance: np.ndarray) -> evaluate.Reliability:
    return evaluate.reliability(shop.happened, chance.astype(np.float64), shop.user, 50, 7)


def test_where_the_truth_is_known_what_is_said_is_what_happens_for_every_kind_of_user(known: tuple[Shop, Shop]) -> None:
    learned, other = known
    chance = calibration.fit(learned.rows, learned.happened).chance(other.rows)
    found = judged(other, chance)
    assert found.ece < 0.002
    assert found.predicted == pytest.approx(found.base_rate, rel=0.05)
    # The error against the true chances, in log odds, of all rows that have a say.
    assert np.abs(chance - other.chance).mean() < 0.1 * other.chance.mean()
    assert found.brier_skill == pytest.approx(judged(other, other.chance).brier_skill, abs=0.005)
    for likes in (0, 1, 3, 20):
        kept = (other.likes == likes)[other.user]
        assert chance[kept].mean() == pytest.approx(other.chance[kept].mean(), rel=0.2)


def test_learned_from_those_who_acted_alone_the_chances_are_far_too_high(known: tuple[Shop, Shop]) -> None:
    learned, other = known
    alone = [Rows(one.user, one.score, np.zeros_like(one.rows.of_user)) for one in known]
    trapped = calibration.fit(alone[0].where(learned.is_active), learned.happened[learned.is_active]).chance(alone[1])
    whole = calibration.fit(learned.rows, learned.happened).chance(other.rows)
    assert judged(other, trapped).gap > 0.4 * other.happened.mean()
    assert judged(other, trapped).ece > 10 * judged(other, whole).ece
    # And the score alone, though of everybody, is right in the mean and wrong for each: an offset of a user says nothing.
    score_alone = calibration.fit(alone[0], learned.happened).chance(alone[1])
    idle, busy = ((other.likes == likes)[other.user] for likes in (0, 20))
    assert score_alone[idle].mean() > 1.5 * other.happened[idle].mean()
    assert score_alone[busy].mean() < 0.7 * other.happened[busy].mean()


def test_a_curve_mends_what_a_logistic_model_cannot_say(known: tuple[Shop, Shop]) -> None:
    rng = np.random.default_rng(3)
    parts = []
    for shop in known:
        # A chance that stops rising halfway: no logistic curve does.
        chance = np.minimum(calibration.logistic(2.0 * shop.score - 1), 0.3)
        parts.append((shop, rng.random(len(chance)) < chance))
    (learned, happened), (other, then) = parts
    curve = calibration.fit(learned.rows, happened)
    straight = Curve(curve.intercept, curve.slope, curve.user_weights, [0.0], [0.0])
    found, plain = (evaluate.reliability(then, one.chance(other.rows).astype(np.float64), other.user, 10, 7) for one in (curve, straight))
    assert len(curve.knots_x) > 5
    assert found.ece < 0.3 * plain.ece


def test_the_logistic_model_is_that_of_scikit_learn(known: tuple[Shop, Shop]) -> None:
    rows, happened = known[0].rows, known[0].happened
    spread = rows.score.std()
    columns = np.column_stack([rows.score / spread, rows.of_user[:, 0][rows.user] / spread, rows.of_user[:, 1:][rows.user]])
    oracle = LogisticRegression(C=1 / calibration.RIDGE, solver="newton-cholesky", tol=1e-10, max_iter=200).fit(columns, happened)
    found = calibration.fit(rows, happened)
    told = [found.slope * spread, found.user_weights[0] * spread, *found.user_weights[1:]]
    assert told == pytest.approx(oracle.coef_[0].tolist(), abs=1e-5)
    # Of users without any like `user_since_last` is one number for all: its weight and the intercept share it.
    assert found.intercept == pytest.approx(float(oracle.intercept_[0]), abs=1e-4)


def test_the_curve_is_the_isotonic_regression_of_scikit_learn_over_blocks_of_as_many_positives() -> None:
    rng = np.random.default_rng(5)
    chance = np.sort(rng.random(5000) ** 3)
    happened = rng.random(5000) < 0.5 * chance + 0.2 * np.sin(9 * chance) * chance
    x, y = calibration.knots(chance, happened)
    blocks: list[list[int]] = [[]]
    n_before = 0
    for row in range(5000):
        if happened[:row].sum() - n_before >= KNOT_POSITIVES and happened[row:].sum() >= KNOT_POSITIVES:
            n_before = happened[:row].sum()
            blocks.append([])
        blocks[-1].append(row)
    means = [chance[block].mean() for block in blocks]
    rates = [(happened[block].sum() + mean) / (len(block) + 1) for block, mean in zip(blocks, means, strict=True)]
    weights = [len(block) + 1 for block in blocks]
    oracle = IsotonicRegression(out_of_bounds="clip").fit(means, rates, weights).predict(means)
    assert calibration.logistic(np.array(y)) == pytest.approx(np.unique(oracle), abs=1e-12)
    assert len(y) < len(blocks)
    assert np.all(np.diff(x) > 0)


rising = st.lists(st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)), min_size=1, max_size=6)


@given(
    slope=st.floats(0, 10),
    steps=rising,
    weights=st.lists(st.floats(-3, 3), min_size=5, max_size=5),
    scores=st.lists(st.floats(-50, 50), min_size=1, max_size=30),
    user=st.integers(0, 2),
)
@settings(deadline=None)
def test_within_a_user_the_higher_score_never_has_the_lower_chance(slope, steps, weights, scores, user) -> None:
    x, y = np.cumsum(steps, axis=0).T - 5
    curve = Curve(-2.0, slope, weights, x.tolist(), y.tolist())
    rows = Rows(np.full(len(scores), user, np.int32), np.sort(scores), np.array([[0.0] * 5, [1.0] * 5, [-7.0] * 5]))
    chance = curve.chance(rows)
    assert np.all(np.diff(chance) >= 0)
    assert np.all((chance >= 0) & (chance <= 1))


@given(seed=st.integers(0, 10**6), sign=st.sampled_from([-1.0, 0.0, 1.0]))
@settings(deadline=None, max_examples=20)
def test_a_fitted_curve_keeps_the_order_even_where_the_score_is_wrong(seed: int, sign: float) -> None:
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(100), 10).astype(np.int32)
    score = np.round(rng.normal(size=1000), 1)
    happened = rng.random(1000) < calibration.logistic(sign * score - 1)
    habits = {name: rng.integers(0, 5, 100).astype(float) for name in calibration.USER_FEATURES}
    curve = calibration.fit(Rows.of(user, score, habits), happened)
    assert curve.slope >= 0
    chance = curve.chance(Rows.of(user, score, habits)).reshape(100, 10)
    order = np.argsort(score.reshape(100, 10), axis=1)
    assert np.all(np.diff(np.take_along_axis(chance, order, axis=1), axis=1) >= 0)


def test_what_was_kept_says_the_same_to_the_last_byte(known: tuple[Shop, Shop]) -> None:
    shop = known[0]
    curve = calibration.fit(shop.rows, shop.happened)
    made = Calibration(14, {"all": {"purchase": curve}, "new": {}}, {"all": {"click": "none"}, "new": {}})
    text = dumps(made.as_dict())
    read = Calibration.read(json.loads(text), "here")
    assert read == made
    assert dumps(read.as_dict()) == text
    same = read.chances("all", shop.rows)
    assert np.array_equal(same["purchase"], curve.chance(shop.rows))
    assert np.isnan(same["click"]).all()
    assert read.why_absent("all", "purchase") is None
    assert read.why_absent("all", "click") == "none"
    assert calibration.fit(shop.rows, shop.happened) == curve


def damaged(**changes: object) -> dict[str, object]:
    one = {"intercept": 0.0, "slope": 1.0, "user_weights": [0.0] * 5, "knots_x": [0.0, 1.0], "knots_y": [0.0, 1.0]}
    return {"days": 14, "curves": {"all": {"click": one | changes}}, "absent": {}}


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"days": 14, "curves": [], "absent": {}},
        damaged(slope=-1.0),
        damaged(knots_y=[1.0, 0.0]),
        damaged(knots_x=[]),
        damaged(knots_x=[0.0, None]),
        damaged(user_weights=[0.0] * 4),
        damaged(intercept="x"),
        damaged(extra=1),
    ],
)
def test_a_damaged_record_is_refused_by_name(record: dict[str, object]) -> None:
    with pytest.raises(ArtefactError, match=r"run x, calibration.json: .*Train again"):
        Calibration.read(record, "run x, calibration.json")


def test_one_class_alone_and_too_few_of_either_have_no_curve_and_say_why() -> None:
    happened = np.zeros(1000, bool)
    assert calibration.why_not(happened, "click") == "none of 1,000 candidates had a click"
    happened[: FEWEST - 1] = True
    assert calibration.why_not(happened, "click") == "only 49 of 1,000 candidates had a click, 50 are needed"
    happened[:FEWEST] = True
    assert calibration.why_not(happened, "click") is None
    assert calibration.why_not(~happened[:1000], "click") is None
    happened[:] = True
    assert calibration.why_not(happened, "click") == "1,000 of 1,000 candidates had a click: 50 without one are needed"
    assert calibration.why_not(np.zeros(0, bool), "click") == "none of 0 candidates had a click"


def test_a_score_that_is_no_number_is_refused_in_learning_and_unknown_in_asking(known: tuple[Shop, Shop]) -> None:
    shop = known[0]
    score = shop.score.copy()
    score[[5, 7]] = np.nan
    holed = Rows(shop.user, score, shop.rows.of_user)
    with pytest.raises(TableError, match=r"2 of 120000 scores are no number \(first: row 5\)"):
        calibration.fit(holed, shop.happened)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chance = calibration.fit(shop.rows, shop.happened).chance(holed)
    assert np.flatnonzero(np.isnan(chance)).tolist() == [5, 7]


def test_the_same_score_for_all_says_what_the_user_says() -> None:
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(500), 10).astype(np.int32)
    likes = np.repeat([0.0, 9.0], 250)
    happened = rng.random(5000) < np.where(likes[user] > 0, 0.3, 0.03)
    habits = dict.fromkeys(calibration.USER_FEATURES, np.zeros(500)) | {"user_likes_28d": likes}
    rows = Rows.of(user, np.ones(5000), habits)
    curve = calibration.fit(rows, happened)
    assert curve.slope == 0
    chance = curve.chance(rows)
    for one, expected in ((0.0, 0.03), (9.0, 0.3)):
        assert chance[likes[user] == one] == pytest.approx(expected, rel=0.15)


def test_users_without_a_candidate_and_an_empty_block_do_no_harm() -> None:
    habits = {name: np.array([1.0, np.nan, 2.0]) for name in calibration.USER_FEATURES}
    curve = Curve(-1.0, 1.0, [0.1] * 5, [0.0], [0.0])
    rows = Rows.of(np.array([2, 2], np.int32), np.array([1.0, 2.0]), habits)
    assert rows.of_user[:, 0].tolist() == [0.0, 0.0, 1.5]
    assert np.isfinite(rows.of_user).all()
    assert len(curve.chance(Rows.of(np.empty(0, np.int32), np.empty(0), habits))) == 0
