"""The pages of metrics, items, nights and data: every state of them, and what is said of what is damaged or gone."""

import json
import re
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pytest
from click.testing import CliRunner
from pages import buttons, calm, chips, downloads, facts, frames, open_page, press, seen, titles, words
from toy_run import (
    AS_OF,
    EVIL,
    ITEM_IDS,
    MANIFEST,
    RUN_ID,
    SYSTEMS,
    USERS,
    ablation,
    calibration,
    empty_project,
    off_policy,
    with_backtest,
    with_night,
    with_run,
    with_vectors,
)

from recsys.artefacts import Home, Run
from recsys.atomic import rewrite
from recsys.cli import main
from recsys.config_rules import Rules
from recsys.publish import Promise, publish
from recsys.schema import MONITORING

LATER = "20261201-031500-ab12cd"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    path, home = empty_project(tmp_path)
    monkeypatch.setattr(sys, "argv", ["app.py", str(path)])
    return home


def of_format(run: Run, version: int) -> None:
    """As an earlier recsys would have written it."""
    path = run.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": version}))


def test_the_metrics_show_every_system_and_what_it_is_against(home: Home) -> None:
    with_run(home)
    app = open_page("metrics")
    assert set(frames(app)[0]["system"]) == {*SYSTEMS, "random", "oracle"}
    assert set(frames(app)[1]["against"]) == {*SYSTEMS, "random"} - {"ranker"}
    assert app.selectbox[0].value == RUN_ID
    assert list(facts(app))[:3] == ["ndcg@10 of the ranker", "Gained by text", "Against retrieval"]
    assert facts(app)["ndcg@10 of the ranker"] == "1.0000"
    assert len(downloads(app)) == 3


@pytest.mark.parametrize("part", ["Slices", "Candidates", "Learning", "Features", "Windows and cost", "Runs over time"])
def test_every_part_of_the_metrics_has_an_address_and_a_table_to_download(home: Home, part: str) -> None:
    with_run(home)
    app = open_page("metrics", part=part)
    assert downloads(app)
    assert not app.error


def test_a_slice_is_chosen_and_small_ones_are_marked(home: Home) -> None:
    with_run(home)
    app = open_page("metrics", part="Slices")
    choice = next(one for one in app.selectbox if one.label == "Slice")
    assert choice.options == [
        "age of the item",
        "activity of the user",
        "popularity of the item",
        "category",
    ]
    (frame,) = frames(app)
    assert frame[["n", "told"]].values.tolist() == [[11, "too few"]]
    assert "3 slices" not in seen(app)
    assert "too few: 4 slices of fewer than 30 users, whose figures say nothing and have no interval." in seen(app)


def test_a_run_of_an_earlier_version_shows_its_slices_without_shares_and_anchors(home: Home) -> None:
    run = with_run(home)
    path = run.file("report.json")
    content = json.loads(path.read_text())
    for task in content["tasks"].values():
        del task["anchors"], task["traps"]
        for name in ("random", "oracle"):
            del task["systems"][name]
        task["paired"] = [pair for pair in task["paired"] if pair["b"] not in ("random", "oracle")]
        for part in task["slices"]:
            for name in ("share", "share_of", "parts", "is_small"):
                del part[name]
            part["systems"] = {name: by for name, by in part["systems"].items() if name not in ("random", "oracle")}
    path.write_text(json.dumps(content))
    manifest = json.loads((run.path / "manifest.json").read_text())
    manifest["sizes"]["report.json"] = path.stat().st_size
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    assert "random" not in seen(open_page("metrics"))
    assert "too few" not in seen(open_page("metrics", part="Slices"))
    told = CliRunner().invoke(main, ["report", "--config", str(home.folder.parent / "recsys.toml")])
    assert told.exit_code == 0
    assert "random" not in told.stdout
    assert "None" not in told.stdout


def test_a_task_with_nothing_to_find_shows_dashes_and_says_so(home: Home) -> None:
    with_run(home)
    app = open_page("metrics", task="new", part="Slices")
    assert facts(app)["ndcg@10 of the ranker"] == "-"
    assert "Nobody is judged" in words(app)
    for part in ("Systems", "Candidates", "Runs over time"):
        assert not open_page("metrics", task="new", part=part).error


