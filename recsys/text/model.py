"""The interest model: encoder and tower together, its vectors, and how it is kept on disk."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from recsys.blocks import Bools, Floats, History
from recsys.config import Text
from recsys.errors import ModelError
from recsys.text.encoder import Encoder
from recsys.text.past import whole_past
from recsys.text.tower import Tower
from recsys.text.tuning import Way

USERS_AT_ONCE = 512


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
        """Unit vectors (n_users, interests, dim) float32 of a block's histories, from every interaction before its as_of."""
        vectors, past = torch.from_numpy(item_vectors), whole_past(history, self.history, len(item_vectors))
        parts = [torch.zeros((0, self.tower.interests, self.tower.dim))]
        with torch.inference_mode():
            for start in range(0, history.n_users, USERS_AT_ONCE):
                part = past.rows(slice(start, start + USERS_AT_ONCE))
                parts.append(self.tower.users(vectors[torch.from_numpy(part.item)], part, torch.from_numpy(part.older @ item_vectors)))
        return torch.cat(parts).numpy()

    def save(self, folder: Path) -> None:
        """Write encoder, tokenizer and tower into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder.save(folder)
        save_file({name: t.contiguous() for name, t in self.tower.state_dict().items()}, folder / "tower.safetensors")
        shape = {"hidden": self.encoder.hidden, "dim": self.tower.dim, "interests": self.tower.interests, "history": self.history}
        (folder / "tower.json").write_text(json.dumps(shape, sort_keys=True))

    @classmethod
    def load(cls, folder: Path, text: Text) -> "InterestModel":
        """Read what `save` wrote. Raises ModelError when it is not whole."""
        try:
            shape = json.loads((folder / "tower.json").read_text())
            tower = Tower(shape["hidden"], shape["dim"], shape["interests"])
            tower.load_state_dict(load_file(folder / "tower.safetensors"))
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder}: the interest model is not whole ({error}). Train again.") from None
        encoder = Encoder(folder / "encoder", text.pooling, text.max_tokens, text.train_layers, text.token_budget, Way.of(text))
        if (folder / "prefix").is_dir():
            encoder.load_prefix(folder / "prefix")
        return cls(encoder, tower.eval(), shape["history"])


def mean_of_history(history: History, item_vectors: Floats, n: int) -> Floats:
    """The untrained user: unit mean (n_users, dim) of the vectors of the latest `n` liked interactions; zero without any."""
    places, real = history.latest(n)
    use = real & _at(history.is_liked, places)
    total = np.zeros((history.n_users, item_vectors.shape[1]), np.float32)
    for column in range(n):
        total += np.where(use[:, column, None], item_vectors[_at(history.item_index, places[:, column])], np.float32(0))
    norm = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.where(norm > 0, norm, 1)).astype(np.float32)


def _at(array: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    # A block of newcomers alone has no row to stand in for the masked places.
    return array[places] if len(array) else np.zeros(places.shape, array.dtype)
