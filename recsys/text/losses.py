"""The losses of the text model: pure functions of scores, each a weighted mean, and the hard negatives of the softmax.

| `text.loss` | function | over |
| --- | --- | --- |
| `softmax` | `softmax_loss` | the whole catalogue, or the step's part of it: needs likes alone |
| `pointwise` | `pointwise_loss` | each item shown, chosen or ignored: needs impressions |
| `list` | `list_loss` | the items of one request against each other: needs impressions |

A score is `scale * <user, item>` of unit vectors.
"""

from dataclasses import replace

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from recsys.blocks import Bools, Floats, Index, top_k
from recsys.text.visits import Step

ABSENT = 1e9
"""Log inclusion of an item that is in a step for the sake of another visit alone: it leaves the sum. Finite, so that gradients are."""


def softmax_loss(scores: Tensor, step: Step, barred: Tensor) -> Tensor:
    """Sampled softmax: for a positive i of visit u among the step's items S, drawn with inclusion probability P,

        loss = - log( e^{s_ui} / (e^{s_ui} + sum over j in S, j not barred for u, of e^{s_uj} / P(j in S)) )

    and the weighted mean of it over the step's pairs. The sum is the Horvitz-Thompson estimate of the full catalogue's partition
    function; with every item in S it is the full softmax.

    scores (b, s); step: its pairs and log inclusion, (s,) or one row a visit (b, s); barred (b, s) bool: never negatives of u, who
    likes their text or could not have had them then. Use it always: it needs no impressions, and its gradient is largest on the
    hardest negatives.
    Example: scores 2, 1, 0, positive the first, inclusion 1, 1/2, 1/2: log(e^2 + 2 e^1 + 2 e^0) - 2 = 0.6964.
    Source: Bengio and Senécal 2008; Yi et al., Sampling-bias-corrected neural modeling, RecSys 2019.
    """
    weighted = scores - torch.from_numpy(step.log_inclusion).to(scores)
    negatives = torch.logsumexp(weighted.masked_fill(barred, -1e9), dim=1)
    positive = scores[torch.from_numpy(step.pair_visit), torch.from_numpy(step.pair_item)]
    total = torch.logaddexp(positive, negatives[torch.from_numpy(step.pair_visit)])
    return _weighted_mean(total - positive, torch.from_numpy(step.pair_weight).to(scores))


