"""What happens in the shop, day by day: pages shown by a seeded random policy, finds by the users' own search, baskets,
refills and refunds. Loops run over days; within a day everything is an array over the day's visits."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.demo.world import (
    FAMILIAR,
    OWNED_CONSUMABLE,
    OWNED_DURABLE,
    PERIOD_DAYS,
    Bools,
    Floats,
    Goods,
    Ints,
    People,
    Random,
    buy_chance,
    cart_chance,
    sigmoid,
)

KINDS = ("view", "click", "add_to_cart", "buy", "refund")
"""The shop's own words, on purpose not ours: a config has to map them."""
VIEW, CLICK, CART, BUY, REFUND = range(len(KINDS))

POSITIONS = 10
UNIFORM_SHARE = 0.5
"""Each place of a page is filled uniformly with this chance, else in proportion to popularity."""
POPULARITY_POWER = 0.8
POPULARITY_HALF_LIFE = 14.0
LENT_CLICKS = 15.0
EXAMINATION_POWER = 0.7
FINDS_A_PAGE = 0.35
FOCUS = 1.2
"""How sharply a search follows the interest: chance in proportion to exp(FOCUS * logit)."""
REFILL_CHANCE, REFILL_DAYS = 0.55, 24.0
SECOND, DAY_SECONDS = 1_000_000, 86_400

Columns = dict[str, NDArray[Any]]
"""Event rows: name -> (n,) int64, propensity float64."""


@dataclass
class State:
    """What the shop and its users remember from day to day.

    clicks (n_items,) decayed counts; habit (n_users, n_items) float32 logits; habits: what changed it, by day; refills and
    refunds: day -> [(user, item)] to come.
    """

    clicks: NDArray[np.float64]
    habit: Floats
    habits: list[dict[str, Ints | Floats]] = field(default_factory=list)
    refills: dict[int, list[Ints]] = field(default_factory=lambda: defaultdict(list))
    refunds: dict[int, list[Ints]] = field(default_factory=lambda: defaultdict(list))


def draw_pages(rng: Random, weight: NDArray[np.float64], n_pages: int) -> tuple[Ints, NDArray[np.float64]]:
    """Pages of distinct items and the propensity of every place.

    weight (n,) > 0: popularity of the items on offer. Returns item (n_pages, POSITIONS), a column of weight, and the exact
    probability of that item at that position given the items above it on the page: with m items above, of popularity share
    s in all, p = UNIFORM_SHARE / (n - m) + (1 - UNIFORM_SHARE) * share / (1 - s). An item drawn twice is drawn again from
    the same part of the mixture, which renormalises that part over the items left: no other correction is due.
    """
    share = weight / weight.sum()
    cumulated = np.cumsum(share)
    item = np.full((n_pages, POSITIONS), -1)
    propensity = np.zeros((n_pages, POSITIONS))
    for place in range(POSITIONS):
        is_uniform, above = rng.random(n_pages) < UNIFORM_SHARE, item[:, :place]
        clash = np.ones(n_pages, dtype=bool)
        while clash.any():
            item[clash, place] = _draw_mixture(rng, is_uniform[clash], cumulated)
            clash = (above == item[:, place, None]).any(axis=1)
        left = 1 - share[above].sum(axis=1)
        propensity[:, place] = UNIFORM_SHARE / (len(share) - place) + (1 - UNIFORM_SHARE) * share[item[:, place]] / left
    return item, propensity


def _draw_mixture(rng: Random, is_uniform: Bools, cumulated: NDArray[np.float64]) -> Ints:
    number = rng.random(len(is_uniform))
    popular = np.minimum(np.searchsorted(cumulated, number, side="right"), len(cumulated) - 1)
    return np.asarray(np.where(is_uniform, (number * len(cumulated)).astype(np.int64), popular))


