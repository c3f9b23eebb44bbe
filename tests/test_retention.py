"""What nobody needs goes, and nothing else: old runs, their models, tables and vectors; what is in use, named or not ours stays."""

import json
import logging
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from toy_model import SERVED

from recsys import config_file, tracking
from recsys.artefacts import Home, draft
from recsys.atomic import MANIFEST, PREFIX, point
from recsys.config import Config
from recsys.pipeline import retention
from recsys.pipeline.job import Job, Silent
from recsys.tracking import track
from recsys.tracking.store import quiet

RUNS = [f"2026112{day}-031500-aaaaaa" for day in range(6)]
DAY = 86_400.0
NOW = datetime(2026, 11, 27, 3, 15, tzinfo=UTC).timestamp()
"""A week after the first run was begun."""


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def job_of(folder: Path, keep_runs: int, enabled: bool = False, uri: str = "") -> Job:
    columns = {"user_id": "u", "item_id": "i", "event_type": "e", "event_time": "t"}
    values = {
        "project": {"name": "toy", "folder": "things", "keep_runs": keep_runs},
        "items": {"path": "items.csv", "columns": {"item_id": "i", "title": "t"}},
        "events": {"path": "events.csv", "columns": columns},
        "tracking": {"enabled": enabled, "uri": uri},
    }
    made: Config = config_file.parse(values, "the test's config")
    return Job(made, folder, datetime(2026, 11, 28, tzinfo=UTC), Heard())


def aged(path: Path, days: float) -> None:
    moment = NOW - days * DAY
    os.utime(path, (moment, moment))


@pytest.fixture
def job(tmp_path: Path, monkeypatch) -> Job:
    """Six runs, one a day, each of its own tables and with its own vectors; the last is current, the fifth was so before."""
    monkeypatch.setattr(retention.time, "time", lambda: NOW)
    job = job_of(tmp_path, keep_runs=2)
    (job.home.caches / "vectors").mkdir(parents=True)
    for number, run_id in enumerate(RUNS):
        with draft(job.home.snapshots / f"tables{number}", {}) as folder:
            folder.record("counts", {})
        with draft(job.home.runs / run_id, {"run_id": run_id, "tables": f"tables{number}", "encoder_digest": f"enc{number}"}) as folder:
            folder.record("report", {})
        job.home.point(run_id)
        vectors = job.home.caches / "vectors" / f"enc{number}.safetensors"
        vectors.write_bytes(b"x")
        for path in (job.home.runs / run_id / MANIFEST, job.home.snapshots / f"tables{number}" / MANIFEST, vectors):
            aged(path, 7 - number)
    return job


def night(home: Home, number: int) -> None:
    with draft(home.nights / f"night{number}", {"run_id": RUNS[number], "tables": f"tables{number}"}) as folder:
        folder.record("said", {})
    point(home.nights, f"night{number}")


def test_backtests_before_the_latest_go_and_cutoffs_that_none_of_those_kept_names(job: Job) -> None:
    home = job.home
    for day in range(4):
        with draft(home.cutoffs / f"cut-{day}", {}):
            pass
        aged(home.cutoffs / f"cut-{day}" / MANIFEST, 2)
        with draft(home.backtests / RUNS[day], {"cutoffs": [f"cut-{day}", "cut-0"]}):
            pass
    with draft(home.cutoffs / "cut-9", {}):
        pass
    aged(home.cutoffs / "cut-9" / MANIFEST, 0.5)
    retention.retain(job)
    assert sorted(path.name for path in home.backtests.iterdir()) == RUNS[2:4]
    assert sorted(path.name for path in home.cutoffs.iterdir()) == ["cut-0", "cut-2", "cut-3", "cut-9"]


def test_with_no_number_every_backtest_stays(tmp_path: Path) -> None:
    job = job_of(tmp_path, keep_runs=0)
    with draft(job.home.backtests / RUNS[0], {"cutoffs": []}):
        pass
    retention.retain(job)
    assert job.home.backtest(RUNS[0])


def left(home: Home) -> list[list[int]]:
    """The numbers of the runs, tables and vectors that are there."""
    runs = [RUNS.index(run_id) for run_id in home.run_ids()]
    tables = sorted(int(path.name.removeprefix("tables")) for path in home.snapshots.glob("tables*"))
    vectors = sorted(int(path.stem.removeprefix("enc")) for path in (home.caches / "vectors").glob("enc*"))
    return [runs, tables, vectors]


