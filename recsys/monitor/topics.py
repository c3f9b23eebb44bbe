"""What the texts of the catalogue are about: a small seeded k-means over their vectors, each topic named by its most typical words."""

import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.blocks import Floats, Index

N_TOPICS = 20
ITEMS_A_TOPIC = 5
"""Fewer items than this a topic, and there are fewer topics."""

FITTED_ON = 20_000
"""Items that the centres are fitted on, seeded; all are then assigned."""

ROUNDS = 25
ROWS_AT_ONCE = 16_384
N_WORDS = 3
WORD = re.compile(r"[^\W\d_]{3,}")


def topics(vectors: Floats, seed: int) -> Index:
    """(n,) int32: the topic of each item by its unit vector (n, dim), from 0; -1 where the vector is zero.

    Lloyd's algorithm on cosines, begun by k-means++ (Arthur and Vassilvitskii 2007). The same vectors and seed give the same topics.
    """
    topic = np.full(len(vectors), -1, np.int32)
    known = np.flatnonzero(np.any(vectors != 0, axis=1))
    if not len(known):
        return topic
    rng = np.random.default_rng(seed)
    fitted_on = vectors[np.sort(rng.permutation(known)[:FITTED_ON])]
    centres = _begun(fitted_on, min(N_TOPICS, max(1, len(known) // ITEMS_A_TOPIC)), rng)
    nearest = _nearest(fitted_on, centres)
    for _ in range(ROUNDS):
        centres = _moved(fitted_on, nearest, centres)
        before, nearest = nearest, _nearest(fitted_on, centres)
        if np.array_equal(before, nearest):
            break
    topic[known] = _nearest(vectors[known], centres)
    return topic


def topic_names(texts: list[str], topic: Index) -> list[str]:
    """The name of each topic from 0 to the highest: its N_WORDS most typical words, most typical first; a number where it has none.

    A word is typical that many texts of the topic hold and few others: how many there, times log(1 + words a topic / how many everywhere)
    (the class-based TF-IDF of Grootendorst 2022, "BERTopic"). texts (n,) and topic (n,) of the items.
    """
    words: list[Counter[str]] = [Counter() for _ in range(int(topic.max(initial=-1)) + 1)]
    for text, place in zip(texts, topic.tolist(), strict=True):
        if place >= 0:
            words[place].update(set(WORD.findall(text.lower())))
    everywhere = sum(words, Counter())
    mean = everywhere.total() / max(len(words), 1)
    names: list[str] = []
    for number, found in enumerate(words):
        typical = sorted(found, key=lambda word: (-found[word] * np.log1p(mean / everywhere[word]), word))
        name = " ".join(typical[:N_WORDS])
        names.append(name if name and name not in names else f"{name} {number}".strip())
    return names


def _begun(vectors: Floats, n: int, rng: np.random.Generator) -> Floats:
    centres = vectors[[rng.integers(len(vectors))]]
    while len(centres) < n:
        far = 1 - np.max(vectors @ centres.T, axis=1).clip(-1, 1)
        if far.sum() <= 0:
            break  # fewer different vectors than topics
        centres = np.vstack([centres, vectors[rng.choice(len(vectors), p=far / far.sum())]])
    return centres


def _moved(vectors: Floats, nearest: NDArray[np.int32], centres: Floats) -> Floats:
    """The mean direction of each centre's vectors; a centre without any stays."""
    member = sparse.csr_array((np.ones(len(vectors), np.float32), (nearest, np.arange(len(vectors)))), (len(centres), len(vectors)))
    sums = member @ vectors
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    moved: Floats = np.where(length > 0, sums / np.maximum(length, 1e-12), centres).astype(np.float32)
    return moved


def _nearest(vectors: Floats, centres: Floats) -> NDArray[np.int32]:
    blocks = [np.argmax(vectors[start : start + ROWS_AT_ONCE] @ centres.T, axis=1) for start in range(0, len(vectors), ROWS_AT_ONCE)]
    return np.concatenate(blocks).astype(np.int32)
