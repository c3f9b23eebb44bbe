"""Our feature views, and candidates to ranker rows. Every value is strictly before as_of; one function serves the past and tonight."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store import Count, Entity, FeatureStore, FeatureView, Last, Mean, SinceFirst, SinceLast, Sum
from recsys.blocks import Bools, Catalogue, Floats, History
from recsys.liked import highest, liked_cosines
from recsys.schema import EVENT_TYPES, LIKED, TIME

PRIOR = 10.0
"""Strength of the prior of smoothed rates, in events: ten events at the shop's own rate are added to each item's."""

ITEM = FeatureView(
    "item",
    Entity("item", ("item_id",)),
    (
        Count("item_impressions_28d", "times shown in the last 28 days", "is_impression", 28),
        Count("item_clicks_28d", "clicks in the last 28 days", "is_click", 28),
        Count("item_carts_28d", "cart additions in the last 28 days", "is_cart", 28),
        Count("item_purchases_7d", "purchases in the last 7 days", "is_purchase", 7),
        Count("item_purchases_28d", "purchases in the last 28 days", "is_purchase", 28),
        Count("item_purchases_90d", "purchases in the last 90 days", "is_purchase", 90),
        Count("item_likes_7d", "clicks, carts and purchases in the last 7 days", "is_liked", 7),
        Count("item_likes_28d", "clicks, carts and purchases in the last 28 days", "is_liked", 28),
        Count("item_users_28d", "users who liked it for the first time in the last 28 days", "is_first", 28),
        Count("item_users_all", "users who ever liked it", "is_first"),
        Count("item_repeats_90d", "likes in the last 90 days by users who had liked it on an earlier day", "is_repeat", 90),
        Count("item_returns_90d", "returns in the last 90 days", "is_return", 90),
        Last("item_price_last", "price at its latest event", "price"),
        Mean("item_price_90d", "mean price over the last 90 days", "price", None, 90),
        SinceLast("item_since_last_like", "days since it was last liked", "is_liked"),
        SinceFirst("item_since_first_event", "days since its first event of any type"),
    ),
)

USER = FeatureView(
    "user",
    Entity("user", ("user_id",)),
    (
        Count("user_likes_7d", "clicks, carts and purchases in the last 7 days", "is_liked", 7),
        Count("user_likes_28d", "clicks, carts and purchases in the last 28 days", "is_liked", 28),
        Count("user_likes_90d", "clicks, carts and purchases in the last 90 days", "is_liked", 90),
        Count("user_purchases_90d", "purchases in the last 90 days", "is_purchase", 90),
        Count("user_returns_90d", "returns in the last 90 days", "is_return", 90),
        Count("user_items_all", "different items ever liked", "is_first"),
        Count("user_repeats_90d", "likes in the last 90 days of items liked on an earlier day", "is_repeat", 90),
        Count("user_days_90d", "days with a like in the last 90 days", "is_first_of_day", 90),
        Mean("user_price_90d", "mean price of what was liked in the last 90 days", "price", "is_liked", 90),
        Sum("user_value_90d", "worth of the purchases of the last 90 days", "value", "is_purchase", 90),
        SinceLast("user_since_last", "days since the last like", "is_liked"),
        SinceFirst("user_since_first", "days since the first like", "is_liked"),
    ),
)

PAIR = FeatureView(
    "pair",
    Entity("user_item", ("user_id", "item_id")),
    (
        Count("pair_likes_28d", "the user's likes of the item in the last 28 days", "is_liked", 28),
        Count("pair_likes_90d", "the user's likes of the item in the last 90 days", "is_liked", 90),
        Count("pair_likes_all", "the user's likes of the item ever", "is_liked"),
        Count("pair_purchases_all", "the user's purchases of the item ever", "is_purchase"),
        Count("pair_days_all", "days on which the user liked the item", "is_first_of_pair_day"),
        Count("pair_returns_all", "the user's returns of the item ever", "is_return"),
        Count("pair_impressions_28d", "times the item was shown to the user in the last 28 days", "is_impression", 28),
        Sum("pair_value_all", "worth of the user's purchases of the item", "value", "is_purchase"),
        SinceLast("pair_since_last", "days since the user last liked the item", "is_liked"),
        SinceFirst("pair_since_first", "days since the user first liked the item", "is_liked"),
    ),
)

TASTE = FeatureView(
    "taste",
    Entity("user_category", ("user_id", "category")),
    (
        Count("taste_likes_28d", "the user's likes in the item's category in the last 28 days", "is_liked", 28),
        Count("taste_likes_all", "the user's likes in the item's category ever", "is_liked"),
        SinceLast("taste_since_last", "days since the user last liked something of the item's category", "is_liked"),
    ),
)

STORE = FeatureStore(ITEM, USER, PAIR, TASTE)

DERIVED = {
    "item_category": "the item's category, as a code of the fitted model's list; missing for one it never saw",
    "item_ctr_28d": "clicks per impression of the last 28 days, smoothed with the shop's own rate",
    "item_conversion_28d": "purchases per click of the last 28 days, smoothed with the shop's own rate",
    "item_return_rate_90d": "returns per purchase of the last 90 days, smoothed with the shop's own rate",
    "item_repeat_rate_90d": "share of repeats among the likes of the last 90 days, smoothed with the shop's own rate",
    "item_trend_7d": "likes of the last 7 days against a quarter of those of the last 28 days, both plus one",
    "item_age_days": "days since it became available, or since its first event; 0 for one that is yet to come",
    "item_price": "price as of now: at its latest event, else the list price",
    "user_interval_days": "days (at most 90) since the first like, by the days with a like among them",
    "pair_price_ratio": "the item's price by the mean price of what the user liked in the last 90 days",
    "pair_share_90d": "share of the item in the user's likes of the last 90 days",
    "pair_interval_days": "mean days between the user's likes of the item, where there are two",
    "pair_due": "days since the user last liked the item, in such intervals: about 1 when it is due again",
    "taste_share_28d": "share of the item's category in the user's likes of the last 28 days",
    "sources": "behaviour sources that retrieved the item",
    "fusion": "reciprocal-rank fusion of the behaviour sources",
}

TEXT_DERIVED = {
    "text_place": "place of the interest score among the query's candidates, from 1",
    "text_z": "interest score in standard deviations from the mean of the query's candidates",
    "text_last": "cosine of the item's text vector and that of the user's last liked item, itself left out",
    "text_best": "highest cosine of the item's text vector and those of the user's latest liked items, itself left out",
}

SOURCE_MEANINGS = {
    "popularity": "recent popularity",
    "category_popularity": "popularity within the user's categories",
    "covisitation": "co-visitation with the user's recent items",
    "item_cosine": "item-item cosine to the user's items",
    "collaborative": "collaborative model",
    "repurchase": "the user's own frequent items",
    "text": "interest by text",
    "text_collaborative": "interest by text and item id together",
}


def meanings() -> dict[str, str]:
    """feature -> one line of meaning, in the order of the columns of RankerRows."""
    sources = {f"{s}_score": f"score of the source: {text}" for s, text in SOURCE_MEANINGS.items()}
    sources |= {
        f"{s}_rank": f"place in the source's list, missing where it did not retrieve: {text}" for s, text in SOURCE_MEANINGS.items()
    }
    return {**STORE.meanings(), **DERIVED, **sources, **TEXT_DERIVED}


def names() -> list[str]:
    """The features, in order."""
    return list(meanings())


def is_text(name: str) -> bool:
    """Is a feature of a text source, or made of text vectors."""
    return name.startswith("text_")


def mark(events: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Events with what the views select on: a boolean column a type, is_liked, firsts and repeats, and the item's category.

    `is_first` marks a user's first like of an item, `is_first_of_day` their first like of a day, `is_first_of_pair_day` their
    first of the item that day, `is_repeat` a like of an item liked on an earlier day: all depend on the past only.
    """
    is_first = {
        "is_first": ("user_id", "item_id", "is_liked"),
        "is_first_of_day": ("user_id", "day", "is_liked"),
        "is_first_of_pair_day": ("user_id", "item_id", "day", "is_liked"),
    }
    return (
        events.sort("user_id", "event_time", "item_id", "event_type")
        .join(items.select("item_id", "category"), on="item_id", how="left", maintain_order="left")
        .with_columns(
            *((pl.col("event_type") == name).alias(f"is_{name}") for name in EVENT_TYPES),
            is_liked=pl.col("event_type").is_in(LIKED),
            day=pl.col("event_time").dt.date(),
        )
        .with_columns(
            *((pl.col("is_liked") & pl.struct(keys).is_first_distinct()).alias(name) for name, keys in is_first.items()),
            is_repeat=pl.col("is_liked") & (pl.col("day") > pl.col("day").min().over("user_id", "item_id", "is_liked")),
        )
        .drop("day")
    )