def test_runs_stand_side_by_side_and_an_earlier_one_has_an_address(home: Home) -> None:
    with_run(home)
    with_run(home, run_id=LATER)
    app = open_page("metrics", part="Runs over time")
    assert frames(app)[0]["run_id"].tolist() == [LATER, RUN_ID]
    assert frames(app)[0]["ndcg"].tolist() == [1.0, 1.0]
    assert app.selectbox[0].value == LATER
    app = open_page("metrics", run=RUN_ID)
    assert app.selectbox[0].value == RUN_ID
    assert f"Not the current run, which is {LATER}." in seen(app)


def test_an_ablation_is_a_tab_of_its_own_with_answer_costs_and_every_pair(home: Home) -> None:
    with_run(home, {"ablation": ablation()})
    app = open_page("metrics", part="Did the text pay?")
    assert "text pays: +" in seen(app)
    assert any("training_minutes" in frame for frame in frames(app))
    control = next(one for one in app.selectbox if one.label == "Pair")
    assert control.value == "tuned_collaborative - no_text"
    calm(control.set_value("tuned - frozen").run())
    calm(app.segmented_control[0].set_value("new").run())


def test_chances_are_a_tab_of_their_own_with_what_was_said_and_what_happened(home: Home) -> None:
    with_run(home, {"calibration": calibration()})
    app = open_page("metrics", part="Chances")
    assert "within 14 days" in words(app)
    assert "none of 600 candidates had a click" in words(app)
    said, slices = frames(app)
    assert said["said_by"].to_list() == ["ranker", "ranker, places 1 to 10", "base rate"]
    assert (said["gap"][:2] > 0).all()
    assert set(slices["value"]) == {"places 1 to 10", "below"}
    assert len(downloads(app)) == 2


def test_a_run_of_before_there_were_chances_has_no_such_tab(home: Home) -> None:
    with_run(home)
    assert "Chances" not in [tab.label for tab in open_page("metrics").tabs]


def test_pages_show_every_system_and_say_who_has_no_estimate_and_why(home: Home) -> None:
    with_run(home, {"off_policy": off_policy()})
    app = open_page("metrics", part="Pages")
    (frame,) = frames(app)
    assert frame["system"].to_list() == ["as it was", "popularity", "ranker"]
    assert frame["value"][:2].notna().all()
    assert frame["value"].isna()[2]
    assert "ranker: no estimate, too little overlap" in words(app)
    assert "No estimate: no order in a toy." in words(app)
    assert len(downloads(app)) == 1


def test_a_run_without_a_page_says_what_is_needed(home: Home) -> None:
    with_run(home, {"off_policy": {"absent": "no impression of the test window has a request_id and a position"}})
    assert "no impression of the test window" in words(open_page("metrics", part="Pages"))


def test_a_run_of_before_there_were_estimates_says_to_train_again(home: Home) -> None:
    with_run(home)
    assert "train again" in words(open_page("metrics", part="Pages"))


def test_a_run_without_an_ablation_has_no_such_tab(home: Home) -> None:
    with_run(home)
    assert "Did the text pay?" not in [tab.label for tab in open_page("metrics").tabs]


def test_a_backtest_shows_every_system_over_its_cutoffs_and_an_earlier_one_can_be_chosen(home: Home) -> None:
    with_run(home)
    with_backtest(home)
    with_backtest(home, LATER)
    app = open_page("metrics", part="Backtest")
    systems, paired = frames(app)
    assert set(systems["system"]) == {"random", *SYSTEMS, "oracle"}
    assert dict(zip(systems["system"], systems["n_cutoffs"], strict=True))["text_tuned"] == 1
    assert set(paired["against"]) == {"random", *SYSTEMS} - {"ranker"}
    assert (paired["won"] == paired["n_cutoffs"]).all()
    assert f"Backtest {LATER}" in seen(app)
    assert "22 queries of 11 users are judged" in seen(app)
    assert len(downloads(app)) == 2
    control = next(one for one in app.selectbox if one.label == "Backtest")
    assert f"Backtest {RUN_ID}" in seen(calm(control.set_value(RUN_ID).run()))


