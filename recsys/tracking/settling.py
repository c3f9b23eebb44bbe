"""Put right what the stores say: what waits is sent, aliases name champion and challenger, the gate's decisions stand there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recsys.config import Tracking
from recsys.errors import BusyError
from recsys.lock import alone
from recsys.tracking import sending, store
from recsys.tracking.decisions import write_decisions
from recsys.tracking.registry import CHALLENGER, CHAMPION, Place, mirror, versions_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registry:
    """What the registry holds: the latest version of each run; and what was done to put it right, a line each."""

    versions: dict[str, int]
    done: list[str]


@dataclass(frozen=True)
class Standing:
    """How the runs of a project stand: the one that ranks, the one that waits for the gate, and what the gate said last, by run id."""

    champion: str | None = None
    challenger: str | None = None
    decisions: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def settle(tracking: Tracking, home: Path, name: str, standing: Standing, is_alone: bool) -> Registry | None:
    """Send what waits to the server that the config names, then let it say how the runs stand: the project's own folder rules.

    is_alone: see `sending.waiting`. None where tracking is switched off, and, with a warning that says what waits, where a store does
    not answer.
    """
    if not tracking.enabled:
        return None
    if not (tracking.uri or store.local_file(home).is_file()):
        return Registry({}, [])
    n_waiting = 0
    uri = tracking.uri or store.local_uri(home)
    with store.quiet(), store.without_its_warnings():
        try:
            local = _local(home, name) if tracking.uri else None
            n_waiting = len(sending.waiting(local, is_alone)) if local else 0
            client = store.opened(uri)
            place = Place(client, store.experiment(client, uri, home, name), name)
            sent = _sent(local, place, home, is_alone) if local and n_waiting else []
            n_waiting -= len(sent)
            versions = versions_of(place)
            done = [f"tracking: run {run_id} is sent to {store.no_password(uri)}" for run_id in sent]
            done += mirror(place, versions, CHAMPION, standing.champion) + mirror(place, versions, CHALLENGER, standing.challenger)
            return Registry(versions, done + write_decisions(place, standing.decisions))
        except store.faults() as error:
            _say_what_waits(uri, error, n_waiting, home)
            return None


def _local(home: Path, name: str) -> Place | None:
    """The project's own store; None where nothing was ever tracked."""
    if not store.local_file(home).is_file():
        return None
    client = store.opened(store.local_uri(home))
    found = client.get_experiment_by_name(name)
    return Place(client, found.experiment_id, name) if found else None


def _sent(local: Place, server: Place, home: Path, is_alone: bool) -> list[str]:
    try:
        with alone(home / "mlartifacts", "sending to the tracking server"):
            return sending.send_all(local, server, sending.waiting(local, is_alone))
    except BusyError as error:
        log.warning("tracking: nothing is sent from here: %s", error)
        return []


def _say_what_waits(uri: str, error: Exception, n: int, home: Path) -> None:
    waits = f"{n} run{' waits' if n == 1 else 's wait'} in {store.local_file(home)} to be sent" if n else "the registry is put right"
    log.warning(
        "tracking: %s does not answer: %s; %s by the next `recsys train` or `recsys models list` that reaches it. "
        "Look at tracking.uri if it should answer.",
        store.no_password(uri),
        store.line(error),
        waits,
    )
