"""The report says what the run holds: every figure, in order, with `-` where nothing is known; and a user's rows are that user's alone."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_run import AS_OF, EVIL, ITEM_IDS, SYSTEMS, USERS, empty_project, with_backtest, with_night, with_run

from recsys import metrics, report
from recsys.artefacts import Home, Run
from recsys.errors import ArtefactError
from recsys.evaluate import ANCHORS
from recsys.ingest.checks import CheckResult
from recsys.report import further, rows
from recsys.report.plain import aligned

METRICS = {"ndcg@10", "recall@10", "map@10", "mrr@10", "coverage@10", "novelty@10", *rows.MORE}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return empty_project(tmp_path)[1]


@pytest.fixture
def run(home: Home) -> Run:
    return with_run(home)


@pytest.fixture
def text(run: Run) -> str:
    return report.verdict_text(run)


def section(text: str, title: str) -> list[str]:
    """The rows of the table under a title, header and rule left out."""
    return next(part for part in text.split("\n\n") if part.startswith(title)).split("\n")[3:]


def test_the_json_object_has_the_promised_keys(run: Run) -> None:
    found = report.object_of(run)
    assert {"run_id", "as_of", "windows", "tasks", "candidate_recall", "seconds", "peak_memory_mb"} <= found.keys()
    assert {"name", "start", "end", "n_events", "n_queries"} <= found["windows"][0].keys()
    assert {"value", "alone", "only"} == found["candidate_recall"]["sources"]["text"].keys()
    for task in ("all", "new"):
        content = found["tasks"][task]
        assert content["systems"].keys() == {*SYSTEMS, *ANCHORS}
        for by_metric in content["systems"].values():
            assert by_metric.keys() == METRICS
            assert all(figure.keys() == {"value", "low", "high", "n"} for figure in by_metric.values())
        for pair in content["paired"]:
            assert pair.keys() == {"a", "b", "metric", "difference", "low", "high", "better", "tied", "worse"}
    assert all({"slice", "value", "n", "systems"} <= part.keys() for part in found["tasks"]["all"]["slices"])


def test_the_text_holds_every_system_of_every_task_in_full(text: str) -> None:
    for task in ("all", "new"):
        assert {line.split()[0] for line in section(text, f"Systems, task {task}")} == {*SYSTEMS, *ANCHORS}
        assert {line.split()[0] for line in section(text, f"Paired by user, task {task}")} == {*SYSTEMS, "random"} - {"ranker"}


def test_a_distillation_is_told_with_its_loss_and_its_gain(run: Run) -> None:
    assert "distilled" not in report.verdict_text(run)
    found = {"teacher_layers": 6, "student_layers": 3, "teacher_ndcg": 0.25, "student_ndcg": 0.2}
    path = run.file("report.json")
    told = report.object_of(run) | {"distillation": found | {"teacher_texts_per_second": 100.0, "student_texts_per_second": 190.0}}
    path.write_text(json.dumps(told))
    words = " ".join(report.verdict_text(run).split())
    assert "from 6 layers to 3: ndcg@100 on its own validation 0.2500 before, 0.2000 after; it encodes 1.90 times as many texts" in words


def test_the_text_fits_110_columns_and_has_no_colour_codes(text: str) -> None:
    assert max(map(len, text.split("\n"))) <= 110
    assert "\x1b" not in text


def test_the_further_metrics_have_a_table_of_their_own_and_the_lists_are_said_to_be_whole(run: Run, text: str) -> None:
    heads = next(part for part in text.split("\n\n") if part.startswith("More metrics at 10 places")).split("\n")[1]
    assert re.split(r"\s{2,}", heads.strip()) == ["system", *further.HEADS.values()]
    assert tuple(further.HEADS) == rows.MORE
    first = section(text, "More metrics at 10 places (docs/metrics.md), task all")[0].split()
    figures = report.object_of(run)["tasks"]["all"]["systems"]["ranker"]
    assert first[0] == "ranker"
    assert first[1:] == [f"{figures[metric]['value']:.{1 if metric == 'popularity@10' else 4}f}" for metric in rows.MORE]
    assert "Lists of the ranker: 0 users got none, 0 fewer than 10 items; 0 items stand twice in a list, 0 may not be shown." in " ".join(
        text.split()
    )


def test_the_grouped_auc_is_told_with_what_is_not_in_it(home: Home) -> None:
    figure = {"value": 0.61, "low": 0.58, "high": 0.64, "n": 1234, "n_left_out": 9, "shown": 56789, "not_candidates": 4321}
    words = " ".join(report.verdict_text(with_run(home, {"grouped_auc": figure})).split())
    assert "Grouped AUC of the ranker: 0.6100 [0.5800, 0.6400] of 1,234 users, over 56,789 pairs of user and item shown" in words
    assert "4,321 of which were no candidates; 9 users went for all of it or for none and are left out." in words
    undefined = report.grouped_auc_text({"grouped_auc": figure | {"value": None, "low": None, "high": None, "n": 0}})
    assert undefined.startswith("Grouped AUC of the ranker: none, over 56,789 pairs")


def test_a_run_of_before_the_further_metrics_is_told_without_them(run: Run) -> None:
    path = run.file("report.json")
    old = report.object_of(run)
    for content in old["tasks"].values():
        del content["health"]
        for by_metric in content["systems"].values():
            for metric in rows.MORE:
                del by_metric[metric]
    path.write_text(json.dumps(old))
    told = report.verdict_text(run)
    assert "More metrics" not in told
    assert "Lists of the ranker" not in told
    assert report.systems_frame(run, "all")[list(rows.MORE)].isna().all(axis=None)
    assert report.health_text(old, "all") == report.grouped_auc_text(old) == ""


def test_the_primary_task_comes_first_and_is_called_so(text: str) -> None:
    assert text.index("TASK all, the primary one") < text.index("TASK new:")


def test_the_best_system_stands_first_with_its_known_figure(text: str) -> None:
    first, last = section(text, "Systems, task all")[0], section(text, "Systems, task all")[-3]
    assert first.split()[:4] == ["ranker", "1.0000", "[1.0000,", "1.0000]"]
    worst = metrics.ndcg(np.array([[False] * 8 + [True] * 2]), np.array([2]))[0]
    assert last.split()[:2] == ["popularity", f"{worst:.4f}"]


def test_undefined_figures_are_dashes_and_never_nan(text: str) -> None:
    assert all(re.split(r"\s{2,}", line.strip())[1] == "-" for line in section(text, "Systems, task new"))
    assert section(text, "Candidate recall")[-1].split() == ["text", "-", "-", "-"]
    assert "nan" not in text.lower().split()
    assert "None" not in text


def test_the_text_counts_the_users_without_truth(text: str) -> None:
    assert "11 users of the test window are judged; 1 more had nothing to find" in text
    assert "0 users of the test window are judged; 12 more had nothing to find" in text


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.1, 0.2, "better"), (-0.2, -0.1, "worse"), (-0.1, 0.1, "undecided"), (0.0, 0.1, "undecided"), (None, None, "undecided")],
)
def test_only_an_interval_without_zero_decides(low: float | None, high: float | None, word: str) -> None:
    assert rows.word(low, high) == word


def test_an_undefined_system_is_never_the_best_other() -> None:
    values = {"a": None, "b": 0.1, "c": 0.1, "ranker": 0.9, "oracle": 1.0, "random": 0.5}
    assert rows.best_other({name: {"ndcg@10": {"value": value}} for name, value in values.items()}) == "b"
    assert rows.best_other({"ranker": {"ndcg@10": {"value": 0.9}}}) is None


def test_a_table_is_as_wide_as_its_longest_cells() -> None:
    name = "x" * 200
    assert aligned(("a", "b"), [(name, "1"), ("y", "22")]).split("\n")[2:] == [f"  {name}   1", f"  y{' ' * 201}22"]


def test_checks_are_listed_with_status_count_message_and_examples() -> None:
    results = [
        CheckResult("files", "PASS", 0, "84 rows", ()),
        CheckResult("event types", "FAIL", 1234, "1,234 rows with an unknown event_type", ("a.csv row 7: 'klick'", "a.csv row 9: 'klick'")),
    ]
    assert report.checks_table(results).split("\n") == [
        "PASS  files            0  84 rows",
        "FAIL  event types  1,234  1,234 rows with an unknown event_type",
        "                          e.g. a.csv row 7: 'klick'",
        "                          e.g. a.csv row 9: 'klick'",
        "",
        "1 PASS, 0 WARN, 1 FAIL",
    ]


def test_frames_hold_the_figures_of_the_report(run: Run) -> None:
    content = report.object_of(run)["tasks"]["all"]
    systems = report.systems_frame(run, "all").set_index("system")
    assert {name: systems.loc[name, "map@10"] for name in (*SYSTEMS, *ANCHORS)} == {
        n: by["map@10"]["value"] for n, by in content["systems"].items()
    }
    paired = report.paired_frame(run, "all").set_index("against")
    assert paired.loc["popularity", "better"] == 11
    assert list(paired.loc[["ranker_no_text", "popularity"], "word"]) == ["better", "better"]
    slices = report.slices_frame(run, "all", "item_age")
    assert set(slices["slice"]) == {"item_age"}
    assert set(slices["system"]) == {*SYSTEMS, *ANCHORS}
    assert list(slices.loc[slices["role"] == "best other", "system"]) == ["retrieval"]
    assert report.slices_frame(run, "new").empty


def test_frames_of_a_task_without_truth_are_numbers_all_the_same(run: Run) -> None:
    assert report.systems_frame(run, "new")["ndcg@10"].isna().all()
    assert report.systems_frame(run, "new")["ndcg@10"].dtype == "float64"
    assert set(report.paired_frame(run, "new")["word"]) == {"undecided"}


def test_importance_is_a_share_with_a_meaning_the_largest_first(run: Run) -> None:
    assert report.importance_frame(run).values.tolist() == [["text_z", 0.75, "fit"], ["a_first", 0.25, "one thing"]]


def test_curves_keep_a_missing_loss_missing(run: Run) -> None:
    curves = report.curves_frames(run)
    assert curves["text"]["loss"].isna().tolist() == [True, False]
    assert curves["ranker"].values.tolist() == [["ranker", 1, 0.1], ["ranker", 2, 0.2], ["ranker_no_text", 1, 0.1]]


def test_a_history_is_the_users_own_latest_first_and_ends_before_as_of(home: Home, run: Run) -> None:
    history = report.history_of(home, run, USERS[3])
    assert list(history["item_id"]) == ITEM_IDS[4::-1]
    assert history["event_time"].max() < AS_OF
    assert history["price"].to_list() == [43.0, 33.0, 23.0, 13.0, 3.0]
    assert history["title"][-1] == EVIL
    assert report.history_of(home, run, "nobody").is_empty()


def test_tonight_shows_titles_and_the_latest_price_before_as_of(home: Home, run: Run) -> None:
    with_night(home)
    tonight = report.tonight_of(home, None, USERS[3])
    assert tonight["rank"].to_list() == [1, 2, 3, 4, 5]
    assert tonight["title"][0] == EVIL
    assert tonight["price"].to_list() == [11.0, 21.0, 31.0, 41.0, 51.0]
    assert report.tonight_of(home, None, USERS[-1]).is_empty()


def test_without_a_night_the_message_names_the_command(home: Home, run: Run) -> None:
    with pytest.raises(ArtefactError, match="recsys rank"):
        report.tonight_of(home, None, USERS[3])
    assert report.nights(home).empty


def test_nights_mark_the_one_that_is_served(home: Home, run: Run) -> None:
    first, second = with_night(home).run_id, with_night(home).run_id
    assert dict(report.nights(home)[["night_id", "is_served"]].values.tolist()) == {first: False, second: True}


def test_a_search_finds_the_equal_id_first_then_beginnings_then_the_rest(home: Home, run: Run) -> None:
    assert report.user_ids(home, run, "user_1") == ["user_10", "user_11"]
    assert report.user_ids(home, run, "1") == ["user_01", "user_10", "user_11"]
    assert report.user_ids(home, run, "user_03") == ["user_03"]
    assert report.user_ids(home, run, ".*") == []
    assert report.user_ids(home, with_night(home), "", 2) == USERS[:2]


def test_report_loads_none_of_the_heavy_libraries() -> None:
    heavy = ("torch", "transformers", "lightgbm", "mlflow", "streamlit", "pandas")
    code = f"import sys, recsys.report; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_verdict_tells_how_chosen_is_told_from_ignored_where_a_run_knows_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    table = next(part for part in report.verdict_text(run).split("\n\n") if part.startswith("Chosen or ignored"))
    assert next(line.split()[2:] for line in table.split("\n") if "ROC AUC" in line) == ["0.0000", "1.0000", "+1.0000"]
    assert "The later 1,234 lists" in table
    without = report.object_of(run) | {"classification": None}
    monkeypatch.setattr("recsys.report.words.object_of", lambda _: without)
    assert "Chosen or ignored" not in report.verdict_text(run)


def test_yes_or_no_stands_before_beside_after_and_the_undefined_is_a_dash() -> None:
    told = np.array([True, False, False])
    before = metrics.classification(told, np.array([0.1, 0.3, 0.2]), 0.5)
    after = metrics.classification(told, np.array([0.9, 0.6, 0.2]), 0.5)
    for first in (before, {name: None if np.isnan(value) else value for name, value in before.items()}):
        lines = report.classification_text(first, after).split("\n")
        cells = {" ".join(words[:-3]): words[-3:] for words in (line.split() for line in lines[3:])}
        assert cells["chosen precision"] == ["-", "0.5000", "-"]
        assert cells["chosen recall"] == ["0.0000", "1.0000", "+1.0000"]
        assert cells["ignored support"] == ["2", "2", "-"]
        assert cells["accuracy"] == ["0.6667", "0.6667", "+0.0000"]
        assert cells["ROC AUC"] == ["0.0000", "1.0000", "+1.0000"]
        assert len(cells) == 10


def test_the_best_other_system_of_a_backtest_is_no_anchor_and_anchors_stand_last(tmp_path: Path) -> None:
    _, home = empty_project(tmp_path)
    made = with_backtest(home)
    frame = report.cutoffs_frame(made, "all")
    assert set(frame.loc[frame["role"] == "best other", "system"]).isdisjoint(report.ANCHORS)
    assert (frame["role"] == "best other").any()
    assert set(report.backtest_frame(made, "all")["system"][-2:]) == set(report.ANCHORS)
