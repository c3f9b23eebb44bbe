"""Odd texts and poor histories: no traceback, no NaN, no wrong number, and a word where there is nothing to learn."""

import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from toy_text import is_sound, learn
from worlds import DAY, END, checkerboard, events_table, items_table, parity

from recsys.text import item_texts, mean_of_history, text_groups

WORLD = checkerboard()
QUICK = {"text": {"warm_steps": 10, "steps": 4, "check_steps": 2}}
EMPTY = ["", "   ", "\t\n", " ", "　", "​", "\x00\x07", "\ufeff"]


def with_titles(titles: list[str]) -> pl.DataFrame:
    """The checkerboard's items with these titles and no other text, the last ones with their own."""
    own = WORLD.items["title"].to_list()[len(titles) :]
    return WORLD.items.with_columns(title=pl.Series(titles + own), description=pl.lit(""), category=pl.lit(None, pl.String))


def nothing(said: list[str]) -> list[str]:
    return [line for line in said if "nothing to learn" in line]


@pytest.mark.parametrize("text", EMPTY)
def test_a_text_in_which_nothing_is_visible_is_no_text(text: str) -> None:
    items = items_table(
        [{"item_id": "a", "title": text, "description": text, "category": "tea"}, {"item_id": "b", "title": f" tea{text} "}]
    )
    assert item_texts(items)[0] == ""
    assert item_texts(items)[1].startswith("tea")
    assert text_groups(item_texts(items)).tolist() == [0, 1]


def test_items_without_a_text_are_zero_and_the_others_are_learned(tmp_path: Path) -> None:
    learned = learn(tmp_path, with_titles(EMPTY), WORLD.events, QUICK)
    assert is_sound(learned)
    assert learned.texts.has_text.tolist() == [False] * len(EMPTY) + [True] * (40 - len(EMPTY))
    assert learned.fitted.curve
    assert not nothing(learned.said)


@pytest.mark.parametrize(
    ("titles", "told"),
    [([""] * 40, "no item has a text"), (["  \x00"] * 40, "no item has a text"), (["one mug"] * 40, "has the same one")],
)
def test_where_texts_tell_no_item_from_another_nothing_is_trained_and_that_is_said(tmp_path: Path, titles: list[str], told: str) -> None:
    learned = learn(tmp_path, with_titles(titles), WORLD.events, QUICK)
    assert is_sound(learned)
    assert learned.fitted.curve == []
    assert np.ptp(learned.scores, axis=1).max() < 1e-4
    assert len(nothing(learned.said)) == 1
    assert told in nothing(learned.said)[0]


def test_items_with_one_text_have_one_vector_and_never_count_as_one_anothers_negatives(tmp_path: Path) -> None:
    learned = learn(tmp_path, with_titles(["same mug"] * 30), WORLD.events, QUICK)
    assert is_sound(learned)
    assert learned.texts.group[:30].tolist() == [learned.texts.group[0]] * 30
    assert (learned.side.vectors["text"][:30] == learned.side.vectors["text"][0]).all()
    assert len(np.unique(learned.side.vectors["text"], axis=0)) == 11
    assert learned.fitted.curve


def test_texts_of_fifty_thousand_characters_cost_no_more_than_their_beginning(tmp_path: Path) -> None:
    long = ["river " * 8_334, "x" * 50_000, "石" * 50_000, "\U0001f600" * 50_000, "a." * 25_000, "é" * 50_000, "​a" * 25_000]
    items = with_titles([f"{text}{number}"[-50_000:] for number, text in enumerate(long)])
    begun = time.process_time()
    learned = learn(tmp_path, items, WORLD.events, QUICK)
    assert time.process_time() - begun < 20  # most of it torch being imported
    assert is_sound(learned)


def test_one_long_text_does_not_make_the_others_long() -> None:
    texts = ["x" * 2_000_000, *(f"text {n}" for n in range(5_000)), "", "text 7", "a", "a\x00"]
    groups = text_groups(texts)  # an array of strings would take 40 GB
    assert groups[-4] == 0
    assert groups[-3] == groups[8]
    assert groups[-2] != groups[-1]
    assert len(set(groups.tolist())) == 5_004


