"""Candidate sources: each is fitted on what happened before an as_of and scores the whole catalogue for a block of users.

A source is a frozen value with one method, `score(block) -> (n_users, n_items) float32`, higher is better, -inf where it has
nothing to say. One shared function takes the exact top k under a mask; so every source is also a system one can evaluate
over the whole eligible catalogue, and its score of any candidate is at hand whoever retrieved it.
"""

from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.blocks import Catalogue, Floats, History, top_k
from recsys.config import Candidates

NOTHING = np.float32(-np.inf)


@dataclass(frozen=True)
class Block:
    """A block of users: their histories and, by text source, their vectors (n_users, interests, dim)."""

    history: History
    text: dict[str, Floats]

    def part(self, first: int, stop: int) -> "Block":
        """The users from row `first` to before row `stop`."""
        return Block(self.history.part(first, stop), {name: users[first:stop] for name, users in self.text.items()})


class Source(Protocol):
    """What a candidate source is."""

    def score(self, block: Block) -> Floats:
        """(n_users, n_items) float32; -inf where the source has nothing to say."""


@dataclass(frozen=True)
class Popularity:
    """How often an item was liked, every like weighing half after `popularity_half_life_days`. The same for every user."""

    strength: Floats

    @classmethod
    def fit(cls, history: History, catalogue: Catalogue, config: Candidates) -> "Popularity":
        """strength (n_items,) float32: the sum of 2^(-age / half life) over the item's liked events."""
        return cls(_decayed_likes(history, len(catalogue), config.popularity_half_life_days))

    def score(self, block: Block) -> Floats:
        """The strength, for everybody; -inf for items nobody ever liked."""
        row = np.where(self.strength > 0, self.strength, NOTHING).astype(np.float32)
        return np.broadcast_to(row, (block.history.n_users, len(row))).copy()


@dataclass(frozen=True)
class CategoryPopularity:
    """Popularity within the user's own categories: the user's share of likes in the item's category x the item's popularity there."""

    strength: Floats
    category_index: NDArray[np.int32]
    n_categories: int

    @classmethod
    def fit(cls, history: History, catalogue: Catalogue, config: Candidates) -> "CategoryPopularity":
        """strength (n_items,): decayed likes as a share of those of the item's category."""
        strength = _decayed_likes(history, len(catalogue), config.popularity_half_life_days)
        index, n = catalogue.category_index, len(catalogue.categories)
        known = index >= 0
        total = np.bincount(index[known], strength[known], minlength=max(n, 1))
        share = np.where(known & (strength > 0), strength / np.maximum(total[np.maximum(index, 0)], 1e-12), 0)
        return cls(share.astype(np.float32), index, n)

    def score(self, block: Block) -> Floats:
        """-inf for items without a category, or of a category the user never liked anything of."""
        history, n_items = block.history, len(self.strength)
        taste = np.zeros((history.n_users, self.n_categories + 1), np.float32)
        liked = history.is_liked
        np.add.at(taste, (history.user_index[liked], self.category_index[history.item_index[liked]]), np.float32(1))
        taste = taste[:, : self.n_categories] / np.maximum(taste.sum(axis=1, keepdims=True), 1)
        if not self.n_categories:
            return np.full((history.n_users, n_items), NOTHING, np.float32)
        scores = taste[:, np.maximum(self.category_index, 0)] * self.strength
        return np.where((scores > 0) & (self.category_index >= 0), scores, NOTHING).astype(np.float32)


@dataclass(frozen=True)
class Neighbours:
    """Items near the items of the user's history, by a sparse item-item matrix; two of them stand in the union.

    `item_cosine`: cosine of the sets of users who liked the two items, 1 with itself; every item of the history counts the same.
    `covisitation`: pairs liked by one user within `covisitation_days` of each other, recent pairs counting more, divided by
    the root of the two items' decayed likes; recent items of the history count more.
    """

    similarity: sparse.csr_array
    half_life_days: float | None

    @classmethod
    def cosine(cls, history: History, catalogue: Catalogue, config: Candidates) -> "Neighbours":
        """similarity (n_items, n_items): |users of both| / sqrt(|users of i| |users of j|), the best `neighbours` of each item."""
        liked = history.matrix(history.is_liked.astype(np.float32), len(catalogue))
        liked.data = (liked.data > 0).astype(np.float32)
        norm = np.sqrt(np.maximum(liked.sum(axis=0), 1)).astype(np.float32)
        liked.data /= norm[liked.indices]
        others = _nearest(liked, config.neighbours)
        return cls(sparse.csr_array(others + sparse.eye_array(len(catalogue), dtype=np.float32)), None)

    @classmethod
    def covisitation(cls, history: History, catalogue: Catalogue, config: Candidates) -> "Neighbours":
        """similarity from likes cut into stretches of `covisitation_days` a user: items of one stretch co-visit."""
        liked = history.is_liked
        stretch = np.floor(history.age_days[liked] / config.covisitation_days).astype(np.int32)
        user = history.user_index[liked]
        is_start = np.ones(len(stretch), bool)  # rows are in order of user and time, so a stretch is a run of them
        is_start[1:] = (np.diff(user) != 0) | (np.diff(stretch) != 0)
        start = np.flatnonzero(is_start)
        together = sparse.csr_array(
            (np.ones(len(stretch), np.float32), history.item_index[liked], np.append(start, len(stretch))),
            shape=(len(start), len(catalogue)),
        )
        together.sum_duplicates()
        together.data[:] = 1
        # A very long stretch says little about any one pair of its items (the wholesaler who orders everything).
        size = np.maximum(np.diff(together.indptr), 1)
        age = stretch[start] * np.float32(config.covisitation_days)
        weight = (np.exp2(-age / config.half_life_days / 2) / np.log2(1 + size)).astype(np.float32)
        norm = 1 / np.sqrt(np.maximum(together.T @ weight, 1e-12))
        together.data = np.repeat(np.sqrt(weight), np.diff(together.indptr)) * norm[together.indices]
        return cls(_nearest(together, config.neighbours), config.half_life_days)

    def score(self, block: Block) -> Floats:
        """The sum over the history's items of weight x similarity; -inf where no item of the history is a neighbour."""
        history, n_items = block.history, self.similarity.shape[0]
        recency = np.ones_like(history.age_days) if self.half_life_days is None else np.exp2(-history.age_days / self.half_life_days)
        held = history.matrix(np.where(history.is_liked, recency, 0).astype(np.float32), n_items)
        if self.half_life_days is None:
            held.data = (held.data > 0).astype(np.float32)
        scores = (held @ self.similarity).toarray().astype(np.float32)
        return np.where(scores > 0, scores, NOTHING)


