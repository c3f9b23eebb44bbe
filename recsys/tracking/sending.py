"""Runs that were written to the project's own store, sent to the server whole, each with what is nested in it and its model.

A run is there once it has ended there. One that was cut short on the way is removed and sent anew, so that none is there twice.
"""

from __future__ import annotations

import logging
import tempfile
from typing import Any

from recsys.tracking import store
from recsys.tracking.entries import below, models_of, remove, remove_with_files, runs_of
from recsys.tracking.registry import Place, begin_model, end_model, local_path

log = logging.getLogger(__name__)


def waiting(local: Place, is_alone: bool) -> list[Any]:
    """The MLflow runs that have yet to be sent, oldest first.

    is_alone: no other command is at work in the project's folder, so a run that has not ended never will: its process was killed.
    """
    runs = sorted(runs_of(local, f"tags.`{store.UNSENT}` = 'true'"), key=lambda run: run.info.start_time)
    return [run for run in runs if is_alone or run.info.status != "RUNNING"]


def send_all(local: Place, server: Place, runs: list[Any]) -> list[str]:
    """Send the runs; what is there goes from the local store. Returns the names of those sent; each that was not is warned of."""
    sent = []
    for run in runs:
        try:
            _send(local, server, run)
        except store.faults() as error:
            log.warning("tracking: run %s is not sent: %s; it is kept, and tried again next time", run.info.run_name, store.line(error))
        else:
            sent.append(run.info.run_name)
    return sent


def _send(local: Place, server: Place, run: Any) -> None:
    found = runs_of(server, f"tags.`{store.RUN_ID}` = '{run.info.run_name}'")
    if any(there.info.run_id == run.info.run_id for there in found):
        # The server shows the project's own store.
        local.client.delete_tag(run.info.run_id, store.UNSENT)
        return
    for there in found:
        if there.info.status == "RUNNING":
            remove(server, there)
    if all(there.info.status == "RUNNING" for there in found):
        _copy(local, server, run)
    remove_with_files(local, run)


def _copy(local: Place, server: Place, run: Any) -> None:
    made = _begin(local, server, run, {})
    for one in below(local, run):
        _end(server, _begin(local, server, one, {store.PARENT: made}), one)
    for model in models_of(local, run):
        if model.status == "READY":
            _send_model(server, model, made, run.info.run_name)
    _end(server, made, run)


def _begin(local: Place, server: Place, run: Any, tags: dict[str, str]) -> str:
    """Make the run on the server with all it holds but its models; it has not ended."""
    from mlflow.entities import Param

    kept = {name: value for name, value in run.data.tags.items() if name not in (store.UNSENT, store.PARENT)}
    made: str = server.client.create_run(
        server.experiment_id, start_time=run.info.start_time, tags=kept | tags, run_name=run.info.run_name
    ).info.run_id
    store.log_params(server.client, made, [Param(name, value) for name, value in run.data.params.items()])
    histories = (local.client.get_metric_history(run.info.run_id, name) for name in run.data.metrics)
    store.log_metrics(server.client, made, [metric for history in histories for metric in history])
    if run.inputs.dataset_inputs:
        server.client.log_inputs(made, datasets=run.inputs.dataset_inputs)
    files = local_path(run.info.artifact_uri)
    if files.is_dir():
        server.client.log_artifacts(made, str(files))
    return made


def _end(server: Place, made: str, run: Any) -> None:
    # Its process was killed (`waiting`).
    status = "KILLED" if run.info.status == "RUNNING" else run.info.status
    server.client.set_terminated(made, status, run.info.end_time)


def _send_model(server: Place, model: Any, made: str, run_id: str) -> None:
    from mlflow.models import Model

    there = begin_model(server, made, run_id)
    files = local_path(model.artifact_location)
    card = Model.load(str(files))
    card.artifact_path, card.run_id, card.model_uuid, card.model_id = there.artifact_location, made, there.model_id, there.model_id
    server.client.log_model_artifacts(there.model_id, str(files))
    with tempfile.TemporaryDirectory() as folder:
        card.save(f"{folder}/MLmodel")
        server.client.log_model_artifact(there.model_id, f"{folder}/MLmodel")
    end_model(server, made, run_id, there)
