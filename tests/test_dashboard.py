"""The page of users: history, list, another night's list beside it, somebody new; and what is said where something is missing."""

import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from pages import AppTest, buttons, calm, chips, downloads, facts, html, open_page, press, seen, titles, words
from streamlit.testing.v1.element_tree import Selectbox
from toy_run import EVIL, ITEM_IDS, MANIFEST, USERS, empty_project, with_night, with_run, with_vectors

from recsys.artefacts import Home
from recsys.publish import Promise, publish

ODD = "we*ird_`id` <b>%20 é\t'\"$x$"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    path, home = empty_project(tmp_path)
    monkeypatch.setattr(sys, "argv", ["app.py", str(path)])
    return home


def test_a_user_in_the_address_shows_history_and_list(home: Home) -> None:
    with_run(home)
    with_night(home)
    app = open_page(user=USERS[3])
    history, tonight = titles(app)[:5], titles(app)[5:]
    assert history == [f"Title of item_{n}" for n in (4, 3, 2, 1)] + [EVIL]
    assert tonight == [EVIL, *(f"Title of item_{n}" for n in (1, 2, 3, 4))]
    assert facts(app) == {"Interactions": "5", "Different items": "5", "Latest": "2026-11-23", "Items in the list": "5"}
    assert "popular now" in seen(app)
    assert "51.00" in seen(app)
    assert "0.2000" in seen(app)
    assert chips(app)[5:] == ["popularity"] * 5
    assert len(downloads(app)) == 2


def why(app: AppTest) -> Selectbox:
    return next(one for one in app.selectbox if one.label == "Why is it there?")


def test_an_item_of_the_list_says_why_it_is_there_when_it_is_asked(home: Home) -> None:
    with_run(home)
    with_night(home, explain=4)
    app = open_page(user=USERS[3])
    assert "Found by" not in seen(app)
    assert len(app.get("vega_lite_chart")) + len(app.get("arrow_vega_lite_chart")) == 0
    app = calm(why(app).set_value("item_1").run())
    assert f"Found by popularity, text. Its text is near that of {EVIL} (cosine 0.75), which is in the history." in seen(app)
    assert "From 0.3000, which the ranker gives before it knows anything, to its score" in seen(app)
    assert len(app.get("vega_lite_chart")) + len(app.get("arrow_vega_lite_chart")) == 1
    assert len(downloads(app)) == 3
    app = calm(why(app).set_value("item_0").run())
    assert "the shop placed it. Rules that acted: pins.spring; without any it would not be in the list." in seen(app)
    assert "first places of a list alone" in seen(calm(why(app).set_value("item_4").run()))


def test_an_earlier_night_without_explanations_says_so(home: Home) -> None:
    with_run(home)
    with_night(home)
    app = calm(why(open_page(user=USERS[3])).set_value("item_1").run())
    assert "made before they were kept" in seen(app)


def test_the_chip_of_an_explained_item_is_the_source_that_placed_it_highest(home: Home) -> None:
    with_run(home)
    with_night(home, explain=4)
    assert chips(open_page(user=USERS[3]))[5:] == ["popularity"] * 4


def test_a_title_is_never_taken_for_html_nor_for_markdown(home: Home) -> None:
    with_run(home)
    with_night(home)
    with_vectors(home)
    for app in (open_page(user=USERS[3]), open_page(who="Somebody new", chosen=["item_0"]), open_page("items", item="item_0")):
        assert EVIL not in html(app)
        assert EVIL in seen(app) + "".join(buttons(app))
        said = [element.value for kind in (app.caption, app.subheader, app.info) for element in kind] + [b.label for b in app.button]
        assert not any("<b>" in one for one in said)


def test_without_a_user_those_active_last_are_offered_and_a_click_selects(home: Home) -> None:
    with_run(home)
    app = open_page()
    assert buttons(app) == USERS
    app = press(app, USERS[2])
    assert app.text_input[0].value == USERS[2]
    assert len(titles(app)) == 5
    app = calm(app.text_input[0].set_value("").run())
    assert "Looked at before" in words(app)
    assert buttons(app) == [USERS[2], *USERS]


def test_a_beginning_offers_the_ids_that_begin_so(home: Home) -> None:
    with_run(home)
    with_night(home)
    app = open_page(user="user_1")
    assert "No user 'user_1'" in seen(app)
    assert buttons(app) == ["user_10", "user_11"]
    assert not open_page(user="(.*").button


def test_an_id_of_odd_characters_is_shown_as_it_is_and_found_by_its_address(home: Home) -> None:
    with_run(home, users=(ODD,))
    with_night(home, users=(ODD,))
    app = open_page()
    assert ODD in buttons(app)
    assert not any("<b>" in button.label or "`" in button.label.replace("\\`", "") for button in app.button)
    app = press(app, ODD)
    assert len(titles(app)) == 12
    assert len(titles(open_page(user=ODD))) == 12
    assert f"No user {ODD + 'x'!r}" in seen(open_page(user=ODD + "x"))


def test_another_nights_list_stands_beside_it_with_what_entered_left_and_moved(home: Home) -> None:
    with_run(home)
    first = with_night(home).run_id
    with_night(home, items=["item_7", "item_1", "item_0", "item_3", "item_2"])
    app = open_page(user=USERS[3], **{"with": first})
    assert "From the other list to this one: 1 entered, 1 left, 2 moved, 2 are where they were." in seen(app)
    assert titles(app)[:5] == ["Title of item_7", "Title of item_1", EVIL, "Title of item_3", "Title of item_2"]
    marks = [chip for chip in chips(app) if chip not in ("popularity", "purchase")]
    assert marks == ["entered", "▼ 2", "▼ 2", "left"]
    assert len(downloads(app)) == 3


