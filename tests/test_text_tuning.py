"""Each way to fine-tune an encoder: it learns, is kept, resumed and refused as promised; precision, recomputation, memory that runs out."""

import builtins
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from worlds import END, TYPES, checkerboard, config, tiny_bert

from recsys.blocks import Catalogue, History
from recsys.errors import ConfigError, ModelError
from recsys.text import Checkpoint, Encoder, Fitted, InterestModel, Training, Way, item_texts
from recsys.text.tuning import PREFIXABLE, Prefix, adapter

WORLD = checkerboard()
CATALOGUE = Catalogue.of(WORLD.items)
USERS = WORLD.events["user_id"].unique().sort()
HISTORY = History.of(WORLD.events, CATALOGUE, USERS, END, {name: float(kind["weight"]) for name, kind in TYPES.items()})
TEXTS = item_texts(CATALOGUE.items)
GROUP = np.unique(np.array(TEXTS), return_inverse=True)[1].astype(np.int64) + 1
WAYS = ("full", "layers", "lora", "adalora", "prefix")
ADAPTERS = ("lora", "adalora", "prefix")
ENCODER_ALONE = {
    "warm_steps": 0,
    "blend_steps": 0,
    "steps": 12,
    "push_steps": 1,
    "check_steps": 4,
    "queries": 64,
    "tower_learning_rate": 1e-9,
}
"""The tower hardly moves: what is learned here, the encoder learns."""
RATES = {"full": 2e-3, "layers": 2e-3, "lora": 5e-2, "adalora": 0.3, "prefix": 1.0, "none": 1e-3}
"""High for adapters: the attention of a BERT of random weights hardly matters at first."""


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny_bert(tmp_path_factory.mktemp("tiny"), WORLD.items)


def encoder(folder: Path, tune: Any, token_budget: int = 4096, **given: Any) -> Encoder:
    return Encoder(folder, "mean", 24, 1, token_budget, Way(tune, **({"lora_rank": 4, "prefix_tokens": 4} | given)))


def training(
    folder: Path,
    tune: str,
    kept: Path | None = None,
    progress: Callable[..., None] = quiet,
    chosen: Fitted | None = None,
    made: Encoder | None = None,
    **given: Any,
) -> Training:
    made = made or encoder(folder, tune)
    inputs = made.tokens(TEXTS)
    text = config({"text": ENCODER_ALONE | {"tune": tune, "learning_rate": RATES[tune]} | given}).text
    pooled = Encoder(folder, "mean", 24, 1, 4096).encode(inputs, quiet)
    return Training(made, inputs, pooled, GROUP, HISTORY, text, 7, None, chosen, Checkpoint(kept), progress)


def vectors(made: Encoder) -> np.ndarray:
    return made.encode(made.tokens(TEXTS), quiet)


def begun(folder: Path, tune: str, **given: Any) -> Encoder:
    """With its adapter on, moved away from its start so that it shows."""
    torch.manual_seed(1)
    made = encoder(folder, tune, **given)
    made.begin(10)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn_like(p), alpha=0.05)
    return made


@pytest.mark.parametrize("tune", WAYS)
def test_each_way_learns_and_is_the_same_when_saved_and_loaded(folder: Path, tmp_path: Path, tune: str) -> None:
    trained = training(folder, tune)
    model, fitted = trained.run()
    losses = [row["loss"] for row in fitted.curve if row["loss"] is not None]
    assert losses[-1] < losses[0] - 0.05
    expected = vectors(model.encoder)
    np.testing.assert_allclose(trained.pooled, expected, atol=1e-5)
    model.save(tmp_path)
    loaded = InterestModel.load(tmp_path, trained.config)
    np.testing.assert_allclose(vectors(loaded.encoder), expected, atol=1e-5)
    assert loaded.encoder.digest() == model.encoder.digest() != Encoder(folder, "mean", 24, 1, 4096).digest()


