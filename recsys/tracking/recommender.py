"""The registered model as MLflow loads it: user ids in, recommendations out. A model-from-code: no object of ours is ever pickled."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import polars as pl
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from recsys.errors import RecsysError

FILES = "project"
"""The artefact that holds all files of the model."""

GIVES = {"user_id": "string", "item_id": "string", "rank": "integer", "score": "double", "reason": "string"}
"""Columns of the answer with their MLflow types."""

Answer = Callable[[pl.Series, int], pl.DataFrame]
"""user_id (n, String), k: the RECOMMENDATIONS of those users."""


class Recommender(PythonModel):
    """A data frame with the column user_id in; user_id, item_id, rank, score, reason out, users in the order of the question."""

    def __init__(self, load: Callable[[Path], Answer]) -> None:
        """`load`: the files of the model to what answers."""
        self._load = load

    def load_context(self, context: Any) -> None:
        """Make everything ready that does not depend on who is asked about."""
        self._answer = self._load(Path(context.artifacts[FILES]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """The lists of the users. `params`: k, the places of a list.

        Raises MlflowException, which a server answers with status 400, where a user_id is missing or k is no length of a list.
        """
        user_ids = pl.from_pandas(model_input[["user_id"]])["user_id"].cast(pl.String)
        try:
            lists = self._answer(user_ids, (params or {})["k"])
        except RecsysError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from None
        return lists.select(GIVES.keys()).to_pandas()


def serve(load: Callable[[Path], Answer]) -> None:
    """Called by the code file of a model: this is the model."""
    set_model(Recommender(load))


def save(path: Path, card: Any, files: Path, code: Path, example: list[str], k: int) -> None:
    """Write the model into the folder `path`: `files`, signature, input example, requirements. `k`: the default of its parameter."""
    signature = ModelSignature(
        Schema([ColSpec("string", "user_id")]),
        Schema([ColSpec(kind, name) for name, kind in GIVES.items()]),
        ParamSchema([ParamSpec("k", "long", k)]),
    )
    mlflow.pyfunc.save_model(
        path,
        mlflow_model=card,
        python_model=code,
        artifacts={FILES: str(files)},
        signature=signature,
        input_example=pd.DataFrame({"user_id": example}),
        # Given: finding them out loads the model in a second process.
        pip_requirements=_requirements(),
    )


def _requirements() -> list[str]:
    """What this package requires, at the versions that are here. It is not on any index itself, and a stranger's might be."""
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in metadata.requires("recsys") or [] if "extra ==" not in line]
    return [f"{name}=={metadata.version(name).split('+')[0]}" for name in names]
