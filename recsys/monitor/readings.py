"""Measures with their verdict: PASS, WARN beyond a first limit, FAIL beyond a second one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from recsys.schema import MONITORING

Status = Literal["PASS", "WARN", "FAIL"]


@dataclass(frozen=True)
class Reading:
    """One measure of one night. key: of what (a feature, an event type ...), empty where of the whole night."""

    measure: str
    key: str
    value: float
    status: Status = "PASS"


def read(measure: str, value: float | None, limits: tuple[float, ...] = (), key: str = "") -> list[Reading]:
    """The reading of a value, judged by at most two ascending limits: above the first WARN, above the second FAIL. None: no reading."""
    if value is None:
        return []
    beyond = sum(value > limit for limit in limits)
    statuses: tuple[Status, ...] = ("PASS", "WARN", "FAIL")
    return [Reading(measure, key, float(value), statuses[beyond])]


def table_of(readings: Iterable[Reading], night_id: str, as_of: datetime) -> pl.DataFrame:
    """Readings as rows of MONITORING, in their order."""
    rows = [(night_id, as_of, one.measure, one.key, one.value, one.status) for one in readings]
    return pl.DataFrame(rows, schema={column.name: column.dtype for column in MONITORING.columns}, orient="row")
