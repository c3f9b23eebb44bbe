"""A store of MLflow: its address, opened quietly, written to in batches, and what its failures look like.

Everything goes through a client with its own address, so neither the caller's active MLflow run nor the working directory is touched.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recsys.errors import ArtefactError

RUN_ID, UNSENT = "recsys.run_id", "recsys.unsent"
"""Tags: the id of the training in the project's folder; of what has yet to be sent to the server."""

PARENT = "mlflow.parentRunId"

PARAMS_PER_BATCH, METRICS_PER_BATCH = 100, 1000
"""MLflow's own limits."""

CONNECT_SECONDS = 5
"""How long a database may take to answer the first call."""

MEANWHILE = {
    # The defaults wait for minutes for a server that is not there.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    # Standard output belongs to the command: its last line is the run id.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Else a model takes along the project files of whatever folder the command is started in.
    "MLFLOW_UV_AUTO_DETECT": "false",
}
"""Variables of MLflow, set for as long as it is used; what the user has set stays."""


def local_file(home: Path) -> Path:
    """The file of the project's own store."""
    return home.resolve() / "mlflow.db"


def local_uri(home: Path) -> str:
    """The address of the project's own store."""
    return f"sqlite:///{local_file(home)}"


def opened(uri: str) -> Any:
    """A client of the store. Raises one of `faults` where a database does not answer."""
    from mlflow import MlflowClient

    _try_database(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _try_database(uri: str) -> None:
    """Connect once: MLflow would try a database that does not answer ten times, for a minute and a half."""
    import sqlalchemy

    if uri.startswith(("postgresql", "mysql")):
        engine = sqlalchemy.create_engine(uri, connect_args={"connect_timeout": CONNECT_SECONDS})
        try:
            engine.connect().close()
        finally:
            engine.dispose()


def is_server(uri: str) -> bool:
    """Is it the address of a tracking server, which has a place of its own for files."""
    return uri.startswith(("http:", "https:", "databricks"))


def experiment(client: Any, uri: str, home: Path, name: str) -> str:
    """The id of the experiment, made where it is not there yet."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    # A server knows its own place; a database without one would put ./mlruns where the caller stands.
    return str(client.create_experiment(name, artifact_location=None if is_server(uri) else (home.resolve() / "mlartifacts").as_uri()))


def all_of(search: Callable[[str | None], Any]) -> Iterator[Any]:
    """Every entry of a search, given the page token to begin from."""
    token: str | None = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return


def log_params(client: Any, run_id: str, params: list[Any]) -> None:
    """Params of a run, in as few requests as MLflow allows."""
    for start in range(0, len(params), PARAMS_PER_BATCH):
        client.log_batch(run_id, params=params[start : start + PARAMS_PER_BATCH])


def log_metrics(client: Any, run_id: str, metrics: list[Any]) -> None:
    """Metrics of a run, in as few requests as MLflow allows."""
    for start in range(0, len(metrics), METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_BATCH])


def faults() -> tuple[type[Exception], ...]:
    """What a store that is absent, full or misspelt raises; ImportError: a database without its driver; ArtefactError: files to be kept."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError, ImportError, ArtefactError


def line(error: Exception) -> str:
    """The first line of an error, without a password."""
    return no_password(str(error).strip().split("\n")[0][:200])


def no_password(text: str) -> str:
    """The text, with what stands before an @ in an address struck out."""
    return re.sub(r"://[^@/\s]*@", "://***@", text)


@contextmanager
def quiet() -> Iterator[None]:
    """Set MEANWHILE, and keep mlflow's chatter out of the log, for the length of the `with`."""
    added = {name: value for name, value in MEANWHILE.items() if name not in os.environ}
    os.environ.update(added)
    with without_its_warnings():
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
def without_its_warnings() -> Iterator[None]:
    """Silence the warnings that mlflow's modules give of themselves when first imported, and those of how they call others."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"mlflow\.")
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        yield