def test_an_earlier_night_in_the_address_is_shown_and_said_not_to_be_served(home: Home) -> None:
    with_run(home)
    first = with_night(home, items=["item_7"]).run_id
    with_night(home)
    app = open_page(user=USERS[3], night=first)
    assert titles(app)[5:] == ["Title of item_7"]
    assert "Not the night that is served." in seen(app)
    assert titles(open_page(user=USERS[3], night="gone"))[5:] == [EVIL, *(f"Title of item_{n}" for n in (1, 2, 3, 4))]


def test_somebody_new_gets_a_list_from_what_they_chose_and_is_told_what_made_it(home: Home) -> None:
    with_run(home)
    with_night(home)
    with_vectors(home)
    app = open_page(who="Somebody new")
    assert "Choose an item" in seen(app)
    app = press(app, "Title of item_1 · Light")
    assert app.query_params["chosen"] == "item_1"
    assert "no model was asked" in seen(app)
    assert "Title of item_1" not in titles(app)
    assert len(titles(app)) == 9
    app = calm(app.segmented_control[0].set_value("Who chose the same").run())
    assert titles(app) == [EVIL, "Title of item_2", "Title of item_3", "Title of item_4"]
    app = calm(app.segmented_control[0].set_value("Their texts").run())
    assert set(titles(app)[:2]) == {EVIL, "Title of item_2"}  # both nine degrees away
    app = press(app, "Title of item_1")
    assert "Choose an item" in seen(app)


def test_somebody_new_can_be_given_any_item_by_its_words(home: Home) -> None:
    with_run(home)
    app = open_page(who="Somebody new")
    app = calm(app.text_input[0].set_value("ITEM_7").run())
    assert buttons(app) == ["Title of item_7 · Light"]
    assert "No title and no id holds 'nothing'." in seen(calm(app.text_input[0].set_value("nothing").run()))


def test_without_vectors_somebody_new_is_told_so_and_gets_a_list_all_the_same(home: Home) -> None:
    with_run(home)
    app = open_page(who="Somebody new", chosen=["item_1", "gone"])
    assert "Without their texts" in app.warning[0].value
    assert "recsys rank" in app.warning[0].value
    assert titles(app) == [EVIL, "Title of item_2", "Title of item_3", "Title of item_4"]


def test_no_run_names_the_command_that_makes_one(home: Home) -> None:
    for page, command in (
        ("users", "train"),
        ("metrics", "train"),
        ("compare", "train"),
        ("items", "train"),
        ("nights", "rank"),
        ("data", "train"),
    ):
        app = open_page(page)
        assert f"`recsys {command}`" in app.info[0].value
        assert f"recsys {command} --config" in app.code[0].value
        assert not app.error


def test_no_night_names_the_command_that_publishes_one(home: Home) -> None:
    with_run(home)
    app = open_page(user=USERS[3])
    assert len(titles(app)) == 5
    assert "recsys rank" in app.info[0].value


def test_a_user_whom_the_night_left_out_is_told_so(home: Home) -> None:
    with_run(home)
    with_night(home)
    assert f"no list for {USERS[-1]}" in seen(open_page(user=USERS[-1]))


def test_a_long_history_is_shown_in_part_and_says_so(home: Home) -> None:
    with_run(home, users=("busy",), n_events=250)
    app = open_page(user="busy")
    assert len(titles(app)) == 200
    assert "the latest 200 of 250" in seen(app)


def test_tables_that_are_gone_are_named_and_not_a_traceback(home: Home) -> None:
    with_run(home)
    with_night(home)
    shutil.rmtree(home.snapshots)
    for page in ("users", "items", "data"):
        said = open_page(page).error[0].value
        assert "toytables" in said
        assert "`recsys rank`" in said
    assert "FAIL" in chips(press(open_page("nights", section="Checks"), "Check this night"))


def test_a_config_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["app.py", str(tmp_path / "gone.toml")])
    assert "gone.toml" in open_page().error[0].value


def test_the_first_page_waits_for_no_library_it_can_do_without_and_no_page_loads_a_model(home: Home, tmp_path: Path) -> None:
    with_run(home)
    with_run(home, run_id="20261201-031500-ab12cd")
    with_night(home)
    with_vectors(home)
    code = (
        f"import sys; sys.argv = ['app.py', {str(tmp_path / 'recsys.toml')!r}]; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pages import open_page\n"
        f"open_page(user={USERS[3]!r})\n"
        "print([name for name in ('pandas', 'altair', 'scipy', 'pyarrow.lib') if name in sys.modules])\n"
        "open_page(who='Somebody new', chosen=['item_1']); open_page('metrics')\n"
        "open_page('compare'); open_page('items', item='item_0'); open_page('nights'); open_page('data')\n"
        "print([name for name in ('torch', 'transformers', 'lightgbm', 'mlflow', 'implicit') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n[]\n"


def test_a_page_reads_the_part_of_one_user_and_no_other(home: Home) -> None:
    with_run(home)
    first = with_night(home)
    rows = pl.read_parquet(first.path / "recommendations" / "part-00000.parquet")
    halves = [rows.filter(pl.col("user_id") < USERS[6]), rows.filter(pl.col("user_id") >= USERS[6])]
    night = publish(iter(halves), MANIFEST, home.nights, Promise(len(USERS), 0.5, pl.Series(ITEM_IDS)))
    assert len(titles(open_page(user=USERS[7]))) == 10
    part = night / "recommendations" / "part-00001.parquet"
    content = part.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    part.write_bytes(content[:4] + bytes(len(content) - footer - 4) + content[-footer:])  # no row of it can be read any more
    assert len(titles(open_page(user=USERS[3]))) == 10
    assert open_page(user=USERS[8]).error
