"""What a store holds of a training, found and removed: its run, what is nested in it, its models and their versions."""

from __future__ import annotations

import shutil
from typing import Any

from recsys.tracking import store
from recsys.tracking.registry import Place, local_path


def runs_of(place: Place, condition: str) -> list[Any]:
    """The MLflow runs that meet a filter."""
    search = place.client.search_runs
    return list(store.all_of(lambda token: search([place.experiment_id], filter_string=condition, page_token=token)))


def below(place: Place, run: Any) -> list[Any]:
    """The runs nested in a run."""
    return runs_of(place, f"tags.`{store.PARENT}` = '{run.info.run_id}'")


def models_of(place: Place, run: Any) -> list[Any]:
    """The logged models of a run."""
    search, condition = place.client.search_logged_models, f"source_run_id = '{run.info.run_id}'"
    return list(store.all_of(lambda token: search([place.experiment_id], filter_string=condition, page_token=token)))


def found_versions(place: Place, condition: str) -> list[Any]:
    """The versions that meet a filter, of whatever registered model unless it names one."""
    return list(store.all_of(lambda token: place.client.search_model_versions(condition, page_token=token)))


def remove(place: Place, run: Any) -> None:
    """Delete a run, its versions, its models and what is nested in it; the run itself last."""
    for version in found_versions(place, f"name = '{place.name}' and run_id = '{run.info.run_id}'"):
        place.client.delete_model_version(place.name, version.version)
    for model in models_of(place, run):
        place.client.delete_logged_model(model.model_id)
    for one in (*below(place, run), run):
        place.client.delete_run(one.info.run_id)


def remove_with_files(local: Place, run: Any) -> None:
    """Remove a run from the project's own store, its files included."""
    files = [local_path(one.info.artifact_uri).parent for one in (run, *below(local, run))]
    files += [local_path(model.artifact_location).parent for model in models_of(local, run)]
    remove(local, run)
    for folder in files:
        shutil.rmtree(folder, ignore_errors=True)
