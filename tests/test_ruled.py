"""Rules over many lists at once, against a loop that fills one list at a time."""

import math
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import END

from recsys.blocks import History
from recsys.config_rules import Rules
from recsys.errors import SourceError
from recsys.rules import Asked, Book, Ruled, Tally, likeness
from recsys.schema import EVENT_TYPES

N_ITEMS, N_USERS = 8, 3
ITEM_IDS = [f"i{n}" for n in range(N_ITEMS)]
AXES = np.eye(4, dtype=np.float32)


class Item(NamedTuple):
    brand: str | None
    category: str | None
    min_age: int | None
    is_offered: bool
    axis: int | None
    """Items of one axis are alike, of two not at all; None: no text."""


class Case(NamedTuple):
    items: list[Item]
    ages: list[int | None]
    candidates: list[dict[int, float]]
    """A user's scores by item."""
    events: list[list[tuple[int, str, float]]]
    """A user's (item, event type, days ago), latest last."""
    is_new: bool
    rules: dict[str, Any]
    k: int


items = st.builds(
    Item,
    brand=st.sampled_from([None, "x", "y"]),
    category=st.sampled_from([None, "tea", "lamp"]),
    min_age=st.sampled_from([None, 6, 18]),
    is_offered=st.sampled_from([True, True, True, False]),
    axis=st.sampled_from([None, 0, 1, 2, 3]),
)
happened = st.tuples(st.integers(0, N_ITEMS - 1), st.sampled_from(["click", "purchase", "return"]), st.sampled_from([1.5, 7.0, 20.0, 40.0]))
conditions = {
    "age": "item.min_age <= user.age",
    "brand": "item.brand = 'x'",
    "grown_up": "user.age >= 18",
    "not_x": "item.brand <> 'x'",
}
TRUE = {
    "age": lambda item, age: item.min_age is not None and age is not None and item.min_age <= age,
    "brand": lambda item, age: item.brand == "x",
    "grown_up": lambda item, age: age is not None and age >= 18,
    "not_x": lambda item, age: item.brand is not None and item.brand != "x",
}
"""What a condition says, NULL being not TRUE."""

condition = st.sampled_from(sorted(conditions))
pin = st.one_of(
    st.fixed_dictionaries({"rank": st.integers(1, 4), "item": st.sampled_from([*ITEM_IDS, "i99"])}),
    st.fixed_dictionaries({"rank": st.integers(1, 4), "items": condition}),
)
rules = st.fixed_dictionaries(
    {},
    optional={
        "seen_days": st.sampled_from([5, 20]),
        "bought_days": st.sampled_from([7, 30]),
        "bought_days_by_category": st.sampled_from([{}, {"tea": 0}, {"tea": 10, "lamp": 100}]),
        "eligible": st.lists(condition, max_size=2, unique=True),
        "min_score": st.sampled_from([-0.71, 0.31]),
        "min_click_probability": st.sampled_from([0.2, 0.3]),
        "min_purchase_probability": st.sampled_from([0.1, 0.5]),
        "caps": st.dictionaries(st.sampled_from(["brand", "category"]), st.integers(1, 2)),
        "boosts": st.dictionaries(condition, st.sampled_from([0.37, -0.83, 3.0])),
        "pins": st.lists(st.tuples(pin, st.sampled_from(["", "grown_up"])), max_size=3),
        "mmr_lambda": st.sampled_from([0.0, 0.3, 0.7]),
    },
)
cases = st.builds(
    Case,
    items=st.lists(items, min_size=N_ITEMS, max_size=N_ITEMS),
    ages=st.lists(st.sampled_from([None, 5, 12, 40]), min_size=N_USERS, max_size=N_USERS),
    candidates=st.lists(st.dictionaries(st.integers(0, N_ITEMS - 1), st.sampled_from([-1.0, 0.0, 0.5, 2.5])), min_size=3, max_size=3),
    events=st.lists(st.lists(happened, max_size=4), min_size=N_USERS, max_size=N_USERS),
    is_new=st.booleans(),
    rules=rules,
    k=st.integers(1, 5),
)


CHANCES = {
    "click_probability": {-1.0: math.nan, 0.0: 0.2, 0.5: 0.3, 2.5: 0.9},
    "purchase_probability": {-1.0: 0.05, 0.0: 0.1, 0.5: math.nan, 2.5: 0.5},
}
"""Of each score."""


