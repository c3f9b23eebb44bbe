"""Candidate sources: one contract for all of them, what each must find, and how they become one pool."""

from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from worlds import DAY, END, START, TYPES, World, checkerboard, config, drifting_shop, events_table, items_table

from recsys import candidates
from recsys.blocks import Bools, Catalogue, Floats, History
from recsys.candidates import BEHAVIOUR, BLEND, SOURCES, TEXT, Block, Pool, Source, TextMatch, behaviour_sources, fuse, list_top, pool_of
from recsys.candidates.collaborative import Collaborative

WEIGHTS = {name: float(kind["weight"]) for name, kind in TYPES.items()}
SETTINGS = config().candidates
PERSONAL = ("category_popularity", "covisitation", "item_cosine", "collaborative", TEXT)


def users_of(world: World) -> pl.Series:
    return world.events["user_id"].unique().sort()


def history_of(world: World, users: pl.Series | None = None) -> History:
    return History.of(world.events, Catalogue.of(world.items), users_of(world) if users is None else users, END, WEIGHTS)


def text_side(world: World) -> tuple[Floats, Floats]:
    """Item vectors that know the side and a little more, zero for the last item; user vectors likewise."""
    number = np.arange(world.items.height)
    vectors = np.stack([number % 2 == 0, number % 2 == 1, number / 100], axis=1).astype(np.float32)
    vectors[-1] = 0
    return vectors, np.stack([np.arange(200) % 2 == 0, np.arange(200) % 2 == 1, np.full(200, 0.1)], axis=1).astype(np.float32)


def fit(world: World) -> dict[str, Source]:
    sources = behaviour_sources(history_of(world), Catalogue.of(world.items), SETTINGS, seed=7, threads=1)
    return {**sources, **{name: TextMatch(name, text_side(world)[0], 14.0) for name in (TEXT, BLEND)}}


@cache
def board() -> dict[str, Source]:
    return fit(checkerboard())


def block_of(world: World, users: pl.Series) -> Block:
    numbers = [int(user[1:]) % 200 for user in users]
    return Block(history_of(world, users), dict.fromkeys((TEXT, BLEND), text_side(world)[1][numbers][:, None]))


def scores_of(name: str, users: pl.Series) -> Floats:
    return board()[name].score(block_of(checkerboard(), users))


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_scores_the_whole_catalogue_with_minus_infinity_for_nothing(name: str) -> None:
    users = users_of(checkerboard())
    scores = scores_of(name, users)
    assert scores.shape == (len(users), 40)
    assert scores.dtype == np.float32
    assert not np.isnan(scores).any()
    assert not np.isposinf(scores).any()
    assert np.isfinite(scores).any(axis=1).all()


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_pure(name: str) -> None:
    users = users_of(checkerboard())
    block = block_of(checkerboard(), users)
    arrays = (block.history.indptr, block.history.item_index, block.history.event_type, block.history.age_days, block.history.weight)
    before = [array.tobytes() for array in (*arrays, *block.text.values())]
    assert board()[name].score(block).tobytes() == board()[name].score(block).tobytes() == scores_of(name, users).tobytes()
    assert [array.tobytes() for array in (*arrays, *block.text.values())] == before
    again = fit(checkerboard())[name]
    assert again.score(block).tobytes() == scores_of(name, users).tobytes()


@pytest.mark.parametrize("name", SOURCES)
def test_a_users_scores_do_not_depend_on_who_else_is_in_the_block(name: str) -> None:
    users = users_of(checkerboard())
    halves = np.concatenate([scores_of(name, users[:17]), scores_of(name, users[17:])])
    np.testing.assert_allclose(halves, scores_of(name, users), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SOURCES)
