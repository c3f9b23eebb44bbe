"""What a figure is worth on this data: what chance reaches, what popularity does, and what no order of the candidates could exceed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from recsys.blocks import Floats
from recsys.evaluate.intervals import Figure
from recsys.evaluate.verdict import without_nan

RANDOM, ORACLE = ANCHORS = ("random", "oracle")
"""Systems that nobody would serve: the eligible catalogue in random order, and the candidates with what was relevant first."""

FLOOR = "popularity"
METRIC = "ndcg@10"


@dataclass(frozen=True)
class Anchors:
    """ndcg@10 of the judged system, of the two anchors and of popularity; NaN where nobody is judged.

    way: how far the judged system is from popularity (0) to the oracle (1); below 0 under popularity, NaN where the oracle is not above it.
    """

    value: float
    random: float
    popularity: float
    oracle: float
    way: float

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: None where a figure is undefined, never NaN."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


def anchors_of(systems: Mapping[str, Mapping[str, Figure]], judged: str) -> Anchors:
    """The anchors of a verdict, for the system `judged`. Example: .34 between popularity .14 and the oracle .64: .40 of the way."""
    value, chance, popularity, oracle = (systems[name][METRIC].value for name in (judged, RANDOM, FLOOR, ORACLE))
    room = oracle - popularity
    return Anchors(value, chance, popularity, oracle, (value - popularity) / room if room > 0 else float("nan"))


def random_scores(seed: int, first: int, n_users: int, n_items: int) -> Floats:
    """(n_users, n_items) float32, uniform: of the users from place `first` on, so that blocks of any size draw the same."""
    width = n_items + n_items % 2  # one draw of the generator gives two of these numbers
    generator = np.random.PCG64(seed)
    generator.advance(first * width // 2)
    scores: Floats = np.random.Generator(generator).random((n_users, width), dtype=np.float32)[:, :n_items]
    return scores
