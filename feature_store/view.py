"""A feature view declares, for one entity, what shall be known about it: named features, each with its meaning and its fill.

A feature is missing where no event that it selects lies in its window; then it is its declared `fill`, or null for None.
`where` names a boolean column of the events that selects rows (null selects nothing); null and NaN values are no values.
"""

from dataclasses import dataclass

import numpy as np

from feature_store.asof import FIXED_POINT, Floats, Past
from feature_store.entity import Entity
from feature_store.errors import ViewError

LONGEST_DAYS = 1_000_000
"""Of a window or a TTL: beyond, a moment minus it may not fit its 64 bits of microseconds."""


@dataclass(frozen=True)
class Count:
    """Events in [as_of - days, as_of); days None: the view's TTL, or everything."""

    name: str
    meaning: str
    where: str | None = None
    days: float | None = None
    fill: float | None = 0.0

    def at(self, past: Past, ttl_days: float | None) -> Floats:
        """One value a query; NaN where missing."""
        n = past.count((self.where, None), self.days or ttl_days)
        return np.where(n > 0, n, np.nan)


@dataclass(frozen=True)
class Sum:
    """Sum of a numeric column over [as_of - days, as_of), exact to a millionth a value."""

    name: str
    meaning: str
    column: str
    where: str | None = None
    days: float | None = None
    fill: float | None = 0.0

    def at(self, past: Past, ttl_days: float | None) -> Floats:
        """One value a query; NaN where missing."""
        selection, days = (self.where, self.column), self.days or ttl_days
        return np.where(past.count(selection, days) > 0, past.total(selection, days) / FIXED_POINT, np.nan)


@dataclass(frozen=True)
class Mean:
    """Mean of a numeric column over [as_of - days, as_of), of values rounded to a millionth."""

    name: str
    meaning: str
    column: str
    where: str | None = None
    days: float | None = None
    fill: float | None = None

    def at(self, past: Past, ttl_days: float | None) -> Floats:
        """One value a query; NaN where missing."""
        selection, days = (self.where, self.column), self.days or ttl_days
        n = past.count(selection, days)
        return np.where(n > 0, past.total(selection, days) / FIXED_POINT / np.maximum(n, 1), np.nan)


@dataclass(frozen=True)
class Last:
    """Latest value of a numeric column in [as_of - days, as_of); of several at one moment, the largest."""

    name: str
    meaning: str
    column: str
    where: str | None = None
    days: float | None = None
    fill: float | None = None

    def at(self, past: Past, ttl_days: float | None) -> Floats:
        """One value a query; NaN where missing."""
        selection = (self.where, self.column)
        return past.largest_at(past.latest(selection, self.days or ttl_days), selection)


@dataclass(frozen=True)
class SinceLast:
    """Days from the latest event to as_of, within the view's TTL."""

    name: str
    meaning: str
    where: str | None = None
    fill: float | None = None

    def at(self, past: Past, ttl_days: float | None) -> Floats:
        """One value a query; NaN where missing."""
        return past.days_since(past.latest((self.where, None), ttl_days))


@dataclass(frozen=True)
class SinceFirst:
    """Days from the first event to as_of, within the view's TTL: an older first event is forgotten."""

    name: str
    meaning: str
    where: str | None = None
    fill: float | None = None

    def at(self, past: Past, ttl_days: float | None) -> Floats:
        """One value a query; NaN where missing."""
        return past.days_since(past.earliest((self.where, None), ttl_days))


Feature = Count | Sum | Mean | Last | SinceLast | SinceFirst


@dataclass(frozen=True)
class FeatureView:
    """The features of one entity; with `ttl_days`, no event older than that is ever used.

    Raises ViewError naming every fault at once: no feature, a name twice, a window that is not positive or exceeds the TTL.
    """

    name: str
    entity: Entity
    features: tuple[Feature, ...]
    ttl_days: float | None = None

    def __post_init__(self) -> None:
        faults = [*self._name_faults(), *self._window_faults()]
        if faults:
            raise ViewError(f"view {self.name!r}: " + "; ".join(faults) + ". Correct the declaration.")

    @property
    def wheres(self) -> tuple[str, ...]:
        """Boolean columns that the features select by, sorted."""
        return tuple(sorted({feature.where for feature in self.features if feature.where is not None}))

    @property
    def value_columns(self) -> tuple[str, ...]:
        """Numeric columns that the features read, sorted."""
        return tuple(sorted({feature.column for feature in self.features if isinstance(feature, Sum | Mean | Last)}))

    def _name_faults(self) -> list[str]:
        names = [feature.name for feature in self.features]
        faults = [] if names else ["it has no feature"]
        faults += [f"feature {name!r} is declared {names.count(name)} times" for name in dict.fromkeys(names) if names.count(name) > 1]
        return faults + [f"feature {name!r} has the name of a key column" for name in names if name in self.entity.keys]

    def _window_faults(self) -> list[str]:
        windows = {"ttl_days": self.ttl_days}
        windows |= {f"days of {f.name!r}": f.days for f in self.features if not isinstance(f, SinceLast | SinceFirst)}
        given = {name: days for name, days in windows.items() if days is not None}
        ttl = LONGEST_DAYS if self.ttl_days is None else self.ttl_days
        wrong = [
            f"{name} is {days}, not above 0 and at most {LONGEST_DAYS}" for name, days in given.items() if not 0 < days <= LONGEST_DAYS
        ]
        return wrong + [f"{name} is {days}, more than the TTL of {ttl}" for name, days in given.items() if ttl < days <= LONGEST_DAYS]
