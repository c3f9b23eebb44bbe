"""`recsys models`: what there is, what ranks, and a way back, also where runs are gone, harmed or of another version."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from toy_model import SERVED
from toy_run import RUN_ID, empty_project, with_night, with_run

from recsys.artefacts import Home
from recsys.cli import main
from recsys.config import Tracking
from recsys.tracking import track

EARLIER, LATER = "20261123-031500-000000", "20261125-031500-ffffff"


@pytest.fixture
def project(tmp_path: Path) -> tuple[Path, Home]:
    """Three runs that were trained in this order: the second has the clock's latest name, the third, which is current, the earliest."""
    path, home = empty_project(tmp_path)
    for run_id in (RUN_ID, LATER, EARLIER):
        with_run(home, run_id=run_id)
    return path, home


def models(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", *arguments, "--config", str(path)])


def listed(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(models(path, "list", "--format", "json").stdout)
    return found


def test_the_list_says_of_each_run_when_what_it_reached_and_which_one_ranks(project) -> None:
    path, home = project
    outcome = models(path, "list")
    assert outcome.exit_code == 0
    rows = [line.split() for line in outcome.stdout.splitlines() if line.lstrip().startswith("2026")]
    assert [row[0] for row in rows] == [LATER, RUN_ID, EARLIER]
    assert [row[0] for row in rows if row[1] == "champion"] == [EARLIER]
    found = home.load(EARLIER).record("report")["tasks"]["all"]["systems"]["ranker"]["ndcg@10"]
    assert f"{found['value']:.4f} [{found['low']:.4f}, {found['high']:.4f}]" in outcome.stdout
    assert f"Run {EARLIER} ranks. `recsys models rollback` goes back to {LATER}." in outcome.stdout
    assert "2026-11-23 03:15" in outcome.stdout


def test_the_json_has_the_same_with_the_second_task_undefined(project) -> None:
    path, home = project
    found = listed(path)
    assert (found["current"], found["before"], found["fault"]) == (EARLIER, LATER, None)
    row = found["runs"][-1]
    judged = home.load(EARLIER).record("report")["tasks"]["all"]["systems"]["ranker"]["ndcg@10"]
    assert row["tasks"]["all"] == {"ndcg@10": judged["value"], "low": judged["low"], "high": judged["high"]}
    assert row["tasks"]["new"]["ndcg@10"] is None
    assert row["megabytes"] == round(
        sum(file.stat().st_size for file in (home.runs / EARLIER).iterdir() if file.name != "manifest.json") / 1e6, 1
    )
    assert (row["made"], row["is_current"], row["version"], row["is_champion"]) == ("2026-11-23T03:15:00+00:00", True, None, False)


def test_a_project_without_a_run_says_how_to_make_one(tmp_path: Path) -> None:
    outcome = models(empty_project(tmp_path)[0], "list")
    assert (outcome.exit_code, outcome.stdout) == (0, "No run yet. Make one with `recsys train`.\n")
    assert not (tmp_path / "things").exists()


def test_a_promoted_run_ranks_and_a_rollback_takes_it_back(project) -> None:
    path, home = project
    assert models(path, "promote", RUN_ID).stdout.splitlines()[-1] == RUN_ID
    assert home.load().run_id == RUN_ID
    assert models(path, "rollback").stdout.splitlines()[-1] == EARLIER
    assert home.load().run_id == EARLIER


def test_a_rollback_follows_the_pointer_and_not_the_names_when_the_clock_went_back(project) -> None:
    path, _ = project
    assert [models(path, "rollback").stdout.strip() for _ in range(2)] == [LATER, RUN_ID]


def refused(path: Path, home: Home, *arguments: str) -> str:
    """The message of a command that changes nothing."""
    before = home.current()
    outcome = models(path, *arguments)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.output
    assert home.current() == before
    return outcome.stderr


def test_a_rollback_without_an_earlier_run_is_refused(tmp_path: Path) -> None:
    path, home = empty_project(tmp_path)
    assert "no run was current before None. Take one with `recsys models promote`" in refused(path, home, "rollback")
    with_run(home)
    assert f"no run was current before {RUN_ID}" in refused(path, home, "rollback")


def unfinished(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def cut(folder: Path) -> None:
    (folder / "report.json").write_text("{")


def changed(folder: Path) -> None:
    content = (folder / "report.json").read_bytes()
    (folder / "report.json").write_bytes(content.replace(b"ranker", b"RANKER"))


def older(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"version": 0}))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (shutil.rmtree, f"there is no '{RUN_ID}' here. `recsys models list` shows which there are"),
        (unfinished, "is incomplete: it has no manifest.json"),
        (cut, "1 files are missing or cut short: report.json"),
        (changed, "1 files were changed after it was written: report.json"),
        (older, "was written in format 0; this recsys reads format 1"),
    ],
)
def test_a_run_that_is_not_whole_or_of_another_version_is_not_promoted(project, harm, words: str) -> None:
    path, home = project
    harm(home.runs / RUN_ID)
    assert words in refused(path, home, "promote", RUN_ID)


