"""The small trained part over the encoder: a projection of items to unit vectors, and a user as learned attention over their history."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys.schema import EVENT_TYPES

HEADS = 4
AGE_SCALES_DAYS = (1.0, 7.0, 30.0, 120.0)
START_SCALE = 14.0
"""A temperature of about 0.07, where contrastive training of unit vectors usually settles."""


class Tower(nn.Module):
    """Items: `unit(P pooled)`. Users: `unit(sum over heads of O_h sum over history of a_hk g_k v_k)`.

    v_k is the unit vector of the k-th interaction's item, g a learned gate by event type (returns start at 0), a_h a softmax
    over the history of a small network that sees v_k, the event type, its weight and its age. Score = scale * <user, item>.
    It starts as the plain mean of the history over the encoder's own vectors, so that training can only depart from that
    baseline where the clicks and purchases say so.
    """

    def __init__(self, hidden: int, dim: int) -> None:
        super().__init__()
        self.dim = dim or hidden
        self.projection = nn.Linear(hidden, self.dim, bias=False)
        nn.init.eye_(self.projection.weight) if self.dim == hidden else nn.init.orthogonal_(self.projection.weight)
        self.attention = nn.Sequential(
            nn.Linear(self.dim + len(EVENT_TYPES) + len(AGE_SCALES_DAYS) + 2, 64), nn.Tanh(), nn.Linear(64, HEADS)
        )
        last = self.attention[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.gate = nn.Parameter(torch.tensor([0.0 if name in ("impression", "return") else 1.0 for name in EVENT_TYPES]))
        self.mix = nn.Parameter(torch.eye(self.dim).repeat(HEADS, 1, 1) / HEADS)
        self.newcomer = nn.Parameter(torch.zeros(self.dim))
        self.log_scale = nn.Parameter(torch.tensor(START_SCALE).log())

    @property
    def scale(self) -> Tensor:
        """The factor of the dot product, bounded by 100."""
        return self.log_scale.exp().clamp(max=100.0)

    def items(self, pooled: Tensor) -> Tensor:
        """Unit vectors (n, dim) of pooled vectors (n, hidden); a zero row (no text) stays zero."""
        return functional.normalize(self.projection(pooled), dim=-1)

    def users(self, vectors: Tensor, event_type: Tensor, age_days: Tensor, weight: Tensor, real: Tensor) -> Tensor:
        """Unit vectors (n, dim) of histories: vectors (n, l, dim); event_type, age_days, weight, real (n, l).

        A user without history, or with one that says nothing (items without text, returns alone), gets the learned `newcomer`
        vector (the mean item vector, until training moves it).
        """
        kind = functional.one_hot(event_type.long(), len(EVENT_TYPES)).to(vectors.dtype)
        ages = torch.stack([torch.exp(-age_days / scale) for scale in AGE_SCALES_DAYS] + [torch.log1p(age_days), weight], dim=-1)
        logits = self.attention(torch.cat([vectors, kind, ages], dim=-1)).masked_fill(~real[:, :, None], -1e9)
        share = torch.softmax(logits, dim=1) * real[:, :, None]
        gated = vectors * self.gate[event_type.long()][:, :, None]
        heads = torch.einsum("nlh,nld->nhd", share, gated)
        mixed = torch.einsum("nhd,hde->ne", heads, self.mix)
        known = (mixed != 0).any(dim=1, keepdim=True)
        return functional.normalize(torch.where(known, mixed, self.newcomer.expand_as(mixed)), dim=-1)