@dataclass(frozen=True)
class ItemTable:
    """The item features as of one moment, rows of the catalogue: materialised once, shared by every block of users."""

    as_of: datetime
    values: pl.DataFrame


def item_table(parts: Iterable[tuple[pl.Series, pl.DataFrame]], catalogue: Catalogue, as_of: datetime, categories: list[str]) -> ItemTable:
    """Item features of the whole catalogue. Rates are smoothed with the shop's own as of then.

    parts: runs of the catalogue's item_ids, in its order, each with the `mark`ed events of all users on those items. (Marked
    so apart, `is_first_of_day` is of the run alone; no item feature reads it, the other marks are within an item.)
    categories: those the ranker was or will be fitted with, in the order of their codes.
    """
    codes = {name: code for code, name in enumerate(categories)}
    raw = pl.concat([STORE.values("item", marked, item_ids.to_frame("item_id"), as_of) for item_ids, marked in parts])
    raw = raw.with_columns(catalogue.items["available_from"], list_price=catalogue.items["price"], category=catalogue.items["category"])
    born = (pl.lit(as_of, TIME) - pl.col("available_from")).dt.total_seconds() / 86_400
    return ItemTable(
        as_of,
        raw.with_columns(
            item_category=pl.col("category").replace_strict(codes, default=None, return_dtype=pl.Float32),
            item_ctr_28d=_rate("item_clicks_28d", "item_impressions_28d"),
            item_conversion_28d=_rate("item_purchases_28d", "item_clicks_28d"),
            item_return_rate_90d=_rate("item_returns_90d", "item_purchases_90d"),
            item_repeat_rate_90d=_rate("item_repeats_90d", "item_purchases_90d"),
            item_trend_7d=(pl.col("item_likes_7d") + 1) / (pl.col("item_likes_28d") / 4 + 1),
            item_age_days=pl.coalesce(born, pl.col("item_since_first_event")).fill_null(0).clip(0),
            item_price=pl.coalesce("item_price_last", "list_price"),
        )
        .drop("available_from", "list_price", "category")
        .cast(pl.Float32),
    )


