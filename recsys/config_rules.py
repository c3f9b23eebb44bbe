"""The rules of the shop over what the ranker says: what may not be listed, what must, and what shall be moved."""

from collections.abc import Iterator
from itertools import combinations
from typing import Annotated, Any

from pydantic import Field

from recsys.config_tables import Events, Items, Section, Sql, Users
from recsys.errors import nearest
from recsys.schema import CHANCES
from recsys.sql import condition

RestDays = Annotated[int, Field(ge=0, le=3650)]
Most = Annotated[int, Field(ge=1, le=10000)]


IDS = ("item.item_id", "user.user_id")
ALWAYS_SLICED = {"item.category": "item_category", "item.price": "item_price"}
"""Column -> the slice that every verdict has of it."""


class Pin(Section):
    """One item, or the best of some, at a fixed rank."""

    rank: int = Field(ge=1, le=10000, description="place in the list, from 1; a list that is shorter has it last")
    item: str = Field("", description="item_id of what is placed, whether or not it is among the user's candidates")
    items: str = Field("", description="instead: SQL condition; the user's best candidate that meets it is placed")
    users: str = Field("", description="SQL condition over user.*: for whom; empty: for everybody")


class Boost(Section):
    """Candidates that are raised or lowered."""

    where: Sql = Field(description="SQL condition over item.* and user.*: which candidates")
    by: float = Field(ge=-100, le=100, description="moved as if the score were so many standard deviations of the user's candidates higher")


class Rules(Section):
    """What the shop wants beside what the ranker says. A condition that is not TRUE (also: NULL) is not met."""

    seen_days: RestDays = Field(0, description="days for which nothing is listed that the user did anything with; 0: no such rule")
    bought_days: RestDays = Field(0, description="days after a purchase in which the item is not listed to its buyer; 0: no such rule")
    bought_days_by_category: dict[str, RestDays] = Field({}, description="category = days, in place of bought_days for its items")
    eligible: dict[str, Sql] = Field({}, description="name = SQL condition over item.* and user.*: what may be listed to whom")
    min_score: float | None = Field(
        None,
        ge=-100,
        le=100,
        description="least score of a listed item, in standard deviations above the mean of the user's candidates; left out: none",
    )
    min_click_probability: float = Field(0.0, ge=0, le=1, description="least click_probability of a listed item; 0: no such rule")
    min_purchase_probability: float = Field(0.0, ge=0, le=1, description="least purchase_probability of a listed item; 0: no such rule")
    caps: dict[str, Most] = Field(
        {}, description="column of items = most items of one value in a list; items without a value are not capped"
    )
    boosts: dict[str, Boost] = Field({}, description="per name: where, by")
    pins: dict[str, Pin] = Field({}, description="per name: rank, item or items, users")
    mmr_lambda: float = Field(
        1.0, ge=0, le=1, description="weight of the score against likeness (of texts) to what is already listed (MMR); 1: no such rule"
    )

    @property
    def each(self) -> dict[str, Any]:
        """The rules that are set, by place below [rules], in the order in which they are told: what is said there, ready for JSON."""
        said = self.model_dump(mode="json")
        of_category = said.pop("bought_days_by_category")
        said["bought_days"] = [self.bought_days, of_category] if any(of_category.values()) else self.bought_days
        found: dict[str, Any] = {}
        for name, one in said.items():
            if isinstance(one, dict):
                found |= {f"{name}.{each}": value for each, value in one.items()}
            elif one != Rules.model_fields[name].default:
                found[name] = one
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """The rules that are set, by place."""
        return tuple(self.each)

    @property
    def least_chances(self) -> dict[str, tuple[str, float]]:
        """rule -> a column of chances and its least value: of the rules that are set."""
        return {f"min_{column}": (column, getattr(self, f"min_{column}")) for column in CHANCES if getattr(self, f"min_{column}")}

    @property
    def conditions(self) -> dict[str, str]:
        """place below [rules] -> SQL: every condition there is."""
        of_pins = {f"pins.{name}.{key}": getattr(pin, key) for name, pin in self.pins.items() for key in ("items", "users")}
        return {
            **{f"eligible.{name}": text for name, text in self.eligible.items()},
            **{f"boosts.{name}.where": boost.where for name, boost in self.boosts.items()},
            **{place: text for place, text in of_pins.items() if text},
        }


def known_columns(items: Items, events: Events, users: Users) -> dict[str, list[str]]:
    """The columns that a condition may name, by table."""
    of_items = [*items.columns, *items.extra]
    if items.from_events:
        of_items.append("available_from")
    if "price" in events.columns and "price" not in of_items:
        of_items.append("price")
    return {"item": of_items, "user": list(users.columns)}


def rule_faults(rules: Rules, known: dict[str, list[str]], k: int) -> Iterator[str]:
    """Every fault of the rules, given the columns that a condition may name and the places of a list."""
    for place, text in rules.conditions.items():
        try:
            found = condition(text, known)
        except ValueError as error:
            yield f"rules.{place}: `{text}` {error}"
            continue
        if place.endswith(".users") and place.startswith("pins.") and found.item_columns:
            yield f"rules.{place}: `{text}` names item.{found.item_columns[0]}; whom a pin is for, user.* alone says"
    for column in rules.caps:
        if column not in known["item"]:
            yield f"rules.caps.{column}: items have no such column{nearest(column, known['item'])}"
    if rules.bought_days_by_category and "category" not in known["item"]:
        yield "rules.bought_days_by_category: items have no category; say in items.columns which of your columns it is"
    yield from _pin_faults(rules.pins, k)


def slice_faults(slices: tuple[str, ...], known: dict[str, list[str]]) -> Iterator[str]:
    """Every fault of the columns that slices are asked of, given those that there are, by table."""
    places = [f"{table}.{name}" for table, names in known.items() for name in names]
    for place in dict.fromkeys(slices):
        if slices.count(place) > 1:
            yield f"evaluate.slices: {place!r} is there twice"
        if place in IDS:
            yield f"evaluate.slices: {place!r} is an id, every value of it one {place.split('.')[0]}; name a column that many share"
        elif place in ALWAYS_SLICED:
            yield f"evaluate.slices: {place!r} is a slice without being asked for, {ALWAYS_SLICED[place]}; take it away"
        elif place not in places:
            yield f"evaluate.slices: {place!r} is no column of items or users{nearest(place, places)}"


def _pin_faults(pins: dict[str, Pin], k: int) -> Iterator[str]:
    for name, pin in pins.items():
        if bool(pin.item) == bool(pin.items):
            yield f"rules.pins.{name}: has {'both item and items' if pin.item else 'neither item nor items'}; give one of them"
        if pin.rank > k:
            yield f"rules.pins.{name}.rank: {pin.rank} is beyond the list, rank.k = {k}"
    for (one, a), (other, b) in combinations(pins.items(), 2):
        if a.rank == b.rank and not (a.users and b.users):
            yield f"rules.pins.{other}.rank: rank {b.rank} is taken by rules.pins.{one}; give both a condition on users, or another rank"
