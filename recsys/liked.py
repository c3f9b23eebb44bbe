"""How near the texts of items are to those of what a user liked lately: the features of it, and the item a recommendation is because of."""

import numpy as np
from numpy.typing import NDArray

from recsys.blocks import Bools, Floats, History, Index
from recsys.schema import EVENT_TYPES

TEXT_HISTORY = 30
"""Latest interactions of a user that are compared with."""

NEAR_SHARE = 0.01
"""Two items are near when their texts are nearer than all but this share of the pairs of the catalogue. A fixed cosine would mean
another thing under every encoder; at one in a hundred an item is among the few that are like it, closer than most of its category.
"""

PROBED = 1000
"""Items, drawn by the seed, whose pairs stand for those of the catalogue."""


def nearest_liked(user: Index, item: Index, history: History, vectors: Floats) -> tuple[Index, Bools, Floats]:
    """Of pairs of a block's user and an item (r,), users in order: the liked item that `text_best` is of, among as many.

    item_index (r,) int32, -1 for none; (r,): did the user buy it, by what is looked at; its cosine (r,) float32, NaN for none.
    """
    cosine, places = liked_cosines(user, item, history, vectors)
    cosines = highest(cosine)
    if np.isnan(cosines).all():
        return np.full(len(user), -1, np.int32), np.zeros(len(user), bool), cosines
    nearest = np.argmax(np.where(np.isnan(cosine), -np.inf, cosine), axis=1)
    found = np.where(np.isnan(cosines), -1, history.item_index[places[user, nearest]]).astype(np.int32)
    is_it: Bools = (history.item_index[places[user]] == found[:, None]) & ~np.isnan(cosine)
    is_purchase: Bools = history.event_type[places[user]] == EVENT_TYPES.index("purchase")
    return found, np.any(is_it & is_purchase, axis=1), cosines


def near_from(vectors: Floats, seed: int) -> float:
    """The cosine from which two items count as near; infinite where no two have a text. vectors (n_items, dim): unit, zero for no text."""
    has_text: Bools = (vectors != 0).any(axis=1)
    known = np.flatnonzero(has_text)
    drawn = vectors[np.random.default_rng(seed).permutation(known)[:PROBED]]
    pairs = (drawn @ drawn.T)[np.triu_indices(len(drawn), 1)]
    # Two equal texts are as near as can be, whatever rounding makes of their cosine.
    return float(min(np.quantile(pairs, 1 - NEAR_SHARE), 1 - 1e-5)) if len(pairs) else np.inf


def highest(cosine: Floats) -> Floats:
    """The highest of each row, NaN where there is none."""
    none: Bools = np.asarray(np.isnan(cosine).all(axis=1))
    return np.where(none, np.nan, np.nanmax(np.where(none[:, None], 0, cosine), axis=1)).astype(np.float32)


def liked_cosines(
    user: Index, item: Index, history: History, vectors: Floats, rows_at_once: int = 16_384
) -> tuple[Floats, NDArray[np.int64]]:
    """(r, TEXT_HISTORY) cosines, NaN where there is nothing liked to compare with; and places (n_users, TEXT_HISTORY) in the history."""
    places, real = history.latest(TEXT_HISTORY)
    has_text: Bools = (vectors != 0).any(axis=1)
    items = history.item_index[places] if len(history.item_index) else np.zeros(places.shape, np.int32)
    liked = history.is_liked[places] if len(history.item_index) else np.zeros(places.shape, bool)
    usable: Bools = real & liked & has_text[items]
    cosine = np.full((len(user), TEXT_HISTORY), np.nan, np.float32)
    for start in range(0, len(user), rows_at_once):
        rows = slice(start, start + rows_at_once)
        first, last = int(user[rows][0]), int(user[rows][-1]) + 1
        cosine[rows] = _cosines(item[rows], user[rows] - first, items[first:last], vectors)
    same: Bools = items[user] == item[:, None]  # of what the user had, the pair features tell
    cosine[~usable[user] | ~has_text[item][:, None] | same] = np.nan
    return cosine, places


def _cosines(item: NDArray[np.int32], user: NDArray[np.int32], history_items: NDArray[np.int32], vectors: Floats) -> Floats:
    # One small product a user, in one call: candidates (users, most, dim) x history (users, dim, l); users with fewer are padded.
    n_rows = np.bincount(user, minlength=len(history_items))
    place = np.arange(len(user)) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows)
    candidates = np.zeros((len(history_items), n_rows.max(initial=0)), np.int32)
    candidates[user, place] = item
    products: Floats = vectors[candidates] @ vectors[history_items].transpose(0, 2, 1)
    return products[user, place]
