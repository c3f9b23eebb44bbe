"""Caches of vectors and token states, one safetensors file each: what was encoded once is not encoded again. Safe to delete."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recsys.atomic import replacing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VectorCache:
    """Vectors of texts, one safetensors file an encoder: what was encoded once is not encoded again.

    Two processes that add at once lose at most the additions of one: it is a cache.
    """

    folder: Path

    def file(self, encoder_hash: str) -> Path:
        """Where the vectors of an encoder are kept."""
        if not re.fullmatch(r"[A-Za-z0-9_-]+", encoder_hash):
            raise ValueError(f"{encoder_hash!r} is no hash of an encoder")
        return self.folder / f"{encoder_hash}.safetensors"

    def load(self, encoder_hash: str) -> tuple[list[str], NDArray[np.float32]]:
        """Text hashes (n), sorted, and their vectors (n, dim) float32; none, with a warning, where the file is damaged."""
        path = self.file(encoder_hash)
        if not path.exists():
            return [], np.empty((0, 0), np.float32)
        try:
            tensors = load_file(path)
            hashes, vectors = tensors["hashes"].tobytes().decode("ascii").split("\n"), tensors["vectors"]
            if vectors.dtype != np.float32 or vectors.ndim != 2 or len(hashes) != len(vectors):
                raise ValueError(f"{len(hashes)} hashes for vectors {vectors.dtype} {vectors.shape}")
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            log.warning("%s: damaged (%s); its texts are encoded again", path, error)
            return [], np.empty((0, 0), np.float32)
        return hashes, vectors

    def add(self, encoder_hash: str, hashes: list[str], vectors: NDArray[np.float32]) -> None:
        """Keep `vectors` (n, dim) float32 of the texts of those hashes (n), beside what is there. Raises ArtefactError on a disk error."""
        if vectors.dtype != np.float32 or vectors.ndim != 2 or len(hashes) != len(vectors):
            raise ValueError(f"{len(hashes)} hashes for vectors {vectors.dtype} {vectors.shape}")
        if not hashes:
            return
        known, kept = self.load(encoder_hash)
        rows = np.concatenate([kept, vectors]) if known else vectors
        place = {text_hash: row for row, text_hash in enumerate([*known, *hashes])}
        order = sorted(place)
        lines = np.frombuffer("\n".join(order).encode("ascii"), np.uint8)
        with replacing(self.file(encoder_hash)) as temporary:
            save_file({"hashes": lines, "vectors": rows[[place[text_hash] for text_hash in order]]}, temporary)


@dataclass(frozen=True)
class StateCache:
    """Token states of texts below the trained layers, one safetensors file a split of an encoder; holds the latest catalogue only."""

    folder: Path

    def load(self, key: str) -> tuple[list[str], NDArray[np.int64], NDArray[np.float32]]:
        """Text hashes (n), offsets (n + 1) and states (n_tokens, hidden) float32; none, with a warning, where the file is damaged."""
        nothing: tuple[list[str], NDArray[np.int64], NDArray[np.float32]] = [], np.zeros(1, np.int64), np.empty((0, 0), np.float32)
        path = self.folder / f"{key}.safetensors"
        if not path.exists():
            return nothing
        try:
            tensors = load_file(path)
            hashes, offsets, states = tensors["hashes"].tobytes().decode("ascii").split("\n"), tensors["offsets"], tensors["states"]
            if len(offsets) != len(hashes) + 1 or offsets[-1] != len(states):
                raise ValueError(f"{len(hashes)} hashes, {len(offsets)} offsets, {len(states)} states")
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            log.warning("%s: damaged (%s); its texts go through the encoder again", path, error)
            return nothing
        return hashes, offsets, states

    def store(self, key: str, hashes: list[str], offsets: NDArray[np.int64], states: NDArray[np.float32]) -> None:
        """Keep the states of these texts in the place of what was there. Raises ArtefactError on a disk error."""
        lines = np.frombuffer("\n".join(hashes).encode("ascii"), np.uint8)
        with replacing(self.folder / f"{key}.safetensors") as temporary:
            save_file({"hashes": lines, "offsets": offsets, "states": states}, temporary)