def _rate(part: str, whole: str) -> pl.Expr:
    shop = pl.col(part).sum() / pl.col(whole).sum().clip(1)
    return (pl.col(part) + PRIOR * shop) / (pl.col(whole) + PRIOR)


@dataclass(frozen=True)
class Retrieved:
    """The candidates of a block as features see them: rows of a user contiguous.

    user (r,) int32, row of the block; item (r,) int32, item_index; score and rank by source (r,) float32, NaN where missing;
    fusion (r,) float32.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    score: dict[str, Floats]
    rank: dict[str, Floats]
    fusion: Floats


def feature_rows(
    retrieved: Retrieved,
    history: History,
    marked: pl.DataFrame,
    items: ItemTable,
    catalogue: Catalogue,
    vectors: Floats | None,
    told: Bools,
) -> pl.DataFrame:
    """The features (r rows) of a block's candidates, Float32, null where missing, in the order of `names`.

    `marked`: the marked events of the block's users (more users do no harm); vectors (n_items, dim): the text vectors, or None: then
    the features of text are missing, as they are for a user who is not `told` of (n_users,).
    """
    keys = pl.DataFrame({"user_id": history.user_ids.gather(retrieved.user), "item_id": catalogue.ids(retrieved.item)})
    keys = keys.with_columns(category=catalogue.items["category"].gather(retrieved.item))
    users = STORE.values("user", marked, pl.DataFrame({"user_id": history.user_ids}), history.as_of)
    frame = pl.concat(
        [
            items.values[retrieved.item],
            users[retrieved.user],
            STORE.values("pair", marked, keys.select("user_id", "item_id"), history.as_of),
            STORE.values("taste", marked, keys.select("user_id", "category"), history.as_of),
        ],
        how="horizontal",
    )
    frame = frame.with_columns(_derived()).with_columns(**_source_columns(retrieved))
    nothing = pl.lit(None, pl.Float32)
    derived = dict.fromkeys(TEXT_DERIVED, nothing) if vectors is None else _text_columns(retrieved, history, vectors)
    is_told = pl.lit(pl.Series(told[retrieved.user]))
    frame = frame.with_columns(**derived).with_columns(pl.when(is_told).then(pl.col(name)).alias(name) for name in names() if is_text(name))
    return frame.select(names()).cast(pl.Float32).with_columns(pl.all().fill_nan(None))


def _derived() -> list[pl.Expr]:
    col = pl.col
    pair_interval = pl.when(col("pair_days_all") > 1).then((col("pair_since_first") - col("pair_since_last")) / (col("pair_days_all") - 1))
    return [
        (col("user_since_first").clip(0, 90) / col("user_days_90d").clip(1)).alias("user_interval_days"),
        (col("item_price") / col("user_price_90d").clip(0.01)).alias("pair_price_ratio"),
        (col("pair_likes_90d") / col("user_likes_90d").clip(1)).alias("pair_share_90d"),
        pair_interval.alias("pair_interval_days"),
        (col("pair_since_last") / pair_interval.clip(1)).alias("pair_due"),
        (col("taste_likes_28d") / col("user_likes_28d").clip(1)).alias("taste_share_28d"),
    ]


def _source_columns(retrieved: Retrieved) -> dict[str, pl.Series]:
    nothing = np.full(len(retrieved.user), np.nan, np.float32)
    columns = {f"{name}_score": pl.Series(retrieved.score.get(name, nothing)) for name in SOURCE_MEANINGS}
    columns |= {f"{name}_rank": pl.Series(retrieved.rank.get(name, nothing)) for name in SOURCE_MEANINGS}
    found = [~np.isnan(rank) for name, rank in retrieved.rank.items() if not name.startswith("text")]
    return columns | {"sources": pl.Series(np.sum(found, axis=0).astype(np.float32)), "fusion": pl.Series(retrieved.fusion)}


def _text_columns(retrieved: Retrieved, history: History, vectors: Floats) -> dict[str, pl.Series]:
    score = pl.DataFrame({"user": retrieved.user, "score": retrieved.score["text"]}).with_columns(pl.col("score").fill_nan(None))
    z = (pl.col("score") - pl.col("score").mean().over("user")) / pl.col("score").std().over("user").clip(1e-6)
    place = pl.col("score").rank("min", descending=True).over("user")
    placed = score.select(text_place=place, text_z=z)
    last, best = _history_matches(retrieved, history, vectors)
    return {**placed.to_dict(), "text_last": pl.Series(last), "text_best": pl.Series(best)}


def _history_matches(retrieved: Retrieved, history: History, vectors: Floats) -> tuple[Floats, Floats]:
    cosine, _ = liked_cosines(retrieved.user, retrieved.item, history, vectors)
    last_liked = cosine[np.arange(len(cosine)), np.argmax(~np.isnan(cosine), axis=1)]
    return last_liked.astype(np.float32), highest(cosine)
