"""Off-policy estimates against a world whose clicks are known: what they say, how sure they are, and when they refuse."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.evaluate import Examination, Pages, estimates, fit_examination, offer_of_lists, offer_of_order

PLACES, ITEMS = 5, 30
LOOKED = np.arange(1, PLACES + 1) ** -0.7
APPEAL = np.random.default_rng(0).beta(1.5, 4, ITEMS)


def shop(seed, n_pages=4000, n_users=400, uniform=0.5, taste=0.0):
    """Pages filled from the top by a mixture of chance and popularity, its propensities exact, and the chance of each row's act."""
    rng = np.random.default_rng(seed)
    share = APPEAL / APPEAL.sum()
    item, propensity = np.full((n_pages, PLACES), -1), np.zeros((n_pages, PLACES))
    for place in range(PLACES):
        chance = np.broadcast_to(share, (n_pages, ITEMS)).copy()
        free = np.ones((n_pages, ITEMS), bool)
        np.put_along_axis(free, item[:, :place], False, axis=1)
        chance *= free
        chance = uniform * free / free.sum(axis=1, keepdims=True) + (1 - uniform) * chance / chance.sum(axis=1, keepdims=True)
        item[:, place] = (rng.random((n_pages, 1)) > np.cumsum(chance, axis=1)).sum(axis=1).clip(0, ITEMS - 1)
        propensity[:, place] = np.take_along_axis(chance, item[:, place, None], axis=1)[:, 0]
    user = np.sort(rng.integers(0, n_users, n_pages))
    loves = np.exp(taste * np.random.default_rng(1).normal(size=(n_users, ITEMS)))
    appeal = np.clip(APPEAL * loves, 0, 1)
    page, position = np.repeat(np.arange(n_pages), PLACES), np.tile(np.arange(1, PLACES + 1), n_pages)
    chance = LOOKED[position - 1] * appeal[user[page], item.ravel()]
    acted = rng.random(len(page)) < chance
    return Pages(user, page, item.ravel().astype(np.int32), position, propensity.ravel(), acted), appeal


def true_model():
    return Examination(LOOKED, APPEAL, 1, 1)


def best_lists(appeal, k=4):
    return np.argsort(-appeal, axis=1, kind="stable")[:, :k].astype(np.int32)


def by_loops(pages, lists, model):
    """Weight, expected and direct of every row, as one would write them down."""
    rows = []
    for row in range(len(pages)):
        above = {int(pages.item[other]) for other in range(row) if pages.page[other] == pages.page[row]}
        left = [int(item) for item in lists[pages.user[pages.page[row]]] if item >= 0 and int(item) not in above]
        chance = 1 / len(left) if pages.item[row] in left else 0.0
        looked = model.looked[pages.position[row] - 1]
        rows.append((chance / pages.propensity[row], float(bool(left)), np.mean([looked * model.appeal[item] for item in left] or [0.0])))
    return np.array(rows).T


def true_value(pages, lists, appeal):
    """Acts per place, were each place given to an item of the list that does not stand above it; none where all do."""
    item, total = pages.item.reshape(-1, PLACES), 0.0
    asked, of_item = lists[pages.user], np.take_along_axis(appeal[pages.user], lists[pages.user], axis=1)
    for place in range(PLACES):
        is_left = ~(asked[:, :, None] == item[:, None, :place]).any(axis=2)
        total += LOOKED[place] * ((of_item * is_left).sum(axis=1) / np.maximum(is_left.sum(axis=1), 1)).sum()
    return total / len(pages)


def test_an_offer_of_lists_is_what_loops_over_rows_say():
    pages, _ = shop(3, n_pages=60, n_users=9)
    lists = best_lists(np.random.default_rng(5).random((9, ITEMS)))
    lists[2] = -1
    lists[4, 1:] = -1
    lists[5] = pages.item[:4]
    offer = offer_of_lists(pages, lists, true_model())
    weight, expected, direct = by_loops(pages, lists, true_model())
    np.testing.assert_allclose(offer.weight, weight, atol=1e-12)
    np.testing.assert_array_equal(offer.expected, expected)
    np.testing.assert_allclose(offer.direct, direct, atol=1e-12)


def test_lists_that_are_all_above_leave_nothing_for_a_place():
    pages = Pages(np.array([0]), np.zeros(3, int), np.array([7, 8, 9], np.int32), np.array([1, 2, 3]), np.full(3, 0.1), np.ones(3, bool))
    offer = offer_of_lists(pages, np.array([[7, 8]]), true_model())
    np.testing.assert_allclose(offer.weight, [5, 10, 0])
    np.testing.assert_array_equal(offer.expected, [1, 1, 0])
    assert offer.direct[2] == 0


def test_another_order_by_hand():
    """Two pages; the second lacks place 2; its items without a score keep their order behind the one with."""
    pages = Pages(
        np.array([0, 0]),
        np.array([0, 0, 1, 1, 1]),
        np.array([1, 2, 3, 4, 5], np.int32),
        np.array([1, 2, 1, 3, 4]),
        np.ones(5),
        np.ones(5, bool),
    )
    offer = offer_of_order(pages, np.array([0.1, 0.9, np.nan, np.nan, 0.5]), true_model())
    new = np.array([2, 1, 3, 4, 1])
    np.testing.assert_allclose(offer.weight, LOOKED[new - 1] / LOOKED[pages.position - 1])
    np.testing.assert_allclose(offer.direct, LOOKED[new - 1] * APPEAL[pages.item])


def test_the_order_that_was_changes_nothing():
    pages, _ = shop(4, n_pages=3000)
    offer = offer_of_order(pages, -pages.position.astype(float), true_model())
    logged, found = estimates(pages, [("same", offer)], true_model(), 50, 0)
    assert found["same"].ips.value == pytest.approx(logged.value)
    assert found["same"].more.value == pytest.approx(0, abs=1e-12)


