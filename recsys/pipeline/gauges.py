"""A night as gauges for Prometheus, in the file that node_exporter's textfile collector reads."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.atomic import replacing
from recsys.monitor import Gauge, exposition
from recsys.pipeline.job import utc_now

if TYPE_CHECKING:
    from recsys.pipeline.nightly import Told

STATUSES = ("PASS", "WARN", "FAIL")


def write_gauges(path: Path, told: Told) -> None:
    """Write the file in one step: its reader never sees half of it. Raises ArtefactError on a disk error."""
    with replacing(path) as temporary:
        temporary.write_text(exposition(gauges(told, utc_now())), encoding="utf-8")


def gauges(told: Told, now: datetime) -> list[Gauge]:
    """The gauges of a night that ended `now`; one that has nothing to say has no row."""
    mine = {"project": told.project}
    served = told.night.manifest if told.night else {}
    counted = Counter[str](result.status for result in told.checks)
    readings = [(mine | {"measure": one.measure, "key": one.key}, one) for one in (told.measured.readings if told.measured else [])]
    is_served = told.outcome in ("published", "unchanged")
    return [
        Gauge("recsys_nightly_end_time_seconds", "When the latest nightly job ended, Unix time.", [(mine, now.timestamp())]),
        Gauge("recsys_nightly_exit_code", "Its exit code: 0 all is well, 1 refused, 2 something failed.", [(mine, told.exit_code)]),
        Gauge(
            "recsys_nightly_is_served", "1 where tonight's lists are served, 0 where those of before still are.", [(mine, int(is_served))]
        ),
        Gauge("recsys_nightly_as_of_seconds", "The moment that the served lists know of, Unix time.", _times(mine, served.get("as_of"))),
        Gauge("recsys_nightly_users", "Users with a list that is served.", _known(mine, served.get("n_users"))),
        Gauge("recsys_nightly_rows", "Rows of the lists that are served.", _known(mine, served.get("n_rows"))),
        Gauge(
            "recsys_nightly_run_as_of_seconds",
            "The moment up to which the run that ranks has learned, Unix time.",
            _times(mine, told.run.manifest["as_of"] if told.run else None),
        ),
        Gauge("recsys_nightly_step_seconds", "Seconds of each step.", [(mine | {"step": name}, s) for name, s in told.seconds.items()]),
        Gauge("recsys_nightly_checks", "Named checks by status.", [(mine | {"status": name}, counted[name]) for name in STATUSES]),
        Gauge("recsys_monitor_value", "What was measured of the night.", [(labels, one.value) for labels, one in readings]),
        Gauge("recsys_monitor_status", "0 PASS, 1 WARN, 2 FAIL.", [(labels, STATUSES.index(one.status)) for labels, one in readings]),
    ]


def _known(labels: dict[str, str], value: float | None) -> list[tuple[dict[str, str], float]]:
    return [] if value is None else [(labels, value)]


def _times(labels: dict[str, str], moment: str | None) -> list[tuple[dict[str, str], float]]:
    return _known(labels, datetime.fromisoformat(moment).timestamp() if moment else None)
