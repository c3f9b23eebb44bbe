"""The dashboard shows a user's history and list and the verdict of a run, and says which command to run where something is missing."""

import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from toy_run import EVIL, RUN_ID, SYSTEMS, USERS, ablation, empty_project, with_night, with_run

from recsys.artefacts import Home

APP = Path(__file__).parents[1] / "dashboards" / "app.py"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    path, home = empty_project(tmp_path)
    monkeypatch.setattr(sys, "argv", ["app.py", str(path)])
    return home


def users_page(user_id: str = "") -> AppTest:
    app = AppTest.from_file(APP, default_timeout=20)
    if user_id:
        app.query_params["user"] = user_id
    return calm(app.run())


def verdict_page() -> AppTest:
    return calm(AppTest.from_file(APP, default_timeout=20).run().switch_page("verdict.py").run())


def calm(app: AppTest) -> AppTest:
    assert not app.exception
    return app


def html(app: AppTest) -> str:
    return "".join(element.proto.body for element in app.get("html"))


def words(app: AppTest) -> str:
    kinds = (app.info, app.warning, app.error, app.code, app.caption, app.subheader)
    return "\n".join(element.value for kind in kinds for element in kind)


def test_a_user_in_the_address_shows_history_and_list(home: Home) -> None:
    with_run(home)
    with_night(home)
    app = users_page(USERS[3])
    assert app.dataframe[0].value["item_id"].tolist() == [f"item_{n}" for n in (4, 3, 2, 1, 0)]
    assert html(app).count('class="row"') == 5
    assert "Title of item_4" in html(app)
    assert "popular now" in html(app)
    assert ">51.00<" in html(app)


def test_a_title_is_never_taken_for_html(home: Home) -> None:
    with_run(home)
    with_night(home)
    shown = html(users_page(USERS[3]))
    assert EVIL not in shown
    assert EVIL in unescape(shown)


def test_without_a_user_some_are_offered_and_a_click_selects(home: Home) -> None:
    with_run(home)
    app = users_page()
    assert [button.label for button in app.button] == USERS
    app = calm(app.button[2].click().run())
    assert app.text_input[0].value == USERS[2]
    assert len(app.dataframe) == 1


def test_an_unknown_user_gets_a_clear_message_and_ids_that_are_near(home: Home) -> None:
    with_run(home)
    with_night(home)
    app = users_page("user_1")
    assert "No user 'user_1'" in app.warning[0].value
    assert [button.label for button in app.button] == ["user_10", "user_11"]
    assert not users_page("(.*").button


def test_no_run_names_the_command_that_makes_one(home: Home) -> None:
    for app in (users_page(), users_page(USERS[0]), verdict_page()):
        assert "recsys train" in app.info[0].value
        assert "recsys train --config" in app.code[0].value


def test_no_night_names_the_command_that_publishes_one(home: Home) -> None:
    with_run(home)
    app = users_page(USERS[3])
    assert len(app.dataframe[0].value) == 5
    assert "recsys rank" in app.info[0].value


def test_a_user_whom_the_night_left_out_is_told_so(home: Home) -> None:
    with_run(home)
    with_night(home)
    assert f"no list for {USERS[-1]}" in users_page(USERS[-1]).info[0].value


def test_the_verdict_shows_every_system_and_what_it_is_against(home: Home) -> None:
    with_run(home)
    app = verdict_page()
    assert set(app.dataframe[0].value["system"]) == set(SYSTEMS)
    assert set(app.dataframe[1].value["against"]) == set(SYSTEMS) - {"ranker"}
    assert app.selectbox[0].value == RUN_ID
    assert [metric.label for metric in app.metric][:3] == ["ndcg@10 of the ranker", "Gained by text", "Against retrieval"]
    assert app.metric[0].value == "1.0000"


def test_a_task_with_nothing_to_find_shows_dashes_and_says_so(home: Home) -> None:
    with_run(home)
    app = verdict_page()
    app = calm(app.segmented_control[0].set_value("new").run())
    assert app.metric[0].value == "-"
    assert "Nobody is judged" in words(app)


def test_a_damaged_run_is_named_and_not_a_traceback(home: Home) -> None:
    run = with_run(home)
    run.file("report.json").unlink()
    assert "report.json" in users_page().error[0].value
    assert "report.json" in verdict_page().error[0].value


def test_tables_that_are_gone_are_named_and_not_a_traceback(home: Home) -> None:
    with_run(home)
    with_night(home)
    shutil.rmtree(home.snapshots)
    assert "toytables" in users_page(USERS[0]).error[0].value


def test_a_config_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["app.py", str(tmp_path / "gone.toml")])
    assert "gone.toml" in users_page().error[0].value


def test_the_dashboard_loads_no_model() -> None:
    heavy = ("torch", "transformers", "lightgbm", "mlflow", "implicit")
    code = f"import sys, dashboards.charts, dashboards.project, recsys.report; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_ablation_is_a_tab_of_its_own_with_answer_costs_and_every_pair(home: Home) -> None:
    with_run(home, {"ablation": ablation()})
    app = verdict_page()
    assert "Did the text pay?" in [tab.label for tab in app.tabs]
    assert any("text pays: +" in element.value for element in app.subheader)
    shown = [frame.value for frame in app.dataframe]
    assert any("training_minutes" in frame for frame in shown)
    control = next(one for one in app.selectbox if one.label == "Pair")
    assert control.value == "tuned_collaborative - no_text"
    calm(control.set_value("tuned - frozen").run())
    calm(app.segmented_control[0].set_value("new").run())


def test_a_run_without_an_ablation_has_no_such_tab(home: Home) -> None:
    with_run(home)
    assert "Did the text pay?" not in [tab.label for tab in verdict_page().tabs]
