"""Everything known as of one moment, and the chunk function: a block of users to their scored, featured candidates.

Training is ranking in the past: `chunk` makes the rows of a fold, of the valid and test windows, and of tonight.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from recsys import candidates, features
from recsys.blocks import Bools, Catalogue, Floats, History, Index
from recsys.candidates import BLEND, Blended, Block, Neighbours, Pool, Source, TextMatch
from recsys.config import Config
from recsys.pipeline.job import Clock
from recsys.pipeline.tables import events_by_item, events_of, interactions_by_user
from recsys.schema import TIME
from recsys.text import InterestModel

T = TypeVar("T")

SCORES_MB = 64
"""A dense (users, items) float32 array of a chunk stays below this: chunks shrink where the catalogue is large."""


@dataclass(frozen=True)
class TextSide:
    """The interest model and the catalogue's unit vectors: (n_items, dim) by text source, (n_items, hidden) by the frozen encoder.

    Without a text source in `vectors`, text has no part in candidates and features. pooled (n_items, hidden): by the model's own
    encoder. teacher: the side before it was distilled.
    """

    model: InterestModel
    vectors: dict[str, Floats]
    frozen: Floats
    pooled: Floats
    teacher: "TextSide | None" = None

    @classmethod
    def silent(cls, n_items: int) -> "TextSide":
        """The side on which text has no part: nobody asks the model of one without vectors."""
        nothing = np.zeros((n_items, 1), np.float32)
        return cls(cast(InterestModel, None), {}, nothing, nothing)

    def sources(self, cosine: Neighbours, half_life_days: float) -> dict[str, Source]:
        """The text sources, given the item-item cosine as of the moment."""
        matches = {name: TextMatch(name, vectors, self.model.scale(name == BLEND)) for name, vectors in self.vectors.items()}
        return {n: Blended.of(m, cosine, self.model.gain, half_life_days) if n == BLEND else m for n, m in matches.items()}

    @cached_property
    def has_vector(self) -> Bools:
        """(n_items,): has any text source a vector of the item."""
        found = np.zeros(len(self.frozen), bool)
        for vectors in self.vectors.values():
            found |= np.any(vectors != 0, axis=1)
        return found

    def tells_of(self, history: History) -> Bools:
        """(n_users,): who liked an item that text knows. Of the others it has the newcomer's vector, or a guess from what they returned."""
        return history.likes_any(self.has_vector)

    def users(self, history: History) -> dict[str, Floats]:
        """Vectors (n_users, interests, dim) of a block's users, by text source."""
        return {name: self.model.user_vectors(history, vectors, name == BLEND) for name, vectors in self.vectors.items()}


@dataclass(frozen=True)
class Snapshot:
    """What was known, and fitted, as of `as_of`; items eligible in `[as_of, until)`."""

    as_of: datetime
    catalogue: Catalogue
    eligible: Bools
    sources: dict[str, Source]
    items: features.ItemTable
    text: TextSide
    n_users: int
    config: Config
    threads: int

    def knowing(self, text: TextSide) -> "Snapshot":
        """The same moment with another text side."""
        behaviour = {name: self.sources[name] for name in candidates.BEHAVIOUR}
        cosine, half_life_days = cast(Neighbours, behaviour["item_cosine"]), self.config.candidates.half_life_days
        return replace(self, sources=behaviour | text.sources(cosine, half_life_days), text=text)


@dataclass(frozen=True)
class Chunk:
    """The candidates of a block of users: one row each, rows of a user contiguous.

    user (r,) row in `block`; item (r,) item_index; told (r,): is it of a user of whom text tells; frame (r rows): the
    features; fused (r,): reciprocal-rank fusion of all sources.
    """

    block: Block
    pool: Pool
    told: Bools
    fused: Floats
    frame: pl.DataFrame


def snapshot(
    events: pl.LazyFrame,
    catalogue: Catalogue,
    as_of: datetime,
    until: datetime,
    text: TextSide,
    config: Config,
    categories: list[str],
    threads: int,
    clock: Clock,
) -> Snapshot:
    """Fit everything that is fitted as of a moment, on events strictly before it."""
    with clock.stage("candidates"):
        history = everyones_history(events, catalogue, as_of, config)
        sources = candidates.behaviour_sources(history, catalogue, config.candidates, config.project.seed, threads)
        n_users = history.n_users
        del history
    with clock.stage("features"):
        batches = events_by_item(events, catalogue.items["item_id"], as_of)
        marked = ((ids, features.mark(part, catalogue.items)) for ids, part in batches)
        items = features.item_table(marked, catalogue, as_of, categories)
    sources |= text.sources(cast(Neighbours, sources["item_cosine"]), config.candidates.half_life_days)
    return Snapshot(as_of, catalogue, catalogue.eligible(as_of, until), sources, items, text, n_users, config, threads)


