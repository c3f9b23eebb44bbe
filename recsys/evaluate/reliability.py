"""How far chances are from what happened: expected calibration error, Brier score, log loss, the reliability curve, by slice."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from recsys.evaluate.intervals import PERCENTILES, bootstrap_means
from recsys.evaluate.verdict import without_nan
from recsys.metrics import Bools, Floats, Ints

N_BINS = 10
LEAST = 1e-9
"""A chance below this counts as this in the log loss: 0 for what then happened would be infinitely wrong."""


@dataclass(frozen=True)
class Bin:
    """Rows of neighbouring chances: how many, their mean chance, and the share that happened."""

    n: int
    predicted: float
    happened: float


@dataclass(frozen=True)
class Reliability:
    """Chances against what happened. NaN where undefined.

    n rows of n_users, n_positives of them happened; base_rate: their share; predicted: the mean chance; gap = predicted - base_rate with
    its 95 % bootstrap interval over users; ece; brier and log_loss with their skill: 1 - loss / loss of the base rate itself, known
    only afterwards; 0: no better than that one number, 1: certain and right.
    """

    n: int
    n_users: int
    n_positives: int
    base_rate: float
    predicted: float
    gap: float
    low: float
    high: float
    ece: float
    brier: float
    brier_skill: float
    log_loss: float
    log_loss_skill: float
    curve: list[Bin]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: None where a figure is undefined, never NaN."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


@dataclass(frozen=True)
class Sliced:
    """The reliability of the rows of one value of a slice."""

    slice: str
    value: str
    found: Reliability

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"slice": self.slice, "value": self.value, **self.found.as_dict()}


def bins(happened: Bools, chance: Floats, n_bins: int = N_BINS) -> list[Bin]:
    """Rows (n,) in order of their chance, cut into at most `n_bins` bins of equal size; equal chances are never parted.

    A bin is that of its chances' first row, so where many are equal there are fewer bins. Zero case: no row, no bin.
    Example, two bins: chances .1 .2 .8 .9, the last one happened: (2, .15, 0) and (2, .85, .5).
    """
    order = np.argsort(chance, kind="stable")
    sorted_chance = chance[order]
    first = np.searchsorted(sorted_chance, sorted_chance, "left")
    place = first * n_bins // max(len(chance), 1)
    n = np.bincount(place, minlength=n_bins)
    sums = [np.bincount(place, one, n_bins) for one in (sorted_chance, happened[order].astype(np.float64))]
    return [Bin(int(m), float(p / m), float(y / m)) for m, p, y in zip(n, *sums, strict=True) if m]


def ece(found: list[Bin]) -> float:
    """Expected calibration error: the mean over rows of |mean chance - share that happened| of their bin.

    Blind to what a bin mixes: a constant equal to the base rate has 0, and says nothing of anybody; read it beside a skill.
    Zero case: no row NaN. Example: the bins of `bins`: (2 x .15 + 2 x .35) / 4 = .25.
    Source: Naeini, Cooper and Hauskrecht 2015, with bins of equal mass (Nguyen and O'Connor 2015).
    """
    n = sum(one.n for one in found)
    return sum(one.n * abs(one.predicted - one.happened) for one in found) / n if n else float("nan")


def brier(happened: Bools, chance: Floats) -> float:
    """Mean squared difference of chance and what happened (0 or 1). Zero case: no row NaN. Example: .8 for what happened: .04.

    Source: Brier 1950, one class of the two.
    """
    return _mean((chance - happened) ** 2)


def log_loss(happened: Bools, chance: Floats) -> float:
    """Mean of -ln of the chance given to what happened or not, chances held within [1e-9, 1 - 1e-9].

    Zero case: no row NaN. Example: .8 for what happened: .2231. Source: Good 1952.
    """
    inside = np.clip(chance, LEAST, 1 - LEAST)
    return _mean(-np.where(happened, np.log(inside), np.log1p(-inside)))


def reliability(happened: Bools, chance: Floats, user: Ints, bootstrap: int, seed: int) -> Reliability:
    """Chances (n,) of rows of `user` (n,) against what `happened` (n,)."""
    n, rate, predicted = len(chance), _mean(happened), _mean(chance)
    curve, constant = bins(happened, chance), np.full(n, rate)
    of_brier, of_log = brier(happened, chance), log_loss(happened, chance)
    users, index = np.unique(user, return_inverse=True)
    low, high = _interval(index, len(users), chance - happened, bootstrap, seed)
    return Reliability(
        n=n,
        n_users=len(users),
        n_positives=int(happened.sum()),
        base_rate=rate,
        predicted=predicted,
        gap=predicted - rate,
        low=low,
        high=high,
        ece=ece(curve),
        brier=of_brier,
        brier_skill=_skill(of_brier, brier(happened, constant)),
        log_loss=of_log,
        log_loss_skill=_skill(of_log, log_loss(happened, constant)),
        curve=curve,
    )


def sliced(
    happened: Bools, chance: Floats, user: Ints, slices: Mapping[str, tuple[Sequence[str], Ints]], bootstrap: int, seed: int
) -> list[Sliced]:
    """The reliability within every value that a row has of every slice: its values, and the place among them of each row (n,)."""
    found = []
    for name, (values, place) in slices.items():
        for number in np.unique(place):
            kept = place == number
            found.append(Sliced(name, values[number], reliability(happened[kept], chance[kept], user[kept], bootstrap, seed)))
    return found


def _mean(values: Floats | Bools) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _skill(loss: float, of_base_rate: float) -> float:
    """NaN where the base rate is 0 or 1: what cannot be told apart needs no skill."""
    return 1 - loss / of_base_rate if of_base_rate > LEAST else float("nan")


def _interval(user: Ints, n_users: int, gap: Floats, bootstrap: int, seed: int) -> tuple[float, float]:
    """The 95 % interval of the mean gap: users are drawn, with all of their rows."""
    if not n_users:
        return float("nan"), float("nan")
    sums = np.bincount(user, gap, n_users), np.bincount(user, minlength=n_users)
    columns = dict(zip(("gap", "n"), (one.astype(np.float64) for one in sums), strict=True))
    means = bootstrap_means(columns, bootstrap, seed)
    low, high = np.percentile(means["gap"] / means["n"], PERCENTILES)
    return float(low), float(high)