def test_a_rollback_to_a_run_that_is_gone_is_refused_and_names_the_way_out(project) -> None:
    path, home = project
    shutil.rmtree(home.runs / LATER)
    said = refused(path, home, "rollback")
    assert f"the run that was current before {EARLIER} cannot be used" in said
    assert "recsys models promote" in said
    assert models(path, "promote", RUN_ID).exit_code == 0


def test_a_champion_whose_files_are_gone_is_said_by_list_and_rank_and_can_be_left(project) -> None:
    path, home = project
    shutil.rmtree(home.runs / EARLIER)
    outcome = models(path, "list")
    assert outcome.exit_code == 0
    assert (
        f"the current run cannot be used. {home.runs}: there is no '{EARLIER}' here. Go back with `recsys models rollback`"
        in outcome.stdout
    )
    assert listed(path)["fault"] is not None
    ranked = CliRunner().invoke(main, ["rank", "--config", str(path)])
    assert ranked.exit_code == 2
    assert (
        f"there is no '{EARLIER}' here. Go back with `recsys models rollback`, or take another with `recsys models promote`"
        in ranked.stderr
    )
    assert models(path, "rollback").stdout.strip() == LATER
    assert home.load().run_id == LATER


def test_a_run_that_is_not_complete_is_named_beside_the_list(project, caplog) -> None:
    path, home = project
    unfinished(home.runs / LATER)
    assert [row["run_id"] for row in listed(path)["runs"]] == [RUN_ID, EARLIER]
    assert f"left out: {home.runs / LATER}: is incomplete" in caplog.text


def test_a_name_that_is_no_run_is_refused(project) -> None:
    path, home = project
    for name in ("../runs/" + RUN_ID, "current", ".", ""):
        assert "there is no" in refused(path, home, "promote", name)


def test_promote_and_rollback_move_the_champion_of_the_registry(empty_store: Path, project) -> None:
    path, home = project
    shutil.copy(empty_store, home.folder / "mlflow.db")
    for run_id in (RUN_ID, EARLIER):
        with track(Tracking(), home.folder, "toy", run_id) as tracker:
            tracker.model(SERVED)
    assert "registry: champion is version 2 now" in models(path, "list").stderr
    assert "registry: champion is version 1 now" in models(path, "promote", RUN_ID).stderr
    assert [row["version"] for row in listed(path)["runs"] if row["is_champion"]] == [1]
    assert "registry: champion is version 2 now" in models(path, "rollback").stderr
    # The run that was current before is in no registry: it ranks, and no other one is called the champion.
    outcome = models(path, "rollback")
    assert f"registry: champion names no version now, for the current run, {LATER}, is not among them" in outcome.stderr
    assert f"{LATER}  champion" in models(path, "list").stdout


def test_what_is_published_and_shown_needs_no_mlflow(project) -> None:
    """Neither the help nor what the dashboard imports brings mlflow in."""
    import subprocess
    import sys

    path, home = project
    with_night(home)
    code = (
        "import sys; from recsys.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: assert 'mlflow' not in sys.modules and 'torch' not in sys.modules"
    )
    for arguments in (
        ["models", "--help"],
        ["models", "list", "--help"],
        ["show", "user_01", "--config", str(path)],
        ["report", "--config", str(path)],
    ):
        subprocess.run([sys.executable, "-c", code, *arguments], cwd=Path(__file__).parents[1], check=True, capture_output=True)
