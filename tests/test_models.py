"""The registered model: complete in itself, no pickle, its answer the night's, from Python and over HTTP; and a server that was away."""

import io
import json
import pickletools
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
import worlds
from click.testing import CliRunner
from servers import free_port, mlflow, mlflow_server

from recsys import face
from recsys.artefacts import Home, Run
from recsys.cli import main
from recsys.tracking.store import quiet

QUICK = {"tracking": {"enabled": True}, "text": {"warm_steps": 20, "steps": 10, "refresh_steps": 0, "blend_steps": 20}}
ASKED = ["u017", "u000", "u039", "u017", "nobody-knows-me"]


@pytest.fixture(scope="module")
def trained(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    world = worlds.checkerboard()
    path = worlds.write_world(tmp_path_factory.mktemp("trained"), world.items, world.events, QUICK)
    (path.parent / "runs").mkdir()
    shutil.copy(empty_store, path.parent / "runs" / "mlflow.db")
    return path, face.train(path)


@pytest.fixture(scope="module")
def night(trained: tuple[Path, Run], tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """What `recsys rank` publishes for those asked about."""
    folder = tmp_path_factory.mktemp("night")
    (folder / "users.txt").write_text("\n".join(ASKED))
    return pl.read_parquet(face.rank(trained[0], users=folder / "users.txt", k=7, out=folder) / "recommendations" / "*.parquet")


@pytest.fixture(scope="module")
def logged(trained: tuple[Path, Run]) -> Path:
    """The folder of the logged model."""
    (folder,) = (trained[0].parent / "runs" / "mlartifacts" / "models").glob("*/artifacts")
    return folder


@contextmanager
def store(uri: str) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, quiet():
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        import mlflow

        yield mlflow


@pytest.fixture(scope="module")
def model(trained: tuple[Path, Run]) -> Any:
    with store(local_uri(trained[0])) as mlflow:
        return mlflow.pyfunc.load_model("models:/world@champion")


def local_uri(path: Path) -> str:
    return f"sqlite:///{path.parent / 'runs' / 'mlflow.db'}"


def answer_of(night: pl.DataFrame, user_ids: list[str], k: int) -> list[tuple[object, ...]]:
    """The rows of the night in the order of the question."""
    rows = [night.filter(pl.col("user_id") == user_id, pl.col("rank") <= k) for user_id in dict.fromkeys(user_ids)]
    return pl.concat(rows).select("user_id", "item_id", "rank", "score", "reason").rows()


def test_the_model_answers_row_by_row_what_the_night_publishes(trained, night: pl.DataFrame, model) -> None:
    answer = model.predict(pd.DataFrame({"user_id": ASKED}), {"k": 7})
    assert list(answer.itertuples(index=False, name=None)) == answer_of(night, ASKED, 7)
    assert answer["user_id"].nunique() == 4
    assert set(night["run_id"]) == {trained[1].run_id}
    by_default = model.predict(pd.DataFrame({"user_id": ASKED}))
    assert list(by_default.itertuples(index=False, name=None)) == answer_of(night, ASKED, worlds.config().rank.k)


def test_the_model_says_what_it_takes_and_gives_and_how_it_is_asked(model) -> None:
    signature = model.metadata.signature
    assert {column.name: str(column.type) for column in signature.inputs} == {"user_id": "DataType.string"}
    assert [column.name for column in signature.outputs] == ["user_id", "item_id", "rank", "score", "reason"]
    assert [(one.name, one.default) for one in signature.params] == [("k", worlds.config().rank.k)]
    assert not set(model.input_example["user_id"]) & set(worlds.checkerboard().events["user_id"])
    assert len(model.predict(model.input_example)) == worlds.config().rank.k


def test_nobody_asked_about_is_an_empty_answer(model) -> None:
    answer = model.predict(pd.DataFrame({"user_id": pd.Series([], dtype="str")}))
    assert (len(answer), list(answer)) == (0, ["user_id", "item_id", "rank", "score", "reason"])


@pytest.mark.parametrize(
    ("question", "k", "words"),
    [
        ({"user_id": ["u001", None, ""]}, 5, "user_id: 2 of 3 are missing or empty"),
        ({"user_id": ["u001"]}, 0, "k = 0: a list cannot have so many places"),
        ({"user_id": ["u001"]}, 10_001, "k = 10001: a list cannot have so many places"),
        ({"user_id": ["u001"]}, 2.5, "Can not safely convert"),
        ({"user_id": [17]}, 5, "Incompatible input types for column user_id"),
        ({"user": ["u001"]}, 5, "missing inputs"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_in_words(model, question: dict[str, list[object]], k: object, words: str) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=words) as refusal:
        model.predict(pd.DataFrame(question), {"k": k})
    assert refusal.value.error_code == "INVALID_PARAMETER_VALUE"


def is_pickle(content: bytes) -> bool:
    """Do the first bytes run as a pickle of any protocol to its end."""
    try:
        for _ in pickletools.genops(io.BytesIO(content)):
            pass
    except Exception:  # what is no pickle breaks its reader in many ways
        return False
    return True


def test_the_logged_folder_holds_no_pickle_by_name_or_by_content(logged: Path) -> None:
    files = [path for path in logged.rglob("*") if path.is_file()]
    assert {"MLmodel", "served.py", "ranker.txt", "tower.safetensors", "model.safetensors", "events.parquet"} <= {
        path.name for path in files
    }
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".joblib", ".skops", ".pt", ".bin", ".npy", ".npz")]
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80" or is_pickle(path.read_bytes())]
    assert "python_model" not in (logged / "MLmodel").read_text()


def test_a_pickle_would_be_found_by_its_content() -> None:
    import pickle

    assert all(is_pickle(pickle.dumps({"a": [1.5, "x"]}, protocol)) for protocol in range(6))
    assert not is_pickle(b"{}")


def test_the_model_needs_nothing_of_the_project_and_changes_nothing_of_its_own(trained, logged, night, tmp_path: Path) -> None:
    shutil.copytree(logged, tmp_path / "model")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "model").rglob("*")}
    project = trained[0].parent
    project.rename(project.with_name("away"))
    try:
        with store("nowhere://") as mlflow:
            answer = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(pd.DataFrame({"user_id": ASKED}), {"k": 7})
    finally:
        project.with_name("away").rename(project)
    assert list(answer.itertuples(index=False, name=None)) == answer_of(night, ASKED, 7)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "model").rglob("*")} == before


