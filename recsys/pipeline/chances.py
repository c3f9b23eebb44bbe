"""The chances of a chunk's candidates, by the calibration that a run keeps: the same function in the past and tonight."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import calibration
from recsys.artefacts import Run
from recsys.blocks import Bools
from recsys.pipeline.snapshot import Chunk
from recsys.schema import CHANCES

Chances = dict[str, NDArray[np.float32]]
"""Column of RECOMMENDATIONS -> (r,), NaN where there is none."""

COLUMNS = dict(zip(calibration.KINDS, CHANCES, strict=True))
"""kind -> its column of RECOMMENDATIONS."""

RECORD = "calibration"


def kept(run: Run) -> calibration.Calibration | None:
    """The calibration of a run; None of a run that was trained before there was one. Raises ArtefactError where it is damaged."""
    if f"{RECORD}.json" not in run.manifest["digests"]:
        return None
    return calibration.Calibration.read(run.record(RECORD), f"run {run.run_id}, {RECORD}.json")


def why_absent(known: calibration.Calibration | None, task: str) -> dict[str, str]:
    """Column -> why it has no chance in lists of the task; of those that have one, nothing."""
    old = "the run was trained before there were chances: train again"
    whys = {COLUMNS[kind]: known.why_absent(task, kind) if known else old for kind in calibration.KINDS}
    return {column: why for column, why in whys.items() if why}


def listable(is_seen: Bools, task: str) -> Bools:
    """(r,): the candidates that a list of the task may hold, of which some the user had (r,)."""
    return ~is_seen if task == "new" else np.ones(len(is_seen), bool)


def habits_of(chunk: Chunk) -> dict[str, NDArray[np.float64]]:
    """The USER_FEATURES of a chunk's users (n_users,), NaN where missing, and for who has no candidate."""
    user, n_users = chunk.pool.user, chunk.block.history.n_users
    with_rows, first = np.unique(user, return_index=True)
    habits = {name: np.full(n_users, np.nan) for name in calibration.USER_FEATURES}
    for name, values in habits.items():
        values[with_rows] = chunk.frame[name].gather(first).cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return habits


def chances(known: calibration.Calibration | None, chunk: Chunk, score: NDArray[np.float64], task: str) -> Chances:
    """Of each candidate of a chunk; NaN where the task does not list it, and for who has no history: nobody like that was learned from."""
    found = {column: np.full(len(score), np.nan, np.float32) for column in COLUMNS.values()}
    if known is None:
        return found
    has_history = np.diff(chunk.block.history.indptr) > 0
    is_known = listable(chunk.pool.is_seen, task) & has_history[chunk.pool.user]
    rows = calibration.Rows.of(chunk.pool.user[is_known], score[is_known], habits_of(chunk))
    for kind, values in known.chances(task, rows).items():
        found[COLUMNS[kind]][is_known] = values
    return found
