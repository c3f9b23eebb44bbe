"""The families of features that an explanation sums contributions into: every feature of the ranker is in exactly one."""

FAMILIES = {
    "text": "text match: how well the item's text fits the history",
    "taste": "taste: the user's categories, and what people who chose the same chose",
    "popularity": "popularity: how many look at it, choose it, buy it",
    "habit": "habit: what this user did with this very item before",
    "recency": "recency: how new it is, and whether it is on the rise",
    "price": "price: what it costs, also against what the user pays",
    "kind": "kind of item: its category, how often it comes back, how often it is bought again",
    "found": "found: how many behaviour sources found it, and how high",
    "user": "user: how active the user is, which only matters together with the others",
}
"""Name of a family and what it means, in the order in which people read them."""

# fmt: off
_FEATURES = {
    "text": (
        "text_score", "text_rank", "text_collaborative_score", "text_collaborative_rank",
        "text_place", "text_z", "text_last", "text_best",
    ),
    "taste": (
        "taste_likes_28d", "taste_likes_all", "taste_since_last", "taste_share_28d",
        "category_popularity_score", "category_popularity_rank", "covisitation_score", "covisitation_rank",
        "item_cosine_score", "item_cosine_rank", "collaborative_score", "collaborative_rank",
    ),
    "popularity": (
        "item_impressions_28d", "item_clicks_28d", "item_carts_28d", "item_purchases_7d", "item_purchases_28d", "item_purchases_90d",
        "item_likes_7d", "item_likes_28d", "item_users_28d", "item_users_all", "item_ctr_28d", "item_conversion_28d",
        "popularity_score", "popularity_rank",
    ),
    "habit": (
        "pair_likes_28d", "pair_likes_90d", "pair_likes_all", "pair_purchases_all", "pair_days_all", "pair_returns_all",
        "pair_impressions_28d", "pair_value_all", "pair_since_last", "pair_since_first", "pair_share_90d", "pair_interval_days", "pair_due",
        "repurchase_score", "repurchase_rank",
    ),
    "recency": ("item_since_last_like", "item_since_first_event", "item_age_days", "item_trend_7d"),
    "price": ("item_price_last", "item_price_90d", "item_price", "pair_price_ratio", "user_price_90d"),
    "kind": ("item_category", "item_repeats_90d", "item_repeat_rate_90d", "item_returns_90d", "item_return_rate_90d"),
    "found": ("sources", "fusion"),
    "user": (
        "user_likes_7d", "user_likes_28d", "user_likes_90d", "user_purchases_90d", "user_returns_90d", "user_items_all",
        "user_repeats_90d", "user_days_90d", "user_value_90d", "user_since_last", "user_since_first", "user_interval_days",
    ),
}
# fmt: on


def families() -> dict[str, str]:
    """feature -> its family."""
    return {feature: family for family, of_family in _FEATURES.items() for feature in of_family}
