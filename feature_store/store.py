"""What did we know about this entity at this moment? The store answers it for declared views, out of the events it is given."""

import difflib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.asof import MICROSECONDS_A_DAY, Floats, Integers, Past
from feature_store.errors import ViewError
from feature_store.view import FeatureView

TIME_COLUMN = "event_time"
TIME = pl.Datetime("us", "UTC")

_CODE = "__entity_code"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FeatureStore:
    """Feature views by name. It keeps no event: the same call with the same tables gives the same bytes.

    `events` holds the entity's key columns (String), `event_time` (Datetime us UTC), and the boolean and numeric columns
    that the view names. An event with a null key belongs to no entity; a null key that is asked for has no past.
    """

    def __init__(self, *views: FeatureView) -> None:
        names = [view.name for view in views]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ViewError(f"views declared more than once: {', '.join(map(repr, twice))}. Give each view its own name.")
        self._views = {view.name: view for view in views}

    def values(self, view: str, events: pl.DataFrame, keys: pl.DataFrame, as_of: datetime | pl.Series) -> pl.DataFrame:
        """The features (Float32) of each row of `keys`, in its order, from events strictly before `as_of`.

        keys: the entity's key columns, duplicates allowed. as_of: one aware moment, or a Datetime us UTC Series with one a row.
        Raises ViewError for an unknown view, and where a table lacks a column or has one of the wrong type.
        """
        declared = self._view(view)
        _check_events(events, declared)
        _check(keys, declared, "keys", dict.fromkeys(declared.entity.keys, pl.String))
        moments = _microseconds(as_of, keys.height)
        entities = keys.select(declared.entity.keys).unique().with_row_index(_CODE)
        code = keys.join(entities, on=declared.entity.keys, how="left", nulls_equal=True, maintain_order="left")[_CODE]
        query_code, query_time, query = _distinct(_integers(code), moments)
        past = _past(declared, _wanted(declared, events, entities, moments), query_code, query_time)
        columns = [_filled(f.name, f.at(past, declared.ttl_days), f.fill) for f in declared.features]
        return pl.DataFrame([column.gather(query) for column in columns])

    def materialise(self, view: str, events: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
        """A snapshot: the key columns, sorted, and the features of every entity with an event before `as_of` within the TTL."""
        declared = self._view(view)
        _check_events(events, declared)
        recent = events.filter(_within(declared, _microseconds(as_of, 1)))
        keys = recent.select(declared.entity.keys).drop_nulls().unique().sort(declared.entity.keys)
        return keys.hstack(self.values(view, events, keys, as_of))

    def meanings(self) -> dict[str, str]:
        """Feature name -> meaning, over all views. Raises ViewError where two views declare one name."""
        features = [feature for view in self._views.values() for feature in view.features]
        names = [feature.name for feature in features]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ViewError(f"features declared by more than one view: {', '.join(map(repr, twice))}. Rename all but one.")
        return {feature.name: feature.meaning for feature in features}

    def _view(self, name: str) -> FeatureView:
        if name not in self._views:
            near = difflib.get_close_matches(name, self._views, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Declared are: {', '.join(self._views) or 'none'}."
            raise ViewError(f"view {name!r} is not declared. {hint}")
        return self._views[name]


def _within(view: FeatureView, moments: Integers) -> pl.Expr:
    """Events that any of the moments may use."""
    time = pl.col(TIME_COLUMN).to_physical()
    if not len(moments):
        return pl.lit(False)
    before = time < int(moments.max())
    if view.ttl_days is None:
        return before
    return before & (time >= int(moments.min()) - round(view.ttl_days * MICROSECONDS_A_DAY))


def _wanted(view: FeatureView, events: pl.DataFrame, entities: pl.DataFrame, moments: Integers) -> pl.DataFrame:
    """Events of the wanted entities that any moment may use, with their entity code."""
    columns = dict.fromkeys((*view.entity.keys, TIME_COLUMN, *view.wheres, *view.value_columns))
    chosen = events.lazy().select(*columns).filter(_within(view, moments))
    return chosen.join(entities.lazy(), on=view.entity.keys, how="inner").collect()


def _past(view: FeatureView, events: pl.DataFrame, query_code: Integers, as_of: Integers) -> Past:
    columns: dict[str, NDArray[np.generic]] = {name: events[name].fill_null(False).to_numpy() for name in view.wheres}
    columns |= {name: events[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in view.value_columns}
    return Past(_integers(events[_CODE]), _integers(events[TIME_COLUMN].to_physical()), columns, query_code, as_of)


def _distinct(code: Integers, moments: Integers) -> tuple[Integers, Integers, Integers]:
    """Code and moment of each distinct query, and for each row its query: many rows ask for one item at one moment."""
    times, time_index = np.unique(moments, return_inverse=True)
    n_times = max(len(times), 1)
    pairs, query = np.unique(code * n_times + time_index, return_inverse=True)
    return pairs // n_times, times[pairs % n_times], query


def _filled(name: str, values: Floats, fill: float | None) -> pl.Series:
    if fill is not None:
        values = np.where(np.isnan(values), fill, values)
    column = pl.Series(name, values.astype(np.float32))
    return column.fill_nan(None) if fill is None else column


def _integers(column: pl.Series) -> Integers:
    return column.cast(pl.Int64).to_numpy()


def _microseconds(as_of: datetime | pl.Series, height: int) -> Integers:
    """Microseconds since 1970 of each row's moment, (height,) int64."""
    if isinstance(as_of, datetime):
        if as_of.tzinfo is None:
            raise ViewError(f"as_of {as_of} has no time zone. Give an aware moment, such as datetime(..., tzinfo=UTC).")
        return np.full(height, (as_of - _EPOCH) // timedelta(microseconds=1), np.int64)
    if as_of.dtype != TIME or len(as_of) != height or as_of.null_count():
        raise ViewError(
            f"as_of: {len(as_of)} moments of {as_of.dtype}, {as_of.null_count()} null, for {height} rows of keys. Give one {TIME} a row."
        )
    return _integers(as_of.to_physical())


def _check_events(events: pl.DataFrame, view: FeatureView) -> None:
    _check(
        events, view, "events", dict.fromkeys(view.entity.keys, pl.String) | {TIME_COLUMN: TIME} | dict.fromkeys(view.wheres, pl.Boolean)
    )
    n_nulls = events[TIME_COLUMN].null_count()
    if n_nulls:
        raise ViewError(f"view {view.name!r}: {n_nulls} of {events.height} events have no {TIME_COLUMN}. Leave them out.")
    faults = _missing(events, view.value_columns)
    faults += [
        f"{c!r} is {events.schema[c]}, not numeric" for c in view.value_columns if c in events.columns and not events.schema[c].is_numeric()
    ]
    _raise(faults, view, "events")


def _check(frame: pl.DataFrame, view: FeatureView, table: str, dtypes: Mapping[str, pl.DataType | type[pl.DataType]]) -> None:
    wrong = [f"{c!r} is {frame.schema[c]}, not {dtype}" for c, dtype in dtypes.items() if c in frame.columns and frame.schema[c] != dtype]
    _raise(_missing(frame, list(dtypes)) + wrong, view, table)


def _missing(frame: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    return [f"{c!r} is missing" for c in columns if c not in frame.columns]


def _raise(faults: list[str], view: FeatureView, table: str) -> None:
    if faults:
        raise ViewError(f"view {view.name!r}, table {table}: column " + "; column ".join(faults) + ". Give every column the view declares.")
