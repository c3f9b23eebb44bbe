"""LambdaMART: what it learns, what it refuses, and that the same rows give the same bytes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.config import Ranker as Settings
from recsys.errors import ArtefactError, ConfigError, TableError
from recsys.ranker import MAX_ROWS_A_QUERY, Ranker, Rows, fit, groups

FEATURES = ["good", "noise", "item_category"]
SETTINGS = Settings(trees=30, leaves=7, min_rows_leaf=5, early_stopping=5, feature_share=1.0)
GAINS = (0.0, 1.0, 2.0, 3.0)


def rows(n_queries: int = 60, seed: int = 0, bend: float = 0.0) -> Rows:
    """Queries of ten items whose label rises with the first feature; `bend` makes it fall again at the upper end."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(10 * n_queries, 3)).astype(np.float32)
    features[:, 2] = rng.integers(0, 5, len(features))
    features[rng.random(features.shape) < 0.05] = np.nan
    worth = np.nan_to_num(features[:, 0]) + 0.3 * rng.normal(size=len(features))
    worth = np.where(worth > 1, worth - bend * worth, worth)
    label = np.digitize(worth, [0.5, 1.0, 1.5]).astype(np.int32)
    label[::10] = np.maximum(label[::10], 1)
    return Rows(features, label, np.repeat(np.arange(n_queries, dtype=np.uint32), 10))


def fitted(seed: int = 7, threads: int = 1, valid: bool = True, **changes: Any) -> Ranker:
    held_out = rows(30, seed=1) if valid else None
    return fit(rows(), held_out, FEATURES, SETTINGS.model_copy(update=changes), GAINS, seed, threads, None if valid else 8)


def frame(of: Rows) -> pl.DataFrame:
    return pl.DataFrame(of.features, schema=dict.fromkeys(FEATURES, pl.Float32)).fill_nan(None)


def test_it_learns_what_makes_items_good() -> None:
    model, unseen = fitted(), rows(50, seed=2)
    scores = model.score(frame(unseen)).reshape(-1, 10)
    best = unseen.label.reshape(-1, 10)[np.arange(50), scores.argmax(axis=1)]
    assert best.mean() > 2
    assert next(iter(model.importance())) == "good"


def test_each_tree_is_heard_of_with_its_figure_and_what_is_raised_there_passes() -> None:
    heard: list[tuple[int, float]] = []
    whole = fit(rows(), rows(30, seed=1), FEATURES, SETTINGS, GAINS, 7, 1, on_tree=lambda n, figure: heard.append((n, figure)))
    assert heard == list(enumerate(whole.curve, start=1))

    def stop(n: int, figure: float) -> None:
        raise KeyError(n)

    with pytest.raises(KeyError, match="1"):
        fit(rows(), rows(30, seed=1), FEATURES, SETTINGS, GAINS, 7, 1, on_tree=stop)


def test_shuffled_rows_are_refused() -> None:
    whole = rows()
    order = np.random.default_rng(0).permutation(len(whole.label))
    shuffled = Rows(whole.features[order], whole.label[order], whole.query_id[order])
    with pytest.raises(TableError, match="not contiguous"):
        fit(shuffled, None, FEATURES, SETTINGS, GAINS, 7, 1, 5)


def test_groups_are_the_sizes_of_the_queries_in_order() -> None:
    assert groups(np.array([4, 4, 1, 9, 9, 9], np.uint32)).tolist() == [2, 1, 3]
    assert groups(np.array([], np.uint32)).tolist() == []


def test_a_query_too_long_for_lightgbm_is_refused_with_the_setting_to_lower() -> None:
    groups(np.zeros(MAX_ROWS_A_QUERY, np.uint32))
    with pytest.raises(TableError, match=r"10001 rows.*candidates\.per_source"):
        groups(np.zeros(MAX_ROWS_A_QUERY + 1, np.uint32))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_rows_and_seed_give_the_same_bytes(threads: int) -> None:
    assert fitted(threads=threads).text() == fitted(threads=threads).text()


def test_the_number_of_threads_changes_no_score() -> None:
    table = frame(rows(seed=3))
    np.testing.assert_array_equal(fitted(threads=1).score(table), fitted(threads=2).score(table))


def test_a_model_read_back_from_text_gives_the_same_scores(tmp_path: Path) -> None:
    model, table = fitted(), frame(rows(seed=3))
    (tmp_path / "ranker.txt").write_text(model.text())
    read = Ranker.load(tmp_path / "ranker.txt")
    np.testing.assert_array_equal(read.score(table), model.score(table))
    assert (read.features, read.n_trees) == (model.features, model.n_trees)
    assert read.text() == model.text()