def rules_of(case: Case) -> Rules:
    asked = dict(case.rules)
    asked["eligible"] = {name: conditions[name] for name in asked.get("eligible", [])}
    asked["boosts"] = {name: {"where": conditions[name], "by": by} for name, by in asked.get("boosts", {}).items()}
    asked["pins"] = {
        f"p{n}": {**one, "users": conditions.get(users, "")} | ({"items": conditions[one["items"]]} if "items" in one else {})
        for n, (one, users) in enumerate(asked.get("pins", []))
    }
    return Rules.model_validate(asked)


def ruled(case: Case) -> Ruled:
    columns = {"brand": pl.String, "category": pl.String, "min_age": pl.Int32}
    frame = pl.DataFrame({name: [getattr(item, name) for item in case.items] for name in columns}, schema=columns)
    frame = frame.with_columns(item_id=pl.Series(ITEM_IDS))
    users = pl.DataFrame({"user_id": [f"u{n}" for n in range(N_USERS)], "age": pl.Series(case.ages, dtype=pl.Int32)})
    vectors = np.stack([AXES[item.axis] if item.axis is not None else np.zeros(4, np.float32) for item in case.items])
    book = Book.of(rules_of(case), frame, users.head(0), np.array([item.is_offered for item in case.items]), vectors)
    events = [sorted(of_user, key=lambda event: -event[2]) for of_user in case.events]
    flat = [event for of_user in events for event in of_user]
    history = History(
        users["user_id"],
        END,
        np.cumsum([0, *map(len, events)]),
        np.array([item for item, _, _ in flat], np.int32),
        np.array([EVENT_TYPES.index(kind) for _, kind, _ in flat], np.int8),
        np.array([days for _, _, days in flat], np.float32),
        np.ones(len(flat), np.float32),
    )
    rows = [(user, item, score) for user, of_user in enumerate(offered(case)) for item, score in sorted(of_user.items())]
    user, item, score = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.empty(0),) * 3
    known = {name: np.array([of_score.get(one, math.nan) for one in score], np.float32) for name, of_score in CHANCES.items()}
    return Ruled(book, Asked(history, users, user.astype(np.int32), item.astype(np.int32), score.astype(np.float64), case.is_new, known))


def offered(case: Case) -> list[dict[int, float]]:
    """Candidates are on offer."""
    return [{item: score for item, score in of_user.items() if case.items[item].is_offered} for of_user in case.candidates]


def by_hand(case: Case, user: int, names: set[str]) -> list[int]:
    """The items of one user's list under some of the rules, place after place."""
    rules, age, scores = rules_of(case), case.ages[user], offered(case)[user]
    true = {text: TRUE[name] for name, text in conditions.items()}
    had = {item for item, _, _ in case.events[user]}

    def rests(item: int) -> bool:
        latest = min((days for other, _, days in case.events[user] if other == item), default=math.inf)
        bought = min((days for other, kind, days in case.events[user] if other == item and kind == "purchase"), default=math.inf)
        of_item = rules.bought_days_by_category.get(case.items[item].category or "", rules.bought_days)
        return ("seen_days" in names and latest <= rules.seen_days) or ("bought_days" in names and bought <= of_item)

    def is_open(item: int) -> bool:
        met = all(true[text](case.items[item], age) for name, text in rules.eligible.items() if f"eligible.{name}" in names)
        return met and not rests(item) and not (case.is_new and item in had)

    asked = {item: score for item, score in scores.items() if not (case.is_new and item in had)}
    mean = sum(asked.values()) / max(len(asked), 1)
    spread = math.sqrt(sum((score - mean) ** 2 for score in asked.values()) / max(len(asked), 1))
    worth = {
        item: score
        + spread * sum(b.by for name, b in rules.boosts.items() if f"boosts.{name}" in names and true[b.where](case.items[item], age))
        for item, score in asked.items()
        if is_open(item)
    }

    def is_capped(item: int, listed: list[int]) -> bool:
        values = [(column, getattr(case.items[item], column), most) for column, most in rules.caps.items() if f"caps.{column}" in names]
        return any(
            value is not None and sum(getattr(case.items[i], column) == value for i in listed) >= most for column, value, most in values
        )

    pinned: dict[int, int] = {}
    for name, one in sorted(rules.pins.items(), key=lambda entry: entry[1].rank):
        if f"pins.{name}" not in names or one.rank > case.k or one.rank in pinned or (one.users and not true[one.users](None, age)):
            continue
        if one.item:
            number = ITEM_IDS.index(one.item) if one.item in ITEM_IDS else None
            choice = [number] if number is not None and case.items[number].is_offered and is_open(number) else []
        else:
            choice = [item for item in worth if true[one.items](case.items[item], age)]
        choice = [item for item in choice if item not in pinned.values() and not is_capped(item, list(pinned.values()))]
        if choice:
            pinned[one.rank] = min(choice, key=lambda item: (-worth.get(item, 0), item))

    floor = mean + rules.min_score * spread if rules.min_score is not None and "min_score" in names else -math.inf
    least = {name: getattr(rules, f"min_{name}") for name in CHANCES if f"min_{name}" in names}
    likely = {item for item in worth if all(CHANCES[name][scores[item]] >= one for name, one in least.items())}
    candidates = {item: value for item, value in worth.items() if scores[item] >= floor and item in likely}
    low, high = min(candidates.values(), default=0), max(candidates.values(), default=0)
    listed: list[int] = []

    def value(item: int) -> float:
        if "mmr_lambda" not in names:
            return candidates[item]
        chosen, axis = [*pinned.values(), *listed], case.items[item].axis
        near = max((float(axis is not None and axis == case.items[other].axis) for other in chosen), default=0.0)
        relevance = (candidates[item] - low) / (high - low) if high > low else 0.0
        return rules.mmr_lambda * relevance - (1 - rules.mmr_lambda) * near

    for place in range(1, case.k + 1):
        if place in pinned:
            listed.append(pinned[place])
            continue
        taken = [*listed, *(item for rank, item in pinned.items() if rank > place)]
        left = [item for item in candidates if item not in taken and not is_capped(item, taken)]
        if left:
            listed.append(min(left, key=lambda item: (-value(item), item)))
    return listed