@pytest.mark.parametrize("tune", WAYS)
def test_each_way_killed_and_started_again_ends_with_the_same_vectors(folder: Path, tmp_path: Path, tune: str) -> None:
    whole = training(folder, tune)
    _, expected = whole.run()

    def kill(what: str, done: int, total: int) -> None:
        if what == "text: joint" and done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training(folder, tune, tmp_path / "kept", kill).run()
    again = training(folder, tune, tmp_path / "kept")
    _, found = again.run()
    assert np.array_equal(again.pooled, whole.pooled)
    assert again.model.encoder.digest() == whole.model.encoder.digest()
    assert found.curve[-1] == expected.curve[-1]


@pytest.mark.parametrize("tune", WAYS)
def test_each_way_pushes_the_gradient_of_direct_backpropagation(folder: Path, tune: str) -> None:
    made = begun(folder, tune, token_budget=64)
    inputs, rows = made.tokens(TEXTS), np.arange(0, 40, 3)
    gradient = torch.from_numpy(np.random.default_rng(0).normal(size=(len(rows), 32)).astype(np.float32))
    made.push(inputs, rows, gradient)
    pushed = [p.grad for p in made.parameters()]
    for p in made.parameters():
        p.grad = None
    penalty = made.adapter.penalty() if made.adapter else None
    ((made.pooled(inputs, rows) * gradient).sum() + (0 if penalty is None else penalty)).backward()
    for one, p in zip(pushed, made.parameters(), strict=True):
        torch.testing.assert_close(one, p.grad, atol=1e-5, rtol=1e-4)
    assert max(float(g.abs().max()) for g in pushed) > 1e-3


def test_full_moves_the_words_and_every_weight_that_a_vector_depends_on(folder: Path) -> None:
    before = {name: p.clone() for name, p in encoder(folder, "full").model.named_parameters()}
    model, _ = training(folder, "full").run()
    still = {name for name, p in model.encoder.model.named_parameters() if torch.equal(p, before[name])}
    assert all(name.startswith("pooler.") for name in still)


@pytest.mark.parametrize("tune", ADAPTERS)
def test_an_adapter_leaves_the_weights_under_it_alone(folder: Path, tune: str) -> None:
    plain = Encoder(folder, "mean", 24, 1, 4096).model.state_dict()
    made = begun(folder, tune)
    under = {name.replace(".base_layer.", "."): t for name, t in made.model.state_dict().items() if "lora_" not in name}
    assert all(torch.equal(under[name], tensor) for name, tensor in plain.items())
    assert not any(p.requires_grad for name, p in made.model.named_parameters() if "lora_" not in name)


@pytest.mark.parametrize("tune", ["lora", "adalora"])
def test_a_merged_encoder_is_a_plain_one_that_transformers_reads_without_peft(folder: Path, tmp_path: Path, tune: str) -> None:
    from transformers import AutoModel

    made = begun(folder, tune)
    unmerged = vectors(made)
    made.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder"]
    plain, read = AutoModel.from_pretrained(folder), AutoModel.from_pretrained(tmp_path / "encoder")
    assert type(read) is type(plain)
    assert read.state_dict().keys() == plain.state_dict().keys()
    np.testing.assert_allclose(vectors(Encoder(tmp_path / "encoder", "mean", 24, 1, 4096)), unmerged, atol=1e-5)


@pytest.mark.parametrize("tune", ["lora", "adalora"])
def test_lora_starts_where_the_encoder_was(folder: Path, tune: str) -> None:
    made = encoder(folder, tune)
    before = vectors(made)
    made.begin(10)
    np.testing.assert_array_equal(vectors(made), before)
    assert made.parameters()


@pytest.mark.parametrize("tune", ADAPTERS)
def test_the_digest_follows_the_adapter(folder: Path, tune: str) -> None:
    made = begun(folder, tune)
    before = made.digest()
    with torch.no_grad():
        made.parameters()[0].view(-1)[0] += 1
    assert made.digest() != before


def test_lora_adds_its_scaled_product_to_query_and_value_alone(folder: Path, tmp_path: Path) -> None:
    made = begun(folder, "lora")
    names = made.named_parameters()
    key = "encoder.layer.1.attention.self.value"
    delta = 2 * names[f"{key}.lora_B.default.weight"] @ names[f"{key}.lora_A.default.weight"]
    before = encoder(folder, "none").model.state_dict()
    made.finish()
    after = made.model.state_dict()
    torch.testing.assert_close(after[f"{key}.weight"], before[f"{key}.weight"] + delta)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == {f"encoder.layer.{n}.attention.self.{which}.weight" for n in (0, 1) for which in ("query", "value")}


