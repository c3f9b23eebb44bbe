"""Scores to chances: a logistic model of the score and of the user, and over it an isotonic curve; within a user the order stays.

A LambdaMART score means something within its user alone, so the score alone cannot be calibrated. What makes it comparable is what is
known of the user. A term of the item would do so too, and would reorder lists: there is none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from recsys.blocks import Bools, Index
from recsys.errors import ArtefactError, TableError

Doubles = NDArray[np.float64]

KINDS = ("click", "purchase")
"""What there is a chance of."""

USER_FEATURES = ("user_likes_28d", "user_days_90d", "user_purchases_90d", "user_since_last")
"""What is known of a user's habit, as logarithms of one more than it."""

NEVER_DAYS = 3650.0
"""`user_since_last` of who never liked anything."""

USER_TERMS = ("score_mean", *USER_FEATURES)
FEWEST = 50
"""Candidates that it happened to, and that it did not, below which there is no chance: a curve of fewer would be luck."""

KNOT_POSITIVES = 20
"""Candidates that it happened to, at least, behind each knot of the curve."""

MOST_KNOTS = 100
RIDGE = 1.0
"""Strength of the normal prior of the weights, those of the scores in their own spread: scikit-learn's C = 1."""

ROWS_AT_ONCE = 262_144
NEWTON_STEPS = 50


@dataclass(frozen=True)
class Rows:
    """Scored candidates: user (r,) row of `of_user`, score (r,), of_user (n_users, 5) float64 the USER_TERMS."""

    user: Index
    score: Doubles
    of_user: Doubles

    @classmethod
    def of(cls, user: Index, score: Doubles, habits: Mapping[str, NDArray[Any]]) -> "Rows":
        """habits: USER_FEATURES of each user (n_users,), NaN where missing. The mean is that of the user's scores given here."""
        n_users = len(habits[USER_FEATURES[0]])
        n = np.bincount(user, minlength=n_users)
        mean = np.bincount(user, score, n_users) / np.maximum(n, 1)
        filled = {name: np.nan_to_num(habits[name].astype(np.float64), nan=0.0) for name in USER_FEATURES}
        since = "user_since_last"
        filled[since] = np.where(np.isnan(habits[since].astype(np.float64)), NEVER_DAYS, filled[since])
        return cls(user, score, np.column_stack([mean, *(np.log1p(filled[name]) for name in USER_FEATURES)]))

    def where(self, kept: Bools) -> "Rows":
        """Some of the rows, with the user terms as they are."""
        return Rows(self.user[kept], self.score[kept], self.of_user)

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True)
class Curve:
    """Log odds of a row: knots_y at knots_x of (intercept + slope x score + user_weights . of_user), straight between the knots.

    slope >= 0; knots rising in x and y; beyond the first and the last knot with slope 1, as the logistic model goes on.
    """

    intercept: float
    slope: float
    user_weights: list[float]
    knots_x: list[float]
    knots_y: list[float]

    def chance(self, rows: Rows) -> NDArray[np.float32]:
        """(r,) chances; NaN where the score is. Of one user the higher score never has the lower chance."""
        odds = self.intercept + self.slope * rows.score + (rows.of_user @ np.array(self.user_weights))[rows.user]
        x, y = np.array(self.knots_x), np.array(self.knots_y)
        curved = np.interp(odds, x, y) + np.minimum(odds - x[0], 0) + np.maximum(odds - x[-1], 0)
        return logistic(curved).astype(np.float32)


@dataclass(frozen=True)
class Calibration:
    """The chances of a run that something happens within `days` of being among tonight's candidates: by task and kind its curve.

    absent: by task and kind why there is no curve.
    """

    days: int
    curves: dict[str, dict[str, Curve]] = field(default_factory=dict)
    absent: dict[str, dict[str, str]] = field(default_factory=dict)

    def chances(self, task: str, rows: Rows) -> dict[str, NDArray[np.float32]]:
        """kind -> (r,); NaN throughout where there is no curve."""
        curves = self.curves.get(task, {})
        nothing = np.full(len(rows), np.nan, np.float32)
        return {kind: curves[kind].chance(rows) if kind in curves else nothing for kind in KINDS}

    def why_absent(self, task: str, kind: str) -> str | None:
        """Why there is no chance of this kind; None where there is one."""
        return None if kind in self.curves.get(task, {}) else self.absent.get(task, {}).get(kind, "it was never fitted")

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    @classmethod
    def read(cls, record: dict[str, Any], where: str) -> "Calibration":
        """What `as_dict` gave. Raises ArtefactError, naming `where`, on anything else."""
        try:
            curves = {task: {kind: Curve(**one) for kind, one in by.items()} for task, by in record["curves"].items()}
            made = cls(int(record["days"]), curves, record["absent"])
            knots = [np.array([one.knots_x, one.knots_y], float) for by in curves.values() for one in by.values()]
            terms = [np.array([one.intercept, one.slope, *one.user_weights], float) for by in curves.values() for one in by.values()]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtefactError(f"{where}: is no calibration ({error!r}). Train again.") from None
        is_sound = all(one.size and np.isfinite(one).all() and (np.diff(one) >= 0).all() for one in knots)
        if not is_sound or any(len(one) != 2 + len(USER_TERMS) or not np.isfinite(one).all() or one[1] < 0 for one in terms):
            raise ArtefactError(f"{where}: holds a curve that does not rise, or of other terms than this recsys has. Train again.")
        return made


def logistic(odds: Doubles) -> Doubles:
    """Probabilities of log odds, without an overflow."""
    return 0.5 * (1 + np.tanh(odds / 2))


