"""`recsys rank`: tonight's list of every user, chunk by chunk through the function that made the training rows, published whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import config, config_file, ranker, rules, timeline
from recsys.artefacts import Run
from recsys.atomic import Draft
from recsys.blocks import Catalogue
from recsys.calibration import Calibration
from recsys.errors import ConfigError, FutureError, SourceError
from recsys.lock import alone
from recsys.pipeline import chances
from recsys.pipeline import tables as tables_of
from recsys.pipeline.explaining import Explainer, nearness
from recsys.pipeline.job import Job
from recsys.pipeline.retention import retain
from recsys.pipeline.ruling import Ruling
from recsys.pipeline.sinks import sinks_of
from recsys.pipeline.snapshot import Chunk, Snapshot, map_chunks, snapshot
from recsys.pipeline.texts import load_texts
from recsys.pipeline.watching import Watch
from recsys.publish import Promise
from recsys.publish import publish as publish_night
from recsys.text import InterestModel

See = Callable[[pl.DataFrame, pl.DataFrame], None]
"""Sees the features of a chunk's candidates, and its RECOMMENDATIONS."""

Examine = Callable[[Draft, Watch, pl.LazyFrame], None]
"""Looks at a night that is written and not yet published, with what was counted of it and the events; may add to it, and may refuse it."""


@dataclass(frozen=True)
class Ready:
    """A run with everything fitted that it needs to rank as of one moment: only the users are missing."""

    run_id: str
    model: ranker.Ranker
    calibration: Calibration | None
    known: Snapshot
    events: pl.LazyFrame

    @cached_property
    def near(self) -> float:
        """Of `nearness`: once, however many lists are asked for."""
        return nearness(self.known)

    def lists(
        self, job: Job, user_ids: pl.Series, k: int, ruling: Ruling, see: See = lambda *_: None, explain: int = 0
    ) -> Iterator[pl.DataFrame]:
        """The RECOMMENDATIONS of the users (unique, sorted ids), chunk by chunk: the best `k` of each.

        explain: with the columns of EXPLANATIONS, the first so many places by family; 0: without.
        """
        known, done = self.known, 0
        explainer = Explainer.of(known, self.model, self.near, explain)

        def scored(rows: Chunk) -> tuple[Chunk, NDArray[np.float64]]:
            with job.clock.stage("ranker"):
                return rows, self.model.score(rows.frame, rows.told)

        for rows, scores in map_chunks(scored, known, self.events, user_ids, job.clock):
            part = rows.block.history.user_ids
            likely = chances.chances(self.calibration, rows, scores, job.config.project.task)
            ids, pool = known.catalogue.ids(rows.pool.item), rows.pool
            listed = rules.Scored(part, pool.user, ids, scores, pool.is_seen, pool.rank, likely)
            placed = ruling.placed(rows, scores, likely)
            lists = rules.recommend(listed, rows.frame, known.as_of, self.run_id, k, job.config.project.task, placed)
            with job.clock.stage("explain"):
                lists = explainer.explained(rows, lists, placed)
            with job.clock.stage("monitor"):
                see(rows.frame, lists)
            yield lists
            done += len(part)
            job.display.progress("ranking users", done, len(user_ids))


def make_ready(job: Job, run: Run, items: pl.DataFrame, events: pl.LazyFrame, as_of: datetime) -> Ready:
    """Fit everything that is fitted as of a moment. `items`, `events`: the tables of `tables.read`."""
    catalogue = Catalogue.of(items)
    side = load_texts(job, InterestModel.load(run.file("text/tower.json").parent, job.config.text), catalogue)
    categories = run.record("categories")["categories"]
    known = snapshot(events, catalogue, as_of, as_of, side, job.config, categories, job.threads, job.clock)
    model = ranker.Ranker.load(run.file("ranker.txt"), run.record("ranker")["n_base"])
    return Ready(run.run_id, model, chances.kept(run), known, events)


TONIGHT = ("project", "items", "events", "users", "check", "rank", "rules", "publish", "nightly", "promote", "monitor", "tracking")
"""Sections of the config that are of the night, not of the run."""


def rank(
    job: Job, run_id: str | None, as_of: datetime | None, users: Path | None, k: int | None, out: Path | None, allow_future_model: bool
) -> Path:
    """Rank and publish; returns the published folder. `as_of` None: the midnight after the last event."""
    with alone(job.home.folder, "recsys rank"):
        job.home.sweep()
        run = job.home.load(run_id)
        job.config = config_of(job, run)
        tables = tables_of.tables(job)
        moment = as_of or timeline.span(tables.scan("events"))[1]
        asked = _read_users(users) if users else None
        request = request_of(job, run, tables, moment, k or job.config.rank.k, asked is None, allow_future_model)
        return publish(job, run, tables, request, asked, out)


