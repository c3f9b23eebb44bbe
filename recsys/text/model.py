"""The interest model: encoder and tower together, its vectors, and how it is kept on disk."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from recsys.blocks import Bools, Floats, History
from recsys.config import Text
from recsys.errors import ModelError
from recsys.text.encoder import Encoder
from recsys.text.int8 import Int8
from recsys.text.tower import Tower

USERS_AT_ONCE = 512
INT8_FILE = "int8.onnx"


def item_texts(items: pl.DataFrame) -> list[str]:
    """The text of each item: title, description and category, those given, joined; empty when it has neither of the first two."""
    parts = pl.concat_str(
        [pl.when(pl.col(c) != "").then(pl.col(c)) for c in ("title", "description", "category")], separator=". ", ignore_nulls=True
    )
    has_text = (pl.col("title") != "") | (pl.col("description") != "")
    return items.select(text=pl.when(has_text).then(parts).otherwise(pl.lit("")))["text"].to_list()


@dataclass(frozen=True)
class InterestModel:
    """A user-item interest score from texts: `scale * <user vector, item vector>`, both unit.

    An item without text has the zero vector: no opinion, never retrieved by text, its text features missing.
    A user without history has the tower's newcomer vector.
    """

    encoder: Encoder
    tower: Tower
    history: int

    @property
    def scale(self) -> float:
        """The factor of the dot product."""
        return float(self.tower.scale.detach())

    def item_vectors(self, pooled: Floats, has_text: Bools) -> Floats:
        """Unit vectors (n_items, dim) float32 of pooled vectors (n_items, hidden); zero where there is no text."""
        with torch.inference_mode():
            vectors = self.tower.items(torch.from_numpy(pooled)).numpy()
        return np.where(has_text[:, None], vectors, np.float32(0)).astype(np.float32)

    def user_vectors(self, history: History, item_vectors: Floats) -> Floats:
        """Unit vectors (n_users, dim) float32 of a block's histories, from every interaction before its as_of."""
        vectors = torch.from_numpy(item_vectors)
        parts = []
        with torch.inference_mode():
            for places, real in _slices(*history.latest(self.history)):
                parts.append(self.tower.users(vectors[_at(history.item_index, places)], *context(history, places), torch.from_numpy(real)))
        return torch.cat(parts).numpy() if parts else np.zeros((0, self.tower.dim), np.float32)

    def save(self, folder: Path) -> None:
        """Write encoder, tokenizer and tower into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder.model.save_pretrained(folder / "encoder", safe_serialization=True)
        self.encoder.tokenizer.save_pretrained(folder / "encoder")
        if self.encoder.int8:
            (folder / INT8_FILE).write_bytes(self.encoder.int8.onnx_bytes)
        save_file({name: t.contiguous() for name, t in self.tower.state_dict().items()}, folder / "tower.safetensors")
        shape = {"hidden": self.encoder.hidden, "dim": self.tower.dim, "history": self.history}
        (folder / "tower.json").write_text(json.dumps(shape, sort_keys=True))

    @classmethod
    def load(cls, folder: Path, text: Text) -> "InterestModel":
        """Read what `save` wrote. Raises ModelError when it is not whole."""
        try:
            shape = json.loads((folder / "tower.json").read_text())
            tower = Tower(shape["hidden"], shape["dim"])
            tower.load_state_dict(load_file(folder / "tower.safetensors"))
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder}: the interest model is not whole ({error}). Train again.") from None
        encoder = Encoder(folder / "encoder", text.pooling, text.max_tokens, text.train_layers, text.token_budget)
        if text.scoring == "int8":
            encoder.int8 = _int8(folder / INT8_FILE)
        return cls(encoder, tower.eval(), shape["history"])


def _int8(path: Path) -> Int8:
    try:
        return Int8(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: the interest model is not whole ({error}). Train again.") from None


def mean_of_history(history: History, item_vectors: Floats, n: int) -> Floats:
    """The untrained user: unit mean (n_users, dim) of the vectors of the latest `n` liked interactions; zero without any."""
    places, real = history.latest(n)
    use = real & _at(history.is_liked, places)
    total = np.zeros((history.n_users, item_vectors.shape[1]), np.float32)
    for column in range(n):
        total += np.where(use[:, column, None], item_vectors[_at(history.item_index, places[:, column])], np.float32(0))
    norm = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.where(norm > 0, norm, 1)).astype(np.float32)


def context(history: History, places: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Event types, ages and weights (n, l) of the history rows at `places`, as the tower takes them."""
    return tuple(torch.from_numpy(_at(array, places)) for array in (history.event_type, history.age_days, history.weight))


def _slices(places: NDArray[np.int64], real: Bools) -> list[tuple[NDArray[np.int64], Bools]]:
    return [(places[a : a + USERS_AT_ONCE], real[a : a + USERS_AT_ONCE]) for a in range(0, len(places), USERS_AT_ONCE)]


def _at(array: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    # A block of newcomers alone has no row to stand in for the masked places.
    return array[places] if len(array) else np.zeros(places.shape, array.dtype)
