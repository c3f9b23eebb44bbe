"""The time ledger: windows that follow one another, and what is asked in each."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import END, START, config, events_table

from recsys.errors import TooShortError
from recsys.schema import INTERACTIONS, WINDOWS, check
from recsys.timeline import Window, active_users, evaluation_ledger, refit_ledger, seen_pairs, span, truth

DAY = timedelta(days=1)
LABELS = {"impression": 0, "click": 1, "cart": 2, "purchase": 3, "return": 0}
WEEK = Window("w", START, START + 7 * DAY)

lengths = st.fixed_dictionaries(
    {
        "fold_days": st.integers(1, 9),
        "n_folds": st.integers(1, 4),
        "valid_days": st.integers(1, 9),
        "test_days": st.integers(1, 9),
        "gap_days": st.integers(0, 3),
    }
)


@given(lengths)
@settings(deadline=None)
def test_windows_follow_one_another_in_order_with_the_gap_and_end_at_the_end(time: dict[str, int]) -> None:
    ledger = evaluation_ledger(START, START + 120 * DAY, config({"time": time}))
    windows = ledger.windows
    assert [w.name for w in windows] == ["text", *[f"fold_{n + 1}" for n in range(time["n_folds"])], "valid", "test"]
    assert windows[0].start == START
    assert windows[-1].end == START + 120 * DAY
    gap = time["gap_days"] * DAY
    gaps = [b.start - a.end for a, b in pairwise(windows)]
    assert gaps == [gap, *[timedelta(0)] * (time["n_folds"] - 1), gap, gap]
    assert [(w.end - w.start) // DAY for w in windows[1:]] == [time["fold_days"]] * time["n_folds"] + [
        time["valid_days"],
        time["test_days"],
    ]
    check(ledger.table(), WINDOWS)


@given(lengths)
@settings(deadline=None)
def test_the_refit_has_the_judged_windows_moved_to_the_end_with_the_same_lags(time: dict[str, int]) -> None:
    chosen, end = config({"time": time}), START + 120 * DAY
    evaluated, refit = evaluation_ledger(START, end, chosen), refit_ledger(START, end, chosen)
    assert refit.folds[-1].end == end
    assert refit.text.start == START
    assert (refit.valid, refit.test) == (None, None)
    judged = [*evaluated.folds, evaluated.valid]
    assert [fold.name for fold in refit.folds] == [f"fold_{n}" for n in range(1, len(judged) + 1)]
    moved = {new.start - old.start for new, old in zip(refit.folds, judged, strict=True)}
    assert moved == {(time["test_days"] + time["gap_days"]) * DAY}
    assert refit.text.end - evaluated.text.end == moved.pop()
    assert [w.end - w.start for w in refit.folds] == [w.end - w.start for w in judged]


def test_a_window_holds_its_first_moment_and_not_its_end() -> None:
    tick = timedelta(microseconds=1)
    moments = [WEEK.start - tick, WEEK.start, WEEK.end - tick, WEEK.end]
    events = events_table([("u", f"i{n}", "click", moment) for n, moment in enumerate(moments)])
    assert WEEK.of(events)["item_id"].to_list() == ["i1", "i2"]


def test_the_span_goes_from_midnight_to_midnight_and_holds_the_last_event() -> None:
    first, last = datetime(2024, 3, 1, 13, 5, tzinfo=UTC), datetime(2024, 3, 9, tzinfo=UTC)
    events = events_table([("u", "i", "click", first), ("u", "i", "click", last)])
    assert span(events.lazy()) == (datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 10, tzinfo=UTC))


@given(lengths, st.integers(1, 8), st.integers(1, 80))
@settings(deadline=None)
def test_data_too_short_are_refused_with_settings_that_do_fit(time: dict[str, int], text_days: int, days: int) -> None:
    chosen, end = config({"time": time, "text": {"valid_days": text_days}}), START + days * DAY
    asked = time["n_folds"] * time["fold_days"] + time["valid_days"] + time["test_days"] + 3 * time["gap_days"] + 2 * text_days
    if days >= asked:
        ledger = evaluation_ledger(START, end, chosen)
        assert (ledger.text.end - ledger.text.start) / DAY == days - asked + 2 * text_days
        return
    with pytest.raises(TooShortError, match=f"{days} days .* need {asked}") as caught:
        evaluation_ledger(START, end, chosen)
    named = dict(re.findall(r"(\w+\.\w+) = (\d+)", str(caught.value)))
    if days < 6:
        assert not named
        assert "at least 6" in str(caught.value)
        return
    proposed: dict[str, dict[str, int]] = {"time": {}, "text": {}}
    for key, value in named.items():
        section, name = key.split(".")
        proposed[section][name] = int(value)
    assert evaluation_ledger(START, end, config(proposed)).windows[-1].end == end


def labels_of(*events: tuple[str, float]) -> list[int]:
    table = events_table([("u", "i", kind, START + day * DAY) for kind, day in events])
    return truth(table, WEEK, LABELS)["label"].to_list()


def test_a_label_is_the_highest_over_the_pairs_events_in_the_window() -> None:
    assert labels_of(("click", 1), ("purchase", 2), ("click", 3)) == [3]
    assert labels_of(("cart", 0), ("click", 3)) == [2]
    assert labels_of(("impression", 1)) == []
    assert labels_of(("purchase", -1)) == []


def test_a_return_inside_the_window_sets_the_label_to_nothing_and_a_later_one_changes_nothing() -> None:
    assert labels_of(("purchase", 1), ("return", 2)) == []
    assert labels_of(("purchase", 1), ("return", 8)) == [3]
    assert labels_of(("purchase", 1), ("return", 7)) == [3]  # the end is not inside
    assert labels_of(("return", -1), ("purchase", 1)) == [3]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from(list(LABELS)), st.integers(-2, 9)), max_size=20))
@settings(deadline=None)
def test_truth_is_what_a_nested_loop_finds(rows: list[tuple[str, str, str, int]]) -> None:
    events = events_table([(u, i, kind, START + day * DAY) for u, i, kind, day in rows])
    found: dict[tuple[str, str], int] = {}
    for user in "ab":
        for item in "xy":
            kinds = [kind for u, i, kind, day in rows if (u, i) == (user, item) and 0 <= day < 7]
            label = 0 if "return" in kinds else max((LABELS[kind] for kind in kinds), default=0)
            if label:
                found[user, item] = label
    assert truth(events, WEEK, LABELS).rows() == [(*pair, label) for pair, label in sorted(found.items())]


def test_a_user_who_was_only_shown_things_did_not_act() -> None:
    acted = [(f"u_{kind}", "i", kind, START) for kind in LABELS]
    assert active_users(events_table(acted), WEEK).to_list() == sorted(f"u_{kind}" for kind in INTERACTIONS)


def test_seen_pairs_come_once_and_from_before() -> None:
    rows = [("u", "i", "click", START), ("u", "i", "click", START + DAY), ("u", "j", "impression", START), ("u", "k", "click", END)]
    assert seen_pairs(events_table(rows).lazy(), END).rows() == [("u", "i")]
