"""`recsys nightly`: checked, trained when due, ranked, measured, published; and what it says when it is not."""

import json
import re
import shutil
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import worlds
from click.testing import CliRunner
from limits import largest_file
from test_lock import holder

from recsys import face, gates, report
from recsys.artefacts import Home
from recsys.atomic import pointed
from recsys.cli import main
from recsys.evaluate import ANCHORS
from recsys.monitor import reactions
from recsys.schema import MONITORING

WORLD = worlds.checkerboard()
SHORT = {"text": {"warm_steps": 20, "steps": 4, "check_steps": 2, "blend_steps": 0, "refresh_steps": 2}, "ranker": {"trees": 5}}
KEYS = [
    "project",
    "began",
    "outcome",
    "exit_code",
    "as_of",
    "checks",
    "training",
    "run",
    "served",
    "monitoring",
    "seconds",
    "rank_seconds",
    "failures",
    "to_do",
]


class Shop:
    """A project on the disk whose data grow and whose config changes from night to night."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "recsys.toml"
        self.home = Home(folder / "runs")

    def events(self, days: float) -> None:
        """The shop's events as they are so many days before the end of its world."""
        kept = WORLD.events.filter(pl.col("event_time") < worlds.END - days * worlds.DAY)
        kept.select("user_id", "item_id", "event_type", "event_time", "value", "price").write_csv(self.config.parent / "events.csv")

    def configure(self, **sections: dict[str, Any]) -> None:
        """Write the config anew, with other values of some sections."""
        changes = {name: SHORT.get(name, {}) | sections.get(name, {}) for name in {*SHORT, *sections}}
        every = worlds.settings(changes) | {name: values for name, values in sections.items() if name not in worlds.SMALL}
        self.config.write_text("\n".join(worlds._toml(every)))

    def nightly(self, code: int = 0) -> dict[str, Any]:
        """The summary of a night that ends with this exit code."""
        result = CliRunner().invoke(main, ["nightly", "--config", str(self.config), "--format", "json"])
        assert result.exit_code == code, (result.stdout, result.stderr)
        said: dict[str, Any] = json.loads(result.stdout)
        assert said["exit_code"] == code
        assert list(said) == KEYS
        assert "Traceback" not in result.stderr
        assert not list(self.home.nights.glob(".draft*"))
        return said

    def text(self) -> tuple[int, str]:
        """Exit code and stdout of a night in words."""
        result = CliRunner().invoke(main, ["nightly", "--config", str(self.config)])
        return result.exit_code, result.stdout

    def lists(self) -> pl.DataFrame:
        return pl.read_parquet(self.home.night().path / "recommendations")

    def rows(self, night_id: str | None = None) -> pl.DataFrame:
        """What was measured of a night (None: the one that is served)."""
        return self.home.readings().filter(pl.col("night_id") == (night_id or self.home.night().run_id))

    def value(self, measure: str, key: str = "") -> float:
        found = self.rows().filter((pl.col("measure") == measure) & (pl.col("key") == key))["value"]
        assert len(found) == 1, measure
        return float(found[0])


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A project after its first night, three days before the end; and what that night said."""
    folder = tmp_path_factory.mktemp("first")
    worlds.write_world(folder, WORLD.items, WORLD.events, SHORT)
    shop = Shop(folder)
    shop.configure()
    shop.events(3)
    return folder, shop.nightly()


@pytest.fixture
def shop(first: tuple[Path, dict[str, Any]], tmp_path: Path) -> Shop:
    shutil.copytree(first[0], tmp_path / "shop")
    return Shop(tmp_path / "shop")


# -- what a night does -------------------------------------------------------------------------------------------------


def test_the_first_night_trains_publishes_and_has_nothing_to_compare_with(first: tuple[Path, dict[str, Any]]) -> None:
    folder, said = first
    home, run = Home(folder / "runs"), face.load_run(folder / "recsys.toml")
    night = home.night()
    assert (said["outcome"], said["as_of"]) == ("published", (worlds.END - 3 * worlds.DAY).isoformat())
    assert said["training"]["due"] == "there is no run yet"
    assert said["training"]["run_id"] == said["run"]["run_id"] == run.run_id
    assert said["served"]["folder"] == str(night.path)
    assert (said["served"]["n_users"], said["served"]["n_rows"]) == (40, 200)
    assert said["monitoring"]["compared_with"] is None
    assert said["monitoring"]["notes"] == ["the first night: there is none to compare it with"]
    assert said["monitoring"]["WARN"] == said["monitoring"]["FAIL"] == 0
    assert set(home.readings()["measure"]) == {"coverage", "cold", "events"}
    assert said["failures"] == said["to_do"] == []
    assert {"check", "train", "rank"} <= said["seconds"].keys()


def test_the_figure_of_a_run_is_its_difference_from_the_best_other_system(first: tuple[Path, dict[str, Any]]) -> None:
    figure = first[1]["training"]["figure"]
    systems = face.load_run(first[0] / "recsys.toml").record("report")["tasks"]["new"]["systems"]
    others = {name: by["ndcg@10"]["value"] for name, by in systems.items() if not name.startswith("ranker") and name not in ANCHORS}
    best = max(others, key=lambda name: others[name])
    assert (figure["task"], figure["metric"], figure["against"]) == ("new", "ndcg@10", best)
    assert figure["difference"] == pytest.approx(systems["ranker"]["ndcg@10"]["value"] - others[best])
    assert figure["low"] <= figure["difference"] <= figure["high"]


def test_a_night_that_was_published_is_not_published_again(shop: Shop) -> None:
    before = sorted(shop.home.nights.rglob("*")), shop.home.readings().rows()
    said = shop.nightly()
    assert said["outcome"] == "unchanged"
    assert said["training"] == {"due": None, "run_id": None, "figure": None, "gate": None}
    assert said["monitoring"] is not None
    assert (sorted(shop.home.nights.rglob("*")), shop.home.readings().rows()) == before
    code, text = shop.text()
    assert (code, text.splitlines()[-1]) == (0, str(shop.home.night().path))


def test_the_next_night_ranks_with_the_same_run_and_is_compared_by_lists_and_scores(shop: Shop) -> None:
    earlier, before = shop.home.night(), shop.lists()
    shop.events(2)
    said = shop.nightly()
    now = shop.lists()
    assert said["outcome"] == "published"
    assert said["run"]["run_id"] == earlier.manifest["run_id"]
    assert said["monitoring"]["compared_with"] == earlier.run_id
    assert said["monitoring"]["notes"] == []
    changed = []
    for user in set(now["user_id"]) & set(before["user_id"]):
        one, two = (set(lists.filter(pl.col("user_id") == user)["item_id"]) for lists in (before, now))
        changed.append(1 - len(one & two) / max(len(one), len(two)))
    assert shop.value("churn") == pytest.approx(np.mean(changed))
    assert 0 < np.mean(changed) < 1
    assert shop.value("coverage") == pytest.approx(now["item_id"].n_unique() / 40)
    assert shop.value("coverage_fall") == pytest.approx(max(0.0, 1 - now["item_id"].n_unique() / before["item_id"].n_unique()))
    assert shop.value("new_days") == 1
    assert shop.value("vector_drift") == 0
    day = pl.col("event_time").is_between(worlds.END - 3 * worlds.DAY, worlds.END - 2 * worlds.DAY, closed="left")
    for kind in ("click", "purchase", "return"):
        assert shop.value("events", kind) == WORLD.events.filter(day & (pl.col("event_type") == kind)).height
    drift = shop.rows().filter(pl.col("measure") == "feature_drift")
    assert drift.height > 50
    assert drift["value"].min() == 0.0  # the impressions that this shop never has
    assert drift["value"].max() > 0.01
    assert shop.value("score_drift") >= 0


def test_every_measure_of_every_night_is_in_one_table_for_the_dashboard(shop: Shop) -> None:
    shop.events(2)
    shop.nightly()
    frame = report.monitoring_frame(shop.home)
    assert list(frame.columns) == MONITORING.names
    assert frame["night_id"].nunique() == 2
    assert not frame.duplicated(["night_id", "measure", "key"]).any()
    assert set(frame["status"]) <= {"PASS", "WARN"}


# -- when it trains ----------------------------------------------------------------------------------------------------


def due(shop: Shop) -> str | None:
    from recsys.pipeline.nightly import _due

    with face.job(shop.config) as job:
        return _due(job)


def test_a_run_is_trained_anew_when_it_is_so_many_days_of_events_old(shop: Shop) -> None:
    shop.configure(nightly={"train_every_days": 2})
    assert due(shop) is None
    shop.events(2)
    assert due(shop) is None
    shop.events(1)
    assert re.search(r"is 2 days of events old, nightly.train_every_days is 2", due(shop) or "")
    run_id = face.load_run(shop.config).run_id
    said = shop.nightly()
    assert said["training"]["run_id"] == said["run"]["run_id"] != run_id
    assert said["monitoring"]["notes"] == [
        f"another run than last night ({run_id}): scores, features of text and the category's code are not compared"
    ]
    measures = set(shop.rows()["measure"])
    assert "neighbour_drift" in measures
    assert not measures & {"score_drift", "vector_drift"}
    compared = shop.rows().filter(pl.col("measure") == "feature_drift")["key"]
    assert not [name for name in compared if name.startswith("text_") or name == "item_category"]


@pytest.mark.parametrize(
    ("section", "change", "is_due"),
    [
        ("ranker", {"leaves": 5}, True),
        ("text", {"history": 10}, True),
        ("time", {"test_days": 6}, True),
        ("candidates", {"factors": 4}, True),
        ("events", {"types": worlds.TYPES | {"click": {"weight": 0.5, "label": 1}}}, True),
        ("events", {"types": worlds.TYPES | {"click": {"weight": 0.2, "label": 1, "names": ["click", "view"]}}}, False),
        ("rank", {"k": 3}, False),
        ("publish", {"keep_nights": 3}, False),
        ("monitor", {"churn": [0.5]}, False),
        ("evaluate", {"bootstrap": 20}, False),
        ("project", {"task": "all"}, False),
    ],
)
def test_only_what_a_run_learns_from_needs_a_new_one(shop: Shop, section: str, change: dict[str, Any], is_due: bool) -> None:
    shop.configure(**{section: change})
    assert (f"[{section}" in (due(shop) or "")) == is_due


def test_a_current_run_that_cannot_be_read_is_replaced(shop: Shop) -> None:
    (shop.home.load().path / "ranker.txt").unlink()
    assert re.search("the current run cannot be used: .*ranker.txt", due(shop) or "")


def test_the_same_recipe_on_newer_data_passes_the_gate_and_ranks_that_night(shop: Shop) -> None:
    shop.configure(nightly={"train_every_days": 2})
    shop.events(1)
    gate = shop.nightly()["training"]["gate"]
    assert (gate["decision"], gate["basis"], gate["paired"]) == ("passed", "same recipe", None)


CRIPPLED = {"candidates": {"per_source": 1}, "promote": {"rule": "better"}}


def test_a_refused_challenger_is_no_failed_night_and_is_not_trained_again_until_it_is_due(shop: Shop) -> None:
    run_id = face.load_run(shop.config).run_id
    shop.events(2)
    shop.configure(**CRIPPLED)
    said = shop.nightly()
    gate = said["training"]["gate"]
    assert (said["outcome"], said["run"]["run_id"], gate["decision"], gate["challenger"]) == (
        "published",
        run_id,
        "refused",
        said["training"]["run_id"],
    )
    assert shop.home.current() == run_id != said["training"]["run_id"]
    again = report.nightly_text(said)
    assert f"WARN gate: {gate['sentence']}" in again
    assert "FAIL ndcg@10: " in again
    assert f"{run_id}, as of 2024-02-27 00:00, not trained tonight" in again
    shop.events(1)
    assert shop.nightly()["training"] == {"due": None, "run_id": None, "figure": None, "gate": None}
    shop.configure(**CRIPPLED, nightly={"train_every_days": 1})
    assert re.search(f"run {said['training']['run_id']} is 1 days of events old", due(shop) or "")
    shop.configure(nightly={"train_every_days": 7})
    assert "[candidates] of the config changed" in (due(shop) or "")  # the recipe of before is tried again


def test_a_job_that_was_killed_before_the_gate_takes_the_run_that_it_left(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys.pipeline import nightly

    shop.configure(nightly={"train_every_days": 2})
    shop.events(1)
    before = shop.home.current()
    with face.job(shop.config) as job:
        left = nightly.trained(job).run_id
    assert (shop.home.current(), gates.challenger(shop.home)) == (before, left)
    monkeypatch.setattr(nightly, "trained", None)
    said = shop.nightly()
    assert (said["training"]["run_id"], said["training"]["gate"]["decision"], shop.home.current()) == (left, "passed", left)


def test_a_gate_that_breaks_is_told_and_asked_again_the_next_night(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys.pipeline import nightly

    def broken(*_: object) -> None:
        raise ZeroDivisionError("of nothing")

    run_id = shop.home.current()
    shop.configure(nightly={"train_every_days": 2})
    shop.events(1)
    with monkeypatch.context() as patch:
        patch.setattr(nightly, "promoted", broken)
        result = CliRunner().invoke(main, ["nightly", "--config", str(shop.config), "--format", "json"])
    said = json.loads(result.stdout)
    assert (result.exit_code, said["outcome"], said["run"]["run_id"]) == (2, "published", run_id)
    assert [failure["step"] for failure in said["failures"]] == ["gate"]
    assert "waits for the gate" in said["to_do"][0]
    monkeypatch.setattr(nightly, "trained", None)
    assert shop.nightly()["training"]["gate"]["decision"] == "passed"


# -- what is refused, and what fails -----------------------------------------------------------------------------------


def test_a_table_whose_columns_changed_is_named_and_the_night_is_refused(shop: Shop) -> None:
    served = shop.home.night().run_id
    events = pl.read_csv(shop.config.parent / "events.csv", infer_schema=False).rename({"event_time": "time"})
    events.write_csv(shop.config.parent / "events.csv")
    shop.configure(nightly={"train_every_days": 1}, ranker={"leaves": 3})  # training would be due
    said = shop.nightly(code=1)
    assert (said["outcome"], said["checks"]["FAIL"]) == ("refused", 1)
    (failed,) = said["checks"]["not_passed"]
    assert (failed["name"], failed["status"]) == ("columns", "FAIL")
    assert "asks for the column 'event_time'" in failed["message"]
    assert said["training"]["run_id"] is said["run"] is said["as_of"] is None
    assert said["served"]["night_id"] == shop.home.night().run_id == served
    assert len(shop.home.run_ids()) == 1
    code, text = shop.text()
    assert (code, text.splitlines()[-1]) == (1, "REFUSED")
    assert "FAIL columns: events.columns.event_time" in text
    assert "Mend what the failed checks name" in text


def test_where_training_fails_the_current_run_ranks_and_that_is_said(shop: Shop) -> None:
    run_id = face.load_run(shop.config).run_id
    shop.events(2)
    shop.configure(text={"encoder": "no_such_folder"})
    said = shop.nightly(code=2)
    assert (said["outcome"], said["run"]["run_id"], said["training"]["run_id"]) == ("published", run_id, None)
    assert said["training"]["due"] == f"[text] of the config changed since run {run_id}"
    (failure,) = said["failures"]
    assert failure["step"] == "train"
    assert "no_such_folder" in failure["message"]
    assert said["served"]["as_of"] == (worlds.END - 2 * worlds.DAY).isoformat()
    assert f"The lists are those of run {run_id}" in said["to_do"][0]
    assert shop.nightly(code=2)["outcome"] == "unchanged"  # tried again, and the lists are there already


def test_where_the_first_training_fails_nothing_is_served(tmp_path: Path) -> None:
    worlds.write_world(tmp_path, WORLD.items, WORLD.events, SHORT)
    shop = Shop(tmp_path)
    shop.configure(text={"encoder": "no_such_folder"})
    said = shop.nightly(code=2)
    assert (said["outcome"], said["served"], [failure["step"] for failure in said["failures"]]) == ("failed", None, ["train"])
    code, text = shop.text()
    assert (code, text.splitlines()[-1]) == (2, "FAILED")
    assert "FAILED      train: " in text


def test_a_fault_that_nobody_foresaw_is_told_and_the_current_run_ranks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys.pipeline import training

    def broken(*_: object) -> None:
        raise ZeroDivisionError("of nothing")

    monkeypatch.setattr(training, "fit_rankers", broken)
    shop.events(2)
    shop.configure(nightly={"train_every_days": 1})
    result = CliRunner().invoke(main, ["nightly", "--config", str(shop.config), "--format", "json"])
    said = json.loads(result.stdout)
    assert (result.exit_code, said["outcome"]) == (2, "published")
    assert said["failures"] == [{"step": "train", "message": "ZeroDivisionError: of nothing"}]


def test_a_night_beyond_a_limit_is_refused_and_last_nights_stays_served(shop: Shop) -> None:
    served = shop.home.night()
    shop.events(2)
    shop.configure(monitor={"churn": [0.0, 0.001]})
    said = shop.nightly(code=1)
    assert said["outcome"] == "refused"
    assert [(one["measure"], one["status"]) for one in said["monitoring"]["not_passed"] if one["status"] != "WARN"] == [("churn", "FAIL")]
    assert shop.home.night().run_id == said["served"]["night_id"] == served.run_id
    served.verify()
    assert [path.name for path in shop.home.nights.glob("*/")] == [served.run_id]
    (refused,) = set(shop.home.readings()["night_id"]) - {served.run_id}
    assert shop.rows(refused).filter(pl.col("status") == "FAIL")["measure"].to_list() == ["churn"]
    assert "raise their second number in [monitor]" in said["to_do"][0]
    shop.configure(monitor={"churn": [0.0, 1.0]})
    assert shop.nightly()["outcome"] == "published"
    assert shop.home.night().run_id == refused
    assert shop.rows().filter(pl.col("measure") == "churn")["status"].to_list() == ["WARN"]


def test_who_ranks_by_hand_is_held_to_no_limit_and_the_next_night_is_compared_with_that(shop: Shop) -> None:
    shop.configure(monitor={"churn": [0.0, 0.0]})
    shop.events(2)
    table = shop.home.readings()
    by_hand = face.rank(shop.config)
    assert shop.home.night().path == by_hand
    assert shop.home.readings().equals(table)
    assert shop.nightly()["monitoring"] is None  # the same lists: there is nothing to do, and they were never measured
    shop.configure()
    shop.events(1)
    assert shop.nightly()["monitoring"]["compared_with"] == by_hand.name


def test_a_second_job_is_refused_at_once(shop: Shop) -> None:
    before = sorted(shop.home.folder.rglob("*"))
    with holder(shop.home.folder) as child:
        result = CliRunner().invoke(main, ["nightly", "--config", str(shop.config)])
        child.kill()
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"process {child.pid}" in result.stderr
    assert "nothing was done" in result.stderr
    assert sorted(shop.home.folder.rglob("*")) == before


def test_it_is_no_program_of_several_workers(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = CliRunner().invoke(main, ["nightly", "--config", str(shop.config)])
    assert result.exit_code == 2
    assert "WORLD_SIZE is 2" in result.stderr


# -- odd nights --------------------------------------------------------------------------------------------------------


def test_tables_that_end_before_the_run_are_refused(shop: Shop) -> None:
    served = shop.home.night().run_id
    shop.events(5)
    said = shop.nightly(code=2)
    assert (said["outcome"], said["served"]["night_id"]) == ("failed", served)
    assert "Is a file missing?" in said["failures"][0]["message"]
    assert said["as_of"] == (worlds.END - 5 * worlds.DAY).isoformat()


def test_a_night_earlier_than_the_last_is_published_and_not_compared(shop: Shop) -> None:
    shop.events(1)
    later = shop.nightly()
    shop.events(2)
    said = shop.nightly()
    assert said["served"]["as_of"] == (worlds.END - 2 * worlds.DAY).isoformat()
    assert said["monitoring"]["compared_with"] is None
    assert said["monitoring"]["notes"] == [
        f"not compared: {later['served']['night_id']} is as of 2024-02-29T00:00, later than tonight: did the tables go back in time?"
    ]
    assert "churn" not in set(shop.rows()["measure"])


def test_a_clock_that_was_put_back_makes_an_earlier_night_and_that_is_said(shop: Shop) -> None:
    from recsys.pipeline.nightly import nightly

    shop.events(1)
    later = shop.nightly()["served"]["night_id"]
    shop.events(0)
    with face.job(shop.config) as job:
        job.now = worlds.END - 2.5 * worlds.DAY  # all that happened since is rejected as yet to come
        told = nightly(job)
    assert told.as_of == worlds.END - 2 * worlds.DAY
    assert told.measured is not None
    assert told.measured.notes[0].startswith(f"not compared: {later} is as of 2024-02-29T00:00, later than tonight")
    assert "times" in [result.name for result in told.checks if result.status == "WARN"]


def test_a_night_without_a_new_day_is_said(shop: Shop) -> None:
    more = worlds.items_table([{"item_id": "i900", "title": "river stone", "category": "even", "price": 1.0}])
    pl.concat([WORLD.items, more]).write_csv(shop.config.parent / "items.csv")
    said = shop.nightly()
    assert said["outcome"] == "published"
    assert ("new_days", 0.0, "WARN") in [(one["measure"], one["value"], one["status"]) for one in said["monitoring"]["not_passed"]]


def test_a_list_for_some_users_is_no_night_to_compare_with(shop: Shop) -> None:
    (shop.config.parent / "vip.txt").write_text("u001\n")
    face.rank(shop.config, users=shop.config.parent / "vip.txt")
    said = shop.nightly()
    assert said["outcome"] == "published"  # everybody's lists take the place of those of a few
    assert "has the lists of some users alone" in said["monitoring"]["notes"][0]
    assert said["served"]["n_users"] == 40


def gone(night: Path) -> None:
    shutil.rmtree(night)


def cut_short(night: Path) -> None:
    (night / "monitor" / "values.parquet").write_bytes(b"PAR1")


def changed(night: Path) -> None:
    path = night / "recommendations" / "part-00000.parquet"
    path.write_bytes(bytes(path.stat().st_size))


def of_another_version(night: Path) -> None:
    path = night / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))


def of_another_layout(night: Path) -> None:
    path = night / "monitor" / "lists.json"
    path.write_text(path.read_text().replace('"layout": 1', '"layout": 9'))


def of_an_earlier_recsys(night: Path) -> None:
    shutil.rmtree(night / "monitor")
    path = night / "manifest.json"
    said = json.loads(path.read_text())
    kept = {key: {n: v for n, v in said[key].items() if not n.startswith("monitor/")} for key in ("digests", "sizes")}
    path.write_text(json.dumps(said | kept))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (gone, "there is no"),
        (cut_short, "missing or cut short: monitor/values.parquet"),
        (changed, "cannot be read"),
        (of_another_version, "format 99"),
        (of_another_layout, "layout 9"),
        (of_an_earlier_recsys, "keeps nothing"),
    ],
)
def test_a_last_night_that_cannot_be_read_is_said_and_the_night_goes_on(shop: Shop, spoil, says: str) -> None:
    spoil(shop.home.night().path)
    shop.events(2)
    said = shop.nightly()
    assert said["outcome"] == "published"
    assert said["monitoring"]["compared_with"] is None
    (note,) = said["monitoring"]["notes"]
    assert says in note
    assert {"coverage", "events"} <= set(shop.rows()["measure"])


def long_table(home: Home) -> None:
    """A table of many nights, larger than any other file of tonight."""
    keys = np.random.default_rng(0).random(100_000)
    rows = [(f"n{key}", worlds.START, "churn", str(key), key, "PASS") for key in keys]
    pl.DataFrame(rows, schema={c.name: c.dtype for c in MONITORING.columns}, orient="row").write_parquet(home.monitoring)


def test_a_disk_full_for_the_monitoring_leaves_the_night_whole_and_the_next_try_writes_it(shop: Shop) -> None:
    long_table(shop.home)
    before = shop.home.readings()
    shop.events(2)
    with largest_file(1_000_000):
        said = shop.nightly(code=2)
    assert (said["outcome"], [failure["step"] for failure in said["failures"]]) == ("published", ["monitoring"])
    assert "Free some space" in said["failures"][0]["message"]
    shop.home.night().verify()
    assert said["served"]["as_of"] == (worlds.END - 2 * worlds.DAY).isoformat()
    assert shop.home.readings().equals(before)
    again = shop.nightly()
    assert again["outcome"] == "unchanged"
    assert again["monitoring"] == said["monitoring"]
    assert shop.rows().filter(pl.col("measure") == "churn").height == 1
    assert shop.home.readings().height > before.height


KILLED = """
import os, pathlib, signal, sys
from recsys import artefacts, face
from recsys.pipeline import nightly
from recsys.publish import night
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
setattr({"published": artefacts.Home, "written": night}[sys.argv[2]], {"published": "add_readings", "written": "point"}[sys.argv[2]], die)
with face.job(pathlib.Path(sys.argv[1])) as job:
    nightly.nightly(job)
