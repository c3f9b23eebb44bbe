"""`recsys rank`: tonight's list of every user, chunk by chunk through the function that made the training rows, published whole."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import polars as pl

from recsys import config, config_file, ranker, rules, timeline
from recsys.artefacts import Run
from recsys.blocks import Catalogue
from recsys.errors import FutureError, SourceError
from recsys.lock import alone
from recsys.pipeline import tables as tables_of
from recsys.pipeline.job import Job
from recsys.pipeline.ruling import Ruling
from recsys.pipeline.sinks import sinks_of
from recsys.pipeline.snapshot import Snapshot, chunks, snapshot
from recsys.pipeline.texts import load_texts
from recsys.publish import Promise
from recsys.publish import publish as publish_night
from recsys.text import InterestModel


def rank(
    job: Job, run_id: str | None, as_of: datetime | None, users: Path | None, k: int | None, out: Path | None, allow_future_model: bool
) -> Path:
    """Rank and publish; returns the published folder. `as_of` None: the midnight after the last event."""
    with alone(job.home.folder, "recsys rank"):
        run = job.home.load(run_id)
        job.config = config_of(job, run)
        tables = tables_of.tables(job)
        moment = as_of or timeline.span(tables.scan("events"))[1]
        knows_the_future = _refuse_future(run, moment, allow_future_model)
        return publish(job, run, tables, moment, _read_users(users) if users else None, k or job.config.rank.k, out, knows_the_future)


def publish(
    job: Job, run: Run, tables: Run, as_of: datetime, users: pl.Series | None, k: int, out: Path | None, knows_the_future: bool
) -> Path:
    """Rank the users (None: everybody with a history) from ingested tables and publish; returns the published folder."""
    sinks = () if out else sinks_of(job.config.publish)
    items, events = tables_of.read(tables)
    known = _snapshot(job, run, Catalogue.of(items), events, as_of)
    user_ids = tables_of.users_before(events, as_of) if users is None else users
    manifest = {
        "run_id": run.run_id,
        "as_of": as_of.isoformat(),
        "config_hash": job.config.digest(),
        "tables": tables.run_id,
        "k": k,
        "task": job.config.project.task,
        "model_knows_the_future": knows_the_future,
    }
    offered = known.catalogue.items["item_id"].filter(pl.Series(known.eligible))
    ruling = _ruling(job, known, tables, events, k)
    promise = Promise(len(user_ids), job.config.publish.fewest_share, offered, ruling.hard)
    lists = _lists(job, run, known, events, user_ids, k, ruling)
    keep = 0 if out else job.config.publish.keep_nights
    return publish_night(lists, manifest, out or job.home.nights, promise, sinks, keep, ruling.record)


def _ruling(job: Job, known: Snapshot, tables: Run, events: pl.LazyFrame, k: int) -> Ruling:
    users = tables_of.users(tables)
    ruling = Ruling.of(job.config, known, events, users, k)
    for note in ruling.notes:
        job.display.say(f"note: {note}")
    return ruling


def config_of(job: Job, run: Run) -> config.Config:
    """How the run was made, with where the tables are and what to list from the file of tonight."""
    made = config_file.parse(run.record("config"), f"config of run {run.run_id}")
    tonight = job.config
    now = {name: getattr(tonight, name) for name in ("project", "items", "events", "users", "check", "rank", "rules", "publish")}
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


def _snapshot(job: Job, run: Run, catalogue: Catalogue, events: pl.LazyFrame, as_of: datetime) -> Snapshot:
    model = InterestModel.load(run.file("text/tower.json").parent, job.config.text)
    side = load_texts(job, model, catalogue)
    categories = run.record("categories")["categories"]
    return snapshot(events, catalogue, as_of, as_of, side, job.config, categories, job.threads, job.clock)


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


def _lists(
    job: Job, run: Run, known: Snapshot, events: pl.LazyFrame, user_ids: pl.Series, k: int, ruling: Ruling
) -> Iterator[pl.DataFrame]:
    model = ranker.Ranker.load(run.file("ranker.txt"), run.record("ranker")["n_base"])
    done = 0
    for rows in chunks(known, events, user_ids, job.clock):
        part = rows.block.history.user_ids
        scores = model.score(rows.frame, rows.told)
        scored = rules.Scored(part, rows.pool.user, known.catalogue.ids(rows.pool.item), scores, rows.is_seen, rows.pool.rank)
        yield rules.recommend(scored, rows.frame, known.as_of, run.run_id, k, job.config.project.task, ruling.placed(rows, scores))
        done += len(part)
        job.display.progress("ranking users", done, len(user_ids))
    for line in ruling.said():
        job.display.say(line)
