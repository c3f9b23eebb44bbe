"""What alone predicts too well: a single feature that tells what is chosen in a window.

Honest knowledge of the past is not that good: the strongest feature ranks what a user chooses next above their other candidates in some
seven of ten pairs (docs/leaks.md). What reaches nineteen of twenty has seen the answer.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import features, metrics, timeline
from recsys.blocks import Catalogue
from recsys.config_tables import Check
from recsys.ingest import CheckResult
from recsys.pipeline.leaks.asof import Looked
from recsys.pipeline.leaks.found import FEWEST, beyond, found, unjudged

NAME = "features alone"


@dataclass(frozen=True)
class Alone:
    """One feature by itself: the mean over users of its AUC, in whichever direction is better, and the share of rows that have it."""

    feature: str
    auc: float
    coverage: float


def features_alone(part: Looked, catalogue: Catalogue, events: pl.DataFrame, labels: dict[str, int], limits: Check) -> CheckResult:
    """Every feature, on the candidates as of the window's start: label > 0 against none, among the candidates of one user."""
    frame, is_chosen, user = _rows(part, catalogue, timeline.truth(events, part.window, labels))
    judged = metrics.grouped_auc(is_chosen, np.zeros(len(user)), user)
    n_users = int((~np.isnan(judged)).sum())
    if n_users < FEWEST:
        return unjudged(NAME, f"only {n_users} users chose one of their candidates in {part.window.name}, {FEWEST} are needed")
    every = sorted((_alone(frame[name], is_chosen, user) for name in frame.columns), key=lambda one: (-one.auc, one.feature))
    strong = [one for one in every if beyond(one.auc, limits.leak_auc) != "PASS"]
    n_missing = sum(one.coverage == 0 for one in every)
    message = (
        f"of {len(every)} features as of {part.window.start:%Y-%m-%d}, {n_users:,} users who chose in {part.window.name}, the strongest is "
        f"{every[0].feature}, AUC {every[0].auc:.3f}; {n_missing} are missing throughout"
    )
    hint = ". What feeds it knows the window" if strong else ""
    examples = [
        f"{one.feature}: AUC {one.auc:.3f}, in {one.coverage:.0%} of the rows: {features.meanings()[one.feature]}" for one in strong
    ]
    return found(NAME, beyond(every[0].auc, limits.leak_auc), len(strong), message + hint, examples)


def _rows(part: Looked, catalogue: Catalogue, truth: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    frames, chosen, users, n_before = [], [], [], 0
    for chunk in part.made:
        user_ids, pool = chunk.block.history.user_ids, chunk.pool
        keys = pl.DataFrame({"user_id": user_ids.gather(pool.user), "item_id": catalogue.ids(pool.item)})
        label = keys.join(truth, on=["user_id", "item_id"], how="left", maintain_order="left")["label"]
        frames.append(chunk.frame)
        chosen.append(label.is_not_null().to_numpy())
        users.append(pool.user.astype(np.int64) + n_before)
        n_before += len(user_ids)
    nothing = pl.DataFrame(schema=dict.fromkeys(features.names(), pl.Float32))
    return pl.concat([nothing, *frames]), np.concatenate([np.zeros(0, bool), *chosen]), np.concatenate([np.zeros(0, np.int64), *users])


def _alone(values: pl.Series, is_chosen: np.ndarray, user: np.ndarray) -> Alone:
    coverage = 1 - values.null_count() / len(values)
    return Alone(values.name, max(strength(_mean_auc(is_chosen, filled, user)) for filled in both_ends(values)), coverage)


def _mean_auc(is_chosen: np.ndarray, values: NDArray[np.float64], user: np.ndarray) -> float:
    return float(np.nanmean(metrics.grouped_auc(is_chosen, values, user)))


def strength(auc: float) -> float:
    """The AUC in the better of the two directions: 0.5 to 1."""
    return max(auc, 1 - auc)


def both_ends(values: pl.Series) -> list[NDArray[np.float64]]:
    """The values (n,) with the missing ones at the lower end, and at the upper: a tree may send them either way."""
    numbers = values.cast(pl.Float64)
    return [numbers.fill_null(end).to_numpy() for end in ((-np.inf, np.inf) if values.null_count() else (0.0,))]