def test_adalora_ends_with_the_mean_rank_that_was_asked_for(folder: Path) -> None:
    trained = training(folder, "adalora")
    made = trained.model.encoder
    ranks: list[int] = []
    tell = made.after_step

    def watched(step: int) -> None:
        tell(step)
        ranks.append(int(sum((p != 0).sum() for name, p in made.named_parameters().items() if ".lora_E." in name)))

    made.after_step = watched
    trained.run()
    assert ranks[0] == 4 * 6  # four matrices, half as many ranks again as lora_rank = 4
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[-1] == 4 * 4


def test_a_prefix_is_kept_beside_an_encoder_that_did_not_change(folder: Path, tmp_path: Path) -> None:
    made = begun(folder, "prefix")
    made.save(tmp_path)
    assert Encoder(tmp_path / "encoder", "mean", 24, 1, 4096).digest() == Encoder(folder, "mean", 24, 1, 4096).digest()
    assert {path.name for path in (tmp_path / "prefix").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert str(folder) not in (tmp_path / "prefix" / "adapter_config.json").read_text()


def test_a_prefix_is_what_every_layer_attends_to_before_the_text(folder: Path) -> None:
    made = begun(folder, "prefix")
    seen: list[int] = []
    for layer in made.model.encoder.layer:
        layer.attention.self.register_forward_hook(lambda _, __, output: seen.append(output[1].shape[-1]))
    made.model.config._attn_implementation = "eager"
    made.encode(made.tokens(TEXTS[:1]), quiet)
    assert seen == [made.tokens(TEXTS[:1]).lengths[0] + 4] * 2


def test_a_prefix_and_the_longest_text_fit_in_the_positions_of_the_encoder(folder: Path) -> None:
    made = Encoder(folder, "mean", 9999, 1, 4096, Way("prefix", prefix_tokens=8))
    made.begin(1)
    inputs = made.tokens(["river " * 2000])
    assert inputs.lengths.tolist() == [512 - 8]
    assert np.isfinite(made.encode(inputs, quiet)).all()


@pytest.mark.parametrize("kind", PREFIXABLE)
def test_every_type_that_is_said_to_take_a_prefix_takes_it(kind: str) -> None:
    from transformers import AutoConfig, AutoModel

    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 30}
    model = AutoModel.from_config(AutoConfig.for_model(kind, **shape)).eval()
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 9, 1]])
    before = model(input_ids=ids).last_hidden_state
    prefix = Prefix(model, Way("prefix"))
    states = prefix.states(ids, ids > 1)
    assert states.shape == before.shape
    states.square().sum().backward()
    (trained,) = prefix.named_parameters().values()
    assert trained.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("tune", "kind", "message"),
    [
        ("lora", "xlnet", '"lora": an encoder of type \'xlnet\' has no query and value matrices .* Set text.tune = "layers"'),
        ("adalora", "xlnet", '"adalora": an encoder of type \'xlnet\' has no query and value matrices .* Set text.tune = "layers"'),
        ("prefix", "mpnet", '"prefix": an encoder of type \'mpnet\' takes no prefix; those that do: bert, .* Set text.tune = "lora"'),
    ],
)
def test_a_way_that_the_encoder_does_not_support_is_refused_by_its_type(tune: Any, kind: str, message: str) -> None:
    from transformers import AutoConfig, AutoModel

    shape = {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16} if kind == "xlnet" else {"hidden_size": 24, "num_hidden_layers": 1}
    with torch.device("meta"):  # no weights are needed to refuse
        model = AutoModel.from_config(AutoConfig.for_model(kind, vocab_size=30, **shape))
    with pytest.raises(ModelError, match=message):
        adapter(model, Way(tune), 10)


