"""`recsys backtest`: several pasts judged as a training judges one; kept as they are made, blind to what comes later, and told in words."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import worlds
from click.testing import CliRunner

from recsys import face, report, timeline
from recsys.artefacts import Home, Run, draft
from recsys.atomic import MANIFEST
from recsys.cli import main
from recsys.config import TASKS
from recsys.errors import ArtefactError, BusyError, ConfigError, TooShortError
from recsys.lock import alone
from recsys.pipeline import backtest as backtests
from recsys.pipeline import forgetting, training
from recsys.report import backtest as told
from recsys.schema import TIME
from recsys.text.workers import Workers

QUICK = {
    "text": {"warm_steps": 10, "steps": 2, "check_steps": 2, "blend_steps": 10, "refresh_steps": 5},
    "ranker": {"trees": 10},
    "evaluate": {"bootstrap": 20},
}
DAY = timedelta(days=1)


def backtest(path: Path, n_cutoffs: int = 2, every_days: int | None = None) -> Run:
    with face.job(path) as job:
        return backtests.backtest(job, n_cutoffs, every_days)


def write(folder: Path, world: worlds.World, more: dict[str, dict[str, Any]] | None = None) -> Path:
    changes = QUICK | {section: QUICK.get(section, {}) | values for section, values in (more or {}).items()}
    return worlds.write_world(folder, world.items, world.events, changes)


def home_of(path: Path) -> Home:
    return Home(path.parent / "runs")


@pytest.fixture(scope="module")
def checkerboard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    path = write(tmp_path_factory.mktemp("checkerboard"), worlds.checkerboard())
    return path, backtest(path)


@pytest.fixture
def copied(checkerboard, tmp_path: Path) -> Path:
    """A project with that backtest in it, that a test may spoil."""
    shutil.copytree(checkerboard[0].parent, tmp_path / "project")
    return tmp_path / "project" / checkerboard[0].name


def judged(path: Path) -> dict[str, dict[str, str]]:
    """Digests of all files of a cutoff but its cost, by day."""
    kept = home_of(path).found(home_of(path).cutoffs)[0]
    return {one.run_id[-8:]: {n: d for n, d in one.manifest["digests"].items() if n != "cost.json"} for one in kept}


def test_the_last_cutoff_is_the_verdict_of_a_training(checkerboard, tmp_path) -> None:
    made = checkerboard[1].record("report")
    run = face.train(write(tmp_path, worlds.checkerboard()))
    trained, last = run.record("report"), made["cutoffs"][-1]
    assert last["cutoff"] == trained["as_of"]
    for task in TASKS:
        assert last["tasks"][task] == {
            key: value for key, value in trained["tasks"][task].items() if key not in ("slices", "anchors", "traps")
        }
    for key in ("windows", "chosen", "candidate_recall"):
        assert last[key] == trained[key]


def test_cutoffs_are_a_test_window_apart_oldest_first(checkerboard) -> None:
    made = checkerboard[1].record("report")
    test_windows = [next(w for w in row["windows"] if w["name"] == "test") for row in made["cutoffs"]]
    assert [row["cutoff"] for row in made["cutoffs"]] == [(worlds.END - back * DAY).isoformat() for back in (7, 0)]
    assert test_windows[0]["end"] == test_windows[1]["start"]
    assert (made["every_days"], made["left_out"]) == (7, [])


def test_nothing_ranks_and_no_run_is_made(checkerboard) -> None:
    home = home_of(checkerboard[0])
    assert home.current() is None
    assert not home.runs.exists()


def test_figures_over_all_cutoffs_are_means_of_the_users_kept(checkerboard) -> None:
    path, made = checkerboard
    kept = home_of(path).found(home_of(path).cutoffs)[0]
    rows = pl.concat([one.table("per_user").with_columns(cutoff=pl.lit(one.run_id)) for one in kept])
    for task, content in made.record("report")["tasks"].items():
        of_task = rows.filter(pl.col("task") == task)
        assert content["n_users"] == of_task["user_id"].n_unique()
        assert content["n_queries"] == of_task.select("user_id", "cutoff").n_unique()
        for system, by_metric in content["systems"].items():
            own = of_task.filter(pl.col("system") == system)
            by_cutoff = own.group_by("cutoff").agg(pl.col("ndcg@10").mean())["ndcg@10"]
            over = by_metric["ndcg@10"]
            assert over["figure"]["value"] == pytest.approx(own["ndcg@10"].mean())
            assert over["figure"]["low"] <= over["figure"]["value"] <= over["figure"]["high"]
            assert (over["spread"]["mean"], over["spread"]["lowest"]) == pytest.approx((by_cutoff.mean(), by_cutoff.min()))


def test_recall_is_told_by_cutoff_and_in_the_mean(checkerboard) -> None:
    made = checkerboard[1].record("report")
    by_cutoff = [row["candidate_recall"] for row in made["cutoffs"]]
    assert made["candidate_recall"]["total"]["mean"] == pytest.approx(sum(one["total"] for one in by_cutoff) / 2)
    for source, shares in made["candidate_recall"]["sources"].items():
        for share, over in shares.items():
            values = [one["sources"][source][share] for one in by_cutoff if source in one["sources"]]
            assert (over["mean"], over["n_cutoffs"]) == (pytest.approx(sum(values) / len(values)), len(values))


def test_cost_is_told_by_cutoff_and_in_all(checkerboard) -> None:
    made = checkerboard[1].record("report")
    costs = [row["cost"] for row in made["cutoffs"]]
    assert all(cost["minutes"] > 0 and cost["peak_memory_mb"] > 50 and cost["seconds"]["ranker"] > 0 for cost in costs)
    assert made["cost"]["minutes"] == pytest.approx(sum(cost["minutes"] for cost in costs))
    assert made["cost"]["peak_memory_mb"] == max(cost["peak_memory_mb"] for cost in costs)


def test_an_event_after_a_cutoff_changes_no_byte_of_it(checkerboard, tmp_path) -> None:
    world = worlds.checkerboard()
    cutoff = worlds.END - 7 * DAY
    later = [(f"u{n:03}", f"i{(n * 7) % 40:03}", "purchase", cutoff + n * timedelta(hours=3)) for n in range(40)]
    strangers = [(f"v{n:03}", "i000", "click", cutoff) for n in range(5)]
    path = write(tmp_path, world._replace(events=pl.concat([world.events, worlds.events_table(later + strangers, price=9.0)])))
    backtest(path)
    before, after = judged(checkerboard[0]), judged(path)
    assert before["20240223"] == after["20240223"] != {}
    assert before["20240301"]["per_user.parquet"] != after["20240301"]["per_user.parquet"]


def test_a_world_cut_at_a_moment_is_the_one_that_ended_there() -> None:
    events = worlds.checkerboard().events
    moment = worlds.END - 7 * DAY
    cut = backtests.before(training.World(None, events.lazy(), worlds.START, worlds.END, None), moment)  # type: ignore[arg-type]
    kept = cut.events.collect()
    assert cut.end == moment
    assert kept.equals(events.filter(pl.col("event_time") < pl.lit(moment, TIME)))
    assert timeline.span(cut.events)[1] <= moment


def test_a_planted_drift_is_seen_in_the_spread(tmp_path) -> None:
    # Wishes change on day 30: one test window begins there, the other long after.
    path = write(tmp_path, worlds.drifting_shop(), {"time": {"test_days": 6}})
    found = told.systems(backtest(path, 2, 24).record("report"), "all")
    ranker = next(row for row in found if row["system"] == "ranker")
    assert ranker["lowest"] < 0.1
    assert ranker["highest"] > 0.2
    assert ranker["sd"] > 0.1


def test_a_finished_cutoff_is_not_judged_again_and_more_may_be_asked_for(copied, monkeypatch) -> None:
    before, asked, evaluated = judged(copied), [], backtests.evaluated

    def watched(job, world):
        asked.append(world.end)
        return evaluated(job, world)

    monkeypatch.setattr(backtests, "evaluated", watched)
    made = backtest(copied, 3)
    assert asked == [worlds.END - 14 * DAY]
    assert len(made.record("report")["cutoffs"]) == 3
    assert {day: judged(copied)[day] for day in before} == before


@pytest.mark.parametrize("change", ["config", "events", "encoder", "code"])
def test_what_decides_a_figure_is_judged_again_when_it_changes(copied, monkeypatch, change: str) -> None:
    with face.job(copied) as job:
        world = backtests.read_world(job)
        before = backtests._digest(job, world)
        if change == "config":
            job.config = job.config.model_copy(update={"ranker": job.config.ranker.model_copy(update={"leaves": 8})})
        elif change == "events":
            world.tables.manifest["digests"]["events.parquet"] = "other"
        elif change == "encoder":
            worlds.tiny_bert(copied.parent / "tiny_bert", worlds.checkerboard().items, seed=1)
        else:
            monkeypatch.setattr(backtests, "_code_digest", lambda: "other")
        assert backtests._digest(job, world) != before


def test_how_tonight_is_served_decides_no_figure(copied) -> None:
    with face.job(copied) as job:
        world = backtests.read_world(job)
        before = backtests._digest(job, world)
        job.config = job.config.model_copy(update={"rank": job.config.rank.model_copy(update={"k": 9})})
        job.config = job.config.model_copy(update={"project": job.config.project.model_copy(update={"keep_runs": 3})})
        assert backtests._digest(job, world) == before


def test_killed_between_two_cutoffs_it_goes_on_and_ends_the_same(checkerboard, tmp_path) -> None:
    path = write(tmp_path, worlds.checkerboard())
    command = [sys.executable, "-m", "recsys.cli", "backtest", "--cutoffs", "2", "--config", str(path)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not home_of(path).found(home_of(path).cutoffs)[0]:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    first = home_of(path).cutoff(next(home_of(path).cutoffs.glob("*-20240223")).name)
    made = first.manifest["made"]
    first.verify()
    assert not home_of(path).found(home_of(path).backtests)[0]
    backtest(path)
    assert home_of(path).cutoff(first.run_id).manifest["made"] == made
    assert judged(path) == judged(checkerboard[0])


def test_cut_short_in_the_middle_of_a_cutoff_nothing_of_it_is_there(copied, monkeypatch) -> None:
    shutil.rmtree(home_of(copied).cutoffs)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(backtests, "_cost", stopped)
        with pytest.raises(KeyboardInterrupt):
            backtest(copied)
    assert list(home_of(copied).cutoffs.iterdir()) == []


def test_data_too_short_for_the_oldest_cutoffs_give_fewer_and_say_so(copied) -> None:
    made = backtest(copied, 6)
    content = made.record("report")
    assert [row["cutoff"][:10] for row in content["left_out"]] == ["2024-01-26"]
    assert len(content["cutoffs"]) == 5
    said = " ".join(report.backtest_text(made).split())
    assert "Left out: 1 of the cutoffs asked for (2024-01-26). events: 25 days" in said


def test_a_cutoff_before_the_first_event_is_left_out_in_words(copied) -> None:
    made = backtest(copied, 2, 100)
    assert "they begin on 2024-01-01" in made.record("report")["left_out"][0]["reason"]
    assert "One cutoff says nothing of the spread" in report.backtest_text(made)


def test_data_too_short_for_any_cutoff_are_refused_with_what_would_fit(tmp_path) -> None:
    path = write(tmp_path, worlds.checkerboard(), {"time": {"test_days": 50}})
    with pytest.raises(TooShortError, match=r"too short for any of 2 cutoffs. The latest: events: 60 days .* What would fit"):
        backtest(path)
    assert not home_of(path).backtests.exists()
    result = CliRunner().invoke(main, ["backtest", "--config", str(path)])
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_cutoff_whose_test_window_is_quiet_is_left_out(tmp_path) -> None:
    world = worlds.checkerboard()
    quiet = pl.col("event_time").is_between(pl.lit(worlds.END - 28 * DAY, TIME), pl.lit(worlds.END - 21 * DAY, TIME))
    content = backtest(write(tmp_path, world._replace(events=world.events.filter(~quiet))), 2, 21).record("report")
    assert len(content["cutoffs"]) == 1
    assert "nobody acted in the test window" in content["left_out"][0]["reason"]


def test_one_cutoff_has_a_mean_and_no_standard_deviation(copied) -> None:
    made = backtest(copied, 1)
    for task in TASKS:
        for row in told.systems(made.record("report"), task):
            assert row["mean"] == row["lowest"] == row["highest"] == pytest.approx(row["value"])
            assert row["sd"] is None
    assert "nan" not in report.backtest_text(made).lower().split()


def test_overlapping_windows_are_named(copied) -> None:
    assert "TEST WINDOWS OVERLAP: 3 days apart, 7 days long." in report.backtest_text(backtest(copied, 2, 3))


def test_a_user_forgotten_leaves_every_kept_cutoff_and_is_in_no_backtest(copied) -> None:
    gone = worlds.checkerboard().events["user_id"][0]
    with face.job(copied) as job:
        done = forgetting.forget(job, gone)
    assert any(place.startswith("cutoffs/") for place in done.rows)
    for folder in (home_of(copied).cutoffs, home_of(copied).backtests):
        assert not [path for path in folder.rglob("*") if path.is_file() and f'"{gone}"'.encode() in path.read_bytes()]
    for path in home_of(copied).cutoffs.rglob("per_user.parquet"):
        users = pl.read_parquet(path)["user_id"]
        assert gone not in users.to_list()
        assert len(users)
    for one in home_of(copied).found(home_of(copied).cutoffs)[0]:
        one.verify()


def test_what_a_killed_backtest_left_half_written_goes_with_a_forgotten_user(copied) -> None:
    cut = draft(home_of(copied).cutoffs / "half", {})
    cut.__enter__()
    cut.table("per_user", pl.DataFrame({"user_id": ["u001"]}))
    with face.job(copied) as job:
        forgetting.forget(job, "u001")
    assert not cut.path.exists()


def test_a_damaged_cutoff_is_named_before_anything_is_fitted(copied, monkeypatch) -> None:
    damaged = next(home_of(copied).cutoffs.glob("*-20240223"))
    (damaged / MANIFEST).unlink()
    monkeypatch.setattr(backtests, "evaluated", None)
    with pytest.raises(ArtefactError, match=r"20240223: is incomplete.*Remove the folder"):
        backtest(copied)


def test_another_command_at_work_is_not_disturbed(copied) -> None:
    with alone(home_of(copied).folder, "recsys rank"), pytest.raises(BusyError, match="recsys rank"):
        backtest(copied)


def test_several_workers_are_refused_before_one_waits_for_another(copied, monkeypatch) -> None:
    alike = Workers()
    alike.n = 2
    monkeypatch.setattr(backtests, "workers", lambda: alike)
    with pytest.raises(ConfigError, match="without `accelerate launch`"):
        backtest(copied)


def test_old_backtests_go_and_cutoffs_that_none_needs(copied, monkeypatch) -> None:
    home = home_of(copied)
    with face.job(copied) as job:
        job.config = job.config.model_copy(update={"project": job.config.project.model_copy(update={"keep_runs": 1})})
        monkeypatch.setattr("recsys.pipeline.retention.YOUNG_SECONDS", -1.0)
        job = replace(job, now=job.now + DAY)
        made = backtests.backtest(job, 1)
    assert [one.run_id for one in home.found(home.backtests)[0]] == [made.run_id]
    assert [one.run_id[-8:] for one in home.found(home.cutoffs)[0]] == ["20240301"]


def test_the_command_ends_in_the_folder_alone_and_json_is_one_object(copied) -> None:
    done = CliRunner().invoke(main, ["backtest", "--config", str(copied), "--cutoffs", "2"])
    assert done.exit_code == 0
    folder = Path(done.stdout.splitlines()[-1])
    assert (folder / MANIFEST).is_file()
    for word in ("Systems over all cutoffs, task new", "p (Holm)", "by no other source", "Cost of all cutoffs", "trees, no text"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 110
    shutil.rmtree(folder)
    done = CliRunner().invoke(main, ["backtest", "--config", str(copied), "--cutoffs", "2", "--format", "json"])
    assert len(json.loads(done.stdout)["cutoffs"]) == 2


@pytest.mark.parametrize("arguments", [["--cutoffs", "0"], ["--every", "0"], ["--cutoffs", "many"]])
def test_numbers_that_make_no_sense_are_refused(checkerboard, arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["backtest", "--config", str(checkerboard[0]), *arguments])
    assert result.exit_code == 2
    assert "Invalid value" in result.stderr


def test_a_backtest_is_a_run_of_mlflow_with_figures_by_cutoff(copied, empty_store) -> None:
    from mlflow import MlflowClient

    shutil.copy(empty_store, home_of(copied).folder / "mlflow.db")
    copied.write_text(copied.read_text().replace("enabled = false", "enabled = true"))
    made = backtest(copied)
    client = MlflowClient(f"sqlite:///{home_of(copied).folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("world")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == f"backtest-{made.run_id}"
    history = client.get_metric_history(run.info.run_id, "new/ranker/ndcg_at_10_by_cutoff")
    by_cutoff = [row["tasks"]["new"]["systems"]["ranker"]["ndcg@10"]["value"] for row in made.record("report")["cutoffs"]]
    assert [one.value for one in history] == pytest.approx(by_cutoff)