def test_runs_before_the_latest_go_with_what_only_they_knew_and_it_is_said(job: Job) -> None:
    retention.retain(job)
    assert left(job.home) == [[4, 5]] * 3
    said = "removed: 4 old run(s) and backtest(s); 8 tables, vectors, checkpoints, cutoffs, decisions that nobody needs"
    assert job.display.lines == [said]
    assert not list(job.home.folder.rglob(f"{PREFIX}*"))
    retention.retain(job)
    assert len(job.display.lines) == 1


def test_what_is_current_where_a_rollback_goes_and_what_ranked_a_night_that_is_there_stays(job: Job) -> None:
    night(job.home, 3)
    job.home.point(RUNS[0], "promote")
    job.home.point(RUNS[1], "promote")
    retention.retain(job)
    assert left(job.home)[:2] == [[0, 1, 3, 4, 5]] * 2
    assert job.home.point_back().run_id == RUNS[0]


def test_with_zero_every_run_stays(job: Job) -> None:
    job.config = job_of(job.base, keep_runs=0).config
    shutil.copytree(job.home.snapshots / "tables0", job.home.snapshots / "tables9")
    aged(job.home.snapshots / "tables9" / MANIFEST, 3)
    retention.retain(job)
    assert left(job.home)[0] == [0, 1, 2, 3, 4, 5]
    assert left(job.home)[1] == [0, 1, 2, 3, 4, 5]


def test_tables_and_vectors_of_today_stay_whoever_needs_them(job: Job) -> None:
    aged(job.home.snapshots / "tables0" / MANIFEST, 0.5)
    aged(job.home.caches / "vectors" / "enc1.safetensors", 0.5)
    retention.retain(job)
    assert left(job.home) == [[4, 5], [0, 4, 5], [1, 4, 5]]


def test_vectors_of_the_encoder_as_it_came_stay_as_long_as_a_run_was_trained_from_it(job: Job) -> None:
    path = job.home.runs / RUNS[4] / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"untrained_digest": "enc0"}))
    retention.retain(job)
    assert left(job.home)[2] == [0, 4, 5]


def test_what_is_not_whole_or_not_ours_is_left_where_it_is_with_what_it_names(job: Job) -> None:
    (job.home.runs / RUNS[0] / "report.json").unlink()
    (job.home.runs / RUNS[1] / MANIFEST).write_text('{"version": 0}')
    (job.home.runs / "notes").mkdir()
    (job.home.snapshots / "tables2" / MANIFEST).unlink()
    (job.home.caches / "vectors" / "readme.txt").write_text("mine")
    retention.retain(job)
    assert sorted(path.name for path in job.home.runs.glob("*/")) == sorted([RUNS[0], RUNS[1], RUNS[4], RUNS[5], "notes"])
    assert left(job.home)[1:] == [[0, 2, 4, 5], [0, 4, 5]]
    assert (job.home.caches / "vectors" / "readme.txt").exists()


def test_a_run_of_before_its_manifest_named_an_encoder_is_kept_as_any_other(job: Job) -> None:
    path = job.home.runs / RUNS[4] / MANIFEST
    said = json.loads(path.read_text())
    del said["encoder_digest"], said["tables"]
    path.write_text(json.dumps(said))
    retention.retain(job)
    assert left(job.home) == [[4, 5], [5], [5]]


def test_a_run_that_is_promoted_meanwhile_stays(job: Job, monkeypatch) -> None:
    def promoted(*given: object) -> list[str]:
        job.home.point(RUNS[1], "promote")
        return RUNS[:4]

    monkeypatch.setattr(tracking, "remove_outdated", promoted)
    retention.retain(job)
    assert left(job.home)[0] == [1, 4, 5]
    assert job.home.load().run_id == RUNS[1]


def test_checkpoints_of_a_training_that_nobody_took_up_again_go_after_a_day(job: Job) -> None:
    for name, days in (("old", 2), ("new", 0.5)):
        folder = job.home.caches / "checkpoints" / name
        folder.mkdir(parents=True)
        aged(folder, days)
    retention.retain(job)
    assert [path.name for path in (job.home.caches / "checkpoints").iterdir()] == ["new"]


def test_a_disk_error_is_a_warning(job: Job, monkeypatch, caplog) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("recsys.atomic.shutil.rmtree", refuse)
    with caplog.at_level(logging.WARNING):
        retention.retain(job)
    assert "what is old was not removed" in caplog.text
    assert "permission denied" in caplog.text
    assert job.display.lines == []


