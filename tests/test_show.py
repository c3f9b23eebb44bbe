"""`recsys show USER`: the list of a night and what came before it."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from toy_run import EVIL, ITEM_IDS, USERS, empty_project, with_night, with_run

from recsys import report
from recsys.artefacts import Home
from recsys.cli import main
from recsys.errors import ArtefactError, SourceError
from recsys.families import FAMILIES


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = empty_project(tmp_path)[1]
    with_run(home)
    return home


def test_the_list_and_the_history_are_those_of_the_night(home: Home, tmp_path: Path) -> None:
    night = with_night(home)
    shown = report.shown_user(home, None, USERS[0])
    assert (shown["user_id"], shown["night_id"], shown["run_id"]) == (USERS[0], night.run_id, night.manifest["run_id"])
    assert [(row["rank"], row["item_id"]) for row in shown["list"]] == list(enumerate(ITEM_IDS[:5], 1))
    assert shown["history"]
    done = CliRunner().invoke(main, ["show", USERS[0], "--config", str(tmp_path / "recsys.toml"), "--format", "json"])
    assert json.loads(done.output) == shown
    told = CliRunner().invoke(main, ["show", USERS[0], "--config", str(tmp_path / "recsys.toml")]).output
    assert "The latest events before it" in told
    assert "popular now" in told
    assert "None" not in told
    assert "nan" not in told.lower().split()


def test_chances_are_shown_in_per_cent_and_a_dash_where_unknown(home: Home) -> None:
    with_night(home)
    shown = report.shown_user(home, None, USERS[0])
    assert [row["purchase_probability"] for row in shown["list"]] == pytest.approx([0.25 / rank for rank in range(1, 6)])
    assert {row["click_probability"] for row in shown["list"]} == {None}
    rows = report.user_text(shown).split("The list\n")[1].split("\n")
    assert rows[0].split()[-3:] == ["clicks", "buys", "reason"]
    assert "  -       25.00 %  popular now" in rows[2]
    assert report.chance_words(shown["list"][0]) == "purchase 25.00 %"


def test_a_night_of_before_there_were_chances_is_still_shown(home: Home) -> None:
    night = with_night(home)
    part = night.path / "recommendations" / "part-00000.parquet"
    earlier = night.path / "earlier.parquet"
    pl.read_parquet(part).drop("click_probability", "purchase_probability").write_parquet(earlier)
    earlier.replace(part)
    manifest = json.loads((night.path / "manifest.json").read_text())
    manifest["sizes"]["recommendations/part-00000.parquet"] = part.stat().st_size
    (night.path / "manifest.json").write_text(json.dumps(manifest))
    shown = report.shown_user(home, None, USERS[0])
    assert {row["purchase_probability"] for row in shown["list"]} == {None}
    assert report.chance_words(shown["list"][0]) == ""
    assert report.listed(home.night()).height == 5


def test_every_item_says_why_it_is_there(home: Home, tmp_path: Path) -> None:
    with_night(home, explain=4)
    shown = report.shown_user(home, None, USERS[0])
    first, second, *_, last = (row["why"] for row in shown["list"])
    assert first == {
        "base": pytest.approx(0.6),
        "families": {name: pytest.approx({"taste": 0.5, "price": -0.1}.get(name, 0.0)) for name in FAMILIES},
        "because": None,
        "sources": [],
        "rules": ["pins.spring"],
        "plain_rank": None,
    }
    assert second["because"] == {"item_id": "item_0", "title": EVIL, "similarity": 0.75}
    assert (second["sources"], second["rules"], second["plain_rank"]) == (["popularity", "text"], [], 1)
    assert (last["base"], last["families"]) == (None, None)
    assert [row["source"] for row in shown["list"]] == ["", *["popularity"] * 4]
    told = report.user_text(shown)
    assert re.search(r"1 +0\.60 +\+0\.00 +\+0\.50 .* -0\.10 ", told)
    assert re.search(rf"2 +popularity, text +{re.escape(EVIL)} +0\.75 +- +place 1", told)
    assert re.search(r"1 +- +- +- +pins\.spring +not listed", told)
    asked = ["show", USERS[0], "--config", str(tmp_path / "recsys.toml"), "--format", "json"]
    assert json.loads(CliRunner().invoke(main, asked).output) == shown


def test_a_night_without_explanations_is_said_to_have_none(home: Home) -> None:
    with_night(home)
    shown = report.shown_user(home, None, USERS[0])
    assert [row["why"] for row in shown["list"]] == [None] * 5
    assert {row["source"] for row in shown["list"]} == {"popularity"}
    assert report.NO_EXPLANATIONS in report.user_text(shown)


def test_somebody_without_a_list_is_said_to_have_none(home: Home) -> None:
    with_night(home)
    assert "No list: the user was not among those that were ranked." in report.user_text(report.shown_user(home, None, USERS[-1]))


def test_somebody_unknown_is_refused_and_others_are_named(home: Home) -> None:
    with_night(home)
    with pytest.raises(SourceError, match=rf"'nobody' has neither a list nor a history .* for example: {USERS[0]}"):
        report.shown_user(home, None, "nobody")


def test_before_the_first_night_that_is_said(home: Home) -> None:
    with pytest.raises(ArtefactError, match="recsys rank"):
        report.shown_user(home, None, USERS[0])
