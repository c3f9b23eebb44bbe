"""The workers of one training: this program once, or several times side by side as `accelerate launch` starts it (data parallelism).

The passes through the encoder are shared out by items: a push, and the encoding of the catalogue in training. All else every worker
computes for itself from the same inputs and seed, so that only the gradient of the encoder and pooled vectors are exchanged. The main
worker alone writes files and speaks.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.errors import ModelError

PATIENCE = timedelta(days=1)
"""How long a worker waits for the others: the main one has rankers to fit between two text trainings."""


class Workers:
    """One program and its like. `accelerator` None: alone; else an `accelerate.Accelerator`."""

    def __init__(self, accelerator: Any = None) -> None:
        self._accelerator = accelerator
        self.n: int = accelerator.num_processes if accelerator else 1
        self.index: int = accelerator.process_index if accelerator else 0
        alone = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.device: torch.device = accelerator.device if accelerator else alone

    @property
    def is_main(self) -> bool:
        """Does this worker write and speak."""
        return self.index == 0

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This worker's part of the rows (n,): every row is in the part of one worker, every n-th in the order given."""
        return rows[self.index :: self.n]

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of every worker's tensor, all of one shape; the same in every worker."""
        if self._accelerator is None:
            return tensor
        total: Tensor = self._accelerator.reduce(tensor.to(self.device), "sum")
        return total.to(tensor.device)

    def total_gradient(self, parameters: list[nn.Parameter]) -> None:
        """Make each parameter's `grad` the sum over the workers; it stays None where it is None in all of them."""
        if self._accelerator is None:
            return
        used = self.total(torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32))
        for p, n in zip(parameters, used.tolist(), strict=True):
            if n:
                p.grad = self.total(torch.zeros_like(p) if p.grad is None else p.grad)

    def of_main(self, value: float) -> float:
        """The main worker's value: what is decided by it is decided alike everywhere."""
        return float(self.total(torch.tensor(value if self.is_main else 0.0, dtype=torch.float64)))

    def wait(self) -> None:
        """Until every worker is here."""
        if self._accelerator:
            self._accelerator.wait_for_everyone()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The main worker goes through the `with` alone, then the others, who find what it kept. Nothing in it may be shared out."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()


@cache
def workers() -> Workers:
    """The workers that this program is one of. Raises ModelError when there are several and accelerate is not installed."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Workers()
    try:
        from accelerate import Accelerator
        from accelerate.utils import InitProcessGroupKwargs
    except ImportError:
        raise ModelError("WORLD_SIZE: several workers need the library accelerate. `pip install 'recsys[accelerate]'`.") from None
    return Workers(Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)]))
