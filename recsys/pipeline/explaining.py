"""Why each row of a night is there: what each family of features adds, the liked item nearest in text, the sources, the rules that acted.

Only what is listed is asked: some tens of rows a user, where there are hundreds of candidates.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import rules
from recsys.blocks import Bools, Floats, Index
from recsys.candidates import TEXT
from recsys.families import FAMILIES, families
from recsys.liked import near_from, nearest_liked
from recsys.pipeline.snapshot import Chunk, Snapshot
from recsys.ranker import Paths, Ranker

Rows = NDArray[np.int64]


def nearness(known: Snapshot) -> float:
    """The cosine from which the texts of two items are near as of a moment; infinite where text has no part."""
    vectors = known.text.vectors.get(TEXT)
    return np.inf if vectors is None else near_from(vectors, known.config.project.seed)


@dataclass(frozen=True)
class Explainer:
    """Explains lists as of one moment. near: of `nearness`; places: so many of each list by family; paths None: nothing is kept."""

    known: Snapshot
    near: float
    places: int
    paths: Paths | None

    @classmethod
    def of(cls, known: Snapshot, model: Ranker, near: float, places: int) -> "Explainer":
        """places 0: reasons get better, and nothing is kept."""
        return cls(known, near, places, Paths.of(model, families(), list(FAMILIES)) if places else None)

    def explained(self, chunk: Chunk, lists: pl.DataFrame, placed: rules.Placed | None) -> pl.DataFrame:
        """RECOMMENDATIONS of a chunk with the item they are because of as the reason; with the columns of EXPLANATIONS where they are kept.

        placed: what the rules made of the chunk, None where there are none.
        """
        user, item = self._pairs(chunk, lists)
        near, is_bought, similarity = self._because(chunk, user, item)
        lists = rules.because(lists, _gathered(self._titles, near), is_bought)
        if self.paths is None:
            return lists
        row = chunk.pool.find(user, item)  # -1: pinned, and no candidate
        unruled = lists.select(pl.lit([], pl.List(pl.String)).alias("rules"), pl.col("rank").alias("plain_rank"))
        acted = placed.acted if placed and placed.acted is not None else unruled
        return (
            lists.hstack(self._families(self.paths, chunk, row, lists["rank"]))
            .hstack(acted)
            .with_columns(
                because_item_id=_gathered(self.known.catalogue.items["item_id"], near),
                because_similarity=pl.Series(similarity, dtype=pl.Float32).fill_nan(None),
                sources=_sources(chunk, row),
            )
        )

    def _pairs(self, chunk: Chunk, lists: pl.DataFrame) -> tuple[Index, Index]:
        """User, a row of the block, and item_index of each listed row."""
        users = pl.DataFrame({"user_id": chunk.block.history.user_ids}).with_row_index("user")
        user = lists.select("user_id").join(users, on="user_id", how="left", maintain_order="left")["user"]
        return user.to_numpy().astype(np.int32), self.known.catalogue.index_of(lists["item_id"])

    def _because(self, chunk: Chunk, user: Index, item: Index) -> tuple[Index, Bools, Floats]:
        """As `nearest_liked`, of what is near enough."""
        vectors = self.known.text.vectors.get(TEXT)
        if vectors is None:
            return np.full(len(user), -1, np.int32), np.zeros(len(user), bool), np.full(len(user), np.nan, np.float32)
        nearest, is_bought, cosine = nearest_liked(user, item, chunk.block.history, vectors)
        is_near: Bools = cosine >= self.near  # NaN is not
        return np.where(is_near, nearest, -1).astype(np.int32), is_bought, np.where(is_near, cosine, np.nan).astype(np.float32)

    def _families(self, paths: Paths, chunk: Chunk, row: Rows, rank: pl.Series) -> pl.DataFrame:
        """base and families (n rows, Float32), null beyond the first places and for what was no candidate."""
        values = np.full((len(row), len(FAMILIES) + 1), np.nan, np.float32)
        asked = np.flatnonzero((row >= 0) & (rank.to_numpy() <= self.places))
        values[asked] = paths.contributions(chunk.frame[row[asked]], chunk.told[row[asked]])
        return pl.DataFrame(values, schema=[*FAMILIES, "base"]).fill_nan(None)

    @property
    def _titles(self) -> pl.Series:
        """Title of each item, the id where the shop gives none."""
        is_blank = pl.col("title").str.strip_chars() == ""
        return self.known.catalogue.items.select(pl.when(is_blank).then("item_id").otherwise("title").alias("title"))["title"]


def _gathered(column: pl.Series, place: Index) -> pl.Series:
    """The values at places (n,), null at -1."""
    values = column.gather(np.maximum(place, 0).astype(np.uint32))
    return pl.select(pl.when(pl.lit(pl.Series(place >= 0, dtype=pl.Boolean))).then(values))[column.name]


def _sources(chunk: Chunk, row: Rows) -> pl.Series:
    """The sources (n,), List of String, that found each candidate, the highest place first; of equal places in the order of REASONS."""
    names = [name for name in rules.REASONS if name in chunk.pool.rank]
    places = np.stack([np.where(row >= 0, chunk.pool.rank[name][row], np.nan) for name in names])
    order = np.argsort(places, axis=0, kind="stable")  # NaN last
    is_found = np.take_along_axis(~np.isnan(places), order, axis=0)
    in_order = [_gathered(pl.Series("name", names), np.where(is_found[n], order[n], -1).astype(np.int32)) for n in range(len(names))]
    return pl.select(pl.concat_list(in_order).list.drop_nulls().alias("sources"))["sources"]
