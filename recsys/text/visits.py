"""Training queries and the sampler of a step: visits, their positives, the extra negatives, and how likely each item was drawn."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.blocks import Bools, Floats, History, Index
from recsys.text.signals import time_decay


@dataclass(frozen=True)
class Visits:
    """Every (user, moment) with a weighted liked interaction: what was liked then is to be found from the history before it.

    user (n,) int32; start (n,) int64: first row of the history that is not before the visit; indptr (n + 1,), item (m,) int32,
    weight (m,) float32: its positives, distinct items with the highest weight.
    """

    user: Index
    start: NDArray[np.int64]
    indptr: NDArray[np.int64]
    item: Index
    weight: Floats

    def __len__(self) -> int:
        return len(self.user)


def visits_of(history: History, usable: Bools, liked: Bools) -> Visits:
    """The visits of a history; positives are `liked` (n,) rows that carry weight, of `usable` (n_items,) items (those with a text)."""
    rows = np.flatnonzero(liked & (history.weight > 0) & usable[history.item_index])
    moved = np.ones(len(history.item_index), dtype=bool)
    moved[1:] = (np.diff(history.user_index) != 0) | (np.diff(history.age_days) != 0)
    first_row = np.maximum.accumulate(np.where(moved, np.arange(len(moved)), 0))
    pairs = np.stack([first_row[rows], history.item_index[rows]])
    order = np.lexsort((-history.weight[rows], pairs[1], pairs[0]))
    keep = np.ones(len(order), dtype=bool)
    keep[1:] = (np.diff(pairs[:, order], axis=1) != 0).any(axis=0)
    kept = rows[order[keep]]
    starts, counts = np.unique(first_row[kept], return_counts=True)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Visits(history.user_index[starts], starts.astype(np.int64), indptr, history.item_index[kept], history.weight[kept])


def decayed(visits: Visits, history: History, half_life_days: float) -> Visits:
    """The visits with the weight of every positive times the decay by its age (`signals.time_decay`)."""
    decay = time_decay(history.age_days[visits.start], half_life_days)
    return replace(visits, weight=visits.weight * np.repeat(decay, np.diff(visits.indptr)))


def drawn(number: int, n: int, n_step: int, seed: int) -> tuple[NDArray[np.int64], int, int]:
    """Which of `n` are in step `number`, ascending, with its epoch and its place there: `n_step` of them without replacement an epoch."""
    epoch, place = divmod(number, max(n // max(n_step, 1), 1))
    order = np.random.default_rng([seed, epoch]).permutation(n)
    return np.sort(order[place * n_step : (place + 1) * n_step]), epoch, place


@dataclass(frozen=True)
class Step:
    """What one step looks at: visits (b,), positives as pairs (visit place, item place, weight), the drawn items and log inclusion.

    items (s,) int32, sorted; log_inclusion (s,) float32.
    """

    visits: NDArray[np.int64]
    pair_visit: NDArray[np.int64]
    pair_item: NDArray[np.int64]
    pair_weight: Floats
    items: Index
    log_inclusion: Floats


class Sampler:
    """Draws steps: `n_visits` visits without replacement within an epoch, at most `n_positives` of each, and uniform negatives.

    An item is in a step if one of its visits brings it or if it is among the negatives, so with visits drawn at the rate
    r = b / n, `min(1, p / size)` of a visit's positives kept, and m of N items drawn as negatives,

        P(item in step) = 1 - (1 - m / N) * product over its visits of (1 - r * min(1, p / size)),

    which is the inclusion probability that log Q needs: a deduplicated step is not the event frequency.
    """

    def __init__(self, visits: Visits, usable: Bools, n_visits: int, n_positives: int, n_negatives: int, seed: int) -> None:
        self.visits, self.n_positives, self.seed = visits, n_positives, seed
        self.n_visits = min(n_visits, len(visits))
        self.pool = np.flatnonzero(usable).astype(np.int32)
        self.n_negatives = min(n_negatives, len(self.pool))
        self.log_inclusion = self._log_inclusion(len(usable))

    def _log_inclusion(self, n_items: int) -> Floats:
        sizes = np.diff(self.visits.indptr)
        rate = self.n_visits / max(len(self.visits), 1) * np.minimum(1.0, self.n_positives / np.maximum(sizes, 1))
        missed = np.log1p(-np.minimum(np.repeat(rate, sizes), 1 - 1e-9))
        log_missed = np.bincount(self.visits.item, missed, minlength=n_items)
        drawn = self.n_negatives / max(len(self.pool), 1)
        included = 1.0 if drawn >= 1 else -np.expm1(log_missed + np.log1p(-drawn))
        return np.log(np.maximum(np.broadcast_to(included, n_items), 1e-12)).astype(np.float32)

    def step(self, number: int) -> Step:
        """Step `number`, from 0: a pure function of the seed and the number, so that a resumed training draws the same."""
        chosen, epoch, place = drawn(number, len(self.visits), self.n_visits, self.seed)
        rng = np.random.default_rng([self.seed, epoch, place, 1])
        rows, owner = self._positives(chosen, rng)
        negatives = rng.choice(self.pool, self.n_negatives, replace=False)
        items = np.unique(np.concatenate([self.visits.item[rows], negatives])).astype(np.int32)
        pair_item = np.searchsorted(items, self.visits.item[rows])
        return Step(chosen, owner, pair_item, self.visits.weight[rows], items, self.log_inclusion[items])

    def _positives(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        sizes = (self.visits.indptr[1:] - self.visits.indptr[:-1])[chosen]
        owner = np.repeat(np.arange(len(chosen)), sizes)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = self.visits.indptr[chosen][owner] + within
        shuffled = np.lexsort((rng.random(len(rows)), owner))
        kept = np.sort(shuffled[within < self.n_positives])
        return rows[kept], owner[kept]


def liked_texts(history: History, text_group: NDArray[np.int64], liked: Bools) -> sparse.csr_array:
    """Sparse (n_users, n_texts) bool: the texts of which a user liked some item anywhere in the window, in a `liked` (n,) row.

    An item whose text the user liked is no negative for them: it may be a later positive, or a twin of this one.
    """
    rows = np.flatnonzero(liked)
    ones = np.ones(len(rows), dtype=np.float32)
    shape = (history.n_users, int(text_group.max(initial=0)) + 1)
    matrix = sparse.csr_array((ones, (history.user_index[rows], text_group[history.item_index[rows]])), shape=shape)
    matrix.sum_duplicates()
    return matrix
