"""What a step of text training looks at: visits, the sampler and its inclusion probabilities, the loss."""

import math
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import START, TYPES, events_table, items_table

from recsys.blocks import Catalogue, History
from recsys.schema import LIKED
from recsys.text.losses import softmax_loss
from recsys.text.visits import Sampler, Step, Visits, liked_texts, visits_of

WEIGHTS = {name: float(kind["weight"]) for name, kind in TYPES.items()}
ITEMS = "uvwxyz"
N = 12
"""Items of the toy of the sampler."""

Row = tuple[str, str, str, int]
rows = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(ITEMS), st.sampled_from(list(TYPES)), st.integers(0, 6)), max_size=30)


def history_of(events: list[Row]) -> History:
    table = events_table([(user, item, kind, START + timedelta(hours=hour)) for user, item, kind, hour in events])
    catalogue = Catalogue.of(items_table([{"item_id": name} for name in ITEMS]))
    return History.of(table, catalogue, pl.Series("user_id", list("abc")), START + timedelta(days=1), WEIGHTS)


@given(events=rows, without_text=st.sets(st.integers(0, 5)))
@settings(deadline=None)
def test_visits_are_what_a_nested_loop_finds(events: list[Row], without_text: set[int]) -> None:
    usable = np.array([n not in without_text for n in range(6)])
    history = history_of(events)
    visits = visits_of(history, usable, history.is_liked)
    found = {}
    for n in range(len(visits)):
        own = slice(visits.indptr[n], visits.indptr[n + 1])
        n_before = int(visits.start[n] - history.indptr[visits.user[n]])
        found["abc"[visits.user[n]], n_before] = dict(zip(visits.item[own].tolist(), visits.weight[own].tolist(), strict=True))
        assert len(found["abc"[visits.user[n]], n_before]) == visits.indptr[n + 1] - visits.indptr[n]
    assert found == visits_by_hand(events, usable)


def visits_by_hand(events: list[Row], usable: np.ndarray) -> dict[tuple[str, int], dict[int, float]]:
    expected: dict[tuple[str, int], dict[int, float]] = {}
    for user in "abc":
        own = [row for row in events if row[0] == user and row[2] != "impression"]
        for hour in {row[3] for row in own}:
            liked: dict[int, float] = {}
            for _, item, kind, at in own:
                if at == hour and kind in LIKED and usable[ITEMS.index(item)]:
                    liked[ITEMS.index(item)] = max(liked.get(ITEMS.index(item), 0.0), np.float32(WEIGHTS[kind]).item())
            if liked:
                expected[user, sum(row[3] < hour for row in own)] = liked
    return expected


