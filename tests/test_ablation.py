"""Did the text pay? Five states of knowledge about text, paired by user: what is told is what the lists say."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import worlds
from click.testing import CliRunner
from toy_run import ablation, empty_project, with_run

from recsys import evaluate, face, report
from recsys.artefacts import Run
from recsys.cli import main
from recsys.pipeline.ablation import PAIRS, VARIANTS
from recsys.text import item_texts, write_tiny_bert

QUICK = {"text": {"warm_steps": 10, "steps": 2, "check_steps": 2, "blend_steps": 10}, "ranker": {"trees": 20}}
COLD = "cold: no event yet"


@pytest.fixture(scope="module")
def cold_items(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    world = worlds.cold_item_shop()
    path = worlds.write_world(tmp_path_factory.mktemp("cold"), world.items, world.events, QUICK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsys.pipeline.texts.GAINS", (2.5,))  # so few steps choose no blend of themselves
        for module in ("intervals", "slices"):
            patch.setattr(f"recsys.evaluate.{module}.FEWEST_USERS", 10)  # of forty users
        return path, face.train(path, ablate=True)


def found(run: Run) -> dict[str, Any]:
    return run.record("report")["ablation"]


def difference(content: dict[str, Any], a: str, b: str) -> dict[str, Any]:
    return next(pair for pair in content["paired"] if (pair["a"], pair["b"]) == (a, b))


def test_all_variants_and_pairs_are_there_with_their_costs(cold_items) -> None:
    made = found(cold_items[1])
    assert [costs["variant"] for costs in made["variants"]] == list(VARIANTS)
    assert made["left_out"] == {}
    by_name = {costs["variant"]: costs for costs in made["variants"]}
    assert all(costs["scoring_seconds"] > 0 and costs["ranker_minutes"] > 0 for costs in by_name.values())
    assert by_name["no_text"]["text_minutes"] == 0
    text = [by_name[name]["text_minutes"] for name in ("frozen", "tuned", "tuned_collaborative", "distilled")]
    assert text == sorted(text)
    for content in made["tasks"].values():
        assert [(pair["a"], pair["b"]) for pair in content["paired"]] == list(PAIRS)
        slices = ["item_age", "user_activity", "item_popularity", "item_popularity_decile", "item_category", "item_price", "event_type"]
        assert list(dict.fromkeys(part["slice"] for part in content["slices"])) == slices


def test_the_variants_that_the_verdict_has_are_judged_as_there(cold_items) -> None:
    content = cold_items[1].record("report")
    for task, made in content["ablation"]["tasks"].items():
        systems = content["tasks"][task]["systems"]
        assert made["systems"]["no_text"] == pytest.approx(systems["ranker_no_text"]["ndcg@10"])
        assert made["systems"]["tuned_collaborative"] == pytest.approx(systems["ranker"]["ndcg@10"])
        against = next(p for p in content["tasks"][task]["paired"] if (p["b"], p["metric"]) == ("ranker_no_text", "ndcg@10"))
        ours = difference(made, "tuned_collaborative", "no_text")
        for key in ("difference", "low", "high", "better", "tied", "worse"):
            assert ours[key] == pytest.approx(against[key])


def test_text_pays_on_items_that_nobody_had_yet(cold_items) -> None:
    for content in found(cold_items[1])["tasks"].values():
        cold = next(part for part in content["slices"] if part["value"] == COLD)
        assert cold["n"] >= 10
        assert difference(cold, "frozen", "no_text")["low"] > 0
        assert difference(cold, "tuned", "no_text")["low"] > 0


def test_the_clock_keeps_the_ablation_apart_and_the_report_prints_it(cold_items) -> None:
    path, run = cold_items
    assert run.record("report")["seconds"]["ablation"] > 0
    told = CliRunner().invoke(main, ["report", "--config", str(path)]).stdout
    assert "Did the text pay?" in told
    assert max(map(len, report.ablation_text(run).split("\n"))) <= 110


def test_untrained_text_is_frozen_text_and_what_there_is_not_is_named(tmp_path) -> None:
    world = worlds.checkerboard()
    changes = {"text": {"warm_steps": 0, "steps": 0, "blend_steps": 0}, "ranker": {"trees": 5}}
    path = worlds.write_world(tmp_path, world.items, world.events, changes)
    write_tiny_bert(tmp_path / "tiny_bert", item_texts(world.items), seed=0, hidden=32, layers=1)
    run = face.train(path, ablate=True)
    made = found(run)
    assert [costs["variant"] for costs in made["variants"]] == ["no_text", "frozen", "tuned"]
    assert made["left_out"].keys() == {"tuned_collaborative", "distilled"}
    for content in made["tasks"].values():
        same = difference(content, "tuned", "frozen")
        assert (same["difference"], same["low"], same["high"], same["better"], same["worse"]) == (0, 0, 0, 0, 0)
    told = report.ablation_text(run)
    assert "(tuned - no_text)" in told
    assert "distilled is left out: the layers of text.encoder cannot be halved." in " ".join(told.split())


def test_where_the_run_is_distilled_the_student_is_its_ranker_and_the_teacher_is_tuned(tmp_path) -> None:
    world = worlds.checkerboard()
    changes = QUICK | {"text": QUICK["text"] | {"distil_epochs": 1}}
    content = face.train(worlds.write_world(tmp_path, world.items, world.events, changes), ablate=True).record("report")
    made = content["ablation"]
    assert [costs["variant"] for costs in made["variants"]] == ["no_text", "frozen", "tuned", "distilled"]
    assert made["left_out"] == {"tuned_collaborative": "the text window's validation chose no blend"}
    assert made["distil_epochs"] == 1
    for task, judged in made["tasks"].items():
        assert judged["systems"]["distilled"] == pytest.approx(content["tasks"][task]["systems"]["ranker"]["ndcg@10"])
        assert judged["systems"]["tuned"] != judged["systems"]["distilled"]


def asked(n_users: int, seed: int = 0) -> tuple[dict[str, pl.DataFrame], evaluate.Question]:
    """Random lists of two systems, and a random truth, over twelve items of two ages and three categories."""
    rng = np.random.default_rng(seed)
    users, items = [f"u{n:03}" for n in range(n_users)], [f"i{n:02}" for n in range(12)]
    lists = {}
    for system in ("a", "b"):
        rows = [(user, items[i], place + 1) for user in users for place, i in enumerate(rng.permutation(12)[:10])]
        lists[system] = pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32}, orient="row")
    truth = [(user, items[i], 1) for user in users for i in rng.choice(12, 3, replace=False)]
    columns = {
        "item_id": items,
        "n_users": [1] * 12,
        "item_age": ["older"] * 8 + [COLD] * 4,
        "item_popularity": ["head"] * 12,
        "item_category": [f"c{n % 3}" for n in range(12)],
    }
    return lists, evaluate.Question(
        truth=pl.DataFrame(truth, schema={"user_id": pl.String, "item_id": pl.String, "label": pl.Int32}, orient="row"),
        users=pl.Series("user_id", users),
        relevant_from=1,
        gains=(0.0, 1.0),
        catalogue=pl.DataFrame(columns),
        user_slices=pl.DataFrame({"user_id": users, "user_activity": ["1 to 9 items"] * n_users}),
        n_all_users=n_users,
    )


def ndcg(listed: list[str], relevant: set[str]) -> float:
    worth = [1 / math.log2(place + 2) for place in range(10)]
    ideal = sum(worth[: min(len(relevant), 10)])
    return sum(w for w, item in zip(worth, listed, strict=False) if item in relevant) / ideal


def by_hand(lists: dict[str, pl.DataFrame], question: evaluate.Question, counted: set[str]) -> list[float]:
    """a - b of each user with something relevant among the counted items, written with sets and loops."""
    found = []
    for user in question.users:
        relevant = set(question.truth.filter(pl.col("user_id") == user)["item_id"]) & counted
        if relevant:
            one, other = (lists[s].filter(pl.col("user_id") == user).sort("rank")["item_id"].to_list() for s in ("a", "b"))
            found.append(ndcg(one, relevant) - ndcg(other, relevant))
    return found


def test_differences_overall_by_age_and_by_category_are_those_by_hand() -> None:
    lists, question = asked(25)
    made = evaluate.judge_pairs(lists, question, [("a", "b")], 50, 7)
    everything = by_hand(lists, question, set(question.catalogue["item_id"]))
    (pair,) = made.paired
    assert pair.difference == pytest.approx(np.mean(everything))
    assert (pair.better, pair.worse) == (sum(d > 1e-12 for d in everything), sum(d < -1e-12 for d in everything))
    assert pair.low < pair.difference < pair.high
    for column, value in (("item_age", COLD), ("item_category", "c1")):
        counted = set(question.catalogue.filter(pl.col(column) == value)["item_id"])
        expected = by_hand(lists, question, counted)
        part = next(part for part in made.slices if (part.slice, part.value) == (column, value))
        assert part.n == len(expected)
        assert part.paired[0].difference == pytest.approx(np.mean(expected))


def test_a_variant_against_itself_is_no_difference_anywhere() -> None:
    lists, question = asked(60)
    made = evaluate.judge_pairs({"a": lists["a"], "b": lists["a"]}, question, [("a", "b")], 50, 7)
    for pair in [*made.paired, *(pair for part in made.slices for pair in part.paired)]:
        assert (pair.difference, pair.low, pair.high, pair.better, pair.worse) == (0, 0, 0, 0, 0)


def toy(tmp_path: Path, pairs: dict[str, tuple[float, float, float]]) -> Run:
    """A run whose ablation has these differences (value, low, high) in task all, overall, and ten times so on cold items."""
    made: Any = ablation()
    content = made["tasks"]["all"]
    cold = {"slice": "item_age", "value": COLD, "n": 11, "paired": [dict(pair) for pair in content["paired"]]}
    for part, times in ((content, 1), (cold, 10)):
        for pair in part["paired"]:
            value, low, high = pairs.get(f"{pair['a']} - {pair['b']}", (0.0, -0.1, 0.1))
            pair |= {"difference": value * times, "low": low * times, "high": high * times}
    content["slices"] = [cold]
    return with_run(empty_project(tmp_path)[1], {"ablation": made})


WHOLE, ALONE = "tuned_collaborative - no_text", "tuned - no_text"


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        (
            {WHOLE: (0.02, 0.01, 0.03), ALONE: (0.02, 0.01, 0.03)},
            ["text pays: +0.0200 [+0.0100, +0.0300]", "It pays most where item_age"],
        ),
        ({WHOLE: (0.02, 0.01, 0.03)}, ["text pays", "Without item ids: not decided: +0.0000 [-0.1000, +0.1000]"]),
        ({}, ["not decided: +0.0000"]),
        ({WHOLE: (-0.02, -0.03, -0.01)}, ["text costs: -0.0200", "It costs where item_age is 'cold: no event yet' (-0.2000"]),
    ],
)
def test_the_answer_is_no_firmer_than_its_intervals(tmp_path, pairs, told) -> None:
    answer = " ".join(report.answer(toy(tmp_path, pairs), "all"))
    assert all(part in answer for part in told)
    assert ("text pays:" in answer) == (WHOLE in pairs and pairs[WHOLE][1] > 0)
    assert ("pays most" in answer) == ("text pays:" in answer)


def test_nobody_judged_gives_no_answer_and_no_nan(tmp_path) -> None:
    run = with_run(empty_project(tmp_path)[1], {"ablation": ablation()})
    assert report.answer(run, "new") == ["Task new: nobody is judged, so there is no answer."]
    told = report.ablation_text(run)
    assert "nan" not in told.lower().split()
    assert "None" not in told
    assert report.sliced_frame(run, "new", WHOLE).empty


def test_the_frames_hold_what_was_judged(tmp_path) -> None:
    run = with_run(empty_project(tmp_path)[1], {"ablation": ablation()})
    assert report.variants_frame(run, "all")["variant"].tolist() == list(VARIANTS)
    assert report.variants_frame(run, "all")["training_minutes"].tolist() == [1.75] * 5
    frame = report.differences_frame(run, "all")
    assert frame["pair"].tolist() == [f"{a} - {b}" for a, b in PAIRS]
    assert (frame["word"] == "better").all()
    assert report.sliced_frame(run, "all", WHOLE)["n"].tolist() == [11, 11, 11, 11]


def test_a_run_without_an_ablation_shows_nothing_of_it(tmp_path) -> None:
    path, home = empty_project(tmp_path)
    run = with_run(home)
    assert report.ablation_text(run) == ""
    assert not report.has_ablation(run)
    told = CliRunner().invoke(main, ["report", "--config", str(path)])
    assert told.exit_code == 0
    assert "Did the text pay" not in told.stdout
    assert "ablation" not in json.loads(CliRunner().invoke(main, ["report", "--config", str(path), "--format", "json"]).stdout)
