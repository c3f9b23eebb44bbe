"""Distributions counted on one fixed grid of values, chunk by chunk, and how far two of them are apart.

A cell holds the float32 numbers of one sign, one exponent and the same first 7 bits of the mantissa: it is at most 0.8 % wide. Because the
grid is the same every night, the bins can be chosen when two nights meet, out of the earlier one, and both are counted in them exactly.
(Fixed cells of a relative width: Masson, Rim and Lee 2019, "DDSketch".)
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.blocks import Floats

Counts = NDArray[np.int64]

CELLS = 1 << 16
"""Cells of numbers, in ascending order; one more, the last, counts what is missing."""

BINS = 10
REACH = 8
"""Cells to either side, 3 to 6 % of the value, that belong to the bin of a value that many rows share. Such a value may stray a little
every night (the rate that a thousand items without an event of their own have in common), and all its rows would change bins at once."""

HALF = 0.5
"""Added to every count, so that a bin that one night leaves empty is no infinite drift (Jeffreys' prior)."""

COLUMNS = {"name": pl.String, "cell": pl.UInt32, "n": pl.Int64}


class Grid:
    """How often each named column had a value in each cell: 0.5 MB a name, however many rows are added."""

    def __init__(self, names: list[str]) -> None:
        self._counts = {name: np.zeros(CELLS + 1, np.int64) for name in names}

    def add(self, name: str, values: Floats) -> None:
        """Count values (n,) float32; NaN is missing."""
        self._counts[name] += np.bincount(_cells(values), minlength=CELLS + 1)

    def table(self) -> pl.DataFrame:
        """name, cell, n: a row a cell that is not empty, in order."""
        parts = [_rows(name, counts) for name, counts in self._counts.items()]
        return pl.concat(parts) if parts else pl.DataFrame(schema=COLUMNS)


def counts_of(table: pl.DataFrame, name: str) -> Counts:
    """The counts (CELLS + 1,) int64 of a name in a `Grid.table`; all zero where it has none."""
    rows = table.filter(pl.col("name") == name)
    counts = np.zeros(CELLS + 1, np.int64)
    counts[rows["cell"].to_numpy()] = rows["n"].to_numpy()
    return counts


def psi(before: pl.DataFrame, now: pl.DataFrame, name: str) -> float | None:
    """Population stability index of a name between two `Grid.table`s: the sum over bins of (p - q) ln(p / q), p now, q before.

    At least 0, and 0 where nothing changed. By custom below .1 is calm and above .25 a shift (Siddiqi 2006, "Credit Risk Scorecards"); it
    is the symmetric divergence of Kullback and Leibler (1951). The bins are the tenths of the values before; a cell that holds a tenth or
    more has a bin of its own, with the REACH next to it, and so has what is missing. None where either night has no row.
    """
    q_counts, p_counts = counts_of(before, name), counts_of(now, name)
    if not q_counts.sum() or not p_counts.sum():
        return None
    of_cell = _bins(q_counts)
    q_bins, p_bins = (np.bincount(of_cell, counts) for counts in (q_counts, p_counts))
    used = (q_bins + p_bins) > 0
    q, p = (HALF + bins[used] for bins in (q_bins, p_bins))
    q, p = q / q.sum(), p / p.sum()
    return float(np.sum((p - q) * np.log(p / q)))


def _rows(name: str, counts: Counts) -> pl.DataFrame:
    cells = np.flatnonzero(counts)
    return pl.DataFrame({"name": [name] * len(cells), "cell": cells, "n": counts[cells]}, schema=COLUMNS)


def _bins(counts: Counts) -> NDArray[np.int64]:
    """The bin (CELLS + 1,) of every cell."""
    present = counts[:-1]
    cells, total = np.flatnonzero(present), present.sum()
    tenths = np.searchsorted(np.cumsum(present[cells]), total * np.arange(1, BINS) / BINS)[: BINS if total else 0]
    after = cells[np.minimum(tenths + 1, len(cells) - 1)]
    # Half way to the next value that occurs: where values come in lumps, a lump may stray a little without leaving its bin.
    cuts = cells[tenths] + 1 + np.minimum(after - cells[tenths], 2 * REACH) // 2
    heavy = cells[present[cells] * BINS >= total]
    first = np.unique(np.concatenate([cuts, heavy - REACH, heavy + REACH + 1]))  # cells that begin a bin
    first = first[~np.any((first > heavy[:, None] - REACH) & (first <= heavy[:, None] + REACH), axis=0)]
    bins = np.searchsorted(first, np.arange(CELLS + 1), side="right")
    bins[-1] = len(first) + 1
    return bins


def _cells(values: Floats) -> NDArray[np.int64]:
    """The cell of each value: the first 16 bits of a float, made monotone."""
    bits = (values.astype(np.float32) + np.float32(0)).view(np.int32)  # + 0 turns -0.0 into 0.0
    ordered = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    cells = (ordered >> 16).astype(np.int64) + CELLS // 2
    cells[np.isnan(values)] = CELLS
    return cells