def test_features_are_taken_by_name_and_a_null_is_missing() -> None:
    model, table = fitted(), frame(rows(seed=3))
    turned = table.select(reversed(FEATURES)).with_columns(more=pl.lit(1))
    np.testing.assert_array_equal(model.score(turned), model.score(table))
    np.testing.assert_array_equal(model.score(table.with_columns(pl.all().fill_null(float("nan")))), model.score(table))


def test_contributions_sum_to_the_raw_score() -> None:
    model, table = fitted(), frame(rows(seed=3))
    shares = model.contributions(table)
    assert shares.shape == (table.height, len(FEATURES) + 1)
    np.testing.assert_allclose(shares.sum(axis=1), model.score(table), atol=1e-9)


def test_a_monotone_feature_never_pulls_the_score_the_other_way() -> None:
    bent = rows(200, bend=1.5)
    line = pl.DataFrame({"good": np.linspace(-3, 3, 200), "noise": 0.0, "item_category": 1.0})
    free = fit(bent, None, FEATURES, SETTINGS, GAINS, 7, 1, 20).score(line)
    held = fit(bent, None, FEATURES, SETTINGS.model_copy(update={"monotone": {"good": 1}}), GAINS, 7, 1, 20).score(line)
    assert (np.diff(free) < 0).any()
    assert (np.diff(held) >= 0).all()
    assert held[-1] > held[0]


def test_a_monotone_feature_that_does_not_exist_is_refused() -> None:
    columns = ["good", "noise", "text_score"]
    settings = SETTINGS.model_copy(update={"monotone": {"nois": 1}})
    with pytest.raises(ConfigError, match=r"ranker\.monotone: no such feature: nois; did you mean 'noise'"):
        fit(rows(), rows(20, seed=1), columns, settings, GAINS, 7, 1)


def test_label_gain_reaches_lightgbm() -> None:
    assert "[label_gain: 0,1,2,3]" in fitted().text()
    steep = fit(rows(), None, FEATURES, SETTINGS, (0.0, 1.0, 3.0, 70.0), 7, 1, 8)
    assert "[label_gain: 0,1,3,70]" in steep.text()
    assert not np.array_equal(steep.score(frame(rows())), fitted(valid=False).score(frame(rows())))


def test_early_stopping_keeps_the_best_trees_and_no_more() -> None:
    model = fitted(trees=300)
    assert 1 <= model.n_trees < 300
    assert model.booster.num_trees() == model.n_trees
    assert np.argmax(model.curve) + 1 == model.n_trees


def test_without_a_valid_window_exactly_the_trees_asked_for_are_grown() -> None:
    model = fitted(valid=False)
    assert (model.n_trees, model.booster.num_trees(), model.curve) == (8, 8, [])


def test_a_label_without_a_gain_is_no_silent_zero() -> None:
    high = replace(rows(), label=np.full(600, 9, np.int32))
    with pytest.raises(Exception, match="label"):
        fit(high, None, FEATURES, SETTINGS, GAINS, 7, 1, 5)


@pytest.mark.parametrize("content", [b"", b"no trees here", b"tree\nversion=v4\n", b"\xff\xfe\x00"])
def test_what_is_no_model_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ranker.txt"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"ranker\.txt"):
        Ranker.load(path)


def test_a_model_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"gone\.txt"):
        Ranker.load(tmp_path / "gone.txt")


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9, 0.999])
def test_half_a_model_is_refused(tmp_path: Path, share: float) -> None:
    text = fitted().text()
    path = tmp_path / "ranker.txt"
    path.write_text(text[: int(share * len(text))])
    with pytest.raises(ArtefactError, match=r"ranker\.txt: not a whole"):
        Ranker.load(path)


