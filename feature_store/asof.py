"""The point-in-time kernel: sort the events once by (entity, time), then any window at any moment is two binary searches.

Everything that is added up is an integer, so a value depends on the events inside its window and on nothing else: not on
the order of the rows, and not, by a last bit of rounding, on what comes later.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.errors import ViewError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Array = TypeVar("Array", Integers, Floats, Bools)
Selection = tuple[str | None, str | None]
"""Names (where, column) of what an event must satisfy and carry; None asks nothing."""

MICROSECONDS_A_DAY = 86_400_000_000
FIXED_POINT = 1_000_000
"""Sums are kept in millionths."""

LARGEST_VALUE = 2.0**53 / FIXED_POINT
"""Beyond it a double no longer holds every millionth."""

LARGEST_TOTAL = 2.0**62


class Past:
    """Events, and the moments at which their past is asked for.

    code, time: (n,) int64, entity code from 0 and microseconds of each event. columns: (n,) arrays by name, boolean or
    float64 with NaN for null. query_code, as_of: (m,) int64. Every answer is (m,). `days` is the length of the half-open
    window [as_of - days, as_of); None reaches back to the first event.
    """

    def __init__(
        self, code: Integers, time: Integers, columns: Mapping[str, NDArray[np.generic]], query_code: Integers, as_of: Integers
    ) -> None:
        # The sorts are most of the cost, and polars' run on every core.
        self._by_time: Integers = pl.Series(time).arg_sort().cast(pl.Int64).to_numpy()
        self._stride = len(time) + 1
        # A place in time order is unique, so the sorted keys themselves say which row each is: a sort, not a slower argsort.
        self._keys = pl.Series(code[self._by_time] * self._stride + np.arange(len(time))).sort().to_numpy()
        self._times = time[self._by_time]
        self._columns = columns
        self._query_code = query_code
        self._as_of = as_of
        self._moments, self._moment_index = np.unique(as_of, return_inverse=True)
        self._kept: dict[object, Any] = {}
        self._end = self._search(np.searchsorted(self._times, self._moments).astype(np.int64))

    def count(self, selection: Selection, days: float | None) -> Integers:
        """Number of selected events in the window."""
        start = self._start(days)
        if selection == (None, None):
            return self._end - start
        running = self._keep(("count", selection), lambda: _running_total(self._selected(selection).astype(np.int64)))
        return running[self._end] - running[start]

    def total(self, selection: Selection, days: float | None) -> Integers:
        """Sum of the column over the selected events in the window, in millionths. Raises ViewError where it may overflow."""
        running = self._keep(("total", selection), lambda: _running_total(self._millionths(selection)))
        # The running total may wrap around 2^64; the difference is still exact, as no entity's own total reaches 2^62.
        return running[self._end] - running[self._start(days)]

    def latest(self, selection: Selection, days: float | None) -> Integers:
        """Position of the last selected event in the window; -1 for none."""
        position = self._keep(("latest", selection), lambda: _latest(self._selected(selection)))[self._end]
        return np.where(position >= self._start(days), position, -1)

    def earliest(self, selection: Selection, days: float | None) -> Integers:
        """Position of the first selected event in the window; -1 for none."""
        position = self._keep(("earliest", selection), lambda: _earliest(self._selected(selection)))[self._start(days)]
        return np.where(position < self._end, position, -1)

    def days_since(self, position: Integers) -> Floats:
        """Days from the event at `position` to as_of, > 0; NaN where the position is -1."""
        found = position >= 0
        days = np.full(len(position), np.nan)
        days[found] = (self._as_of[found] - self._sorted_time[position[found]]) / MICROSECONDS_A_DAY
        return days

    def largest_at(self, position: Integers, selection: Selection) -> Floats:
        """Largest selected value among the events of the entity and moment of `position`; NaN where the position is -1."""
        found = position >= 0
        values = np.full(len(position), np.nan)
        if not found.any():
            return values
        is_first = np.concatenate([[True], (np.diff(self._sorted_time) != 0) | (np.diff(self._sorted_code) != 0)])
        selected = np.where(self._selected(selection), self._values(str(selection[1])), -np.inf)
        largest = np.maximum.reduceat(selected, np.flatnonzero(is_first))
        values[found] = largest[np.cumsum(is_first)[position[found]] - 1]
        return values

    @cached_property
    def _place(self) -> Integers:
        """Place in time order of each event in (entity, time) order."""
        return self._keys % self._stride

    @cached_property
    def _order(self) -> Integers:
        """Row of each event in (entity, time) order."""
        return self._by_time[self._place]

    @cached_property
    def _sorted_time(self) -> Integers:
        return self._times[self._place]

    @cached_property
    def _sorted_code(self) -> Integers:
        return self._keys // self._stride

    def _search(self, places: Integers) -> Integers:
        """Position in (entity, time) order of each query's entity at the place in time order of its moment."""
        return np.searchsorted(self._keys, self._query_code * self._stride + places[self._moment_index]).astype(np.int64)

    def _start(self, days: float | None) -> Integers:
        def search() -> Integers:
            if days is None:
                return self._search(np.zeros(len(self._moments), np.int64))
            return self._search(np.searchsorted(self._times, self._moments - round(days * MICROSECONDS_A_DAY)).astype(np.int64))

        return self._keep(("start", days), search)

    def _selected(self, selection: Selection) -> Bools:
        """Which events, in (entity, time) order, have a true `where` and a value in the column."""
        where, column = selection
        selected = np.ones(len(self._keys), bool) if where is None else self._columns[where].astype(bool)[self._order]
        if column is not None:
            selected &= ~np.isnan(self._values(column))
        return selected

    def _values(self, column: str) -> Floats:
        """The column in (entity, time) order. Raises ViewError for a value too large to be summed exactly."""
        return self._keep(("values", column), lambda: _summable(column, self._columns[column].astype(np.float64))[self._order])

    def _millionths(self, selection: Selection) -> Integers:
        values = np.where(self._selected(selection), self._values(str(selection[1])), 0.0)
        amounts: Integers = np.rint(values * FIXED_POINT).astype(np.int64)
        if len(amounts) and np.bincount(self._sorted_code, weights=np.abs(amounts)).max() >= LARGEST_TOTAL:
            raise ViewError(
                f"column {selection[1]!r}: the values of one entity add up to more than {LARGEST_TOTAL / FIXED_POINT:.3g}. "
                "Give it in a larger unit."
            )
        return amounts

    def _keep(self, name: object, make: Callable[[], Array]) -> Array:
        """Features of one view share windows and selections: each is made once."""
        if name not in self._kept:
            self._kept[name] = make()
        kept: Array = self._kept[name]
        return kept


def _running_total(amounts: Integers) -> Integers:
    """(n + 1,): the sum of the first i amounts at place i."""
    return np.concatenate([[0], np.cumsum(amounts)])


def _latest(selected: Bools) -> Integers:
    """(n + 1,): at place i the last selected position before i; -1 for none."""
    return np.concatenate([[-1], np.maximum.accumulate(np.where(selected, np.arange(len(selected)), -1))])


def _earliest(selected: Bools) -> Integers:
    """(n + 1,): at place i the first selected position from i on; n for none."""
    n = len(selected)
    return np.concatenate([np.minimum.accumulate(np.where(selected, np.arange(n), n)[::-1])[::-1], [n]])


def _summable(column: str, values: Floats) -> Floats:
    n_large = int((np.abs(values) > LARGEST_VALUE).sum())
    if n_large:
        largest = float(np.nanmax(np.abs(values)))
        raise ViewError(
            f"column {column!r}: {n_large} of {len(values)} values are beyond {LARGEST_VALUE:.3g} (the largest: {largest:.6g}). "
            "Give it in a larger unit."
        )
    # + 0.0 turns -0.0 into 0.0: they compare equal, so which of two is the largest would hang on the order of rows.
    summable: Floats = values + 0.0
    return summable
