"""Every setting of the loss and its signals changes what it says, and what is shown and ignored is learned from."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch
from scipy import sparse
from toy_text import job, learn
from worlds import DAY, END, START, TYPES, checkerboard, config, items_table, text_of, tiny_bert

from recsys.blocks import Catalogue, Floats, History
from recsys.config import Text
from recsys.config_tables import EventType
from recsys.errors import ConfigError, TableError
from recsys.pipeline import texts
from recsys.schema import EVENTS
from recsys.text import Checkpoint, Encoder, Inputs, Training, item_texts
from recsys.text.losses import softmax_loss
from recsys.text.shown import Shown
from recsys.text.steps import ListSteps, Moments, VisitSteps

N_ITEMS, N_USERS, PAGES = 12, 10, 24
WEIGHTS = {name: float(kind["weight"]) for name, kind in TYPES.items()}
KINDS = {name: EventType(**kind) for name, kind in TYPES.items()}


def only_pages_tell() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Items and events: everybody likes even and odd items equally often, but an even one is chosen of nine showings, an odd one of each.

    Every other page shows an odd item among four even ones, and it is clicked; the others show even ones alone, one of them clicked.
    """
    rng = np.random.default_rng(5)
    items = items_table([{"item_id": f"i{n:03}", "price": 1.0, **text_of(n, rng)} for n in range(N_ITEMS)])
    rows = []
    for user in range(N_USERS):
        for page in range(PAGES):
            moment = END - timedelta(days=2.2 * (PAGES - page), minutes=user)
            shown = rng.permutation(np.arange(0, N_ITEMS, 2))[:5]
            if page % 2:
                shown[0] = rng.integers(N_ITEMS // 2) * 2 + 1
            places = rng.permutation(5) + 1
            common = {"user_id": f"u{user:03}", "request_id": f"r{user}-{page}"}
            for item, place in zip(shown, places, strict=True):
                more = {"item_id": f"i{item:03}", "position": int(place), "propensity": 0.5 if item % 2 else 0.1}
                rows.append(common | more | {"event_type": "impression", "event_time": moment})
            rows.append(common | {"item_id": f"i{shown[0]:03}", "event_type": "click", "event_time": moment + timedelta(minutes=1)})
    empty = dict.fromkeys(EVENTS.names)
    events = pl.DataFrame([empty | row for row in rows], schema={c.name: c.dtype for c in EVENTS.columns}, orient="row")
    return items, events.sort("user_id", "event_time", "item_id", "event_type")


ITEMS, TOLD = only_pages_tell()
CATALOGUE = Catalogue.of(ITEMS)
USERS = TOLD["user_id"].unique().sort()
HISTORY = History.of(TOLD, CATALOGUE, USERS, END, WEIGHTS)
SHOWN = Shown.of(TOLD.lazy(), CATALOGUE, USERS, START, END, KINDS, 24)
ALL = np.ones(N_ITEMS, bool)
GROUP = np.arange(N_ITEMS) + 1
NONE = sparse.csr_array((N_USERS, N_ITEMS), dtype=bool)


def text(**given: Any) -> Text:
    small = {"warm_steps": 40, "steps": 6, "check_steps": 3, "push_steps": 2, "blend_steps": 0, "queries": 32, "half_life_days": 0}
    return config({"text": small | given}).text


class Bench(NamedTuple):
    folder: Path
    inputs: Inputs
    pooled: Floats

    def training(self, checkpoint: Path | None = None, progress: Any = lambda *_: None, **given: Any) -> Training:
        encoder = Encoder(self.folder, "mean", 24, 1, 4096)
        made = text(**given)
        kept = Checkpoint(checkpoint)
        shown = None if made.loss == "softmax" else SHOWN
        return Training(encoder, self.inputs, self.pooled, GROUP, HISTORY, made, 7, None, None, kept, progress, NONE, shown)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    torch.set_num_threads(1)
    folder = tiny_bert(tmp_path_factory.mktemp("tiny"), ITEMS)
    encoder = Encoder(folder, "mean", 24, 1, 4096)
    tokens = encoder.tokens(item_texts(CATALOGUE.items))
    inputs = Inputs(tokens.offsets, tokens.ids, encoder.states(tokens, np.arange(len(tokens)), lambda *_: None))
    return Bench(folder, inputs, encoder.encode(inputs, lambda *_: None))


def visit_steps(disliked: sparse.csr_array = NONE, group: np.ndarray = GROUP, **given: Any) -> VisitSteps:
    return VisitSteps(HISTORY, ALL, group, disliked, text(**given), 7)


def list_steps(usable: np.ndarray = ALL, shown: Shown = SHOWN, **given: Any) -> ListSteps:
    return ListSteps(HISTORY, usable, shown, torch.zeros(()), text(**{"loss": "list"} | given), 7)


@pytest.mark.parametrize(
    "given", [{"loss": "softmax"}, {"loss": "softmax", "negatives": 3, "hard_negatives": 2}, {"loss": "pointwise"}, {"loss": "list"}]
)
def test_the_cached_gradient_is_that_of_direct_backpropagation_whatever_the_loss(bench: Bench, given: dict[str, Any]) -> None:
    training = bench.training(queries=16, **given)
    encoder, tower = training.model.encoder, training.model.tower
    torch.nn.init.normal_(tower.attention[-1].weight)  # at its start of zero it hides its own gradient
    asked = [training.steps.asked(number, training._cosines) for number in range(3)]
    held = torch.optim.SGD(tower.parameters(), lr=0.0)
    for number in range(3):
        training._user_step(held, number, collect=True)
    training.bank.push(training.bank.turn(0))
    pushed = [p.grad.clone() for p in encoder.parameters()]
    encoder.model.zero_grad()
    for step in asked:
        training._loss(step, lambda rows: encoder.pooled(bench.inputs, rows), np.zeros(N_ITEMS, bool)).backward()
    direct = [p.grad for p in encoder.parameters()]
    assert max(float(g.abs().max()) for g in direct) > 1e-3
    for one, other in zip(pushed, direct, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def share_in_order(training: Training) -> float:
    """Share of (user, odd item, even item) that are scored in this order."""
    model, _ = training.run()
    vectors = model.item_vectors(training.pooled, ALL)
    scores = model.user_vectors(HISTORY, vectors)[:, 0] @ vectors.T
    return float((scores[:, 1::2, None] > scores[:, None, 0::2]).mean())


@pytest.mark.parametrize("loss", ["pointwise", "list"])
def test_a_loss_over_lists_learns_what_is_chosen_where_likes_say_nothing(bench: Bench, loss: str) -> None:
    likes = np.bincount(HISTORY.item_index, minlength=N_ITEMS)
    assert abs(likes[::2].sum() - likes[1::2].sum()) <= 0
    assert share_in_order(bench.training(loss=loss)) > 0.95


def test_the_softmax_over_likes_does_not_know_it(bench: Bench) -> None:
    assert share_in_order(bench.training(loss="softmax")) < 0.8


def learned(training: Training) -> list[torch.Tensor]:
    return [*training.model.tower.parameters(), *training.model.encoder.model.parameters(), training.bias]


class KilledError(Exception):
    """The power went."""


@pytest.mark.parametrize(("loss", "phase", "last_step"), [("pointwise", "warm", 5), ("pointwise", "joint", 4), ("list", "joint", 4)])
def test_a_loss_over_lists_goes_on_after_a_kill_to_the_same_weights(
    bench: Bench, tmp_path: Path, loss: str, phase: str, last_step: int
) -> None:
    def kill(what: str, done: int, total: int) -> None:
        if what == f"text: {phase}" and done == last_step:
            raise KilledError

    whole, again = bench.training(loss=loss), bench.training(tmp_path / "kept", loss=loss)
    with pytest.raises(KilledError):
        bench.training(tmp_path / "kept", kill, loss=loss).run()
    assert whole.run()[1] == again.run()[1]
    assert all(torch.equal(one, other) for one, other in zip(learned(whole), learned(again), strict=True))
    assert (float(whole.bias.detach()) != 0) == (loss == "pointwise")


def test_the_learned_bias_starts_where_the_mean_chance_is_that_of_a_choice(bench: Bench) -> None:
    training = bench.training(loss="pointwise")
    training._begin_bias()
    scores = training._scores(training.steps.asked(0), training._at_hand, np.zeros(N_ITEMS, bool))
    assert float((training.bias + scores.mean()).detach()) == pytest.approx(training.steps.log_odds, abs=1e-5)
    assert training.steps.log_odds == pytest.approx(np.log(N_USERS * PAGES * 0.2 / (N_USERS * PAGES * 4)), abs=1e-4)


def test_a_half_life_multiplies_the_weight_of_every_positive_and_changes_nothing_else() -> None:
    plain, halved = visit_steps().visits, visit_steps(half_life_days=10.0).visits
    age = np.repeat(HISTORY.age_days[plain.start], np.diff(plain.indptr))
    np.testing.assert_allclose(halved.weight, plain.weight * 2 ** (-age / 10), rtol=1e-5)
    assert all(np.array_equal(getattr(plain, name), getattr(halved, name)) for name in ("user", "start", "indptr", "item"))


def test_weights_too_old_to_count_give_no_loss_and_not_a_number_that_is_none() -> None:
    scores = torch.zeros((32, N_ITEMS), requires_grad=True)
    loss = visit_steps(half_life_days=0.01).asked(0).loss(scores)
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()


def disliking(user: int, item: int) -> sparse.csr_array:
    return sparse.csr_array(([True], ([user], [item])), shape=(N_USERS, N_ITEMS), dtype=bool)


def test_a_disliked_item_is_no_positive_and_no_liked_text_of_its_user_alone() -> None:
    item = int(HISTORY.item_index[0])
    plain, against = visit_steps(), visit_steps(disliking(0, item))

    def pairs(steps: VisitSteps) -> set[tuple[int, int]]:
        visits = steps.visits
        return set(zip(np.repeat(visits.user, np.diff(visits.indptr)).tolist(), visits.item.tolist(), strict=True))

    assert pairs(plain) - pairs(against) == {(0, item)}
    lost = (plain.liked != against.liked).tocoo()
    assert list(zip(lost.row.tolist(), lost.col.tolist(), strict=True)) == [(0, GROUP[item])]


@pytest.mark.parametrize("negatives", [2, N_ITEMS])
def test_a_disliked_item_is_a_negative_of_its_user_in_every_step_and_of_others_where_it_was_drawn(negatives: int) -> None:
    item = int(HISTORY.item_index[0])
    plain = visit_steps(negatives=negatives, queries=2, positives=1)
    against = visit_steps(disliking(0, item), negatives=negatives, queries=2, positives=1)
    asked = [step for step in map(against.asked, range(60)) if 0 in step.moments.user]
    assert len(asked) > 5
    for step in asked:
        scores = torch.zeros((2, len(step.items)), requires_grad=True)
        step.loss(scores).backward()
        column = np.searchsorted(step.items, item)
        assert step.items[column] == item
        assert (scores.grad[torch.from_numpy(step.moments.user == 0), column] > 0).all()
    other = next(step for step in map(plain.asked, range(60)) if 0 not in step.moments.user)
    assert other.items.size >= negatives


def test_without_a_dislike_a_step_is_what_the_sampler_draws() -> None:
    steps = visit_steps(negatives=3)
    assert all(np.array_equal(steps.asked(n).items, steps.sampler.step(n).items) for n in range(5))


def test_an_item_that_was_not_on_sale_at_a_visit_is_no_negative_of_it() -> None:
    from_days, until_days = np.full(N_ITEMS, np.inf, np.float32), np.full(N_ITEMS, -np.inf, np.float32)
    from_days[3], until_days[5], from_days[7] = 20.0, 20.0, -4.0
    config, sale_days = text(queries=64), np.stack([from_days, until_days], axis=1)
    steps = VisitSteps(HISTORY, ALL, GROUP, NONE, config, 7, sale_days)
    everywhere = VisitSteps(HISTORY, ALL, GROUP, NONE, config, 7)
    asked, other = steps.asked(0), everywhere.asked(0)
    now = torch.from_numpy(asked.moments.now)[:, None]
    assert (now > 20).any()
    assert (now < 20).any()
    scores = torch.randn(len(now), len(asked.items), generator=torch.Generator().manual_seed(1))
    gone = torch.zeros_like(scores, dtype=torch.bool)
    gone[:, 3], gone[:, 5], gone[:, 7] = now[:, 0] > 20, now[:, 0] < 20, True
    liked = torch.from_numpy(everywhere._likes(other.moments.user, other.items))
    step = everywhere.sampler.step(0)
    assert float(asked.loss(scores)) == pytest.approx(float(softmax_loss(scores, step, liked | gone)))
    assert float(asked.loss(scores)) != pytest.approx(float(other.loss(scores)))


def test_a_mined_negative_was_on_sale() -> None:
    sale_days = np.tile(np.array([np.inf, -np.inf], np.float32), (N_ITEMS, 1))
    sale_days[1, 0] = -1.0
    few = History.of(TOLD.filter(pl.col("item_id") == "i003"), CATALOGUE, USERS, END, WEIGHTS)
    given = {"negatives": 0, "hard_negatives": 2, "margin": 0.0, "queries": 2, "positives": 1}
    rising = lambda moments: (0.05 * torch.arange(N_ITEMS) - 1.0).expand(len(moments.user), N_ITEMS)  # noqa: E731
    mined = {known: VisitSteps(few, ALL, GROUP, NONE, text(**given), 7, days) for known, days in {"no": None, "yes": sale_days}.items()}
    assert mined["no"].asked(0, rising).items.tolist() == [1, 2, 3]
    assert mined["yes"].asked(0, rising).items.tolist() == [0, 2, 3]


def cosines_of(moments: Moments) -> torch.Tensor:
    """Item 0 lies highest, then 1, and so on, for everybody."""
    return (0.9 - 0.05 * torch.arange(N_ITEMS)).expand(len(moments.user), N_ITEMS)


@pytest.mark.parametrize("margin", [0.0, 0.12])
def test_mined_negatives_are_the_highest_unliked_ones_below_the_positive_by_the_margin(margin: float) -> None:
    steps = VisitSteps(
        History.of(TOLD.filter(pl.col("item_id").is_in(["i003", "i005", "i006"])), CATALOGUE, USERS, END, WEIGHTS),
        ALL,
        GROUP,
        NONE,
        text(negatives=0, hard_negatives=2, margin=margin, queries=2, positives=1),
        7,
    )
    for number in range(10):
        step, plain = steps.asked(number, cosines_of), steps.asked(number)
        expected = set(plain.items.tolist())
        for user in range(2):
            liked = set(np.flatnonzero(steps._likes(step.moments.user, slice(None))[user]))
            visit = steps.sampler.step(number).visits[user]
            drawn = set(steps.visits.item[steps.visits.indptr[visit] : steps.visits.indptr[visit + 1]].tolist())
            assert len(drawn) == 1
            first = drawn.pop() + (0 if margin == 0 else 3)
            expected |= set([item for item in range(first, N_ITEMS) if item not in liked][:2])
        assert set(step.items.tolist()) == expected


def test_nothing_is_mined_where_the_step_holds_the_whole_catalogue_or_the_model_is_not_joint(bench: Bench) -> None:
    calls: list[int] = []

    def watched(moments: Moments) -> torch.Tensor:
        calls.append(1)
        return cosines_of(moments)

    whole = visit_steps(negatives=N_ITEMS, hard_negatives=2)
    assert np.array_equal(whole.asked(0, watched).items, whole.asked(0).items)
    training = bench.training(negatives=3, hard_negatives=2, warm_steps=4, steps=2)
    cosines = training._cosines
    training._cosines = lambda moments: calls.append(1) or cosines(moments)
    held = torch.optim.SGD(training.tower.parameters(), 0.0)
    training._user_step(held, 0)
    assert not calls
    training._joint_step(held, 0)
    assert len(calls) == 2


def test_inverse_exposure_and_decay_multiply_the_rows_of_lists() -> None:
    plain = list_steps(loss="pointwise")
    both = list_steps(loss="pointwise", exposure=100.0, half_life_days=5.0)
    propensity, age = SHOWN.propensity.astype(float), SHOWN.age_days[SHOWN.list_index]
    np.testing.assert_allclose(both.weight, plain.weight / propensity / (1 / propensity).mean() * 2 ** (-age / 5), rtol=1e-4)
    np.testing.assert_array_equal(plain.weight, SHOWN.row_weight)


def test_lists_that_teach_nothing_are_left_out_and_so_are_items_without_a_text() -> None:
    nobody_chose = replace(SHOWN, weight=np.where(SHOWN.list_index == 0, 0, SHOWN.weight).astype(np.float32))
    assert 0 not in list_steps(shown=nobody_chose).lists
    assert 0 in list_steps(shown=nobody_chose, loss="pointwise").lists
    odd = np.arange(N_ITEMS) % 2 == 1
    assert len(list_steps(usable=odd)) == 0  # no page shows two odd items
    assert set(SHOWN.item_index[list_steps(usable=~odd).row] % 2) == {0}


def test_a_step_of_lists_asks_as_of_each_list_and_takes_its_own_rows() -> None:
    steps = list_steps(queries=4)
    asked = steps.asked(1)
    moments = asked.moments
    assert all(
        HISTORY.age_days[: moments.start[n]][HISTORY.indptr[user] :].min(initial=99) > moments.now[n] for n, user in enumerate(moments.user)
    )
    scores = torch.zeros((4, len(asked.items)), requires_grad=True)
    asked.loss(scores).backward()
    lists = [n for n in range(len(SHOWN)) if any((SHOWN.user_index[n] == moments.user) & (SHOWN.age_days[n] == moments.now))]
    for place, number in enumerate(lists):
        own = SHOWN.item_index[SHOWN.indptr[number] : SHOWN.indptr[number + 1]]
        assert set(asked.items[np.flatnonzero(scores.grad[place])]) == set(own)


def test_what_is_shown_is_scored_from_the_history_before_its_list_alone(bench: Bench) -> None:
    model = bench.training().run()[0]
    vectors = model.item_vectors(bench.pooled, ALL)
    found = model.shown_scores(SHOWN, HISTORY, vectors)
    for number in (0, 7, len(SHOWN) - 1):
        moment = END - float(SHOWN.age_days[number]) * DAY
        user = USERS[int(SHOWN.user_index[number]) : int(SHOWN.user_index[number]) + 1]
        cut = History.of(TOLD, CATALOGUE, user, moment, WEIGHTS)
        rows = slice(SHOWN.indptr[number], SHOWN.indptr[number + 1])
        expected = model.scale() * vectors[SHOWN.item_index[rows]] @ model.user_vectors(cut, vectors)[0, 0]
        np.testing.assert_allclose(found[rows], expected, atol=1e-4)


PIPELINE = {"warm_steps": 20, "steps": 2, "check_steps": 2, "blend_steps": 0, "valid_days": 20}


@pytest.mark.parametrize("loss", ["softmax", "list"])
def test_the_report_tells_chosen_from_ignored_before_and_after_whatever_the_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    monkeypatch.setattr(texts, "_question", lambda *_: None)  # likes tell nothing here, so they would keep the untrained model
    found = learn(tmp_path, ITEMS, TOLD, {"text": PIPELINE | {"loss": loss}}).fitted.classification
    assert found is not None
    assert found["lists_choosing"] + found["lists_judged"] == (SHOWN.age_days <= 20).sum()
    supports = [found[side][f"{name}_support"] for side in ("before", "after") for name in ("positive", "negative")]
    assert supports[:2] == supports[2:]
    assert sum(supports[:2]) == 5 * found["lists_judged"]
    assert (found["after"]["roc_auc"] > found["before"]["roc_auc"] + 0.1) or loss == "softmax"


def test_a_shop_without_impressions_has_no_such_report_and_is_refused_a_loss_over_lists(tmp_path: Path) -> None:
    world = checkerboard(8, 8)
    assert learn(tmp_path, world.items, world.events, {"text": PIPELINE}).fitted.classification is None
    with pytest.raises(TableError, match=r'text\.loss = "list" .* Declare request_id'):
        learn(tmp_path, world.items, world.events, {"text": PIPELINE | {"loss": "list"}})


def test_a_return_reaches_the_training_from_the_events(tmp_path: Path) -> None:
    world = checkerboard(8, 8)
    bought = world.events.filter(pl.col("event_type") == "purchase").row(0, named=True)
    back = world.events.head(1).with_columns(
        user_id=pl.lit(bought["user_id"]), item_id=pl.lit(bought["item_id"]), event_type=pl.lit("return"), event_time=pl.lit(END - 21 * DAY)
    )
    again = pl.col("user_id").eq(bought["user_id"]) & pl.col("item_id").eq(bought["item_id"]) & (pl.col("event_time") > END - 21 * DAY)
    events = pl.concat([world.events.filter(~again), back]).sort("user_id", "event_time")
    from recsys.pipeline.shown import disliked

    found = disliked(events.lazy(), Catalogue.of(world.items), events["user_id"].unique().sort(), END, job(tmp_path).config).tocoo()
    users = events["user_id"].unique().sort()
    assert [(users[int(r)], f"i{c:03}") for r, c in zip(found.row, found.col, strict=True)] == [(bought["user_id"], bought["item_id"])]


def test_settings_that_a_loss_would_not_heed_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"text\.exposure: .* softmax"):
        config({"text": {"exposure": 5.0}})
    with pytest.raises(ConfigError, match=r"text\.hard_negatives: only text\.loss = softmax"):
        config({"text": {"hard_negatives": 5, "loss": "list"}})


def test_items_that_come_after_the_window_are_not_pushed_away_from_everybody(tmp_path: Path) -> None:
    world, rng, lifts = checkerboard(), np.random.default_rng(3), {}
    for begun in (None, END):
        coming = [{"item_id": f"n{i:03}", "price": 1.0, "available_from": begun, **text_of(i, rng)} for i in range(20)]
        items = pl.concat([world.items, items_table(coming)])
        learned = learn(tmp_path / str(begun), items, world.events, {"text": PIPELINE | {"warm_steps": 100}})
        new = np.array([item.startswith("n") for item in learned.catalogue.items["item_id"]])
        lifts[begun] = learned.scores[:, new].mean() - learned.scores[:, ~new].mean()
    assert lifts[END] > lifts[None] + 0.5
