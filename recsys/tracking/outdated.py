"""The models of runs that a project keeps no longer go from the registry, where their files lie with the project."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recsys.atomic import disk
from recsys.config import Tracking
from recsys.tracking import store
from recsys.tracking.entries import found_versions
from recsys.tracking.registry import Place, local_path

log = logging.getLogger(__name__)


def remove_outdated(tracking: Tracking, home: Path, name: str, run_ids: Iterable[str]) -> list[str]:
    """Remove the models and versions of these runs; returns the runs that may go now.

    A run may not go whose version has an alias or was copied to another registered model, nor one whose model cannot be removed, nor any
    where the store does not answer: these are warnings. What a run reached stays written down, and a model whose files do not lie in
    `home` stays whole. A server is not asked: what it keeps is for those to say who look after it.
    """
    wanted = list(run_ids)
    if not (wanted and tracking.enabled) or store.is_server(tracking.uri) or not (tracking.uri or store.local_file(home).is_file()):
        return wanted
    uri = tracking.uri or store.local_uri(home)
    with store.quiet(), store.without_its_warnings():
        try:
            client = store.opened(uri)
            place = Place(client, store.experiment(client, uri, home, name), name)
            found = found_versions(place, f"name = '{name}'")
        except store.faults() as error:
            log.warning("tracking: %s does not answer: %s; old runs are kept until it does", store.no_password(uri), store.line(error))
            return []
        of_run = {run_id: [version for version in found if version.tags.get(store.RUN_ID) == run_id] for run_id in wanted}
        return [run_id for run_id in wanted if _removed(place, home, run_id, of_run[run_id])]


def _removed(place: Place, home: Path, run_id: str, versions: list[Any]) -> bool:
    try:
        if any(_is_wanted(place, version) for version in versions):
            return False
        for version in versions:
            _remove(place, home, version)
    except store.faults() as error:
        log.warning("tracking: the model of run %s is not removed: %s; the run is kept until it is", run_id, store.line(error))
        return False
    return True


def _is_wanted(place: Place, version: Any) -> bool:
    """Has it an alias, or a copy under another name, which has the same files."""
    copies = found_versions(place, f"run_id = '{version.run_id}'")
    return bool(place.client.get_model_version(place.name, version.version).aliases) or any(one.name != place.name for one in copies)


def _remove(place: Place, home: Path, version: Any) -> None:
    """Its files first: without their entry nothing would find them again."""
    path = local_path(version.source) if version.source.startswith("file:") else None
    if path is None or not path.is_relative_to(home.resolve()):
        return
    if path.parent.exists():
        with disk(path.parent):
            shutil.rmtree(path.parent)
    place.client.delete_model_version(place.name, version.version)
    if version.model_id:
        place.client.delete_logged_model(version.model_id)
