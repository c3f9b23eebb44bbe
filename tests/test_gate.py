"""The promotion gate on small runs whose lists have a known answer: what passes, what is refused, what is kept, and who ranks meanwhile."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import toy_run
from click.testing import CliRunner, Result
from toy_model import SERVED
from toy_run import AS_OF, ITEM_IDS, USERS

from recsys import config_file, evaluate, face, gates, metrics
from recsys.artefacts import Home, Run, draft
from recsys.cli import main
from recsys.config import Tracking
from recsys.errors import BusyError
from recsys.lock import alone
from recsys.pipeline import gate, promoting, recipe, retention
from recsys.schema import WINDOWS
from recsys.tracking import Standing, settle, store, track
from recsys.tracking.store import quiet

OLD, NEW, THIRD = "20261120-031500-aaaaaa", "20261121-031500-bbbbbb", "20261122-031500-cccccc"
OTHER = {"ranker": {"leaves": 7}}
"""Another recipe."""


@pytest.fixture
def project(tmp_path: Path) -> tuple[Path, Home]:
    """A project whose run OLD ranks: everybody's two wanted items stand at ranks 3 and 4."""
    path, home = toy_run.empty_project(tmp_path)
    made(home, OLD, shift=2)
    home.point(OLD)
    return path, home


def made(
    home: Home,
    run_id: str,
    shift: int = 2,
    settings: dict[str, Any] | None = None,
    days: int = 0,
    lists: pl.DataFrame | None = None,
    question: evaluate.Question | None = None,
    more: dict[str, Any] | None = None,
) -> Run:
    """A run with all that the gate looks at: `days` after AS_OF, with lists that put the wanted items `shift` places down."""
    asked = {"all": question or toy_run.question("all")}
    lists = toy_run._lists(shift) if lists is None else lists
    systems = {"ranker": lists, "popularity": toy_run._lists(6), "repurchase": toy_run._lists(5)}
    judged = evaluate.judge(systems, asked["all"], "ranker", 50, 7)
    end = AS_OF + timedelta(days=days)
    windows = pl.DataFrame([("test", end - timedelta(days=28), end)], {c.name: c.dtype for c in WINDOWS.columns}, orient="row")
    manifest = {
        "run_id": run_id,
        "as_of": end.isoformat(),
        "recsys_version": recipe.recsys_version(),
        "tables": f"tables{days}",
        "dataset_digests": {"events.parquet": f"of day {days}"},
        "knows_until": end.isoformat(),
        "untrained_digest": "e" * 32,
    }
    with draft(home.runs / run_id, manifest) as folder:
        whole = config_file.load(home.folder.parent / "recsys.toml").model_dump(mode="json")
        folder.record("config", {name: part | (settings or {}).get(name, {}) for name, part in whole.items()})
        seconds = dict.fromkeys(("text", "candidates", "features", "ranker", "evaluate", "refit"), 60.0)
        report = toy_run.report() | {"run_id": run_id, "tasks": {"all": judged.as_dict()}, "seconds": seconds} | (more or {})
        folder.record("report", report)
        folder.table("windows", windows)
        folder.table("lists", lists.with_columns(task=pl.lit("all"), system=pl.lit("ranker")))
        folder.table("per_user", judged.per_user.with_columns(task=pl.lit("all")))
        folder.record(evaluate.KEPT_SCALES, evaluate.question_scales(asked))
        for name, table in evaluate.question_tables(asked).items():
            folder.table(name, table)
    return home.load(run_id)