def found(one: Ruled, names: tuple[str, ...], k: int) -> list[list[int]]:
    cells = one.lists(names, k)[0]
    return [[int(one.item[user, cell]) for cell in cells[user] if cell >= 0] for user in range(N_USERS)]


@given(case=cases)
@settings(deadline=None, max_examples=400)
def test_lists_under_all_rules_and_under_each_are_those_of_a_loop_by_hand(case: Case) -> None:
    one = ruled(case)
    names = one.book.rules.names
    for kept in [(), names, *((name,) for name in names)]:
        assert found(one, kept, case.k) == [by_hand(case, user, set(kept)) for user in range(N_USERS)]


@given(case=cases)
@settings(deadline=None, max_examples=200)
def test_lists_run_from_one_without_a_gap_and_hold_an_item_once_and_come_again(case: Case) -> None:
    placed = ruled(case).placed(case.k)
    lists = pl.DataFrame({"user": placed.user, "rank": placed.rank, "item": placed.item_id})
    for (_,), own in lists.group_by("user", maintain_order=True):
        assert own["rank"].to_list() == list(range(1, own.height + 1))
        assert own["item"].n_unique() == own.height
    assert np.isfinite(placed.score).all()
    again = ruled(case).placed(case.k)
    assert all(np.array_equal(getattr(placed, name), getattr(again, name)) for name in ("user", "row", "rank", "score", "is_pinned"))


@given(case=cases)
@settings(deadline=None, max_examples=200)
def test_the_counts_are_those_of_lists_compared_by_hand(case: Case) -> None:
    one, tally = ruled(case), Tally()
    tally.add(one, case.k)
    names = one.book.rules.names
    plain = [by_hand(case, user, set()) for user in range(N_USERS)]
    for name, kept, change in [*((name, {name}, tally.by_rule[name]) for name in names), ("", set(names), tally.together)]:
        lists = [by_hand(case, user, kept) for user in range(N_USERS)]
        pairs = list(zip(plain, lists, strict=True))
        assert change.removed == sum(len(set(a) - set(b)) for a, b in pairs), name
        assert change.moved == sum(a.index(item) != b.index(item) for a, b in pairs for item in set(a) & set(b)), name
        assert change.users == sum(a != b for a, b in pairs), name
        assert change.short == sum(len(b) < len(a) for a, b in pairs), name
    lists = [by_hand(case, user, set(names)) for user in range(N_USERS)]
    assert (tally.n_users, tally.none) == (N_USERS, sum(not own for own in lists))
    unlimited = [by_hand(case, user, {name for name in names if not name.endswith("probability")}) for user in range(N_USERS)]
    assert tally.unlikely == sum(bool(a) and not b for a, b in zip(unlimited, lists, strict=True))