def test_looks_are_found_though_the_popular_stands_on_top():
    rng = np.random.default_rng(8)
    n_pages = 20_000
    drawn = np.argsort(rng.random((n_pages, ITEMS)), axis=1)[:, :PLACES]
    noisy = -np.log(APPEAL[drawn]) - 0.3 * rng.gumbel(size=drawn.shape)
    item = np.take_along_axis(drawn, np.argsort(noisy, axis=1), axis=1)  # what appeals stands on top, most of the time
    page, position = np.repeat(np.arange(n_pages), PLACES), np.tile(np.arange(1, PLACES + 1), n_pages)
    acted = rng.random(n_pages * PLACES) < LOOKED[position - 1] * APPEAL[item.ravel()]
    pages = Pages(np.zeros(n_pages, int), page, item.ravel().astype(np.int32), position, np.full(len(page), np.nan), acted)
    model = fit_examination(pages, ITEMS)
    np.testing.assert_allclose(model.looked, LOOKED, atol=0.04)
    naive = np.bincount(position - 1, acted) / np.bincount(position - 1)
    assert np.abs(naive / naive[0] - LOOKED).max() > 0.1


def test_places_that_hardly_anybody_acts_on_are_left_out():
    pages, _ = shop(4, n_pages=3000)
    quiet = replace(pages, acted=pages.acted & (pages.position <= 3))
    assert fit_examination(quiet, ITEMS).depth == 3
    assert fit_examination(replace(pages, acted=pages.acted & (pages.position == 1)), ITEMS) is None
    assert fit_examination(pages.where(np.zeros(len(pages), bool)), ITEMS) is None


def covered(kind, part, model, seeds=range(100)):
    """How many of the worlds have the truth in the interval, and the mean error in standard errors of the mean."""
    hits, errors, widths = 0, [], []
    for seed in seeds:
        pages, appeal = shop(seed, n_pages=1500, n_users=200, taste=0.4)
        if kind == "lists":
            lists = best_lists(appeal)
            offer, truth = offer_of_lists(pages, lists, model), true_value(pages, lists, appeal)
        else:
            of_row = appeal[pages.user_of_row, pages.item]
            offer = offer_of_order(pages, of_row, model)
            new = np.rint((offer.weight * pages.position**-0.7) ** (-1 / 0.7)).astype(int)
            truth = float((LOOKED[new - 1] * of_row).mean())
        _, found = estimates(pages, [("best", offer)], model, 200, seed)
        figure = getattr(found["best"], part)
        hits += figure.low <= truth <= figure.high
        errors.append(figure.value - truth)
        widths.append(figure.high - figure.low)
    return hits, np.mean(errors) / (np.std(errors) / np.sqrt(len(errors))), np.mean(widths)


@pytest.mark.parametrize(("kind", "part"), [("lists", "ips"), ("lists", "snips"), ("lists", "dr"), ("order", "ips"), ("order", "dr")])
def test_the_interval_holds_the_truth(kind, part):
    """Of 100 worlds 95 should; fewer than 88 come once in seven hundred times."""
    hits, bias, _ = covered(kind, part, true_model())
    assert hits >= 88
    assert abs(bias) < 3


def test_a_wrong_model_does_not_move_the_robust_estimate_and_a_right_one_makes_it_narrower():
    wrong = Examination(LOOKED, np.full(ITEMS, 0.9), 1, 1)
    hits, bias, width = covered("lists", "dr", wrong)
    assert hits >= 88
    assert abs(bias) < 3
    narrow, plain = (covered("lists", part, true_model())[2] for part in ("dr", "ips"))
    assert narrow < min(width, 0.95 * plain)


def test_wrong_scale_of_the_propensities_leaves_snips_alone_and_is_refused():
    pages, appeal = shop(2)
    model, lists = true_model(), best_lists(appeal)
    _, right = estimates(pages, [("x", offer_of_lists(pages, lists, model))], model, 100, 0)
    halved = replace(pages, propensity=pages.propensity / 2)
    _, wrong = estimates(halved, [("x", offer_of_lists(halved, lists, model))], model, 100, 0)
    assert right["x"].refused == ""
    assert wrong["x"].snips.value == pytest.approx(right["x"].snips.value)
    assert wrong["x"].ips.value == pytest.approx(2 * right["x"].ips.value)
    assert "too small to be true" in wrong["x"].refused


def test_what_the_log_never_shows_is_refused():
    pages, appeal = shop(2)
    lists = best_lists(appeal)
    hidden = ~np.isin(pages.item, lists[:, 0])  # the best of everybody's list is never on a page
    seen = pages.where(hidden)
    _, found = estimates(seen, [("x", offer_of_lists(seen, lists, true_model()))], true_model(), 100, 0)
    assert "never shows a part" in found["x"].refused


def test_a_log_that_hardly_overlaps_is_refused_in_words():
    pages, appeal = shop(2, n_pages=60)
    _, found = estimates(pages, [("x", offer_of_lists(pages, best_lists(appeal), true_model()))], true_model(), 100, 0)
    assert found["x"].refused.startswith("too little overlap: ")
    assert "100 and 10 are needed" in found["x"].refused


def test_nobodys_pages_give_no_figure():
    pages, _ = shop(2, n_pages=10, n_users=3)
    none = pages.where(np.zeros(len(pages), bool))
    logged, found = estimates(none, [("x", offer_of_lists(none, np.full((3, 2), -1), true_model()))], true_model(), 20, 0)
    assert np.isnan(logged.value)
    assert logged.n == 0
    assert np.isnan(found["x"].dr.value)
    assert found["x"].refused