def test_newcomers_and_nobody_are_no_trouble(name: str) -> None:
    scores = scores_of(name, pl.Series("user_id", ["u100", "u101"]))
    assert scores.shape == (2, 40)
    assert not np.isnan(scores).any()
    assert np.isneginf(scores).all() == (name not in ("popularity", TEXT, BLEND))
    mixed = scores_of(name, pl.Series("user_id", ["u000", "u100"]))
    np.testing.assert_allclose(mixed[1], scores[0], rtol=1e-4, atol=1e-5)
    assert scores_of(name, pl.Series("user_id", [], dtype=pl.String)).shape == (0, 40)


@pytest.mark.parametrize("name", BEHAVIOUR)
def test_an_item_nobody_ever_liked_is_never_scored_by_behaviour(name: str) -> None:
    world = checkerboard()
    more = items_table([{"item_id": "i998", "category": "even"}, {"item_id": "i999"}])
    bought = [("u000", "i998", "return", END - DAY), ("u000", "i999", "impression", END - DAY)]
    world = World(pl.concat([world.items, more]), pl.concat([world.events, events_table(bought)]), world.answers)
    scores = fit(world)[name].score(block_of(world, users_of(world)))
    assert np.isneginf(scores[:, 40:]).all()


@pytest.mark.parametrize("name", BEHAVIOUR)
def test_events_at_or_after_as_of_change_nothing(name: str) -> None:
    world = checkerboard()
    late = [(f"u{n:03}", f"i{(n + 1) % 40:03}", "purchase", END + n * DAY) for n in range(40)]
    later = World(world.items, pl.concat([world.events, events_table(late)]), world.answers)
    users = users_of(world)
    assert fit(later)[name].score(block_of(later, users)).tobytes() == scores_of(name, users).tobytes()


@pytest.mark.parametrize("name", BEHAVIOUR)
def test_a_shop_without_a_single_event_has_nothing_to_say(name: str) -> None:
    world = World(checkerboard().items, checkerboard().events.head(0), checkerboard().answers)
    catalogue = Catalogue.of(world.items)
    source = behaviour_sources(history_of(world), catalogue, SETTINGS, seed=7, threads=1)[name]
    assert np.isneginf(source.score(block_of(world, pl.Series("user_id", ["u001"])))).all()


def unseen_and_answers() -> tuple[pl.Series, Bools, np.ndarray]:
    world = checkerboard()
    users = users_of(world)
    return users, ~history_of(world).seen(40), Catalogue.of(world.items).index_of(world.answers.sort("user_id")["item_id"])


@pytest.mark.parametrize("name", PERSONAL)
def test_every_source_finds_the_checkerboards_held_out_item(name: str) -> None:
    users, unseen, answers = unseen_and_answers()
    scores = np.where(unseen, scores_of(name, users), -np.inf)
    if name == TEXT:
        scores[answers == 39, 39] = np.inf  # the one item of this world's vectors without text
    assert (scores.argmax(axis=1) == answers).all()


def test_popularity_is_the_decayed_sum_of_weights() -> None:
    world = checkerboard()
    expected = np.zeros(40)
    for row in world.events.iter_rows(named=True):
        if row["event_type"] in ("click", "cart", "purchase"):
            age = (END - row["event_time"]) / DAY
            expected[int(row["item_id"][1:])] += WEIGHTS[row["event_type"]] * 2 ** (-age / SETTINGS.popularity_half_life_days)
    np.testing.assert_allclose(scores_of("popularity", users_of(world))[5], expected, rtol=1e-4)


def test_repurchase_finds_what_the_user_had_and_the_favourite_first() -> None:
    world = checkerboard()
    users, unseen, _ = unseen_and_answers()
    scores = scores_of("repurchase", users)
    np.testing.assert_array_equal(np.isneginf(scores), unseen)
    often = world.events.with_columns(w=pl.col("event_type").replace_strict(WEIGHTS)).group_by("user_id", "item_id").agg(pl.col("w").sum())
    favourite = often.sort("user_id", "w", descending=[False, True]).unique("user_id", keep="first", maintain_order=True).sort("user_id")
    assert scores.argmax(axis=1).tolist() == Catalogue.of(world.items).index_of(favourite["item_id"]).tolist()