def everyones_history(events: pl.LazyFrame, catalogue: Catalogue, as_of: datetime, config: Config) -> History:
    """The interactions of all users before as_of: 13 bytes each once they are indices, however long the ids."""
    parts = [History.of(part, catalogue, ids, as_of, weights(config)) for ids, part in interactions_by_user(events, as_of)]
    return History.joined(parts)


def chunk(snapshot: Snapshot, events: pl.DataFrame, user_ids: pl.Series, clock: Clock) -> Chunk:
    """Candidates and features of a block of users (sorted ids) from their own events, those before as_of. Pure."""
    with clock.stage("candidates"):
        history = History.of(events, snapshot.catalogue, user_ids, snapshot.as_of, weights(snapshot.config))
        block = Block(history, snapshot.text.users(history))
        told = snapshot.text.tells_of(history)
        pool = candidates.pool_of(snapshot.sources, block, told, snapshot.eligible, snapshot.config.candidates.per_source)
    with clock.stage("features"):
        behaviour = candidates.fuse(pool, candidates.BEHAVIOUR)
        retrieved = features.Retrieved(pool.user, pool.item, pool.score, pool.rank, behaviour)
        marked = features.mark(events, snapshot.catalogue.items)
        vectors = snapshot.text.vectors.get(candidates.TEXT)
        frame = features.feature_rows(retrieved, history, marked, snapshot.items, snapshot.catalogue, vectors, told)
    return Chunk(block, pool, told[pool.user], candidates.fuse(pool, tuple(pool.rank)), frame)


def chunks(snapshot: Snapshot, events: pl.LazyFrame, user_ids: pl.Series, clock: Clock) -> Iterator[Chunk]:
    """The chunks of many users (sorted ids), in order, of bounded memory: as many are in the making as there are threads."""
    return map_chunks(lambda made: made, snapshot, events, user_ids, clock)


def map_chunks(work: Callable[[Chunk], T], snapshot: Snapshot, events: pl.LazyFrame, user_ids: pl.Series, clock: Clock) -> Iterator[T]:
    """`work` of each of the `chunks`, done by the thread that made it: the trees then take a core each, as all before them does."""
    before = events.filter(pl.col("event_time") < pl.lit(snapshot.as_of, TIME))

    def made(part: pl.Series) -> T:
        return work(chunk(snapshot, events_of(before, part), part, clock))

    # One BLAS thread each: most of a chunk is NumPy over arrays of its own, which many threads do side by side and BLAS's own do not.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(snapshot.threads, initializer=threadpool_limits, initargs=(1,)) as pool:
        waiting: deque[Future[T]] = deque()
        for part in parts(user_ids, snapshot):
            waiting.append(pool.submit(made, part))
            if len(waiting) > snapshot.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def parts(user_ids: pl.Series, snapshot: Snapshot) -> Iterator[pl.Series]:
    """The users in slices of at most `rank.chunk_users`, fewer where the catalogue is large."""
    most = max(1, min(snapshot.config.rank.chunk_users, SCORES_MB * 1_000_000 // (4 * max(len(snapshot.catalogue), 1))))
    for start in range(0, len(user_ids), most):
        yield user_ids.slice(start, most)


def weights(config: Config) -> dict[str, float]:
    """Training weight of each event type."""
    return {name: event_type.weight for name, event_type in config.events.types.items()}


def labels(config: Config) -> dict[str, int]:
    """Relevance label of each event type."""
    return {name: event_type.label for name, event_type in config.events.types.items()}


def as_lists(user_ids: pl.Series, catalogue: Catalogue, user: NDArray[np.int64], item: Index, rank: NDArray[np.int64]) -> pl.DataFrame:
    """user_id, item_id, rank (Int32) of lists given by index."""
    return pl.DataFrame({"user_id": user_ids.gather(user), "item_id": catalogue.ids(item), "rank": pl.Series(rank, dtype=pl.Int32)})


def best(
    user: Index, item: Index, score: NDArray[np.float64], allowed: Bools, k: int
) -> tuple[NDArray[np.int64], Index, NDArray[np.int64]]:
    """The `k` best allowed rows of each user by score, ties by item: places into the rows are turned into user, item and rank from 1."""
    places = np.flatnonzero(allowed & ~np.isnan(score))
    order = places[np.lexsort((item[places], -score[places], user[places]))]
    first = np.r_[True, np.diff(user[order]) != 0] if len(order) else np.zeros(0, bool)
    start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    rank = np.arange(len(order)) - start + 1
    kept = rank <= k
    return order[kept], item[order[kept]], rank[kept]