"""


@pytest.mark.parametrize(("moment", "outcome"), [("published", "unchanged"), ("written", "published")])
def test_a_job_killed_around_its_publishing_goes_on_where_it_was(shop: Shop, moment: str, outcome: str) -> None:
    before, table = shop.home.night().run_id, shop.home.readings()
    shop.events(2)
    child = subprocess.run([sys.executable, "-c", KILLED, str(shop.config), moment], cwd=Path(__file__).parents[1], capture_output=True)
    assert child.returncode == -signal.SIGKILL
    assert (shop.home.night().run_id == before) == (moment == "written")
    assert shop.home.readings().equals(table)
    said = shop.nightly()
    assert said["outcome"] == outcome
    assert said["monitoring"]["compared_with"] == before
    assert said["served"]["as_of"] == (worlds.END - 2 * worlds.DAY).isoformat()
    assert shop.rows().filter(pl.col("measure") == "churn").height == 1


def test_a_monitoring_table_that_is_damaged_is_named_and_kept(shop: Shop) -> None:
    shop.home.monitoring.write_bytes(b"not a table")
    shop.events(2)
    said = shop.nightly(code=2)
    assert said["outcome"] == "published"
    assert re.search(r"monitoring\.parquet: cannot be read: .*Move it away", said["failures"][0]["message"])
    assert shop.home.monitoring.read_bytes() == b"not a table"


def test_a_full_disk_while_the_lists_are_written_fails_the_night_and_keeps_the_last(shop: Shop) -> None:
    served = shop.home.night()
    shop.events(2)
    with face.job(shop.config) as job:
        from recsys.pipeline import tables

        tables.tables(job)  # ingested before
    with largest_file(4_000):
        said = shop.nightly(code=2)
    assert (said["outcome"], [failure["step"] for failure in said["failures"]]) == ("failed", ["rank"])
    assert shop.home.night().run_id == pointed(shop.home.nights) == served.run_id
    served.verify()
    assert "it goes on with what is already done" in said["to_do"][0]
    assert shop.nightly()["outcome"] == "published"


def test_a_return_that_becomes_frequent_is_a_surge_by_item_category_and_topic(shop: Shop) -> None:
    users = WORLD.events["user_id"].unique().sort()
    bad = [(user, "i004", "return", worlds.END - (3 + n / 20) * worlds.DAY) for n, user in enumerate(users)]
    events = pl.concat([WORLD.events.filter(pl.col("event_time") < worlds.END - 2 * worlds.DAY), worlds.events_table(bad)])
    columns = ["user_id", "item_id", "event_type", "event_time", "value", "price"]
    events.select(columns).write_csv(shop.config.parent / "events.csv")
    said = shop.nightly()
    surges = {one["key"]: one["value"] for one in said["monitoring"]["not_passed"] if one["measure"] == "surge"}
    assert {"return of item i004", "return of category even"} <= surges.keys()
    assert any(key.startswith("return of topic ") for key in surges)
    counts = reactions(events.lazy(), worlds.END - 2 * worlds.DAY, pl.lit(False)).filter(pl.col("item_id") == "i004").row(0, named=True)
    everything = reactions(events.lazy(), worlds.END - 2 * worlds.DAY, pl.lit(False)).sum()
    rate = 1 / (everything["purchases_before"][0] + 1)
    recent, before = ((counts[f"return_{p}"] + 10 * rate) / (counts[f"purchases_{p}"] + 10) for p in ("recent", "before"))
    assert surges["return of item i004"] == pytest.approx(recent / before, abs=1e-6)


# -- Prometheus --------------------------------------------------------------------------------------------------------


ROW = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


def parsed(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Prometheus' text format 0.0.4, read by its grammar: name to labels to value. Each metric stands together, HELP and TYPE first."""
    assert text.endswith("\n")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped = line.split(" ")[2]
            assert helped not in found
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert (name, kind) == (helped, "gauge")
            found[name] = {}
        else:
            row = ROW.fullmatch(line)
            assert row, line
            assert row[1] == name
            labels = tuple(
                (label, re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), value)) for label, value in LABEL.findall(row[2] or "")
            )
            assert labels not in found[name]
            found[name][labels] = float(row[3])
    return found


