"""Cheap scoring: packing, oneDNN and int8 give the vectors of the plain encoder, exactly or nearly, and say when they cannot."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import worlds
from numpy.typing import NDArray

from recsys import face
from recsys.config import Text
from recsys.errors import ModelError
from recsys.text import Encoder, InterestModel, item_texts, require_onnx, write_tiny_bert
from recsys.text.int8 import LINEAR, WEIGHT_STEPS, Int8, _rounded
from recsys.text.linear import onednn_linears
from recsys.text.packed import packed_states, packs
from recsys.text.tower import Tower

TEXTS = [*item_texts(worlds.checkerboard().items), "", "river " * 300, "石"]


def quiet(what: str, done: int, total: int) -> None:
    pass


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT whose layers are ten times as loud as random ones: those hardly move a vector, and would hide a fault."""
    from transformers import BertModel

    torch.set_num_threads(1)
    folder = write_tiny_bert(tmp_path_factory.mktemp("tiny"), TEXTS, seed=0, hidden=32, layers=2)
    model = BertModel.from_pretrained(folder)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(10 if parameter.ndim == 2 else 1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def encoder(folder: Path) -> Encoder:
    return Encoder(folder, "mean", 24, 1, 256)


@pytest.fixture(scope="module")
def quantised(folder: Path) -> Encoder:
    made = Encoder(folder, "mean", 24, 1, 256)
    made.use_int8()
    return made


def tiny(kind: str) -> torch.nn.Module:
    import transformers

    torch.manual_seed(0)
    shape = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = getattr(transformers, f"{kind}Config")(**shape)
    return getattr(transformers, f"{kind}Model")(config).eval()


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "XLMRoberta", "Camembert", "Electra"])
def test_packed_texts_have_the_states_they_have_alone(kind: str) -> None:
    model, lengths = tiny(kind), np.array([7, 5, 5, 5, 1, 3])
    ids = torch.from_numpy(np.random.default_rng(0).integers(5, 50, lengths.sum()))
    with torch.no_grad():
        alone = [model(input_ids=part[None]).last_hidden_state[0] for part in ids.split(lengths.tolist())]
        packed = packed_states(model, ids, lengths)
        torch.testing.assert_close(packed, torch.cat(alone), atol=1e-5, rtol=0)
        again = model(input_ids=ids[None, :7]).last_hidden_state[0]
    torch.testing.assert_close(again, alone[0], atol=0, rtol=0)  # the model attends as before


def test_an_encoder_of_another_architecture_is_not_packed() -> None:
    from transformers import DistilBertConfig, DistilBertModel

    assert not packs(DistilBertModel(DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=32)))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_encoding_without_padding_gives_the_vectors_that_training_sees(folder: Path, pooling: str) -> None:
    encoder = Encoder(folder, pooling, 24, 1, 256)
    inputs = encoder.tokens(TEXTS)
    with torch.no_grad():
        padded = encoder.pooled(inputs, np.arange(len(TEXTS))).numpy()
    np.testing.assert_allclose(encoder.encode(inputs, quiet), padded, atol=1e-5)


def test_linear_layers_by_onednn_give_the_same_and_only_inside(encoder: Encoder) -> None:
    layer, states = encoder.trained[0].intermediate.dense, torch.randn(3, 5, 32)
    with torch.no_grad():
        plain = layer(states)
        with onednn_linears(encoder.model):
            assert ("forward" in vars(layer)) == torch.backends.mkldnn.is_available()
            torch.testing.assert_close(layer(states), plain, atol=1e-5, rtol=0)
        layer.bias += 1
        torch.testing.assert_close(layer(states), plain + 1, atol=1e-5, rtol=0)


