"""Training, written down: the only place that names mlflow. Tracking never stops a training: what fails is said and left out.

Everything goes through a client with its own address, so neither the caller's active MLflow run nor the working directory is touched.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from recsys.config import Tracking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

Value = str | int | float | bool

PARAMS_PER_BATCH, METRICS_PER_BATCH, DIGEST_CHARACTERS = 100, 1000, 36
"""MLflow's own limits."""

CONNECT_SECONDS = 5
"""How long a database may take to answer the first call."""

WHILE_TRACKING = {
    # The defaults wait for minutes for a server that is not there.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    # Standard output belongs to the command: its last line is the run id.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Variables of MLflow, set for as long as a training is tracked; what the user has set stays."""


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

    def ranker(self, booster: object) -> None:
        """The LightGBM booster, in MLflow's own layout (its text, no pickle), as the logged model `ranker`."""

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

    def ranker(self, booster: object) -> None:
        """Nothing."""

    def nested(self, name: str, stopped_by: type[Exception]) -> AbstractContextManager[Tracker]:
        """Another that writes nothing."""
        return nullcontext(NoTracker())


class MlflowTracker:
    """One MLflow run. Once the store is lost, one warning is given and the rest goes unwritten."""

    def __init__(self, client: Any, experiment_id: str, run_id: str) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._run_id = run_id
        self._is_lost = False

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn a failure of the store into a warning; anything but a refused value means that it is lost."""
        try:
            yield
        except _faults() as error:
            self._is_lost = getattr(error, "error_code", "") != "INVALID_PARAMETER_VALUE"
            rest = "; the rest of the training goes untracked" if self._is_lost else ""
            log.warning("tracking: %s not written: %s%s", what, _line(error), rest)

    def params(self, values: dict[str, Value]) -> None:
        """Flat parameters, in as few requests as MLflow allows."""
        from mlflow.entities import Param

        entries = [Param(_clean(name), str(value)) for name, value in values.items()]
        for start in range(0, len(entries), PARAMS_PER_BATCH):
            self._call("params", "log_batch", params=entries[start : start + PARAMS_PER_BATCH])

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Metrics at a step, in as few requests as MLflow allows."""
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        odd = [name for name, value in values.items() if not math.isfinite(value)]
        if odd:
            log.warning("tracking: left out, as it is not a finite number: %s", ", ".join(odd))
        now = get_current_time_millis()
        entries = [Metric(_clean(name), float(value), now, step or 0) for name, value in values.items() if name not in odd]
        for start in range(0, len(entries), METRICS_PER_BATCH):
            self._call("metrics", "log_batch", metrics=entries[start : start + METRICS_PER_BATCH])

    def figure(self, name: str, figure: Figure) -> None:
        """A figure, as `figures/<name>.png`."""
        self._call(f"figure {name}", "log_figure", figure=figure, artifact_file=f"figures/{name}.png")

    def record(self, name: str, content: dict[str, Any]) -> None:
        """`<name>.json`."""
        self._call(f"record {name}", "log_dict", dictionary=content, artifact_file=f"{name}.json")

    def dataset(self, name: str, digest: str, n_rows: int) -> None:
        """A dataset input of the run; MLflow cuts a digest at 36 characters, so the whole one stands in its source."""
        from mlflow.entities import Dataset, DatasetInput

        table = Dataset(
            name, digest[:DIGEST_CHARACTERS], "recsys", json.dumps({"digest": digest}), profile=json.dumps({"num_rows": n_rows})
        )
        self._call(f"dataset {name}", "log_inputs", datasets=[DatasetInput(table)])

    def ranker(self, booster: object) -> None:
        """The booster as the logged model `ranker` of this run."""
        if not self._is_lost:
            with self._told("ranker"):
                self._log_model(booster, "ranker")

    def _log_model(self, booster: object, name: str) -> None:
        # What mlflow.lightgbm.log_model does, less its use of the global address and of the active run.
        with _without_its_warnings():
            import mlflow.lightgbm
            from mlflow.entities import LoggedModelOutput
            from mlflow.models import Model

        model = self._client.create_logged_model(self._experiment_id, name=name, source_run_id=self._run_id)
        card = Model(artifact_path=model.artifact_location, run_id=self._run_id, model_uuid=model.model_id, model_id=model.model_id)
        with tempfile.TemporaryDirectory() as folder, _without_its_warnings():
            # Requirements given: finding them out takes a second process and many seconds.
            mlflow.lightgbm.save_model(
                booster, f"{folder}/model", mlflow_model=card, pip_requirements=["lightgbm"], serialization_format="skops"
            )
            self._client.log_model_artifacts(model.model_id, f"{folder}/model")
        self._client.finalize_logged_model(model.model_id, "READY")
        self._client.log_outputs(self._run_id, [LoggedModelOutput(model.model_id, step=0)])

    @contextmanager
    def nested(self, name: str, stopped_by: type[Exception]) -> Iterator[Tracker]:
        """A run of MLflow whose parent is this one. What loses the store below loses it here."""
        below = None if self._is_lost else self._create_below(name)
        if below is None:
            yield NoTracker()
            return
        try:
            with _finished(below, stopped_by):
                yield below
        finally:
            self._is_lost = below._is_lost

    def _create_below(self, name: str) -> MlflowTracker | None:
        tags = {"recsys.run_id": name, "mlflow.parentRunId": self._run_id}
        below = []
        with self._told(f"run {name}"):
            run = self._client.create_run(self._experiment_id, run_name=name, tags=tags)
            below.append(MlflowTracker(self._client, self._experiment_id, run.info.run_id))
        return below[0] if below else None

    def finish(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        self._call("end of the run", "set_terminated", status=status)

    def _call(self, what: str, method: str, **arguments: Any) -> None:
        if not self._is_lost:
            with self._told(what):
                getattr(self._client, method)(self._run_id, **arguments)


@contextmanager
def track(tracking: Tracking, home: Path, experiment: str, run_name: str) -> Iterator[Tracker]:
    """A tracker for one training: an MLflow run named `run_name`, FINISHED at the end, FAILED or KILLED when the body raises.

    An empty address means `<home>/mlflow.db`, with what is not a number in `<home>/mlartifacts`. A NoTracker where tracking
    is switched off, and, with a warning, where the store cannot be opened.
    """
    if not tracking.enabled:
        yield NoTracker()
        return
    with _quiet():
        with _without_its_warnings():
            tracker = _begin(tracking.uri or f"sqlite:///{home.resolve() / 'mlflow.db'}", home, experiment, run_name)
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


def _begin(uri: str, home: Path, experiment: str, run_name: str) -> MlflowTracker | None:
    from mlflow import MlflowClient

    try:
        home.mkdir(parents=True, exist_ok=True)
        _try_database(uri)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment_id = _experiment(client, uri, home, experiment)
        run = client.create_run(experiment_id, run_name=run_name, tags={"recsys.run_id": run_name})
    except _faults() as error:
        log.warning("tracking: %s cannot be opened: %s; the training goes untracked. Look at tracking.uri", _no_password(uri), _line(error))
        return None
    return MlflowTracker(client, experiment_id, run.info.run_id)


def _try_database(uri: str) -> None:
    """Connect once: MLflow would try a database that does not answer ten times, for a minute and a half."""
    import sqlalchemy

    if uri.startswith(("postgresql", "mysql")):
        engine = sqlalchemy.create_engine(uri, connect_args={"connect_timeout": CONNECT_SECONDS})
        try:
            engine.connect().close()
        finally:
            engine.dispose()


def _experiment(client: Any, uri: str, home: Path, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    # A server knows its own place; a database without one would put ./mlruns where the caller stands.
    is_server = uri.startswith(("http:", "https:", "databricks"))
    return str(client.create_experiment(name, artifact_location=None if is_server else (home.resolve() / "mlartifacts").as_uri()))


def _faults() -> tuple[type[Exception], ...]:
    """What a store that is absent, full or misspelt raises; ImportError: a database without its driver."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError, ImportError


def _line(error: Exception) -> str:
    return _no_password(str(error).strip().split("\n")[0][:200])


def _no_password(text: str) -> str:
    return re.sub(r"://[^@/\s]*@", "://***@", text)


def _clean(name: str) -> str:
    """A name that MLflow takes: letters, digits and `_-. :/`."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Set `WHILE_TRACKING`, and keep mlflow's chatter out of the log, for the length of the `with`."""
    added = {name: value for name, value in WHILE_TRACKING.items() if name not in os.environ}
    os.environ.update(added)
    import mlflow  # noqa: F401  its import sets its log levels, and reads the above

    wanted = {"mlflow": logging.WARNING, "alembic": logging.WARNING, "urllib3": logging.ERROR}
    levels = {name: logging.getLogger(name).level for name in wanted}
    for name, level in wanted.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _without_its_warnings() -> Iterator[None]:
    """Silence the two warnings that mlflow's modules give of themselves when first imported."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        yield
