"""Chances of a click and of a purchase: learned as of the valid window, judged as of the test window, learned again there for tonight.

Everybody with a history is asked, whether they then acted or not, as tonight everybody is ranked. The scores of a window come from a
ranker that never saw it: as of the valid window from the one of the folds alone, as of the test window from the one that is judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import calibration, evaluate, timeline
from recsys.blocks import Bools, Index
from recsys.calibration import KINDS, Calibration, Curve, Rows
from recsys.config import TASKS, Config
from recsys.pipeline import slicing
from recsys.pipeline import tables as tables_of
from recsys.pipeline.chances import habits_of, listable
from recsys.pipeline.job import Job
from recsys.pipeline.sides import Sides
from recsys.pipeline.snapshot import Chunk, Snapshot, chunks, snapshot
from recsys.pipeline.world import World
from recsys.ranker import Ranker
from recsys.schema import INTERACTIONS

MOST_ROWS = 4_000_000
"""Candidates looked at in one window: so many users are drawn that they cannot be more."""

MOST_USERS = 10_000
JUDGED, OF_FOLDS = "ranker", "ranker of the folds"
BASE_RATE, SCORE_ALONE = "base rate", "score alone, actors"
N_DECILES = 10
LISTED = f"places 1 to {evaluate.K}"

Slices = dict[str, tuple[list[str], NDArray[np.int64]]]
"""slice -> its values, and the place among them of each row (r,)."""


@dataclass(frozen=True)
class Asked:
    """Candidates of drawn users as of a moment, and what happened in the days after it.

    users (n,) sorted; habits: USER_FEATURES (n,); is_active (n,): did anything in the days. user, item (r,) rows of `users` and of the
    catalogue; is_seen (r,): had the user the item; score: by system (r,); happened: by kind (r,).
    """

    users: pl.Series
    habits: dict[str, NDArray[np.float64]]
    is_active: Bools
    user: Index
    item: Index
    is_seen: Bools
    score: dict[str, NDArray[np.float64]]
    happened: dict[str, Bools]

    def of_task(self, task: str) -> "Asked":
        """The candidates that a list of the task may hold."""
        return self._where(listable(self.is_seen, task))

    @cached_property
    def of_active(self) -> "Asked":
        """The candidates of those who then acted."""
        return self._where(self.is_active[self.user])

    def rows(self, system: str, is_alone: bool = False) -> Rows:
        """As a calibration takes them. is_alone: the score alone, nothing known of the user."""
        rows = Rows.of(self.user, self.score[system], self.habits)
        return replace(rows, of_user=np.zeros_like(rows.of_user)) if is_alone else rows

    def _where(self, kept: Bools) -> "Asked":
        return replace(
            self,
            user=self.user[kept],
            item=self.item[kept],
            is_seen=self.is_seen[kept],
            score={system: values[kept] for system, values in self.score.items()},
            happened={kind: values[kept] for kind, values in self.happened.items()},
        )


@dataclass(frozen=True)
class Calibrated:
    """The calibration that the test window judges, the one of tonight, and what was found, ready for JSON."""

    judged: Calibration
    tonight: Calibration
    found: dict[str, Any]


def calibrate(
    job: Job, world: World, sides: Sides, ledger: timeline.Ledger, of_folds: Ranker, judged: Ranker, known: Snapshot
) -> Calibrated:
    """Learn as of the valid window, judge as of the test window, whose start is that of `known`, and learn again there."""
    earlier = asked_of(job, world, _as_of(job, world, sides, ledger), {JUDGED: of_folds})
    later = asked_of(job, world, known, {JUDGED: judged, OF_FOLDS: of_folds})
    with job.clock.stage("evaluate"):
        of_valid = learned(job.config, earlier)
        tasks = {task: _task_entry(job, world, known, earlier.of_task(task), later.of_task(task), of_valid, task) for task in TASKS}
        n_users = {"learned": len(earlier.users), "judged": len(later.users)}
        return Calibrated(of_valid, learned(job.config, later), {"days": of_valid.days, "n_users": n_users, "tasks": tasks})


def days_of(config: Config) -> int:
    """The days that a chance is of: those of the shorter window, so that it is judged on what it was learned for."""
    return min(config.time.valid_days, config.time.test_days)


def learned(config: Config, asked: Asked) -> Calibration:
    """The curves of every task and kind."""
    made = Calibration(days_of(config), {task: {} for task in TASKS}, {task: {} for task in TASKS})
    for task in TASKS:
        of_task = asked.of_task(task)
        for kind in KINDS:
            curve = _curve(of_task, kind)
            if isinstance(curve, str):
                made.absent[task][kind] = curve
            else:
                made.curves[task][kind] = curve
    return made


def _curve(asked: Asked, kind: str, is_alone: bool = False) -> Curve | str:
    """The curve of a kind, or why there is none."""
    why = calibration.why_not(asked.happened[kind], kind)
    return why or calibration.fit(asked.rows(JUDGED, is_alone), asked.happened[kind])


def _as_of(job: Job, world: World, sides: Sides, ledger: timeline.Ledger) -> Snapshot:
    """What was known at the start of the valid window."""
    window, side = ledger.valid, sides[len(ledger.folds)]
    assert window is not None
    given = (side, job.config, world.catalogue.categories, job.threads, job.clock)
    return snapshot(world.events, world.catalogue, window.start, window.end, *given)


def asked_of(job: Job, world: World, known: Snapshot, rankers: Mapping[str, Ranker]) -> Asked:
    """Users drawn from everybody with a history, their candidates scored by every ranker, and what they then did."""
    users, parts, done = _drawn(job, world, known), [], 0
    for chunk in chunks(known, world.events, users, job.clock):
        with job.clock.stage("evaluate"):
            parts.append(_scored(chunk, rankers, done))
        done += chunk.block.history.n_users
        job.display.progress("asking for chances", done, len(users))
    with job.clock.stage("evaluate"):
        window = timeline.Window("chances", known.as_of, known.as_of + timedelta(days=days_of(job.config)))
        return _then(users, parts, window.of(world.events).collect(), world)


def _drawn(job: Job, world: World, known: Snapshot) -> pl.Series:
    """A seeded draw without regard to what they did later, sorted."""
    everybody = tables_of.users_before(world.events, known.as_of)
    most = min(MOST_USERS, max(1, MOST_ROWS // (job.config.candidates.per_source * len(known.sources))))
    places = np.random.default_rng(job.config.project.seed).permutation(len(everybody))[:most]
    return everybody.gather(np.sort(places))


def _scored(chunk: Chunk, rankers: Mapping[str, Ranker], first: int) -> dict[str, NDArray[Any]]:
    pool = chunk.pool
    scores = {f"score {system}": ranker.score(chunk.frame, chunk.told) for system, ranker in rankers.items()}
    return {"user": pool.user + np.int32(first), "item": pool.item, "is_seen": pool.is_seen, **scores, **habits_of(chunk)}


def _then(users: pl.Series, parts: list[dict[str, NDArray[Any]]], inside: pl.DataFrame, world: World) -> Asked:
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    habits = {name: whole[name] for name in calibration.USER_FEATURES}
    score = {name.removeprefix("score "): values for name, values in whole.items() if name.startswith("score ")}
    active = inside.filter(pl.col("event_type").is_in(INTERACTIONS))["user_id"]
    keys = pl.DataFrame({"user_id": users.gather(whole["user"]), "item_id": world.catalogue.ids(whole["item"])})
    happened = {kind: _happened(keys, inside, kind) for kind in KINDS}
    is_active = users.is_in(active.implode()).to_numpy()
    return Asked(users, habits, is_active, whole["user"], whole["item"], whole["is_seen"], score, happened)


def _happened(keys: pl.DataFrame, inside: pl.DataFrame, kind: str) -> Bools:
    """(r,): an event of the kind by the user on the item; what was returned in the same days was not bought."""
    pairs = inside.filter(pl.col("event_type") == kind).select("user_id", "item_id").unique()
    if kind == "purchase":
        pairs = pairs.join(inside.filter(pl.col("event_type") == "return"), on=["user_id", "item_id"], how="anti")
    found = keys.join(pairs.with_columns(is_so=True), on=["user_id", "item_id"], how="left", maintain_order="left")
    return found["is_so"].fill_null(False).to_numpy()


def _task_entry(job: Job, world: World, known: Snapshot, earlier: Asked, later: Asked, of_valid: Calibration, task: str) -> dict[str, Any]:
    """By kind: how well what was learned earlier holds later, beside what simpler ways would have said; or why there is nothing."""
    slices = _slices(world, known, later)
    curves, absent = of_valid.curves[task], of_valid.absent[task]
    return {
        kind: _kind_entry(job, slices, earlier, later, kind, curves[kind]) if kind in curves else {"absent": absent[kind]} for kind in KINDS
    }


def _kind_entry(job: Job, slices: Slices, earlier: Asked, later: Asked, kind: str, curve: Curve) -> dict[str, Any]:
    alone = _curve(earlier.of_active, kind, is_alone=True)
    happened, rate = later.happened[kind], float(earlier.happened[kind].mean())
    told = {JUDGED: curve.chance(later.rows(JUDGED)), OF_FOLDS: curve.chance(later.rows(OF_FOLDS))}
    told[BASE_RATE] = np.full(len(happened), rate, np.float32)
    if not isinstance(alone, str):
        told[SCORE_ALONE] = alone.chance(later.rows(JUDGED, is_alone=True))
    given = (later.user, job.config.evaluate.bootstrap, job.config.project.seed)
    found = {name: evaluate.reliability(happened, values.astype(np.float64), *given).as_dict() for name, values in told.items()}
    user, bootstrap, seed = given
    parts = evaluate.sliced(happened, told[JUDGED].astype(np.float64), user, slices, bootstrap, seed)
    n_learned = {"n": len(earlier.user), "n_positives": int(earlier.happened[kind].sum()), "base_rate": rate}
    return {"learned": n_learned, "judged": found.pop(JUDGED), "others": found, "slices": [part.as_dict() for part in parts]}


def _slices(world: World, known: Snapshot, asked: Asked) -> Slices:
    seen = timeline.seen_pairs(world.events, known.as_of)
    activity = slicing.user_slices(asked.users, seen, tables_of.users(world.tables), known.config)["user_activity"].cast(pl.String)
    of_items = slicing.item_slices(known, seen, seen.head(0)).select("item_id", pl.col("item_age").cast(pl.String))
    ages = known.catalogue.items.select("item_id").join(of_items, on="item_id", how="left", maintain_order="left")
    return {
        "user_activity": _coded(activity, asked.user),
        "item_age": _coded(ages["item_age"].fill_null("not on offer"), asked.item),
        "place": ([LISTED, "below"], (_place(asked) > evaluate.K).astype(np.int64)),
        "score_decile": ([f"{number:02} of 10" for number in range(1, N_DECILES + 1)], _decile(asked.score[JUDGED])),
    }


def _coded(values: pl.Series, row: Index) -> tuple[list[str], NDArray[np.int64]]:
    names = values.unique().sort()
    places = values.to_frame("value").join(pl.DataFrame({"value": names}).with_row_index(), on="value", how="left", maintain_order="left")
    return names.to_list(), places["index"].to_numpy().astype(np.int64)[row]


def _place(asked: Asked) -> NDArray[np.int64]:
    """(r,): the place of each candidate in its user's order, from 1; ties by item."""
    order = np.lexsort((asked.item, -asked.score[JUDGED], asked.user))
    starts = np.searchsorted(asked.user, asked.user, "left")  # rows of a user are contiguous, users in order
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(1, len(order) + 1)
    return place - starts


def _decile(score: NDArray[np.float64]) -> NDArray[np.int64]:
    """(r,): in which tenth of all scores, the lowest first; equal ones in one tenth."""
    below = np.searchsorted(np.sort(score), score, "left")
    return below * N_DECILES // max(len(score), 1)
