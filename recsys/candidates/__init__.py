"""Candidates: what each source retrieves for a block of users, united into one pool with every source's score and rank."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.blocks import Bools, Catalogue, Floats, History, Index, top_k
from recsys.candidates.collaborative import Collaborative
from recsys.candidates.sources import (
    NOTHING,
    Blended,
    Block,
    CategoryPopularity,
    Neighbours,
    Popularity,
    Repurchase,
    Source,
    TextMatch,
    blend,
)
from recsys.config import Candidates

__all__ = ["Blended", "Block", "Neighbours", "Pool", "Source", "TextMatch", "behaviour_sources", "blend", "fuse", "list_top", "pool_of"]

BEHAVIOUR = ("popularity", "category_popularity", "covisitation", "item_cosine", "collaborative", "repurchase")
TEXT, BLEND = "text", "text_collaborative"
SOURCES = (*BEHAVIOUR, TEXT, BLEND)
"""The last one only where a blend was chosen."""

SCORES_AT_ONCE = 2_000_000
"""Users go through the sources in parts whose dense (n_users, n_items) scores are so many: such arrays are below the size from which memory
is fetched anew from the system for every one, and stay nearer to the processor.
"""

FUSION_CONSTANT = 60.0
"""k of reciprocal-rank fusion (Cormack, Clarke and Buettcher 2009)."""


@dataclass(frozen=True)
class Pool:
    """The united candidates of a block, rows of a user contiguous, in order of item_index.

    user (r,) int32, row of the block; item (r,) int32; is_seen (r,): had the user the item; score[s], rank[s] (r,) float32 of source s:
    the score of any candidate whoever retrieved it, NaN where the source has nothing to say; the rank NaN where s did not retrieve it.
    """

    user: Index
    item: Index
    is_seen: Bools
    score: dict[str, Floats]
    rank: dict[str, Floats]

    @property
    def by_behaviour(self) -> Bools:
        """(r,): did a source other than text retrieve the row."""
        found: Bools = np.any([~np.isnan(self.rank[name]) for name in BEHAVIOUR], axis=0)
        return found

    def find(self, user: NDArray[np.integer], item: NDArray[np.integer]) -> NDArray[np.int64]:
        """(m,): the row of each pair of a row of the block and an item_index; -1 where it is no candidate, or the item -1."""
        if not len(self.user) or not len(user):
            return np.full(len(user), -1, np.int64)
        width = int(max(self.item.max(), item.max())) + 1
        key, asked = self.user.astype(np.int64) * width + self.item, user.astype(np.int64) * width + item
        row = np.minimum(np.searchsorted(key, asked), len(key) - 1)  # the keys rise: that is the order of a pool
        return np.where((key[row] == asked) & (item >= 0), row, -1)


def behaviour_sources(history: History, catalogue: Catalogue, config: Candidates, seed: int, threads: int) -> dict[str, Source]:
    """The sources that need no text, fitted on a history of all users as of its moment."""
    popularity = Popularity.fit(history, catalogue, config)
    return {
        "popularity": popularity,
        "category_popularity": CategoryPopularity.fit(history, catalogue, config),
        "covisitation": Neighbours.covisitation(history, catalogue, config),
        "item_cosine": Neighbours.cosine(history, catalogue, config),
        "collaborative": Collaborative.fit(history, catalogue, config, seed, threads),
        "repurchase": Repurchase.fit(popularity),
    }


def pool_of(sources: dict[str, Source], block: Block, told: Bools, eligible: Bools, k: int) -> Pool:
    """The union of every source's best `k` eligible items of each user.

    `repurchase` retrieves what the user had, all other sources what they had not: so one pool serves lists with and without
    seen items. told (n_users,): users of whom text tells; for the others it retrieves nothing: their vector is a guess of what
    sells, as old as the text model, and what sells tonight the other sources know. eligible: (n_items,).
    """
    n_users = block.history.n_users
    at_once = max(1, SCORES_AT_ONCE // max(len(eligible), 1))
    firsts = range(0, n_users, at_once) if n_users else (0,)
    pools = [
        _pool(sources, block.part(first, min(first + at_once, n_users)), told[first : first + at_once], eligible, k) for first in firsts
    ]
    return Pool(
        np.concatenate([pool.user + np.int32(first) for pool, first in zip(pools, firsts, strict=True)]),
        np.concatenate([pool.item for pool in pools]),
        np.concatenate([pool.is_seen for pool in pools]),
        {name: np.concatenate([pool.score[name] for pool in pools]) for name in sources},
        {name: np.concatenate([pool.rank[name] for pool in pools]) for name in sources},
    )


def _pool(sources: dict[str, Source], block: Block, told: Bools, eligible: Bools, k: int) -> Pool:
    seen = block.history.seen(len(eligible))
    unseen = eligible & ~seen
    asked = dict.fromkeys(sources, unseen) | {"repurchase": eligible & seen} | dict.fromkeys((TEXT, BLEND), unseen & told[:, None])
    scores = {name: source.score(block) for name, source in sources.items()}
    found = {name: list_top(scores[name], asked[name], k) for name in sources}
    # A candidate's place in the dense (n_users, n_items): few, where whole arrays of ranks would be as large as those of scores.
    places = {name: user * len(eligible) + item for name, (user, item, _) in found.items()}
    union = np.unique(np.concatenate(list(places.values())))
    user, item = np.divmod(union, max(len(eligible), 1))
    ranks = {name: np.full(len(union), np.nan, np.float32) for name in sources}
    for name, (*_, rank) in found.items():
        ranks[name][np.searchsorted(union, places[name])] = rank
    return Pool(
        user.astype(np.int32),
        item.astype(np.int32),
        seen[user, item],
        {name: _nan_for_nothing(scores[name][user, item]) for name in sources},
        ranks,
    )


def fuse(pool: Pool, names: tuple[str, ...]) -> Floats:
    """Reciprocal-rank fusion (r,) float32: the sum over sources of 1 / (60 + rank), 0 where none retrieved."""
    shares = np.stack([np.nan_to_num(1 / (FUSION_CONSTANT + pool.rank[name]), nan=0.0) for name in names])
    fused: Floats = shares.sum(axis=0).astype(np.float32)
    return fused


def list_top(scores: Floats, shown: Bools, k: int) -> tuple[NDArray[np.int64], Index, NDArray[np.int64]]:
    """The lists of a system that scores the whole catalogue: user row, item_index and rank from 1 of each entry.

    scores and shown (n_users, n_items). Ties by item_id, ascending.
    """
    items, _ = top_k(np.where(shown, scores, NOTHING), k)
    user, place = np.nonzero(items >= 0)
    return user, items[user, place], place + 1


def _nan_for_nothing(scores: Floats) -> Floats:
    return np.where(np.isneginf(scores), np.nan, scores).astype(np.float32)
