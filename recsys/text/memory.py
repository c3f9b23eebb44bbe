"""Work that may not fit in memory: tried, and told apart from every other error."""

from collections.abc import Callable
from typing import TypeVar

import torch

SIGNS = ("out of memory", "not enough memory", "can't allocate memory")
"""How torch says it: the CUDA and MPS allocators (and torch.OutOfMemoryError), the CPU allocator of Windows, that of Linux."""

Work = TypeVar("Work")


def fits(run: Callable[[Work], None], work: Work) -> bool:
    """Run it; False when memory ran out, with what it took given back. Every other error goes through."""
    try:
        run(work)
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(sign in str(error).lower() for sign in SIGNS):
            raise
    else:
        return True
    # Only here, outside `except`, are the frames of the failed run gone, and their tensors with them.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False
