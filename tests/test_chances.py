"""Chances in a whole project: learned on everybody, judged, kept, published, and what a least chance leaves out of the lists."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import worlds
from click.testing import CliRunner

from recsys import calibration, config_file, face, report
from recsys.artefacts import Run, draft
from recsys.cli import main
from recsys.errors import ConfigError, PublishError
from recsys.pipeline import calibrating, ranking
from recsys.schema import CHANCES

N_USERS, N_DORMANT = 120, 60
DORMANT = [f"u{number:03}" for number in range(N_USERS - N_DORMANT, N_USERS)]
FAST = {"tune": "none", "warm_steps": 10, "steps": 0, "blend_steps": 0, "refresh_steps": 0, "check_steps": 10}


class Shop(NamedTuple):
    path: Path
    events: pl.DataFrame
    run: Run


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The checkerboard, half of whose users never came back after three weeks."""
    world = worlds.checkerboard(n_users=N_USERS, n_items=40)
    gone = pl.col("user_id").is_in(DORMANT) & (pl.col("event_time") >= worlds.START + timedelta(days=21))
    events = world.events.filter(~gone)
    changes = {"project": {"task": "all"}, "text": FAST, "time": {"valid_days": 6}}
    path = worlds.write_world(tmp_path_factory.mktemp("shop"), world.items, events, changes)
    return Shop(path, events, face.train(path))