def request_of(
    job: Job, run: Run, tables: Run, as_of: datetime, k: int, is_everybody: bool = True, allow_future_model: bool = False
) -> dict[str, Any]:
    """What a night is asked to be, as its manifest says it: two with the same values have the same lists.

    Raises FutureError where the run has learned from events at or after as_of, unless that is allowed.
    """
    return {
        "run_id": run.run_id,
        "as_of": as_of.isoformat(),
        "config_hash": job.config.digest(),
        "tables": tables.run_id,
        "k": k,
        "task": job.config.project.task,
        "is_everybody": is_everybody,
        "model_knows_the_future": _refuse_future(run, as_of, allow_future_model),
    }


def publish(
    job: Job,
    run: Run,
    tables: Run,
    request: dict[str, Any],
    users: pl.Series | None = None,
    out: Path | None = None,
    examine: Examine = lambda *_: None,
) -> Path:
    """Rank the users (None: everybody with a history) from ingested tables and publish; returns the published folder.

    request: of `request_of`. The night keeps what the next one is compared with (`watching`).
    """
    as_of, k = datetime.fromisoformat(request["as_of"]), request["k"]
    sinks = () if out else sinks_of(job.config.publish)
    items, events = tables_of.read(tables)
    ready = make_ready(job, run, items, events, as_of)
    user_ids = tables_of.users_before(events, as_of) if users is None else users
    watch, ruling = Watch(ready.known), ruling_of(job, ready, tables_of.users(tables), k)

    def look(night: Draft) -> None:
        night.manifest |= ruling.record()
        watch.keep(night)
        examine(night, watch, events)

    offered = ready.known.catalogue.items["item_id"].filter(pl.Series(ready.known.eligible))
    promise = Promise(len(user_ids), job.config.publish.fewest_share, offered, ruling.hard, lambda: ruling.tally.unlikely)
    lists = _told(job, ready.lists(job, user_ids, k, ruling, watch.see, job.config.rank.explain), ruling)
    keep = 0 if out else job.config.publish.keep_nights
    manifest = request | {"sinks": [sink.name for sink in sinks]}
    night = publish_night(lists, manifest, out or job.home.nights, promise, sinks, keep, look)
    if not out:
        retain(job)
    return night


def _told(job: Job, lists: Iterator[pl.DataFrame], ruling: Ruling) -> Iterator[pl.DataFrame]:
    """The lists, and at their end what the rules did to them. Raises PublishError where they left nobody anything."""
    yield from lists
    for line in ruling.said():
        job.display.say(line)


def ruling_of(job: Job, ready: Ready, users: pl.LazyFrame | None, k: int) -> Ruling:
    """The config's rules over the users table (None: there is none); what a rule cannot do is said, and what has no chance.

    Raises ConfigError where a least chance is asked for of which the run knows nothing: before anybody is ranked.
    """
    _say_absent(job, ready)
    ruling = Ruling.of(job.config, ready.known, ready.events, users, k)
    for note in ruling.notes:
        job.display.say(f"note: {note}")
    return ruling


def _say_absent(job: Job, ready: Ready) -> None:
    absent = chances.why_absent(ready.calibration, job.config.project.task)
    for name, (column, _) in job.config.rules.least_chances.items():
        if column in absent:
            raise ConfigError(
                f"rules.{name}: run {ready.run_id} has no {column}: {absent[column]}. Take the rule out, or rank with a run that has one."
            )
    if absent:
        whys = "; ".join(dict.fromkeys(absent.values()))
        job.display.say(f"note: {' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} null throughout: {whys}")


def config_of(job: Job, run: Run) -> config.Config:
    """How the run was made, with where the tables are and what to list from the file of tonight."""
    made = config_file.parse(run.record("config"), f"config of run {run.run_id}")
    tonight = job.config
    now = {name: getattr(tonight, name) for name in TONIGHT}
    both = made.model_copy(update=now)
    return config_file.parse(both.model_dump(), f"config of run {run.run_id} with the tables of tonight's")


def _refuse_future(run: Run, as_of: datetime, allowed: bool) -> bool:
    knows_until = datetime.fromisoformat(run.manifest["knows_until"])
    if as_of >= knows_until:
        return False
    if not allowed:
        raise FutureError(
            f"run {run.run_id} has learned from events up to {knows_until:%Y-%m-%d %H:%M}, --as-of {as_of:%Y-%m-%d %H:%M} is before that: "
            "its lists would know the future. Name an older run with --run, or pass --allow-future-model (the manifest will say so)."
        )
    return True


def _read_users(path: Path) -> pl.Series:
    """One user_id a line. Raises SourceError when there is no such file, or nobody in it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"--users {path}: cannot be read ({error}). Give a text file with one user_id a line.") from None
    users = pl.Series("user_id", [line.strip() for line in lines if line.strip()], dtype=pl.String).unique().sort()
    if not len(users):
        raise SourceError(f"--users {path}: holds no user. Give a text file with one user_id a line.")
    return users