def test_the_prometheus_file_says_what_the_summary_says(shop: Shop) -> None:
    shop.events(2)
    shop.configure(monitor={"prometheus_file": "metrics/recsys.prom", "feature_drift": [0.001]})
    said = shop.nightly()
    found = parsed((shop.config.parent / "metrics" / "recsys.prom").read_text())
    mine = ("project", "world")
    assert found["recsys_nightly_exit_code"] == {(mine,): 0}
    assert found["recsys_nightly_is_served"] == {(mine,): 1}
    assert found["recsys_nightly_users"] == {(mine,): 40}
    assert found["recsys_nightly_as_of_seconds"] == {(mine,): datetime.fromisoformat(said["as_of"]).timestamp()}
    assert abs(found["recsys_nightly_end_time_seconds"][(mine,)] - datetime.fromisoformat(said["began"]).timestamp()) < 600
    assert found["recsys_nightly_checks"][(mine, ("status", "PASS"))] == said["checks"]["PASS"]
    for row in shop.rows().iter_rows(named=True):
        labels = (mine, ("measure", row["measure"]), ("key", row["key"]))
        assert found["recsys_monitor_value"][labels] == row["value"]
        assert found["recsys_monitor_status"][labels] == ["PASS", "WARN", "FAIL"].index(row["status"])
    assert 1 in found["recsys_monitor_status"].values()
    assert [path.name for path in (shop.config.parent / "metrics").iterdir()] == ["recsys.prom"]