def test_a_backtest_in_which_nobody_is_judged_says_so(home: Home) -> None:
    with_run(home)
    with_backtest(home)
    app = open_page("metrics", part="Backtest", task="new")
    assert "nobody is judged in any cutoff" in seen(app)
    assert not frames(app)


def test_without_a_backtest_there_is_a_line_that_says_what_to_run(home: Home) -> None:
    with_run(home)
    app = open_page("metrics", part="Backtest")
    assert "There is no backtest yet. Run" in seen(app)
    assert "recsys backtest --config" in seen(app)
    assert not frames(app)


def test_an_item_shows_what_is_near_it_and_who_gets_it(home: Home) -> None:
    with_run(home)
    with_night(home)
    with_vectors(home)
    app = open_page("items", item="item_0")
    assert EVIL in seen(app)
    assert titles(app) == [f"Title of item_{n}" for n in range(1, 10)]
    assert "0.988" in seen(app)  # the cosine of nine degrees
    assert facts(app)["Lists that hold it"] == str(len(USERS) - 1)
    assert facts(app)["Mean place"] == "1.0"
    assert buttons(app)[1:] == [f"{user} · 1" for user in USERS[:-1]]
    assert len(downloads(app)) == 2
    assert "It stands in no list" in words(open_page("items", item="item_9"))


def test_a_press_on_who_gets_it_leads_to_that_user(home: Home) -> None:
    with_run(home)
    with_night(home)
    app = press(open_page("items", item="item_0"), f"{USERS[2]} · 1")
    assert app.title[0].value == "Users"
    assert app.text_input[0].value == USERS[2]


def test_words_find_items_and_a_click_selects_one(home: Home) -> None:
    with_run(home)
    app = open_page("items", item="LAMP")
    assert buttons(app) == [f"{EVIL} · Light · item_0"]
    app = press(app, f"{EVIL} · Light · item_0")
    assert app.text_input[0].value == "item_0"
    assert "No item 'no such thing'" in seen(open_page("items", item="no such thing"))


def test_the_catalogue_has_a_map_new_items_and_those_listed_most(home: Home) -> None:
    with_run(home)
    with_night(home)
    with_vectors(home)
    app = open_page("items")
    assert "Each point is an item" in words(app)
    assert "hold 100% of their variance" in words(app)
    new = open_page("items", look="New items")
    assert facts(new) == {"New items": "10", "Stand in a list": "5", "Places they take": "55", "Share of the items": "100.0%"}
    assert frames(new)[0]["item_id"].tolist()[:6] == ["item_5", "item_6", "item_7", "item_8", "item_9", "item_4"]
    most = open_page("items", look="Most listed")
    assert frames(most)[0]["item_id"].tolist() == ITEM_IDS[:5]
    assert frames(most)[0]["n_lists"].tolist() == [11] * 5
    assert facts(most)["The most listed item"] == "100%"


def test_items_without_vectors_or_night_say_which_command_makes_them(home: Home) -> None:
    with_run(home)
    assert "recsys rank" in words(open_page("items"))
    assert "recsys rank" in words(open_page("items", look="New items"))
    app = open_page("items", item="item_0")
    assert "Interactions" in facts(app)
    assert "recsys rank" in words(app)


def test_nights_show_what_is_served_and_any_other_can_be_chosen(home: Home) -> None:
    with_run(home)
    first, second = with_night(home, items=ITEM_IDS[:3]).run_id, with_night(home).run_id
    app = open_page("nights")
    assert dict(zip(frames(app)[0]["night_id"], frames(app)[0]["is_served"], strict=True)) == {second: True, first: False}
    assert facts(app)["Rows"] == "55"
    app = calm(app.selectbox[0].set_value(first).run())
    assert facts(app)["Rows"] == "33"
    assert "Not the night that is served." in words(app)


def test_a_night_leads_to_the_figures_of_its_run(home: Home) -> None:
    with_run(home)
    with_night(home)
    with_run(home, run_id=LATER)
    app = press(open_page("nights"), "The figures of its run")
    assert app.title[0].value == "Metrics"
    assert app.selectbox[0].value == RUN_ID


