"""What one step of each loss looks at: who is asked, as of when, about which items, and what their scores cost.

`VisitSteps` ask for what was liked in a visit among the items of the catalogue (softmax); `ListSteps` for what was chosen of a
list that was shown (pointwise, list). The training knows neither: it makes scores of what it is asked and takes the loss of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from recsys.blocks import Bools, Floats, History, Index
from recsys.config import Text
from recsys.text.losses import hard_negatives, list_loss, log_odds, of_items, pointwise_loss, softmax_loss, with_own_negatives
from recsys.text.shown import Shown
from recsys.text.signals import inverse_exposure, liked_rows, time_decay
from recsys.text.visits import Sampler, Step, decayed, drawn, liked_texts, visits_of


@dataclass(frozen=True)
class Moments:
    """Users of a block at moments: user (b,) int64; start (b,) int64, the first row of the history that was not known yet; now (b,)
    float32, days before the history's as_of."""

    user: NDArray[np.int64]
    start: NDArray[np.int64]
    now: Floats


@dataclass(frozen=True)
class Asked:
    """One step: the moments (b,), items (s,) int32, sorted, and the loss of their scores (b, s)."""

    moments: Moments
    items: Index
    loss: Callable[[Tensor], Tensor]


Cosines = Callable[[Moments], Tensor]
"""(b, n_items): how near every item of the catalogue is to the users, by the current model and without gradient."""


class VisitSteps:
    """Steps of the softmax: what was liked in a visit, against the items of the step that the user does not like.

    An item that was not on sale at a visit (sale_days (n_items, 2), as of the history's moment) was not passed over: it is no negative
    there, or a new item would be pushed away from everybody before it comes.
    A disliked item is no positive of its user but a negative with certainty; mined ones (`text.hard_negatives`) join it. Where a step
    holds every item they are all there already.
    """

    def __init__(
        self,
        history: History,
        usable: Bools,
        text_group: NDArray[np.int64],
        disliked: sparse.csr_array,
        config: Text,
        seed: int,
        sale_days: Floats | None = None,
    ) -> None:
        liked = liked_rows(history, disliked)
        self.history, self.usable, self.text_group, self.config = history, usable, text_group, config
        self.visits = decayed(visits_of(history, usable, liked), history, config.half_life_days)
        self.liked = liked_texts(history, text_group, liked)
        self.disliked = sparse.csr_array(disliked.multiply(usable[None, :]), dtype=bool)
        self.sale_days = sale_days
        self.sampler = Sampler(self.visits, usable, config.queries, config.positives, config.negatives, seed)

    def __len__(self) -> int:
        return len(self.visits)

    @property
    def holds_all(self) -> bool:
        """Does every step hold the whole catalogue."""
        return self.sampler.n_negatives == len(self.sampler.pool)

    def asked(self, number: int, cosines: Cosines | None = None) -> Asked:
        """Step `number`, from 0; with `cosines`, each visit brings the hard negatives that they tell."""
        step = self.sampler.step(number)
        moments = self._moments(step)
        if not self.holds_all:
            own = [self.disliked[moments.user]]
            if cosines and self.config.hard_negatives:
                own.append(self._mined(step, moments, cosines(moments)))
            step = with_own_negatives(step, sum(own[1:], own[0])) if any(part.nnz for part in own) else step
        barred = torch.from_numpy(self._likes(moments.user, step.items) | ~self._on_sale(moments.now, step.items))
        return Asked(moments, step.items, lambda scores: softmax_loss(scores, step, barred))

    def _moments(self, step: Step) -> Moments:
        start = self.visits.start[step.visits]
        return Moments(self.visits.user[step.visits].astype(np.int64), start, self.history.age_days[start])

    def _likes(self, user: NDArray[np.int64], items: Index | slice) -> Bools:
        """(b, s): does the user like the text of the item."""
        return (self.liked[user][:, self.text_group[items]].toarray() > 0).astype(bool)

    def _on_sale(self, now: Floats, items: Index | slice) -> Bools:
        """(b, s), or (b, 1) where nothing is known: could the user have chosen the item then. What they could not is no negative."""
        if self.sale_days is None:
            return np.ones((len(now), 1), bool)
        begun, ended = self.sale_days[items].T
        on_sale: Bools = (begun >= now[:, None]) & (ended <= now[:, None])
        return on_sale

    def _mined(self, step: Step, moments: Moments, cosines: Tensor) -> sparse.csr_array:
        lowest = torch.full((len(moments.user),), torch.inf).scatter_reduce(
            0,
            torch.from_numpy(step.pair_visit),
            cosines[torch.from_numpy(step.pair_visit), torch.from_numpy(step.items[step.pair_item])],
            "amin",
        )
        barred = torch.from_numpy(self._likes(moments.user, slice(None)) | ~self._on_sale(moments.now, slice(None)) | ~self.usable)
        found = hard_negatives(cosines, lowest, barred, self.config.hard_negatives, self.config.margin)
        return of_items(found, len(self.usable))


