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


def versions_of_run(place: Place, run: Any) -> list[Any]:
    """The versions of the registered model that come from a run."""
    condition = f"run_id = '{run.info.run_id}'"
    return list(store.all_of(lambda token: place.client.search_model_versions(condition, page_token=token)))


def remove_models(place: Place, run: Any) -> None:
    """Delete the versions and the models of a run, and those of their files that lie here; its parameters, metrics and figures stay."""
    for version in versions_of_run(place, run):
        place.client.delete_model_version(place.name, version.version)
    for model in models_of(place, run):
        place.client.delete_logged_model(model.model_id)
        if model.artifact_location.startswith("file:"):
            shutil.rmtree(local_path(model.artifact_location).parent, ignore_errors=True)


def remove(place: Place, run: Any) -> None:
    """Delete a run, its versions, its models and what is nested in it; the run itself last."""
    remove_models(place, run)
    for one in (*below(place, run), run):
        place.client.delete_run(one.info.run_id)


def remove_with_files(local: Place, run: Any) -> None:
    """Remove a run from the project's own store, its files included."""
    files = [local_path(one.info.artifact_uri).parent for one in (run, *below(local, run))]
    remove(local, run)
    for folder in files:
        shutil.rmtree(folder, ignore_errors=True)
