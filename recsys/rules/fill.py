"""The places of many lists filled at once, best first: pinned items, caps, and likeness to what is already listed.

Shapes: U users, W cells a user (a candidate each, in order of item_id), k places. A cell is a column of the W; -1 is none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.blocks import Bools, Index
from recsys.rules.likeness import Alike, Likeness

Worth = NDArray[np.float64]
"""(U, W): the higher the better; -inf where the cell may not be listed."""


@dataclass(frozen=True)
class Cap:
    """At most `most` cells of one code in a list; code (U, W), -1: not capped."""

    code: Index
    most: int


@dataclass(frozen=True)
class Diversity:
    """Maximal marginal relevance: weight x worth - (1 - weight) x likeness to the nearest listed item.

    likeness: of the cells; the worth is stretched to [0, 1] over a user's open cells. Source: Carbonell and Goldstein 1998.
    """

    likeness: Likeness
    weight: float


def fill(worth: Worth, pinned: Index, caps: list[Cap], diversity: Diversity | None) -> Index:
    """The cell (U, k) of each place, without a gap: pinned (U, k) stays where it is, of the others the best that is still open.

    Ties go to the lower cell. What is pinned counts in caps, and in likeness, before anything is chosen.
    """
    if diversity is None:
        return _without_gaps(_in_turn(worth.copy(), pinned, caps, None))
    lists = []
    for part in diversity.likeness.parts():
        of_caps = [Cap(cap.code[part], cap.most) for cap in caps]
        near = _Near(diversity.likeness.of(part), worth[part], diversity.weight)
        lists.append(_without_gaps(_in_turn(worth[part].copy(), pinned[part], of_caps, near)))
    return np.concatenate(lists)


def _in_turn(worth: Worth, pinned: Index, caps: list[Cap], near: "_Near | None") -> Index:
    """Place after place; `worth` is used up."""
    users, listed = np.arange(len(worth)), pinned.copy()
    held = [np.full(pinned.shape, -1, np.int32) for _ in caps]

    def take(place: int, cells: Index) -> None:
        taken = np.flatnonzero(cells >= 0)
        worth[taken, cells[taken]] = -np.inf
        for cap, codes in zip(caps, held, strict=True):
            code = cap.code[taken, cells[taken]]
            codes[taken, place] = code
            is_full: Bools = (code >= 0) & (np.equal(codes[taken], code[:, None]).sum(axis=1) >= cap.most)
            full = taken[is_full]
            worth[full] = np.where(cap.code[full] == code[is_full, None], -np.inf, worth[full])
        if near is not None:
            near.add(cells)

    places = range(pinned.shape[1])
    for place in places:
        if (pinned[:, place] >= 0).any():
            take(place, pinned[:, place])
    for place in places if worth.shape[1] else ():
        now = worth if near is None else near.weighed(worth)
        best = np.argmax(now, axis=1)
        is_found = (pinned[:, place] < 0) & np.isfinite(now[users, best])
        if not is_found.any() and (pinned[:, place] < 0).all():
            break
        cells = np.where(is_found, best, -1).astype(np.int32)
        listed[is_found, place] = best[is_found]
        take(place, cells)
    return listed


class _Near:
    """How near each cell is to the nearest listed one of its user."""

    def __init__(self, alike: Alike, worth: Worth, weight: float) -> None:
        is_open = np.isfinite(worth)
        low = np.min(worth, axis=1, initial=np.inf, where=is_open, keepdims=True)
        span = np.max(worth, axis=1, initial=-np.inf, where=is_open, keepdims=True) - low
        self.alike, self.weight = alike, weight
        self.relevance = np.zeros(worth.shape)
        np.divide(worth - low, span, where=is_open & (span > 0), out=self.relevance)
        self.nearest = np.full(worth.shape, -np.inf, np.float32)

    def add(self, cells: Index) -> None:
        """Cells (U,) are listed; -1: none of that user."""
        self.nearest = np.where((cells >= 0)[:, None], np.maximum(self.nearest, self.alike(cells)), self.nearest)

    def weighed(self, worth: Worth) -> Worth:
        """MMR of the cells that are still open."""
        alike = np.where(np.isfinite(self.nearest), self.nearest, 0)
        return np.where(np.isfinite(worth), self.weight * self.relevance - (1 - self.weight) * alike, -np.inf)


def _without_gaps(listed: Index) -> Index:
    order = np.argsort(listed < 0, axis=1, kind="stable")
    return np.take_along_axis(listed, order, axis=1)


def ranks(listed: Index, width: int) -> Index:
    """(U, width) int32: the place of each cell in the list from 1, 0 where it is not in it."""
    found = np.zeros((len(listed), width), np.int32)
    user, place = np.nonzero(listed >= 0)
    found[user, listed[user, place]] = place + 1
    return found