def test_popularity_and_covisitation_follow_a_drift() -> None:
    world = drifting_shop()
    sources, users = fit(world), users_of(world)
    popular = sources["popularity"].score(block_of(world, users))[0]
    assert set(np.argsort(-popular)[:20].tolist()) == set(range(20, 40))
    # Of a user's own two halves the recent one decides what goes with it.
    near = sources["covisitation"].score(block_of(world, users))
    assert (np.isin(near.argmax(axis=1), range(20, 40))).mean() > 0.9


def test_the_collaborative_users_are_those_that_implicit_solves_itself() -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    from recsys.candidates.collaborative import _confidence

    history, source = history_of(checkerboard()), board()["collaborative"]
    assert isinstance(source, Collaborative)
    likes = _confidence(history, 40, source.confidence, source.half_life_days)
    model = AlternatingLeastSquares(factors=source.factors.shape[1], regularization=source.regularisation, alpha=1.0, num_threads=1)
    model.item_factors = source.factors
    solved = model.recalculate_user(np.arange(history.n_users), csr_matrix(likes))
    np.testing.assert_allclose(source._users(likes), solved, atol=1e-3)


seeds = st.integers(0, 10**6)


def toy_pool(seed: int, k: int) -> tuple[Pool, dict[str, Floats], Bools, Bools]:
    """A pool of the checkerboard's first five users and of one of whom text does not tell over random scores with many ties and holes."""
    rng = np.random.default_rng(seed)
    users = pl.concat([users_of(checkerboard())[:5], pl.Series("user_id", ["u999"])])
    scores = {name: np.where(rng.random((6, 40)) < 0.3, -np.inf, rng.integers(0, 6, (6, 40))).astype(np.float32) for name in SOURCES}
    scores["popularity"][2] = -np.inf
    eligible = rng.random(40) < 0.8
    block = block_of(checkerboard(), users)
    told = np.arange(6) < 5
    return pool_of({name: Fixed(s) for name, s in scores.items()}, block, told, eligible, k), scores, eligible, block.history.seen(40)


class Fixed:
    """A source of given scores."""

    def __init__(self, scores: Floats) -> None:
        self.scores = scores

    def score(self, block: Block) -> Floats:
        return self.scores


@given(seed=seeds, k=st.integers(1, 12))
@settings(deadline=None)
def test_the_pool_is_what_loops_over_users_and_sources_give(seed: int, k: int) -> None:
    pool, scores, eligible, seen = toy_pool(seed, k)
    ranks: dict[tuple[int, int], dict[str, int]] = {}
    for user in range(6):
        for name in SOURCES if user < 5 else BEHAVIOUR:
            mine = [i for i in range(40) if eligible[i] and seen[user, i] == (name == "repurchase") and np.isfinite(scores[name][user, i])]
            mine.sort(key=lambda i: (-scores[name][user, i], i))
            for rank, item in enumerate(mine[:k], start=1):
                ranks.setdefault((user, item), {})[name] = rank
    assert list(zip(pool.user.tolist(), pool.item.tolist(), strict=True)) == sorted(ranks)
    for row, pair in enumerate(sorted(ranks)):
        for name in SOURCES:
            assert np.nan_to_num(pool.rank[name][row], nan=0) == ranks[pair].get(name, 0)
            score = scores[name][pair]
            assert np.isnan(pool.score[name][row]) if np.isneginf(score) else pool.score[name][row] == score


@given(seed=seeds)
@settings(deadline=None)
def test_fusion_is_the_sum_of_reciprocal_ranks(seed: int) -> None:
    pool, *_ = toy_pool(seed, 5)
    for names in (BEHAVIOUR, SOURCES):
        expected = [sum(1 / (60 + pool.rank[n][row]) for n in names if not np.isnan(pool.rank[n][row])) for row in range(len(pool.user))]
        np.testing.assert_allclose(fuse(pool, names), expected, rtol=1e-6)


