"""Every loss against its worked value and against a loop; hard negatives keep their distance and leave the estimate unbiased."""

import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recsys.config import LOSSES
from recsys.text import losses
from recsys.text.visits import Step

GUIDE = (Path(__file__).parents[1] / "docs" / "losses.md").read_text(encoding="utf-8")
seeds = given(seed=st.integers(0, 10_000))


def step_of(n_visits: int, items: list[int], pairs: list[tuple[int, int, float]], inclusion: list[float]) -> Step:
    visit, place, weight = (np.array(column) for column in zip(*pairs, strict=True))
    return Step(np.arange(n_visits), visit, place, weight.astype(np.float64), np.array(items, np.int32), np.log(inclusion))


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_guide_has_every_loss_of_the_config_with_its_function_and_no_other() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `recsys\.text\.losses\.(\w+)` \|", GUIDE, flags=re.MULTILINE))
    assert tuple(rows) == LOSSES
    assert all(callable(getattr(losses, name)) for name in rows.values())


def test_the_worked_values_of_the_docstrings_hold() -> None:
    step = step_of(1, [0, 1, 2], [(0, 0, 1.0)], [1, 0.5, 0.5])
    liked = torch.tensor([[True, False, False]])
    assert float(losses.softmax_loss(numbers(2, 1, 0)[None], step, liked)) == pytest.approx(0.6964, abs=5e-5)
    logits, chosen = numbers(0, 0, math.log(3)), torch.tensor([True, False, False])
    assert float(losses.pointwise_loss(logits, chosen, numbers(1, 1, 2))) == pytest.approx(1.0397, abs=5e-5)
    assert losses.log_odds(np.array([True, False, False, False]), np.ones(4, np.float32)) == pytest.approx(-1.0986, abs=5e-5)
    found = losses.list_loss(numbers(2, 1, 0, 0, 0), numbers(1, 0, 0, 0, 3), torch.tensor([0, 3, 5]))
    assert float(found) == pytest.approx(0.6218, abs=5e-5)
    cosines, nothing = torch.tensor([[0.9, 0.86, 0.8, 0.7, 0.8]]), torch.zeros((1, 5), dtype=torch.bool)
    assert losses.hard_negatives(cosines, torch.tensor([0.9]), nothing, 2, 0.05).tolist() == [[2, 4]]


@seeds
@settings(deadline=None, max_examples=40)
def test_the_softmax_is_what_a_loop_gives_with_one_inclusion_or_one_a_visit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, liked, inclusion = rng.normal(size=(3, 7)) * 5, rng.random((3, 7)) < 0.4, rng.uniform(0.05, 1, (3, 7))
    if seed % 2:
        inclusion = inclusion[:1]
    pairs = [(int(rng.integers(3)), int(rng.integers(7)), float(rng.random() + 0.1)) for _ in range(5)]
    total = 0.0
    for visit, item, _ in pairs:
        liked[visit, item] = True
    for visit, item, weight in pairs:
        below = math.exp(scores[visit, item])
        for j in range(7):
            if not liked[visit, j]:
                below += math.exp(scores[visit, j]) / np.broadcast_to(inclusion, (3, 7))[visit, j]
        total -= weight * math.log(math.exp(scores[visit, item]) / below)
    step = step_of(3, list(range(7)), pairs, inclusion if len(inclusion) > 1 else inclusion[0])
    loss = losses.softmax_loss(torch.from_numpy(scores), step, torch.from_numpy(liked))
    assert float(loss) == pytest.approx(total / sum(weight for *_, weight in pairs), rel=1e-9)


@seeds
@settings(deadline=None, max_examples=40)
def test_the_pointwise_loss_is_what_a_loop_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, chosen, weight = rng.normal(size=9) * 4, rng.random(9) < 0.3, rng.random(9) + 0.01
    total = 0.0
    for z, is_chosen, w in zip(logits, chosen, weight, strict=True):
        p = 1 / (1 + math.exp(-z))
        total -= w * math.log(p if is_chosen else 1 - p)
    found = losses.pointwise_loss(torch.from_numpy(logits), torch.from_numpy(chosen), torch.from_numpy(weight))
    assert float(found) == pytest.approx(total / weight.sum(), rel=1e-9)


def test_the_bias_of_the_log_odds_is_where_the_pointwise_loss_is_least() -> None:
    rng = np.random.default_rng(0)
    chosen, weight = rng.random(200) < 0.1, rng.random(200)
    bias = torch.tensor(losses.log_odds(chosen, weight), requires_grad=True)
    losses.pointwise_loss(bias.expand(200), torch.from_numpy(chosen), torch.from_numpy(weight)).backward()
    assert float(bias.grad) == pytest.approx(0, abs=1e-7)


@seeds
@settings(deadline=None, max_examples=40)
def test_the_list_loss_is_what_a_loop_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, 5)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    scores, weight = rng.normal(size=indptr[-1]) * 20, rng.random(indptr[-1]) * (rng.random(indptr[-1]) < 0.4)
    weight[0] = 1.0
    total = 0.0
    for start, end in pairwise(indptr):
        for place in range(start, end):
            below = sum(math.exp(scores[j] - scores[place]) for j in range(start, end))
            total += weight[place] * math.log(below)
    found = losses.list_loss(torch.from_numpy(scores), torch.from_numpy(weight), torch.from_numpy(indptr))
    assert float(found) == pytest.approx(total / weight.sum(), rel=1e-9)