class ListSteps:
    """Steps of the losses over what was shown: impression lists, their usable items, and what was done with each.

    Lists that can teach nothing are left out: for `list` those of one item or without a choice, which have no gradient.
    """

    def __init__(self, history: History, usable: Bools, shown: Shown, bias: Tensor, config: Text, seed: int) -> None:
        self.shown, self.bias, self.config, self.seed = shown, bias, config, seed
        self.start = shown.starts(history)
        owner, kept = shown.list_index, usable[shown.item_index]
        if config.loss == "list":
            n_items = np.bincount(owner[kept], minlength=len(shown))
            kept &= ((n_items > 1) & (np.bincount(owner[kept & shown.is_chosen], minlength=len(shown)) > 0))[owner]
        self.row = np.flatnonzero(kept)
        self.lists, counts = np.unique(owner[self.row], return_counts=True)
        self.indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.weight = self._weights()

    def _weights(self) -> Floats:
        """(n,) float32: of the event type (where ignored 1, for `list` 0), times inverse exposure and time decay."""
        shown, row = self.shown, self.row
        of_type = shown.weight if self.config.loss == "list" else shown.row_weight
        age = shown.age_days[shown.list_index[row]]
        exposed = inverse_exposure(shown.propensity[row], self.config.exposure)
        return (of_type[row] * exposed * time_decay(age, self.config.half_life_days)).astype(np.float32)

    def __len__(self) -> int:
        return len(self.lists)

    @property
    def log_odds(self) -> float:
        """Of a choice, over all rows; 0 where either side has no weight."""
        chosen = self.shown.is_chosen[self.row]
        sides = self.weight[chosen].sum(), self.weight[~chosen].sum()
        return log_odds(chosen, self.weight) if min(sides) > 0 else 0.0

    def asked(self, number: int, cosines: Cosines | None = None) -> Asked:
        """Step `number`, from 0. Nothing is mined: the negatives are what was shown and ignored."""
        lists, _, _ = drawn(number, len(self), min(self.config.queries, len(self)), self.seed)
        sizes = np.diff(self.indptr)[lists]
        indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        owner = np.repeat(np.arange(len(lists)), sizes)
        place = self.indptr[lists][owner] + np.arange(len(owner)) - indptr[owner]
        items, column = np.unique(self.shown.item_index[self.row[place]], return_inverse=True)
        at, chosen = (torch.from_numpy(owner), torch.from_numpy(column)), torch.from_numpy(self.shown.is_chosen[self.row[place]])
        weight, ends = torch.from_numpy(self.weight[place]), torch.from_numpy(indptr)

        def loss(scores: Tensor) -> Tensor:
            if self.config.loss == "list":
                return list_loss(scores[at], weight, ends)
            return pointwise_loss(scores[at] + self.bias, chosen, weight)

        of_shown = self.lists[lists]
        return Asked(
            Moments(self.shown.user_index[of_shown].astype(np.int64), self.start[of_shown], self.shown.age_days[of_shown]), items, loss
        )
