"""Between chance and the best possible order: the anchors of a verdict; and the slices of a whole training on a shop's own columns."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import worlds
from click.testing import CliRunner

from recsys import config_file, face, report
from recsys.artefacts import Run
from recsys.cli import main
from recsys.errors import ConfigError, RecsysError, SourceError
from recsys.evaluate import Figure, anchors_of, random_scores
from recsys.pipeline.slicing import made_by, try_slices, user_slices
from recsys.report import rows

SLICES = ["item.brand", "item.weight", "user.country", "user.points", "user.nothing"]
QUICK = {
    "items": {
        "columns": {name: name for name in ("item_id", "title", "description", "category", "brand")},
        "extra": {"weight": "CAST(weight AS DOUBLE)"},
    },
    "events": {"columns": {name: name for name in ("user_id", "item_id", "event_type", "event_time")}},
    "users": {
        "path": "users.csv",
        "columns": {name: name for name in ("user_id", "country", "nothing")} | {"points": "CAST(points AS INTEGER)"},
    },
    "text": {"warm_steps": 5, "steps": 0, "blend_steps": 0},
    "ranker": {"trees": 5},
    "evaluate": {"slices": SLICES, "bootstrap": 50},
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """The checkerboard without prices, with brands and weights, and a table of users in which one is missing."""
    world, folder = worlds.checkerboard(), tmp_path_factory.mktemp("shop")
    n = world.items.height
    own = {"brand": [f"b{i % 3}" if i else None for i in range(n)], "weight": [float(i) for i in range(n)]}
    path = worlds.write_world(folder, world.items, world.events, QUICK)
    world.items.with_columns(pl.Series(name, values) for name, values in own.items()).write_csv(folder / "items.csv")
    users = world.events["user_id"].unique().sort()[1:]
    table = {"user_id": users, "country": ["DE", "FR", "DE"] * 13, "points": range(39), "nothing": [None] * 39}
    pl.DataFrame(table).write_csv(folder / "users.csv")
    return path, face.train(path)


def values(run: Run, task: str) -> dict[str, list[dict[str, Any]]]:
    parts = run.record("report")["tasks"][task]["slices"]
    return {name: [part for part in parts if part["slice"] == name] for name in dict.fromkeys(part["slice"] for part in parts)}


def test_a_verdict_has_every_slice_cold_first_and_those_that_the_config_names(shop) -> None:
    for task in ("all", "new"):
        found = values(shop[1], task)
        own = ["item_popularity", "item_popularity_decile", "item_category", "item_price"]
        assert list(found) == ["item_age", "user_activity", *own, "item.brand", "item.weight", "event_type", *SLICES[2:]]
        for parts in found.values():
            assert sum(part["share"] for part in parts) == pytest.approx(1)
    assert {part["value"] for part in found["item.brand"]} <= {"b0", "b1", "b2", "(unknown)"}
    assert all(part["value"].startswith("quarter ") for part in found["item.weight"])


def test_without_any_price_or_value_all_is_unknown_and_counted(shop) -> None:
    n = shop[1].record("report")["tasks"]["all"]["systems"]["ranker"]["ndcg@10"]["n"]
    for name in ("item_price", "user.nothing"):
        assert [(part["value"], part["n"], part["share"]) for part in values(shop[1], "all")[name]] == [("(unknown)", n, 1.0)]


def test_a_user_who_is_not_in_the_table_of_users_is_unknown_and_counted(shop) -> None:
    unknown = [part for part in values(shop[1], "all")["user.country"] if part["value"] == "(unknown)"]
    assert [part["n"] for part in unknown] == [1]
    assert unknown[0]["is_small"]
    assert unknown[0]["paired"][0]["low"] is None


def test_no_order_of_the_candidates_beats_the_oracle_for_anybody(shop) -> None:
    _, run = shop
    wide = run.table("per_user").pivot("system", index=["task", "user_id"], values="ndcg@10")
    for system in ("ranker", "ranker_no_text", "retrieval"):
        assert (wide["oracle"] >= wide[system] - 1e-12).all()
    oracle = {task: by["oracle"]["recall@10"]["value"] for task, by in _systems(run).items()}
    assert oracle["all"] <= run.record("report")["candidate_recall"]["total"] + 1e-12
    assert _systems(run)["all"]["oracle"]["ndcg@10"]["value"] > _systems(run)["all"]["random"]["ndcg@10"]["value"]


def _systems(run: Run) -> dict[str, Any]:
    return {task: content["systems"] for task, content in run.record("report")["tasks"].items()}


def test_the_oracle_lists_every_relevant_candidate_that_there_is_room_for(shop) -> None:
    path, run = shop
    with face.job(path) as job:
        events = job.home.tables(run.manifest["tables"]).table("events")
    window = run.table("windows").filter(pl.col("name") == "test").row(0, named=True)
    inside = events.filter(pl.col("event_time").is_between(window["start"], window["end"], closed="left"))
    wanted = inside.select("user_id", "item_id").unique()
    listed = run.table("lists").filter((pl.col("task") == "all") & (pl.col("system") == "oracle"))
    hits = listed.join(wanted, on=["user_id", "item_id"], how="semi")
    # Whatever was wanted comes first: no list has a hit below a miss.
    by_user = hits.group_by("user_id").agg(n=pl.len(), last=pl.col("rank").max())
    assert by_user.height > 20
    assert (by_user["n"] == by_user["last"]).all()
    others = run.table("lists").filter((pl.col("task") == "all") & (pl.col("system") == "ranker"))
    found = others.join(wanted, on=["user_id", "item_id"], how="semi").group_by("user_id").len().join(by_user, on="user_id", how="left")
    assert (found["len"] <= found["n"]).all()


def test_random_lists_hold_to_the_same_mask(shop) -> None:
    path, run = shop
    with face.job(path) as job:
        events = job.home.tables(run.manifest["tables"]).table("events")
    start = run.table("windows").filter(pl.col("name") == "test")["start"][0]
    seen = events.filter(pl.col("event_time") < start).select("user_id", "item_id")
    listed = run.table("lists").filter((pl.col("task") == "new") & (pl.col("system") == "random"))
    assert listed.height > 100
    assert listed.join(seen, on=["user_id", "item_id"], how="semi").is_empty()


def test_the_report_says_what_the_figure_is_worth_and_hides_the_oracle_from_the_pairs(shop) -> None:
    path, run = shop
    told = CliRunner().invoke(main, ["report", "--config", str(path)]).stdout
    assert "the best order of what was retrieved" in " ".join(told.split())
    assert "oracle" not in [row["against"] for row in rows.paired(run.record("report"), "all")]
    assert "random" in [row["against"] for row in rows.paired(run.record("report"), "all")]
    assert "item_popularity_decile" not in told
    assert next(line.split() for line in told.split("\n") if "item.brand" in line) == ["item.brand", "of", "relevant"]
    assert max(map(len, report.verdict_text(run).split("\n"))) <= 110
    content = json.loads(CliRunner().invoke(main, ["report", "--config", str(path), "--format", "json"]).stdout)
    assert content["tasks"]["all"]["anchors"].keys() == {"value", "random", "popularity", "oracle", "way"}
    assert isinstance(content["tasks"]["all"]["traps"], list)


def figures(**means: float) -> dict[str, dict[str, Figure]]:
    return {name: {"ndcg@10": Figure(mean, mean, mean, 5)} for name, mean in means.items()}


@pytest.mark.parametrize(
    ("means", "way", "words"),
    [
        ((0.34, 0.14, 0.64), 0.4, "the ranker is 40% of the way from popularity to that."),
        ((0.10, 0.14, 0.64), -0.08, "the ranker is below popularity."),
        ((0.14, 0.14, 0.14), None, "no order of the candidates is above popularity."),
    ],
)
def test_a_figure_stands_between_popularity_and_the_best_order(means: tuple[float, ...], way: float | None, words: str) -> None:
    ranker, popularity, oracle = means
    found = anchors_of(figures(ranker=ranker, random=0.002, popularity=popularity, oracle=oracle), "ranker").as_dict()
    assert found["way"] == (None if way is None else pytest.approx(way))
    line = report.anchors_line({"tasks": {"all": {"anchors": found}}}, "all")
    assert line.startswith(f"ndcg@10 {ranker:.4f}: random reaches 0.0020, popularity {popularity:.4f}, the best order")
    assert line.endswith(words)


def test_where_nobody_is_judged_or_an_earlier_run_knows_no_anchors_no_line_is_said() -> None:
    nobody = anchors_of(figures(**dict.fromkeys(("ranker", "random", "popularity", "oracle"), math.nan)), "ranker").as_dict()
    assert set(nobody.values()) == {None}
    assert report.anchors_line({"tasks": {"all": {"anchors": nobody}}}, "all") == ""
    assert report.anchors_line({"tasks": {"all": {}}}, "all") == ""


@pytest.mark.parametrize("n_items", [6, 7])
def test_chance_is_the_same_however_the_users_are_cut_into_blocks(n_items: int) -> None:
    whole = random_scores(7, 0, 10, n_items)
    parts = [random_scores(7, first, n, n_items) for first, n in ((0, 3), (3, 1), (4, 6))]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert len(np.unique(whole)) == whole.size
    assert not np.array_equal(whole, random_scores(8, 0, 10, n_items))


def test_chance_prefers_no_item() -> None:
    first = np.argmax(random_scores(7, 0, 20_000, 5), axis=1)
    assert np.bincount(first) == pytest.approx([4000] * 5, rel=0.06)


def with_slices(*asked: str) -> dict[str, Any]:
    return worlds.settings(QUICK | {"evaluate": {"slices": list(asked)}})


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["item.brand", "item.brand"], "evaluate.slices: 'item.brand' is there twice"),
        (["item.brnd"], "evaluate.slices: 'item.brnd' is no column of items or users; did you mean 'item.brand'?"),
        (["user.contry"], "did you mean 'user.country'?"),
        (["brand"], "'brand' is no column of items or users; did you mean 'item.brand'?"),
        (["item.item_id"], "'item.item_id' is an id"),
        (["user.user_id"], "'user.user_id' is an id"),
        (["item.category"], "'item.category' is a slice without being asked for, item_category; take it away"),
    ],
)
def test_slices_that_make_no_sense_are_refused_when_the_config_is_read(asked: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config_file.parse(with_slices(*asked), "recsys.toml")
    assert told in str(refused.value)


def test_a_list_or_a_date_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    made = config_file.parse(with_slices("item.brand", "user.country"), "x")
    items, users = pl.DataFrame({"brand": [["a"], ["b"]]}), pl.DataFrame({"country": ["DE"]})
    with pytest.raises(SourceError, match=r"evaluate.slices: item.brand is List\(String\)"):
        try_slices(made, items, users.lazy())
    try_slices(made, pl.DataFrame({"brand": ["a"]}), users.lazy())
    world = worlds.checkerboard()
    changes = {"evaluate": {"slices": ["item.available_from"]}}
    path = worlds.write_world(tmp_path, world.items, world.events, changes)
    with pytest.raises(RecsysError, match=r"evaluate.slices: item.available_from is Datetime"):
        face.train(path)
    told = CliRunner().invoke(main, ["check", "--config", str(path)])
    assert told.exit_code == 1
    assert "item.available_from is Datetime" in told.stdout
    assert not (tmp_path / "runs" / "runs").exists()


def test_one_user_without_a_table_of_users_has_a_slice() -> None:
    seen = pl.DataFrame({"user_id": ["u"] * 12, "item_id": [f"i{n}" for n in range(12)]})
    made = user_slices(pl.Series("user_id", ["u"]), seen, None, worlds.config())
    assert made.rows() == [("u", "10 to 49 items")]
    nobody = user_slices(pl.Series("user_id", [], dtype=pl.String), seen, None, worlds.config())
    assert nobody.is_empty()


def test_event_types_of_one_label_are_one_value_and_what_is_not_relevant_none() -> None:
    types = {name: dict(kind) for name, kind in worlds.TYPES.items()}
    types["cart"]["label"] = 1
    made = worlds.config({"events": {"types": types}})
    assert made_by(made) == ("", "click or cart", "", "purchase")
    strict = worlds.config({"events": {"types": types}, "evaluate": {"relevant_from": 2}})
    assert made_by(strict) == ("", "", "", "purchase")
