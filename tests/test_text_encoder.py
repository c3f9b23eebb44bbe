"""Texts to vectors: batches, the split of the layers, odd texts, and where an encoder comes from."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from worlds import checkerboard

from recsys.errors import ModelError
from recsys.text import MINILM, Encoder, Inputs, find_encoder, item_texts, write_tiny_bert
from recsys.text import weights as weights_module

TEXTS = item_texts(checkerboard().items)
ODD_TEXTS = ["", "   ", "river " * 10_000, "\U0001f9cb\U0001f468‍\U0001f469‍\U0001f467", "\x00\x07\x1b[0m\ufeff", "石" * 300, "even", "é́" * 5]


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


def with_states(encoder: Encoder, inputs: Inputs) -> Inputs:
    return Inputs(inputs.offsets, inputs.ids, encoder.states(inputs, np.arange(len(inputs)), quiet))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)  # on a busy machine the threads of so small a model wait for one another
    return write_tiny_bert(tmp_path_factory.mktemp("tiny"), TEXTS, seed=0, hidden=32, layers=3)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return Encoder(folder, "mean", 24, 1, 256)


@given(lengths=st.lists(st.integers(0, 40), max_size=30), seed=st.integers(0, 9))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batches_cover_every_row_once_within_the_token_budget(encoder: Encoder, lengths: list[int], seed: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    inputs = Inputs(offsets, np.zeros(offsets[-1], np.int32), None)
    rows = np.random.default_rng(seed).permutation(len(lengths))[: len(lengths) // 2 + 1]
    batches = list(encoder.batches(inputs, rows))
    assert sorted(np.concatenate([*batches, []]).astype(int).tolist()) == sorted(rows.tolist())
    for batch in batches:
        assert len(batch) == 1 or len(batch) * inputs.lengths[batch].max() <= encoder.budget.tokens


def test_a_vector_depends_on_neither_batch_nor_order(folder: Path, encoder: Encoder) -> None:
    texts = [*TEXTS, *ODD_TEXTS]
    whole = encoder.encode(encoder.tokens(texts), quiet)
    alone = np.concatenate([encoder.encode(encoder.tokens([text]), quiet) for text in texts])
    np.testing.assert_allclose(alone, whole, atol=1e-5)
    turned = encoder.encode(encoder.tokens(texts[::-1]), quiet)[::-1]
    np.testing.assert_allclose(turned, whole, atol=1e-5)
    large = Encoder(folder, "mean", 24, 1, 10_000)
    np.testing.assert_allclose(large.encode(large.tokens(texts), quiet), whole, atol=1e-5)


def test_chosen_rows_come_in_the_order_asked_for(encoder: Encoder) -> None:
    inputs = encoder.tokens(TEXTS)
    whole = encoder.encode(inputs, quiet)
    chosen = np.array([7, 3, 30, 3])
    np.testing.assert_allclose(encoder.encode(inputs, quiet, chosen), whole[chosen], atol=1e-5)


@pytest.mark.parametrize("train_layers", [0, 1, 2, 3, 99])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_split_model_is_the_whole_model(folder: Path, train_layers: int, pooling: str) -> None:
    encoder = Encoder(folder, pooling, 24, train_layers, 256)
    inputs = encoder.tokens([*TEXTS, *ODD_TEXTS])
    split = with_states(encoder, inputs)
    np.testing.assert_allclose(encoder.encode(split, quiet), encoder.encode(inputs, quiet), atol=1e-5)
    assert len(encoder.model.encoder.layer) == 3


def test_states_of_chosen_texts_come_packed_in_the_order_asked_for(encoder: Encoder) -> None:
    inputs = encoder.tokens([*TEXTS, *ODD_TEXTS])
    whole = with_states(encoder, inputs).states
    assert whole is not None
    chosen = np.array([44, 3, 30, 0])
    expected = [whole[inputs.offsets[row] : inputs.offsets[row + 1]] for row in chosen]
    np.testing.assert_allclose(encoder.states(inputs, chosen, quiet), np.concatenate(expected), atol=1e-5)
    assert encoder.states(inputs, chosen[:0], quiet).shape == (0, 32)


def test_vectors_are_those_of_transformers_with_pooling_by_hand(folder: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    mean, cls = (Encoder(folder, pooling, 24, 1, 256) for pooling in ("mean", "cls"))
    found = {name: e.encode(with_states(e, e.tokens(TEXTS)), quiet) for name, e in (("mean", mean), ("cls", cls))}
    for row, text in enumerate(TEXTS):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=24)).last_hidden_state[0].numpy()
        np.testing.assert_allclose(found["mean"][row], states.sum(axis=0) / len(states), atol=1e-5)
        np.testing.assert_allclose(found["cls"][row], states[0], atol=1e-5)


def test_only_the_last_layers_are_trained(folder: Path) -> None:
    encoder = Encoder(folder, "mean", 24, 2, 256)
    trained = {name for name, p in encoder.model.named_parameters() if p.requires_grad}
    assert {name.split(".")[2] for name in trained} == {"1", "2"}
    assert len(trained) == len(encoder.parameters())
    assert not Encoder(folder, "mean", 24, 0, 256).parameters()


def test_odd_texts_give_finite_vectors_within_the_cut(encoder: Encoder) -> None:
    inputs = encoder.tokens(ODD_TEXTS)
    assert inputs.lengths.max() <= 24
    assert np.isfinite(encoder.encode(inputs, quiet)).all()
    assert encoder.encode(encoder.tokens([]), quiet).shape == (0, 32)


def test_a_text_of_fifty_thousand_characters_is_cut_without_changing_its_beginning(encoder: Encoder) -> None:
    long = ("river stone garden " * 3000)[:50_000]
    short = " ".join(long.split()[:100])
    first, second = encoder.encode(encoder.tokens([long, short]), quiet)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_the_digest_names_weights_pooling_and_cut(folder: Path, encoder: Encoder) -> None:
    assert Encoder(folder, "mean", 24, 3, 9999).digest() == encoder.digest()  # neither changes a vector
    assert len({encoder.digest(), Encoder(folder, "cls", 24, 1, 256).digest(), Encoder(folder, "mean", 23, 1, 256).digest()}) == 3
    moved = Encoder(folder, "mean", 24, 1, 256)
    with torch.no_grad():
        moved.parameters()[0].view(-1)[0] += 1
    assert moved.digest() != encoder.digest()


def test_the_same_texts_and_seed_make_the_same_tiny_bert_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    again = write_tiny_bert(tmp_path / "again", TEXTS[::-1], seed=0, hidden=32, layers=3)
    other = write_tiny_bert(tmp_path / "other", TEXTS, seed=1, hidden=32, layers=3)
    assert contents(again) == contents(folder)
    assert contents(other)["model.safetensors"] != contents(folder)["model.safetensors"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_folder_that_holds_no_model_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json and model\.safetensors and a tokenizer .* missing"):
        find_encoder(str(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("model.safetensors", b"not weights"), ("model.safetensors", b""), ("config.json", b"{"), ("config.json", b'{"model_type": "nope"}')],
)
def test_a_broken_model_is_refused_by_name(folder: Path, tmp_path: Path, name: str, content: bytes) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / name).write_bytes(content)
    with pytest.raises(ModelError, match=r"broken cannot be loaded: .*\. Save a model"):
        Encoder(broken, "mean", 24, 1, 256)


def test_a_model_without_its_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("token*"))
    with pytest.raises(ModelError, match=r"bare is not a model: a tokenizer .* missing"):
        find_encoder("bare", tmp_path)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No hub, an empty cache; the folder is first on the path for packages."""
    import huggingface_hub.constants as hub

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def package(root: Path, weights: bytes | None) -> Path:
    place = root / weights_module.MINILM_PACKAGE / "weights"
    place.mkdir(parents=True)
    (place.parent / "__init__.py").touch()
    if weights is not None:
        (place / "model.safetensors").write_bytes(weights)
    return place


