"""The page that compares two runs: what it says first, every tab, every state in which there is nothing to compare."""

import sys
from pathlib import Path

import pytest
from pages import calm, chips, downloads, facts, frames, open_page, plain, seen, titles
from toy_run import EVIL, RUN_ID, USERS, empty_project, shuffled, with_run
from toy_run import report as toy_report

from recsys.artefacts import Home

A, B, OLDEST = "20261125-031500-aaaaaa", RUN_ID, "20261101-031500-cccccc"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    path, home = empty_project(tmp_path)
    monkeypatch.setattr(sys, "argv", ["app.py", str(path)])
    return home


@pytest.fixture
def two(home: Home) -> Home:
    """B, then A, which is current."""
    with_run(home, run_id=B, ranker=shuffled(1), config={"ranker": {"trees": 500}, "rank": {"k": 10}})
    with_run(home, run_id=A, ranker=shuffled(2), config={"ranker": {"trees": 900}, "rank": {"k": 20}})
    return home


def test_the_current_run_stands_beside_the_one_before_it_and_the_answer_comes_first(two: Home) -> None:
    app = open_page("compare")
    assert [box.value for box in app.selectbox] == [A, B]
    assert plain(app.subheader[0].value).startswith("Task all: not decided")
    assert "Comparable: the same test window" in seen(app)
    assert list(facts(app)) == ["ndcg@10 of A", "ndcg@10 of B", "A minus B", "p after Holm", "Users"]
    assert frames(app)[0]["metric"].tolist() == ["ndcg@10", "recall@10", "map@10", "mrr@10"]
    assert facts(app)["A minus B"] == f"{frames(app)[0]['difference'][0]:+.4f}"
    assert len(downloads(app)) == 1


def test_two_runs_have_an_address_and_the_other_way_round_is_the_other_sign(two: Home) -> None:
    one, other = open_page("compare", a=A, b=B), open_page("compare", a=B, b=A)
    assert [box.value for box in other.selectbox] == [B, A]
    assert frames(one)[0]["difference"].tolist() == pytest.approx((-frames(other)[0]["difference"]).tolist())


@pytest.mark.parametrize("part", ["Metrics", "Slices", "Users", "Config", "Data", "Features", "Cost"])
def test_every_part_has_an_address_and_a_table_to_download(two: Home, part: str) -> None:
    app = open_page("compare", part=part)
    assert downloads(app)
    assert not app.error


def test_a_user_whose_list_changed_is_shown_with_both_lists_side_by_side(two: Home) -> None:
    app = open_page("compare", part="Users", changed=USERS[3])
    assert app.selectbox[2].value == USERS[3]
    assert len(titles(app)) == 16  # two lists of eight
    assert EVIL in titles(app)
    assert "went for it" in chips(app)
    assert {"entered", "left"} <= set(chips(app))
    assert len(frames(app)[0]) == 10


def test_settings_stand_side_by_side_those_of_the_nights_apart(two: Home) -> None:
    model, night, chosen = frames(open_page("compare", part="Config"))
    assert model[["key", "a", "b"]].values.tolist() == [["ranker.trees", "900", "500"]]
    assert night["key"].tolist() == ["rank.k"]
    assert chosen["same"].all()


def test_a_task_with_nothing_to_find_says_so(two: Home) -> None:
    app = open_page("compare", task="new")
    assert "nobody is judged" in seen(app)
    assert [tab.label for tab in app.tabs] == ["Config", "Data", "Features", "Cost"]


def test_runs_on_two_windows_are_not_compared_and_the_rest_is_shown(home: Home) -> None:
    (test,) = toy_report()["windows"]
    with_run(home, run_id=B)
    with_run(home, {"windows": [test | {"start": "2026-10-20T00:00:00+00:00"}]}, run_id=A)
    app = open_page("compare")
    assert "Not comparable" in app.warning[0].value
    assert "The test windows differ" in seen(app)
    assert "do not say which run is better" in seen(app)
    assert [tab.label for tab in app.tabs] == ["Config", "Data", "Features", "Cost"]
    assert facts(app)["A alone, ndcg@10, task all"] == "1.0000"


def test_one_run_and_the_same_run_twice_say_what_to_do(home: Home) -> None:
    with_run(home, run_id=B)
    app = open_page("compare")
    assert "`recsys train`" in app.info[0].value
    assert "a comparison needs two" in seen(app)
    with_run(home, run_id=A)
    app = open_page("compare", a=A, b=A)
    assert "no better than itself" in app.info[0].value
    calm(app.selectbox[1].set_value(B).run())


def test_runs_that_are_alike_say_so(home: Home) -> None:
    with_run(home, run_id=B)
    with_run(home, run_id=A)
    assert "are the same to each of 11 users" in seen(open_page("compare"))
    assert "No judged user has another list" in seen(open_page("compare", part="Users"))
    assert "Every feature is worth the same" in seen(open_page("compare", part="Features"))


def test_a_broken_file_is_named_and_no_traceback(two: Home) -> None:
    file = two.load(A).file("per_user.parquet")
    file.write_bytes(b"\x00" * file.stat().st_size)
    app = open_page("compare")
    assert "cannot be read" in app.error[0].value
