"""The small trained part over the encoder: a projection of items to unit vectors, and a user as learned attention over their history."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys.schema import EVENT_TYPES
from recsys.text.past import Past

HEADS = 4
AGE_SCALES_DAYS = (1.0, 7.0, 30.0, 120.0)
ORDER_SCALES = (1.0, 3.0, 10.0)
START_SCALE = 14.0
"""A temperature of about 0.07, where contrastive training of unit vectors usually settles."""

N_MARKS = len(EVENT_TYPES) + 1 + len(AGE_SCALES_DAYS) + len(ORDER_SCALES) + 4


class Tower(nn.Module):
    """Items: `unit(P pooled + e)`. Users: for each interest m, `unit(sum over heads of O_mh sum over history of a_mhk g_k v_k)`.

    v_k is the unit vector of the k-th latest interaction's item; g a learned gate by event type (returns start at 0); a_mh a softmax
    over the history of a small network that sees v_k, its event type and weight, its age, its place in the order and the time gap
    before it. What is older than the latest interactions comes as one more row, the mean of their vectors, whose gate starts
    at 0. e is a learned vector of an item's id, 0 for an item unknown in training; it exists in a blend alone (`n_ids`).
    Score = scale * max over m of <user_m, item> (several interests: Li et al. 2019, MIND).

    With one interest it starts as the plain mean of the latest interactions over the encoder's own vectors, so that training
    can only depart from that baseline where the clicks and purchases say so.
    """

    def __init__(self, hidden: int, dim: int, interests: int = 1, n_ids: int = 0) -> None:
        super().__init__()
        self.dim, self.interests, self.n_ids = dim or hidden, interests, n_ids
        self.projection = nn.Linear(hidden, self.dim, bias=False)
        nn.init.eye_(self.projection.weight) if self.dim == hidden else nn.init.orthogonal_(self.projection.weight)
        self.attention = nn.Sequential(nn.Linear(self.dim + N_MARKS, 64), nn.Tanh(), nn.Linear(64, interests * HEADS))
        # Interests that start alike would stay alike: only the best of them gets a gradient.
        nn.init.normal_(self.attention[-1].weight, std=0.0 if interests == 1 else 0.5)
        nn.init.zeros_(self.attention[-1].bias)
        self.gate = nn.Parameter(torch.tensor([0.0 if name in ("impression", "return") else 1.0 for name in EVENT_TYPES]))
        self.older_gate = nn.Parameter(torch.zeros(()))
        self.mix = nn.Parameter(torch.eye(self.dim).repeat(interests, HEADS, 1, 1) / HEADS)
        self.newcomer = nn.Parameter(torch.zeros(self.dim))
        self.log_scale = nn.Parameter(torch.tensor(START_SCALE).log())
        self.ids = nn.Parameter(torch.zeros(n_ids, self.dim))

    @property
    def scale(self) -> Tensor:
        """The factor of the dot product, bounded by 100."""
        return self.log_scale.exp().clamp(max=100.0)

    def items(self, pooled: Tensor, of_id: Tensor | None = None) -> Tensor:
        """Unit vectors (n, dim) of pooled vectors (n, hidden) and id vectors (n, dim); a row of zeros in both stays zero."""
        projected = self.projection(pooled)
        return functional.normalize(projected if of_id is None else projected + of_id, dim=-1)

    def users(self, vectors: Tensor, past: Past, older: Tensor) -> Tensor:
        """Unit vectors (n, interests, dim) of pasts: vectors (n, l, dim) of their items, older (n, dim) the summary's vectors.

        A user without history, or with one that says nothing (items without text, returns alone), gets the learned `newcomer`
        vector (the mean item vector, until training moves it).
        """
        rows = torch.cat([vectors, older[:, None]], dim=1)
        real = torch.from_numpy(np.concatenate([past.real, past.n_older[:, None] > 0], axis=1)).to(rows.device)
        logits = self.attention(torch.cat([rows, _marks(past).to(rows)], dim=-1)).masked_fill(~real[:, :, None], -1e9)
        share = torch.softmax(logits, dim=1) * real[:, :, None]
        gate = torch.cat([self.gate[torch.from_numpy(past.event_type).long()], self.older_gate.expand(len(rows), 1)], dim=1)
        heads = torch.einsum("nlh,nld->nhd", share, rows * gate[:, :, None])
        mixed = torch.einsum("nihd,ihde->nie", heads.unflatten(1, (self.interests, HEADS)), self.mix)
        known = (mixed != 0).any(dim=-1, keepdim=True)
        return functional.normalize(torch.where(known, mixed, self.newcomer.expand_as(mixed)), dim=-1)

    def score(self, users: Tensor, items: Tensor) -> Tensor:
        """(n, m): `scale * max over interests of <user, item>` of users (n, interests, dim) and items (m, dim)."""
        return self.scale * (users @ items.T).amax(dim=1)


def _marks(past: Past) -> Tensor:
    """What is known of each row of the history but its vector: (n, l + 1, N_MARKS), the summary's row last."""
    n, length = past.real.shape
    kind = np.concatenate([past.event_type, np.full((n, 1), len(EVENT_TYPES), np.int8)], axis=1)
    age = np.concatenate([past.age_days, past.older_days[:, None]], axis=1)
    gap = np.concatenate([past.gap_days, np.zeros((n, 1), np.float32)], axis=1)
    weight = np.concatenate([past.weight, np.ones((n, 1), np.float32)], axis=1)
    order = np.broadcast_to(np.arange(length + 1, dtype=np.float32), (n, length + 1)).copy()
    order[:, -1] += np.log1p(past.n_older)  # the summary stands behind the last place, further the more it holds
    plain = [np.eye(len(EVENT_TYPES) + 1, dtype=np.float32)[kind]]
    plain += [np.exp(-age / scale)[:, :, None] for scale in AGE_SCALES_DAYS] + [
        np.exp(-order / scale)[:, :, None] for scale in ORDER_SCALES
    ]
    plain += [x[:, :, None] for x in (np.log1p(age), np.log1p(order), np.log1p(gap), weight)]
    return torch.from_numpy(np.concatenate(plain, axis=-1).astype(np.float32))