def test_the_real_pool_retrieves_only_what_is_eligible_seen_items_by_repurchase_alone() -> None:
    users, unseen, answers = unseen_and_answers()
    block = block_of(checkerboard(), users)
    eligible = np.arange(40) % 5 != 0
    pool = pool_of(board(), block, np.ones(len(users), bool), eligible, 7)
    assert eligible[pool.item].all()
    np.testing.assert_array_equal(~np.isnan(pool.rank["repurchase"]), ~unseen[pool.user, pool.item])
    for name in SOURCES:
        rank = pool.rank[name]
        for user in range(len(users)):
            own = np.sort(rank[(pool.user == user) & ~np.isnan(rank)])
            assert own.tolist() == list(range(1, len(own) + 1))
            assert len(own) <= 7
    found = set(zip(pool.user.tolist(), pool.item.tolist(), strict=True))
    assert all((user, item) in found for user, item in enumerate(answers.tolist()) if eligible[item])


def test_a_pool_made_of_parts_of_the_users_is_that_of_all_of_them(monkeypatch) -> None:
    users, *_ = unseen_and_answers()
    block, eligible, told = block_of(checkerboard(), users), np.arange(40) % 5 != 0, np.arange(len(users)) % 7 != 0
    whole = pool_of(board(), block, told, eligible, 7)
    monkeypatch.setattr(candidates, "SCORES_AT_ONCE", 3 * 40)  # three users at once, and the last part is a smaller one
    parts = pool_of(board(), block, told, eligible, 7)
    assert len(users) % 3 != 0
    for name in ("user", "item", "is_seen"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    for name in SOURCES:
        np.testing.assert_array_equal(parts.rank[name], whole.rank[name])
        np.testing.assert_allclose(parts.score[name], whole.score[name], atol=1e-5)


def test_an_empty_block_has_an_empty_pool() -> None:
    nobody = block_of(checkerboard(), pl.Series("user_id", [], dtype=pl.String))
    pool = pool_of(board(), nobody, np.zeros(0, bool), np.ones(40, bool), 5)
    assert len(pool.user) == 0
    assert len(fuse(pool, SOURCES)) == 0


def test_lists_of_the_whole_catalogue_break_ties_by_item_id() -> None:
    scores = np.array([[1, 2, 2, 2, -np.inf], [0, 0, 0, 0, 0]], np.float32)
    shown = np.array([[True, True, False, True, True], [False, False, False, True, True]])
    user, item, rank = list_top(scores, shown, 3)
    assert list(zip(user.tolist(), item.tolist(), rank.tolist(), strict=True)) == [(0, 1, 1), (0, 3, 2), (0, 0, 3), (1, 3, 1), (1, 4, 2)]


def test_a_source_has_a_meaning_a_reason_and_a_place_in_the_features() -> None:
    from recsys.features import SOURCE_MEANINGS
    from recsys.rules import REASONS

    assert set(SOURCES) == set(SOURCE_MEANINGS) == set(REASONS) == set(board())
    assert candidates.TEXT not in BEHAVIOUR
    assert START < END


def test_a_pair_is_found_where_a_loop_finds_it_and_what_is_no_candidate_is_said_to_be_none() -> None:
    rng = np.random.default_rng(3)
    pairs = sorted({(int(user), int(item)) for user, item in rng.integers(0, 6, (20, 2))})
    user, item = np.array(pairs, np.int32).T
    pool = Pool(user, item, np.zeros(len(pairs), bool), {}, {})
    asked = [(u, i) for u in range(7) for i in range(-1, 9)]  # -1: no item of the catalogue
    found = pool.find(*np.array(asked).T)
    assert found.tolist() == [pairs.index(pair) if pair in pairs else -1 for pair in asked]
    empty = Pool(user[:0], item[:0], np.zeros(0, bool), {}, {})
    assert empty.find(user, item).tolist() == [-1] * len(pairs)
    assert len(pool.find(user[:0], item[:0])) == 0
