"""The hidden truth of the shop: what each item is, what each user loves, and how interest follows from the two.

The logit of a click on an examined item is `taste . traits + lift(item, day) + habit(user, item)`. Traits are the facets
that the text tells (category, theme, material, colour, style), the price level, and a few dimensions of looks that no
text tells, so that co-visitation has something of its own to find. Lift is quality, newness, season, fashion and sales.
Habit is what the past does: an item looked at and left has lost its charm, a second lamp is unwanted, a second soap is not.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from recsys.demo.words import CATEGORIES, COLOUR_NAMES, MATERIAL_NAMES, STYLE_NAMES, THEME_NAMES, write_texts

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Random = np.random.Generator

START = date(2026, 3, 2)
"""A Monday. Fixed, so that the same seed gives the same bytes on any day."""
PERIOD_DAYS = 14
N_LOOKS = 4
WIDTHS = (len(CATEGORIES), len(THEME_NAMES), len(MATERIAL_NAMES), len(COLOUR_NAMES), len(STYLE_NAMES), N_LOOKS, 2)
"""Widths of the blocks of a trait vector: category, theme, material, colour, style, looks, price level and its square."""
N_TRAITS = sum(WIDTHS)
CONSUMABLES = np.array([[noun.is_consumable for noun in category.nouns] for category in CATEGORIES])

BASE_LOGIT = -3.4
PRICE_FIT = 0.3
FAMILIAR, OWNED_DURABLE, OWNED_CONSUMABLE = -1.5, -4.0, 0.5
N_ARCHETYPES = 8
DRIFT_CHANCE = 0.2
LOST_TEXT_SHARE, N_TEXTLESS, VARIANT_SHARE = 0.04, 2, 0.01
NEWNESS = 0.8
SALE_SHARE, SALE_OFF, SALE_LIFT = 0.08, 0.2, 0.5

THEME_SEASONS = {"easter": (93, 12.0, 3.0, -1.2), "christmas": (344, 20.0, 3.0, -1.2), "tropical": (185, 40.0, 1.2, -0.2)}
CATEGORY_SEASONS = {"garden": (140, 30.0, 1.2, -0.4), "candles": (350, 60.0, 1.0, 0.0), "jewellery": (125, 8.0, 0.8, 0.0)}
"""Peak day of the year, width in days, height and level far from the peak, in logits."""

CART_LOGIT, CART_SLOPE = -1.1, 0.35
BUY_LOGIT, BUY_SLOPE = 0.3, 0.3


@dataclass(frozen=True)
class Goods:
    """The items, in order of item_id.

    facets (n, 6) int64: category, noun, theme, material, colour, style; quality, level (n,) float32, standard normal, level
    being the price level within the noun; price, lift (n, n_days + 1) float32 by day; traits (n, N_TRAITS) float32;
    first_day, last_day (n,) int64: open on days [first_day, last_day), counted from START.
    """

    item_ids: list[str]
    texts: list[tuple[str, str]]
    facets: Ints
    quality: Floats
    level: Floats
    price: Floats
    lift: Floats
    traits: Floats
    first_day: Ints
    last_day: Ints
    is_consumable: Bools

    def __len__(self) -> int:
        return len(self.item_ids)

    def is_open(self, day: int) -> Bools:
        """(n,): may the item be shown and bought on that day."""
        return (self.first_day <= day) & (day < self.last_day)


@dataclass(frozen=True)
class People:
    """The users. taste (n_periods, n_users, N_TRAITS) float32; rate (n_users,) visits a day; joined (n_users,) first day."""

    user_ids: list[str]
    taste: Floats
    rate: Floats
    joined: Ints


def sigmoid(logit: Floats) -> Floats:
    """Elementwise 1 / (1 + exp(-logit)), float32."""
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


def cart_chance(logit: Floats) -> Floats:
    """P(cart | click), elementwise."""
    return sigmoid(CART_LOGIT + CART_SLOPE * logit)


def buy_chance(logit: Floats) -> Floats:
    """P(purchase | cart), elementwise."""
    return sigmoid(BUY_LOGIT + BUY_SLOPE * logit)


def worth(logit: Floats) -> Floats:
    """Expected label of an examined item, elementwise, 0 to 3: click 1, cart 2, purchase 3."""
    return sigmoid(logit) * (1 + cart_chance(logit) * (1 + buy_chance(logit)))


def make_goods(rng: Random, n_items: int, n_days: int) -> Goods:
    """Items with facets, texts, prices and dates: 60 % there from the start, the rest in equal weekly arrivals."""
    facets = _facets(rng, n_items)
    variants = _variants(rng, facets[:, 0])
    facets[variants + 1] = facets[variants]
    quality, level = rng.normal(size=(2, n_items)).astype(np.float32)
    texts = _flaws(rng, write_texts(rng, facets, np.digitize(level, [-0.6, 0.6])), variants)
    first_day, last_day = _shelf_life(rng, n_items, n_days)
    on_sale = np.repeat(rng.random((n_items, n_days // 7 + 1)) < SALE_SHARE, 7, axis=1)[:, : n_days + 1]
    median = np.array([c.price for c in CATEGORIES])[facets[:, 0]]
    list_price = np.maximum(np.round(median * np.exp(0.55 * level)) - 0.05, 0.95)
    price = np.round(list_price[:, None] * np.where(on_sale, 1 - SALE_OFF, 1.0), 2).astype(np.float32)
    lift = 0.4 * quality[:, None] + _season(rng, facets, n_days + 1) + SALE_LIFT * on_sale + _newness(first_day, n_days + 1)
    numbers = np.concatenate([np.arange(1, n + 1) for n in np.bincount(facets[:, 0])])
    item_ids = [f"{CATEGORIES[c].prefix}-{n:05d}" for c, n in zip(facets[:, 0], numbers, strict=True)]
    traits = _traits(rng, facets, level)
    is_consumable = CONSUMABLES[facets[:, 0], facets[:, 1]]
    return Goods(item_ids, texts, facets, quality, level, price, lift.astype(np.float32), traits, first_day, last_day, is_consumable)


def _facets(rng: Random, n_items: int) -> Ints:
    """Facets (n, 6), sorted by category; every category leans to some themes, as a real department does."""
    category = np.sort(np.concatenate([np.arange(len(CATEGORIES)), rng.integers(0, len(CATEGORIES), n_items - len(CATEGORIES))]))
    noun = rng.integers(0, [len(c.nouns) for c in CATEGORIES], (n_items, len(CATEGORIES)))[np.arange(n_items), category]
    leaning = rng.gamma(1.5, size=(len(CATEGORIES), len(THEME_NAMES)))
    theme = _draw(rng, leaning[category])
    made_of = np.array([[[name in n.materials for name in MATERIAL_NAMES] for n in c.nouns] for c in CATEGORIES], dtype=float)
    colour, style = rng.integers(0, [len(COLOUR_NAMES), len(STYLE_NAMES)], (n_items, 2)).T
    return np.stack([category, noun, theme, _draw(rng, made_of[category, noun]), colour, style], axis=1)


def _variants(rng: Random, category: Ints) -> Ints:
    """Rows whose next row shall be the same thing under the same text. Even rows only: no chains."""
    siblings = np.flatnonzero(category[:-1] == category[1:])
    return rng.choice(siblings[siblings % 2 == 0], max(1, round(VARIANT_SHARE * len(category))), replace=False)


def _draw(rng: Random, weight: NDArray[np.float64]) -> Ints:
    """One column for each row, in proportion to weight (n, m)."""
    cumulated = np.cumsum(weight, axis=1)
    return np.asarray((rng.random((len(weight), 1)) * cumulated[:, -1:] >= cumulated).sum(axis=1))


def _flaws(rng: Random, texts: list[tuple[str, str]], variants: Ints) -> list[tuple[str, str]]:
    """What real catalogues have: lost descriptions, variants under one text, items with no text."""
    flawed = list(texts)
    for place in rng.choice(len(texts), round(LOST_TEXT_SHARE * len(texts)), replace=False):
        flawed[place] = (texts[place][0], "")
    for place in variants:
        flawed[place + 1] = flawed[place]
    for place in rng.choice(len(texts), N_TEXTLESS, replace=False):
        flawed[place] = ("", "")
    return flawed


def _shelf_life(rng: Random, n_items: int, n_days: int) -> tuple[Ints, Ints]:
    n_weeks = n_days // 7
    first_day = -rng.integers(15, 400, n_items)
    arrivals = rng.permutation(n_items)[: round(0.4 * n_items)]
    first_day[arrivals] = 7 * (1 + np.arange(len(arrivals)) % (n_weeks - 1))
    never = n_days + 365
    end = 7 * rng.integers(2, n_weeks + 1, n_items)
    is_withdrawn = (rng.random(n_items) < 0.1) & (end >= first_day + 21) & (end < n_days)
    return first_day, np.where(is_withdrawn, end, never)


def _season(rng: Random, facets: Ints, n_days: int) -> NDArray[np.float64]:
    """(n_items, n_days): the year's seasons of themes and categories, and fashions of a theme that come and go unannounced."""
    days = np.arange(n_days)
    year_day = (START.timetuple().tm_yday + days) % 365
    period, phase = rng.uniform(50, 120, (len(THEME_NAMES), 1)), rng.uniform(0, 2 * np.pi, (len(THEME_NAMES), 1))
    theme, category = 0.4 * np.cos(2 * np.pi * days / period + phase), np.zeros((len(CATEGORIES), n_days))
    for name, curve in THEME_SEASONS.items():
        theme[THEME_NAMES.index(name)] += _bump(year_day, *curve)
    for name, curve in CATEGORY_SEASONS.items():
        category[[c.name for c in CATEGORIES].index(name)] += _bump(year_day, *curve)
    return np.asarray(theme[facets[:, 2]] + category[facets[:, 0]])


