"""Distillation on a toy catalogue: what the student is, that it learns its teacher's vectors, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from worlds import checkerboard, write_world

from recsys import face
from recsys.blocks import Floats
from recsys.errors import ModelError
from recsys.pipeline.texts import fit_texts, load_texts, read_texts
from recsys.pipeline.world import read_world
from recsys.text import Encoder, Inputs, InterestModel, Way, compared, distil, item_texts, student_layers, write_tiny_bert
from recsys.text.distil import distance
from recsys.text.tower import Tower
from recsys.timeline import evaluation_ledger

TEXTS = item_texts(checkerboard().items)
ROWS = np.arange(len(TEXTS))
SEEN, UNSEEN = ROWS[:30], ROWS[30:]
EPOCHS, FEW = 60, 3
SETTINGS = {"text": {"distil_epochs": 2, "warm_steps": 10, "steps": 10}}


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


def cosine(one: Floats, other: Floats) -> float:
    return float(functional.cosine_similarity(torch.from_numpy(one), torch.from_numpy(other)).mean())


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    encoder = Encoder(write_tiny_bert(tmp_path_factory.mktemp("tiny"), TEXTS, seed=0, hidden=32, layers=4), "mean", 24, 2, 4096)
    with torch.no_grad():
        # At so small random weights a layer does next to nothing, and all texts have nearly one vector.
        encoder.model.embeddings.word_embeddings.weight.mul_(20)
        for parameter in encoder.model.encoder.layer.parameters():
            parameter.mul_(6 if parameter.dim() == 2 else 1)
    return encoder


@pytest.fixture(scope="module")
def inputs(teacher: Encoder) -> Inputs:
    return teacher.tokens(TEXTS)


@pytest.fixture(scope="module")
def vectors(teacher: Encoder, inputs: Inputs) -> Floats:
    return teacher.encode(inputs, quiet)


@pytest.fixture(scope="module")
def student(teacher: Encoder, inputs: Inputs, vectors: Floats) -> Encoder:
    return distil(teacher, inputs, vectors, ROWS, FEW, 7, quiet)


@pytest.fixture(scope="module")
def start(teacher: Encoder, inputs: Inputs, vectors: Floats) -> Encoder:
    return distil(teacher, inputs, vectors, ROWS, 0, 7, quiet)


def centred(vectors: Floats) -> Floats:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit - unit.mean(axis=0)


def weights(encoder: Encoder) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}


def test_a_student_starts_as_half_the_layers_of_its_teacher_and_the_embeddings(teacher: Encoder, start: Encoder) -> None:
    of_teacher, of_student = weights(teacher), weights(start)
    assert {name.split(".")[2] for name in of_student if name.startswith("encoder.layer.")} == {"0", "1"}
    for name, tensor in of_student.items():
        assert torch.equal(tensor, of_teacher[name.replace("encoder.layer.1.", "encoder.layer.3.")]), name


@pytest.mark.parametrize(("n", "expected"), [(2, [0]), (3, [0]), (4, [0, 3]), (5, [0, 4]), (6, [0, 2, 5]), (12, [0, 2, 4, 7, 9, 11])])
def test_the_layers_are_evenly_spaced_and_of_twelve_those_of_distilbert(tmp_path: Path, n: int, expected: list[int]) -> None:
    folder = write_tiny_bert(tmp_path, ["river stone"], seed=0, hidden=8, layers=n)
    assert student_layers(Encoder(folder, "mean", 8, 1, 256)) == expected


def test_a_student_comes_near_its_teacher_and_leaves_it_as_it_was(
    teacher: Encoder, inputs: Inputs, vectors: Floats, start: Encoder
) -> None:
    before = weights(teacher)
    learned = distil(teacher, inputs, vectors, SEEN, EPOCHS, 7, quiet)
    at_first, at_last = start.encode(inputs, quiet), learned.encode(inputs, quiet)
    for rows in (SEEN, UNSEEN):
        assert cosine(at_first[rows], vectors[rows]) < 0.8
        assert cosine(at_last[rows], vectors[rows]) > 0.95
        # Less what all texts have in common, or one vector for every text would pass.
        own = [centred(part)[rows] for part in (at_first, at_last, vectors)]
        assert cosine(own[1], own[2]) > cosine(own[0], own[2]) + 0.07
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(teacher).items())


def test_only_the_layers_move(teacher: Encoder, student: Encoder) -> None:
    of_teacher = weights(teacher)
    assert all(torch.equal(tensor, of_teacher[name]) for name, tensor in weights(student).items() if "encoder.layer" not in name)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    teacher: Encoder, student: Encoder, inputs: Inputs, vectors: Floats
) -> None:
    assert distil(teacher, inputs, vectors, ROWS, FEW, 7, quiet).digest() == student.digest()
    assert distil(teacher, inputs, vectors, ROWS, FEW, 8, quiet).digest() != student.digest()


def test_outputs_kept_of_the_teachers_layers_are_not_taken_for_the_students(
    teacher: Encoder, student: Encoder, inputs: Inputs, vectors: Floats
) -> None:
    kept = Inputs(inputs.offsets, inputs.ids, teacher.states(inputs, ROWS, quiet))
    assert distil(teacher, kept, vectors, ROWS, FEW, 7, quiet).digest() == student.digest()


def test_a_saved_student_is_a_plain_model_with_the_same_vectors(student: Encoder, inputs: Inputs, tmp_path: Path) -> None:
    from transformers import AutoModel

    InterestModel(student, Tower(32, 0), 20).save(tmp_path)
    assert AutoModel.from_pretrained(tmp_path / "encoder").config.num_hidden_layers == 2
    loaded = Encoder(tmp_path / "encoder", "mean", 24, 1, 4096)
    assert loaded.digest() == student.digest()
    np.testing.assert_array_equal(loaded.encode(inputs, quiet), student.encode(inputs, quiet))


def test_the_loss_is_zero_at_the_teacher_and_that_of_the_formula_elsewhere() -> None:
    rng = np.random.default_rng(0)
    s, t = rng.normal(size=(2, 3, 4))
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    assert float(distance(torch.from_numpy(5 * t), torch.from_numpy(t))) == pytest.approx(0, abs=1e-12)
    u = [row / np.sqrt(sum(x * x for x in row)) for row in s]
    expected = sum(1 - sum(a * b for a, b in zip(u[i], t[i], strict=True)) for i in range(3)) / 3
    assert float(distance(torch.from_numpy(s), torch.from_numpy(t))) == pytest.approx(expected)


def test_teacher_and_student_are_compared_over_the_given_texts(teacher: Encoder, student: Encoder, inputs: Inputs, vectors: Floats) -> None:
    turned = vectors.copy()
    turned[10:] *= -1
    found = compared((teacher, student), inputs, ROWS[:20], (vectors, turned), (0.5, None), 7)
    assert (found.teacher_layers, found.student_layers, found.teacher_ndcg, found.student_ndcg) == (4, 2, 0.5, None)
    assert found.cosine == pytest.approx(0, abs=1e-6)
    assert min(found.teacher_texts_per_second, found.student_texts_per_second) > 0


def test_an_encoder_of_one_layer_is_refused(tmp_path: Path) -> None:
    encoder = Encoder(write_tiny_bert(tmp_path, TEXTS, seed=0, hidden=8, layers=1), "mean", 24, 1, 256)
    with pytest.raises(ModelError, match=r"text\.distil_epochs: .* 1 layer, half of it is none\. Set it to 0, or take an encoder of two"):
        student_layers(encoder)


def test_an_encoder_whose_layers_cannot_be_picked_apart_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    world = checkerboard()
    path = write_world(tmp_path, world.items, world.events, SETTINGS)
    shape = DistilBertConfig(vocab_size=200, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
    DistilBertModel(shape).save_pretrained(tmp_path / "tiny_bert")
    with pytest.raises(
        ModelError, match=r"text\.distil_epochs: the layers of 'distilbert' .* Set it to 0, or text\.encoder to one of bert, "
    ):
        face.train(path)


def test_a_loss_that_is_no_number_names_the_items(teacher: Encoder, inputs: Inputs, vectors: Floats) -> None:
    with pytest.raises(ModelError, match=r"distillation: the loss of step 0 is not a number .* Lower text\.learning_rate"):
        distil(teacher, inputs, np.full_like(vectors, np.nan), ROWS, 1, 7, quiet)


def test_with_distil_epochs_the_student_takes_the_tuned_encoders_place_and_both_are_judged(tmp_path: Path) -> None:
    world = checkerboard()
    with face.job(write_world(tmp_path, world.items, world.events, SETTINGS)) as job:
        known = read_world(job)
        window = evaluation_ledger(known.start, known.end, job.config).text
        side, fitted = fit_texts(job, read_texts(job, known.catalogue), known.catalogue, known.events, window, None)
        side.model.save(tmp_path / "kept")
        shutil.rmtree(job.home.caches)  # or the vectors kept from training would stand in for those of the loaded model
        again = load_texts(job, InterestModel.load(tmp_path / "kept", job.config.text), known.catalogue)
    found = fitted.distilled
    assert found is not None
    assert (found.teacher_layers, found.student_layers) == (2, 1)
    assert found.teacher_ndcg == max(row["ndcg"] for row in fitted.curve if row["phase"] == "joint")
    assert found.student_ndcg not in (None, found.teacher_ndcg)
    assert len(side.model.encoder.model.encoder.layer) == 1
    np.testing.assert_allclose(again.vectors["text"], side.vectors["text"], atol=1e-5)


@pytest.mark.parametrize("tune", ["full", "lora", "none"])
def test_an_encoder_tuned_in_any_way_has_a_student(tmp_path: Path, tune: str) -> None:
    folder = write_tiny_bert(tmp_path, ["red lamp", "blue mug"], 7, layers=4)
    tuned = Encoder(folder, "mean", 8, 2, 256, Way(tune))
    assert student_layers(tuned) == [0, 3]
    assert all(p.requires_grad for p in tuned.with_layers([0, 3]).model.encoder.layer.parameters())
