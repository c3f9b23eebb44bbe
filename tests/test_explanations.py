"""Every recommendation says why: families sum to the score, the item it is because of was liked, sources and rules are those that were."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ranker import FEATURES, GAINS, SETTINGS, fitted, frame, rows

from recsys import config_file, face, features, ranker, rules
from recsys.artefacts import Home, Run
from recsys.blocks import Catalogue, History
from recsys.errors import PublishError
from recsys.families import _FEATURES, FAMILIES, families
from recsys.liked import NEAR_SHARE, TEXT_HISTORY, near_from, nearest_liked
from recsys.pipeline import forgetting, ranking
from recsys.pipeline import tables as tables_of
from recsys.pipeline.explaining import Explainer
from recsys.pipeline.snapshot import TextSide, chunks
from recsys.ranker import Paths, Rows, fit
from recsys.schema import EXPLANATIONS, REASON_MAX_CHARACTERS, RECOMMENDATIONS, check

# -- families ----------------------------------------------------------------------------------------------------------


def test_every_feature_is_in_exactly_one_family() -> None:
    listed = [feature for of_family in _FEATURES.values() for feature in of_family]
    assert sorted(listed) == sorted(features.names())
    assert list(_FEATURES) == list(FAMILIES)
    assert {name for name, family in families().items() if family == "text"} == set(filter(features.is_text, features.names()))


# -- what each family adds ---------------------------------------------------------------------------------------------

GROUP_OF = {"good": "a", "noise": "b", "item_category": "a"}


def walked(model: ranker.Ranker, row: np.ndarray, n_trees: int) -> dict[str, float]:
    """What a row's way adds, one tree and one split at a time, out of LightGBM's own dump."""
    added = dict.fromkeys(("a", "b", "base"), 0.0)
    leaves = model.booster.predict(row[None, :], pred_leaf=True)[0]
    for tree in model.booster.dump_model()["tree_info"][:n_trees]:
        node = tree["tree_structure"]
        added["base"] += mean_of(node)[0]
        while "leaf_value" not in node:
            taken = next(node[side] for side in ("left_child", "right_child") if leaves[tree["tree_index"]] in leaves_of(node[side]))
            added[GROUP_OF[FEATURES[node["split_feature"]]]] += mean_of(taken)[0] - mean_of(node)[0]
            node = taken
    return added


def leaves_of(node: dict[str, Any]) -> list[int]:
    return [node.get("leaf_index", 0)] if "leaf_value" in node else leaves_of(node["left_child"]) + leaves_of(node["right_child"])


def mean_of(node: dict[str, Any]) -> tuple[float, int]:
    if "leaf_value" in node:
        return node["leaf_value"], node.get("leaf_count", 1)
    sides = [mean_of(node[side]) for side in ("left_child", "right_child")]
    n = sum(count for _, count in sides)
    return sum(mean * count for mean, count in sides) / n, n


def test_contributions_are_those_of_a_walk_down_every_tree() -> None:
    model, some = fitted(), rows(3, seed=5)
    found = Paths.of(model, GROUP_OF, ["a", "b"]).contributions(frame(some))
    for row, values in zip(some.features, found, strict=True):
        np.testing.assert_allclose(values, list(walked(model, row, model.n_trees).values()), atol=1e-12)


def test_they_sum_to_the_raw_score_from_the_base_that_shap_values_start_from() -> None:
    model, table = fitted(), frame(rows(seed=3))
    found = Paths.of(model, GROUP_OF, ["a", "b"]).contributions(table)
    np.testing.assert_allclose(found.sum(axis=1), model.score(table), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[:, -1], model.contributions(table)[:, -1], rtol=1e-9)


def test_rows_of_whom_text_tells_nothing_are_explained_by_the_base_trees_alone() -> None:
    base = fit(rows(), None, FEATURES, SETTINGS, GAINS, 7, 1, 6)
    more = fit(rows(seed=4), None, FEATURES, SETTINGS, GAINS, 7, 1, 14, base=base)
    table, told = frame(rows(seed=3)), np.repeat(np.arange(60) % 3 > 0, 10)
    both = [Paths.of(model, GROUP_OF, ["a", "b"]).contributions(table, told) for model in (more, base)]
    np.testing.assert_allclose(both[0].sum(axis=1), more.score(table, told), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(both[0][~told], both[1][~told], atol=1e-12)
    assert not np.isclose(both[0][told], both[1][told]).all()


def test_nobody_to_explain_and_a_tree_without_a_split_are_no_trouble() -> None:
    alike = replace(rows(), features=np.zeros((600, 3), np.float32))
    model = fit(alike, None, FEATURES, SETTINGS, GAINS, 7, 1, 2)
    paths = Paths.of(model, GROUP_OF, ["a", "b"])
    np.testing.assert_allclose(paths.contributions(frame(alike)).sum(axis=1), model.score(frame(alike)), atol=1e-12)
    assert paths.contributions(frame(rows(0))).shape == (0, 3)


@pytest.mark.parametrize("only", ["text_z", "item_age_days", "pair_due"])
def test_where_one_feature_matters_its_family_has_all(only: str) -> None:
    names, rng = features.names(), np.random.default_rng(0)
    values = np.zeros((2000, len(names)), np.float32)
    values[:, names.index(only)] = rng.normal(size=2000)
    label = (values[:, names.index(only)] > 1).astype(np.int32)
    label[::20] = 1
    model = fit(Rows(values, label, np.repeat(np.arange(100, dtype=np.uint32), 20)), None, names, SETTINGS, (0.0, 1.0), 7, 1, 10)
    table = pl.DataFrame(values, schema=dict.fromkeys(names, pl.Float32))
    found = pl.DataFrame(Paths.of(model, families(), list(FAMILIES)).contributions(table), schema=[*FAMILIES, "base"])
    family = families()[only]
    assert found[family].abs().max() > 0.01
    assert found.select(pl.exclude(family, "base")).to_numpy().any() == np.False_
    np.testing.assert_allclose(found[family] + found["base"], model.score(table), rtol=1e-9)


# -- the item it is because of -----------------------------------------------------------------------------------------

ITEM_IDS = ["a", "b", "c", "d"]
VECTORS = np.array([[1, 0], [1, 0], [0.6, 0.8], [0, 0]], np.float32)
CATALOGUE = Catalogue(worlds.items_table([{"item_id": name} for name in ITEM_IDS]))

happened = st.tuples(st.sampled_from("uv"), st.sampled_from(ITEM_IDS), st.sampled_from(["click", "purchase", "return"]), st.integers(0, 50))


def history_of(events: list[tuple[str, str, str, int]]) -> History:
    table = worlds.events_table([(user, item, kind, worlds.START + timedelta(days=day)) for user, item, kind, day in events])
    return History.of(table, CATALOGUE, pl.Series("user_id", ["u", "v"]), worlds.END, {})


@given(events=st.lists(happened, max_size=12))
@settings(deadline=None)
def test_it_is_the_nearest_of_what_was_liked_as_a_loop_finds_it(events: list[tuple[str, str, str, int]]) -> None:
    user, item = np.repeat(np.arange(2, dtype=np.int32), 4), np.tile(np.arange(4, dtype=np.int32), 2)
    found, is_bought, cosine = nearest_liked(user, item, history_of(events), VECTORS)
    for place in range(8):
        liked = [e for e in events if e[0] == "uv"[user[place]] and e[2] != "return" and e[1] != ITEM_IDS[item[place]]]
        known = [
            (float(VECTORS[ITEM_IDS.index(e[1])] @ VECTORS[item[place]]), e) for e in liked if e[1] != "d" and ITEM_IDS[item[place]] != "d"
        ]
        best = max((value for value, _ in known), default=None)
        if best is None:
            assert (found[place], is_bought[place]) == (-1, False)
            assert np.isnan(cosine[place])
            continue
        assert cosine[place] == pytest.approx(best, abs=1e-6)
        assert ITEM_IDS[found[place]] in {e[1] for value, e in known if value == pytest.approx(best, abs=1e-6)}
        assert is_bought[place] == any(e[1] == ITEM_IDS[found[place]] and e[2] == "purchase" for _, e in known)


def test_only_the_latest_interactions_are_looked_at() -> None:
    events = [("u", "a", "purchase", 0), *(("u", "c", "click", day) for day in range(1, TEXT_HISTORY + 1))]
    one = np.zeros(1, np.int32)
    assert ITEM_IDS[nearest_liked(one, one + 1, history_of(events), VECTORS)[0][0]] == "c"
    assert ITEM_IDS[nearest_liked(one, one + 1, history_of(events[:-1]), VECTORS)[0][0]] == "a"


def test_near_is_what_one_pair_in_a_hundred_is_and_equal_texts_always_are() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = (vectors @ vectors.T)[np.triu_indices(400, 1)]
    assert np.mean(pairs >= near_from(vectors, 7)) == pytest.approx(NEAR_SHARE, rel=0.02)
    assert near_from(np.repeat(vectors[:1], 9, axis=0), 7) < 1
    assert near_from(np.concatenate([vectors[:1], np.zeros((5, 16), np.float32)]), 7) == np.inf
    assert near_from(vectors, 7) == near_from(vectors, 7)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Oak\n table", 'because you bought "Oak table"'),
        ("x" * 500, f'because you bought "{"x" * 59}…"'),
        (None, rules.REASONS["text"]),
        ('5" nails', 'because you bought "5" nails"'),
    ],
)
def test_a_reason_names_the_item_in_one_short_line(title: str | None, expected: str) -> None:
    lists = pl.DataFrame({"reason": [rules.REASONS["text"], "popular now"]})
    found = rules.because(lists, pl.Series([title, title], dtype=pl.String), np.array([True, False]))
    assert found["reason"].to_list() == [expected, "popular now"]
    assert found["reason"].str.len_chars().max() <= REASON_MAX_CHARACTERS


def test_what_was_only_clicked_was_liked_and_not_bought() -> None:
    lists = pl.DataFrame({"reason": [rules.REASONS["text_collaborative"]]})
    assert rules.because(lists, pl.Series(["Mug"]), np.array([False]))["reason"].item() == 'because you liked "Mug"'


# -- whole nights ------------------------------------------------------------------------------------------------------

TWINS = ("i000", "i002")
"""Two items of one text."""
BARE = "i004"
"""An item without a text."""
LONER = "u900"
"""Somebody whose whole history is the first of the twins."""
RULES: dict[str, Any] = {
    "caps": {"category": 4},
    "boosts": {"even": {"where": "item.category = 'even'", "by": 0.5}},
    "pins": {"spring": {"rank": 2, "item": "i005"}},
    "mmr_lambda": 0.8,
}


class Shop(NamedTuple):
    path: Path
    events: pl.DataFrame

    @property
    def home(self) -> Home:
        return Home(self.path.parent / "runs")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    world = worlds.checkerboard()
    twin = world.items.filter(pl.col("item_id") == TWINS[0]).select("title", "description").row(0, named=True)
    of_twins, is_bare = pl.col("item_id").is_in(TWINS), pl.col("item_id") == BARE
    items = world.items.with_columns(
        pl.when(of_twins).then(pl.lit(text)).when(is_bare).then(pl.lit("")).otherwise(name).alias(name) for name, text in twin.items()
    )
    lone = worlds.events_table([(LONER, TWINS[0], "purchase", worlds.END - timedelta(days=3))], price=2.0)
    events = pl.concat([world.events, lone]).sort("user_id", "event_time", "item_id", "event_type")
    short = {"text": {"warm_steps": 30, "steps": 4, "check_steps": 2, "blend_steps": 20, "refresh_steps": 2}, "project": {"task": "all"}}
    path = worlds.write_world(tmp_path_factory.mktemp("shop"), items, events, short)
    face.train(path)
    return Shop(path, events)


def night_of(shop: Shop, out: Path | None, k: int = 8, users: Path | None = None, **sections: dict[str, Any]) -> Run:
    """A night under other values of some sections."""
    with face.job(shop.path) as job:
        made = job.config.model_dump()
        job.config = config_file.parse(made | {name: made[name] | values for name, values in sections.items()}, "test")
        path = ranking.rank(job, None, None, users, k, out, False)
    return Run(path.name, path, json.loads((path / "manifest.json").read_text()))


def lists_of(night: Run) -> pl.DataFrame:
    return pl.read_parquet(night.path / "recommendations")


def whys_of(night: Run) -> pl.DataFrame:
    return check(pl.read_parquet(night.path / "explanations"), EXPLANATIONS)


def off(lists: pl.DataFrame, why: pl.DataFrame) -> float:
    """How far the families sum beside the score, at most, as a share of what they add and take."""
    values = why.select("base", *FAMILIES).cast(pl.Float64).to_numpy()
    return float(np.nanmax(np.abs(values.sum(axis=1) - lists["score"].to_numpy()) / np.abs(values).sum(axis=1)))


@pytest.fixture(scope="module")
def night(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return night_of(shop, tmp_path_factory.mktemp("night"))


def test_every_row_is_explained_and_its_families_sum_to_its_score(night: Run) -> None:
    lists, why = lists_of(night), whys_of(night)
    assert why.select("user_id", "item_id", "rank").equals(lists.select("user_id", "item_id", "rank"))
    assert why.columns == EXPLANATIONS.names
    assert why.select("base", *FAMILIES).null_count().sum_horizontal().item() == 0
    assert off(lists, why) < 1e-6
    assert why.select(pl.col(name).n_unique() for name in FAMILIES).sum_horizontal().item() > 9 * 5


def test_its_parts_are_in_the_manifest_and_verified_like_the_lists(night: Run) -> None:
    parts = [sorted(path.name for path in (night.path / table).iterdir()) for table in ("recommendations", "explanations")]
    assert parts[0] == parts[1]
    assert {f"explanations/{name}" for name in parts[1]} <= night.manifest["digests"].keys()
    night.verify()


def test_the_reason_is_of_the_first_of_the_sources(night: Run) -> None:
    both = lists_of(night).join(whys_of(night), on=["user_id", "item_id"])
    assert both["sources"].list.len().min() > 0
    for reason, found, near in both.select("reason", "sources", "because_item_id").iter_rows():
        if reason.startswith(rules.BECAUSE):
            assert found[0].startswith("text")
            assert near is not None
        elif not reason.startswith("had it before"):
            assert reason == rules.REASONS[found[0]]
            assert near is None or not found[0].startswith("text")
        else:
            assert found == ["repurchase"]
    assert both["reason"].str.starts_with(rules.BECAUSE).any()


def test_what_an_item_is_because_of_was_liked_by_that_user(shop: Shop, night: Run) -> None:
    named = whys_of(night).drop_nulls("because_item_id")
    assert named.height > 0
    assert named.filter(pl.col("because_item_id") == pl.col("item_id")).is_empty()
    liked = shop.events.filter(pl.col("event_type").is_in(["click", "purchase"])).select("user_id", because_item_id="item_id").unique()
    assert named.join(liked, on=["user_id", "because_item_id"], how="anti").is_empty()
    assert named["because_similarity"].null_count() == 0
    assert (
        whys_of(night).filter(pl.col("because_item_id").is_null())["because_similarity"].null_count()
        == whys_of(night).height - named.height
    )


def test_an_item_of_the_same_text_as_the_one_that_was_bought_is_because_of_it(shop: Shop, tmp_path: Path) -> None:
    night = night_of(shop, tmp_path, k=40)
    listed = (
        lists_of(night).join(whys_of(night), on=["user_id", "item_id"]).filter(pl.col("user_id") == LONER, pl.col("item_id") == TWINS[1])
    )
    assert listed["because_item_id"].item() == TWINS[0]
    assert listed["because_similarity"].item() == pytest.approx(1, abs=1e-5)
    words = listed["reason"].item()
    assert words.startswith('because you bought "') if listed["sources"].item()[0].startswith("text") else words in rules.REASONS.values()


def test_an_item_without_a_text_is_because_of_none_and_none_is_because_of_it(shop: Shop, tmp_path: Path) -> None:
    why = whys_of(night_of(shop, tmp_path, k=40))
    assert why.filter(pl.col("item_id") == BARE).height > 0
    assert why.filter(pl.col("item_id") == BARE)["because_item_id"].null_count() == why.filter(pl.col("item_id") == BARE).height
    assert BARE not in why["because_item_id"].drop_nulls()


def test_somebody_without_a_history_is_explained_by_the_base_and_because_of_nothing(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("a stranger\nu001\n")
    night = night_of(shop, tmp_path / "out", users=tmp_path / "users.txt")
    of_stranger = whys_of(night).filter(pl.col("user_id") == "a stranger")
    assert of_stranger.height == 8
    assert of_stranger["because_item_id"].null_count() == 8
    assert set(of_stranger["sources"].explode()) == {"popularity"}
    assert (of_stranger["text"] == 0).all()
    assert off(lists_of(night), whys_of(night)) < 1e-6


def test_families_are_kept_for_the_first_places_and_the_rest_for_all(shop: Shop, tmp_path: Path) -> None:
    why = whys_of(night_of(shop, tmp_path, rank={"explain": 3}))
    assert (why["base"].is_not_null() == (why["rank"] <= 3)).all()
    assert why["sources"].list.len().min() > 0
    assert why["rank"].max() == 8


def test_lists_shorter_than_what_is_explained_are_explained_whole(shop: Shop, tmp_path: Path) -> None:
    night = night_of(shop, tmp_path, k=2, rank={"explain": 50})
    assert whys_of(night)["base"].null_count() == 0
    assert whys_of(night)["rank"].max() == 2


def test_where_nothing_is_to_be_explained_no_table_is_written_and_the_lists_are_the_same(shop: Shop, night: Run, tmp_path: Path) -> None:
    none = night_of(shop, tmp_path, rank={"explain": 0})
    assert not (none.path / "explanations").exists()
    assert lists_of(none).equals(lists_of(night))


def test_rules_say_which_of_them_acted_and_what_the_place_was(shop: Shop, night: Run, tmp_path: Path) -> None:
    plain = lists_of(night).select("user_id", "item_id", plain="rank")
    ruled = night_of(shop, tmp_path / "all", rules=RULES)
    lists = lists_of(ruled)
    why = whys_of(ruled).join(plain, on=["user_id", "item_id"], how="left", maintain_order="left")
    assert why["plain_rank"].equals(why["plain"], check_names=False)
    by_rule = {
        name: why.filter(pl.col("rules").list.contains(name)) for name in ("caps.category", "boosts.even", "pins.spring", "mmr_lambda")
    }
    assert set(why["rules"].explode().drop_nulls()) == set(by_rule)
    pinned = why.filter(pl.col("rules").list.contains("pins.spring"))
    assert by_rule["boosts.even"]["item_id"].unique().sort().to_list() == sorted(
        set(why["item_id"].filter(why["item_id"].str.slice(1).cast(pl.Int32) % 2 == 0))
    )
    assert pinned.select("item_id", "rank").unique().rows() == [("i005", 2)]
    assert (lists.filter(pl.col("item_id") == "i005", pl.col("rank") == 2).height) == pinned.height
    for name in ("caps", "mmr_lambda"):
        alone = lists_of(night_of(shop, tmp_path / name, rules={name: RULES[name]})).select("user_id", "item_id", alone="rank")
        both = why.join(alone, on=["user_id", "item_id"], how="left", maintain_order="left")
        acted = both["rules"].list.contains("caps.category" if name == "caps" else name)
        assert acted.equals((both["alone"].fill_null(0) != both["plain"].fill_null(0)), check_names=False)
    assert off(lists, whys_of(ruled)) < 1e-6  # the published score stays the ranker's own


def test_a_pinned_item_that_was_no_candidate_has_no_families(shop: Shop, tmp_path: Path) -> None:
    night = night_of(shop, tmp_path, rules=RULES)
    why = lists_of(night).join(whys_of(night), on=["user_id", "item_id"], maintain_order="left")
    outside = why.filter(pl.col("sources").list.len() == 0)
    assert outside.height > 0
    assert outside["item_id"].unique().to_list() == ["i005"]
    assert outside["reason"].unique().to_list() == [rules.PINNED]
    assert outside.select("base", *FAMILIES).null_count().row(0) == (outside.height,) * 10
    assert why.filter(pl.col("sources").list.len() > 0)["base"].null_count() == 0


def test_without_rules_none_acted_and_every_place_is_its_own(night: Run) -> None:
    why = whys_of(night)
    assert why["rules"].list.len().max() == 0
    assert why["plain_rank"].equals(why["rank"], check_names=False)


def ready_of(shop: Shop) -> tuple[Any, ranking.Ready]:
    with face.job(shop.path) as job:
        run = job.home.load()
        tables = job.home.tables(run.manifest["tables"])
        job.config = ranking.config_of(job, run)
        return job, ranking.make_ready(job, run, *tables_of.read(tables), worlds.END)


def test_a_run_without_text_explains_and_names_no_item(shop: Shop) -> None:
    job, ready = ready_of(shop)
    blind = ready.known.knowing(replace(ready.known.text, vectors={}))
    ready = replace(ready, known=blind)
    users = pl.Series("user_id", ["u000", "u001"])
    lists = pl.concat(ready.lists(job, users, 5, ranking.ruling_of(job, ready, None, 5), explain=5))
    assert lists["because_item_id"].null_count() == lists.height == 10
    assert (lists["text"] == 0).all()
    assert off(lists, lists) < 1e-6


def test_the_similarity_is_the_feature_that_the_ranker_saw(shop: Shop) -> None:
    job, ready = ready_of(shop)
    assert isinstance(ready.known.text, TextSide)
    explainer = Explainer.of(ready.known, ready.model, -1.0, 40)  # everything is near
    (chunk,) = chunks(ready.known, ready.events, pl.Series("user_id", ["u000", LONER]), job.clock)
    ids = ready.known.catalogue.ids(chunk.pool.item)
    users = chunk.block.history.user_ids.gather(chunk.pool.user)
    lists = pl.DataFrame({"user_id": users, "item_id": ids, "rank": pl.Series([1] * len(ids), dtype=pl.Int32), "reason": [""] * len(ids)})
    why = explainer.explained(chunk, lists, None)
    np.testing.assert_allclose(why["because_similarity"].cast(pl.Float64), chunk.frame["text_best"].cast(pl.Float64), rtol=1e-6)
    assert why["because_item_id"].is_null().equals(chunk.frame["text_best"].is_null(), check_names=False)


def test_features_that_are_missing_are_explained_too(shop: Shop) -> None:
    job, ready = ready_of(shop)
    (chunk,) = chunks(ready.known, ready.events, pl.Series("user_id", ["u000"]), job.clock)
    for missing in (None, float("nan")):
        table = chunk.frame.with_columns(pl.lit(missing, pl.Float32).alias(name) for name in chunk.frame.columns[::2])
        found = Paths.of(ready.model, families(), list(FAMILIES)).contributions(table, chunk.told)
        np.testing.assert_allclose(found.sum(axis=1), ready.model.score(table, chunk.told), rtol=1e-9, atol=1e-12)


def shifted(found: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given, **more: found(*given, **more) + 0.01


def test_families_that_do_not_sum_to_the_score_refuse_the_night(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    served = night_of(shop, None)
    monkeypatch.setattr(Paths, "contributions", shifted(Paths.contributions))
    with pytest.raises(
        PublishError, match=r"explanations/part-00000: families of \d+ of \d+ rows do not sum to the score \(first: user_id="
    ):
        night_of(shop, None)
    assert shop.home.night().path == served.path


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda frame: frame.drop("sources"), "'sources' is missing"),
        (lambda frame: frame.with_columns(pl.col("base").cast(pl.Float64)), "'base' is Float64"),
    ],
)
def test_an_explanation_that_is_not_of_the_table_refuses_the_night(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, harm: Callable[[pl.DataFrame], pl.DataFrame], told: str
) -> None:
    explained = Explainer.explained
    monkeypatch.setattr(Explainer, "explained", lambda *given: harm(explained(*given)))
    with pytest.raises(Exception, match=told):
        night_of(shop, tmp_path)
    assert not list(tmp_path.iterdir())


def test_forgetting_a_user_reaches_their_explanations(shop: Shop) -> None:
    night = night_of(shop, None)
    n_before = whys_of(night).height
    with face.job(shop.path) as job:
        done = forgetting.forget(job, LONER)
    assert LONER not in whys_of(night)["user_id"]
    assert whys_of(night).height == n_before - 8
    assert done.rows[str(night.path.relative_to(shop.home.folder))] == 16
    shop.home.night().verify()
    assert lists_of(night).columns == RECOMMENDATIONS.names
