"""What the tower sees of a user, against a loop over their events; and what a tower with several interests makes of it."""

from datetime import datetime

import numpy as np
import polars as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import DAY, END, checkerboard, events_table

from recsys.blocks import Catalogue, History
from recsys.schema import EVENT_TYPES
from recsys.text.past import whole_past
from recsys.text.tower import Tower

CATALOGUE = Catalogue.of(checkerboard().items)
USERS = pl.Series("user_id", ["a", "b", "c"])
Row = tuple[str, int, str, int]
rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.sampled_from(["click", "purchase", "return"]), st.integers(1, 60)), max_size=30
)


def history_of(events: list[Row]) -> History:
    table = events_table([(user, f"i{item:03d}", kind, END - days * DAY) for user, item, kind, days in events])
    return History.of(table, CATALOGUE, USERS, END, {"click": 0.2, "purchase": 1.0})


def key(row: Row) -> tuple[datetime, str, str]:
    return END - row[3] * DAY, f"i{row[1]:03d}", row[2]


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 4))
def test_a_past_is_what_a_loop_over_the_events_finds(events: list[Row], length: int) -> None:
    past = whole_past(history_of(events), length, len(CATALOGUE))
    for number, user in enumerate(USERS):
        own = sorted((row for row in events if row[0] == user), key=key)
        latest, older = own[::-1][:length], [row for row in own[: max(len(own) - length, 0)] if row[2] != "return"]
        assert past.real[number].tolist() == [True] * len(latest) + [False] * (length - len(latest))
        for place, row in enumerate(latest):
            before = own[: len(own) - 1 - place]
            assert CATALOGUE.items["item_id"][int(past.item[number, place])] == f"i{row[1]:03d}"
            assert EVENT_TYPES[past.event_type[number, place]] == row[2]
            assert past.age_days[number, place] == row[3]
            assert past.gap_days[number, place] == (before[-1][3] - row[3] if before else 0)
        assert past.n_older[number] == len(older)
        expected = np.bincount(CATALOGUE.index_of(pl.Series([f"i{r[1]:03d}" for r in older], dtype=pl.String)), minlength=len(CATALOGUE))
        np.testing.assert_allclose(past.older[[number]].toarray()[0], expected / max(len(older), 1), atol=1e-6)
        np.testing.assert_allclose(past.older_days[number], np.mean([row[3] for row in older]) if older else 0, rtol=1e-5)


def test_an_item_is_scored_by_the_nearest_of_a_users_interests() -> None:
    torch.manual_seed(0)
    tower, vectors = Tower(8, 0, interests=3), torch.nn.functional.normalize(torch.randn(len(CATALOGUE), 8), dim=-1)
    past = whole_past(history_of([("a", 1, "click", 3), ("a", 5, "purchase", 9), ("b", 2, "click", 1)]), 4, len(CATALOGUE))
    users = tower.users(vectors[torch.from_numpy(past.item)], past, torch.from_numpy(past.older @ vectors.numpy()))
    assert users.shape == (3, 3, 8)
    assert float(torch.pdist(users[0].detach()).min()) > 0
    expected = [[tower.scale.item() * max((user @ item).item() for user in own) for item in vectors] for own in users.detach()]
    np.testing.assert_allclose(tower.score(users, vectors).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_order_of_the_history_and_what_lies_far_back_move_a_trained_user() -> None:
    torch.manual_seed(0)
    tower, vectors = Tower(8, 0), torch.nn.functional.normalize(torch.randn(len(CATALOGUE), 8), dim=-1)
    torch.nn.init.normal_(tower.attention[-1].weight)
    torch.nn.init.ones_(tower.older_gate)

    def user(events: list[Row]) -> np.ndarray:
        past = whole_past(history_of(events), 2, len(CATALOGUE))
        found = tower.users(vectors[torch.from_numpy(past.item)], past, torch.from_numpy(past.older @ vectors.numpy()))
        return found[0, 0].detach().numpy()

    one = user([("a", 1, "click", 3), ("a", 2, "click", 2)])
    assert np.abs(one - user([("a", 2, "click", 3), ("a", 1, "click", 2)])).max() > 1e-3
    assert np.abs(one - user([("a", 1, "click", 3), ("a", 2, "click", 2), ("a", 7, "click", 50)])).max() > 1e-3
