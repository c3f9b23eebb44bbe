"""What an event is worth as a signal: decay by age, inverse exposure, and what speaks against an item. No torch.

The event types' own weights, click < cart < purchase, are `events.types.X.weight` of the config; what is here multiplies them.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy import sparse

from recsys.blocks import Bools, Catalogue, Floats, History
from recsys.config_tables import EventType
from recsys.schema import INTERACTIONS

Types = Mapping[str, EventType]


def time_decay(age_days: Floats, half_life_days: float) -> Floats:
    """(n,) float32 weights exp(-ln 2 * age / half_life); `half_life_days` 0: all count 1.

    age_days (n,) >= 0, before the end of the window. Example, half-life 30 days: ages 0, 30, 90 count 1, 0.5, 0.125.
    Use it where tastes or the assortment drift (`text.half_life_days`).
    Source: Ding and Li, Time weight collaborative filtering, CIKM 2005.
    """
    if half_life_days == 0:
        return np.ones(len(age_days), np.float32)
    return np.exp2(-age_days / half_life_days).astype(np.float32)


def inverse_exposure(propensity: Floats, most: float) -> Floats:
    """(n,) float32 weights proportional to 1 / propensity, clipped and self-normalised: their mean is 1. `most` 0: all count 1.

    propensity (n,) in (0, 1], NaN where unknown. The inverses are clipped at `most` times their mean, then divided by the mean of
    what is left; a row without propensity counts 1, the mean. Clipping trades a little bias, towards what is often shown, for much
    variance. Example, most = 1.5: propensities 1/2, 1/2, 1/8 have inverses 2, 2, 8, clipped 2, 2, 6: weights 0.6, 0.6, 1.8.
    Use it (`text.exposure`) with propensities of a randomised page: a loss over what was shown then estimates the loss over what
    could have been. It corrects for what the shop chose to show, not for how far down a page users look.
    Source: Swaminathan and Joachims, The self-normalized estimator, NeurIPS 2015; Schnabel et al., ICML 2016.
    """
    weight = np.ones(len(propensity), np.float64)
    known = ~np.isnan(propensity)
    if most == 0 or not known.any():
        return weight.astype(np.float32)
    inverse = 1 / propensity[known].astype(np.float64)
    clipped = np.minimum(inverse, most * inverse.mean())
    weight[known] = clipped / clipped.mean()
    return weight.astype(np.float32)


def is_short(types: Types) -> pl.Expr:
    """Of an EVENTS row: a click whose `value`, the seconds of the view, is below `events.types.click.short_below`; unknown: no."""
    below = types["click"].short_below if "click" in types else 0.0
    return ((pl.col("event_type") == "click") & (pl.col("value") < below)).fill_null(False)


def disliked_items(events: pl.LazyFrame, catalogue: Catalogue, user_ids: pl.Series, types: Types) -> sparse.csr_array:
    """Sparse (n_users, n_items) bool: the items of which a user's last word is a return or a short view.

    events: EVENTS of one window; user_ids unique. Of events at one moment, one that speaks against the item is the last. Bought, sent
    back and bought again is no dislike. These are negatives of their user (`losses.with_own_negatives`) and no positives: what was
    sent back was not what the user looked for.
    """
    users = pl.LazyFrame({"user_id": user_ids}).with_row_index("user_index")
    against = ((pl.col("event_type") == "return") | is_short(types)).alias("against")
    last = (
        events.filter(pl.col("event_type").is_in(INTERACTIONS))
        .join(users, on="user_id", how="inner")
        .group_by("user_index", "item_id")
        .agg(against.sort_by("event_time", against).last())
        .filter("against")
        .collect()
    )
    item = catalogue.index_of(last["item_id"])
    places = (last["user_index"].to_numpy()[item >= 0], item[item >= 0])
    return sparse.csr_array((np.ones(len(places[0]), bool), places), shape=(len(user_ids), len(catalogue)))


def liked_rows(history: History, disliked: sparse.csr_array) -> Bools:
    """(n,): which rows of a history speak for an item that is not among the `disliked` (n_users, n_items) of its user."""
    n_items = disliked.shape[1]
    against = disliked.tocoo()
    pairs = history.user_index.astype(np.int64) * n_items + history.item_index
    return history.is_liked & ~np.isin(pairs, against.row.astype(np.int64) * n_items + against.col)
