"""What is known of text at each window: fresh, yet never of its own window or later."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from toy_text import job
from worlds import END, START, World, cold_item_shop, drifting_shop, tiny_bert

from recsys.blocks import Catalogue, History
from recsys.pipeline.sides import Sides, fit_sides
from recsys.pipeline.texts import read_texts
from recsys.text import Fitted
from recsys.timeline import Ledger, Window

FITTED = Fitted(warm_steps=40, blend_steps=20)
USERS = pl.Series("user_id", ["u000"])
TEXT = {"warm_steps": 40, "steps": 0, "blend_steps": 20, "refresh_steps": 20, "half_life_days": 10}


def days(first: int, last: int, name: str = "") -> Window:
    return Window(name, START + timedelta(days=first), START + timedelta(days=last))


def ledger(*, refit: bool = False) -> Ledger:
    folds = (days(20, 30, "fold_1"), days(30, 40, "fold_2"))
    return Ledger(days(0, 20, "text"), folds, None if refit else days(40, 50, "valid"), None if refit else days(50, 60, "test"))


def sides_of(folder: Path, world: World, events: pl.DataFrame, of: Ledger, chosen: Fitted = FITTED, **text: Any) -> Sides:
    torch.set_num_threads(1)
    tiny_bert(folder / "tiny_bert", world.items)
    at_work = job(folder, {"text": TEXT | text})
    catalogue = Catalogue.of(world.items)
    return fit_sides(at_work, read_texts(at_work, catalogue), catalogue, events.lazy(), of, chosen)[0]


def test_there_is_one_for_each_moment_in_which_lists_are_made(tmp_path: Path) -> None:
    judged, refit = ledger(), ledger(refit=True)
    assert judged.moments == [START + timedelta(days=n) for n in (20, 30, 40, 50)]
    assert refit.moments == [START + timedelta(days=n) for n in (20, 30, 40)]
    world = drifting_shop()
    assert [len(sides_of(tmp_path, world, world.events, of)) for of in (judged, refit)] == [4, 3]


@pytest.mark.parametrize(("blend_steps", "gain", "sources"), [(0, 0.0, 1), (0, 2.5, 2), (20, 0.0, 2)])
def test_a_blend_that_would_be_the_text_over_again_is_no_source(tmp_path: Path, blend_steps: int, gain: float, sources: int) -> None:
    world = drifting_shop()
    chosen = replace(FITTED, blend_steps=blend_steps, gain=gain)
    for side in sides_of(tmp_path, world, world.events, ledger(), chosen):
        assert (len(side.vectors), len(side.users(History.of(world.events, Catalogue.of(world.items), USERS, END, {})))) == (
            sources,
            sources,
        )
        assert (side.model.blend is not None, side.model.gain) == (sources == 2, gain)


def test_no_side_knows_its_window_or_what_comes_later(tmp_path: Path) -> None:
    world = drifting_shop()
    whole = sides_of(tmp_path / "whole", world, world.events, ledger())
    for place, moment in enumerate(ledger().moments):
        cut = sides_of(tmp_path / str(place), world, world.events.filter(pl.col("event_time") < moment), ledger())
        for name, vectors in whole[place].vectors.items():
            np.testing.assert_array_equal(cut[place].vectors[name], vectors)
        if place:
            assert not np.array_equal(whole[place].vectors["text"], whole[place - 1].vectors["text"])


def taste_for_later_items(side: Any, world: World, as_of: datetime) -> float:
    """How much higher the second half of the items, wanted from day 30 on, scores than the first for a newcomer."""
    newcomer = side.model.tower.newcomer.detach().numpy()
    scores = side.vectors["text"] @ (newcomer / np.linalg.norm(newcomer))
    half = len(world.items) // 2
    return float(scores[half:].mean() - scores[:half].mean())


def test_what_everybody_turned_to_after_the_text_window_is_known_at_the_test(tmp_path: Path) -> None:
    world = drifting_shop()
    fresh = sides_of(tmp_path / "fresh", world, world.events, ledger())
    stale = sides_of(tmp_path / "stale", world, world.events, ledger(), refresh_steps=0)
    assert all(side is stale[0] for side in stale)
    assert taste_for_later_items(fresh[-1], world, END) > taste_for_later_items(stale[-1], world, END) + 0.05


def test_the_blend_knows_the_ids_of_items_that_came_after_the_text_window(tmp_path: Path) -> None:
    world = cold_item_shop()
    sides = sides_of(tmp_path, world, world.events, ledger())
    known = [set(side.model.known) for side in sides]
    assert all(earlier <= later for earlier, later in pairwise(known))
    assert known[-1] > known[0]
    new = sorted(known[-1] - known[0])
    rows = sides[-1].model.id_row(pl.Series(new))
    assert (np.abs(sides[-1].model.blend.ids.detach().numpy()[rows]).sum(axis=1) > 0).all()


@pytest.mark.parametrize("chosen", [Fitted(gain=2.5), Fitted(warm_steps=40, gain=2.5)])
def test_a_tower_of_which_no_step_was_kept_does_not_go_on(tmp_path: Path, chosen: Fitted) -> None:
    world = drifting_shop()
    first, *_, last = sides_of(tmp_path, world, world.events, ledger(), chosen)
    assert np.array_equal(first.vectors["text"], last.vectors["text"]) == (not chosen.warm_steps)
    np.testing.assert_array_equal(last.vectors["text_collaborative"], last.vectors["text"])