def test_emoji_and_control_characters_are_learned_from_like_any_text(tmp_path: Path) -> None:
    sides = {0: "\U0001f9cb\U0001f468‍\U0001f469‍\U0001f467", 1: "❤️\U0001f1ec\U0001f1f7"}
    noise = ["\x00", "\x1b[31m", "‮", "\u200d", "\ud7ff", "\U0010ffff", "\ufffe", "\r\n"]
    titles = [f"{noise[n % 8]}{sides[n % 2]}{noise[n % 7]} {n}" for n in range(40)]
    learned = learn(tmp_path, with_titles(titles), WORLD.events)
    assert is_sound(learned)
    own = np.array([parity(user) for user in WORLD.events["user_id"].unique().sort()])
    side = np.arange(40) % 2
    in_order = [(row[side == one][:, None] > row[side != one]).mean() for row, one in zip(learned.scores, own, strict=True)]
    assert np.mean(in_order) > 0.95


def purchases(*rows: tuple[str, str, float]) -> pl.DataFrame:
    """Of (user_id, item_id, days before END)."""
    return events_table([(user, item, "purchase", END - days * DAY) for user, item, days in rows])


def test_a_catalogue_of_one_item_gives_it_and_says_that_there_is_nothing_to_learn(tmp_path: Path) -> None:
    items = items_table([{"item_id": "only", "title": "the only mug"}])
    learned = learn(tmp_path, items, purchases(("u1", "only", 30), ("u1", "only", 2), ("u2", "only", 1)), QUICK)
    assert is_sound(learned)
    assert learned.side.vectors["text"].shape == (1, 32)
    assert "every item with a text has the same one" in nothing(learned.said)[0]


@pytest.mark.parametrize("days", [30, 1])
def test_a_history_of_one_event_is_no_fault(tmp_path: Path, days: float) -> None:
    learned = learn(tmp_path, WORLD.items, purchases(("u1", "i000", days)), QUICK)
    assert is_sound(learned)
    best = np.argmax(learned.scores[0])
    assert learned.catalogue.items["item_id"][int(best)] == "i000"
    assert bool(nothing(learned.said)) == (days == 1)  # held out for the check of the steps: nothing is left


def test_events_of_one_user_are_learned_from(tmp_path: Path) -> None:
    mine = WORLD.events.with_columns(user_id=pl.lit("u000")).unique(maintain_order=True).sort("event_time", "item_id", "event_type")
    learned = learn(tmp_path, WORLD.items, mine, QUICK)
    assert is_sound(learned)
    assert learned.fitted.curve
    assert learned.users.shape == (1, 32)


def test_a_window_without_an_event_learns_nothing_and_says_so(tmp_path: Path) -> None:
    late = purchases(("u1", "i000", -3))
    learned = learn(tmp_path, WORLD.items, late, QUICK)
    assert is_sound(learned)
    assert learned.fitted.curve == []
    assert "nobody liked an item with a text" in nothing(learned.said)[0]


def test_returns_alone_and_items_without_text_alone_are_nothing_to_learn_from(tmp_path: Path) -> None:
    returned = events_table([("u1", "i001", "return", END - 20 * DAY), ("u2", "i002", "return", END - 21 * DAY)])
    for place, events in enumerate((returned, purchases(("u1", "i000", 20), ("u2", "i000", 21)))):
        learned = learn(tmp_path / str(place), with_titles([""]), events, QUICK)
        assert is_sound(learned)
        assert "nobody liked an item with a text" in nothing(learned.said)[0]


def test_a_mean_of_nothing_is_zero() -> None:
    from recsys.blocks import Catalogue, History

    catalogue = Catalogue.of(items_table([{"item_id": "a", "title": ""}]))
    history = History.of(purchases(("u1", "a", 3)), catalogue, pl.Series("user_id", ["u0", "u1"]), END, {"purchase": 1.0})
    assert mean_of_history(history, np.zeros((1, 4), np.float32), 5).tolist() == [[0.0] * 4] * 2
