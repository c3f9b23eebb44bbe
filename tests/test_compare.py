"""`recsys compare`: may the two be compared comes first; then what a person can check by hand; and every way in which it cannot be done."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from toy_run import EVIL, ITEM_IDS, RUN_ID, USERS, empty_project, shuffled, with_run
from toy_run import report as toy_report

from recsys import evaluate, report
from recsys.artefacts import Home, Run
from recsys.atomic import MANIFEST, rewrite
from recsys.cli import main
from recsys.errors import ArtefactError, ConfigError
from recsys.pipeline import forgetting

A, B = "20261125-031500-aaaaaa", RUN_ID
SETTINGS = {"evaluate": {"relevant_from": 1, "bootstrap": 50}, "events": {"types": {"purchase": {"label": 1}}}}


@pytest.fixture
def project(tmp_path: Path) -> tuple[Path, Home]:
    """Run B, then run A, which is current; both have lists of chance, each its own."""
    path, home = empty_project(tmp_path)
    with_run(home, run_id=B, ranker=shuffled(1), config=SETTINGS | {"ranker": {"trees": 500}, "rank": {"k": 10}})
    with_run(home, run_id=A, ranker=shuffled(2), config=SETTINGS | {"ranker": {"trees": 900}, "rank": {"k": 20}})
    return path, home


def compare(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["compare", *arguments, "--config", str(path)])


def found(path: Path, *arguments: str) -> dict[str, Any]:
    outcome = compare(path, *arguments, "--format", "json")
    assert outcome.exit_code == 0, outcome.output
    read: dict[str, Any] = json.loads(outcome.stdout)
    return read


def lists_of(seed: int, user: str) -> list[str]:
    return shuffled(seed).filter(pl.col("user_id") == user).sort("rank")["item_id"].to_list()


def with_windows(start: str) -> dict[str, object]:
    (test,) = toy_report()["windows"]
    return {"windows": [test | {"start": f"{start}T00:00:00+00:00"}]}


def altered(run: Run, **tables: pl.DataFrame) -> None:
    rewrite(run.path, {f"{name}.parquet": frame for name, frame in tables.items()}, {})


def without(run: Run, *names: str) -> None:
    """As an earlier recsys would have written it: without these files."""
    path = run.path / MANIFEST
    said = json.loads(path.read_text())
    for name in [name for name in said["digests"] if name.startswith(names)]:
        (run.path / name).unlink()
        del said["digests"][name], said["sizes"][name]
    path.write_text(json.dumps(said))


def test_what_is_printed_begins_with_whether_the_two_may_be_compared(project) -> None:
    outcome = compare(project[0], "current", "before")
    lines = outcome.stdout.splitlines()
    assert lines[:2] == [f"A  run {A}, as of 2026-11-24, task all, the current one", f"B  run {B}, as of 2026-11-24, task all"]
    assert lines[4].startswith("Comparable: the same test window")
    assert max(map(len, lines)) <= 115
    assert "Task new: nobody is judged" in outcome.stdout


def test_without_b_it_is_against_the_current_run_and_the_words_stand_for_runs(project) -> None:
    one = found(project[0], B)
    assert (one["a"]["run_id"], one["b"]["run_id"]) == (B, A)
    assert found(project[0], "before", "current") == one
    other = found(project[0], "current", "before")["tasks"]["all"]["metrics"]
    assert [row["difference"] for row in other] == [pytest.approx(-row["difference"]) for row in one["tasks"]["all"]["metrics"]]


def test_the_figures_are_paired_by_user_from_what_each_run_keeps(project) -> None:
    path, home = project
    of = found(path, A, B)["tasks"]["all"]
    sides = [home.load(run_id).table("per_user").filter(pl.col("task") == "all", pl.col("system") == "ranker") for run_id in (A, B)]
    assert of["n_users"] == 11
    assert (of["only_a"], of["only_b"]) == (0, 0)
    assert [row["metric"] for row in of["metrics"]] == ["ndcg@10", "recall@10", "map@10", "mrr@10"]
    for row in of["metrics"]:
        differences = (sides[0][row["metric"]] - sides[1][row["metric"]]).to_numpy()
        assert row["difference"] == pytest.approx(differences.mean())
        assert (row["better"], row["tied"], row["worse"]) == ((differences > 0).sum(), (differences == 0).sum(), (differences < 0).sum())
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["p"] == pytest.approx(evaluate.permutation_p(differences, 20_000, 1), abs=0.05)
    assert [row["p_holm"] for row in of["metrics"]] == evaluate.holm([row["p"] for row in of["metrics"]])
    main_differences = (sides[0]["ndcg@10"] - sides[1]["ndcg@10"]).to_numpy()
    assert of["reach"]["needed"] == {str(e): evaluate.users_needed(main_differences, e) for e in (0.001, 0.005, 0.01)}
    assert of["reach"]["seen"] == pytest.approx(evaluate.effect_seen(main_differences))
    assert of["answer"] == "Task all: not decided."
    assert of["detail"].startswith(f"{of['metrics'][0]['difference']:+.4f} [")


def test_a_list_that_is_better_for_everybody_is_called_so(tmp_path: Path) -> None:
    path, home = empty_project(tmp_path)
    with_run(home, run_id=B, ranker=shuffled(1))
    with_run(home, run_id=A)
    of = found(path, A, B)["tasks"]["all"]
    assert of["answer"] == "Task all: A is better than B."
    assert of["metrics"][0]["a"] == 1.0
    assert (of["slices"][0]["word"], of["slices"][0]["low"]) == ("too few", None)  # of eleven users
    assert found(path, B, A)["tasks"]["all"]["answer"] == "Task all: A is worse than B."


def test_a_difference_that_luck_may_give_is_said_to_be_one(tmp_path: Path) -> None:
    """Four users all better: no choice of signs is rarer than 1 in 16, whatever the interval says."""
    path, home = empty_project(tmp_path)
    with_run(home, run_id=B, ranker=shuffled(1))
    run = with_run(home, run_id=A)
    few = pl.col("user_id").is_in(USERS[:4])
    for one in (run, home.load(B)):
        altered(one, per_user=one.table("per_user").filter(few))
    assert "by the interval alone, which luck may give" in found(path, A, B)["tasks"]["all"]["answer"]


def test_slices_are_those_of_the_question_that_the_runs_keep(project) -> None:
    path, home = project
    rows = {(row["slice"], row["value"]): row for row in found(path, A, B)["tasks"]["all"]["slices"]}
    assert set(rows) == {("item_age", "older"), ("item_popularity", "head"), ("item_category", "Light"), ("user_activity", "1 to 9 items")}
    whole = found(path, A, B)["tasks"]["all"]["metrics"][0]
    assert rows["item_age", "older"]["difference"] == pytest.approx(whole["difference"])  # all that is wanted is older
    # Of runs of which one alone keeps its question, that one serves.
    without(home.load(B), "question/")
    assert found(path, A, B)["tasks"]["all"]["slices"] == list(rows.values())


def test_users_whose_lists_changed_are_told_with_what_entered_left_moved_and_was_gone_for(project) -> None:
    rows = found(project[0], A, B)["tasks"]["all"]["changed"]
    assert len(rows) == 10
    assert [row["overlap"] for row in rows] == sorted(row["overlap"] for row in rows)
    for row in rows:
        a, b = (lists_of(seed, row["user_id"]) for seed in (2, 1))
        assert {item["item_id"] for item in row["entered"]} == set(a) - set(b)
        assert [item["item_id"] for item in row["left"]] == [item for item in b if item not in a]
        both = {item: (a.index(item) + 1, b.index(item) + 1) for item in a if item in b}
        assert {item["item_id"]: (item["rank_a"], item["rank_b"]) for item in row["moved"]} == {
            i: p for i, p in both.items() if p[0] != p[1]
        }
        assert {item["item_id"]: item["rank"] for item in row["stayed"]} == {i: p[0] for i, p in both.items() if p[0] == p[1]}
        assert {item["item_id"] for item in row["went_for"]} == set(ITEM_IDS[:2])
    assert EVIL in {item["title"] for row in rows for item in row["went_for"]}
    assert USERS[-1] not in {row["user_id"] for row in rows}  # nothing to find: nobody judges their list


def test_config_features_windows_and_costs_stand_side_by_side(project) -> None:
    path, home = project
    file = home.load(B).file("features.json")
    file.write_text('{"importance": {"a_first": 3.0, "gone": 1.0}}'.ljust(file.stat().st_size))  # as long as it was
    one = found(path, A, B)
    assert one["config"] == [
        {"key": "ranker.trees", "a": 900, "b": 500, "part": "model"},
        {"key": "rank.k", "a": 20, "b": 10, "part": "night"},
    ]
    features = {row["feature"]: (row["a"], row["b"], row["difference"]) for row in one["features"]}
    assert features == {"text_z": (0.75, None, 0.75), "a_first": (0.25, 0.75, -0.5), "gone": (None, 0.25, -0.25)}
    assert [row["window"] for row in one["windows"]] == ["test"]
    tables = {row["what"]: (row["a"], row["b"]) for row in one["tables"]}
    assert tables["events kept"] == (84, 84)
    assert tables["users with an event"] == (12, 12)
    assert tables["events: purchase"] == (84, 84)
    costs = {row["what"]: row["difference"] for row in one["costs"]}
    assert costs["minutes"] == 0
    assert "peak memory, MB" in costs
    text = compare(path, A, B).stdout
    assert "ranker.trees" in text
    assert "text_z" in text


@pytest.mark.parametrize(
    ("more", "config", "words"),
    [
        (
            with_windows("2026-10-20"),
            {},
            "The test windows differ: A was judged on 2026-10-20 to 2026-11-24, B on 2026-10-27 to 2026-11-24",
        ),
        ({"windows": []}, {}, "Not both have a test window"),
        (
            {},
            {"evaluate": {"relevant_from": 2, "bootstrap": 50}},
            "What counts as relevant differs: evaluate.relevant_from is 2 in A and 1 in B",
        ),
        ({}, {"events": {"types": {"purchase": {"label": 3}}}}, "events.types.purchase.label is 3 in A and 1 in B"),
        ({"tasks": {"other": {"systems": {"ranker": {"ndcg@10": None}}}}}, {}, "No task is judged in both"),
    ],
)
def test_runs_that_were_asked_something_else_are_not_compared_and_all_else_still_is(
    tmp_path: Path, more: dict[str, object], config: dict[str, object], words: str
) -> None:
    path, home = empty_project(tmp_path)
    with_run(home, run_id=B, config=SETTINGS)
    with_run(home, more, run_id=A, config=SETTINGS | config)
    one = found(path, A, B)
    assert (one["is_comparable"], one["tasks"]) == (False, {})
    assert words in " ".join(one["obstacles"])
    assert "train both on the same tables" in one["advice"]
    assert one["features"]
    outcome = compare(path, A, B)
    said = " ".join(outcome.stdout.split())
    assert outcome.exit_code == 0
    assert said.index("NOT COMPARABLE") < said.index(words)
    assert "These two do not say which run is better" in said
    assert "A - B [95 %" not in said


def test_runs_on_other_tables_are_not_compared(project) -> None:
    path, home = project
    for run, digest in ((home.load(A), "1"), (home.load(B), "2")):
        said = json.loads((run.path / MANIFEST).read_text())
        (run.path / MANIFEST).write_text(json.dumps(said | {"dataset_digests": {"events.parquet": digest * 64, "items.parquet": "0" * 64}}))
    one = found(path, A, B)
    assert one["obstacles"] == [
        "The events differ: A stands on tables toytables, B on tables toytables, and what is in them is not the same."
    ]
    assert {"what": "digest of events", "a": "1" * 12, "b": "2" * 12, "is_same": False} in one["tables"]


def test_tables_that_are_known_by_their_name_alone_are_held_to_it(project) -> None:
    path, home = project
    said = json.loads((home.load(A).path / MANIFEST).read_text())
    (home.load(A).path / MANIFEST).write_text(json.dumps(said | {"tables": "others"}))
    one = found(path, A, B)
    assert "The events and items differ: A stands on tables others, B on tables toytables" in one["obstacles"][0]
    assert "users with an event" in {row["what"] for row in one["tables"]}  # those of B are still here


def test_tables_read_in_another_way_are_found_by_what_the_users_went_for(project) -> None:
    path, home = project
    run = home.load(A)
    altered(run, **{"question/truth": run.table("question/truth").head(-2)})
    assert "differs in 2 pairs of user and item" in found(path, A, B)["obstacles"][0]


def test_runs_of_two_primary_tasks_are_compared_in_both_and_it_is_said(tmp_path: Path) -> None:
    path, home = empty_project(tmp_path)
    with_run(home, run_id=B)
    with_run(home, {"task": "new"}, run_id=A)
    one = found(path, A, B)
    assert list(one["tasks"]) == ["new", "all"]
    assert "A was made for task new, B for task all" in one["remarks"][0]
    assert "A was made for task new" in compare(path, A, B).stdout


def test_an_unknown_run_names_the_nearest_and_a_run_is_not_compared_with_itself(project) -> None:
    path, home = project
    outcome = compare(path, "20261125-031500-aaaaab")
    assert outcome.exit_code == 2
    assert f"there is no run '20261125-031500-aaaaab' here; did you mean '{A}'?" in outcome.stderr
    for arguments in ((A, A), (A,), ("current", A)):
        outcome = compare(path, *arguments)
        assert outcome.exit_code == 2
        assert f"both are run {A}" in outcome.stderr
    with pytest.raises(ArtefactError, match=r"there is no .*runs' here"):
        report.versus(home, "../runs")
    with pytest.raises(ConfigError):
        report.versus(home, "current", "current")


def test_without_an_earlier_run_or_any_the_message_says_what_to_do(tmp_path: Path) -> None:
    path, home = empty_project(tmp_path)
    outcome = compare(path, "x")
    assert (outcome.exit_code, "`recsys train` makes one" in outcome.stderr) == (2, True)
    with_run(home)
    outcome = compare(path, "before")
    assert (outcome.exit_code, "no run was current before" in outcome.stderr) == (2, True)


def test_old_runs_without_the_kept_tables_say_what_they_lack(project) -> None:
    path, home = project
    for run_id in (A, B):
        without(home.load(run_id), "question/")
    of = found(path, A, B)["tasks"]["all"]
    assert of["slices"] is None
    assert {row["went_for"] for row in of["changed"]} == {None}
    assert "No slice can be paired" in compare(path, A, B).stdout
    without(home.load(B), "lists")
    assert found(path, A, B)["tasks"]["all"]["changed"] is None
    assert "Not both runs keep their lists" in compare(path, A, B).stdout
    without(home.load(B), "per_user")
    one = found(path, A, B)
    assert one["obstacles"] == [f"B, run {B}, keeps no figure by user: without them nothing can be paired. Train its config again."]


def test_a_run_whose_tables_are_gone_names_items_by_their_ids(project) -> None:
    path, home = project
    shutil.rmtree(home.snapshots)
    one = found(path, A, B)
    assert {item["title"] for row in one["tasks"]["all"]["changed"] for item in row["went_for"]} == set(ITEM_IDS[:2])
    assert "users with an event" not in {row["what"] for row in one["tables"]}


@pytest.mark.parametrize("name", ["per_user.parquet", "lists.parquet", "question/users.parquet", "report.json", "features.json"])
def test_a_broken_file_is_named_and_no_traceback(project, name: str) -> None:
    path, home = project
    file = home.load(A).file(name)
    file.write_bytes(b"\x00" * file.stat().st_size)
    outcome = compare(path, A, B)
    assert outcome.exit_code == 2
    assert isinstance(outcome.exception, SystemExit)
    assert A in outcome.stderr
    assert "cannot be read" in outcome.stderr


def test_one_user_decides_nothing_and_all_tied_is_said(tmp_path: Path) -> None:
    path, home = empty_project(tmp_path)
    for run_id in (B, A):
        with_run(home, run_id=run_id)
    of = found(path, A, B)["tasks"]["all"]
    assert (of["answer"], of["detail"]) == ("Task all: A and B are the same to each of 11 users.", "ndcg@10 of both: 1.0000.")
    assert {row["word"] for row in of["metrics"]} == {"tied"}
    assert "no judged user has another list" in compare(path, A, B).stdout
    for run_id in (A, B):
        run = home.load(run_id)
        altered(run, per_user=run.table("per_user").filter(pl.col("user_id") == USERS[0]))
    of = found(path, A, B)["tasks"]["all"]
    assert (of["n_users"], of["reach"]["seen"], of["metrics"][0]["low"]) == (1, None, None)
    assert of["answer"] == "Task all: not decided: one user shows nothing."
    assert compare(path, A, B).exit_code == 0


def test_users_of_one_side_alone_are_left_out_and_counted_and_none_in_common_is_said(project) -> None:
    path, home = project
    run, other = home.load(A), home.load(B)
    few = pl.col("user_id").is_in(USERS[:3])
    altered(run, per_user=run.table("per_user").filter(few))
    of = found(path, A, B)["tasks"]["all"]
    assert (of["n_users"], of["only_a"], of["only_b"]) == (3, 0, 8)
    assert "8 users of B are not in the other and were left out." in compare(path, A, B).stdout
    altered(other, per_user=other.table("per_user").filter(~few))
    of = found(path, A, B)["tasks"]["all"]
    assert (of["n_users"], of["metrics"]) == (0, [])
    assert "no user was judged in both: none of the 3 of A is among the 8 of B" in of["answer"]
    assert "none of the 3 of A" in compare(path, A, B).stdout


def test_a_forgotten_user_leaves_what_is_compared_and_the_rest_still_is(project) -> None:
    path, home = project
    before = found(path, A, B)["tasks"]["all"]
    with forgetting_job(path) as job:
        done = forgetting.forget(job, USERS[2])
    for run_id in (A, B):
        for name in ("question/truth", "question/users", "per_user", "lists"):
            assert USERS[2] not in home.load(run_id).table(name)["user_id"].to_list(), name
        home.load(run_id).verify()
    assert any(place.startswith("runs/") for place in done.rows)
    of = found(path, A, B)["tasks"]["all"]
    assert of["n_users"] == before["n_users"] - 1
    assert {row["n"] for row in of["slices"]} == {10}
    assert USERS[2] not in json.dumps(of)


def forgetting_job(path: Path) -> Any:
    from recsys import face

    return face.job(path)


def test_the_example_on_paper_is_what_is_computed() -> None:
    said = (Path(__file__).parents[1] / "docs" / "compare.md").read_text()
    rows = re.findall(r"^\| u\d \| (\S+) \| (\S+) \| (\S+) \|$", said, flags=re.MULTILINE)
    a, b, written = np.array(rows, dtype=float).T
    assert a - b == pytest.approx(written)
    (one,) = evaluate.match_metrics({"m": a}, {"m": b}, 2000, 7)
    interval = f"{one.pair.difference:+.3f} [{one.pair.low:+.3f}, {one.pair.high:+.3f}]".replace("0.", ".")
    assert f"**{interval}**" in said
    assert one.p == pytest.approx(6 / 32, abs=0.03)
    assert "p = 6 / 32 = .19" in said
    assert f"= {evaluate.users_needed(a - b, 0.01)} users" in said


def test_a_comparison_loads_no_model_library(project) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from recsys.cli import main\n"
        f"main(['compare', 'current', 'before', '--config', {str(project[0])!r}], standalone_mode=False)\n"
        "print([name for name in ('torch', 'transformers', 'lightgbm', 'mlflow', 'implicit', 'pandas') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
