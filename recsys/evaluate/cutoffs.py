"""Several cutoffs together: each system's mean over all queries and its spread over cutoffs, and one system against each other one.

A user who asks at several cutoffs is one user: intervals draw users whole, and a p-value changes the sign of all that a user brings.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from recsys.errors import TableError
from recsys.evaluate.anchors import ORACLE
from recsys.evaluate.intervals import TIE, Figure, Paired, compare, summed
from recsys.evaluate.significance import holm, permutation_p
from recsys.evaluate.verdict import PAIRED, without_nan
from recsys.metrics import Floats

METRIC = "ndcg@10"
KEYS = ["user_id", "cutoff"]
NAN = float("nan")

PERMUTATIONS = 1_999
"""So the least p-value, .0005, stays below .05 when ten systems are asked about."""


@dataclass(frozen=True)
class Spread:
    """A figure over n_cutoffs cutoffs, each of which counts once: mean, lowest, highest, standard deviation (over n - 1; NaN of one)."""

    mean: float
    lowest: float
    highest: float
    sd: float
    n_cutoffs: int


@dataclass(frozen=True)
class Over:
    """A metric of one system: `figure` over all queries, each of which counts once, with its interval over users; and over cutoffs."""

    figure: Figure
    spread: Spread


@dataclass(frozen=True)
class Against:
    """The paired difference over all queries, in the cutoffs that have both systems: its interval over users, the p-value by user and
    that of Holm over all systems, the spread over cutoffs, and in how many of them the first was ahead and behind.
    """

    paired: Paired
    p: float
    p_holm: float
    spread: Spread
    won: int
    lost: int


@dataclass(frozen=True)
class Across:
    """What `across` found: system -> metric -> Over; one system against each other one in ndcg@10; users, and queries: users by cutoff."""

    systems: dict[str, dict[str, Over]]
    paired: list[Against]
    n_users: int
    n_queries: int

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: None where a figure is undefined, never NaN."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


def across(per_user: pl.DataFrame, a: str, bootstrap: int, seed: int) -> Across:
    """Put the cutoffs together. per_user: `Verdict.per_user` of each, with the column `cutoff` (any type that sorts).

    A system that only some cutoffs have is judged on those. A cutoff in which nobody is judged counts nowhere; nobody at all: no system.
    Raises TableError where two systems of a cutoff were not judged on the same users.
    """
    if per_user.is_empty():
        return Across({}, [], 0, 0)
    systems: dict[str, dict[str, Over]] = {}
    found: list[tuple[Paired, float, list[float]]] = []
    for cutoffs, names in _by_cutoffs(per_user).items():
        rows = per_user.filter(pl.col("cutoff").is_in(cutoffs))
        figures, pairs = _together(rows, a, names, bootstrap, seed)
        systems |= figures
        found += pairs
    adjusted = holm([p for _, p, _ in found])
    paired = [_against(*one, p_holm) for one, p_holm in zip(found, adjusted, strict=True)]
    asked = per_user.select(KEYS).unique()
    return Across(systems, paired, asked["user_id"].n_unique(), asked.height)


def spread(values: Sequence[float | None]) -> Spread:
    """Of the values that are defined, one a cutoff."""
    known = np.array([value for value in values if value is not None], np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return Spread(NAN, NAN, NAN, NAN, 0)
    sd = float(known.std(ddof=1)) if len(known) > 1 else NAN
    return Spread(float(known.mean()), float(known.min()), float(known.max()), sd, len(known))


def _by_cutoffs(per_user: pl.DataFrame) -> dict[tuple[Any, ...], list[str]]:
    """The systems by the cutoffs that have them."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for (system,), rows in per_user.sort("system").group_by("system", maintain_order=True):
        found.setdefault(tuple(rows["cutoff"].unique().sort()), []).append(str(system))
    return found


def _together(
    rows: pl.DataFrame, a: str, names: list[str], bootstrap: int, seed: int
) -> tuple[dict[str, dict[str, Over]], list[tuple[Paired, float, list[float]]]]:
    """Figures of the named systems, which all rows' cutoffs have; and of `a` against each: difference, p-value, differences by cutoff."""
    by_system = {name: rows.filter(pl.col("system") == name).sort(KEYS) for name in dict.fromkeys([a, *names])}
    keys = by_system[a].select(KEYS)
    _refuse_others(by_system, keys)
    user = keys["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
    per_row = {name: {metric: frame[metric].to_numpy() for metric in PAIRED} for name, frame in by_system.items()}
    figures, pairs = compare(per_row, a, (METRIC,), bootstrap, seed, user)
    systems = {
        name: {metric: Over(figures[name][metric], spread(_by_cutoff(keys, per_row[name][metric]))) for metric in PAIRED} for name in names
    }
    found = []
    for pair in (one for one in pairs if one.b != ORACLE):  # which no order of the same candidates beats
        differences = per_row[a][METRIC] - per_row[pair.b][METRIC]
        p = permutation_p(summed(differences, user), PERMUTATIONS, seed)
        found.append((pair, p, _by_cutoff(keys, differences)))
    return systems, found


def _refuse_others(by_system: dict[str, pl.DataFrame], keys: pl.DataFrame) -> None:
    others = [name for name, frame in by_system.items() if not frame.select(KEYS).equals(keys)]
    if others:
        raise TableError(f"cutoffs: not judged on the same users as the others: {', '.join(others)}. Judge these cutoffs again.")


def _by_cutoff(keys: pl.DataFrame, values: Floats) -> list[float]:
    """The mean of each cutoff, in order of time."""
    return keys.with_columns(value=values).group_by("cutoff").agg(pl.col("value").mean()).sort("cutoff")["value"].to_list()


def _against(paired: Paired, p: float, by_cutoff: list[float], p_holm: float) -> Against:
    won, lost = (sum(sign * difference > TIE for difference in by_cutoff) for sign in (1, -1))
    return Against(paired, p, p_holm, spread(by_cutoff), won, lost)
