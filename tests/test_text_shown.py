"""Impression lists against a nested loop, and the signals against their worked values."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import START, events_table, items_table

from recsys.blocks import Catalogue, History
from recsys.config_tables import EventType
from recsys.errors import TableError
from recsys.schema import EVENTS
from recsys.text.shown import Shown, refuse_none
from recsys.text.signals import disliked_items, inverse_exposure, time_decay

HOUR = timedelta(hours=1)
FOLLOW = 3
END = START + 30 * HOUR
CATALOGUE = Catalogue.of(items_table([{"item_id": name} for name in "abcd"]))
USERS = pl.Series("user_id", ["u", "v", "w"])
TYPES = {
    "impression": EventType(weight=0),
    "click": EventType(weight=0.25, label=1, short_below=5),
    "cart": EventType(weight=0.5, label=2),
    "purchase": EventType(weight=1, label=3),
    "return": EventType(weight=0),
}
WEIGHTS = {name: kind.weight for name, kind in TYPES.items()}

Event = dict[str, Any]


def event(user: str, item: str, kind: str, hours: float, request: str | None = None, **more: Any) -> Event:
    empty = dict.fromkeys(EVENTS.names)
    return empty | {"user_id": user, "item_id": item, "event_type": kind, "event_time": START + hours * HOUR, "request_id": request} | more


def table(events: list[Event]) -> pl.DataFrame:
    return pl.DataFrame(events, schema={c.name: c.dtype for c in EVENTS.columns}, orient="row")


def shown_of(events: list[Event], users: pl.Series = USERS) -> Shown:
    return Shown.of(table(events).lazy(), CATALOGUE, users, START, END, TYPES, FOLLOW)


def rows_of(shown: Shown) -> list[tuple[Any, ...]]:
    """(user, list's age, item, position, propensity, label, weight) of each item shown, in order."""
    place = shown.list_index
    columns = [
        shown.user_ids.gather(shown.user_index[place]).to_list(),
        shown.age_days[place].tolist(),
        CATALOGUE.ids(shown.item_index).to_list(),
        shown.position.tolist(),
        np.nan_to_num(shown.propensity, nan=-1).tolist(),
        shown.label.tolist(),
        shown.weight.tolist(),
    ]
    return list(zip(*columns, strict=True))


def by_loop(events: list[Event]) -> list[list[tuple[Any, ...]]]:
    """The lists as the module's head says it, read aloud."""
    inside = [e for e in events if START <= e["event_time"] < END and e["user_id"] in USERS.to_list()]
    lists: dict[tuple[str, str], list[Event]] = {}
    for e in sorted(inside, key=lambda e: (e["event_time"], e["position"] or 99, e["propensity"] or 9)):
        if e["event_type"] == "impression" and e["request_id"] is not None:
            rows = lists.setdefault((e["user_id"], e["request_id"]), [])
            if e["item_id"] in "abcd" and all(row["item_id"] != e["item_id"] for row in rows):
                rows.append(e)
    ordered = sorted(
        (rows for rows in lists.values() if rows), key=lambda rows: (rows[0]["user_id"], rows[0]["event_time"], rows[0]["request_id"])
    )
    for rows in ordered:
        rows.sort(key=lambda row: (row["position"] or 99, row["item_id"]))
    done: dict[tuple[int, int], list[Event]] = {}
    for e in inside:
        is_short = e["event_type"] == "click" and e["value"] is not None and e["value"] < 5
        if e["event_type"] in ("click", "cart", "purchase") and not is_short:
            belongs = place_of(e, ordered)
            if belongs:
                done.setdefault(belongs, []).append(e)
    return [[judged(row, done.get((n, m), []), rows, inside) for m, row in enumerate(rows)] for n, rows in enumerate(ordered)]


def place_of(act: Event, lists: list[list[Event]]) -> tuple[int, int] | None:
    pair = (act["user_id"], act["item_id"])
    before = [
        (n, m)
        for n, rows in enumerate(lists)
        for m, row in enumerate(rows)
        if (row["user_id"], row["item_id"]) == pair and row["event_time"] <= act["event_time"]
    ]
    for n, m in before:
        if act["request_id"] is not None and lists[n][m]["request_id"] == act["request_id"]:
            return n, m
    near = [(n, m) for n, m in before if act["event_time"] - lists[n][m]["event_time"] <= FOLLOW * HOUR]
    return max(near, key=lambda at: (lists[at[0]][at[1]]["event_time"], at), default=None)


def judged(row: Event, acts: list[Event], rows: list[Event], inside: list[Event]) -> tuple[Any, ...]:
    is_back = any(
        e["event_type"] == "return"
        and (e["user_id"], e["item_id"]) == (row["user_id"], row["item_id"])
        and e["event_time"] >= row["event_time"]
        for e in inside
    )
    kinds = [] if is_back else [TYPES[act["event_type"]] for act in acts]
    first = min(r["event_time"] for r in rows)
    age = float(np.float32((END - first) / timedelta(days=1)))
    label, weight = max((k.label for k in kinds), default=0), max((k.weight for k in kinds), default=0.0)
    return row["user_id"], age, row["item_id"], row["position"] or 0, row["propensity"] or -1, label, weight


def any_events(seed: int) -> list[Event]:
    """Few users, items, requests and, every other time, few moments: ties are the rule."""
    rng = np.random.default_rng(seed)
    kinds = ["impression"] * 4 + ["click", "click", "cart", "purchase"] + ["return"] * (seed % 3 == 0)
    hours = range(9, 13) if seed % 2 else range(-1, 32)

    def one(choices: Sequence[Any]) -> Any:
        return choices[rng.integers(len(choices))]

    return [
        event(
            one("uuvx"),
            one("aabcz"),
            one(kinds),
            one(hours),
            one([None, "r1", "r2", "r3"]),
            position=one([None, 1, 2, 3]),
            propensity=one([None, 0.5, 0.25]),
            value=one([None, 2.0, 5.0, 9.0]),
        )
        for _ in range(rng.integers(50))
    ]


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=150)
def test_the_lists_are_those_of_a_nested_loop(seed: int) -> None:
    events = any_events(seed)
    shown, expected = shown_of(events), by_loop(events)
    assert rows_of(shown) == [row for rows in expected for row in rows]
    assert np.diff(shown.indptr).tolist() == [len(rows) for rows in expected]
    inside = [e for e in events if START <= e["event_time"] < END and e["user_id"] != "x" and e["event_type"] == "impression"]
    assert shown.counts["left_out"] == len(inside) - len(shown.item_index)


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_blocks_of_users_joined_are_the_whole(seed: int) -> None:
    events = any_events(seed)
    whole = shown_of(events)
    joined = Shown.joined([shown_of(events, USERS[:1]), shown_of(events, USERS[1:])])
    assert rows_of(joined) == rows_of(whole)
    assert joined.indptr.tolist() == whole.indptr.tolist()
    assert joined.counts == whole.counts


