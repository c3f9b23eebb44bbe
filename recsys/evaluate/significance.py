"""Is a paired difference more than luck: permutation p-values, their correction, the word for an interval, and how many users it takes."""

from collections.abc import Sequence
from math import ceil
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np

from recsys.evaluate.intervals import CELLS, TIE, Paired
from recsys.metrics import Floats

Decision = Literal["better", "worse", "tied", "undecided"]
DECISIONS: tuple[str, ...] = get_args(Decision)

LEVEL = 0.05
POWER = 0.8


def permutation_p(differences: Floats, permutations: int, seed: int) -> float:
    """Two-sided p-value (b + 1) / (permutations + 1) of a mean paired difference, differences (n,): one a user, or one a cluster of them.

    Were the two systems alike, each user's difference could as well have had the other sign: b counts the random choices of signs
    whose mean is at least as far from 0 as the one that was seen. Never 0, which no number of permutations could show.
    Where users have several rows each, give the sum over a user's rows: they change sign together, and as the number of rows is the same
    under any signs, the sums are as far from 0 as the mean over rows is. A mean a user would weigh users who asked once like all others.
    Zero cases: no user, or all tied: 1. Source: Fisher's sign-flip test; the + 1 of Phipson and Smyth 2010.
    """
    moved = differences[np.abs(differences) > TIE]  # a tie stays one under either sign
    seen, as_far = abs(moved.sum()) - TIE * max(len(moved), 1), 0
    rng = np.random.default_rng(seed)
    rows = max(1, CELLS // max(len(moved), 1))
    for start in range(0, permutations, rows):
        signs = rng.integers(0, 2, (min(rows, permutations - start), len(moved)), dtype=np.int8)
        # The sum under signs +-1 is twice that of those with a plus, less the sum of all.
        as_far += int((np.abs(2 * (signs @ moved) - moved.sum()) >= seen).sum())
    return (as_far + 1) / (permutations + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values made good for having asked so many questions: below a level, all such claims together hold at that level.

    In the order given. Example: .01, .04, .03: .03, .06, .06. Source: Holm 1979, step-down.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, least = [0.0] * len(p_values), 0.0
    for step, place in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - step) * p_values[place]))
        adjusted[place] = least
    return adjusted


def decision(pair: Paired, margin: float = 0.0) -> Decision:
    """Better or worse where the interval lies wholly on one side of 0; tied where it lies within `margin` of 0; else undecided.

    An interval that holds 0 and is wider than the margin has not shown that two systems are alike: with a margin of 0 only users
    who all tie are.
    """
    if pair.low > 0:
        return "better"
    if pair.high < 0:
        return "worse"
    return "tied" if -margin <= pair.low and pair.high <= margin else "undecided"


def users_needed(differences: Floats, effect: float) -> int:
    """Users (at least 2) that show a mean difference of `effect` at LEVEL with a chance of POWER, where users differ as these do.

    n = ((z(1 - LEVEL / 2) + z(POWER)) sd / effect)^2. Raises ValueError where effect is not above 0 or there are fewer than two users.
    Example: sd .25, effect .01: (2.8016 x 25)^2 = 4,906. Source: the normal approximation to the paired t-test.
    """
    if not effect > 0 or len(differences) < 2:
        raise ValueError(f"effect {effect} of {len(differences)} users: needs an effect above 0 and two users")
    return max(2, ceil((_reach() * float(np.std(differences, ddof=1)) / effect) ** 2))


def effect_seen(differences: Floats) -> float:
    """The mean difference that so many users, differing as these do, show at LEVEL with a chance of POWER; NaN of fewer than two."""
    if len(differences) < 2:
        return float("nan")
    return float(_reach() * np.std(differences, ddof=1) / np.sqrt(len(differences)))


def _reach() -> float:
    return NormalDist().inv_cdf(1 - LEVEL / 2) + NormalDist().inv_cdf(POWER)
