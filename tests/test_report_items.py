"""What the report says of items, nights and newcomers: known answers, and the sources of the pipeline as the oracle."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_run import AS_OF, ITEM_IDS, RUN_ID, USERS, empty_project, with_night, with_run, with_vectors

from recsys import candidates, report
from recsys.artefacts import Home, Run, draft
from recsys.blocks import Catalogue, History
from recsys.caches import VectorCache
from recsys.config import Candidates
from recsys.errors import ArtefactError
from recsys.item_text import item_texts, text_digests, title_first
from recsys.report.newcomer import RETRIEVED, by_text

ANGLE = np.pi / 20


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return empty_project(tmp_path)[1]


@pytest.fixture
def run(home: Home) -> Run:
    return with_run(home)


def vectors_of(home: Home, run: Run) -> report.TextVectors:
    return report.text_vectors(home, run, home.tables("toytables"))


def of_world(folder: Path, items: pl.DataFrame, events: pl.DataFrame, as_of: datetime) -> tuple[Home, Run]:
    """A project of these tables, and a run as of a moment."""
    home = Home(folder)
    with draft(home.snapshots / "t", {}) as tables:
        tables.table("items", items.sort("item_id"))
        tables.table("events", events)
    with draft(home.runs / "r", {"run_id": "r", "as_of": as_of.isoformat(), "tables": "t"}) as one:
        one.record("report", {})
    return home, home.load("r")


def test_an_items_price_age_and_events_are_those_before_the_as_of(home: Home, run: Run) -> None:
    items = report.items_of(home, run)
    assert items["item_id"].to_list() == ITEM_IDS
    assert items["price"].to_list() == [11.0, 21.0, 31.0, 41.0, 51.0, 5.0, 5.0, 5.0, 5.0, 5.0]
    assert items["n_events"].to_list() == [12] * 5 + [0] * 5
    assert items["since"].to_list() == [AS_OF - timedelta(days=5 - n) for n in range(5)] + [None] * 5
    some = report.items_of(home, run, pl.Series(["item_3", "item_7"]))
    assert some.equals(items.filter(pl.col("item_id").is_in(["item_3", "item_7"])))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.none() | st.integers(1, 5)), min_size=1, max_size=12))
def test_the_latest_price_is_that_of_a_loop_over_the_events(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int | None]]
) -> None:
    names = [f"i{item}" for item in range(3)]
    events = pl.DataFrame(
        [("u", names[item], "click", worlds.START + day * worlds.DAY, None, price, None, None, None) for item, day, price in rows],
        schema=dict(worlds.events_table([]).schema),
        orient="row",
    )
    home, run = of_world(
        tmp_path_factory.mktemp("w"), worlds.items_table([{"item_id": n} for n in names]), events, worlds.START + 5 * worlds.DAY
    )
    for item, found in zip(range(3), report.items_of(home, run)["price"], strict=True):
        before = [(day, price) for one, day, price in rows if one == item and day < 5 and price is not None]
        assert found == (max(before)[1] if before else None)


def test_new_items_are_those_of_the_last_weeks_and_those_with_no_event_yet(tmp_path: Path) -> None:
    start = [None, worlds.END - worlds.DAY, worlds.END - 28 * worlds.DAY, worlds.END - 29 * worlds.DAY, worlds.END, None]
    table = worlds.items_table([{"item_id": f"i{n}", "title": f"t{n}", "available_from": day} for n, day in enumerate(start)])
    events = worlds.events_table([("u", "i5", "click", worlds.END - 40 * worlds.DAY), ("u", "i1", "click", worlds.END - worlds.DAY / 2)])
    home, run = of_world(tmp_path, table, events, worlds.END)
    listed = pl.DataFrame({"item_id": ["i1", "i3"], "n_lists": [4, 9], "mean_rank": [2.0, 1.0]}, schema_overrides={"n_lists": pl.UInt32})
    new = report.new_items(report.items_of(home, run), listed, run)
    assert new["item_id"].tolist() == ["i0", "i1", "i2"]
    assert new["n_lists"].tolist() == [0, 4, 0]
    assert new["days"].tolist()[1:] == [1.0, 28.0]
    assert np.isnan(new["days"][0])


def test_a_search_of_items_finds_the_id_first_then_titles_in_any_case_the_busiest_first(home: Home, run: Run) -> None:
    items = report.items_of(home, run)
    assert report.search_items(items, "item_7", 3)["item_id"].to_list() == ["item_7"]
    assert report.search_items(items, "TITLE OF", 3)["item_id"].to_list() == ["item_1", "item_2", "item_3"]
    assert report.search_items(items, "lamp", 3)["item_id"].to_list() == ["item_0"]
    assert report.search_items(items, ".*", 3).is_empty()


def test_what_a_night_lists_is_counted_by_item_and_by_user(home: Home, run: Run) -> None:
    night = with_night(home, items=["item_2", "item_9"])
    assert report.listed(night).rows() == [("item_2", 11, 1.0), ("item_9", 11, 2.0)]
    assert report.listed_for(night, "item_9").select("user_id", "rank").rows() == [(user, 2) for user in USERS[:-1]]
    assert report.listed_for(night, "item_0").is_empty()


def test_moves_say_how_many_places_higher_an_item_stands() -> None:
    one, other = (pl.DataFrame({"item_id": list(ids), "rank": range(1, 4)}) for ids in ("abc", "cad"))
    assert report.moves(one, other) == [1, None, -2]
    assert report.moves(other, one) == [2, -1, None]


def test_a_reason_names_its_source_and_an_unknown_one_none() -> None:
    assert report.source_of("had it before 3 times, last 2 days ago") == "repurchase"
    assert report.source_of("popular now") == "popularity"
    assert report.source_of("popular in the favourite categories") == "category_popularity"
    assert report.source_of('because you bought "Oak table"') == "text"
    assert report.source_of("because we say so") == ""


def test_near_items_and_their_cosine_are_those_of_the_vectors(home: Home, run: Run) -> None:
    with_vectors(home)
    vectors = vectors_of(home, run)
    near = vectors.nearest("item_4", 3)
    assert set(near["item_id"][:2]) == {"item_3", "item_5"}
    assert near["cosine"][0] == pytest.approx(np.cos(ANGLE), abs=1e-3)
    assert vectors.nearest("nobody", 3).is_empty()
    assert vectors.row("item_40") is None
    assert vectors.among(["item_4", "item_6"]).nearest("item_4", 3)["item_id"].to_list() == ["item_6"]


def test_the_map_is_the_plane_that_the_vectors_lie_in_the_same_every_time(home: Home, run: Run) -> None:
    with_vectors(home)
    vectors = vectors_of(home, run)
    places, share = vectors.plane()
    assert share == pytest.approx(1, abs=1e-3)
    asked = vectors.vectors.astype(np.float64)
    apart = np.linalg.norm(asked[:, None] - asked[None], axis=2)
    assert np.linalg.norm(places[:, None] - places[None], axis=2) == pytest.approx(apart, abs=1e-3)
    assert np.array_equal(places, vectors_of(home, run).plane()[0])


def test_the_plane_holds_as_much_variance_as_a_singular_value_decomposition_says() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 12)) * np.linspace(3, 0.2, 12)
    vectors = report.TextVectors(pl.Series([f"i{n:03}" for n in range(200)]), points.astype(np.float32), 0)
    places, share = vectors.plane()
    left, values, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    assert share == pytest.approx((values[:2] ** 2).sum() / (values**2).sum(), rel=1e-4)
    assert np.abs(places) == pytest.approx(np.abs(left[:, :2] * values[:2]), abs=1e-3)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_map_of_hardly_any_items_is_no_error(n: int) -> None:
    vectors = report.TextVectors(pl.Series([f"i{k}" for k in range(n)], dtype=pl.String), np.eye(3, dtype=np.float32)[:n], 0)
    places, share = vectors.plane()
    assert places.shape == (n, 2)
    assert np.isfinite(share)


def test_vectors_go_through_the_runs_own_projection(home: Home, run: Run) -> None:
    with_vectors(home)
    path = run.file("text/tower.safetensors")
    from safetensors.numpy import save_file

    save_file({"tower.projection.weight": np.array([[0, 0, 1], [1, 0, 0]], np.float32)}, path)
    found = vectors_of(home, run).vectors
    raw = np.stack([np.full(10, 0.01), np.cos(np.arange(10) * ANGLE)], axis=1)
    assert found == pytest.approx(raw / np.linalg.norm(raw, axis=1, keepdims=True), abs=1e-5)


def test_a_text_that_was_encoded_title_first_is_found_too(home: Home, run: Run) -> None:
    template = ("description", "title", "category")
    (run.path / "config.json").write_text(json.dumps({"text": {"template": template}}))
    texts = item_texts(home.tables("toytables").table("items").with_columns(description=pl.lit("long")), title_first(template))
    table = home.tables("toytables").path / "items.parquet"
    pl.read_parquet(table).with_columns(description=pl.lit("long")).write_parquet(table)
    manifest = table.parent / "manifest.json"
    content = json.loads(manifest.read_text())
    content["sizes"]["items.parquet"] = table.stat().st_size
    manifest.write_text(json.dumps(content))
    VectorCache(home.caches / "vectors").add("e" * 32, text_digests(texts[:4]), np.eye(4, 3, dtype=np.float32))
    found = vectors_of(home, run)
    assert found.item_id.to_list() == ITEM_IDS[:4]
    assert found.n_absent == 6


def test_without_vectors_the_message_names_the_command_that_makes_them(home: Home, run: Run) -> None:
    with pytest.raises(ArtefactError, match=r"holds no vector of these items by run .* `recsys rank` encodes them"):
        vectors_of(home, run)
    with pytest.raises(ArtefactError, match="of an earlier recsys"):
        report.text_vectors(home, Run(RUN_ID, run.path, {}), home.tables("toytables"))
    with_vectors(home)
    run.file("text/tower.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ArtefactError, match=r"tower\.safetensors: cannot be read"):
        vectors_of(home, run)


def test_a_newcomers_cosine_is_that_of_the_source_of_the_pipeline(tmp_path: Path) -> None:
    world = worlds.checkerboard()
    home, run = of_world(tmp_path, world.items, world.events, worlds.END)
    choices = report.Choices.of(home, run)
    catalogue, chosen = Catalogue.of(world.items), ["i003", "i010", "i024"]
    weights = dict.fromkeys(worlds.TYPES, 1.0)
    users = world.events["user_id"].unique().sort()
    source = candidates.Neighbours.cosine(History.of(world.events, catalogue, users, worlds.END, weights), catalogue, Candidates())
    asked = worlds.events_table([("new", item, "click", worlds.END - worlds.DAY) for item in chosen])
    block = candidates.Block(History.of(asked, catalogue, pl.Series("user_id", ["new"]), worlds.END, weights), {})
    expected = np.where(np.isfinite(source.score(block)[0]), source.score(block)[0], 0)
    assert choices.cosine(chosen) == pytest.approx(expected, abs=1e-5)


def test_a_newcomers_list_knows_nothing_after_the_as_of(tmp_path: Path) -> None:
    world = worlds.checkerboard()
    until = worlds.END - 20 * worlds.DAY
    whole = of_world(tmp_path / "whole", world.items, world.events, until)
    short = of_world(tmp_path / "short", world.items, world.events.filter(pl.col("event_time") < until), until)
    lists = [report.newcomer_list(report.Choices.of(*one), None, ["i003"], ("item_cosine",), 20) for one in (whole, short)]
    assert lists[0].equals(lists[1])


def test_a_newcomers_list_leaves_out_what_was_chosen_and_what_may_not_be_shown(tmp_path: Path) -> None:
    world = worlds.checkerboard()
    gone = pl.when(pl.col("item_id") == "i005").then(pl.lit(worlds.END - worlds.DAY)).otherwise("available_until").alias("available_until")
    home, run = of_world(tmp_path, world.items.with_columns(gone), world.events, worlds.END)
    made = report.newcomer_list(report.Choices.of(home, run), None, ["i001", "i003"], ("item_cosine", "text"), 50)
    assert made["rank"].to_list() == list(range(1, len(made) + 1))
    assert not {"i001", "i003", "i005"} & set(made["item_id"])
    assert {worlds.parity(item) for item in made["item_id"]} == {1}
    assert set(made["reason"]) == {"chosen by people who chose the same"}


def test_both_ways_are_fused_by_their_places(home: Home, run: Run) -> None:
    with_vectors(home)
    choices, vectors = report.Choices.of(home, run), vectors_of(home, run)
    made = report.newcomer_list(choices, vectors, ["item_1"], ("item_cosine", "text"), 20)
    alone = [report.newcomer_list(choices, vectors, ["item_1"], (way,), RETRIEVED) for way in ("item_cosine", "text")]
    places = [dict(zip(one["item_id"], one["rank"], strict=True)) for one in alone]
    fused = {item: sum(1 / (60 + place[item]) for place in places if item in place) for item in set(places[0]) | set(places[1])}
    assert made["item_id"].to_list() == sorted(fused, key=lambda item: (-fused[item], item))
    assert by_text(choices.catalogue, vectors, ["nobody"]).tolist() == [0.0] * 10


def test_volumes_have_a_row_for_every_day_and_type_also_where_nothing_happened(tmp_path: Path) -> None:
    events = worlds.events_table(
        [("u", "i0", "click", worlds.START), ("u", "i0", "click", worlds.START), ("u", "i0", "cart", worlds.START + 2 * worlds.DAY)]
    )
    home, run = of_world(tmp_path, worlds.items_table([{"item_id": "i0"}]), events, worlds.END)
    found = report.volumes_frame(home, run)
    assert found["event_type"].tolist() == ["click"] * 3 + ["cart"] * 3
    assert found["n"].tolist() == [2, 0, 0, 0, 0, 1]


def test_active_users_are_the_latest_before_the_as_of(tmp_path: Path) -> None:
    rows = [("a", "click", 3), ("b", "click", 5), ("c", "click", 5), ("d", "impression", 6), ("e", "click", 8)]
    events = worlds.events_table([(user, "i0", kind, worlds.START + day * worlds.DAY) for user, kind, day in rows])
    home, run = of_world(tmp_path, worlds.items_table([{"item_id": "i0"}]), events, worlds.START + 7 * worlds.DAY)
    assert report.active_users(home, run, 2) == ["b", "c"]
    assert report.active_users(home, run, 9) == ["b", "c", "a"]


def test_runs_stand_in_the_order_of_their_test_windows(home: Home, run: Run) -> None:
    window = report.object_of(run)["windows"][0]
    earlier = with_run(
        home, {"windows": [window | {"start": "2026-01-01T00:00:00+00:00", "end": "2026-02-01T00:00:00+00:00"}]}, run_id="later"
    )
    frame = report.runs_frame([run, earlier], "all")
    assert frame["run_id"].tolist() == ["later", RUN_ID]
    assert frame["gained"].tolist() == frame["ndcg"].sub(frame["without_text"]).tolist()
    assert frame["best_other_name"].tolist() == ["retrieval"] * 2
    assert report.runs_frame([run], "new")["ndcg"].isna().all()