def test_what_all_items_of_a_list_share_cancels_out_and_huge_scores_are_finite() -> None:
    scores, weight, indptr = numbers(2, 1, 0, 0, 0), numbers(1, 0, 0, 0, 3), torch.tensor([0, 3, 5])
    moved = scores + numbers(500, 500, 500, -900, -900)
    assert float(losses.list_loss(moved, weight, indptr)) == pytest.approx(float(losses.list_loss(scores, weight, indptr)), abs=1e-9)


def test_the_list_loss_has_the_gradient_of_cross_entropy_under_deterministic_algorithms() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    scores = torch.randn(12, generator=torch.Generator().manual_seed(1), requires_grad=True)
    weight = torch.zeros(12).index_fill(0, torch.tensor([1, 4, 11]), 1.0)
    losses.list_loss(scores, weight, torch.tensor([0, 4, 8, 12])).backward()
    torch.use_deterministic_algorithms(before)
    same = scores.detach().clone().requires_grad_()
    torch.nn.functional.cross_entropy(same.view(3, 4), torch.tensor([1, 0, 3])).backward()
    torch.testing.assert_close(scores.grad, same.grad)


def test_a_step_in_which_nothing_counts_has_no_loss_and_no_gradient() -> None:
    scores = torch.ones(4, requires_grad=True)
    loss = losses.list_loss(scores, torch.zeros(4), torch.tensor([0, 2, 4]))
    loss = loss + losses.pointwise_loss(scores, torch.zeros(4, dtype=torch.bool), torch.zeros(4))
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()


@seeds
@settings(deadline=None, max_examples=40)
def test_hard_negatives_are_the_highest_that_keep_the_margin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cosines = rng.integers(-8, 9, (4, 10)) / 8  # eighths: many ties, and the margin is exact
    liked, positive, n, margin = rng.random((4, 10)) < 0.3, rng.integers(-8, 9, 4) / 8, int(rng.integers(0, 12)), 0.25
    found = losses.hard_negatives(torch.from_numpy(cosines), torch.from_numpy(positive), torch.from_numpy(liked), n, margin)
    for row in range(4):
        kept = [j for j in range(10) if not liked[row, j] and cosines[row, j] + margin <= positive[row]]
        expected = sorted(kept, key=lambda j: (-cosines[row, j], j))[:n]
        assert found[row].tolist() == expected + [-1] * (min(n, 10) - len(expected))


def test_own_negatives_are_certain_for_their_visit_and_absent_for_the_others() -> None:
    step = step_of(2, [3, 5, 8], [(0, 1, 1.0), (1, 2, 0.5)], [0.5, 0.25, 0.1])
    own = losses.of_items(np.array([[4, 3], [9, -1]], np.int32), 12)
    grown = losses.with_own_negatives(step, own)
    assert grown.items.tolist() == [3, 4, 5, 8, 9]
    assert grown.items[grown.pair_item].tolist() == [5, 8]
    chance = np.exp(-grown.log_inclusion)  # the weight of a negative; 0 where it is absent
    np.testing.assert_allclose(chance, [[1, 1, 4, 10, 0], [2, 0, 4, 10, 1]], rtol=1e-6)
    scores = torch.randn((2, 5), generator=torch.Generator().manual_seed(2), requires_grad=True)
    losses.softmax_loss(scores, grown, torch.tensor([[False] * 5, [False] * 5])).backward()
    assert torch.isfinite(scores.grad).all()
    assert scores.grad[0, 4] == 0
    assert scores.grad[1, 1] == 0


def test_with_own_negatives_the_sum_is_an_unbiased_estimate_of_less_variance() -> None:
    rng = np.random.default_rng(3)
    n, m, draws = 40, 8, 4000
    worth = np.exp(rng.normal(size=n) * 2)
    hard = losses.of_items(np.argsort(-worth)[None, :3].astype(np.int32), n)
    sums = np.empty((2, draws))
    for number in range(draws):
        items = np.sort(rng.choice(n, m, replace=False))
        step = step_of(1, items.tolist(), [(0, 0, 1.0)], [m / n] * m)
        grown = losses.with_own_negatives(step, hard)
        sums[:, number] = [(worth[s.items] * np.exp(-s.log_inclusion)).sum() for s in (step, grown)]
    for estimate in sums:
        assert abs(estimate.mean() - worth.sum()) < 4 * estimate.std() / math.sqrt(draws)
    assert sums[1].std() < sums[0].std() / 2


def test_with_the_whole_catalogue_in_the_step_own_negatives_change_nothing() -> None:
    step = step_of(2, list(range(6)), [(0, 1, 1.0), (1, 2, 0.5)], [1.0] * 6)
    grown = losses.with_own_negatives(step, sparse.csr_array(np.eye(2, 6, dtype=bool)))
    scores, liked = torch.randn((2, 6)), torch.zeros((2, 6), dtype=torch.bool)
    assert float(losses.softmax_loss(scores, grown, liked)) == pytest.approx(float(losses.softmax_loss(scores, step, liked)), rel=1e-6)
