"""What a text training is asked by, and what it chose."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recsys.blocks import Bools, Floats, History, top_k
from recsys.metrics import ndcg
from recsys.text.distil import Distilled

CHECK_DEPTH = 100
"""The text window's own validation is ndcg at this cutoff: deep, because the first ten places of one model alone are noisy."""

OnCheck = Callable[[dict[str, Any]], None]
"""Hears of each check, as a row of the learning curve; what it raises ends the training and passes."""


@dataclass(frozen=True)
class Question:
    """The text window's own validation: histories as of its start, the items liked afterwards, unseen by then, and the shown catalogue.

    truth: bool (n_users, n_items); shown: bool (n_users, n_items), what may be listed for each.
    """

    history: History
    truth: Bools
    shown: Bools


@dataclass
class Fitted:
    """What training chose: steps of each phase, and the learning curve (phase, step, loss, ndcg on the text window's validation).

    gain: what a cosine to recent choices adds to the blend. stopped: why it ended before its time, if it did. distilled: the student
    against its teacher, where there is one and it was judged. classification: how well the model tells chosen from ignored before and
    after training, where something was shown. blend_seconds, distil_seconds: what the blend and the student took.
    """

    warm_steps: int = 0
    steps: int = 0
    blend_steps: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    gain: float = 0.0
    stopped: str = ""
    distilled: Distilled | None = None
    classification: dict[str, Any] | None = None
    blend_seconds: float = field(default=0.0, compare=False)
    distil_seconds: float = field(default=0.0, compare=False)


def check_ndcg(scores: Floats, truth: Bools) -> float:
    """Mean ndcg at CHECK_DEPTH of scores (n_users, n_items), -inf where masked, against truth of that shape."""
    best, _ = top_k(scores, CHECK_DEPTH)
    hits = np.take_along_axis(truth, np.maximum(best, 0), axis=1) & (best >= 0)
    return float(np.mean(ndcg(hits, truth.sum(axis=1))))