@pytest.fixture
def entry(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = shop.run.record("report")["calibration"]
    return found


def night(shop: Shop, out: Path | None, given: dict[str, Any] | None = None, task: str = "all", k: int = 20) -> Path:
    with face.job(shop.path) as job:
        changed = job.config.model_dump() | {"rules": given or {}}
        changed["project"]["task"] = task
        job.config = config_file.parse(changed, "test")
        return ranking.rank(job, None, None, None, k, out, False)


def lists_of(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path / "recommendations" / "*.parquet").sort("user_id", "rank")


def test_everybody_with_a_history_is_asked_whether_they_acted_or_not(shop: Shop, entry: dict[str, Any]) -> None:
    assert entry["n_users"] == {"learned": N_USERS, "judged": N_USERS}
    assert entry["days"] == 6  # the shorter of the two windows
    test = shop.run.record("report")["windows"][-1]
    assert test["n_queries"] <= N_USERS - N_DORMANT


def test_what_is_said_to_have_happened_is_what_happened(shop: Shop, entry: dict[str, Any]) -> None:
    start = pl.lit(shop.run.record("report")["windows"][-1]["start"]).str.to_datetime(time_zone="UTC")
    inside = shop.events.filter((pl.col("event_time") >= start) & (pl.col("event_time") < start + pl.duration(days=6)))
    for kind in calibration.KINDS:
        pairs = inside.filter(pl.col("event_type") == kind).select("user_id", "item_id").unique().height
        judged = entry["tasks"]["all"][kind]["judged"]
        assert 0.5 * pairs < judged["n_positives"] <= pairs  # what no source retrieved is no candidate
        assert judged["base_rate"] == pytest.approx(judged["n_positives"] / judged["n"])
        assert sum(part["n"] for part in entry["tasks"]["all"][kind]["slices"] if part["slice"] == "score_decile") == judged["n"]


def test_the_chances_are_better_than_one_number_and_not_far_off(entry: dict[str, Any]) -> None:
    for kind in calibration.KINDS:
        found = entry["tasks"]["all"][kind]
        assert found["judged"]["brier_skill"] > 0.1 > abs(found["others"]["base rate"]["brier_skill"])
        assert abs(found["judged"]["gap"]) < 0.4 * found["judged"]["base_rate"]


def test_a_night_has_chances_that_keep_the_order_and_tell_users_apart(shop: Shop, tmp_path: Path) -> None:
    lists = lists_of(night(shop, tmp_path))
    for name in CHANCES:
        assert lists[name].is_between(0, 1).all()
        assert lists.select((pl.col(name).diff() <= 0).over("user_id").fill_null(True).all()).item()
        best = lists.filter(pl.col("rank") <= 5).group_by(pl.col("user_id").is_in(DORMANT)).agg(pl.col(name).mean()).sort("user_id")[name]
        assert best[1] < 0.5 * best[0]  # who never came back


def test_the_chances_of_a_task_are_learned_on_what_it_lists(shop: Shop, tmp_path: Path) -> None:
    both = shop.run.record("calibration")["curves"]
    assert both["all"]["click"] != both["new"]["click"]
    new = lists_of(night(shop, tmp_path, task="new"))
    assert new["click_probability"].null_count() == 0


def test_a_user_without_a_history_has_no_chance(shop: Shop, tmp_path: Path) -> None:
    users = tmp_path / "users.txt"
    users.write_text("stranger\nu000\n")
    lists = lists_of(face.rank(shop.path, users=users, out=tmp_path / "out"))
    known = lists.group_by("user_id").agg(pl.col("click_probability").is_not_null().all().alias("is_known")).sort("user_id")
    assert known.rows() == [("stranger", False), ("u000", True)]


def test_a_least_chance_leaves_out_what_is_below_and_says_who_is_left_without(shop: Shop, tmp_path: Path, capfd: Any) -> None:
    plain = lists_of(night(shop, tmp_path / "plain"))
    least = float(plain.filter(pl.col("rank") == 1)["purchase_probability"].quantile(0.6) or 0)
    path = night(shop, tmp_path / "least", {"min_purchase_probability": least})
    lists = lists_of(path)
    expected = plain.filter(pl.col("purchase_probability") >= pl.lit(least, pl.Float32))
    assert lists.drop("run_id").equals(expected.drop("run_id"))
    n_none = N_USERS - lists["user_id"].n_unique()
    assert n_none > 0.3 * N_USERS  # far beyond publish.fewest_share, and meant
    said = json.loads((path / "manifest.json").read_text())["rules"]
    assert (said["none"], said["unlikely"]) == (n_none, n_none)
    assert f"{n_none} have none, {n_none} of these because nothing is likely enough" in capfd.readouterr().err


def test_who_has_no_list_for_another_reason_still_refuses_the_night(shop: Shop) -> None:
    with pytest.raises(PublishError, match=r"of \d+ users have a list, publish.fewest_share"):
        night(shop, None, {"min_purchase_probability": 1e-9, "eligible": {"few": "item.item_id = 'i000'"}, "seen_days": 3650})


def test_a_least_chance_that_nobody_reaches_refuses_the_night(shop: Shop) -> None:
    with pytest.raises(PublishError, match=r"rules: leave none of 120 users anything .*min_click_probability"):
        night(shop, None, {"min_click_probability": 1.0})


@pytest.fixture
def old(shop: Shop, tmp_path: Path) -> Shop:
    """The project with a run as an earlier recsys made it, without a word of chances."""
    folder = shutil.copytree(shop.path.parent, tmp_path / "old")
    runs = folder / "runs" / "runs"
    before = shop.run
    shutil.rmtree(runs / before.run_id)
    manifest = {key: value for key, value in before.manifest.items() if key not in ("digests", "sizes", "version")}
    with draft(runs / before.run_id, manifest) as made:
        for name in before.manifest["digests"]:
            if name == "report.json":
                made.record("report", {key: value for key, value in before.record("report").items() if key != "calibration"})
            elif name != "calibration.json":
                shutil.copy(before.path / name, made.file(name))
    return Shop(folder / "recsys.toml", shop.events, before)


def test_a_run_of_before_ranks_without_chances_and_says_so_once(old: Shop, tmp_path: Path, capfd: Any) -> None:
    lists = lists_of(night(old, tmp_path / "night"))
    assert lists.height > 0
    assert all(lists[name].null_count() == lists.height for name in CHANCES)
    said = capfd.readouterr().err
    assert said.count("are null throughout: the run was trained before there were chances: train again") == 1
    with pytest.raises(ConfigError, match=r"rules.min_click_probability: run \S+ has no click_probability: .*before there were chances"):
        night(old, None, {"min_click_probability": 0.1})
    printed = CliRunner().invoke(main, ["report", "--config", str(old.path)])
    assert printed.exit_code == 0
    assert "Chances" not in printed.output


def test_the_report_says_how_far_the_chances_are_to_be_believed(shop: Shop) -> None:
    text = report.calibration_text(shop.run)
    assert "Chances within 6 days: learned on 120 users" in text
    for part in ("Chance of a click, task all", "Chance of a purchase, task new", "score alone, actors", "worst slice: ", "base rate"):
        assert part in text
    assert max(map(len, text.split("\n"))) <= 110
    assert text in CliRunner().invoke(main, ["report", "--config", str(shop.path)]).output


def test_the_same_training_gives_the_same_calibration(shop: Shop, tmp_path: Path) -> None:
    folder = shutil.copytree(shop.path.parent, tmp_path / "again")
    shutil.rmtree(folder / "runs")
    again = face.train(folder / "recsys.toml")
    assert again.manifest["digests"]["calibration.json"] == shop.run.manifest["digests"]["calibration.json"]


def test_a_shop_of_clicks_alone_has_no_chance_of_a_purchase_and_says_why(shop: Shop) -> None:
    rng = np.random.default_rng(0)
    n = 4000
    user = np.repeat(np.arange(200, dtype=np.int32), 20)
    habits = {name: np.zeros(200) for name in calibration.USER_FEATURES}
    clicked = rng.random(n) < 0.1
    asked = calibrating.Asked(
        users=pl.Series([f"u{number:03}" for number in range(200)]),
        habits=habits,
        is_active=np.ones(200, bool),
        user=user,
        item=np.tile(np.arange(20, dtype=np.int32), 200),
        is_seen=np.zeros(n, bool),
        score={"ranker": rng.normal(size=n)},
        happened={"click": clicked, "purchase": np.zeros(n, bool)},
    )
    with face.job(shop.path) as job:
        made = calibrating.learned(job.config, asked)
    assert made.why_absent("all", "click") is None
    assert made.why_absent("all", "purchase") == "none of 4,000 candidates had a purchase"