def page(*acts: Event, at: float = 10) -> list[Event]:
    rows = [event("u", item, "impression", at, "r", position=place, propensity=0.5) for place, item in enumerate("abc", 1)]
    return [*rows, *acts]


@pytest.mark.parametrize(
    ("act", "label"),
    [
        (event("u", "b", "click", 10, "r"), 1),
        (event("u", "b", "purchase", 29, "r"), 3),  # its own request, however late
        (event("u", "b", "purchase", 13), 3),
        (event("u", "b", "purchase", 13.1), 0),  # too late for an act of no request
        (event("u", "b", "click", 9, "r"), 0),  # before it was shown
        (event("u", "b", "purchase", 30, "r"), 0),  # the window's end is not in it
        (event("v", "b", "purchase", 11, "r"), 0),  # somebody else
        (event("u", "b", "click", 11, "r", value=4.9), 0),  # a short view
        (event("u", "b", "click", 11, "r", value=5.0), 1),
    ],
)
def test_an_act_counts_after_the_showing_in_its_request_or_within_the_hours(act: Event, label: int) -> None:
    assert shown_of(page(act)).label.tolist() == [0, label, 0]


def test_a_return_takes_back_what_was_done_and_one_after_the_window_does_not() -> None:
    bought = event("u", "b", "purchase", 11, "r")
    assert shown_of(page(bought, event("u", "b", "return", 29))).label.tolist() == [0, 0, 0]
    assert shown_of(page(bought, event("u", "b", "return", 30))).label.tolist() == [0, 3, 0]


def test_the_counts_say_what_there_is() -> None:
    loose = event("u", "d", "impression", 12)
    ignored = event("v", "a", "impression", 12, "s")
    shown = shown_of([*page(event("u", "b", "click", 11, "r"), event("u", "c", "purchase", 11, "r")), loose, ignored])
    assert shown.counts == {"lists": 2, "shown": 4, "chosen": 2, "lists_with_choice": 1, "left_out": 1}
    assert shown.row_weight.tolist() == [1, 0.25, 1, 1]


