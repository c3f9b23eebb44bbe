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
from scipy import sparse

from recsys.blocks import Bools, Floats, History
from recsys.config import Text
from recsys.errors import DataError, ModelError
from recsys.item_text import item_texts
from recsys.schema import EVENT_TYPES
from recsys.text.encoder import Encoder
from recsys.text.inputs import Inputs
from recsys.text.int8 import Int8
from recsys.text.past import Past, past_of, whole_past
from recsys.text.shown import Shown
from recsys.text.tower import Tower
from recsys.text.tuning import Way

USERS_AT_ONCE = 512
INT8_FILE = "int8.onnx"


@dataclass(frozen=True)
class InterestModel:
    """A user-item interest score from texts: `scale * <user vector, item vector>`, both unit.

    An item without text has the zero vector: no opinion, never retrieved by text, its text features missing.
    A user without history has the tower's newcomer vector. blend: the tower that knows items by id too, with the ids it `known`; `gain`:
    what a cosine to recent choices adds to its score.
    """

    encoder: Encoder
    tower: Tower
    history: int
    blend: Tower | None = None
    known: tuple[str, ...] = ()
    gain: float = 0.0

    @classmethod
    def untrained(cls, encoder: Encoder, pooled: Floats, has_text: Bools, history: int) -> "InterestModel":
        """The encoder as it came, a user the mean of their latest interactions, a newcomer the mean of all texts.

        pooled (n_items, hidden) by this encoder; has_text (n_items,).
        """
        tower = Tower(encoder.hidden, 0)
        if has_text.any():
            with torch.no_grad():
                tower.newcomer.copy_(torch.nn.functional.normalize(torch.from_numpy(pooled[has_text]), dim=-1).mean(dim=0))
        return cls(encoder, tower, history)

    def scale(self, blended: bool = False) -> float:
        """The factor of the dot product."""
        return float(self._tower(blended).scale.detach())

    def id_row(self, item_ids: pl.Series) -> NDArray[np.int64]:
        """(n_items,) int64: the row of each item among those the blend knows by id; -1 for the others."""
        rows = pl.DataFrame({"item_id": self.known, "row": np.arange(len(self.known))}, schema={"item_id": pl.String, "row": pl.Int64})
        found = pl.DataFrame({"item_id": item_ids}).join(rows, on="item_id", how="left", maintain_order="left")
        return found["row"].fill_null(-1).to_numpy()

    def item_vectors(self, pooled: Floats, has_text: Bools, id_row: NDArray[Any] | None = None) -> Floats:
        """Unit vectors (n_items, dim) float32 of pooled vectors (n_items, hidden), by the text alone; zero where there is none.

        With `id_row` (n_items,), those of the blend: text and id together where it is not -1, the text alone where it is.
        """
        tower = self._tower(id_row is not None)
        with torch.inference_mode():
            text = torch.from_numpy(np.where(has_text[:, None], pooled, np.float32(0)))
            vectors: Floats = tower.items(text, None if id_row is None else id_vectors(tower, id_row)).numpy()
        return vectors

    def user_vectors(self, history: History, item_vectors: Floats, blended: bool = False) -> Floats:
        """Unit vectors (n_users, interests, dim) float32 of a block's histories, from every interaction before its as_of.

        `item_vectors` of the text alone, or with `blended` those of the blend.
        """
        tower, vectors = self._tower(blended), torch.from_numpy(item_vectors)
        past = whole_past(history, self.history, len(item_vectors))
        parts = [torch.zeros((0, tower.interests, tower.dim))]
        with torch.inference_mode():
            for start in range(0, history.n_users, USERS_AT_ONCE):
                part = past.rows(slice(start, start + USERS_AT_ONCE))
                parts.append(tower.users(vectors[torch.from_numpy(part.item)], part, torch.from_numpy(part.older @ item_vectors)))
        return torch.cat(parts).numpy()

    def declared(self, sentences: list[str]) -> Floats:
        """Unit vectors (n, interests, dim) float32 of users of whom only a sentence of interest is known: it counts as a liked item's text.

        A sentence that the encoder cannot read (`readable`) is the newcomer. Raises DataError when one is no Unicode text.
        """
        inputs = self._sentences(sentences)
        pooled = self.encoder.encode(inputs, lambda *_: None)
        vectors = self.item_vectors(pooled, self._known(inputs))
        with torch.inference_mode():
            users: Floats = self.tower.users(
                torch.from_numpy(vectors[:, None]), _one_like(len(vectors)), torch.zeros(vectors.shape)
            ).numpy()
        return users

    def readable(self, sentences: list[str]) -> Bools:
        """(n,): is any word or letter of the sentence in the encoder's vocabulary. Raises DataError when one is no Unicode text."""
        return self._known(self._sentences(sentences))

    def shown_scores(self, shown: Shown, history: History, item_vectors: Floats) -> Floats:
        """(n,) float32: the score of each item shown, by the text alone, from what its user did before that list and nothing later.

        history: of the users of `shown`, as of the end of its window. A user or item that the model knows nothing of scores as any.
        """
        tower, vectors, start = self.tower, torch.from_numpy(item_vectors), shown.starts(history)
        parts = [np.zeros(0, np.float32)]
        with torch.inference_mode():
            for first in range(0, len(shown), USERS_AT_ONCE):
                some = slice(first, min(first + USERS_AT_ONCE, len(shown)))
                user, now = shown.user_index[some].astype(np.int64), shown.age_days[some]
                past = past_of(history, user, start[some], now, self.history, len(item_vectors))
                users = tower.users(vectors[torch.from_numpy(past.item)], past, torch.from_numpy(past.older @ item_vectors))
                rows = slice(*shown.indptr[[some.start, some.stop]])
                owner = torch.from_numpy(shown.list_index[rows] - first)
                near = (users[owner] * vectors[torch.from_numpy(shown.item_index[rows].astype(np.int64))][:, None]).sum(dim=2)
                parts.append((tower.scale * near.amax(dim=1)).numpy())
        return np.concatenate(parts)

    def save(self, folder: Path) -> None:
        """Write encoder, tokenizer and tower into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder.save(folder)
        if self.encoder.int8:
            (folder / INT8_FILE).write_bytes(self.encoder.int8.onnx_bytes)
        towers = {"tower": self.tower} | ({"blend": self.blend} if self.blend else {})
        tensors = {f"{name}.{key}": t.contiguous() for name, tower in towers.items() for key, t in tower.state_dict().items()}
        save_file(tensors, folder / "tower.safetensors")
        shape = {"hidden": self.encoder.hidden, "dim": self.tower.dim, "interests": self.tower.interests, "history": self.history}
        (folder / "tower.json").write_text(
            json.dumps(shape | {"known": self.known if self.blend else None, "gain": self.gain}, sort_keys=True)
        )

    @classmethod
    def load(cls, folder: Path, text: Text) -> "InterestModel":
        """Read what `save` wrote. Raises ModelError when it is not whole."""
        try:
            shape = json.loads((folder / "tower.json").read_text())
            tensors, known = load_file(folder / "tower.safetensors"), shape["known"]
            size = (shape["hidden"], shape["dim"], shape["interests"])
            tower = _filled(Tower(*size), tensors, "tower.")
            blend = None if known is None else _filled(Tower(*size, len(known)), tensors, "blend.")
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder}: the interest model is not whole ({error}). Train again.") from None
        encoder = Encoder(folder / "encoder", text.pooling, text.max_tokens, text.train_layers, text.token_budget, Way.of(text))
        if (folder / "prefix").is_dir():
            encoder.load_prefix(folder / "prefix")
        if text.scoring == "int8":
            encoder.int8 = _int8(folder / INT8_FILE)
        return cls(encoder, tower, shape["history"], blend, tuple(known or ()), shape["gain"])

    def _sentences(self, sentences: list[str]) -> Inputs:
        for number, sentence in enumerate(sentences):
            _check_unicode(number, sentence)
        titles = pl.DataFrame({"title": sentences}, schema={"title": pl.String})
        return self.encoder.tokens(item_texts(titles, ("title",)))

    def _known(self, inputs: Inputs) -> Bools:
        is_word = ~np.isin(inputs.ids, self.encoder.tokenizer.all_special_ids)  # "unknown" is one of the special ones
        return np.bincount(np.repeat(np.arange(len(inputs)), inputs.lengths), is_word, minlength=len(inputs)) > 0

    def _tower(self, blended: bool) -> Tower:
        tower = self.blend if blended else self.tower
        assert tower is not None
        return tower


def id_vectors(tower: Tower, id_row: NDArray[Any]) -> torch.Tensor:
    """(n, dim): the vectors of the ids at `id_row` (n,), zero where it is -1."""
    rows = torch.from_numpy(np.maximum(id_row, 0))
    return tower.ids[rows] * torch.from_numpy(id_row >= 0)[:, None]


def _check_unicode(number: int, sentence: str) -> None:
    try:
        sentence.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"sentence {number + 1}: place {error.start + 1} holds {sentence[error.start]!r}, which is no character: its bytes were not "
            "UTF-8. Write the sentence in UTF-8."
        ) from None


def _one_like(n: int) -> Past:
    """The pasts of n users, each of one liked item. What it was, when, and its weight cannot matter: attention over one row is 1."""
    one, zero = np.ones((n, 1), np.float32), np.zeros((n, 1), np.float32)
    kind = np.full((n, 1), EVENT_TYPES.index("purchase"), np.int8)
    older = sparse.csr_array((n, n), dtype=np.float32)
    return Past(np.arange(n)[:, None], one > 0, kind, one, zero, zero, older, zero[:, 0], zero[:, 0])


def _filled(tower: Tower, tensors: dict[str, torch.Tensor], prefix: str) -> Tower:
    tower.load_state_dict({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    return tower


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


def _at(array: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    # A block of newcomers alone has no row to stand in for the masked places.
    return array[places] if len(array) else np.zeros(places.shape, array.dtype)