@given(case=cases)
@settings(deadline=None, max_examples=100)
def test_likeness_out_of_a_table_and_out_of_vectors_is_the_same(case: Case) -> None:
    names = rules_of(case).names
    of_table = found(ruled(case), names, case.k)
    before = likeness.SHARED_ITEMS, likeness.VECTORS_MB
    try:
        likeness.SHARED_ITEMS, likeness.VECTORS_MB = 0, 0  # users one by one
        assert found(ruled(case), names, case.k) == of_table
    finally:
        likeness.SHARED_ITEMS, likeness.VECTORS_MB = before


def plain_case(**changes: Any) -> Case:
    """Three users whose candidates are the eight items, the first the best."""
    item = Item("x", "tea", None, True, 0)
    given: dict[str, Any] = {
        "items": [item] * N_ITEMS,
        "ages": [40] * N_USERS,
        "candidates": [{n: float(-n) for n in range(N_ITEMS)}] * N_USERS,
        "events": [[]] * N_USERS,
        "is_new": False,
        "rules": {},
        "k": 4,
    }
    return Case(**given | changes)


def test_mmr_takes_the_unlike_item_before_the_better_one() -> None:
    items = [Item(None, None, None, True, axis) for axis in (0, 0, 0, 1, 1, 2, None, 3)]
    # Relevance falls by 1/7 a place: 0.5 x 1/7 is less than 0.5 x 1, so each axis comes once, and what has no text is like nothing.
    assert found(ruled(plain_case(items=items, rules={"mmr_lambda": 0.5}, k=6)), ("mmr_lambda",), 6)[0] == [0, 3, 5, 6, 7, 1]


def test_a_boost_moves_by_standard_deviations_of_the_users_own_candidates() -> None:
    items = [Item("x" if n == 3 else None, None, None, True, None) for n in range(N_ITEMS)]
    candidates = [{n: scale * -n for n in range(N_ITEMS)} for scale in (1.0, 1000.0, 0.001)]
    # The deviation of 0 .. 7 is 2.29: half of it passes one item, whatever the scale of the scores.
    case = plain_case(items=items, candidates=candidates, rules={"boosts": {"brand": 0.5}})
    assert found(ruled(case), ("boosts.brand",), 4) == [[0, 1, 3, 2]] * N_USERS


def test_a_pinned_item_that_was_no_candidate_has_the_lowest_score_and_no_row() -> None:
    case = plain_case(candidates=[{1: 5.0, 2: 3.0}, {}, {7: 1.0}], rules={"pins": [({"rank": 1, "item": "i7"}, "")]})
    placed = ruled(case).placed(4)
    assert placed.item_id.to_list() == ["i7", "i1", "i2", "i7", "i7"]
    assert placed.row.tolist() == [-1, 0, 1, -1, 2]
    assert placed.score.tolist() == [3.0, 5.0, 3.0, 0.0, 1.0]
    assert placed.is_pinned.tolist() == [True, False, False, True, True]


def test_a_condition_of_another_type_is_refused_before_anybody_is_asked() -> None:
    frame = pl.DataFrame({"item_id": ["a"], "brand": ["x"]})
    asked = Rules(eligible={"brand": "item.brand > 3"})
    with pytest.raises(SourceError, match=r"rules.eligible.brand: `item.brand > 3` cannot be computed: cannot compare string"):
        Book.of(asked, frame, pl.DataFrame(), np.ones(1, bool), None)


@pytest.mark.parametrize(
    ("values", "codes"),
    [(["y", None, "x", "y"], [1, -1, 0, 1]), ([True, False, None, True], [1, 0, -1, 1]), ([1.5, 1.5, None, 2.0], [0, 0, -1, 1])],
)
def test_any_column_of_single_values_can_be_capped(values: list[Any], codes: list[int]) -> None:
    frame = pl.DataFrame({"item_id": ["a", "b", "c", "d"], "kind": values})
    book = Book.of(Rules(caps={"kind": 1}), frame, pl.DataFrame(), np.ones(4, bool), None)
    assert book.code("kind").tolist() == codes


def test_a_cap_of_a_column_of_lists_is_refused() -> None:
    frame = pl.DataFrame({"item_id": ["a"], "tags": [["x", "y"]]})
    with pytest.raises(SourceError, match=r"rules.caps.tags: is List\(String\), and a cap counts single values"):
        Book.of(Rules(caps={"tags": 1}), frame, pl.DataFrame(), np.ones(1, bool), None)
