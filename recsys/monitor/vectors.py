"""Whether the vectors of the items are still the same: by a few items that every night draws alike."""

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.blocks import Bools, Floats

N_PROBES = 500
N_NEIGHBOURS = 10
SAME = 1e-4
"""Cosines this close to 1 are rounding: another number of threads, or other texts beside it in a batch."""

DIGITS = 5
"""Cosines equal in so many digits tie, so that rounding does not reorder the vectors of equal texts."""


def probes(item_ids: pl.Series, known: Bools) -> NDArray[np.int64]:
    """Rows of the at most N_PROBES `known` (n,) items with the smallest digests of their ids, in the order of the rows.

    Whatever else comes and goes, an item that was drawn one night is drawn the next, unless a smaller digest came (bottom-k sampling,
    Cohen and Kaplan 2007).
    """
    rows = np.flatnonzero(known)
    digests = np.array(
        [int.from_bytes(hashlib.blake2b(item.encode(), digest_size=8).digest()) for item in item_ids.gather(rows)], np.uint64
    )
    return np.sort(rows[np.lexsort((rows, digests))[:N_PROBES]])


def changed_vectors(before: Floats, now: Floats) -> float | None:
    """The share of items whose unit vector (m, dim) is another than before. For one and the same model: then a text changed."""
    if not len(now):
        return None
    return float(np.mean(np.sum(before * now, axis=1) < 1 - SAME))


def neighbours_lost(before: Floats, now: Floats) -> float | None:
    """Of an item's ten nearest among the others, the mean share that were not among them before. None for fewer than 20 items.

    For unit vectors (m, dim) of two models: each may turn the space as it likes, so vectors of the two cannot be compared, but who is near
    whom can (Wendlandt, Kummerfeld and Mihalcea 2018, "Factors influencing the surprising instability of word embeddings").
    """
    if len(now) < 2 * N_NEIGHBOURS:
        return None
    one, two = _nearest(before), _nearest(now)
    return 1 - float(np.mean([len(np.intersect1d(a, b)) / N_NEIGHBOURS for a, b in zip(one, two, strict=True)]))


def _nearest(vectors: Floats) -> NDArray[np.int64]:
    """Rows (m, N_NEIGHBOURS) of the nearest others by cosine, ties by row."""
    cosine = np.round(vectors @ vectors.T, DIGITS)
    np.fill_diagonal(cosine, -np.inf)
    return np.argsort(-cosine, axis=1, kind="stable")[:, :N_NEIGHBOURS]
