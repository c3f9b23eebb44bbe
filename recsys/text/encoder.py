"""Texts to pooled vectors with any Hugging Face encoder, in batches of a token budget, sorted by length.

The layers that are not trained run once per text: their outputs (`Inputs.states`) are kept, and every later pass, in
training or not, costs only the layers above.
"""

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.blocks import Floats
from recsys.errors import ModelError
from recsys.text.inputs import Inputs
from recsys.text.int8 import Int8
from recsys.text.linear import onednn_linears
from recsys.text.memory import Budget
from recsys.text.packed import packed_states, packs
from recsys.text.tuning import Lora, Prefix, Way, adapter, recompute
from recsys.text.workers import workers

Progress = Callable[[str, int, int], None]

SPLITTABLE = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
"""Architectures whose layers are called as layer(states, mask): their lower layers can run apart from the upper ones."""

CHARACTERS_A_TOKEN = 40
"""Text beyond max_tokens times this many characters is cut before tokenising: it could not be reached, and costs time."""


LAST_LAYERS = Way()


class Encoder:
    """A Hugging Face encoder with its pooling, and the way in which it is tuned.

    A training calls `begin` before its first step, `after_step` after each, `finish` after the last.
    """

    def __init__(self, folder: Path, pooling: str, max_tokens: int, train_layers: int, token_budget: int, way: Way = LAST_LAYERS) -> None:
        """`train_layers` counts with way.tune = "layers" alone. Raises ModelError when the folder cannot be loaded."""
        from transformers import AutoModel, AutoTokenizer
        from transformers import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
        except Exception as error:  # transformers raises OSError, ValueError, KeyError, SafetensorError ... for a folder that is no model
            reason = str(error).strip().split("\n")[0][:200]
            raise ModelError(
                f"text.encoder: {folder} cannot be loaded: {reason}. Save a model and its tokenizer there with save_pretrained."
            ) from None
        self.device = workers().device
        self.model.to(self.device)
        self.pooling, self.budget, self.way = pooling, Budget(token_budget), way
        self.max_tokens = max_tokens
        self._leave_room(way.prefix_tokens if way.tune == "prefix" else 0)
        self.hidden = int(self.model.config.hidden_size)
        self.adapter: Lora | None = None
        self._stack = max((m for m in self.model.modules() if isinstance(m, nn.ModuleList)), key=len, default=nn.ModuleList())
        self.trained = self._stack[len(self._stack) - min(train_layers, len(self._stack)) :] if way.tune == "layers" else nn.ModuleList()
        self._freeze()
        self.int8: Int8 | None = None

    def _positions(self, otherwise: int) -> int:
        """Tokens that the model has a position for. RoBERTa and its kin begin to count after the padding's own position."""
        most = int(getattr(self.model.config, "max_position_embeddings", otherwise))
        tables = [module for name, module in self.model.named_modules() if name.endswith("position_embeddings")]
        padding = getattr(tables[0], "padding_idx", None) if tables else None
        return most if padding is None else most - padding - 1

    def _freeze(self) -> None:
        for name, parameter in self.model.named_parameters():
            # The pooler comes after the states that are pooled here: it would never have a gradient.
            parameter.requires_grad_(self.way.tune == "full" and not name.startswith("pooler."))
        for parameter in self.trained.parameters():
            parameter.requires_grad_(True)

    def _leave_room(self, tokens: int) -> None:
        self.max_tokens = min(self.max_tokens, self._positions(self.max_tokens + tokens) - tokens)

    def begin(self, total_steps: int) -> None:
        """Make ready for a training of `total_steps`: put the adapter of the way on, drawn with torch's generator.

        Raises ModelError when the encoder cannot be tuned in this way.
        """
        if total_steps and self.adapter is None:
            self.adapter = adapter(self.model, self.way, total_steps)
        if total_steps and self.way.gradient_checkpointing:
            recompute(self.trained if self.way.tune == "layers" else self._stack)

    def after_step(self, step: int) -> None:
        """To be called after the optimiser's step number `step`, from 1, before the gradients are cleared."""
        if self.adapter:
            self.adapter.after_step(step)

    def finish(self) -> None:
        """The training is over: LoRA and AdaLoRA are added into the weights; a prefix stays as it is."""
        if self.adapter and not isinstance(self.adapter, Prefix):
            self.model, self.adapter = self.adapter.merged(), None

    @property
    def splits(self) -> bool:
        """Can the layers that are not trained run apart, so that their outputs may be kept."""
        return self.way.tune == "layers" and len(self.trained) > 0 and self.model.config.model_type in SPLITTABLE

    @property
    def starts_elsewhere(self) -> bool:
        """Does `begin` alone change the vectors."""
        return isinstance(self.adapter, Prefix)

    @property
    def n_below(self) -> int:
        """Layers that are not trained, with way.tune = "layers"."""
        return len(self._stack) - len(self.trained)

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are fine-tuned; those of an adapter are there after `begin`."""
        return list(self.named_parameters().values())

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that are fine-tuned, by name."""
        if self.adapter:
            return self.adapter.named_parameters()
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def running(self) -> dict[str, Tensor]:
        """What else of the encoder changes from step to step, by name: a checkpoint must hold it too."""
        return self.adapter.running() if self.adapter else {}

    def save(self, folder: Path) -> None:
        """Write a plain Hugging Face model and tokenizer into `folder`/encoder, and a prefix, if there is one, into `folder`/prefix."""
        self.finish()
        self.model.save_pretrained(folder / "encoder", safe_serialization=True)
        self.tokenizer.save_pretrained(folder / "encoder")
        if isinstance(self.adapter, Prefix):
            self.adapter.save(folder / "prefix")

    def load_prefix(self, folder: Path) -> None:
        """Put a saved prefix before every text. Raises ModelError when it does not fit this encoder, or peft is not there."""
        self.adapter = prefix = Prefix(self.model, self.way, folder)
        self._leave_room(prefix.tokens)

    def with_layers(self, places: list[int]) -> "Encoder":
        """A copy with only the layers at these places, all of them trained; its embeddings are copied and stay as they are."""
        made = copy.copy(self)
        made.model = copy.deepcopy(self.model)
        made.model.encoder.layer = nn.ModuleList(made.model.encoder.layer[place] for place in places)
        made.model.config.num_hidden_layers = len(places)
        made.way, made.adapter, made.int8 = replace(self.way, tune="layers"), None, None
        made._stack = made.trained = made.model.encoder.layer
        made._freeze()
        return made

    def digest(self) -> str:
        """sha256 over weights, adapter, vocabulary, pooling, cut, precision and int8: encoders with one digest give the same vectors."""
        sha = hashlib.sha256(f"{self.pooling} {self.max_tokens}{' bf16' * self.way.counts_in_bf16(self.device)}".encode())
        sha.update(self.int8.onnx_bytes if self.int8 else b"")
        tensors = self.model.state_dict() | (self.adapter.named_parameters() if self.adapter else {})
        for name, tensor in sorted(tensors.items()):
            sha.update(name.encode())
            sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        sha.update(repr(sorted(self.tokenizer.get_vocab().items())).encode())
        return sha.hexdigest()[:32]

    def tokens(self, texts: list[str]) -> Inputs:
        """Token ids of texts, cut at max_tokens, packed."""
        rows = self._ids(texts, self.max_tokens)
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)]).astype(np.int64)
        return Inputs(offsets, np.array([token for row in rows for token in row], dtype=np.int32), None)

    def fits(self, texts: list[str]) -> list[bool]:
        """Whether each text is within the cut: `tokens` takes all of it."""
        rows = self._ids(texts, self.max_tokens + 1)
        most = self.max_tokens * CHARACTERS_A_TOKEN
        return [len(row) <= self.max_tokens and len(text) <= most for row, text in zip(rows, texts, strict=True)]

    def unknown_share(self, inputs: Inputs) -> float:
        """Share of the tokens that are of no word or letter in the encoder's vocabulary; 0 where it spells everything."""
        return float(np.mean(inputs.ids == self.tokenizer.unk_token_id)) if len(inputs.ids) else 0.0

    def _ids(self, texts: list[str], n: int) -> list[list[int]]:
        cut = [text[: self.max_tokens * CHARACTERS_A_TOKEN] for text in texts]
        return self.tokenizer(cut, truncation=True, max_length=n)["input_ids"] if cut else []

    def states_mb(self, inputs: Inputs) -> float:
        """MB the states of these texts would take."""
        return len(inputs.ids) * self.hidden * 4 / 1e6

    def states(self, inputs: Inputs, rows: NDArray[Any], progress: Progress) -> Floats:
        """Outputs (n_tokens of the rows, hidden) float32 of the layers that are not trained, packed in the order of `rows`."""
        starts = np.concatenate([[0], np.cumsum(inputs.lengths[rows])])
        place = {int(row): n for n, row in enumerate(rows)}
        states = np.empty((starts[-1], self.hidden), dtype=np.float32)
        done = 0

        def run(batch: NDArray[np.int64]) -> None:
            nonlocal done
            below = self._below(*self._padded_ids(inputs, batch)).float().cpu().numpy()
            for n, row in enumerate(batch):
                states[starts[place[int(row)]] : starts[place[int(row)] + 1]] = below[n, : inputs.lengths[row]]
            done += len(batch)
            progress("text: layers below", done, len(rows))

        with torch.inference_mode(), self._precision(), onednn_linears(self.model):
            self.budget.each_batch(inputs, rows, run)
        return states

    def batches(self, inputs: Inputs, rows: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
        """The rows in batches of like length whose padded tokens stay within the token budget; at least one row each."""
        return inputs.batches(rows, self.budget.tokens)

    def pooled(self, inputs: Inputs, rows: NDArray[Any]) -> Tensor:
        """Pooled vectors (len(rows), hidden) float32 of one batch, in the order of `rows`; with a gradient where it is enabled."""
        mask = self._mask(inputs, rows)
        with self._precision():
            if inputs.states is None:
                states = self._whole(*self._padded_ids(inputs, rows))
            else:
                states = self._above(self._padded_states(inputs, rows), mask)
        return self._pool(states.float(), mask)

    def encode(self, inputs: Inputs, progress: Progress, chosen: NDArray[Any] | None = None) -> Floats:
        """Pooled vectors (n, hidden) float32 of all texts, or of the `chosen` rows, without gradient, by the quickest way there is."""
        wanted, places = np.unique(np.arange(len(inputs)) if chosen is None else chosen, return_inverse=True)
        vectors = np.zeros((len(wanted), self.hidden), dtype=np.float32)
        done = 0

        def run(batch: NDArray[np.int64]) -> None:
            nonlocal done
            vectors[np.searchsorted(wanted, batch)] = self._scored(inputs, batch).float().cpu().numpy()
            done += len(batch)
            progress("text: encoding", done, len(wanted))

        with torch.inference_mode(), self._precision(), onednn_linears(self.model):
            self.budget.each_batch(inputs, wanted, run)
        return vectors[places]

    def use_int8(self) -> None:
        """From now on `encode` counts in int8. Raises ModelError where the encoder cannot be exported, or a library is missing."""
        self.int8 = Int8.of(self.model)

    def _scored(self, inputs: Inputs, rows: NDArray[Any]) -> Tensor:
        if self.int8:
            ids, mask = self._padded_ids(inputs, rows)
            return self._pool(self.int8.states(ids, mask), mask)
        lengths = inputs.lengths[rows]
        if inputs.states is None and self.adapter is None and packs(self.model) and lengths.min() > 0:
            return self._pool_packed(packed_states(self.model, torch.from_numpy(inputs.packed_ids(rows)).to(self.device), lengths), lengths)
        return self.pooled(inputs, rows)

    def _pool_packed(self, states: Tensor, lengths: NDArray[np.int64]) -> Tensor:
        counts = torch.from_numpy(lengths).to(self.device)
        if self.pooling == "cls":
            return states[counts.cumsum(0) - counts]
        return torch.segment_reduce(states.float(), "mean", lengths=counts)

    def push(self, inputs: Inputs, rows: NDArray[Any], gradient: Tensor) -> Tensor:
        """Add to every trained parameter's `grad` what a loss with this `gradient` (n, hidden) at the pooled vectors of `rows` gives.

        rows (n,) ascending, without repeats. The adapter's own penalty is added too. Returns those pooled vectors (n, hidden).
        Several workers go through a part of the rows each, and all end with the whole.
        """
        parameters, vectors = self.parameters(), torch.zeros_like(gradient)

        def run(batch: NDArray[np.int64]) -> None:
            places = torch.from_numpy(np.searchsorted(rows, batch))
            pooled = self.pooled(inputs, batch)
            # Not backward(): a batch that runs out of memory half way must leave nothing in `grad`.
            _add(parameters, torch.autograd.grad(pooled, parameters, gradient[places].to(self.device), allow_unused=True))
            vectors[places] = pooled.detach().cpu()

        self.budget.each_batch(inputs, workers().share(inputs.longest_first(rows)), run)
        workers().total_gradient(parameters)
        penalty = self.adapter.penalty() if self.adapter else None
        if penalty is not None:
            _add(parameters, torch.autograd.grad(penalty, parameters, allow_unused=True))
        return workers().total(vectors)

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.way.counts_in_bf16(self.device))

    def _mask(self, inputs: Inputs, rows: NDArray[Any]) -> Tensor:
        return torch.from_numpy(inputs.mask(rows)).to(self.device)

    def _padded_ids(self, inputs: Inputs, rows: NDArray[Any]) -> tuple[Tensor, Tensor]:
        padded = inputs.padded_ids(rows, self.tokenizer.pad_token_id or 0)
        return torch.from_numpy(padded).to(self.device), self._mask(inputs, rows)

    def _padded_states(self, inputs: Inputs, rows: NDArray[Any]) -> Tensor:
        return torch.from_numpy(inputs.padded_states(rows)).to(self.device)

    def _below(self, ids: Tensor, mask: Tensor) -> Tensor:
        layers = self.model.encoder.layer
        self.model.encoder.layer = layers[: len(layers) - len(self.trained)]
        try:
            return self._whole(ids, mask)
        finally:
            self.model.encoder.layer = layers

    def _above(self, states: Tensor, mask: Tensor) -> Tensor:
        blocked = torch.zeros(mask.shape, dtype=states.dtype, device=self.device).masked_fill(~mask, torch.finfo(states.dtype).min)[
            :, None, None, :
        ]
        for layer in self.trained:
            states = layer(states, blocked)
        return states

    def _whole(self, ids: Tensor, mask: Tensor) -> Tensor:
        if self.adapter:
            return self.adapter.states(ids, mask)
        return self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state

    def _pool(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0]
        weight = mask[:, :, None].float()
        return (states * weight).sum(1) / weight.sum(1).clamp(min=1)


def _add(parameters: list[nn.Parameter], gradients: tuple[Tensor | None, ...]) -> None:
    for p, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            p.grad = gradient if p.grad is None else p.grad.add_(gradient)
