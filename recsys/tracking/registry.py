"""The model registry: every run of a project is a version of one registered model, the alias `champion` names the one that ranks.

What ranks, and what waits to (`challenger`), is decided in the project's own folder; the aliases mirror it, and are put right.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from recsys.tracking import store

CHAMPION, CHALLENGER = "champion", "challenger"
"""The aliases."""

MODEL = "recommender"
"""The name of the logged model of a run."""


@dataclass(frozen=True)
class Served:
    """What a registered model is made of.

    write: writes its files into an empty folder. code: the Python file that MLflow runs to load it (`recommender.serve`).
    example: user ids to show how it is asked. k: places of a list unless it is asked for more or fewer.
    """

    write: Callable[[Path], None]
    code: Path
    example: list[str]
    k: int


@dataclass(frozen=True)
class Place:
    """An experiment of a store, and the name of the project's registered model there."""

    client: Any
    experiment_id: str
    name: str


def log_model(place: Place, mlflow_id: str, run_id: str, served: Served) -> None:
    """The recommender as a logged model of an MLflow run, and a version of the registered model. The store is the project's own."""
    with store.without_its_warnings():
        from mlflow.models import Model

        from recsys.tracking import recommender

    model = begin_model(place, mlflow_id, run_id)
    card = Model(artifact_path=model.artifact_location, run_id=mlflow_id, model_uuid=model.model_id, model_id=model.model_id)
    path = local_path(model.artifact_location)
    path.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, store.without_its_warnings():
        files = Path(folder) / recommender.FILES
        files.mkdir()
        served.write(files)
        recommender.save(path, card, files, served.code, served.example, served.k)
    end_model(place, mlflow_id, run_id, model)


def begin_model(place: Place, mlflow_id: str, run_id: str) -> Any:
    """A logged model that has no files yet."""
    return place.client.create_logged_model(place.experiment_id, name=MODEL, source_run_id=mlflow_id, tags={store.RUN_ID: run_id})


def end_model(place: Place, mlflow_id: str, run_id: str, model: Any) -> None:
    """The logged model has its files: make it ready, an output of its run, and a version of the registered model."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    place.client.finalize_logged_model(model.model_id, "READY")
    place.client.log_outputs(mlflow_id, [LoggedModelOutput(model.model_id, step=0)])
    try:
        place.client.create_registered_model(place.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # Its place, not `models:/<id>`: a database would look that up in the global store.
    place.client.create_model_version(place.name, model.artifact_location, mlflow_id, tags={store.RUN_ID: run_id}, model_id=model.model_id)


def versions_of(place: Place) -> dict[str, int]:
    """The latest version of each run."""
    found = store.all_of(lambda token: place.client.search_model_versions(f"name = '{place.name}'", page_token=token))
    versions = sorted((int(one.version), one.tags.get(store.RUN_ID, "")) for one in found)
    return {run_id: version for version, run_id in versions if run_id}


def mirror(place: Place, versions: dict[str, int], alias: str, run_id: str | None) -> list[str]:
    """Let an alias name the version of a run, or nothing where it has none; says what was changed, in a line."""
    was, wanted = _named(place, alias), versions.get(run_id or "")
    if was == wanted:
        return []
    named = {version: name for name, version in versions.items()}
    before = f"it was version {was}, run {named.get(was, 'unknown')}" if was else "it named none"
    if wanted is None:
        place.client.delete_registered_model_alias(place.name, alias)
        absent = f", for the current run, {run_id}, is not among them" if alias == CHAMPION else ""
        return [f"registry: {alias} names no version now{absent}; {before}"]
    place.client.set_registered_model_alias(place.name, alias, str(wanted))
    as_said = ", as runs/current says" if alias == CHAMPION else ""
    return [f"registry: {alias} is version {wanted} now, run {run_id}{as_said}; {before}"]


def _named(place: Place, alias: str) -> int | None:
    from mlflow.exceptions import MlflowException

    try:
        version = place.client.get_registered_model(place.name).aliases.get(alias)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return None if version is None else int(version)


def local_path(uri: str) -> Path:
    """The path of a file:// address."""
    return Path(url2pathname(urlparse(uri).path))
