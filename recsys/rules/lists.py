"""Scored candidates to recommendations: seen items, at most k, ties by item_id, or as the rules of the shop placed them; a reason each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.rules.ruled import Placed
from recsys.schema import CHANCES, RECOMMENDATIONS, TIME

REASONS = {
    "repurchase": "had it before",
    "covisitation": "goes with recent choices",
    "item_cosine": "chosen by people who chose the same",
    "collaborative": "fits the taste of similar people",
    "text": "its text matches the history",
    "text_collaborative": "its text and who liked it match the history",
    "category_popularity": "popular in the favourite categories",
    "popularity": "popular now",
}
PINNED = "placed by the shop"
"""The reason of an item that a rule pins."""

BECAUSE = "because you"
"""How a reason begins that names an item of the history."""

TEXTUAL = (REASONS["text"], REASONS["text_collaborative"])

TITLE_CHARACTERS = 60
"""Of the title in a reason: as much as a line of a phone or of a mail has room for."""


@dataclass(frozen=True)
class Scored:
    """Scored candidates of a block: user (r,) row in user_ids; item_id (r,); score (r,) float64; is_seen (r,); rank (r,) by source;
    chances (r,) by column, NaN or absent where unknown.
    """

    user_ids: pl.Series
    user: NDArray[np.int32]
    item_id: pl.Series
    score: NDArray[np.float64]
    is_seen: NDArray[np.bool_]
    rank: dict[str, NDArray[np.float32]]
    chances: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def recommend(
    scored: Scored, frame: pl.DataFrame, as_of: datetime, run_id: str, k: int, task: str, placed: Placed | None = None
) -> pl.DataFrame:
    """A RECOMMENDATIONS table: each user's best `k`, score descending then item_id, or what the rules `placed`.

    Task `new` leaves out what the user had. The reason is that of the source that placed the item highest; for an item had before,
    how often and how long ago.
    """
    rows = pl.DataFrame(
        {
            "user": scored.user,
            "item_id": scored.item_id,
            "score": scored.score,
            "is_seen": scored.is_seen,
            "likes": frame["pair_likes_all"],
            "days": frame["pair_since_last"],
            "source": _best_source(scored.rank),
            **_chances(scored),
        }
    )
    rows = _best(rows, k, task) if placed is None else _as_placed(rows, placed)
    return rows.select(
        user_id=scored.user_ids.gather(rows["user"]),
        item_id="item_id",
        rank="rank",
        score="score",
        as_of=pl.lit(as_of, TIME),
        run_id=pl.lit(run_id),
        reason=_reason(),
        **{name: name for name in CHANCES},
    ).select(RECOMMENDATIONS.names)


def because(lists: pl.DataFrame, title: pl.Series, is_bought: NDArray[np.bool_]) -> pl.DataFrame:
    """The lists, where a source of text gave the reason with the item of the history that is near as the reason.

    title (n,): of that item, null where none is near; is_bought (n,): did the user buy it, or like it in another way.
    """
    words = pl.lit(title).str.replace_all(r"\s+", " ").str.strip_chars()
    cut = pl.when(words.str.len_chars() > TITLE_CHARACTERS).then(words.str.head(TITLE_CHARACTERS - 1) + "…").otherwise(words)
    verb = pl.when(pl.lit(pl.Series(is_bought, dtype=pl.Boolean))).then(pl.lit("bought")).otherwise(pl.lit("liked"))
    named = pl.format('{} {} "{}"', pl.lit(BECAUSE), verb, cut)
    return lists.with_columns(reason=pl.when(pl.col("reason").is_in(TEXTUAL) & named.is_not_null()).then(named).otherwise("reason"))


def _best(rows: pl.DataFrame, k: int, task: str) -> pl.DataFrame:
    if task == "new":
        rows = rows.filter(~pl.col("is_seen"))
    rows = rows.sort("user", "score", "item_id", descending=[False, True, False])
    return rows.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("user")).filter(pl.col("rank") <= k)


def _as_placed(rows: pl.DataFrame, placed: Placed) -> pl.DataFrame:
    listed = pl.DataFrame({"row": placed.row, "user": placed.user, "item_id": placed.item_id, "rank": placed.rank, "score": placed.score})
    listed = listed.with_columns(is_pinned=pl.Series(placed.is_pinned, dtype=pl.Boolean))
    known = rows.select("likes", "days", "source", *CHANCES).with_row_index("row").cast({"row": pl.Int64})
    known = listed.join(known, on="row", how="left", maintain_order="left")
    return known.with_columns(
        source=pl.when("is_pinned").then(pl.lit("pinned")).otherwise("source"), likes=pl.when(~pl.col("is_pinned")).then("likes")
    )


def _chances(scored: Scored) -> dict[str, pl.Series]:
    unknown = np.full(len(scored.user), np.nan, np.float32)
    return {name: pl.Series(scored.chances.get(name, unknown)).fill_nan(None) for name in CHANCES}


def _best_source(rank: dict[str, NDArray[np.float32]]) -> pl.Series:
    names = [name for name in REASONS if name in rank]
    places = np.stack([np.nan_to_num(rank[name], nan=np.inf) for name in names])
    return pl.Series(np.array(names)[np.argmin(places, axis=0)])


def _reason() -> pl.Expr:
    n, days = pl.col("likes").round().cast(pl.Int64), pl.col("days").floor().cast(pl.Int64)
    times = pl.when(n == 1).then(pl.lit("once")).otherwise(pl.format("{} times", n))
    ago = pl.when(days == 1).then(pl.lit("1 day")).otherwise(pl.format("{} days", days))
    again = pl.format("{} {}, last {} ago", pl.lit(REASONS["repurchase"]), times, ago)
    return pl.when(pl.col("likes") > 0).then(again).otherwise(pl.col("source").replace_strict(REASONS | {"pinned": PINNED}))
