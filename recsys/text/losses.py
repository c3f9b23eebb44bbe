"""The losses of text training."""

import torch
from torch import Tensor

from recsys.text.visits import Step


def softmax_loss(scores: Tensor, step: Step, liked: Tensor) -> Tensor:
    """The loss of the module's head: scores (b, s), liked (b, s) bool: items whose text the user likes. Weighted mean over pairs."""
    weighted = scores - torch.from_numpy(step.log_inclusion)
    negatives = torch.logsumexp(weighted.masked_fill(liked, -1e9), dim=1)
    positive = scores[torch.from_numpy(step.pair_visit), torch.from_numpy(step.pair_item)]
    total = torch.logaddexp(positive, negatives[torch.from_numpy(step.pair_visit)])
    weight = torch.from_numpy(step.pair_weight)
    return ((total - positive) * weight).sum() / weight.sum()
