"""How stale is a cached gradient? The one that is pushed, against the exact one, by user-side steps a push and by an item's wait.

    python -m benchmarks.stale_gradient ../shared/data/amazon_toys [--warm 100]

Two approximations are measured one by one, each as the cosine of two gradients with respect to the items' pooled vectors (the push
through the encoder is linear in them) and the ratio of their lengths:

steps  the gradient collected over m user-side steps while the tower moved, against that of the same steps with the tower as it is at
       the push
wait   the gradient of m steps at the vectors at hand after p pushes of a part of the catalogue each, against the same steps with
       every vector encoded anew
"""

import argparse
import copy
import os
from pathlib import Path

import numpy as np
import torch

from benchmarks.leave_one_out import SEED, TEXT, World, encoded, encoder_of, quiet
from benchmarks.positions import read
from recsys import text
from recsys.config import Text

STEPS = (1, 4, 16, 64)
PUSHES = (1, 2, 4, 8)


def main() -> None:
    """Warm the tower, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--warm", type=int, default=100, help="steps of the tower before")
    given = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    positions = read(given.folder)
    catalogue = encoded(World(positions, False, text.item_texts(positions.catalogue.items)), Text(**TEXT))
    print(f"{'what':<6} {'m or p':>6} {'cosine':>8} {'length ratio':>13}")
    for m in STEPS:
        training, optimizer = warmed(catalogue, given.warm)
        moved = collected(training, optimizer, m)
        row("steps", m, moved, collected(training, held(training), m))
    training, optimizer = warmed(catalogue, given.warm)
    for push in range(max(PUSHES)):
        training._joint_step(optimizer, push)
        if push + 1 in PUSHES:
            at_hand = collected(training, held(training), 4)
            kept = training.bank.vectors.clone()
            training.bank.renew_all(quiet)
            row("wait", push + 1, at_hand, collected(training, held(training), 4))
            training.bank.vectors = kept


def warmed(catalogue: object, steps: int) -> tuple[text.Training, torch.optim.Optimizer]:
    """A training whose tower has made so many steps, and the optimiser of the joint phase at its highest rates."""
    config = Text(**TEXT | {"warm_steps": steps, "blend_steps": 0})
    history, kept = catalogue.world.history(2), text.Checkpoint(None)  # type: ignore[attr-defined]
    given = (catalogue.inputs, catalogue.pooled, catalogue.group, history, config, SEED)  # type: ignore[attr-defined]
    training = text.Training(encoder_of(catalogue.folder, config), *given, None, text.Fitted(steps, 0), kept, quiet)  # type: ignore[attr-defined]
    training.model.encoder.begin(config.steps)
    training._phase("warm", steps, steps, steps)
    groups = training._groups("joint")
    return training, torch.optim.AdamW([{**group, "lr": group["peak"]} for group in groups], weight_decay=0.01)


def held(training: text.Training) -> torch.optim.Optimizer:
    """An optimiser that moves nothing."""
    return torch.optim.SGD(training.tower.parameters(), lr=0.0)


def collected(training: text.Training, optimizer: torch.optim.Optimizer, m: int) -> torch.Tensor:
    """The gradient of user-side steps 1000 to 1000 + m with respect to the items' vectors; the bank is left empty."""
    before = training.bank.gradient.clone()
    training.bank.gradient.zero_()
    for number in range(m):
        training._user_step(optimizer, 1000 + number, collect=True)
    found = copy.deepcopy(training.bank.gradient)
    training.bank.gradient.copy_(before)
    return found


def row(what: str, size: int, one: torch.Tensor, exact: torch.Tensor) -> None:
    """Print how near two gradients are."""
    cosine = float((one * exact).sum() / (one.norm() * exact.norm()))
    print(f"{what:<6} {size:>6} {cosine:>8.4f} {float(one.norm() / exact.norm()):>13.3f}", flush=True)
    assert np.isfinite(cosine)


if __name__ == "__main__":
    main()