def test_a_layer_in_int8_is_the_product_of_the_rounded_integers() -> None:
    import onnx
    from onnx import helper, parser
    from onnxruntime import InferenceSession

    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(2, 3, 40)).astype(np.float32), rng.normal(size=(40, 7)).astype(np.float32)
    x[0, 0] = 0
    rounded, step = _rounded(weight)
    assert np.abs(rounded).max(axis=0).tolist() == [WEIGHT_STEPS] * 7
    names = {"x": onnx.TensorProto.FLOAT, "weight": onnx.TensorProto.INT8, "weight_step": onnx.TensorProto.FLOAT}
    node = helper.make_node("linear_int8", list(names), ["y"], domain="recsys")
    inputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in names.items()]
    graph = helper.make_graph([node], "one", inputs, [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("recsys", 1)]
    model = helper.make_model(graph, functions=[parser.parse_function(LINEAR)], opset_imports=opsets, ir_version=10)
    (y,) = InferenceSession(model.SerializeToString()).run(None, {"x": x, "weight": rounded, "weight_step": step})
    row_step = np.maximum(np.abs(x).max(axis=-1, keepdims=True) / 127, 1e-12)
    expected = (np.rint(x / row_step).astype(np.int64) @ rounded.astype(np.int64)) * row_step * step
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    worst = np.abs(x) @ np.broadcast_to(step / 2, weight.shape) + (row_step / 2) * (np.abs(weight).sum(axis=0) + 40 * step / 2)
    assert (np.abs(y - x @ weight) <= worst + 1e-5).all()  # each factor is off by at most half a step


def test_int8_vectors_are_near_those_of_float32(encoder: Encoder, quantised: Encoder) -> None:
    inputs = encoder.tokens(TEXTS)
    near = cosine(encoder.encode(inputs, quiet), quantised.encode(inputs, quiet))
    assert near.min() > 0.99
    assert near.mean() < 1 - 1e-5  # it is int8 at all


def test_making_int8_leaves_the_encoder_as_it_was(encoder: Encoder, quantised: Encoder) -> None:
    rows = np.arange(5)
    with torch.no_grad():
        before, after = (e.pooled(e.tokens(TEXTS[:5]), rows) for e in (encoder, quantised))
    torch.testing.assert_close(after, before, atol=0, rtol=0)


def test_an_int8_vector_depends_on_neither_batch_nor_order(quantised: Encoder) -> None:
    whole = quantised.encode(quantised.tokens(TEXTS), quiet)
    alone = np.concatenate([quantised.encode(quantised.tokens([text]), quiet) for text in TEXTS])
    assert cosine(whole, alone).min() > 1 - 1e-5


def test_int8_vectors_are_never_taken_for_float32_ones(encoder: Encoder, quantised: Encoder) -> None:
    assert quantised.digest() != encoder.digest()


def test_the_same_encoder_gives_the_same_int8_bytes(encoder: Encoder, quantised: Encoder) -> None:
    encoder.use_int8()
    assert encoder.int8.onnx_bytes == quantised.int8.onnx_bytes


def test_int8_without_onnxruntime_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"needs onnxruntime, not installed here\. `pip install 'recsys\[onnx\]'`, or set text\.scoring"):
        require_onnx()


def test_an_encoder_that_cannot_be_exported_is_refused_by_name() -> None:
    class Odd(torch.nn.Module):
        device, config = torch.device("cpu"), SimpleNamespace(_attn_implementation="sdpa")

    with pytest.raises(ModelError, match=r"cannot be exported to ONNX: .*\. Set text\.scoring"):
        Int8.of(Odd())


def test_an_export_that_holds_a_shape_for_constant_is_refused() -> None:
    class Fixed(torch.nn.Module):
        device, config = torch.device("cpu"), SimpleNamespace(_attn_implementation="sdpa")

        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.Embedding(30, 8)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
            sign = 1.0 if input_ids.shape[1] == 4 else -1.0
            return SimpleNamespace(last_hidden_state=self.words(input_ids) * attention_mask[:, :, None] * sign)

    with pytest.raises(ModelError, match=r"gives other states, off by up to .*\. Set text\.scoring"):
        Int8.of(Fixed())


def test_a_saved_int8_model_gives_the_same_vectors_and_a_broken_one_is_refused(quantised: Encoder, tmp_path: Path) -> None:
    InterestModel(quantised, Tower(32, 32), 5).save(tmp_path)
    text = Text(max_tokens=24, train_layers=1, token_budget=256, scoring="int8")
    loaded = InterestModel.load(tmp_path, text).encoder
    assert loaded.digest() == quantised.digest()
    inputs = loaded.tokens(TEXTS)
    np.testing.assert_array_equal(loaded.encode(inputs, quiet), quantised.encode(inputs, quiet))
    (tmp_path / "int8.onnx").write_bytes(quantised.int8.onnx_bytes[:1000])
    with pytest.raises(ModelError, match=r"int8 model cannot be loaded: .*\. Train again"):
        InterestModel.load(tmp_path, text)
    (tmp_path / "int8.onnx").unlink()
    with pytest.raises(ModelError, match=r"int8\.onnx: the interest model is not whole"):
        InterestModel.load(tmp_path, text)


def test_a_run_in_int8_keeps_its_model_and_ranks_with_its_own_vectors(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    world = worlds.checkerboard()
    changes = {"text": {"scoring": "int8", "steps": 2, "warm_steps": 20}, "ranker": {"trees": 5}}
    path = worlds.write_world(tmp_path, world.items, world.events, changes)
    run = face.train(path)
    assert "text/int8.onnx" in run.manifest["digests"]
    capfd.readouterr()
    face.rank(path, k=3, out=tmp_path / "night")
    assert " 0 texts encoded" in capfd.readouterr().err