def test_a_night_whose_model_knew_the_future_is_said_to_be_one(home: Home) -> None:
    with_run(home)
    with_night(home)
    assert "know the future" not in words(open_page("nights"))
    rows = pl.read_parquet(home.night().path / "recommendations" / "*.parquet")
    publish(iter([rows]), MANIFEST | {"model_knows_the_future": True}, home.nights, Promise(len(USERS), 0.5, pl.Series(ITEM_IDS)))
    assert "know the future" in words(open_page("nights"))


def test_a_checked_night_passes_and_one_that_was_changed_fails(home: Home) -> None:
    with_run(home)
    night = with_night(home)
    assert chips(press(open_page("nights", section="Checks"), "Check this night")) == ["PASS", "PASS", "PASS"]
    part = night.path / "recommendations" / "part-00000.parquet"
    part.write_bytes(bytes(reversed(part.read_bytes())))
    app = press(open_page("nights", section="Checks"), "Check this night")
    assert chips(app) == ["FAIL", "PASS", "PASS"]
    assert "part-00000" in seen(app)


def test_a_night_whose_run_is_gone_is_shown_and_said_to_have_none(home: Home) -> None:
    with_run(home)
    with_night(home)
    with_vectors(home)
    with_run(home, run_id=LATER)
    shutil.rmtree(home.runs / RUN_ID)
    app = open_page("nights")
    assert RUN_ID in app.warning[0].value.replace("\\", "")
    assert not frames(app)[0]["has_run"].any()
    assert len(titles(open_page(user=USERS[3]))) == 10
    assert RUN_ID in seen(open_page("items"))


@pytest.mark.parametrize("damage", ["half", "version"])
def test_a_run_half_written_or_of_an_older_format_is_named_and_the_others_shown(home: Home, damage: str) -> None:
    broken = with_run(home)
    with_run(home, run_id=LATER)
    broken.file("report.json").unlink() if damage == "half" else of_format(broken, 0)
    app = open_page("metrics")
    assert app.selectbox[0].options == [LATER]
    assert RUN_ID in seen(app)
    assert ("report.json" if damage == "half" else "format 0") in seen(app)
    home.point(LATER)
    (home.runs / "current").write_text(RUN_ID)
    for page in ("users", "items", "data", "metrics"):
        assert RUN_ID in open_page(page).error[0].value.replace("\\", "")


@pytest.mark.parametrize("damage", ["half", "version"])
def test_a_night_half_written_or_of_an_older_format_is_named_and_the_others_shown(home: Home, damage: str) -> None:
    with_run(home)
    broken, whole = with_night(home), with_night(home, items=ITEM_IDS[:3])
    (broken.path / "recommendations" / "part-00000.parquet").unlink() if damage == "half" else of_format(broken, 0)
    app = open_page("nights")
    assert frames(app)[0]["night_id"].tolist() == [whole.run_id]
    assert broken.run_id in app.warning[0].value.replace("\\", "")
    assert titles(open_page(user=USERS[3]))[5:] == [EVIL, "Title of item_1", "Title of item_2"]
    (home.nights / "current").write_text(broken.run_id)
    app = open_page(user=USERS[3])
    assert broken.run_id in app.error[0].value.replace("\\", "")
    assert titles(app)[5:] == [EVIL, "Title of item_1", "Title of item_2"]
    assert "No night is served." in words(app)


def test_the_data_show_volumes_by_day_and_type_and_what_was_rejected(home: Home) -> None:
    with_run(home)
    app = open_page("data")
    assert facts(app) == {"Events": "84", "Days": "7", "A day": "12", "Latest day": "12"}
    assert "purchase: 84" in words(app)
    counts = frames(open_page("data", about="Read and rejected"))[0]
    assert counts["what"].tolist() == ["read", "kept", "rejected", "rejected: exact duplicate"]
    assert counts["rows"].tolist() == [90, 84, 6, 6]