def _newness(first_day: Ints, n_days: int) -> NDArray[np.float64]:
    return np.asarray(NEWNESS * np.exp2(-np.maximum(np.arange(n_days) - first_day[:, None], 0) / 10))


def _bump(year_day: Ints, peak: int, width: float, height: float, level: float) -> NDArray[np.float64]:
    distance = np.abs((year_day - peak + 182) % 365 - 182)
    return level + (height - level) * np.exp(-0.5 * (distance / width) ** 2)


def _traits(rng: Random, facets: Ints, level: Floats) -> Floats:
    traits = np.zeros((len(facets), N_TRAITS), dtype=np.float32)
    starts = np.cumsum((0, *WIDTHS))
    for block, column in enumerate((0, 2, 3, 4, 5)):
        traits[np.arange(len(facets)), starts[block] + facets[:, column]] = 1
    traits[:, starts[5] : starts[6]] = rng.normal(size=(len(facets), N_LOOKS))
    traits[:, starts[6] :] = np.stack([level, level**2], axis=1)
    return traits


def make_people(rng: Random, n_users: int, n_days: int, visits: float) -> People:
    """Users with drifting tastes and a heavy-tailed number of visits a day, `visits` on average; a third join late."""
    rate = rng.lognormal(0, 0.8, n_users)
    joined = np.where(rng.random(n_users) < 0.65, 0, rng.integers(0, n_days, n_users))
    joined[rng.permutation(n_users)[: n_users // 16]] = n_days - 10
    n_periods = n_days // PERIOD_DAYS + 1
    user_ids = [f"u{number:05d}" for number in range(1, n_users + 1)]
    return People(user_ids, _tastes(rng, n_users, n_periods), (visits * rate / rate.mean()).astype(np.float32), joined)


def _tastes(rng: Random, n_users: int, n_periods: int) -> Floats:
    """(n_periods, n_users, N_TRAITS): only the loved themes change; the rest of a person stays."""
    archetype = rng.integers(0, N_ARCHETYPES, n_users)
    category = _likes(rng, _circle(rng, len(CATEGORIES))[archetype], n_loved=2, love=1.6, dislike=-0.8)
    material = _likes(rng, np.ones((n_users, len(MATERIAL_NAMES))), n_loved=2, love=0.5, dislike=-0.4)
    colour = _likes(rng, np.ones((n_users, len(COLOUR_NAMES))), n_loved=2, love=0.6, dislike=-0.4)
    style = _likes(rng, np.ones((n_users, len(STYLE_NAMES))), n_loved=1, love=0.6, dislike=-0.4)
    budget = rng.normal(size=n_users)
    price = np.stack([2 * PRICE_FIT * budget, np.full(n_users, -PRICE_FIT)], axis=1)
    looks = 0.3 * rng.normal(size=(n_users, N_LOOKS))
    themes = _drifting(rng, _circle(rng, len(THEME_NAMES))[archetype], n_periods)
    # The base and the user's own squared budget are the same for every item; the category block is one-hot, so it can bear them.
    category = category + (BASE_LOGIT - PRICE_FIT * budget**2)[:, None]
    return np.stack([np.hstack([category, theme, material, colour, style, looks, price]) for theme in themes]).astype(np.float32)


def _circle(rng: Random, width: int) -> NDArray[np.float64]:
    """(N_ARCHETYPES, width): how likely each kind of person loves each value."""
    return rng.dirichlet(np.full(width, 0.3), N_ARCHETYPES) + 0.3 / width


def _likes(rng: Random, weight: NDArray[np.float64], n_loved: int, love: float, dislike: float) -> NDArray[np.float64]:
    """(n_users, width): a few loved values, one disliked, faint opinions on the rest."""
    order = np.argsort(-np.log(weight) - rng.gumbel(size=weight.shape), axis=1)
    likes = rng.normal(0, 0.2, weight.shape)
    n_each = rng.integers(1, n_loved + 2, len(weight))
    rank = np.argsort(order, axis=1)
    return np.where(rank < n_each[:, None], love, np.where(rank == weight.shape[1] - 1, dislike, 0.0)) + likes


def _drifting(rng: Random, weight: NDArray[np.float64], n_periods: int) -> list[NDArray[np.float64]]:
    """Per period (n_users, n_themes): 2 or 3 loved themes; with DRIFT_CHANCE the user drops them for newly drawn ones."""
    love, faint = rng.normal(3.0, 0.4, (len(weight), 1)), rng.normal(0, 0.25, weight.shape)
    appeal, n_loved = np.log(weight) + rng.gumbel(size=weight.shape), rng.integers(2, 4, len(weight))
    themes = []
    for _ in range(n_periods):
        rank = np.argsort(np.argsort(-appeal, axis=1), axis=1)
        themes.append(np.where(rank < n_loved[:, None], love, faint - 0.3))
        dropped = (rng.random(len(weight)) < DRIFT_CHANCE)[:, None] & (rank == rng.integers(0, n_loved)[:, None])
        appeal = np.where(dropped, np.log(weight) + rng.gumbel(size=weight.shape) - 3, appeal)
    return themes