def simulate_day(rng: Random, goods: Goods, people: People, state: State, day: int) -> Columns:
    """The event rows of one day, in no order, and the state moved on by it.

    Columns: user, item, kind (a place in KINDS), time (microseconds from midnight), page and position (-1 where not from a
    page), propensity (nan there).
    """
    is_open = goods.is_open(day)
    crowd = people.rate * (people.joined <= day) * (1.25 if day % 7 >= 5 else 0.95)
    shown = _page_rows(rng, goods, people, state, np.repeat(np.arange(len(crowd)), rng.poisson(crowd)), day)
    found = _found_rows(rng, goods, people, state, np.repeat(np.arange(len(crowd)), rng.poisson(FINDS_A_PAGE * crowd)), day)
    refill = _due_rows(rng, state.refills.pop(day, []), is_open, CLICK)
    refund = _due_rows(rng, state.refunds.pop(day, []), is_open, REFUND)
    clicked = _joined([_only(shown, shown["kind"] == CLICK), found])
    logit = _logits(goods, people, state, clicked["user"], clicked["item"], day)
    carted, in_cart = _follow(rng, clicked, cart_chance(logit), CART, (10, 300))
    bought, _ = _follow(rng, carted, buy_chance(logit[in_cart]), BUY, (60, 1800))
    filled, _ = _follow(rng, refill, np.ones(len(refill["user"]), np.float32), CART, (5, 60))
    refilled, _ = _follow(rng, filled, np.ones(len(filled["user"]), np.float32), BUY, (60, 600))
    purchases = _joined([bought, refilled])
    _remember(rng, goods, people, state, _joined([clicked, refill]), purchases, day)
    return _joined([shown, found, refill, carted, filled, purchases, refund])


def _taste(people: People, user: Ints, day: int) -> Floats:
    return np.asarray(people.taste[day // PERIOD_DAYS][user])


def _logits(goods: Goods, people: People, state: State, user: Ints, item: Ints, day: int) -> Floats:
    """Logit of each (user, item) pair, elementwise."""
    match = np.einsum("ij,ij->i", _taste(people, user, day), goods.traits[item])
    return np.asarray(match + goods.lift[item, day] + state.habit[user, item])


def _page_rows(rng: Random, goods: Goods, people: People, state: State, visitor: Ints, day: int) -> Columns:
    """Views of a page each, and the clicks on them: an item is clicked when it is examined and of interest."""
    offered = np.flatnonzero(goods.is_open(day))
    place, propensity = draw_pages(rng, (1 + state.clicks[offered] + _novelty(goods, day)[offered]) ** POPULARITY_POWER, len(visitor))
    position = np.tile(np.arange(1, POSITIONS + 1), len(visitor))
    page = np.repeat(np.arange(len(visitor)), POSITIONS)
    start = np.repeat(_visit_times(rng, len(visitor)), POSITIONS)
    views = _rows(visitor[page], offered[place.ravel()], VIEW, start, page, position, propensity.ravel())
    is_examined = rng.random(len(page)) < position**-EXAMINATION_POWER
    logit = _logits(goods, people, state, visitor[page], offered[place.ravel()], day)
    clicks, _ = _follow(rng, views, np.where(is_examined, sigmoid(logit), 0).astype(np.float32), CLICK, (2, 90))
    return _joined([views, clicks])


def _novelty(goods: Goods, day: int) -> NDArray[np.float64]:
    """Clicks that the shop lends a new item, so that it is shown at all."""
    return np.asarray(LENT_CLICKS * np.exp2(-np.maximum(day - goods.first_day, 0) / 7))


def _found_rows(rng: Random, goods: Goods, people: People, state: State, visitor: Ints, day: int) -> Columns:
    """Clicks on one to three items that a user found by searching; drawn without replacement by the Gumbel trick."""
    offered = np.flatnonzero(goods.is_open(day))
    logit = _taste(people, visitor, day) @ goods.traits[offered].T + goods.lift[offered, day] + state.habit[np.ix_(visitor, offered)]
    appeal = FOCUS * logit + rng.gumbel(size=logit.shape)
    best = np.argsort(-appeal, axis=1, kind="stable")[:, :3] if len(visitor) else np.zeros((0, 3), np.int64)
    is_found = np.arange(3) < rng.integers(1, 4, (len(visitor), 1))
    user, start = np.broadcast_to(visitor[:, None], best.shape)[is_found], _visit_times(rng, len(visitor))
    return _rows(
        user,
        offered[best[is_found]],
        CLICK,
        np.broadcast_to(start[:, None], best.shape)[is_found] + rng.integers(0, 120 * SECOND, len(user)),
    )


def _due_rows(rng: Random, due: list[Ints], is_open: Bools, kind: int) -> Columns:
    """Planned rows (user, item) of the day; the shop neither sells nor takes back what it has withdrawn."""
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *due])
    pairs = pairs[is_open[pairs[:, 1]]]
    return _rows(pairs[:, 0], pairs[:, 1], kind, _visit_times(rng, len(pairs)))