def test_the_checks_are_those_of_the_last_check_the_worst_first(home: Home) -> None:
    assert "recsys check" in words(open_page("data", about="Checks"))
    checks = [
        {"name": "files", "status": "PASS", "count": 0, "message": "all <b>fit</b>", "examples": []},
        {"name": "gaps", "status": "FAIL", "count": 2, "message": "two", "examples": ["one day", "another"]},
    ]
    home.keep_checks({"made": "2026-11-28T01:02:03+00:00", "status": "FAIL", "checks": checks})
    app = open_page("data", about="Checks")
    assert titles(app) == ["gaps", "files"]
    assert chips(app) == ["FAIL", "PASS"]
    assert "all <b>fit</b>" in seen(app)
    assert "two (for example: one day; another)" in seen(app)
    assert "2026-11-28 01:02 UTC" in seen(app)
    (home.folder / "checks.json").write_text("{")
    assert "recsys check" in open_page("data", about="Checks").error[0].value


def test_what_a_check_found_is_printed_also_where_it_cannot_be_kept(home: Home, tmp_path: Path) -> None:
    home.folder.write_text("a file where the folder should be")
    done = CliRunner().invoke(main, ["check", "--config", str(tmp_path / "recsys.toml")])
    assert "FAIL  files" in done.output
    assert done.exit_code == 2
    assert "checks.json" in done.output


def test_check_now_runs_the_command_and_shows_what_it_found(home: Home, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\na,Lamp\n")
    (tmp_path / "events.csv").write_text("user_id,item_id,event_type,event_time\nu,a,purchase,2026-01-01\n")
    app = press(open_page("data", about="Checks"), "Check now")
    assert "files" in titles(app)
    assert "windows" in titles(app)
    kept = home.checks()
    assert kept is not None
    assert kept["status"] == "FAIL"
    (tmp_path / "recsys.toml").write_text((tmp_path / "recsys.toml").read_text() + "[rank]\nk = 0\n")
    assert "rank.k" in open_page("data", about="Checks").error[0].value


def test_a_night_shows_how_far_it_is_from_the_one_before_what_is_beyond_a_limit_first(home: Home) -> None:
    with_run(home)
    night = with_night(home)
    assert "recsys nightly" in words(open_page("nights", section="Monitoring"))
    measures = [("churn", "", 0.3, "PASS"), ("volume", "click", 9.5, "WARN"), ("coverage", "", 0.5, "PASS")]
    for night_id, as_of in (("earlier", AS_OF - timedelta(days=1)), (night.run_id, AS_OF)):
        rows = [(night_id, as_of, *measure) for measure in measures]
        home.add_readings(pl.DataFrame(rows, schema={c.name: c.dtype for c in MONITORING.columns}, orient="row"))
    app = open_page("nights", section="Monitoring")
    assert [facts(app)[status] for status in ("PASS", "WARN", "FAIL")] == ["2", "1", "0"]
    assert frames(app)[0]["measure"].tolist() == ["volume", "churn", "coverage"]
    assert "From night to night" in words(app)
    (home.folder / "monitoring.parquet").write_bytes(b"PAR1")
    assert "monitoring.parquet" in words(open_page("nights", section="Monitoring"))


def test_a_night_shows_what_each_rule_did_and_costs(home: Home) -> None:
    with_run(home)
    night = with_night(home)
    assert "was made without rules" in words(open_page("nights", section="Rules"))
    asked = Rules(caps={"category": 1})
    change = {"removed": 5, "moved": 4, "users": 3, "short": 2, "missed": 0}
    did = {"set": asked.model_dump(mode="json"), "notes": ["<b>x</b> never comes true"], "n_users": 12, "none": 0, "together": change}
    rewrite(night.path, {}, {"rules": did | {"by_rule": dict.fromkeys(asked.each, change)}})
    app = open_page("nights", section="Rules")
    assert frames(app)[0]["rule"].tolist() == [*asked.each, "all together"]
    assert frames(app)[0]["removed"].tolist() == [5, 5]
    assert "Without a price" in words(app)
    assert "<b>x</b>" not in [element.value for element in app.caption]


def test_the_glossary_explains_every_figure_that_the_metrics_lead_to(home: Home) -> None:
    with_run(home)
    links = re.findall(r"\]\(glossary\?figure=([^)]+)\)", "".join(one.value for one in open_page("metrics").markdown))
    assert len(links) > 5
    every = [one.value for one in open_page("glossary").subheader]
    assert {unquote(link) for link in links} <= set(every)
    one = open_page("glossary", figure="recall@k")
    assert [found.value for found in one.subheader] == ["recall@k"]
    assert "Example: A" in "".join(found.value for found in one.markdown)
