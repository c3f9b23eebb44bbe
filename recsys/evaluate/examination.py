"""How much a place is looked at: the position-based model, fitted on pages that were shown.

Somebody acts on an item when they look at its place and it appeals to them, whatever stands beside it: P(act) = looked(place) x
appeal(item). Source: Richardson, Dominowska and Ragno 2007; Craswell et al. 2008. Fitted as a Poisson model of two factors by raking
(iterative proportional fitting), whose fixed point is the maximum likelihood; as each item has an appeal of its own, places are
compared by the same items, so a page that puts what is popular on top misleads it no more than one in random order does (the idea of
Agarwal et al. 2019). Where the pages were sorted by each user's own taste, it does: a place on top then looks better than it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.metrics import Bools, Floats

FEWEST_ACTS = 20
"""Places are told apart down to the last before one with fewer acts: below, a place is noise, and something is divided by it."""

PRIOR_LOOKS = 20.0
"""Looks at the average appeal that every item is lent, so that one shown twice is not worth nothing, or everything."""

ROUNDS = 500
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Pages:
    """Pages as they were shown: rows of a page contiguous, from the top down.

    user (n_pages,): whose page, 0 .. n_users - 1; page (n,) rising: the page of a row; item (n,): item_index; position (n,) from 1, of
    which a page may lack some; propensity (n,) float64: the probability of the item at that place, given those above it, NaN where
    nobody knows; acted (n,): did the user go for it.
    """

    user: NDArray[np.int64]
    page: NDArray[np.int64]
    item: NDArray[np.int32]
    position: NDArray[np.int64]
    propensity: Floats
    acted: Bools

    def __len__(self) -> int:
        return len(self.page)

    @property
    def user_of_row(self) -> NDArray[np.int64]:
        """(n,): whose page a row is of."""
        return self.user[self.page]

    def where(self, kept: Bools) -> "Pages":
        """Some of the rows; pages keep their numbers, also those that lose all rows."""
        return Pages(self.user, self.page[kept], self.item[kept], self.position[kept], self.propensity[kept], self.acted[kept])


@dataclass(frozen=True)
class Examination:
    """looked (depth,): how often a place is looked at, the first 1; appeal (n_items,): chance of an act on a first place; both float64.

    n, n_acts: rows and acts that it was fitted on.
    """

    looked: Floats
    appeal: Floats
    n: int
    n_acts: int

    @property
    def depth(self) -> int:
        """Places that are told apart."""
        return len(self.looked)

    def chance(self, item: NDArray[np.integer], position: NDArray[np.integer]) -> Floats:
        """(n,): P(act) of items at positions from 1 to `depth`."""
        chance: Floats = self.looked[position - 1] * self.appeal[item]
        return chance


def fit_examination(pages: Pages, n_items: int) -> Examination | None:
    """The model of these pages; None where not even two places have FEWEST_ACTS each."""
    depth = _depth(pages)
    if depth < 2:
        return None
    kept = pages.where((pages.position >= 1) & (pages.position <= depth))
    cell, row = np.unique(kept.item.astype(np.int64) * depth + kept.position - 1, return_inverse=True)
    item, place = cell // depth, cell % depth
    shown, acts = np.bincount(row), np.bincount(row, kept.acted)
    acts_at, acts_of = np.bincount(place, acts, minlength=depth), np.bincount(item, acts, minlength=n_items)
    looked, appeal = np.ones(depth), np.empty(n_items)
    for _ in range(ROUNDS):
        before = looked
        looks = np.bincount(item, shown * looked[place], minlength=n_items)
        appeal = (acts_of + PRIOR_LOOKS * acts.sum() / looks.sum()) / (looks + PRIOR_LOOKS)
        looked = acts_at / np.bincount(place, shown * appeal[item], minlength=depth)
        looked /= looked[0]
        if np.abs(looked - before).max() < TOLERANCE:
            break
    return Examination(looked, appeal, len(kept), int(acts.sum()))


def _depth(pages: Pages) -> int:
    """Places from the first that have FEWEST_ACTS acts each."""
    acts = np.bincount(pages.position[pages.acted & (pages.position >= 1)])
    few = np.flatnonzero(acts[1:] < FEWEST_ACTS)
    return int(few[0]) if len(few) else max(len(acts) - 1, 0)