def _visit_times(rng: Random, n: int) -> Ints:
    """Microseconds from midnight, 06:00 to 22:30: what follows a visit, less than an hour, stays in the day."""
    return np.asarray((DAY_SECONDS * SECOND * (0.25 + 0.6875 * rng.beta(2.4, 1.8, n))).astype(np.int64))


def _rows(
    user: Ints,
    item: Ints,
    kind: int,
    time: Ints,
    page: Ints | None = None,
    position: Ints | None = None,
    propensity: NDArray[np.float64] | None = None,
) -> Columns:
    none = np.full(len(user), -1)
    return {
        "user": user,
        "item": item,
        "kind": np.full(len(user), kind),
        "time": time,
        "page": none if page is None else page,
        "position": none if position is None else position,
        "propensity": np.full(len(user), np.nan) if propensity is None else propensity,
    }


def _follow(rng: Random, rows: Columns, chance: Floats, kind: int, seconds: tuple[int, int]) -> tuple[Columns, Bools]:
    """The rows that lead on to the next kind of event, so many seconds later, and which they are."""
    is_led = rng.random(len(chance)) < chance
    led = _only(rows, is_led)
    delay = rng.integers(seconds[0] * SECOND, seconds[1] * SECOND, len(led["user"]))
    return led | {"kind": np.full(len(delay), kind), "time": led["time"] + delay}, is_led


def _only(rows: Columns, mask: NDArray[np.bool_]) -> Columns:
    return {name: values[mask] for name, values in rows.items()}


def _joined(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _remember(rng: Random, goods: Goods, people: People, state: State, clicks: Columns, purchases: Columns, day: int) -> None:
    user, item = purchases["user"], purchases["item"]
    state.clicks *= 0.5 ** (1 / POPULARITY_HALF_LIFE)
    state.clicks += np.bincount(clicks["item"], minlength=len(goods))
    pairs = np.stack([user, item], axis=1)
    _form_habits(state, clicks, np.column_stack([pairs, goods.is_consumable[item]]), day)
    is_refilled = goods.is_consumable[item] & (rng.random(len(user)) < REFILL_CHANCE)
    _plan(state.refills, pairs[is_refilled], day + 7 + rng.gamma(3.0, (REFILL_DAYS - 7) / 3, is_refilled.sum()).astype(np.int64))
    budget_misfit = np.abs(goods.level[item] - people.taste[0][user, -2] / -people.taste[0][user, -1] / 2)
    is_refunded = ~goods.is_consumable[item] & (rng.random(len(user)) < sigmoid(-2.2 - 0.9 * goods.quality[item] + 0.5 * budget_misfit))
    _plan(state.refunds, pairs[is_refunded], day + rng.integers(3, 15, is_refunded.sum()))


def _form_habits(state: State, clicks: Columns, bought: Ints, day: int) -> None:
    """Clicks make familiar what was new; then purchases, rows (user, item, is_consumable), outdo clicks."""
    user, item = clicks["user"], clicks["item"]
    is_new = state.habit[user, item] == 0
    user, item = np.concatenate([user[is_new], bought[:, 0]]), np.concatenate([item[is_new], bought[:, 1]])
    logit = np.concatenate([np.full(is_new.sum(), FAMILIAR), np.where(bought[:, 2], OWNED_CONSUMABLE, OWNED_DURABLE)]).astype(np.float32)
    state.habit[user, item] = logit
    state.habits.append({"day": np.full(len(user), day), "user_index": user, "item_index": item, "logit": logit})


def _plan(plan: dict[int, list[Ints]], pairs: Ints, days: Ints) -> None:
    for day in np.unique(days):
        plan[int(day)].append(pairs[days == day])
