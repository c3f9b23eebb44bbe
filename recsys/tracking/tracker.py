"""Trackers: what takes down what a training did. Tracking never stops a training: what fails is said and left out.

All is written to the project's own store first, whatever address the config gives: a server that is away, or goes away in the middle,
loses nothing. `settle` sends it on.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from recsys.config import Tracking
from recsys.tracking import store
from recsys.tracking.registry import Place, Served, log_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

Value = str | int | float | bool

DIGEST_CHARACTERS = 36
"""MLflow's own limit."""


class Tracker(Protocol):
    """Takes down what a training did."""

    def params(self, values: dict[str, Value]) -> None:
        """Flat parameters, written once."""

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Metrics at a step; `ndcg@10` is written as `ndcg_at_10`. One that is not finite is left out, with a warning."""

    def figure(self, name: str, figure: Figure) -> None:
        """A figure, as `figures/<name>.png`."""

    def record(self, name: str, content: dict[str, Any]) -> None:
        """`<name>.json`."""

    def dataset(self, name: str, digest: str, n_rows: int) -> None:
        """A table that was read: its digest and length."""

    def model(self, served: Served) -> None:
        """The whole recommender as the logged model `recommender` of the run, and as a new version of the registered model."""

    def nested(self, name: str, stopped_by: type[Exception]) -> AbstractContextManager[Tracker]:
        """A tracker of a run below this one: FINISHED, KILLED where the body raises `stopped_by` or is interrupted, else FAILED."""


class NoTracker:
    """Writes nothing."""

    def params(self, values: dict[str, Value]) -> None:
        """Nothing."""

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Nothing."""

    def figure(self, name: str, figure: Figure) -> None:
        """Nothing."""

    def record(self, name: str, content: dict[str, Any]) -> None:
        """Nothing."""

    def dataset(self, name: str, digest: str, n_rows: int) -> None:
        """Nothing."""

    def model(self, served: Served) -> None:
        """Nothing."""

    def nested(self, name: str, stopped_by: type[Exception]) -> AbstractContextManager[Tracker]:
        """Another that writes nothing."""
        return nullcontext(NoTracker())


class MlflowTracker:
    """One MLflow run. Once the store is lost, one warning is given and the rest goes unwritten."""

    def __init__(self, client: Any, experiment_id: str, name: str, run_name: str, tags: dict[str, str]) -> None:
        """Begin the run. `name`: of the project, and so of its registered model."""
        self._client, self._experiment_id, self._name, self._run_name = client, experiment_id, name, run_name
        self._is_lost = False
        self._run_id = client.create_run(experiment_id, run_name=run_name, tags={store.RUN_ID: run_name} | tags).info.run_id

    def params(self, values: dict[str, Value]) -> None:
        """Flat parameters."""
        from mlflow.entities import Param

        entries = [Param(_clean(name), str(value)) for name, value in values.items()]
        self._write("params", lambda: store.log_params(self._client, self._run_id, entries))

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Metrics at a step."""
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        odd = [name for name, value in values.items() if not math.isfinite(value)]
        if odd:
            log.warning("tracking: left out, as it is not a finite number: %s", ", ".join(odd))
        now = get_current_time_millis()
        entries = [Metric(_clean(name), float(value), now, step or 0) for name, value in values.items() if name not in odd]
        self._write("metrics", lambda: store.log_metrics(self._client, self._run_id, entries))

    def figure(self, name: str, figure: Figure) -> None:
        """A figure, as `figures/<name>.png`."""
        self._write(f"figure {name}", lambda: self._client.log_figure(self._run_id, figure, f"figures/{name}.png"))

    def record(self, name: str, content: dict[str, Any]) -> None:
        """`<name>.json`."""
        self._write(f"record {name}", lambda: self._client.log_dict(self._run_id, content, f"{name}.json"))

    def dataset(self, name: str, digest: str, n_rows: int) -> None:
        """A dataset input of the run; MLflow cuts a digest at 36 characters, so the whole one stands in its source."""
        from mlflow.entities import Dataset, DatasetInput

        table = Dataset(
            name, digest[:DIGEST_CHARACTERS], "recsys", json.dumps({"digest": digest}), profile=json.dumps({"num_rows": n_rows})
        )
        self._write(f"dataset {name}", lambda: self._client.log_inputs(self._run_id, datasets=[DatasetInput(table)]))

    def model(self, served: Served) -> None:
        """The recommender as the logged model `recommender` of this run, and a new version of the registered model."""
        place = Place(self._client, self._experiment_id, self._name)
        self._write("model", lambda: log_model(place, self._run_id, self._run_name, served))

    @contextmanager
    def nested(self, name: str, stopped_by: type[Exception]) -> Iterator[Tracker]:
        """A run of MLflow whose parent is this one. What loses the store below loses it here."""
        made: list[MlflowTracker] = []
        of_below = (self._client, self._experiment_id, self._name, name, {store.PARENT: self._run_id})
        self._write(f"run {name}", lambda: made.append(MlflowTracker(*of_below)))
        if not made:
            yield NoTracker()
            return
        try:
            with _finished(made[0], stopped_by):
                yield made[0]
        finally:
            self._is_lost = made[0]._is_lost

    def finish(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        self._write("end of the run", lambda: self._client.set_terminated(self._run_id, status))

    def _write(self, what: str, write: Callable[[], None]) -> None:
        """Write, or turn the store's failure into a warning; anything but a refused value means that it is lost."""
        if self._is_lost:
            return
        try:
            write()
        except store.faults() as error:
            self._is_lost = getattr(error, "error_code", "") != "INVALID_PARAMETER_VALUE"
            rest = "; the rest of the training goes untracked" if self._is_lost else ""
            log.warning("tracking: %s not written: %s%s", what, store.line(error), rest)


@contextmanager
def track(tracking: Tracking, home: Path, name: str, run_name: str) -> Iterator[Tracker]:
    """A tracker for one training: an MLflow run named `run_name`, FINISHED at the end, FAILED or KILLED when the body raises.

    It is written to `<home>/mlflow.db`, with what is not a number in `<home>/mlartifacts`; where the config gives another address it is
    marked as unsent. `name`: of the experiment, and of the registered model. A NoTracker where tracking is switched off, and, with a
    warning, where the store cannot be opened.
    """
    if not tracking.enabled:
        yield NoTracker()
        return
    with store.quiet():
        with store.without_its_warnings():
            tracker = _begin(tracking, home, name, run_name)
        if tracker is None:
            yield NoTracker()
            return
        with _finished(tracker):
            yield tracker


@contextmanager
def _finished(tracker: MlflowTracker, stopped_by: type[Exception] | tuple[()] = ()) -> Iterator[None]:
    """End the run as the body ends."""
    try:
        yield
    except BaseException as error:
        tracker.finish("FAILED" if isinstance(error, Exception) and not isinstance(error, stopped_by) else "KILLED")
        raise
    tracker.finish("FINISHED")


def _begin(tracking: Tracking, home: Path, name: str, run_name: str) -> MlflowTracker | None:
    uri = store.local_uri(home)
    try:
        home.mkdir(parents=True, exist_ok=True)
        client = store.opened(uri)
        experiment_id = store.experiment(client, uri, home, name)
        return MlflowTracker(client, experiment_id, name, run_name, {store.UNSENT: "true"} if tracking.uri else {})
    except store.faults() as error:
        log.warning("tracking: %s cannot be opened: %s; this training goes untracked", uri, store.line(error))
        return None


def _clean(name: str) -> str:
    """A name that MLflow takes: letters, digits and `_-. :/`."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"))