def test_a_run_whose_files_are_gone_comes_back_out_of_the_model(trained, logged: Path, tmp_path: Path) -> None:
    home, run_id = Home(tmp_path), trained[1].run_id
    shutil.copytree(logged / "artifacts" / "project" / "runs" / run_id, home.runs / run_id)
    home.load(run_id).verify()
    assert home.load(run_id).manifest == trained[1].manifest


def ask(port: int, question: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_mlflow_models_serve_answers_over_http_what_the_night_publishes(trained, night: pl.DataFrame) -> None:
    port = free_port()
    arguments = ["models", "serve", "-m", "models:/world@champion", "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    with mlflow(arguments, port, "/ping", MLFLOW_TRACKING_URI=local_uri(trained[0])):
        status, answer = ask(port, {"dataframe_records": [{"user_id": user_id} for user_id in ASKED], "params": {"k": 7}})
        assert status == 200
        assert [tuple(row.values()) for row in answer["predictions"]] == answer_of(night, ASKED, 7)
        status, answer = ask(port, {"dataframe_records": [{"user_id": "u000"}], "params": {"k": 0}})
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert "Ask for 1 to 10,000" in answer["message"]


def test_a_server_that_was_away_during_the_training_has_the_champion_once_it_is_there(empty_store: Path, tmp_path: Path) -> None:
    world, port = worlds.checkerboard(), free_port()
    changes = QUICK | {"tracking": {"enabled": True, "uri": f"http://127.0.0.1:{port}"}}
    path = worlds.write_world(tmp_path / "shop", world.items, world.events, changes)
    for folder in (path.parent / "runs", tmp_path / "server"):
        folder.mkdir()
        shutil.copy(empty_store, folder / "mlflow.db")
    outcome = CliRunner().invoke(main, ["train", "--config", str(path)])
    assert outcome.exit_code == 0
    run_id = outcome.stdout.splitlines()[-1]
    # Ranking asks no server; listing says that it does not know.
    assert (face.rank(path, k=3) / "manifest.json").is_file()
    listed = json.loads(CliRunner().invoke(main, ["models", "list", "--config", str(path), "--format", "json"]).stdout)
    assert (listed["is_registry_known"], listed["runs"][0]["run_id"], listed["runs"][0]["is_champion"]) == (False, run_id, False)
    with mlflow_server(tmp_path / "server", port) as address:
        outcome = CliRunner().invoke(main, ["models", "list", "--config", str(path), "--format", "json"])
        assert f"tracking: run {run_id} is sent to {address}" in outcome.stderr
        (row,) = json.loads(outcome.stdout)["runs"]
        assert (row["run_id"], row["version"], row["is_champion"]) == (run_id, 1, True)
        with store(address) as mlflow:
            answer = mlflow.pyfunc.load_model("models:/world@champion").predict(pd.DataFrame({"user_id": ["u000"]}), {"k": 3})
            client = mlflow.MlflowClient()
            (run,) = client.search_runs([client.get_experiment_by_name("world").experiment_id])
    night = pl.read_parquet(Home(path.parent / "runs").night().path / "recommendations" / "*.parquet")
    assert list(answer.itertuples(index=False, name=None)) == answer_of(night, ["u000"], 3)
    assert (run.info.run_name, run.info.status) == (run_id, "FINISHED")
    assert run.data.metrics["new/ranker/ndcg_at_10"] == pytest.approx(row["tasks"]["new"]["ndcg@10"])