@pytest.mark.parametrize("tune", ADAPTERS)
def test_without_peft_a_way_that_needs_it_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch, tune: str) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **given: Any) -> Any:
        if name == "peft":
            raise ImportError(name)
        return real(name, *rest, **given)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError, match=rf'text\.tune = "{tune}" needs the library peft.*recsys\[peft\]'):
        encoder(folder, tune).begin(10)


def test_a_broken_prefix_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    made = begun(folder, "prefix")
    made.save(tmp_path)
    (tmp_path / "prefix" / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match=r"prefix: the prefix of the encoder cannot be loaded .* Train again"):
        Encoder(folder, "mean", 24, 1, 4096).load_prefix(tmp_path / "prefix")


def test_a_prefix_with_gradient_checkpointing_is_refused_by_the_config() -> None:
    with pytest.raises(ConfigError, match=r"text\.gradient_checkpointing: a prefix cannot run again"):
        config({"text": {"tune": "prefix", "gradient_checkpointing": True}})
    with pytest.raises(ConfigError, match=r"text\.train_layers"):
        config({"text": {"train_layers": 0}})


def test_none_trains_nothing_of_the_encoder(folder: Path) -> None:
    trained = training(folder, "none", warm_steps=5)
    before = trained.model.encoder.digest()
    _, fitted = trained.run()
    assert (fitted.warm_steps, fitted.steps) == (5, 0)
    assert trained.model.encoder.digest() == before


@pytest.mark.parametrize("tune", ["full", "layers", "lora", "adalora"])
def test_recomputed_layers_give_the_same_gradient_and_run_twice(folder: Path, tune: str) -> None:
    gradients, runs = [], []
    for again in (False, True):
        made = begun(folder, tune, gradient_checkpointing=again)
        count: list[int] = []
        made.model.encoder.layer[1].attention.register_forward_hook(lambda *_, count=count: count.append(1))
        inputs = made.tokens(TEXTS)
        made.push(inputs, np.arange(10), torch.ones(10, 32))
        gradients.append([p.grad for p in made.parameters()])
        runs.append(len(count))
    assert runs == [1, 2]
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("tune", WAYS)
def test_bf16_gives_vectors_near_those_of_fp32_and_a_digest_of_its_own(folder: Path, tune: str) -> None:
    exact, rough = begun(folder, tune), begun(folder, tune, precision="bf16")
    one, other = vectors(exact), vectors(rough)
    cosine = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosine.min() > 0.999
    assert not np.array_equal(one, other)
    assert exact.digest() != rough.digest()
    rough.push(rough.tokens(TEXTS), np.arange(5), torch.ones(5, 32))
    assert all(torch.isfinite(p.grad).all() for p in rough.parameters())


def small_memory(made: Encoder, tokens: int, message: str = "CUDA out of memory. Tried to allocate 2.00 GiB") -> list[int]:
    """The last layer fails above so many padded tokens, as an allocator does; the sizes tried."""
    tried: list[int] = []

    def refuse(_: Any, given: tuple[torch.Tensor, ...], __: Any) -> None:
        tried.append(given[0].shape[0] * given[0].shape[1])
        if tried[-1] > tokens:
            raise RuntimeError(message)

    made.model.encoder.layer[-1].register_forward_hook(refuse)
    return tried


@pytest.mark.parametrize(
    "message",
    ["CUDA out of memory. Tried to allocate 2.00 GiB", "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"],
)
def test_out_of_memory_halves_the_token_budget_says_so_and_goes_on(folder: Path, caplog: pytest.LogCaptureFixture, message: str) -> None:
    expected = vectors(encoder(folder, "full"))
    made = encoder(folder, "full", token_budget=1024)
    tried = small_memory(made, 200, message)
    np.testing.assert_allclose(vectors(made), expected, atol=1e-5)
    assert made.budget.tokens == 128
    said = [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()]
    assert ["from 1024 to 512" in said[0], "from 512 to 256" in said[1], "from 256 to 128" in said[2]] == [True] * 3
    assert len(said) == sum(size > 200 for size in tried) == 3


