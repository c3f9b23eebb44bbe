"""Fine-tuning on the checkerboard: the gradient, what is learned, and that a training cut short goes on as if it had not been."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from worlds import DAY, END, TYPES, checkerboard, config, events_table, parity, tiny_bert

from recsys.blocks import Catalogue, Floats, History
from recsys.candidates import Block, TextMatch
from recsys.errors import ModelError
from recsys.text import Checkpoint, Encoder, Fitted, Inputs, InterestModel, Question, Training, item_texts, mean_of_history

WORLD = checkerboard()
CATALOGUE = Catalogue.of(WORLD.items)
USERS = WORLD.events["user_id"].unique().sort()
WEIGHTS = {name: float(kind["weight"]) for name, kind in TYPES.items()}
TEXTS = item_texts(CATALOGUE.items)
NO_IDS = np.zeros(len(CATALOGUE), bool)
SIDE = np.array([parity(item) for item in CATALOGUE.items["item_id"]])


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


def history(users: pl.Series = USERS, events: pl.DataFrame = WORLD.events, days_before_end: int = 0) -> History:
    return History.of(events, CATALOGUE, users, END - days_before_end * DAY, WEIGHTS)


@dataclass
class Bench:
    """What every training of this file starts from."""

    folder: Path
    inputs: Inputs
    pooled: Floats
    group: np.ndarray

    def encoder(self, token_budget: int = 4096) -> Encoder:
        return Encoder(self.folder, "mean", 24, 1, token_budget)

    def training(self, checkpoint: Path | None = None, progress: Callable[[str, int, int], None] = quiet, **given: Any) -> Training:
        text = config(
            {"text": {"warm_steps": 60, "steps": 20, "check_steps": 5, "push_steps": 2, "blend_steps": 0} | given.pop("text", {})}
        ).text
        values = {"encoder": self.encoder(), "inputs": self.inputs, "pooled": self.pooled, "text_group": self.group, "history": history()}
        rest = {"seed": 7, "question": None, "chosen": None, "checkpoint": Checkpoint(checkpoint), "progress": progress}
        return Training(**(values | {"config": text} | rest | given))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    torch.set_num_threads(1)  # on a busy machine the threads of so small a model wait for one another
    folder = tiny_bert(tmp_path_factory.mktemp("tiny"), WORLD.items)
    encoder = Encoder(folder, "mean", 24, 1, 4096)
    tokens = encoder.tokens(TEXTS)
    inputs = Inputs(tokens.offsets, tokens.ids, encoder.states(tokens, np.arange(len(tokens)), quiet))
    group = np.unique(np.array(TEXTS), return_inverse=True)[1].astype(np.int64) + 1
    return Bench(folder, inputs, encoder.encode(inputs, quiet), group)


def question() -> Question:
    """Items unseen ten days before the end that were liked in those days."""
    before, after = history(days_before_end=10), history()
    seen = before.seen(len(CATALOGUE))
    truth = after.seen(len(CATALOGUE)) & ~seen
    asked = truth.any(axis=1)
    return Question(history(USERS.filter(pl.Series(asked)), days_before_end=10), truth[asked], ~seen[asked])


def weights(training: Training) -> dict[str, torch.Tensor]:
    named = [(f"tower.{name}", p) for name, p in training.model.tower.named_parameters()]
    named += [(f"encoder.{name}", p) for name, p in training.model.encoder.model.named_parameters()]
    return {name: p.detach().clone() for name, p in named}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_the_gradient_of_many_user_steps_pushed_once_is_that_of_direct_backpropagation(bench: Bench) -> None:
    training = bench.training(encoder=bench.encoder(token_budget=64), text={"history": 3, "queries": 16, "negatives": 5})
    encoder, tower = training.model.encoder, training.model.tower
    torch.nn.init.normal_(tower.attention[-1].weight)  # at its start of zero it hides its own gradient
    held = torch.optim.SGD(tower.parameters(), lr=0.0)
    for number in range(3):
        training._user_step(held, number, collect=True)
    training.bank.push(training.bank.turn(0))
    pushed = [p.grad.clone() for p in encoder.parameters()]
    for p in encoder.parameters():
        p.grad = None
    for number in range(3):
        training._loss(training.steps.asked(number), lambda rows: encoder.pooled(bench.inputs, rows), NO_IDS).backward()
    direct = [p.grad.clone() for p in encoder.parameters()]
    assert max(float(g.abs().max()) for g in direct) > 1e-3
    for one, other in zip(pushed, direct, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert not training.bank.gradient.any()


def test_every_item_has_its_turn_once_before_any_has_it_twice(bench: Bench) -> None:
    bank = bench.training(text={"push_items": 7}).bank
    turns = [bank.turn(number) for number in range(2 * bank.turns)]
    for cycle in (turns[: bank.turns], turns[bank.turns :]):
        np.testing.assert_array_equal(np.sort(np.concatenate(cycle)), bank.rows)
    assert any(not np.array_equal(one, other) for one, other in zip(turns[: bank.turns], turns[bank.turns :], strict=True))


def test_a_gradient_waits_for_its_items_turn(bench: Bench) -> None:
    training = bench.training(text={"push_items": 7, "push_steps": 2, "queries": 16, "negatives": 5})
    training._joint_step(torch.optim.SGD(training.model.tower.parameters(), 0.0), 0)
    waiting = training.bank.gradient.abs().sum(dim=1).numpy() > 0
    assert not waiting[training.bank.turn(0)].any()
    assert waiting[np.concatenate([training.bank.turn(n) for n in range(1, training.bank.turns)])].any()


def test_a_visit_is_judged_by_the_history_before_it_alone(bench: Bench) -> None:
    events = WORLD.events.filter(pl.col("user_id") == "u000")
    training = bench.training(history=history(USERS[:1], events), text={"queries": 2})
    step = training.steps.asked(3)
    first_unseen = step.moments.start[0]
    moment = END - float(training.history.age_days[first_unseen]) * DAY
    cut = History.of(events, CATALOGUE, USERS[:1], moment, WEIGHTS)
    expected = training.model.user_vectors(cut, training.model.item_vectors(bench.pooled, training.has_text))[0]
    seen: list[torch.Tensor] = []
    users = training.model.tower.users
    training.model.tower.users = lambda *a: seen.append(users(*a)) or seen[-1]
    training._loss(step, lambda rows: training.bank.vectors[torch.from_numpy(rows)], NO_IDS)
    np.testing.assert_allclose(seen[0][0].detach().numpy(), expected, atol=1e-5)


def share_in_order(users: Floats, vectors: Floats) -> float:
    """Share of (user, own side's item, other side's item) that the scores put in the right order."""
    scores, own = users @ vectors.T, np.array([parity(user) for user in USERS])
    return float(np.mean([(row[side == SIDE][:, None] > row[side != SIDE]).mean() for row, side in zip(scores, own, strict=True)]))


def ranks_of_answers(users: Floats, vectors: Floats) -> np.ndarray:
    scores, answer = users @ vectors.T, CATALOGUE.index_of(WORLD.answers.sort("user_id")["item_id"])
    return (scores > scores[np.arange(len(scores)), answer][:, None]).sum(axis=1)


def test_the_tuned_model_tells_the_sides_of_the_checkerboard_apart(bench: Bench) -> None:
    unit = bench.pooled / np.linalg.norm(bench.pooled, axis=1, keepdims=True)
    before = mean_of_history(history(), unit, 20)
    training = bench.training()
    model, fitted = training.run()
    vectors = model.item_vectors(training.pooled, training.has_text)
    users = model.user_vectors(history(), vectors)[:, 0]
    assert fitted == Fitted(60, 20, 0, fitted.curve)
    assert share_in_order(before, unit) < 0.9
    assert share_in_order(users, vectors) > 0.99
    assert (ranks_of_answers(before, unit) < 20).mean() < 0.8
    assert (ranks_of_answers(users, vectors) < 20).mean() > 0.95


def test_before_any_step_the_tower_is_the_mean_of_the_history(bench: Bench) -> None:
    training = bench.training(chosen=Fitted())
    model, fitted = training.run()
    vectors = model.item_vectors(training.pooled, training.has_text)
    np.testing.assert_allclose(model.user_vectors(history(), vectors)[:, 0], mean_of_history(history(), vectors, 20), atol=1e-5)
    assert (fitted.warm_steps, fitted.steps) == (0, 0)


class KilledError(Exception):
    """The power went."""


@pytest.mark.parametrize(("phase", "last_step"), [("warm", 7), ("warm", 55), ("joint", 3), ("joint", 13)])
def test_a_training_killed_and_started_again_ends_with_the_same_weights(bench: Bench, tmp_path: Path, phase: str, last_step: int) -> None:
    whole = bench.training(question=question())
    _, expected = whole.run()

    def kill(what: str, done: int, total: int) -> None:
        if what == f"text: {phase}" and done == last_step:
            raise KilledError

    with pytest.raises(KilledError):
        bench.training(tmp_path / "kept", kill, question=question()).run()
    again = bench.training(tmp_path / "kept", question=question())
    _, found = again.run()
    assert_same(weights(again), weights(whole))
    np.testing.assert_array_equal(again.pooled, whole.pooled)
    assert found == expected


def steps_of(training: Training) -> list[tuple[str, int]]:
    """Run it; the phase and number of every step that was taken."""
    taken: list[tuple[str, int]] = []
    user_step, joint_step = training._user_step, training._joint_step

    def watched_user(optimizer: Any, number: int, collect: bool = False) -> float:
        taken.extend([] if collect else [("warm", number)])
        return user_step(optimizer, number, collect)

    def watched_joint(optimizer: Any, number: int) -> float:
        taken.append(("joint", number))
        return joint_step(optimizer, number)

    training._user_step, training._joint_step = watched_user, watched_joint
    training.run()
    return taken


def test_a_training_killed_goes_on_from_its_checkpoint_and_not_from_the_start(bench: Bench, tmp_path: Path) -> None:
    def kill(what: str, done: int, total: int) -> None:
        if what == "text: joint" and done == 13:
            raise KilledError

    with pytest.raises(KilledError):
        bench.training(tmp_path / "kept", kill).run()
    taken = steps_of(bench.training(tmp_path / "kept"))
    assert taken == [("joint", number) for number in range(10, 20)]


def test_a_broken_checkpoint_is_the_same_as_none(bench: Bench, tmp_path: Path) -> None:
    for phase in ("warm", "joint"):
        (tmp_path / f"{phase}.safetensors").write_bytes(b"half a file")
    one, other = bench.training(tmp_path), bench.training()
    one.run()
    other.run()
    assert_same(weights(one), weights(other))


def test_a_finished_checkpoint_can_be_cleared(bench: Bench, tmp_path: Path) -> None:
    training = bench.training(tmp_path / "kept", text={"warm_steps": 5, "steps": 0})
    training.run()
    assert (tmp_path / "kept" / "warm.safetensors").is_file()
    training.checkpoint.clear()
    assert not (tmp_path / "kept").exists()


def test_the_best_check_is_kept_and_a_refit_of_so_many_steps_reaches_the_same_weights(bench: Bench) -> None:
    judged = bench.training(question=question())
    _, fitted = judged.run()
    for phase, steps in (("warm", fitted.warm_steps), ("joint", fitted.steps)):
        figures = {row["step"]: row["ndcg"] for row in fitted.curve if row["phase"] == phase}
        assert figures[steps] == max(figures.values())
    refit = bench.training(chosen=fitted)
    _, again = refit.run()
    assert (again.warm_steps, again.steps) == (fitted.warm_steps, fitted.steps)
    assert_same(weights(refit), weights(judged))


@pytest.mark.parametrize("chosen", [Fitted(0, 0), Fitted(13, 0), Fitted(0, 7), Fitted(60, 20)])
def test_a_refit_runs_exactly_the_chosen_steps(bench: Bench, chosen: Fitted) -> None:
    training = bench.training(chosen=chosen)
    taken = steps_of(training)
    fitted = training.result
    expected = [("warm", number) for number in range(chosen.warm_steps)] + [("joint", number) for number in range(chosen.steps)]
    assert taken == expected
    assert (fitted.warm_steps, fitted.steps) == (chosen.warm_steps, chosen.steps)


def test_an_encoder_whose_vectors_are_no_numbers_is_refused(bench: Bench) -> None:
    pooled = bench.pooled.copy()
    pooled[3] = np.nan
    with pytest.raises(ModelError, match="the encoder gives vectors that are not numbers"):
        bench.training(pooled=pooled).run()


@pytest.mark.parametrize(("phase", "name"), [("warm", "_user_step"), ("joint", "_joint_step")])
def test_a_loss_that_is_no_number_ends_the_phase_with_the_last_good_weights(bench: Bench, phase: str, name: str) -> None:
    broken, good = (
        bench.training(text={"steps": 7}),
        bench.training(text={"steps": 7}, chosen=Fitted(60, 5) if phase == "joint" else Fitted(50, 0)),
    )
    step = getattr(broken, name)

    def poisoned(optimizer: Any, number: int, collect: bool = False) -> float:
        if number == (6 if phase == "joint" else 53):
            with torch.no_grad():
                broken.bank.gradient.fill_(float("nan")) if phase == "joint" else broken.model.tower.projection.weight.fill_(float("nan"))
        return float(step(optimizer, number, collect) if phase == "warm" else step(optimizer, number))

    setattr(broken, name, poisoned)
    if phase == "warm":
        broken.config = broken.config.model_copy(update={"steps": 0})
    _, fitted = broken.run()
    good.run()
    assert fitted.stopped.startswith(f"{phase} step {6 if phase == 'joint' else 53} of ")
    assert_same(weights(broken), weights(good))


def test_only_the_last_layers_move(bench: Bench) -> None:
    training = bench.training()
    before = weights(training)
    training.run()
    moved = {name for name, tensor in weights(training).items() if not torch.equal(tensor, before[name])}
    assert any(name.startswith("encoder.encoder.layer.1.") for name in moved)
    assert not any(name.startswith("encoder.") and ".layer.1." not in name for name in moved)


def no_text(bench: Bench) -> tuple[np.ndarray, np.ndarray]:
    """Groups with the first four items textless, and a mask of those with text."""
    group = bench.group.copy()
    group[:4] = 0
    return group, group > 0


def test_an_item_without_text_has_the_zero_vector_and_is_never_retrieved(bench: Bench) -> None:
    group, _ = no_text(bench)
    training = bench.training(text_group=group)
    model, _ = training.run()
    vectors = model.item_vectors(training.pooled, training.has_text)
    assert not vectors[:4].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[4:], axis=1), 1, atol=1e-5)
    scores = TextMatch("text", vectors, model.scale()).score(Block(history(), {"text": model.user_vectors(history(), vectors)}))
    assert np.isneginf(scores[:, :4]).all()
    assert np.isfinite(scores[:, 4:]).all()


def test_a_user_without_history_gets_the_newcomer_vector(bench: Bench) -> None:
    model, _ = (training := bench.training(text={"steps": 0})).run()
    vectors = model.item_vectors(training.pooled, training.has_text)
    newcomer = torch.nn.functional.normalize(model.tower.newcomer.detach(), dim=0).numpy()
    nobody = pl.Series("user_id", ["new_1", "new_2"])
    np.testing.assert_allclose(model.user_vectors(history(nobody), vectors)[:, 0], [newcomer, newcomer], atol=1e-6)
    both = model.user_vectors(history(pl.Series("user_id", ["new_1", "u000"])), vectors)
    np.testing.assert_allclose(both[0, 0], newcomer, atol=1e-6)
    np.testing.assert_allclose(both[1], model.user_vectors(history(USERS[:1]), vectors)[0], atol=1e-6)
    assert model.user_vectors(history(USERS[:0]), vectors).shape == (0, 1, 32)


def test_a_history_that_says_nothing_is_that_of_a_newcomer(bench: Bench) -> None:
    _, has_text = no_text(bench)
    training = bench.training(chosen=Fitted())
    model, _ = training.run()
    vectors = model.item_vectors(bench.pooled, has_text)
    rows = [("textless", "i001", "purchase", END - DAY), ("unhappy", "i010", "return", END - DAY)]
    found = model.user_vectors(history(pl.Series("user_id", ["textless", "unhappy"]), events_table(rows)), vectors)
    newcomer = torch.nn.functional.normalize(model.tower.newcomer.detach(), dim=0).numpy()
    np.testing.assert_allclose(found[:, 0], [newcomer, newcomer], atol=1e-6)


def test_a_saved_model_gives_the_same_vectors_bit_for_bit(bench: Bench, tmp_path: Path) -> None:
    model, _ = bench.training().run()
    model.save(tmp_path)
    loaded = InterestModel.load(tmp_path, config().text)
    assert loaded.encoder.digest() == model.encoder.digest()
    pooled = [m.encoder.encode(m.encoder.tokens(TEXTS), quiet) for m in (model, loaded)]
    vectors = [m.item_vectors(pooled[0], np.ones(len(TEXTS), bool)) for m in (model, loaded)]
    users = [m.user_vectors(history(), vectors[0]) for m in (model, loaded)]
    for one, other in (pooled, vectors, users):
        np.testing.assert_array_equal(one, other)
    assert loaded.scale() == model.scale()


@pytest.mark.parametrize(("name", "content"), [("tower.json", b"{"), ("tower.safetensors", b"no"), ("tower.json", b'{"dim": 3}')])
def test_half_a_saved_model_is_refused_by_name(bench: Bench, tmp_path: Path, name: str, content: bytes) -> None:
    model, _ = bench.training(chosen=Fitted()).run()
    model.save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match="the interest model is not whole"):
        InterestModel.load(tmp_path, config().text)


def test_a_history_without_a_single_visit_trains_nothing(bench: Bench) -> None:
    training = bench.training(history=history(USERS[:2], WORLD.events.head(0)))
    _, fitted = training.run()
    assert (fitted.warm_steps, fitted.steps) == (0, 0)


def mirrored() -> History:
    """Users whose sides the texts do not tell: an even user likes the items whose number halved is even."""
    rows = [
        (user, item, "purchase", END - (1 + (7 * place) % 19) * DAY)
        for user in USERS
        for place, item in enumerate(CATALOGUE.items["item_id"])
        if (place // 2) % 2 == parity(user) and (place + int(user[1:])) % 3
    ]
    return history(events=events_table(rows))


def test_a_blend_knows_of_warm_items_what_no_text_says(bench: Bench) -> None:
    own, alike = mirrored(), bench.pooled[np.arange(len(CATALOGUE)) % 2]
    training = bench.training(history=own, pooled=alike, text={"warm_steps": 50, "steps": 0, "blend_steps": 150})
    model, fitted = training.run()
    side, user_side = (np.arange(len(CATALOGUE)) // 2) % 2, np.array([parity(user) for user in USERS])

    def order(vectors: Floats, blended: bool) -> float:
        scores = model.user_vectors(own, vectors, blended)[:, 0] @ vectors.T
        return float(np.mean([(r[side == of][:, None] > r[side != of]).mean() for r, of in zip(scores, user_side, strict=True)]))

    assert fitted.blend_steps == 150
    assert order(model.item_vectors(training.pooled, training.has_text), False) < 0.9
    assert order(model.item_vectors(training.pooled, training.has_text, training.id_row), True) > 0.97


def test_an_item_unknown_to_the_blend_is_known_by_its_text_alone(bench: Bench) -> None:
    events = WORLD.events.filter(pl.col("item_id") != "i010")
    training = bench.training(history=history(events=events), text={"warm_steps": 20, "steps": 0, "blend_steps": 60, "id_dropout": 0.5})
    model, _ = training.run()
    assert training.id_row[10] == -1
    assert model.blend is not None
    vectors = model.item_vectors(bench.pooled, training.has_text, training.id_row)
    by_text = model.blend.items(torch.from_numpy(bench.pooled[10:11])).detach().numpy()
    np.testing.assert_allclose(vectors[10:11], by_text, atol=1e-6)
    users = model.user_vectors(history(events=events), vectors, True)[:, 0]
    own_side = np.array([parity(user) == SIDE[10] for user in USERS])
    assert (users @ vectors[10])[own_side].mean() > (users @ vectors[10])[~own_side].mean() + 0.2


def test_a_blend_saved_and_loaded_finds_its_items_by_their_ids(bench: Bench, tmp_path: Path) -> None:
    training = bench.training(text={"warm_steps": 5, "steps": 0, "blend_steps": 10})
    model, _ = training.run()
    model = replace(model, known=tuple(CATALOGUE.ids(training.warm)))
    model.save(tmp_path)
    loaded = InterestModel.load(tmp_path, config().text)
    ids = pl.Series("item_id", ["nobody_knows_it", *CATALOGUE.items["item_id"].reverse()])
    assert loaded.id_row(ids)[0] == -1
    np.testing.assert_array_equal(loaded.id_row(ids)[1:][::-1], training.id_row)
    rows = loaded.id_row(CATALOGUE.items["item_id"])
    one, other = (m.item_vectors(bench.pooled, training.has_text, rows) for m in (model, loaded))
    assert np.array_equal(one, other)
    assert np.array_equal(model.user_vectors(history(), one, True), loaded.user_vectors(history(), one, True))