def test_a_refused_night_is_in_the_prometheus_file_too(shop: Shop) -> None:
    shop.configure(monitor={"prometheus_file": "recsys.prom"}, time={"test_days": 300})
    said = shop.nightly(code=1)
    found = parsed((shop.config.parent / "recsys.prom").read_text())
    assert found["recsys_nightly_exit_code"] == {(("project", "world"),): 1}
    assert found["recsys_nightly_is_served"] == {(("project", "world"),): 0}
    assert found["recsys_nightly_checks"][(("project", "world"), ("status", "FAIL"))] == said["checks"]["FAIL"] == 1
    assert "recsys_monitor_value" not in found


def test_a_prometheus_file_that_cannot_be_written_is_told_and_the_night_is_served(shop: Shop) -> None:
    (shop.config.parent / "file").write_text("")
    shop.events(2)
    shop.configure(monitor={"prometheus_file": "file/recsys.prom"})
    said = shop.nightly(code=2)
    assert (said["outcome"], [failure["step"] for failure in said["failures"]]) == ("published", ["prometheus"])
    assert str(shop.config.parent / "file") in said["failures"][0]["message"]


# -- the words ---------------------------------------------------------------------------------------------------------


def test_the_text_has_the_facts_of_the_object(shop: Shop, first: tuple[Path, dict[str, Any]]) -> None:
    text, said = report.nightly_text(first[1]), first[1]
    figure = said["training"]["figure"]
    assert text.splitlines()[0].endswith(": published, tonight's lists are served")
    assert text.splitlines()[-1] == said["served"]["folder"]
    for fact in (
        said["run"]["run_id"],
        "training was due: there is no run yet",
        f"ranker minus {figure['against']} {figure['difference']:+.4f} [{figure['low']:+.4f}, {figure['high']:+.4f}]",
        "40 users, 200 rows",
        "the first night: there is none to compare it with",
        f"{said['checks']['PASS']} PASS, {said['checks']['WARN']} WARN, 0 FAIL",
    ):
        assert fact in text
    shop.events(2)
    shop.configure(monitor={"churn": [0.0]})
    code, later = shop.text()
    assert code == 0
    assert re.search(r"WARN churn: 0\.\d{3}", later)
    assert "to do" not in later