def why_not(happened: Bools, kind: str) -> str | None:
    """Why no curve can be fitted to rows of which some `happened` (r,); None where one can."""
    n, n_rows = int(happened.sum()), len(happened)
    if not n:
        return f"none of {n_rows:,} candidates had a {kind}"
    if min(n, n_rows - n) < FEWEST:
        few = f"{n:,} of {n_rows:,} candidates had a {kind}"
        return f"only {few}, {FEWEST} are needed" if n < FEWEST else f"{few}: {FEWEST} without one are needed"
    return None


def fit(rows: Rows, happened: Bools) -> Curve:
    """The curve of rows of which some `happened` (r,), at least FEWEST on either side (`why_not`).

    Platt 1999 (the logistic model), Zadrozny and Elkan 2002 (the isotonic curve). Raises TableError where a score is no number.
    """
    unsound = ~np.isfinite(rows.score)
    if unsound.any():
        raise TableError(f"calibration: {int(unsound.sum())} of {len(rows)} scores are no number (first: row {int(unsound.argmax())}).")
    weights = _weights(rows, happened, with_score=True)
    if weights[1] <= 0:
        # Of a convex loss with slope >= 0 the best lies on the border then: the score tells nothing, and reorders nothing.
        weights = _weights(rows, happened, with_score=False)
    plain = Curve(float(weights[0]), float(weights[1]), [float(one) for one in weights[2:]], [0.0], [0.0])
    x, y = knots(plain.chance(rows).astype(np.float64), happened)
    return Curve(plain.intercept, plain.slope, plain.user_weights, x, y)


def knots(chance: Doubles, happened: Bools) -> tuple[list[float], list[float]]:
    """Log odds before and after, of chances (r,) of which some `happened` (r,): the mean chance of each pool of the isotonic regression,
    and its share that happened.

    It goes over blocks of rows of the same number of positives, equal chances never parted, each with one row more that happened as the
    logistic model says: no rate is 0 or 1.
    """
    order = np.argsort(chance, kind="stable")
    sorted_chance, sorted_happened = chance[order], happened[order].astype(np.float64)
    per_block = max(KNOT_POSITIVES, int(happened.sum()) // MOST_KNOTS)
    last = max(int(happened.sum()) // per_block - 1, 0)
    block = np.minimum((np.cumsum(sorted_happened) - sorted_happened).astype(np.int64) // per_block, last)
    block = block[np.searchsorted(sorted_chance, sorted_chance, "left")]
    n, positives, expected = (np.bincount(block, one, last + 1) for one in (np.ones(len(block)), sorted_happened, sorted_chance))
    n, positives, expected = (one[n > 0] for one in (n, positives, expected))
    found = isotonic_regression((positives + expected / n) / (n + 1), weights=n + 1)
    first = found.blocks[:-1]
    means = np.add.reduceat(expected, first) / np.add.reduceat(n, first)
    rates = found.x[first]
    return [float(one) for one in _odds(means)], [float(one) for one in _odds(rates)]


def _odds(probability: Doubles) -> Doubles:
    tiny = np.finfo(np.float32).tiny
    inside = np.clip(probability, tiny, 1 - np.finfo(np.float64).epsneg)
    return np.log(inside) - np.log1p(-inside)


def _weights(rows: Rows, happened: Bools, with_score: bool) -> Doubles:
    """(2 + T,) intercept, slope of the score and weights of the user terms of the highest posterior, by Newton's method."""
    spread = float(rows.score.std())
    unit = np.ones(2 + len(USER_TERMS))
    unit[1:3] = spread or 1.0  # the score, and the mean of the user's scores
    used = np.ones(len(unit), bool)
    used[1] = with_score and spread > 0
    prior = np.r_[0.0, np.full(len(unit) - 1, RIDGE)][used]
    base = float(happened.mean())
    weights = np.zeros(int(used.sum()))
    weights[0] = np.log(base / (1 - base))
    loss, gradient, curvature = _posterior(rows, happened, weights, used, unit, prior)
    for _ in range(NEWTON_STEPS):
        step = np.linalg.solve(curvature, gradient)
        share = 1.0
        while share > 1e-6:
            tried = _posterior(rows, happened, weights - share * step, used, unit, prior)
            if tried[0] <= loss:
                break
            share /= 2
        weights = weights - share * step
        loss, gradient, curvature = tried
        if np.abs(share * step).max() < 1e-9 * (1 + np.abs(weights).max()):
            break
    found = np.zeros(len(unit))
    found[used] = weights
    return found / unit


def _posterior(rows: Rows, happened: Bools, weights: Doubles, used: Bools, unit: Doubles, prior: Doubles) -> tuple[float, Doubles, Doubles]:
    """Negative log posterior, its gradient and curvature, a bounded number of rows at a time."""
    loss, gradient, curvature = float(prior @ weights**2 / 2), prior * weights, np.diag(prior)
    for x, y in _blocks(rows, happened, used, unit):
        odds = x @ weights
        chance = logistic(odds)
        loss += float((np.logaddexp(0, odds) - y * odds).sum())
        gradient = gradient + x.T @ (chance - y)
        curvature = curvature + (x * (chance * (1 - chance))[:, None]).T @ x
    return loss, gradient, curvature


def _blocks(rows: Rows, happened: Bools, used: Bools, unit: Doubles) -> Iterator[tuple[Doubles, Doubles]]:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        user = rows.user[part]
        x = np.column_stack([np.ones(len(user)), rows.score[part], rows.of_user[user]]) / unit
        yield x[:, used], happened[part].astype(np.float64)
