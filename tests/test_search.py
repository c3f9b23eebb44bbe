"""`recsys search` on a small world: nested runs, what is pasted, what is never read, and what is done again."""

import shutil
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import worlds
from click.testing import CliRunner

from recsys import config_file, face, study, timeline
from recsys.cli import main
from recsys.errors import ConfigError, ModelError, TooShortError
from recsys.pipeline import search
from recsys.study import Trial

NEW = {"item_id": "i900", "title": "river lamp", "available_from": worlds.END - worlds.DAY}
WORLD = worlds.checkerboard()._replace(items=pl.concat([worlds.checkerboard().items, worlds.items_table([NEW])]))
"""The checkerboard, and an item that only comes in the test window."""

HOPELESS = 1e-9
CHANGES: dict[str, dict[str, Any]] = {
    "text": {"warm_steps": 30, "steps": 4, "check_steps": 2},
    "ranker": {"trees": 20, "leaves": 2, "feature_share": 0.05},
    "search": {
        "trials": 4,
        "text": {"tower_learning_rate": [1e-2, HOPELESS, 2 * HOPELESS], "learning_rate": [1e-4, 1e-3]},
        "ranker": {"leaves": [4, 15], "feature_share": [0.3, 1.0]},
    },
}


def write(folder: Path, world: worlds.World, changes: dict[str, dict[str, Any]] | None = None) -> Path:
    given = changes or {}
    return worlds.write_world(folder, world.items, world.events, {s: v | given.get(s, {}) for s, v in (CHANGES | {"tracking": {}}).items()})


def plain(trials: list[Trial]) -> list[Trial]:
    return [replace(trial, seconds=0.0) for trial in trials]


def searched(path: Path, **asked: Any) -> search.Found:
    with face.job(path) as job:
        job.config = job.config.model_copy(update={"search": job.config.search.model_copy(update=asked)})
        return search.search(job)


@dataclass
class Searched:
    """A search that was made."""

    path: Path
    home: Path
    out: list[str]
    found: search.Found


@pytest.fixture(scope="module", autouse=True)
def one_complete_trial_is_enough_to_prune_by():
    before, study.COMPLETE_BEFORE_PRUNING = study.COMPLETE_BEFORE_PRUNING, 1
    yield
    study.COMPLETE_BEFORE_PRUNING = before


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Searched:
    path = write(tmp_path_factory.mktemp("searched"), WORLD, {"tracking": {"enabled": True}})
    home = path.parent / "runs"
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    result = CliRunner().invoke(main, ["search", "--config", str(path)], catch_exceptions=False)
    assert result.exit_code == 0
    return Searched(path, home, result.stdout.splitlines(), searched_again(path))


