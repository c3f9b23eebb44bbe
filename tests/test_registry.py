"""Every training is a version of one registered model, `champion` names what ranks; what a server missed reaches it later, once."""

import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from servers import free_port, mlflow_server
from toy_model import SERVED

from recsys.config import Tracking
from recsys.lock import alone
from recsys.tracking import Registry, Standing, settle, track
from recsys.tracking.store import quiet

RUNS = ["20261124-031500-aaaaaa", "20261125-031500-bbbbbb", "20261126-031500-cccccc"]
LOCAL = Tracking()


@pytest.fixture
def home(empty_store: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    with mlflow_server(folder, free_port()) as address:
        yield address


def client_of(uri: str):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def local(home: Path):
    return client_of(f"sqlite:///{home / 'mlflow.db'}")


def train(home: Path, run_id: str, tracking: Tracking = LOCAL, name: str = "shop") -> None:
    with track(tracking, home, name, run_id) as tracker:
        tracker.params({"seed": 7})
        tracker.model(SERVED)


def settled(home: Path, current: str | None, tracking: Tracking = LOCAL, name: str = "shop", is_alone: bool = True) -> Registry:
    found = settle(tracking, home, name, Standing(current), is_alone)
    assert found is not None
    return found


def champion(client, name: str = "shop") -> str | None:
    version = client.get_registered_model(name).aliases.get("champion")
    return client.get_model_version(name, version).tags["recsys.run_id"] if version else None


def test_every_training_is_a_version_of_one_model_and_champion_names_the_one_that_ranks(home: Path) -> None:
    for run_id in RUNS[:2]:
        train(home, run_id)
    assert settled(home, RUNS[1]).versions == {RUNS[0]: 1, RUNS[1]: 2}
    client = local(home)
    assert [one.name for one in client.search_registered_models()] == ["shop"]
    assert champion(client) == RUNS[1]
    version = client.get_model_version_by_alias("shop", "champion")
    run = client.get_run(version.run_id)
    (output,) = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert (model.name, str(model.status), model.source_run_id, run.info.run_name) == ("recommender", "READY", version.run_id, RUNS[1])
    assert version.source == model.artifact_location


def test_where_registry_and_pointer_disagree_the_pointer_wins_and_it_is_said(home: Path) -> None:
    for run_id in RUNS[:2]:
        train(home, run_id)
    settled(home, RUNS[1])
    local(home).set_registered_model_alias("shop", "champion", "1")
    (said,) = settled(home, RUNS[1]).done
    assert said == f"registry: champion is version 2 now, run {RUNS[1]}, as runs/current says; it was version 1, run {RUNS[0]}"
    assert champion(local(home)) == RUNS[1]
    assert settled(home, RUNS[1]).done == []


def test_a_current_run_that_the_registry_does_not_hold_leaves_champion_naming_nothing(home: Path) -> None:
    train(home, RUNS[0])
    settled(home, RUNS[0])
    (said,) = settled(home, "20260101-000000-ffffff").done
    assert said == (
        f"registry: champion names no version now, for the current run, 20260101-000000-ffffff, is not among them; "
        f"it was version 1, run {RUNS[0]}"
    )
    assert champion(local(home)) is None
    assert settled(home, "20260101-000000-ffffff").done == []


def test_a_version_that_was_deleted_by_hand_stays_deleted(home: Path) -> None:
    for run_id in RUNS[:2]:
        train(home, run_id)
    local(home).delete_model_version("shop", "1")
    assert settled(home, RUNS[0]).versions == {RUNS[1]: 2}
    assert champion(local(home)) is None


def test_nothing_tracked_makes_no_store(tmp_path: Path) -> None:
    assert settle(LOCAL, tmp_path / "home", "shop", Standing(RUNS[0]), False) == Registry({}, [])
    assert settle(Tracking(enabled=False), tmp_path / "home", "shop", Standing(RUNS[0]), False) is None
    assert not (tmp_path / "home").exists()


def test_a_model_whose_files_cannot_be_written_is_a_warning_and_no_version(home: Path, caplog) -> None:
    def write(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with track(LOCAL, home, "shop", RUNS[0]) as tracker:
        tracker.model(replace(SERVED, write=write))
    assert "model not written" in caplog.text
    assert settled(home, RUNS[0]).versions == {}


@pytest.mark.parametrize("uri", ["http://anna:secret@127.0.0.1:9", "nonsense://x", "postgresql://anna:secret@127.0.0.1:9/x"])
def test_a_server_that_does_not_answer_is_one_warning_in_a_few_seconds_and_nothing_is_lost(uri: str, home: Path, caplog) -> None:
    tracking = Tracking(uri=uri)
    train(home, RUNS[0], tracking)
    begun = time.perf_counter()
    assert settle(tracking, home, "shop", Standing(RUNS[0]), True) is None
    assert time.perf_counter() - begun < 15
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert f"1 run waits in {home / 'mlflow.db'} to be sent by the next" in warning.message
    assert "secret" not in caplog.text
    (run,) = local(home).search_runs([local(home).get_experiment_by_name("shop").experiment_id])
    assert (run.info.status, run.data.tags["recsys.unsent"], run.data.params) == ("FINISHED", "true", {"seed": "7"})


def write_all(home: Path, tracking: Tracking, name: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().plot([1, 2])
    with track(tracking, home, name, RUNS[0]) as tracker:
        tracker.params({f"p{n}": n for n in range(150)})
        for step in range(3):
            tracker.metrics({"loss": 1.0 / (step + 1)}, step=step)
        tracker.figure("learning", figure)
        tracker.record("config", {"seed": 7})
        tracker.dataset("events", "ab" * 32, 1000)
        tracker.model(SERVED)
        for number in range(2):
            with tracker.nested(f"trial-{number}", ValueError) as below:
                below.metrics({"figure": number / 2}, step=5)


def everything(client, name: str) -> list[dict[str, object]]:
    """What the runs of an experiment hold, in order of time, without the names that a store gives by itself."""
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id], order_by=["attributes.start_time"])
    names = {run.info.run_id: run.info.run_name for run in runs}
    return [
        {
            "name": run.info.run_name,
            "status": run.info.status,
            "times": (run.info.start_time, run.info.end_time),
            "params": run.data.params,
            "metrics": {
                metric: [(one.step, one.value, one.timestamp) for one in client.get_metric_history(run.info.run_id, metric)]
                for metric in run.data.metrics
            },
            "tags": {
                tag: names.get(value, value)
                for tag, value in run.data.tags.items()
                if tag not in ("recsys.unsent", "mlflow.user", "mlflow.log-model.history")
            },
            "inputs": [
                (one.dataset.name, one.dataset.digest, one.dataset.source, one.dataset.profile) for one in run.inputs.dataset_inputs
            ],
            "files": sorted(
                file.path for file in (*client.list_artifacts(run.info.run_id), *client.list_artifacts(run.info.run_id, "figures"))
            ),
            "models": [client.get_logged_model(one.model_id).name for one in run.outputs.model_outputs],
        }
        for run in runs
    ]


def test_what_was_written_while_the_server_was_away_reaches_it_whole_and_goes_from_here(home: Path, server: str) -> None:
    name, tracking = "whole", Tracking(uri=server)
    write_all(home, tracking, name)
    with quiet():
        before = everything(local(home), name)
        done = settled(home, RUNS[0], tracking, name).done
        assert everything(client_of(server), name) == before
        assert [line.split(";")[0] for line in done] == [
            f"tracking: run {RUNS[0]} is sent to {server}",
            f"registry: champion is version 1 now, run {RUNS[0]}, as runs/current says",
        ]
        assert [run["name"] for run in before] == [RUNS[0], "trial-0", "trial-1"]
        assert before[0]["files"] == ["config.json", "figures", "figures/learning.png"]
        assert before[0]["models"] == ["recommender"]
        assert everything(local(home), name) == []
        assert local(home).search_model_versions(f"name = '{name}'") == []
        assert not [path for path in (home / "mlartifacts").rglob("*") if path.is_file() and path.name != "lock"]
        assert settled(home, RUNS[0], tracking, name).done == []
        assert len(everything(client_of(server), name)) == 3


def test_the_model_that_was_sent_answers_from_the_server(home: Path, server: str, monkeypatch) -> None:
    name, tracking = "answers", Tracking(uri=server)
    train(home, RUNS[0], tracking, name)
    settled(home, RUNS[0], tracking, name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with quiet():
        import mlflow

        model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    version = client_of(server).get_model_version_by_alias(name, "champion")
    assert model.metadata.run_id == version.run_id
    assert version.source == client_of(server).get_logged_model(model.metadata.model_id).artifact_location
    assert model.predict(pd.DataFrame({"user_id": ["u1", "u2"]}))["item_id"].to_list() == ["i1"]


def test_a_sending_that_was_cut_short_is_done_anew_and_leaves_nothing_twice(home: Path, server: str, monkeypatch, caplog) -> None:
    from recsys.tracking import sending

    name, tracking = "cut-short", Tracking(uri=server)
    write_all(home, tracking, name)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for stage in ("_end", "remove_with_files"):  # after the first run below; after all of it
        monkeypatch.setattr(sending, stage, killed)
        with pytest.raises(KeyboardInterrupt):
            settle(tracking, home, name, Standing(RUNS[0]), True)
        monkeypatch.undo()
    assert settled(home, RUNS[0], tracking, name).versions == {RUNS[0]: 1}
    runs = everything(client_of(server), name)
    assert [(run["name"], run["status"]) for run in runs] == [(RUNS[0], "FINISHED"), ("trial-0", "FINISHED"), ("trial-1", "FINISHED")]
    assert everything(local(home), name) == []


def test_while_another_command_sends_nothing_is_sent_twice_and_that_is_said(home: Path, server: str, caplog) -> None:
    name, tracking = "busy", Tracking(uri=server)
    train(home, RUNS[0], tracking, name)
    with alone(home / "mlartifacts", "recsys models list"):
        assert settled(home, RUNS[0], tracking, name).versions == {}
    assert "nothing is sent from here" in caplog.text
    assert settled(home, RUNS[0], tracking, name).versions == {RUNS[0]: 1}


def test_a_training_that_was_killed_is_sent_as_such_but_not_while_it_may_still_be_at_work(home: Path, server: str) -> None:
    name, tracking = "killed", Tracking(uri=server)
    train(home, RUNS[0], tracking, name)
    client = local(home)
    (run,) = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    client.update_run(run.info.run_id, status="RUNNING")
    assert settled(home, RUNS[0], tracking, name, is_alone=False).versions == {}
    assert settled(home, RUNS[0], tracking, name).versions == {RUNS[0]: 1}
    assert [one["status"] for one in everything(client_of(server), name)] == ["KILLED"]


def test_a_server_over_the_projects_own_store_is_sent_nothing_and_nothing_is_removed(empty_store: Path, tmp_path: Path) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    with mlflow_server(tmp_path, free_port()) as address:
        tracking = Tracking(uri=address)
        train(tmp_path, RUNS[0], tracking)
        assert settled(tmp_path, RUNS[0], tracking).versions == {RUNS[0]: 1}
        (run,) = everything(client_of(address), "shop")
        assert (run["name"], run["models"]) == (RUNS[0], ["recommender"])
        assert settled(tmp_path, RUNS[0], tracking).done == []


def test_one_run_that_cannot_be_sent_is_said_and_holds_up_no_other(home: Path, server: str, caplog) -> None:
    name, tracking = "one-bad", Tracking(uri=server)
    for run_id in RUNS[:2]:
        train(home, run_id, tracking, name)
    client = local(home)
    models = client.search_logged_models([client.get_experiment_by_name(name).experiment_id])
    gone = next(model for model in models if model.tags["recsys.run_id"] == RUNS[0])
    shutil.rmtree(home / "mlartifacts" / "models" / gone.model_id)
    assert settled(home, RUNS[1], tracking, name).versions == {RUNS[1]: 1}
    assert f"run {RUNS[0]} is not sent" in caplog.text
    assert [run["name"] for run in everything(client, name)] == [RUNS[0]]