@pytest.mark.parametrize("backward", [False, True])
def test_a_batch_done_again_after_running_out_of_memory_counts_once(folder: Path, backward: bool) -> None:
    inputs = encoder(folder, "full").tokens(TEXTS)
    gradients = []
    for little in (False, True):
        made = encoder(folder, "full", token_budget=1024)
        if little and not backward:
            small_memory(made, 200)
        elif little:  # the upper layer's gradient is there by then
            made.model.encoder.layer[0].register_full_backward_hook(lambda _, __, given: refuse_above(200, given))
        made.push(inputs, np.arange(40), torch.ones(40, 32))
        gradients.append([p.grad for p in made.parameters()])
    assert made.budget.tokens == 128
    for plain, redone in zip(*gradients, strict=True):
        torch.testing.assert_close(redone, plain, atol=1e-4, rtol=1e-4)


def refuse_above(tokens: int, given: tuple[torch.Tensor, ...]) -> None:
    if given[0].shape[0] * given[0].shape[1] > tokens:
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_a_training_goes_on_with_less_memory_and_learns_the_same(folder: Path) -> None:
    whole = training(folder, "full")
    whole.run()
    made = encoder(folder, "full")
    small_memory(made, 300)
    less = training(folder, "full", made=made)
    less.run()
    np.testing.assert_allclose(less.pooled, whole.pooled, atol=1e-2)


def test_a_single_text_that_does_not_fit_is_a_model_error_with_the_way_out(folder: Path) -> None:
    made = encoder(folder, "full")
    small_memory(made, 5)
    with pytest.raises(ModelError, match=r"out of memory with a single text of \d+ tokens in a batch. Lower text.max_tokens"):
        vectors(made)


def test_another_error_of_a_batch_is_not_taken_for_lack_of_memory(folder: Path) -> None:
    made = encoder(folder, "full")
    small_memory(made, 5, "mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="shapes"):
        vectors(made)


def test_a_checkpoint_of_another_encoder_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    training(folder, "layers", tmp_path / "kept", chosen=Fitted(0, 2)).run()
    other = tiny_bert(tmp_path / "other", WORLD.items, seed=1)
    with pytest.raises(ModelError, match=r"warm\.safetensors: a checkpoint of another training or encoder: its encoder is \w+, not \w+"):
        training(other, "layers", tmp_path / "kept").run()


def test_a_checkpoint_that_was_copied_into_another_training_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    training(folder, "layers", tmp_path / "one", chosen=Fitted(0, 2)).run()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with pytest.raises(ModelError, match=r"its training is one, not two\. Remove .*two to start anew"):
        training(folder, "layers", tmp_path / "two").run()


def test_a_checkpoint_of_another_way_is_refused_by_the_name_that_does_not_fit(folder: Path, tmp_path: Path) -> None:
    training(folder, "lora", tmp_path / "kept", chosen=Fitted(0, 2)).run()
    with pytest.raises(ModelError, match=r"joint\.safetensors: .* encoder\.encoder\.layer\.1\.\S+ is not in it and \d+ more"):
        training(folder, "layers", tmp_path / "kept").run()
    made = encoder(folder, "lora", lora_rank=2)
    with pytest.raises(ModelError, match=r"lora_A\.default\.weight is \(4, 32\), not \(2, 32\) and \d+ more"):
        training(folder, "lora", tmp_path / "kept", made=made).run()


def test_the_docs_count_the_trained_parameters_of_minilm_rightly() -> None:
    from transformers import BertConfig, BertModel

    rows = re.findall(r'^\| `"(\w+)"` \| ([\d,]+)', (Path(__file__).parents[1] / "docs" / "config.md").read_text(), flags=re.MULTILINE)
    written = {tune: int(n.replace(",", "")) for tune, n in rows}

    def minilm() -> Any:
        with torch.device("meta"):  # shapes alone
            return BertModel(BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536))

    def size(parameters: Any) -> int:
        return sum(p.numel() for p in parameters)

    plain = minilm()
    counted = {
        "none": 0,
        "full": size(plain.parameters()) - size(plain.pooler.parameters()),
        "layers": size(plain.encoder.layer[-2:].parameters()),
    }
    assert written == counted | {tune: size(adapter(minilm(), Way(tune), 60).named_parameters().values()) for tune in ADAPTERS}