def promote(path: Path, run_id: str = NEW, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The decision that `recsys models promote` prints, with this exit code."""
    result = CliRunner().invoke(main, ["models", "promote", run_id, "--config", str(path), "--format", "json", *arguments])
    assert result.exit_code == code, (result.stdout, result.stderr)
    decision: dict[str, Any] = json.loads(result.stdout)
    return decision


def configured(path: Path, **limits: object) -> None:
    path.write_text(toy_run.CONFIG + "[promote]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in limits.items()))


def failed(decision: dict[str, Any]) -> list[str]:
    return [check["name"] for check in decision["checks"] if check["status"] == "FAIL"]


# -- the paired test -----------------------------------------------------------------------------------------------------


def test_a_worse_recipe_is_refused_and_the_old_run_ranks_on(project) -> None:
    path, home = project
    made(home, NEW, shift=4, settings=OTHER)
    decision = promote(path, code=1)
    assert (decision["decision"], decision["basis"], failed(decision)) == ("refused", "same window", ["ndcg@10"])
    assert home.current() == OLD
    assert gates.states(home) == {OLD: "champion", NEW: "refused"}


@pytest.mark.parametrize("rule", ["not_worse", "better"])
def test_a_better_recipe_passes_by_either_rule_and_ranks(project, rule: str) -> None:
    path, home = project
    configured(path, rule=rule)
    made(home, NEW, shift=0, settings=OTHER)
    assert promote(path)["decision"] == "passed"
    assert home.current() == NEW
    assert gates.states(home) == {OLD: "retired", NEW: "champion"}


def test_a_recipe_that_ties_is_not_worse_but_not_better(project) -> None:
    path, home = project
    made(home, NEW, settings=OTHER)
    configured(path, rule="better")
    assert failed(promote(path, code=1)) == ["ndcg@10"]
    configured(path, rule="not_worse")
    assert promote(path)["decision"] == "passed"


def test_the_paired_figure_is_that_of_the_rows_that_both_runs_stored(project) -> None:
    path, home = project
    lists = pl.concat([part if n % 3 else toy_run._lists(0).filter(pl.col("user_id") == USERS[n]) for n, part in enumerate(by_user(5))])
    run = made(home, NEW, lists=lists, settings=OTHER)
    paired = promote(path, code=1)["paired"]
    one, other = (each.table("per_user").filter(pl.col("system") == "ranker").sort("user_id")["ndcg@10"] for each in (run, home.load(OLD)))
    differences = (one - other).to_numpy()
    assert paired["n"] == 11
    assert paired["difference"] == pytest.approx(differences.mean())
    assert (paired["better"], paired["worse"]) == ((differences > 0).sum(), (differences < 0).sum()) != (0, 0)
    assert paired["low"] <= paired["difference"] <= paired["high"]
    assert paired["p"] == evaluate.permutation_p(differences, gate.PERMUTATIONS, 7)


def by_user(shift: int) -> list[pl.DataFrame]:
    return toy_run._lists(shift).partition_by("user_id", maintain_order=True)


def test_within_the_margin_it_passes_and_beyond_it_does_not(project) -> None:
    path, home = project
    made(home, NEW, shift=3, settings=OTHER)
    (before, now) = (metrics.ndcg(np.isin(np.arange(10), [s, s + 1])[None], np.array([2]))[0] for s in (2, 3))
    lost = float(before - now)
    configured(path, margin=lost + 0.001)
    assert promote(path)["decision"] == "passed"
    home.point(OLD)
    configured(path, margin=lost - 0.001)
    assert failed(promote(path, code=1)) == ["ndcg@10"]


def test_what_is_undecided_is_refused_overall_and_let_pass_for_new_items(project) -> None:
    path, home = project
    whole = toy_run.question("all")
    question = replace(whole, catalogue=whole.catalogue.with_columns(item_age=pl.lit("up to 28 days")))
    up, down = by_user(1), by_user(3)  # so that half gain more than the others lose, by luck or not
    lists = pl.concat([(up if n % 2 else down)[n] for n in range(len(USERS))])
    made(home, NEW, lists=lists, question=question, settings=OTHER)
    decision = promote(path, code=1)
    assert decision["paired"]["difference"] > -0.005 > decision["paired"]["low"]
    assert decision["paired"]["effect_seen"] > 0.005
    assert failed(decision) == ["ndcg@10"]


def test_a_task_in_which_nobody_had_anything_to_find_decides_nothing(project) -> None:
    path, home = project
    made(home, NEW, settings=OTHER, question=toy_run.question("new"))
    decision = promote(path, code=1)
    assert failed(decision) == ["ndcg@10"]
    assert "nobody had anything to find" in decision["checks"][1]["words"]


# -- the guards ------------------------------------------------------------------------------------------------------------


def test_new_items_that_are_surely_lost_are_a_refusal_whatever_the_mean_says(project, monkeypatch: pytest.MonkeyPatch) -> None:
    path, home = project
    for module in ("slices", "intervals"):  # so that eleven users say something
        monkeypatch.setattr(f"recsys.evaluate.{module}.FEWEST_USERS", 5)
    ages = ["older", "up to 28 days", *["older"] * 8]
    whole = toy_run.question("all")
    question = replace(whole, catalogue=whole.catalogue.with_columns(item_age=pl.Series(ages)))
    items = [ITEM_IDS[0], *ITEM_IDS[2:], ITEM_IDS[1]]
    lists = pl.DataFrame(
        [(user, item, rank) for user in USERS for rank, item in enumerate(items, 1)], toy_run._lists(0).schema, orient="row"
    )
    made(home, NEW, lists=lists, question=question, settings=OTHER)
    decision = promote(path, code=1)
    assert decision["paired"]["difference"] > 0
    assert failed(decision) == ["new items"]
    configured(path, cold_margin=0.5)
    assert promote(path)["decision"] == "passed"


def few(keep: int) -> pl.DataFrame:
    return toy_run._lists(0).filter(pl.col("rank") <= keep)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"lists": few(4)}, "coverage"),
        ({"lists": few(9)}, "short lists"),
        ({"more": {"seconds": dict.fromkeys(("text", "candidates", "features", "ranker", "evaluate"), 121.0)}}, "minutes"),
        ({"more": {"peak_memory_mb": 512.5 * 1.51}}, "memory"),
    ],
)
def test_each_guard_refuses_what_is_beyond_its_limit(project, given: dict[str, Any], name: str) -> None:
    path, home = project
    made(home, NEW, **({"shift": 2, "settings": OTHER} | given))
    assert name in failed(promote(path, code=1))
    assert home.current() == OLD


def test_lists_of_what_everybody_has_are_refused_by_their_popularity(project) -> None:
    path, home = project
    whole = toy_run.question("all")
    question = replace(whole, catalogue=whole.catalogue.with_columns(n_users=pl.Series([12] * 5 + [1] * 5)))
    shutil.rmtree(home.runs / OLD)
    made(home, OLD, question=question, lists=toy_run._lists(0))
    popular = few(5)
    made(home, NEW, question=question, lists=popular, settings=OTHER)
    configured(path, coverage_fall=1.0)
    decision = promote(path, code=1)
    assert "popularity" in failed(decision)
    (check,) = [check for check in decision["checks"] if check["name"] == "popularity"]
    assert check["value"] == pytest.approx(2 ** (np.log2(12) / 2))  # half the places held by what one in twelve had, now by what all had


def test_seconds_of_a_small_shop_are_no_reason(project) -> None:
    path, home = project
    quick = dict.fromkeys(("text", "candidates", "features", "ranker", "evaluate"), 0.1)
    shutil.rmtree(home.runs / OLD)
    made(home, OLD, more={"seconds": quick})
    made(home, NEW, settings=OTHER, more={"seconds": {name: 10 * value for name, value in quick.items()}})
    assert promote(path)["decision"] == "passed"


def test_what_an_old_run_does_not_say_is_not_asked_and_said(project) -> None:
    path, home = project
    shutil.rmtree(home.runs / OLD)
    made(home, OLD, more={"seconds": {}, "peak_memory_mb": None})
    made(home, NEW, settings=OTHER)
    statuses = {check["name"]: (check["status"], check["words"]) for check in promote(path)["checks"]}
    assert statuses["minutes"][0] == statuses["memory"][0] == "WARN"
    assert "not asked" in statuses["memory"][1]


# -- the same recipe, and what cannot be compared ------------------------------------------------------------------------------


def test_the_same_recipe_on_newer_data_passes_by_its_guards_alone(project) -> None:
    path, home = project
    made(home, NEW, shift=3, days=7)  # less, but on another week
    decision = promote(path)
    assert (decision["basis"], decision["paired"], decision["decision"]) == ("same recipe", None, "passed")
    assert "the same recipe on newer data" in decision["sentence"]
    assert [check["name"] for check in decision["checks"]][:3] == ["recipe", "against popularity", "against repurchase"]


def test_broken_data_do_not_pass_as_the_same_recipe(project) -> None:
    path, home = project
    made(home, NEW, shift=8, days=7)
    assert failed(promote(path, code=1)) == ["against popularity", "against repurchase"]


def test_the_same_recipe_on_older_data_has_nothing_that_speaks_for_it(project) -> None:
    path, home = project
    made(home, NEW, days=-7)
    assert failed(promote(path, code=1)) == ["recipe"]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"text": {"history": 10}}, "[text]"),
        ({"time": {"fold_days": 7}}, "[time]"),
        ({"project": {"seed": 8}}, "project.seed"),
        ({"time": {"test_days": 7}}, None),
        ({"rank": {"k": 3}, "publish": {"keep_nights": 3}, "evaluate": {"bootstrap": 20}}, None),
    ],
)
def test_a_recipe_is_all_that_is_learned_by_and_nothing_of_the_night(project, settings: dict[str, Any], name: str | None) -> None:
    _, home = project
    assert recipe.differing(home.load(OLD), made(home, NEW, settings=settings)) == ([name] if name else [])


def without(run: Run, *names: str) -> None:
    """As an earlier recsys would have left it."""
    said = json.loads((run.path / "manifest.json").read_text())
    for name in names:
        (run.path / name).unlink()
        del said["digests"][name], said["sizes"][name]
    (run.path / "manifest.json").write_text(json.dumps(said))


def test_a_challenger_of_an_earlier_recsys_is_refused_and_told_what_it_lacks(project) -> None:
    path, home = project
    without(made(home, NEW, settings=OTHER), "question/truth.parquet")
    decision = promote(path, code=1)
    assert (decision["basis"], failed(decision)) == ("not comparable", ["comparable"])
    assert "made by an earlier recsys and lacks question/truth.parquet" in decision["checks"][0]["words"]


def test_windows_that_differ_and_tables_that_are_gone_are_refused_in_words(project) -> None:
    path, home = project
    made(home, NEW, settings=OTHER, days=7)
    decision = promote(path, code=1)
    assert failed(decision) == ["comparable"]
    assert f"the tables of run {NEW} are gone" in decision["checks"][0]["words"]


@pytest.mark.parametrize("harm", ["gone", "of another recsys"])
def test_where_no_run_can_rank_there_is_nothing_to_compare_with(project, harm: str) -> None:
    path, home = project
    if harm == "gone":
        shutil.rmtree(home.runs / OLD)
    else:
        shutil.rmtree(home.runs / OLD)
        made(home, OLD, settings={"text": {"a_key_of_then": 1}})
    made(home, NEW, shift=5)
    decision = promote(path)
    assert (decision["basis"], decision["champion"], home.current()) == ("first", None, NEW)


def test_the_run_that_ranks_already_is_not_judged(project) -> None:
    path, home = project
    assert "ranks already" in promote(path, OLD)["sentence"]
    assert not home.gates.exists()


# -- by force, and what is kept -----------------------------------------------------------------------------------------------


def test_force_lets_it_rank_and_the_reason_is_kept_with_what_the_gate_found(project) -> None:
    path, home = project
    made(home, NEW, shift=4, settings=OTHER)
    promote(path, code=1)
    decision = promote(path, NEW, "--force", "the shop asked for it")
    assert home.current() == NEW
    kept = gates.decisions(home)[NEW]
    assert kept == decision | {"earlier": kept["earlier"]}
    assert (kept["decision"], kept["forced"], failed(kept)) == ("refused", "the shop asked for it", ["ndcg@10"])
    assert [(one["decision"], one["forced"]) for one in kept["earlier"]] == [("refused", None)]
    assert gates.states(home) == {OLD: "retired", NEW: "champion"}
    assert "by force" in kept["sentence"]


def test_force_without_a_reason_is_refused(project) -> None:
    path, home = project
    made(home, NEW, settings=OTHER)
    result = CliRunner().invoke(main, ["models", "promote", NEW, "--force", " ", "--config", str(path)])
    assert (result.exit_code, home.current()) == (2, OLD)
    assert "--force: the reason is empty" in result.stderr


def test_the_evidence_says_all_that_was_compared_and_names_no_user(project) -> None:
    path, home = project
    made(home, NEW, settings=OTHER)
    promote(path)
    content = (home.gates / f"{NEW}.json").read_text()
    said = json.loads(content)
    assert said["window"] == {"start": "2026-10-27", "end": "2026-11-24"}
    assert (said["champion_fit"], said["task"], said["metric"]) == ("its own evaluation run", "all", "ndcg@10")
    assert said["versions"]["recsys"] == recipe.recsys_version()
    assert said["limits"]["margin"] == 0.005
    assert said["made"] > "2026"
    assert not [user for user in USERS if user in content]


def test_a_forgotten_user_is_in_nothing_that_the_gate_kept_and_it_can_be_asked_again(project) -> None:
    path, home = project
    made(home, NEW, shift=4, settings=OTHER)
    promote(path, code=1)
    with draft(home.gates / f"{OLD}_on_{NEW}", {}) as folder:
        folder.table("lists", toy_run._lists(2))
    assert CliRunner().invoke(main, ["forget", USERS[3], "--config", str(path)]).exit_code == 0
    files = [file for file in home.folder.rglob("*.parquet") if "user_id" in pl.read_parquet_schema(file)]
    assert len(files) > 5
    assert not any(USERS[3] in pl.read_parquet(file)["user_id"] for file in files)
    assert promote(path, code=1)["paired"]["n"] == 10


def test_what_the_gate_kept_of_runs_that_are_gone_goes_with_them(project) -> None:
    path, home = project
    for run_id in (NEW, THIRD):
        made(home, run_id, shift=4, settings=OTHER)
        promote(path, run_id, code=1)
        with draft(home.gates / f"{OLD}_on_{run_id}", {}) as folder:
            folder.record("report", {})
    shutil.rmtree(home.runs / NEW)
    with face.job(path) as job, alone(home.folder, "a test"):
        retention.retain(job)
    assert sorted(one.name for one in home.gates.iterdir()) == [f"{OLD}_on_{THIRD}", f"{THIRD}.json"]


def test_a_damaged_decision_is_said_and_stops_nothing(project, caplog) -> None:
    path, home = project
    made(home, NEW, settings=OTHER)
    home.gates.mkdir()
    (home.gates / f"{NEW}.json").write_text("{")
    listed = CliRunner().invoke(main, ["models", "list", "--config", str(path)])
    assert listed.exit_code == 0
    assert f"{NEW}.json: is damaged" in caplog.text
    assert promote(path)["decision"] == "passed"


# -- who is who ------------------------------------------------------------------------------------------------------------------


def test_the_challenger_is_the_newest_run_after_the_champion_that_never_ranked_and_was_not_refused(project) -> None:
    path, home = project
    assert gates.challenger(home) is None
    made(home, NEW, settings=OTHER)
    made(home, THIRD, shift=4, settings=OTHER)
    assert gates.challenger(home) == THIRD
    promote(path, THIRD, code=1)
    assert gates.challenger(home) == NEW
    promote(path, NEW)
    assert gates.challenger(home) is None
    home.point_back()
    assert gates.states(home) == {OLD: "champion", NEW: "retired", THIRD: "refused"}


def test_the_list_shows_champion_challenger_and_refused(project) -> None:
    path, home = project
    made(home, NEW, shift=4, settings=OTHER)
    made(home, THIRD, settings=OTHER)
    promote(path, NEW, code=1)
    out = CliRunner().invoke(main, ["models", "list", "--config", str(path)]).stdout
    words = {row[0]: row[1] for row in (line.split() for line in out.splitlines()) if row and row[0] in (OLD, NEW, THIRD)}
    assert words == {OLD: "champion", NEW: "refused", THIRD: "challenger"}
    rows = json.loads(CliRunner().invoke(main, ["models", "list", "--config", str(path), "--format", "json"]).stdout)["runs"]
    assert [(row["run_id"], row["state"], row["gate"] is None) for row in rows] == [
        (THIRD, "challenger", True),
        (NEW, "refused", False),
        (OLD, "champion", True),
    ]


def test_the_table_ends_in_the_run_id_or_in_refused(project) -> None:
    path, home = project
    made(home, NEW, shift=4, settings=OTHER)

    def asked(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["models", "promote", NEW, "--config", str(path), *arguments])

    refused = asked()
    assert (refused.exit_code, refused.stdout.splitlines()[-1]) == (1, "REFUSED")
    assert "ndcg@10                 FAIL" in refused.stdout
    assert f"Run {NEW} is refused (ndcg@10); run {OLD} ranks on." in refused.stdout
    assert asked("--force", "because").stdout.splitlines()[-1] == NEW


# -- a crash, and another command ---------------------------------------------------------------------------------------------


DIE = """
import os, pathlib, signal, sys
from recsys import artefacts, atomic, face, gates, pointer
from recsys.pipeline import promoting
replacing, left = atomic.replacing, int(sys.argv[3])
def dying(path):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replacing(path)
atomic.replacing = pointer.replacing = gates.replacing = artefacts.replacing = dying
with face.job(pathlib.Path(sys.argv[1])) as job:
    promoting.promote(job, sys.argv[2])
"""


@pytest.mark.parametrize(("n_written", "champion"), [(0, OLD), (1, OLD), (2, NEW)])
def test_killed_at_any_step_one_run_ranks_and_asked_again_it_is_done(project, n_written: int, champion: str) -> None:
    path, home = project
    made(home, NEW, settings=OTHER)
    command = [sys.executable, "-c", DIE, str(path), NEW, str(n_written)]
    child = subprocess.run(command, cwd=Path(__file__).parents[1], check=False, capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    states = gates.states(home)
    assert [name for name, state in states.items() if state == "champion"] == [home.load().run_id] == [champion]
    assert states[NEW] in ("challenger", "champion")
    promote(path)
    assert (home.current(), home.before()) == (NEW, OLD)


def test_while_another_command_is_at_work_the_gate_is_not_asked(project) -> None:
    path, home = project
    made(home, NEW, settings=OTHER)
    with alone(home.folder, "recsys train"):
        result = CliRunner().invoke(main, ["models", "promote", NEW, "--config", str(path)])
    assert (result.exit_code, home.current()) == (2, OLD)
    assert "recsys train" in result.stderr


def test_a_rollback_while_the_gate_judges_is_not_undone(project, monkeypatch) -> None:
    path, home = project
    made(home, NEW, settings=OTHER)
    made(home, THIRD, settings=OTHER)
    home.point(NEW, "promote")
    decide = gate.decide

    def meanwhile(*given: Any) -> dict[str, Any]:
        home.point_back()
        return decide(*given)

    monkeypatch.setattr(gate, "decide", meanwhile)
    with face.job(path) as job, pytest.raises(BusyError, match=f"run {OLD} came to rank"):
        promoting.promote(job, THIRD)
    assert home.current() == OLD


def test_two_promotions_at_once_leave_one_champion(project) -> None:
    path, home = project
    made(home, NEW, settings=OTHER)
    made(home, THIRD, settings=OTHER)
    ended: list[str] = []

    def ask(run_id: str) -> None:
        with face.job(path) as job:
            try:
                promoting.promote(job, run_id)
                ended.append(run_id)
            except BusyError:
                ended.append("busy")

    threads = [threading.Thread(target=ask, args=(run_id,)) for run_id in (NEW, THIRD)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert list(gates.states(home).values()).count("champion") == 1
    assert home.current() in ended


# -- where the models are -------------------------------------------------------------------------------------------------------


@pytest.fixture
def registered(empty_store: Path, project) -> tuple[Path, Home, Any]:
    """The project with OLD and a challenger NEW in the registry of its own store."""
    path, home = project
    made(home, NEW, settings=OTHER)
    shutil.copy(empty_store, home.folder / "mlflow.db")
    for run_id in (OLD, NEW):
        with track(Tracking(), home.folder, "toy", run_id) as tracker:
            tracker.model(SERVED)
    with quiet():
        return path, home, store.opened(f"sqlite:///{home.folder / 'mlflow.db'}")


def aliases(client: Any) -> dict[str, str]:
    found = client.get_registered_model("toy").aliases
    return {name: client.get_model_version("toy", version).tags["recsys.run_id"] for name, version in found.items()}


def test_the_aliases_and_the_decision_stand_beside_the_models(registered) -> None:
    path, _, client = registered
    CliRunner().invoke(main, ["models", "list", "--config", str(path)])
    assert aliases(client) == {"champion": OLD, "challenger": NEW}
    decision = promote(path)
    assert aliases(client) == {"champion": NEW}
    version = client.get_model_version_by_alias("toy", "champion")
    assert (version.tags["recsys.gate"], version.tags["recsys.gate.forced"]) == ("passed", "")
    assert version.tags["recsys.gate.made"] == decision["made"]
    with quiet():
        import mlflow

        where = mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path="gate.json", tracking_uri=client.tracking_uri)
    kept = json.loads(Path(where).read_text())
    assert kept["sentence"] == decision["sentence"]


def test_a_forced_run_is_called_so(registered) -> None:
    path, home, client = registered
    made(home, THIRD, shift=4, settings=OTHER)
    with track(Tracking(), home.folder, "toy", THIRD) as tracker:
        tracker.model(SERVED)
    promote(path, THIRD, "--force", "because")
    tags = client.get_model_version_by_alias("toy", "champion").tags
    assert (tags["recsys.gate"], tags["recsys.gate.forced"]) == ("forced", "because")


class Dying:
    """A store that answers so many calls that write, and then no more."""

    def __init__(self, client: Any, n: int) -> None:
        self._client, self._left = client, n

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("set_", "log_", "delete_")):
            if self._left == 0:
                raise OSError(111, "Connection refused")
            self._left -= 1
        return getattr(self._client, name)


def test_a_server_that_dies_between_two_calls_stops_no_promotion_and_is_put_right_later(registered, monkeypatch, caplog) -> None:
    path, home, client = registered
    promote(path)
    decision = gates.decisions(home)[NEW]
    opened = store.opened
    for n in range(6):
        for name in ("champion", "challenger"):
            client.delete_registered_model_alias("toy", name)
        version = client.search_model_versions("name = 'toy'")
        for one in version:
            for tag in [tag for tag in one.tags if tag.startswith("recsys.gate")]:
                client.delete_model_version_tag("toy", one.version, tag)
        monkeypatch.setattr(store, "opened", lambda uri, n=n: Dying(opened(uri), n))
        standing = Standing(NEW, OLD, {NEW: decision})
        assert settle(Tracking(), home.folder, "toy", standing, True) is None, n
        monkeypatch.undo()
        assert home.current() == NEW
        assert settle(Tracking(), home.folder, "toy", standing, True) is not None
        assert aliases(client) == {"champion": NEW, "challenger": OLD}
        assert client.get_model_version_by_alias("toy", "champion").tags["recsys.gate.made"] == decision["made"]
    assert settle(Tracking(), home.folder, "toy", Standing(NEW, OLD, {NEW: decision}), True).done == []  # type: ignore[union-attr]