def test_what_was_known_at_a_list_is_what_happened_strictly_before_it() -> None:
    acts = [("u", "a", "click", 2), ("u", "b", "click", 10), ("u", "b", "cart", 11), ("v", "a", "click", 1), ("w", "c", "click", 1)]
    events = table([*page(at=10), *page(at=5), event("v", "a", "impression", 1, "s"), event("w", "a", "impression", 4, "t")])
    liked = events_table([(user, item, kind, START + hours * HOUR) for user, item, kind, hours in acts])
    shown = Shown.of(events.lazy(), CATALOGUE, USERS, START, END, TYPES, FOLLOW)
    history = History.of(liked, CATALOGUE, USERS, END, WEIGHTS)
    known = shown.starts(history) - history.indptr[shown.user_index]
    ages = shown.age_days[:, None] < history.age_days[None, :]
    assert known.tolist() == (ages & (shown.user_index[:, None] == history.user_index[None, :])).sum(axis=1).tolist()
    assert len(shown) == 3


@pytest.mark.parametrize("events", [[], page(), page(*(event("u", item, "click", 11, "r") for item in "abc"))[:2]])
def test_a_loss_over_impressions_without_a_choice_is_refused_by_name(events: list[Event]) -> None:
    with pytest.raises(TableError, match=r'text\.loss = "list" .* Declare request_id in events\.columns'):
        refuse_none(shown_of(events), "list")
    refuse_none(shown_of(page(event("u", "b", "click", 11, "r"))), "list")


def test_no_user_and_no_event_give_no_list() -> None:
    for shown in (shown_of([]), shown_of(page(), USERS[:0])):
        assert shown.counts == {"lists": 0, "shown": 0, "chosen": 0, "lists_with_choice": 0, "left_out": 0}
        assert shown.indptr.tolist() == [0]


def test_an_event_of_one_half_life_ago_counts_half() -> None:
    ages = np.array([0, 30, 90], np.float32)
    assert time_decay(ages, 30).tolist() == [1, 0.5, 0.125]
    assert time_decay(ages, 30) == pytest.approx(np.exp(-np.log(2) * ages / 30))
    assert time_decay(ages, 0).tolist() == [1, 1, 1]


def test_inverse_exposure_is_clipped_and_has_the_mean_one() -> None:
    propensity = np.array([0.5, 0.5, 0.125, np.nan], np.float32)
    assert inverse_exposure(propensity, 1.5) == pytest.approx([0.6, 0.6, 1.8, 1])
    assert inverse_exposure(propensity, 100) == pytest.approx([0.5, 0.5, 2, 1])
    assert inverse_exposure(propensity, 0).tolist() == [1, 1, 1, 1]
    assert inverse_exposure(propensity[3:], 5).tolist() == [1]


def test_with_unclipped_inverse_exposure_what_was_shown_stands_for_what_could_have_been() -> None:
    rng = np.random.default_rng(0)
    chance, worth = np.array([0.6, 0.3, 0.1]), np.array([1.0, 5.0, 20.0])
    shown = rng.choice(3, 20_000, p=chance)
    weight = inverse_exposure(chance[shown].astype(np.float32), 1000)
    assert np.average(worth[shown], weights=weight) == pytest.approx(worth.mean(), rel=0.03)
    assert np.mean(worth[shown]) < 5


def test_the_last_word_says_what_is_disliked() -> None:
    events = [
        event("u", "a", "purchase", 1),
        event("u", "a", "return", 5),
        event("u", "b", "return", 5),
        event("u", "b", "purchase", 6),  # bought again
        event("u", "c", "click", 3, value=2.0),
        event("v", "c", "click", 3, value=None),
        event("v", "d", "click", 3, value=1.0),
        event("v", "d", "purchase", 3),  # at one moment what speaks against it is the last
        event("x", "a", "return", 3),  # not asked for
        event("v", "z", "return", 3),  # not in the catalogue
        event("w", "a", "click", 1, value=1.0),
        event("w", "a", "impression", 2),  # says nothing
    ]
    found = disliked_items(table(events).lazy(), CATALOGUE, USERS, TYPES)
    assert found.toarray().tolist() == [[True, False, True, False], [False, False, False, True], [True, False, False, False]]