def test_a_process_that_dies_while_it_removes_leaves_a_draft_that_is_swept(job: Job, monkeypatch) -> None:
    def die(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("recsys.atomic.shutil.rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            retention.retain(job)
    assert left(job.home)[0] == [1, 2, 3, 4, 5]
    retention.retain(job)
    assert left(job.home)[0] == [4, 5]
    (gone,) = job.home.runs.glob(f"{PREFIX}*")
    for path in [gone, *gone.rglob("*")]:
        aged(path, 2)
    assert job.home.sweep() == [gone]


@pytest.fixture
def registered(job: Job, empty_store: Path) -> Job:
    """The first two of the runs are versions 1 and 2 of the registered model."""
    shutil.copy(empty_store, job.home.folder / "mlflow.db")
    job.config = job_of(job.base, keep_runs=2, enabled=True).config
    for run_id in RUNS[:2]:
        with track(job.config.tracking, job.home.folder, "toy", run_id) as tracker:
            tracker.metrics({"ndcg": 0.5})
            tracker.model(SERVED)
    return job


def client_of(home: Home):
    from mlflow import MlflowClient

    uri = f"sqlite:///{home.folder / 'mlflow.db'}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def test_the_model_of_a_removed_run_goes_from_the_registry_and_what_it_reached_stays(registered: Job) -> None:
    home = registered.home
    with quiet():
        client = client_of(home)
        before = list((home.folder / "mlartifacts").rglob("MLmodel"))
        retention.retain(registered)
        assert len(before) == 2
        assert not list((home.folder / "mlartifacts").rglob("MLmodel"))
        assert client.search_model_versions("name = 'toy'") == []
        found = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
        assert {run.info.run_name: run.data.metrics for run in found} == {run_id: {"ndcg": 0.5} for run_id in RUNS[:2]}
    assert left(home)[0] == [4, 5]


def test_a_version_with_an_alias_keeps_its_run(registered: Job) -> None:
    with quiet():
        client = client_of(registered.home)
        client.set_registered_model_alias("toy", "christmas", "1")
        retention.retain(registered)
        assert [one.version for one in client.search_model_versions("name = 'toy'")] == [1]
    assert left(registered.home)[:2] == [[0, 4, 5]] * 2


def test_a_copy_under_another_name_keeps_its_run_and_no_version_of_another_run_goes(registered: Job) -> None:
    with quiet():
        client = client_of(registered.home)
        client.create_registered_model("prod")
        second = client.get_model_version("toy", "2")
        client.create_model_version("prod", second.source, second.run_id, model_id=second.model_id)
        retention.retain(registered)
        assert [one.version for one in client.search_model_versions("name = 'toy'")] == [2]
        assert [one.version for one in client.search_model_versions("name = 'prod'")] == [1]
    assert left(registered.home)[0] == [1, 4, 5]
    assert len(list((registered.home.folder / "mlartifacts").rglob("MLmodel"))) == 1


def test_a_copied_project_removes_nothing_of_the_one_it_was_copied_from(registered: Job, tmp_path: Path) -> None:
    shutil.copytree(registered.home.folder, tmp_path / "copy" / "things", symlinks=True)
    copied = replace(registered, base=tmp_path / "copy", config=job_of(registered.base, keep_runs=2, enabled=True).config)
    retention.retain(copied)
    assert left(copied.home)[0] == [4, 5]
    assert left(registered.home)[0] == [0, 1, 2, 3, 4, 5]
    assert len(list((registered.home.folder / "mlartifacts").rglob("MLmodel"))) == 2


def test_a_model_that_cannot_be_removed_keeps_its_run_and_the_others_go(registered: Job, monkeypatch, caplog) -> None:
    removed, n = shutil.rmtree, []

    def refuse_the_first(path: Path, **given: object) -> None:
        if not n:
            n.append(path)
            raise PermissionError(13, "Permission denied", str(path))
        removed(path, **given)

    monkeypatch.setattr("recsys.tracking.outdated.shutil.rmtree", refuse_the_first)
    with caplog.at_level(logging.WARNING):
        retention.retain(registered)
    assert f"the model of run {RUNS[0]} is not removed" in caplog.text
    assert left(registered.home)[0] == [0, 4, 5]


def test_where_the_registry_does_not_answer_old_runs_wait(registered: Job, caplog) -> None:
    (registered.home.folder / "mlflow.db").write_bytes(b"no database")
    with caplog.at_level(logging.WARNING):
        retention.retain(registered)
    assert "old runs are kept until it does" in caplog.text
    assert left(registered.home)[0] == [0, 1, 2, 3, 4, 5]


def test_what_a_server_holds_stays_there(job: Job) -> None:
    """No server is asked: this address would not answer."""
    job.config = job_of(job.base, keep_runs=2, enabled=True, uri="http://127.0.0.1:9").config
    retention.retain(job)
    assert left(job.home)[0] == [4, 5]