def test_a_ranker_goes_on_from_the_trees_of_its_base() -> None:
    told = rows()
    blind = replace(told, features=np.where(np.array(FEATURES) == "good", np.nan, told.features).astype(np.float32))
    held_out = rows(30, seed=1)
    base = fit(blind, None, FEATURES, SETTINGS, GAINS, 7, 1, 6)
    heard: list[int] = []
    more = fit(told, held_out, FEATURES, SETTINGS, GAINS, 7, 1, on_tree=lambda n, _: heard.append(n), base=base)
    assert heard == list(range(1, len(more.curve) + 1))
    assert more.n_trees == base.n_trees + int(np.argmax(more.curve)) + 1
    matrix = rows(20, seed=2).features
    np.testing.assert_array_equal(more.booster.predict(matrix, num_iteration=6), base.booster.predict(matrix))
    assert "good" not in [name for name, gain in base.importance().items() if gain]
    assert next(iter(more.importance())) == "good"
    again = fit(told, None, FEATURES, SETTINGS, GAINS, 7, 1, more.n_trees, base=base)
    np.testing.assert_array_equal(again.booster.predict(matrix), more.booster.predict(matrix))


def test_the_base_alone_scores_the_rows_that_the_added_trees_do_not_speak_of(tmp_path: Path) -> None:
    base = fit(rows(), None, FEATURES, SETTINGS, GAINS, 7, 1, 6)
    more = fit(rows(seed=4), None, FEATURES, SETTINGS, GAINS, 7, 1, 14, base=base)
    table, told = frame(rows(seed=3)), np.repeat(np.arange(60) % 3 > 0, 10)
    (tmp_path / "ranker.txt").write_text(more.text())
    read = Ranker.load(tmp_path / "ranker.txt", 6)
    assert not np.isclose(more.score(table), base.score(table)).any()
    for model in (more, read):
        np.testing.assert_array_equal(model.score(table, told), np.where(told, more.score(table), base.score(table)))
        np.testing.assert_allclose(model.contributions(table, told).sum(axis=1), model.score(table, told), atol=1e-9)
    np.testing.assert_array_equal(base.score(table, told), base.score(table))


@pytest.mark.parametrize("valid", [False, True])
def test_without_a_row_to_add_trees_by_a_ranker_is_its_base(valid: bool) -> None:
    base, none = fit(rows(), None, FEATURES, SETTINGS, GAINS, 7, 1, 6), rows(0)
    made = fit(rows() if valid else none, none if valid else None, FEATURES, SETTINGS, GAINS, 7, 1, 9, base=base)
    assert (made.text(), made.n_trees, made.n_base, made.curve) == (base.text(), 6, 6, [])
    again = fit(rows(), None, FEATURES, SETTINGS, GAINS, 7, 1, made.n_trees, base=base)
    assert (again.text(), again.n_trees, again.n_base) == (base.text(), 6, 6)


def shown_pages(n_pages: int = 3000, per_page: int = 8) -> Rows:
    """Pages sorted mostly by noise and clicked by worth times how much a place is looked at: noise looks like worth."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n_pages * per_page, 3)).astype(np.float32)
    features[:, 2] = 0
    noisy = features[:, 1].reshape(n_pages, per_page) + 0.3 * rng.normal(size=(n_pages, per_page))
    position = (np.argsort(np.argsort(-noisy, axis=1), axis=1) + 1).ravel().astype(np.int32)
    chance = position**-1.0 / (1 + np.exp(1 - 2 * features[:, 0]))
    label = (rng.random(len(chance)) < chance).astype(np.int32)
    kept = np.repeat(label.reshape(n_pages, per_page).any(axis=1), per_page)
    query = np.repeat(np.arange(n_pages, dtype=np.uint32), per_page)
    return Rows(features, label, query, position).where(kept)


def test_what_a_place_adds_is_taken_out_of_what_is_learned_from_pages() -> None:
    pages, unseen = shown_pages(), rows(100, seed=3).features
    unseen[:, 2] = 0
    unseen = np.nan_to_num(unseen)
    told = pl.DataFrame(unseen, schema=dict.fromkeys(FEATURES, pl.Float32))

    def leaning(given: Rows) -> float:
        scores = fit(given, None, FEATURES, SETTINGS, GAINS, 7, 1, 120).score(told)  # a place is learned tree by tree
        return abs(float(np.corrcoef(scores, unseen[:, 1])[0, 1]))

    assert leaning(pages) < 0.5 * leaning(replace(pages, position=None))


def test_a_query_of_candidates_beside_pages_is_learned_from_as_before() -> None:
    """All its rows have place 0: what that place adds is the same for each, and no order."""
    whole = rows()
    plain, placed = fit(whole, None, FEATURES, SETTINGS, GAINS, 7, 1, 8), replace(whole, position=np.zeros(len(whole.label), np.int32))
    assert fit(placed, None, FEATURES, SETTINGS, GAINS, 7, 1, 8).text() == plain.text()
