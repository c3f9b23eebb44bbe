"""A list for somebody of whom a few chosen items are known, made at once and without the model: by who chose them, and by their texts.

It is what two of the candidate sources would retrieve for such a person, not the ranker's list.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from recsys.artefacts import Home, Run, collected
from recsys.blocks import Bools, Catalogue, Floats
from recsys.report.items import before, moment_of
from recsys.report.vectors import TextVectors
from recsys.rules import REASONS
from recsys.schema import LIKED

if TYPE_CHECKING:
    from scipy import sparse

WAYS = ("item_cosine", "text")
"""The sources such a list is made by."""

RETRIEVED = 100
"""Items that each of them brings."""


@dataclass(frozen=True)
class Choices:
    """Who liked what before a moment: liked (n_users, n_items) with 1 in it; may_be_shown (n_items,) at that moment."""

    catalogue: Catalogue
    liked: "sparse.csc_array"
    may_be_shown: Bools

    @classmethod
    def of(cls, home: Home, source: Run) -> "Choices":
        """As of a run or night. One pass over the events."""
        from scipy import sparse  # here, and the sources below: no other page waits for them

        tables = home.tables(source.manifest["tables"])
        catalogue, moment = Catalogue.of(tables.table("items")), moment_of(source)
        likes = tables.scan("events").filter(before(source) & pl.col("event_type").is_in(LIKED)).select("user_id", "item_id").unique()
        rows = collected(likes.sort("user_id").select(pl.col("user_id").rle_id(), "item_id"), tables)
        user, item = rows["user_id"].to_numpy().astype(np.int64), catalogue.index_of(rows["item_id"])
        shape = (int(user.max(initial=-1)) + 1, len(catalogue))
        liked = sparse.csc_array((np.ones(len(user), np.float32), (user, item)), shape=shape)
        return cls(catalogue, liked, catalogue.eligible(moment, moment))

    def cosine(self, chosen: list[str]) -> Floats:
        """(n_items,): the sum over the chosen items of |users of both| / sqrt(|users of one| |users of the other|)."""
        places = self._places(chosen)
        both = self.liked.T @ self.liked[:, places]
        n_users = np.maximum(np.asarray(self.liked.sum(axis=0)).ravel(), 1)
        cosine: Floats = (both.toarray() / np.sqrt(n_users[:, None] * n_users[places][None, :])).sum(axis=1).astype(np.float32)
        return cosine

    def _places(self, chosen: list[str]) -> np.ndarray:
        return self.catalogue.index_of(pl.Series(chosen, dtype=pl.String))


def by_text(catalogue: Catalogue, vectors: TextVectors, chosen: list[str]) -> Floats:
    """(n_items,): cosine to the mean of the chosen items' vectors; 0 for what has none."""
    rows = [row for item in chosen if (row := vectors.row(item)) is not None]
    scores = np.zeros(len(catalogue), np.float32)
    if rows:
        mean = vectors.vectors[rows].mean(axis=0)
        scores[catalogue.index_of(vectors.item_id)] = vectors.vectors @ (mean / max(float(np.linalg.norm(mean)), 1e-12))
    return scores


def newcomer_list(choices: Choices, vectors: TextVectors | None, chosen: list[str], ways: tuple[str, ...], k: int) -> pl.DataFrame:
    """rank, item_id, score, reason of the `k` best items that may be shown and were not chosen; ties by item_id.

    score: the sum of 1 / (60 + place) over the `ways`, where each brings its best hundred; reason: of the way that places it highest.
    vectors None: as if no item had a text.
    """
    from recsys.candidates import FUSION_CONSTANT

    scores = {"item_cosine": choices.cosine(chosen)} if "item_cosine" in ways else {}
    if "text" in ways and vectors:
        scores["text"] = by_text(choices.catalogue, vectors, chosen)
    allowed = choices.may_be_shown.copy()
    allowed[choices._places(chosen)] = False
    retrieved = [_retrieved(choices.catalogue, score, allowed, way) for way, score in scores.items()]
    rows = pl.concat([pl.DataFrame(schema={"item_id": pl.String, "place": pl.Int64, "way": pl.String}), *retrieved])
    fused = rows.group_by("item_id").agg(
        score=(1 / (FUSION_CONSTANT + pl.col("place"))).sum(), way=pl.col("way").sort_by("place", "way").first()
    )
    best = fused.sort(["score", "item_id"], descending=[True, False]).head(k).with_row_index("rank", 1)
    return best.select("rank", "item_id", "score", reason=pl.col("way").replace_strict(REASONS, return_dtype=pl.String))


def _retrieved(catalogue: Catalogue, score: Floats, allowed: Bools, way: str) -> pl.DataFrame:
    shown = pl.DataFrame({"item_id": catalogue.items["item_id"], "score": score}).filter(pl.Series(allowed & (score > 0)))
    best = shown.sort(["score", "item_id"], descending=[True, False]).head(RETRIEVED).with_row_index("place", 1)
    return best.select("item_id", pl.col("place").cast(pl.Int64), way=pl.lit(way))
