"""Texts to pooled vectors with any Hugging Face encoder, in batches of a token budget, sorted by length.

The layers that are not trained run once per text: their outputs (`Inputs.states`) are kept, and every later pass, in
training or not, costs only the layers above.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.blocks import Floats
from recsys.errors import ModelError
from recsys.text.int8 import Int8
from recsys.text.linear import onednn_linears
from recsys.text.packed import packed_states, packs

Progress = Callable[[str, int, int], None]

SPLITTABLE = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
"""Architectures whose layers are called as layer(states, mask): their lower layers can run apart from the upper ones."""

CHARACTERS_A_TOKEN = 40
"""Text beyond max_tokens times this many characters is cut before tokenising: it could not be reached, and costs time."""


@dataclass(frozen=True)
class Inputs:
    """Texts as the trained layers take them: token ids, or the outputs of the layers below, packed without padding.

    offsets (n + 1,) int64; ids (n_tokens,) int32; states (n_tokens, hidden) float32, or None where they are not kept.
    """

    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]
    states: Floats | None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,) tokens of each text."""
        return np.diff(self.offsets)


class Encoder:
    """A Hugging Face encoder split at `train_layers` from the top, with its pooling."""

    def __init__(self, folder: Path, pooling: str, max_tokens: int, train_layers: int, token_budget: int) -> None:
        from transformers import AutoModel, AutoTokenizer, logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
        except Exception as error:  # transformers raises OSError, ValueError, KeyError, SafetensorError ... for a folder that is no model
            reason = str(error).strip().split("\n")[0][:200]
            raise ModelError(
                f"text.encoder: {folder} cannot be loaded: {reason}. Save a model and its tokenizer there with save_pretrained."
            ) from None
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)
        self.pooling, self.token_budget = pooling, token_budget
        self.max_tokens = min(max_tokens, getattr(self.model.config, "max_position_embeddings", max_tokens))
        self.hidden = int(self.model.config.hidden_size)
        self.trained = self._freeze(train_layers)
        self.int8: Int8 | None = None

    def _freeze(self, train_layers: int) -> nn.ModuleList:
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        stack = max((m for m in self.model.modules() if isinstance(m, nn.ModuleList)), key=len, default=nn.ModuleList())
        trained = stack[len(stack) - min(train_layers, len(stack)) :]
        for parameter in trained.parameters():
            parameter.requires_grad_(True)
        self._stack, self.splits = stack, self.model.config.model_type in SPLITTABLE
        return trained

    @property
    def n_below(self) -> int:
        """Layers that are not trained."""
        return len(self._stack) - len(self.trained)

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are fine-tuned."""
        return list(self.trained.parameters())

    def digest(self) -> str:
        """sha256 over weights, vocabulary, pooling, cut and int8: two encoders with one digest give the same vectors."""
        sha = hashlib.sha256(f"{self.pooling} {self.max_tokens}".encode())
        sha.update(self.int8.onnx_bytes if self.int8 else b"")
        for name, tensor in sorted(self.model.state_dict().items()):
            sha.update(name.encode())
            sha.update(tensor.cpu().contiguous().numpy().tobytes())
        sha.update(repr(sorted(self.tokenizer.get_vocab().items())).encode())
        return sha.hexdigest()[:32]

    def tokens(self, texts: list[str]) -> Inputs:
        """Token ids of texts, cut at max_tokens, packed."""
        cut = [text[: self.max_tokens * CHARACTERS_A_TOKEN] for text in texts]
        rows = self.tokenizer(cut, truncation=True, max_length=self.max_tokens)["input_ids"] if cut else []
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)]).astype(np.int64)
        return Inputs(offsets, np.array([token for row in rows for token in row], dtype=np.int32), None)

    def states_mb(self, inputs: Inputs) -> float:
        """MB the states of these texts would take."""
        return len(inputs.ids) * self.hidden * 4 / 1e6

    def states(self, inputs: Inputs, rows: NDArray[Any], progress: Progress) -> Floats:
        """Outputs (n_tokens of the rows, hidden) float32 of the layers that are not trained, packed in the order of `rows`."""
        starts = np.concatenate([[0], np.cumsum(inputs.lengths[rows])])
        place = {int(row): n for n, row in enumerate(rows)}
        states = np.empty((starts[-1], self.hidden), dtype=np.float32)
        done = 0
        with torch.inference_mode(), self._precision(), onednn_linears(self.model):
            for batch in self.batches(inputs, rows):
                below = self._below(*self._padded_ids(inputs, batch)).float().cpu().numpy()
                for n, row in enumerate(batch):
                    states[starts[place[int(row)]] : starts[place[int(row)] + 1]] = below[n, : inputs.lengths[row]]
                done += len(batch)
                progress("text: layers below", done, len(rows))
        return states

    def batches(self, inputs: Inputs, rows: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
        """The rows in batches of like length whose padded tokens stay within the token budget; at least one row each."""
        order = rows[np.argsort(-inputs.lengths[rows], kind="stable")]
        start = 0
        while start < len(order):
            longest = max(int(inputs.lengths[order[start]]), 1)
            stop = start + max(1, self.token_budget // longest)
            yield order[start:stop]
            start = stop

    def pooled(self, inputs: Inputs, rows: NDArray[Any]) -> Tensor:
        """Pooled vectors (len(rows), hidden) float32 of one batch, in the order of `rows`; with a gradient where it is enabled."""
        mask = self._mask(inputs, rows)
        with self._precision():
            if inputs.states is None:
                states = self._whole(*self._padded_ids(inputs, rows))
            else:
                states = self._above(self._padded_states(inputs, rows, mask), mask)
        return self._pool(states.float(), mask)

    def encode(self, inputs: Inputs, progress: Progress, chosen: NDArray[Any] | None = None) -> Floats:
        """Pooled vectors (n, hidden) float32 of all texts, or of the `chosen` rows, without gradient, by the quickest way there is."""
        wanted = np.arange(len(inputs)) if chosen is None else chosen
        vectors = np.zeros((len(inputs), self.hidden), dtype=np.float32)
        done = 0
        with torch.inference_mode(), self._precision(), onednn_linears(self.model):
            for rows in self.batches(inputs, wanted):
                vectors[rows] = self._scored(inputs, rows).float().cpu().numpy()
                done += len(rows)
                progress("text: encoding", done, len(wanted))
        return vectors[wanted]

    def use_int8(self) -> None:
        """From now on `encode` counts in int8. Raises ModelError where the encoder cannot be exported, or a library is missing."""
        self.int8 = Int8.of(self.model)

    def _scored(self, inputs: Inputs, rows: NDArray[Any]) -> Tensor:
        if self.int8:
            ids, mask = self._padded_ids(inputs, rows)
            return self._pool(self.int8.states(ids, mask), mask)
        if inputs.states is None and packs(self.model) and inputs.lengths[rows].min() > 0:
            return self._pool_packed(packed_states(self.model, self._packed_ids(inputs, rows), inputs.lengths[rows]), inputs.lengths[rows])
        return self.pooled(inputs, rows)

    def _packed_ids(self, inputs: Inputs, rows: NDArray[Any]) -> Tensor:
        parts = [inputs.ids[inputs.offsets[row] : inputs.offsets[row + 1]] for row in rows]
        return torch.from_numpy(np.concatenate(parts).astype(np.int64)).to(self.device)

    def _pool_packed(self, states: Tensor, lengths: NDArray[np.int64]) -> Tensor:
        counts = torch.from_numpy(lengths).to(self.device)
        if self.pooling == "cls":
            return states[counts.cumsum(0) - counts]
        return torch.segment_reduce(states.float(), "mean", lengths=counts)

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda")

    def _mask(self, inputs: Inputs, rows: NDArray[Any]) -> Tensor:
        lengths = inputs.lengths[rows]
        return torch.from_numpy(np.arange(max(int(lengths.max()), 1))[None, :] < lengths[:, None]).to(self.device)

    def _padded_ids(self, inputs: Inputs, rows: NDArray[Any]) -> tuple[Tensor, Tensor]:
        mask = self._mask(inputs, rows)
        padding = self.tokenizer.pad_token_id or 0
        padded = np.full(tuple(mask.shape), padding, dtype=np.int64)
        for place, row in enumerate(rows):
            ids = inputs.ids[inputs.offsets[row] : inputs.offsets[row + 1]]
            padded[place, : len(ids)] = ids
        return torch.from_numpy(padded).to(self.device), mask

    def _padded_states(self, inputs: Inputs, rows: NDArray[Any], mask: Tensor) -> Tensor:
        assert inputs.states is not None
        places = inputs.offsets[rows][:, None] + np.arange(mask.shape[1])[None, :]
        return torch.from_numpy(inputs.states[np.minimum(places, len(inputs.ids) - 1)]).to(self.device)

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
        return self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state

    def _pool(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0]
        weight = mask[:, :, None].float()
        return (states * weight).sum(1) / weight.sum(1).clamp(min=1)
