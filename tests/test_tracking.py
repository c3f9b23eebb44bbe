"""Tracking writes what it is given, touches nothing else, and never stops a training."""

import logging
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from matplotlib.figure import Figure
from toy_model import SERVED

from recsys.config import Tracking
from recsys.tracking import MlflowTracker, NoTracker, Tracker, track

RUN_ID = "20261124-031500-ab12cd"


@pytest.fixture
def home(empty_store: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "a home"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    return folder


@pytest.fixture(autouse=True)
def standing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, which tracking must leave empty."""
    folder = tmp_path / "standing"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert os.listdir(folder) == []


def write_everything(tracker: Tracker) -> None:
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    tracker.params({"text.steps": 60, "ranker.rate": 0.05, "name": "shop", "seen@k": True})
    tracker.metrics({"test/ndcg@10": 0.25, "recall@100": 0.5})
    for step in range(3):
        tracker.metrics({"loss": 1.0 / (step + 1)}, step=step)
    tracker.figure("learning", figure)
    tracker.record("config", {"seed": 7})
    tracker.dataset("events", "ab" * 32, 1000)
    tracker.model(SERVED)


def the_run(home: Path):
    from mlflow import MlflowClient

    (run,) = runs_of(home)
    return MlflowClient(f"sqlite:///{home / 'mlflow.db'}"), run


def runs_of(home: Path, experiment: str = "shop"):
    """Oldest first."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id], order_by=["attributes.start_time"])


def test_what_is_tracked_is_read_back(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with track(Tracking(), home, "shop", RUN_ID) as tracker:
        assert isinstance(tracker, MlflowTracker)
        write_everything(tracker)
    assert capfd.readouterr() == ("", "")
    client, run = the_run(home)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == run.data.tags["recsys.run_id"] == RUN_ID
    assert run.data.params == {"text.steps": "60", "ranker.rate": "0.05", "name": "shop", "seen_at_k": "True"}
    assert run.data.metrics == {"test/ndcg_at_10": 0.25, "recall_at_100": 0.5, "loss": 1 / 3}
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    files = home / "mlartifacts" / run.info.run_id / "artifacts"
    assert (files / "figures" / "learning.png").read_bytes().startswith(b"\x89PNG")
    assert '"seed": 7' in (files / "config.json").read_text()
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.profile) == ("events", '{"num_rows": 1000}')
    assert "ab" * 32 in dataset.dataset.source


def test_no_tracker_takes_everything_and_writes_nothing(tmp_path: Path) -> None:
    with track(Tracking(enabled=False), tmp_path / "home", "shop", RUN_ID) as tracker:
        assert isinstance(tracker, NoTracker)
        write_everything(tracker)
        with tracker.nested("below", ValueError) as below:
            write_everything(below)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(("error", "status"), [(ValueError("bad"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_training_that_fails_is_said_so_and_its_error_passes(home: Path, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), track(Tracking(), home, "shop", RUN_ID):
        raise error
    assert the_run(home)[1].info.status == status


class StoppedError(Exception):
    """Not worth going on with."""


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (StoppedError(), "KILLED"), (KeyboardInterrupt(), "KILLED"), (ValueError("bad"), "FAILED")]
)
def test_a_nested_run_names_its_parent_and_ends_as_its_body_did(home: Path, error: BaseException | None, status: str) -> None:
    with track(Tracking(), home, "shop", RUN_ID) as tracker:
        with suppress(StoppedError, KeyboardInterrupt, ValueError), tracker.nested("one", StoppedError) as below:
            below.metrics({"figure": 0.5})
            if error is not None:
                raise error
        tracker.metrics({"best": 0.5})
    parent, child = runs_of(home)
    assert (parent.info.run_name, parent.info.status, parent.data.metrics) == (RUN_ID, "FINISHED", {"best": 0.5})
    assert (child.info.run_name, child.info.status, child.data.metrics) == ("one", status, {"figure": 0.5})
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_a_store_lost_below_is_one_warning_and_lost_above_too(home: Path, caplog) -> None:
    with track(Tracking(), home, "shop", RUN_ID) as tracker:
        (home / "mlflow.db").write_bytes(b"no database " * 1000)
        for name in ("one", "two"):
            with tracker.nested(name, StoppedError) as below:
                write_everything(below)
        write_everything(tracker)
    assert len([record for record in caplog.records if record.name == "recsys.tracking.tracker"]) == 1


def test_a_metric_that_is_no_number_is_left_out_by_name(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with track(Tracking(), home, "shop", RUN_ID) as tracker:
        tracker.metrics({"good": 1.0, "odd": math.nan, "endless": math.inf})
    assert the_run(home)[1].data.metrics == {"good": 1.0}
    assert "odd, endless" in caplog.text


def test_more_values_than_one_request_takes_all_arrive(home: Path) -> None:
    with track(Tracking(), home, "shop", RUN_ID) as tracker:
        tracker.params({f"p{n}": n for n in range(250)})
        tracker.metrics({f"m{n}": float(n) for n in range(1100)})
    run = the_run(home)[1]
    assert (len(run.data.params), len(run.data.metrics)) == (250, 1100)


def test_a_refused_value_costs_only_itself(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with track(Tracking(), home, "shop", RUN_ID) as tracker:
        tracker.params({"seed": 7})
        tracker.params({"seed": 8})  # a parameter is written once
        tracker.metrics({"good": 1.0})
    run = the_run(home)[1]
    assert (run.data.params, run.data.metrics, run.info.status) == ({"seed": "7"}, {"good": 1.0}, "FINISHED")
    assert "params not written" in caplog.text


def test_a_store_lost_in_the_middle_is_one_warning_and_the_training_goes_on(home: Path, caplog) -> None:
    with track(Tracking(), home, "shop", RUN_ID) as tracker:
        tracker.params({"seed": 7})
        (home / "mlflow.db").write_bytes(b"no database " * 1000)
        write_everything(tracker)
    warnings = [record for record in caplog.records if record.name == "recsys.tracking.tracker"]
    assert len(warnings) == 1
    assert "goes untracked" in warnings[0].message


def test_a_home_that_cannot_be_written_is_a_warning_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with track(Tracking(), tmp_path / "file" / "home", "shop", RUN_ID) as tracker:
        assert isinstance(tracker, NoTracker)
    assert "goes untracked" in caplog.text


def test_the_environment_and_the_log_levels_are_left_as_they_were(home: Path) -> None:
    import mlflow  # noqa: F401

    names = ("mlflow", "alembic", "urllib3")
    before = dict(os.environ), [logging.getLogger(name).level for name in names]
    with track(Tracking(), home, "shop", RUN_ID):
        assert os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] == "true"  # the last line of stdout is the run id
    assert (dict(os.environ), [logging.getLogger(name).level for name in names]) == before


STORE_HOME = Path(__file__).parents[1] / "mlflow"


def test_the_folder_named_like_mlflow_holds_no_python() -> None:
    import mlflow

    assert not list(STORE_HOME.rglob("*.py"))
    assert not Path(mlflow.__file__).is_relative_to(STORE_HOME)


def test_the_mlflow_project_calls_our_commands_with_the_parameters_it_declares() -> None:
    points = yaml.safe_load((STORE_HOME / "MLproject").read_text())["entry_points"]
    assert {name: point["command"] for name, point in points.items()} == {
        "train": "recsys train --config {config}",
        "rank": "recsys rank --config {config}",
    }
    assert all(list(point["parameters"]) == ["config"] for point in points.values())


def test_the_server_configuration_stays_on_this_machine() -> None:
    lines = [line for line in (STORE_HOME / "server.env").read_text().splitlines() if line and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines)
    assert settings["MLFLOW_HOST"] == "127.0.0.1"
    assert (settings["MLFLOW_WORKERS"], settings["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"]) == ("1", "false")