def pointwise_loss(logits: Tensor, chosen: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the binary cross-entropy with logits, log(1 + e^{-z}) of a chosen and log(1 + e^{z}) of an ignored item.

    logits (n,): the score plus one learned bias, without which a model of unit vectors cannot say that most of what is shown is
    ignored (start it at `log_odds`; it changes no order); chosen (n,) bool: clicked, carted or bought; weight (n,) >= 0: of the
    event type, 1 where ignored, times inverse exposure and time decay. All weights 0: the loss is 0.
    Use it where a calibrated chance of a choice is wanted, or where lists are unknown or hold one item.
    Example: logits 0, 0, ln 3, the first chosen, weights 1, 1, 2: (ln 2 + ln 2 + 2 ln 4) / 4 = 1.0397.
    Source: weighted logistic regression of Covington, Adams and Sargin, RecSys 2016.
    """
    each = functional.binary_cross_entropy_with_logits(logits, chosen.to(logits), reduction="none")
    return _weighted_mean(each, weight.to(logits))


def log_odds(chosen: Bools, weight: Floats) -> float:
    """ln(weight of the chosen / weight of the ignored): the bias at which a model that knows nothing else has the least pointwise loss.

    chosen, weight (n,), each side with some weight. Example: one chosen of weight 1, three ignored of weight 1: ln(1/3) = -1.0986.
    """
    return float(np.log(weight[chosen].sum(dtype=np.float64)) - np.log(weight[~chosen].sum(dtype=np.float64)))


def list_loss(scores: Tensor, weight: Tensor, indptr: Tensor) -> Tensor:
    """Softmax within a list: for a chosen item i of list L, shown together,

        loss = - log( e^{s_i} / sum over j in L of e^{s_j} )

    and the weighted mean of it over the chosen items. With one choice a list it is the conditional logit; with weights that sum to 1
    in each list it is ListNet's top-one loss.

    scores (n,), rows of a list contiguous; weight (n,) >= 0: of what was done with the item, 0 where it was ignored (times time decay
    and inverse exposure); indptr (m + 1,) int64, every list at least one row. A list without a choice, or of one item, adds no
    gradient; no choice at all: 0. Use it for the order within a page: what all items of a list share, such as the user's mood and the
    moment, cancels out.
    Example: lists (2, 1, 0) with the first chosen at weight 1 and (0, 0) with the second at weight 3:
    (0.4076 + 3 ln 2) / 4 = 0.6218.
    Source: McFadden 1974; Cao et al., Learning to rank: from pairwise to listwise approach, ICML 2007.
    """
    n_lists = len(indptr) - 1
    place = torch.repeat_interleave(torch.arange(n_lists, device=scores.device), indptr.diff())
    highest = scores.new_full((n_lists,), -torch.inf).scatter_reduce(0, place, scores.detach(), "amax")
    shifted = scores - highest[place]
    log_sum = scores.new_zeros(n_lists).index_add(0, place, shifted.exp()).log()
    return _weighted_mean(log_sum[place] - shifted, weight.to(scores))


def hard_negatives(cosines: Tensor, positive_cosines: Tensor, liked: Tensor, n: int, margin: float) -> Index:
    """(b, n) int32: each visit's `n` highest items with cosine <= its positive's - `margin`, highest first; -1 where there are no more.

    Ties go to the lower index; n above m gives m columns.
    cosines (b, m) of users and all m items of the catalogue, by the current model, without gradient; positive_cosines (b,), the
    lowest positive's where a visit has several; liked (b, m) bool: never negatives. What scores above the line is left out because it
    is more likely a positive that nobody has seen yet than a negative.
    Mine in the whole catalogue: an item that is there by the chance of a step is no certain negative (see `with_own_negatives`).
    Example: cosines .9 .86 .8 .7 .8 with the positive at .9 and margin .05, n = 2: items 2 and 4.
    Source: TopK-MarginPos of Moreira et al., NV-Retriever, 2024; `mine_hard_negatives(absolute_margin)` of sentence-transformers.
    """
    allowed = ~liked & (cosines <= positive_cosines[:, None] - margin)
    ranked = cosines.detach().masked_fill(~allowed, -torch.inf).float().cpu().numpy()
    return top_k(ranked, n)[0]


def of_items(index: Index, n_items: int) -> sparse.csr_array:
    """Sparse (b, n_items) bool out of item_index (b, n), -1 for none."""
    row, column = np.nonzero(index >= 0)
    return sparse.csr_array((np.ones(len(row), bool), (row, index[row, column])), shape=(len(index), n_items))


def with_own_negatives(step: Step, own: sparse.csr_array) -> Step:
    """The step with each visit's own negatives among its items, and one row of log inclusion a visit.

    own (b, n_items) bool: mined hard negatives, disliked items. They join the softmax, as in DPR, ANCE and NV-Retriever, and need no
    second loss: for their own visit they are there with certainty (log inclusion 0, the items drawn stand for the rest of the
    catalogue), for every other visit they count as drawn or, where they were not, not at all. So the sum stays an unbiased estimate,
    of less variance, because its largest terms are known. Where the step has the whole catalogue nothing changes.
    """
    items = np.union1d(step.items, own.indices).astype(np.int32)
    drawn = np.full(len(items), ABSENT, np.float32)
    drawn[np.searchsorted(items, step.items)] = step.log_inclusion
    log_inclusion = np.where(own[:, items].toarray(), np.float32(0), drawn)
    pair_item = np.searchsorted(items, step.items[step.pair_item])
    return replace(step, items=items, pair_item=pair_item, log_inclusion=log_inclusion)


def _weighted_mean(each: Tensor, weight: Tensor) -> Tensor:
    return (each * weight).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