@dataclass(frozen=True)
class Repurchase:
    """The user's own items, most often liked first (moments, weighted as in training), the more popular first among equals.

    tie (n_items,) float32 in [0, 1): the popularity, squeezed.
    """

    tie: Floats

    @classmethod
    def fit(cls, popularity: Popularity) -> "Repurchase":
        """Only the order among equals is fitted; the rest is the user's own history."""
        return cls((popularity.strength / (popularity.strength.max(initial=0) + 1)).astype(np.float32))

    def score(self, block: Block) -> Floats:
        """-inf for what the user never liked."""
        history = block.history
        rows = np.flatnonzero(history.is_liked & (history.weight > 0))
        moment = np.stack([history.user_index[rows], history.item_index[rows], history.age_days[rows].view(np.int32)])
        order = np.lexsort((-history.weight[rows], *moment[::-1]))
        once = np.ones(len(rows), bool)
        once[1:] = (np.diff(moment[:, order], axis=1) != 0).any(axis=0)
        kept = rows[order[once]]
        often = np.zeros((history.n_users, len(self.tie)), np.float32)
        np.add.at(often, (history.user_index[kept], history.item_index[kept]), history.weight[kept])
        return np.where(often > 0, often + self.tie, NOTHING).astype(np.float32)


@dataclass(frozen=True)
class TextMatch:
    """An interest score: scale x the highest <user, item> of the interests; -inf for items whose vector is zero.

    name: the source's, under which the block holds its users; vectors (n_items, dim).
    """

    name: str
    vectors: Floats
    scale: float

    def score(self, block: Block) -> Floats:
        """Exact, by one matrix product of all users and interests: one for each user takes eight times as long."""
        users, has_text = block.text[self.name], np.any(self.vectors != 0, axis=1)
        products = (users.reshape(-1, users.shape[-1]) @ self.vectors.T).reshape(*users.shape[:2], len(self.vectors))
        scores: Floats = products.max(axis=1) if users.shape[1] > 1 else products[:, 0]
        scores *= np.float32(self.scale)
        scores[:, ~has_text] = NOTHING
        return scores


@dataclass(frozen=True)
class Blended:
    """Interest by text and item id, as learned, plus `gain` x the item-item cosine to recent choices, as it stands at as_of.

    What is learned ends where the text window ends; what people bought together since then comes in through the neighbours.
    An item that nobody liked has no neighbours and is scored by its text alone.
    """

    interest: TextMatch
    neighbours: Neighbours
    gain: float

    @classmethod
    def of(cls, interest: TextMatch, cosine: Neighbours, gain: float, half_life_days: float) -> "Blended":
        """With the similarity of the source `item_cosine`, recent items of the history counting more."""
        return cls(interest, Neighbours(cosine.similarity, half_life_days), gain)

    def score(self, block: Block) -> Floats:
        """The sum; -inf where neither has anything to say."""
        return blend(self.interest.score(block), self.neighbours.score(block), self.gain)


def blend(interest: Floats, near: Floats, gain: float) -> Floats:
    """interest + gain x near, each (n_users, n_items) with -inf for nothing: nothing counts 0 beside something."""
    known = np.isfinite(interest), np.isfinite(near)
    total = np.where(known[0], interest, 0) + np.float32(gain) * np.where(known[1], near, 0)
    return np.where(known[0] | known[1], total, NOTHING).astype(np.float32)


def _decayed_likes(history: History, n_items: int, half_life_days: float) -> Floats:
    liked = history.is_liked
    worth = np.exp2(-history.age_days[liked] / half_life_days) * np.maximum(history.weight[liked], 1e-3)
    return np.bincount(history.item_index[liked], worth, minlength=n_items).astype(np.float32)


def _nearest(rows: sparse.csr_array, k: int, items_at_once: int = 256) -> sparse.csr_array:
    """The `k` largest entries of each row of `rows.T @ rows` (n_items, n_items), the diagonal left out; `rows` (n, n_items)."""
    # Blocks: the full item-item product of a busy shop is nearly dense.
    left = rows.T.tocsr()
    kept = [_block_nearest(left[a : a + items_at_once], rows, a, k) for a in range(0, left.shape[0], items_at_once)]
    return cast(sparse.csr_array, sparse.vstack(kept, format="csr"))


def _block_nearest(left: sparse.csr_array, right: sparse.csr_array, first: int, k: int) -> sparse.csr_array:
    scores = (left @ right).toarray().astype(np.float32)
    scores[np.arange(len(scores)), first + np.arange(len(scores))] = 0
    columns, values = top_k(np.where(scores > 0, scores, NOTHING), k)
    row, place = np.nonzero(columns >= 0)
    indptr = np.concatenate([[0], np.cumsum((columns >= 0).sum(axis=1))])
    return sparse.csr_array((values[row, place], columns[row, place], indptr), shape=(len(scores), scores.shape[1]))
