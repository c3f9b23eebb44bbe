"""Promotion with real trainings of a small world: who ranks after each, and what a champion's recipe reaches on a challenger's window."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import worlds
from click.testing import CliRunner

from recsys import face, gates
from recsys.artefacts import Home, Run
from recsys.cli import main
from recsys.pipeline import promoting, rematch, training

WORLD = worlds.checkerboard()
QUICK = {"text": {"warm_steps": 20, "steps": 4, "check_steps": 2, "blend_steps": 0, "refresh_steps": 2}, "ranker": {"trees": 5}}
CRIPPLED = {"candidates": {"per_source": 1}}


def write(folder: Path, days: float = 0, **sections: dict[str, Any]) -> Path:
    """The shop as it is so many days before the end, with other values of some sections."""
    events = WORLD.events.filter(pl.col("event_time") < worlds.END - days * worlds.DAY)
    changes = {name: QUICK.get(name, {}) | sections.get(name, {}) for name in {*QUICK, *sections}}
    return worlds.write_world(folder, WORLD.items, events, changes)


def made(path: Path, promote: bool = False) -> tuple[Run, dict[str, Any] | None]:
    """A training, a second after the one before: a run id holds its second."""
    import time

    time.sleep(1.1)
    with face.job(path) as job:
        return promoting.train(job, False, promote)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a shop with its first run, three days before the end."""
    folder = tmp_path_factory.mktemp("first")
    made(write(folder, 3))
    return folder


@pytest.fixture
def shop(first: Path, tmp_path: Path) -> Path:
    shutil.copytree(first, tmp_path / "shop")
    return tmp_path / "shop"


def home_of(shop: Path) -> Home:
    return Home(shop / "runs")


def test_the_first_run_ranks_and_a_later_one_waits_for_the_gate(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (one,) = home_of(shop).run_ids()
    assert home_of(shop).current() == one
    two, decision = made(write(shop, 3, ranker={"leaves": 5}))
    assert (home_of(shop).current(), decision) == (one, None)
    assert gates.states(home_of(shop)) == {one: "champion", two.run_id: "challenger"}
    assert f"run {two.run_id} is a challenger: `recsys models promote {two.run_id}` asks the gate" in capfd.readouterr().err


def test_a_planted_worse_recipe_is_refused_at_once_and_the_run_is_there(shop: Path) -> None:
    one = home_of(shop).current()
    path = write(shop, 3, **CRIPPLED)
    outcome = CliRunner().invoke(main, ["train", "--promote", "--config", str(path)])
    assert outcome.exit_code == 1
    run_id = outcome.stdout.splitlines()[-1]
    assert "ndcg@10                 FAIL" in outcome.stdout
    assert f"Run {run_id} is refused (" in " ".join(outcome.stdout.split())
    assert home_of(shop).current() == one != run_id
    assert gates.decisions(home_of(shop))[run_id]["basis"] == "same window"


def test_a_planted_better_recipe_is_surely_better(tmp_path: Path) -> None:
    path = write(tmp_path, 3, **CRIPPLED)
    one, _ = made(path)
    two, decision = made(write(tmp_path, 3, promote={"rule": "better", "minutes_times": 100.0}), promote=True)
    assert decision is not None
    assert (decision["decision"], decision["paired"]["low"] > 0, decision["paired"]["p"] < 0.05) == ("passed", True, True)
    assert (home_of(tmp_path).current(), home_of(tmp_path).before()) == (two.run_id, one.run_id)


def test_the_same_recipe_on_newer_data_passes(shop: Path) -> None:
    two, decision = made(write(shop, 1), promote=True)
    assert decision is not None
    assert (decision["basis"], decision["decision"], home_of(shop).current()) == ("same recipe", "passed", two.run_id)


def test_on_another_window_the_champions_recipe_is_fitted_once_and_is_what_a_training_by_it_reaches(shop: Path, monkeypatch) -> None:
    one = home_of(shop).load()
    two, decision = made(write(shop, 1, **CRIPPLED), promote=True)
    assert decision is not None
    assert (decision["basis"], decision["decision"]) == ("rematch", "refused")
    kept = home_of(shop).rematch(f"{one.run_id}_on_{two.run_id}")
    # The very training that it stands for: the champion's config on the challenger's tables. Seen nothing of the test window, it too.
    three, _ = made(write(shop, 1))
    judged = three.table("lists").filter(pl.col("system") == "ranker")
    assert kept.table("lists").equals(judged)
    assert not kept.table("lists").equals(one.table("lists").filter(pl.col("system") == "ranker"))
    reached = [run.record("report")["tasks"]["new"]["systems"]["ranker"]["ndcg@10"]["value"] for run in (two, three)]
    assert decision["paired"]["difference"] == pytest.approx(reached[0] - reached[1])
    monkeypatch.setattr(training, "evaluated", None)
    with face.job(shop / "recsys.toml") as job:
        assert promoting.promote(job, two.run_id)["paired"] == decision["paired"]
    assert home_of(shop).current() == one.run_id


def test_a_recipe_that_asks_for_more_days_than_the_challenger_has_cannot_be_compared(shop: Path) -> None:
    one = home_of(shop).current()
    _, decision = made(write(shop, 16, text={"valid_days": 1}, time={"fold_days": 1, "valid_days": 1, "test_days": 20}), promote=True)
    assert decision is not None
    assert (decision["basis"], home_of(shop).current()) == ("not comparable", one)
    assert "too few for the windows asked for" in decision["checks"][0]["words"]


def test_a_rematch_of_other_tables_or_of_another_recsys_is_fitted_anew(shop: Path, monkeypatch) -> None:
    one, (two, _) = home_of(shop).load(), made(write(shop, 1, **CRIPPLED))
    fits: list[str] = []

    def fit(job, name: str, said: dict[str, Any], challenger: Run) -> None:
        fits.append(name)
        with rematch.draft(job.home.gates / name, said):
            pass

    monkeypatch.setattr(rematch, "_fit", fit)
    with face.job(shop / "recsys.toml") as job:
        rematch.rematch(job, one, two)
        rematch.rematch(job, one, two)
        assert len(fits) == 1
        monkeypatch.setattr(rematch.recipe, "recsys_version", lambda: "99")
        shutil.rmtree(job.home.gates)
        rematch.rematch(job, one, two)
        assert len(fits) == 2