def searched_again(path: Path) -> search.Found:
    """All trials are there: nothing is fitted."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("try_texts", "fit_sides", "fold_rows"):
            patch.setattr(search, name, None)
        return searched(path)


def test_every_trial_is_a_nested_run_of_one_parent(made: Searched) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{made.home / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("world").experiment_id], order_by=["attributes.start_time"])
    parent, *children = runs[:9]
    assert [run.info.run_name for run in children] == [f"{part}-{number:03}" for part in ("text", "ranker") for number in range(4)]
    assert {run.data.tags.get("mlflow.parentRunId") for run in children} == {parent.info.run_id}
    ends = {study.COMPLETE: "FINISHED", study.PRUNED: "KILLED"}
    trials = [trial for part in made.found.parts for trial in part.trials]
    assert [run.info.status for run in children] == [ends[trial.state] for trial in trials]
    assert children[0].data.params == {"text.tower_learning_rate": "0.01", "text.learning_rate": "0.0005"}
    assert children[0].data.metrics["text/best"] == trials[0].figure
    assert parent.data.metrics["text/best"] == made.found.parts[0].best.figure
    assert parent.data.params["best.ranker.leaves"] == str((made.found.parts[1].own | made.found.parts[1].best.settings)["leaves"])


def test_a_hopeless_text_trial_is_stopped_at_a_check_and_a_good_one_is_not(made: Searched) -> None:
    first, *others = made.found.parts[0].trials
    assert first.state == study.COMPLETE
    hopeless = [trial for trial in others if trial.settings["tower_learning_rate"] != 1e-2]
    assert hopeless
    assert {trial.state for trial in hopeless} == {study.PRUNED}
    assert all(len(trial.checks) < len(first.checks) for trial in hopeless)


def test_the_last_line_is_the_file_whose_lines_are_a_config(made: Searched) -> None:
    path = Path(made.out[-1])
    assert path == made.home / "searched.toml" == made.found.path
    best = {part.section: part.best.settings for part in made.found.parts if part.best.settings}
    assert best
    assert tomllib.loads(path.read_text()) == best
    values = config_file.load(made.path).model_dump()
    pasted = config_file.parse(values | {section: values[section] | settings for section, settings in best.items()}, "pasted")
    assert all(getattr(pasted.ranker, name) == value for name, value in best.get("ranker", {}).items())


def test_the_best_are_printed_with_their_settings_and_their_gain(made: Searched) -> None:
    text = "\n".join(made.out)
    for part in made.found.parts:
        assert f"[{part.section}] by {part.measure}; 4 trials" in text
        assert f"{part.best.figure:.4f}  {part.best.figure - part.trials[0].figure:+.4f}" in text


def test_a_finished_search_fits_nothing_again_and_finds_the_same(made: Searched) -> None:
    assert plain(searched_again(made.path).parts[1].trials) == plain(made.found.parts[1].trials)


def without_test_window(world: worlds.World) -> worlds.World:
    """Nothing from the end of the valid window on: but one event, at the moment of the last, to hold the windows in their place."""
    ledger = timeline.evaluation_ledger(worlds.START, worlds.END, worlds.config())
    assert ledger.valid is not None
    past = pl.col("event_time") < ledger.valid.end
    last = world.events.filter(pl.col("event_time") == pl.col("event_time").max()).head(1)
    last = last.with_columns(user_id=pl.lit("u000"), item_id=pl.lit("i000"))
    items = world.items.filter(pl.col("available_from").is_null() | (pl.col("available_from") < ledger.valid.end))
    assert items.height < world.items.height
    assert world.events.filter(past).height < world.events.height
    return world._replace(items=items, events=pl.concat([world.events.filter(past), last]).sort("user_id", "event_time", "item_id"))


def test_the_test_window_is_never_read_and_a_search_out_of_time_goes_on_later(made: Searched, tmp_path: Path) -> None:
    path = write(tmp_path, without_test_window(WORLD))
    shutil.copytree(made.path.parent / "tiny_bert", tmp_path / "tiny_bert", dirs_exist_ok=True)  # its words come from the texts
    assert [len(part.trials) for part in searched(path, minutes=1e-9).parts] == [1, 1]
    parts = searched(path).parts
    for part, whole in zip(parts, made.found.parts, strict=True):
        assert plain(part.trials) == plain(whole.trials)


def test_a_part_without_a_space_stays_as_it_is(made: Searched, tmp_path: Path) -> None:
    path = write(tmp_path, worlds.checkerboard(), {"search": {"text": {}, "trials": 2}})
    (part,) = searched(path).parts
    assert (part.section, len(part.trials)) == ("ranker", 2)


def test_where_no_item_has_a_text_the_trials_are_judged_by_the_trees_without(tmp_path: Path) -> None:
    world = worlds.checkerboard()
    path = write(tmp_path, world, {"search": {"text": {}, "trials": 2}})
    world.items.with_columns(title=pl.lit(""), description=pl.lit("")).write_csv(tmp_path / "items.csv")
    (part,) = searched(path).parts
    assert [trial.state for trial in part.trials] == [study.COMPLETE] * 2
    assert 0 < part.figure <= 1


def test_nothing_to_search_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, worlds.checkerboard(), {"search": {"text": {}, "ranker": {}}})
    with pytest.raises(ConfigError, match="both empty"):
        searched(path)


def test_a_text_window_that_asks_nothing_is_said(tmp_path: Path) -> None:
    world = worlds.checkerboard()
    ledger = timeline.evaluation_ledger(worlds.START, worlds.END, worlds.config())
    quiet = pl.col("event_time").is_between(ledger.text.end - 5 * worlds.DAY, ledger.text.end, closed="left")
    path = write(tmp_path, world._replace(events=world.events.filter(~quiet)))
    with pytest.raises(TooShortError, match=r"Raise text\.valid_days"):
        searched(path)


def test_a_search_in_which_every_model_goes_bad_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(*_: object) -> None:
        raise ModelError("the loss is not a number")

    monkeypatch.setattr(search, "try_texts", bad)
    with pytest.raises(ModelError, match="none of 4 trials got to its end"):
        searched(write(tmp_path, worlds.checkerboard()))


def test_a_search_started_as_several_workers_is_refused_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, worlds.checkerboard())
    monkeypatch.setattr(search, "workers", lambda: SimpleNamespace(n=2))
    with pytest.raises(ConfigError, match="without `accelerate launch`"):
        searched(path)
