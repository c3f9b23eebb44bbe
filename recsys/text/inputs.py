"""Texts as an encoder takes them: token ids, or the outputs of the layers below, packed without padding, and cut into batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.blocks import Bools, Floats


@dataclass(frozen=True)
class Inputs:
    """Texts as the trained layers take them.

    offsets (n + 1,) int64; ids (n_tokens,) int32; states (n_tokens, hidden) float32, or None where they are not kept.
    """

    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]
    states: Floats | None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,) tokens of each text."""
        return np.diff(self.offsets)

    def longest_first(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """The rows by falling length."""
        return rows[np.argsort(-self.lengths[rows], kind="stable")]

    def batches(self, rows: NDArray[Any], token_budget: int) -> Iterator[NDArray[np.int64]]:
        """The rows in batches of like length whose padded tokens stay within the budget; at least one row each."""
        order, start = self.longest_first(rows), 0
        while start < len(order):
            longest = max(int(self.lengths[order[start]]), 1)
            stop = start + max(1, token_budget // longest)
            yield order[start:stop]
            start = stop

    def mask(self, rows: NDArray[Any]) -> Bools:
        """(len(rows), longest): where the padded rows hold a token."""
        lengths = self.lengths[rows]
        mask: Bools = np.arange(max(int(lengths.max()), 1))[None, :] < lengths[:, None]
        return mask

    def padded_ids(self, rows: NDArray[Any], padding: int) -> NDArray[np.int64]:
        """(len(rows), longest) token ids, `padding` behind the end of a text."""
        return np.where(self.mask(rows), self.ids[self._places(rows)], padding).astype(np.int64)

    def packed_ids(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """Token ids of the rows, one text after another."""
        return np.concatenate([self.ids[self.offsets[row] : self.offsets[row + 1]] for row in rows]).astype(np.int64)

    def padded_states(self, rows: NDArray[Any]) -> Floats:
        """(len(rows), longest, hidden) states; behind the end of a text stands something that a mask must hide."""
        assert self.states is not None
        return self.states[self._places(rows)]

    def _places(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        places = self.offsets[rows][:, None] + np.arange(max(int(self.lengths[rows].max()), 1))[None, :]
        return np.minimum(places, max(len(self.ids) - 1, 0))