def toy(seed: int = 3) -> Visits:
    """30 visits of one to four positives of 12 items, the first ones the more popular."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, 30)
    popular = np.arange(N, 0, -1) / np.arange(N, 0, -1).sum()
    item = np.concatenate([rng.choice(N, size, replace=False, p=popular) for size in sizes]).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Visits(np.arange(30, dtype=np.int32), np.zeros(30, np.int64), indptr, item, np.ones(len(item), np.float32))


def toy_sampler(n_visits: int = 5, n_positives: int = 2, n_negatives: int = 3) -> Sampler:
    usable = np.arange(N) != N - 1
    visits = toy()
    visits.item[visits.item == N - 1] = 0
    return Sampler(visits, usable, n_visits, n_positives, n_negatives, seed=11)


def as_lists(step: Step) -> list[list[float]]:
    return [array.tolist() for array in (step.visits, step.pair_visit, step.pair_item, step.pair_weight, step.items, step.log_inclusion)]


def test_a_step_is_a_pure_function_of_its_number() -> None:
    one, other = toy_sampler(), toy_sampler()
    forwards = [as_lists(one.step(number)) for number in range(20)]
    backwards = [as_lists(other.step(number)) for number in reversed(range(20))][::-1]
    assert forwards == backwards
    assert forwards[0] != forwards[1]


def test_an_epoch_brings_every_visit_once() -> None:
    sampler = toy_sampler()
    for epoch in (0, 1):
        drawn = np.concatenate([sampler.step(6 * epoch + place).visits for place in range(6)])
        assert sorted(drawn.tolist()) == list(range(30))


def test_pairs_are_positives_of_their_visit_at_most_so_many_and_their_items_are_in_the_step() -> None:
    sampler = toy_sampler()
    for number in range(30):
        step = sampler.step(number)
        assert (np.diff(step.items) > 0).all()
        for place, visit in enumerate(step.visits):
            own = sampler.visits.item[sampler.visits.indptr[visit] : sampler.visits.indptr[visit + 1]].tolist()
            drawn = step.items[step.pair_item[step.pair_visit == place]].tolist()
            assert len(drawn) == min(len(own), 2)
            assert set(drawn) <= set(own)


def test_an_item_that_is_not_usable_is_never_drawn() -> None:
    sampler = toy_sampler(n_negatives=100)
    assert all(N - 1 not in sampler.step(number).items for number in range(20))


@pytest.mark.parametrize("n_negatives", [0, 3])
def test_items_are_drawn_as_often_as_their_inclusion_says(n_negatives: int) -> None:
    sampler, n_steps = toy_sampler(n_negatives=n_negatives), 3000
    drawn = np.zeros(N)
    for number in range(n_steps):
        drawn[sampler.step(number).items] += 1
    expected = np.exp(sampler.log_inclusion)
    brought = np.bincount(sampler.visits.item, minlength=N) > 0
    possible = brought | ((np.arange(N) != N - 1) & (n_negatives > 0))
    # Visits are drawn without replacement, the formula takes them as independent: exact to the order of b / n^2 a visit.
    error = np.sqrt(expected * (1 - expected) / n_steps)
    assert (np.abs(drawn / n_steps - expected) <= 4 * error + 0.02)[possible].all()
    assert not drawn[~possible].any()


def test_with_one_visit_an_item_the_inclusion_is_exact() -> None:
    visits = Visits(np.arange(8, dtype=np.int32), np.zeros(8, np.int64), np.arange(9), np.arange(8, dtype=np.int32), np.ones(8, np.float32))
    sampler = Sampler(visits, np.ones(10, bool), 2, 1, 3, seed=1)
    expected = [1 - (1 - 0.3) * (1 - 2 / 8)] * 8 + [0.3] * 2
    np.testing.assert_allclose(np.exp(sampler.log_inclusion), expected, rtol=1e-6)


def test_the_weighted_negatives_estimate_the_partition_sum_of_the_whole_catalogue() -> None:
    sampler, n_steps = toy_sampler(), 4000
    scores = np.random.default_rng(5).normal(size=N)
    counted = np.arange(N) != N - 1
    counted[4] = False  # a text the user likes is left out on both sides
    sums = np.zeros(n_steps)
    for number in range(n_steps):
        step = sampler.step(number)
        sums[number] = np.sum(np.exp(scores[step.items] - step.log_inclusion) * counted[step.items])
    whole = np.exp(scores)[counted].sum()
    assert abs(sums.mean() - whole) < 4 * sums.std() / math.sqrt(n_steps) + 0.01 * whole


def step_of(n_visits: int, items: np.ndarray, pairs: list[tuple[int, int, float]], log_inclusion: np.ndarray) -> Step:
    visit, item, weight = (np.array(column) for column in zip(*pairs, strict=True))
    return Step(np.arange(n_visits), visit, item, weight.astype(np.float64), items.astype(np.int32), log_inclusion)


def test_with_every_item_in_the_step_it_is_the_full_softmax_without_correction() -> None:
    visits = toy()
    sampler = Sampler(visits, np.ones(N, bool), 5, 2, N, seed=1)
    step = sampler.step(0)
    assert step.items.tolist() == list(range(N))
    assert not step.log_inclusion.any()
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=(1, N)))
    liked = torch.zeros((1, N), dtype=torch.bool)
    liked[0, 4] = True
    alone = step_of(1, np.arange(N), [(0, 4, 1.0)], step.log_inclusion)
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor([4]))
    assert float(softmax_loss(scores, alone, liked)) == pytest.approx(float(expected), abs=1e-9)


def test_a_twin_with_the_text_of_a_liked_item_is_no_negative() -> None:
    history = history_of([("a", "u", "click", 1), ("b", "w", "return", 1), ("b", "x", "impression", 1)])
    text_group = np.array([1, 1, 2, 3, 0, 4])  # u and v have one text, y has none
    liked = liked_texts(history, text_group, history.is_liked)
    assert liked[:, text_group].toarray().astype(bool).tolist() == [
        [True, True, False, False, False, False],
        [False] * 6,  # a return or an impression is no like
        [False] * 6,
    ]


def test_a_masked_item_changes_no_loss_whatever_its_score() -> None:
    liked = torch.tensor([[True, True, False]])
    step = step_of(1, np.arange(3), [(0, 0, 1.0)], np.zeros(3))
    low, high = (float(softmax_loss(torch.tensor([[1.0, score, 0.5]]), step, liked)) for score in (-9.0, 9.0))
    assert low == high
