"""Work that may not fit in memory: tried, told apart from every other error, and cut smaller."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.errors import ModelError
from recsys.text.inputs import Inputs

log = logging.getLogger(__name__)

SIGNS = ("out of memory", "not enough memory", "can't allocate memory")
"""How torch says it: the CUDA and MPS allocators (and torch.OutOfMemoryError), the CPU allocator of Windows, that of Linux."""

Batch = NDArray[np.int64]


class Budget:
    """How many tokens, padding included, go through an encoder at once; it halves where memory runs out."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def each_batch(self, inputs: Inputs, rows: NDArray[Any], run: Callable[[Batch], None]) -> None:
        """Call `run` on every batch of the rows. Where memory runs out the budget halves, and the rows left are cut anew.

        Raises ModelError where a single text does not fit.
        """
        left = inputs.longest_first(rows)
        while len(left):
            for batch in inputs.batches(left, self.tokens):
                if not fits(run, batch):
                    self._halve(len(batch), int(inputs.lengths[batch].max()))
                    break
                left = left[len(batch) :]

    def _halve(self, n_texts: int, n_tokens: int) -> None:
        if n_texts == 1:
            raise ModelError(
                f"text: out of memory with a single text of {n_tokens} tokens in a batch. "
                "Lower text.max_tokens, set text.gradient_checkpointing = true, or take a smaller text.encoder."
            )
        before, self.tokens = self.tokens, max(self.tokens // 2, 1)
        log.warning(
            "text: out of memory with %d texts of up to %d tokens; the token budget goes from %d to %d. Set text.token_budget to that.",
            n_texts,
            n_tokens,
            before,
            self.tokens,
        )


def fits(run: Callable[[Batch], None], batch: Batch) -> bool:
    """Run it; False when memory ran out, with what it took given back. Every other error goes through."""
    try:
        run(batch)
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(sign in str(error).lower() for sign in SIGNS):
            raise
    else:
        return True
    # Only here, outside `except`, are the frames of the failed run gone, and their tensors with them.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False
