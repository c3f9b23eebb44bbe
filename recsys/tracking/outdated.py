"""The models of runs that a project keeps no longer go from the registry, where their files lie with the project."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from recsys.config import Tracking
from recsys.tracking import store
from recsys.tracking.entries import remove_models, runs_of, versions_of_run
from recsys.tracking.registry import Place

log = logging.getLogger(__name__)


def remove_outdated(tracking: Tracking, home: Path, name: str, run_ids: Iterable[str]) -> list[str]:
    """Remove the models and versions of these runs; returns the runs that may go now.

    A run whose version has an alias may not, nor any where the store does not answer, which is a warning. What a run reached stays
    written down. On a server everything stays: what it keeps is for those to say who look after it.
    """
    wanted = list(run_ids)
    is_server = tracking.uri.startswith(("http:", "https:", "databricks"))
    if not (wanted and tracking.enabled) or is_server or not (tracking.uri or store.local_file(home).is_file()):
        return wanted
    uri = tracking.uri or store.local_uri(home)
    with store.quiet(), store.without_its_warnings():
        try:
            client = store.opened(uri)
            place = Place(client, store.experiment(client, uri, home, name), name)
            return [run_id for run_id in wanted if _removed(place, run_id)]
        except store.faults() as error:
            log.warning("tracking: %s does not answer: %s; old runs are kept until it does", store.no_password(uri), store.line(error))
            return []


def _removed(place: Place, run_id: str) -> bool:
    found = runs_of(place, f"tags.`{store.RUN_ID}` = '{run_id}'")
    versions = [version for run in found for version in versions_of_run(place, run)]
    if any(place.client.get_model_version(place.name, version.version).aliases for version in versions):
        return False
    for run in found:
        remove_models(place, run)
    return True
