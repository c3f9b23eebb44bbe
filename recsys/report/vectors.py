"""How near items are by their texts, as a run reads them: the vectors that its encoder left in the cache, through its own projection.

Neither torch nor the encoder is loaded: the run names its encoder, the cache holds what that encoder made of each text.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from recsys.artefacts import Home, Run
from recsys.blocks import Catalogue, Floats
from recsys.caches import VectorCache
from recsys.errors import ArtefactError
from recsys.item_text import item_texts, text_digests, title_first

PROJECTION = "tower.projection.weight"


@dataclass(frozen=True)
class TextVectors:
    """item_id (n,), in order, and their unit vectors (n, dim) float32; n_absent: items with a text and without a vector."""

    item_id: pl.Series
    vectors: Floats
    n_absent: int

    def row(self, item_id: str) -> int | None:
        """The row of an item; None where it has no vector."""
        place = self.item_id.search_sorted(item_id)
        return place if place < len(self.item_id) and self.item_id[place] == item_id else None

    def nearest(self, item_id: str, k: int) -> pl.DataFrame:
        """item_id, cosine (Float32) of the `k` items nearest to one, itself left out, the nearest first; ties by item_id."""
        row = self.row(item_id)
        if row is None:
            return pl.DataFrame(schema={"item_id": pl.String, "cosine": pl.Float32})
        cosine = self.vectors @ self.vectors[row]
        others = pl.DataFrame({"item_id": self.item_id, "cosine": cosine}).filter(pl.col("item_id") != item_id)
        return others.sort(["cosine", "item_id"], descending=[True, False]).head(k)

    def among(self, item_ids: list[str]) -> "TextVectors":
        """The vectors of these items alone."""
        chosen = self.item_id.is_in(item_ids)
        return TextVectors(self.item_id.filter(chosen), self.vectors[chosen.to_numpy()], 0)

    def plane(self) -> tuple[NDArray[np.float64], float]:
        """The two principal components (n, 2) of the vectors, and the share of their variance that they hold; the same every time."""
        centred = self.vectors - self.vectors.mean(axis=0) if len(self.vectors) else self.vectors
        # Of the (dim, dim) covariance, not of the vectors: the same axes, and no longer for a large catalogue.
        axes, variances, _ = np.linalg.svd(centred.T.astype(np.float64) @ centred)
        two = axes[:, :2]
        # An axis has no direction of its own: its largest entry is made positive.
        two = two * np.where(two[np.abs(two).argmax(axis=0), np.arange(two.shape[1])] < 0, -1.0, 1.0)
        return centred @ two, float(variances[:2].sum() / max(variances.sum(), 1e-12))


def text_vectors(home: Home, run: Run, tables: Run) -> TextVectors:
    """The vectors of the items of some tables, as the text source of `run` compares them.

    Raises ArtefactError, with the way out, where the run does not name its encoder, or nothing of it is in the cache.
    """
    encoder = run.manifest.get("encoder_digest")
    if encoder is None:
        raise ArtefactError(
            f"run {run.run_id} does not say which vectors are its own: it is of an earlier recsys. `recsys train` makes one."
        )
    catalogue = Catalogue.of(tables.table("items"))
    known, vectors = VectorCache(home.caches / "vectors").load(encoder)
    place = {digest: row for row, digest in enumerate(known)}
    texts, digests = _texts(catalogue, tuple(run.record("config")["text"]["template"]), place)
    has_text, rows = np.array([text != "" for text in texts], bool), np.array([place.get(digest, -1) for digest in digests], np.int64)
    kept = np.flatnonzero(has_text & (rows >= 0))
    if not len(kept):
        raise ArtefactError(
            f"{home.caches / 'vectors'}: holds no vector of these items by run {run.run_id} (it is a cache, and may be deleted). "
            "`recsys rank` encodes them again."
        )
    projected = vectors[rows[kept]] @ _projection(run).T
    norm = np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
    return TextVectors(catalogue.ids(kept.astype(np.int32)), (projected / norm).astype(np.float32), int(has_text.sum()) - len(kept))


def _texts(catalogue: Catalogue, template: tuple[str, ...], place: dict[str, int]) -> tuple[list[str], list[str]]:
    """The texts and their digests: in the template's order, or with the title first where only that was encoded (it was too long)."""
    texts, others = item_texts(catalogue.items, template), item_texts(catalogue.items, title_first(template))
    digests = [one if one in place else other for one, other in zip(text_digests(texts), text_digests(others), strict=True)]
    return texts, digests


def _projection(run: Run) -> Floats:
    """(dim, hidden): what turns a pooled vector into an item's."""
    path = run.file("text/tower.safetensors")
    try:
        with safe_open(path, framework="numpy") as tensors:
            projection: Floats = tensors.get_tensor(PROJECTION)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"{path}: cannot be read: {error}. Train again with `recsys train`.") from error
    return projection
