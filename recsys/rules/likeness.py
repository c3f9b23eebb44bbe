"""How alike the items of a user's cells are: cosines of their texts' vectors, out of one table where few items are shared by all users."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.blocks import Floats, Index

Alike = Callable[[Index], Floats]
"""Cells (U,), one a user, to the likeness (U, W) of every cell of the user to it."""

SHARED_ITEMS = 4096
"""Up to so many different items among a block's cells, one table of all their cosines (64 MB) is a third of the work."""

VECTORS_MB = 32
"""Vectors of cells held at once otherwise: users are taken in turns."""


@dataclass(frozen=True)
class Likeness:
    """vectors (n_items, dim) float32: unit rows, or zero where nothing is known; item (U, W), -1 where there is none."""

    vectors: Floats
    item: Index

    def parts(self) -> Iterator[slice]:
        """The users that are looked at together."""
        n_users, width = self.item.shape
        step = n_users if self._table is not None else VECTORS_MB * 1_000_000 // (4 * max(width, 1) * self.vectors.shape[1])
        for start in range(0, max(n_users, 1), max(step, 1)):
            yield slice(start, start + max(step, 1))

    def of(self, part: slice) -> Alike:
        """The likeness of the cells of some users."""
        item = self.item[part]
        users = np.arange(len(item))
        if self._table is not None:
            table, code = self._table, self._code[part]
            return lambda cells: table[code[users, cells][:, None], code]
        vectors = self.vectors[item]
        vectors[item < 0] = 0
        return lambda cells: np.matmul(vectors, vectors[users, cells][:, :, None])[:, :, 0]

    @cached_property
    def _used(self) -> Index:
        """The items of all cells, ascending."""
        is_used = np.zeros(len(self.vectors), bool)
        is_used[self.item[self.item >= 0]] = True
        return np.flatnonzero(is_used).astype(np.int32)

    @cached_property
    def _code(self) -> Index:
        """(U, W): places in the table; that of cells without an item is the last, of an item that is like nothing."""
        place = np.full(len(self.vectors) + 1, len(self._used), np.int32)
        place[self._used] = np.arange(len(self._used))
        return place[self.item]

    @cached_property
    def _table(self) -> Floats | None:
        if len(self._used) > SHARED_ITEMS:
            return None
        rows = np.concatenate([self.vectors[self._used], np.zeros((1, self.vectors.shape[1]), np.float32)])
        table: Floats = rows @ rows.T
        return table