def test_a_local_folder_comes_first_even_under_the_name_of_a_hub_model(folder: Path, offline: Path) -> None:
    package(offline, b"weights")
    local = shutil.copytree(folder, offline / MINILM)
    assert find_encoder(MINILM, offline) == local
    assert find_encoder(str(local), Path("/nowhere")) == local


def test_what_was_tried_is_said_when_nothing_is_found(offline: Path) -> None:
    with pytest.raises(ModelError) as caught:
        find_encoder("nobody/nothing", offline)
    for tried in ("text.encoder = 'nobody/nothing'", "folder 'nobody/nothing': not there", "hub cache: "):
        assert tried in str(caught.value)
    assert "; hub: " not in str(caught.value)


def test_a_packaged_minilm_with_other_weights_is_refused(offline: Path) -> None:
    place = package(offline, b"weights")
    with pytest.raises(ModelError, match="is not the official") as caught:
        find_encoder(MINILM, offline)
    assert str(place / "model.safetensors") in str(caught.value)


def test_the_packaged_minilm_is_found_when_there_is_no_hub(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_module, "MINILM_SHA256", hashlib.sha256(b"weights").hexdigest())
    place = package(offline, b"weights")
    for name in ("config.json", "tokenizer.json"):
        (place / name).write_text("{}")
    assert find_encoder(MINILM, offline) == place


def test_another_model_is_never_replaced_by_the_packaged_one(offline: Path) -> None:
    package(offline, b"weights")
    with pytest.raises(ModelError, match="'nobody/nothing' was not found"):
        find_encoder("nobody/nothing", offline)
