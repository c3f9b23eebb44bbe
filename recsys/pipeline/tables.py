"""The ingested tables of a project, kept by a digest of the raw files and of how they are read: ingested once, read many times."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

import polars as pl

from recsys import ingest, schema
from recsys.artefacts import Run, draft
from recsys.atomic import sha256
from recsys.errors import ArtefactError
from recsys.pipeline import forgotten
from recsys.pipeline.job import Job

FUTURE = "event_time is after"

EVENTS_AT_ONCE = 100_000
"""Events looked at together where all of them are gone through."""


def tables(job: Job) -> Run:
    """The tables of the job's raw files: items, events, users (if any), rejects, the record `counts`. Ingests where they are not there yet.

    Tables that rejected events as yet to come are made anew each time: some may have come.
    """
    with job.clock.stage("ingest"):
        digest = _digest(job)
        try:
            kept = job.home.tables(digest)
            if not any(FUTURE in reason for reason in kept.record("counts")):
                return kept
        except ArtefactError:
            pass
        return _write(job, digest)


def read(tables: Run) -> tuple[pl.DataFrame, pl.LazyFrame]:
    """Items, checked, and events, lazily: sorted by user and time."""
    return schema.check(tables.table("items"), schema.ITEMS), tables.scan("events")


def users(tables: Run) -> pl.LazyFrame | None:
    """The users, lazily, sorted by user_id; None where the shop gives no such table."""
    return tables.scan("users") if "users.parquet" in tables.manifest["digests"] else None


def _write(job: Job, digest: str) -> Run:
    made = forgotten.left_out(ingest.ingest(job.config, job.base, job.now), forgotten.digests(job.home.folder))
    name = digest if not any(FUTURE in reason for reason in made.counts) else f"{digest}-{job.now.astimezone(UTC):%Y%m%d%H%M%S}"
    home = job.home
    if not (home.snapshots / name).exists():
        with draft(home.snapshots / name, {"made": job.now.isoformat()}) as folder:
            folder.table("items", schema.check(made.items, schema.ITEMS))
            folder.table("events", schema.check(made.events, schema.EVENTS))
            folder.table("rejects", schema.check(made.rejects, schema.REJECTS))
            if made.users is not None:
                folder.table("users", schema.check(made.users, schema.USERS))
            folder.record("counts", made.counts)
    return home.tables(name)


def _digest(job: Job) -> str:
    paths = {name: getattr(job.config, name).path for name in ("items", "events", "users")}
    given = [name for name, path in paths.items() if path]
    how = job.config.model_dump(mode="json", include=set(given))
    sha = hashlib.sha256(json.dumps(how, sort_keys=True).encode())
    for path in dict.fromkeys(paths[name] for name in given):
        for file in ingest.find_files(path, job.base):
            sha.update(f"{file.name} {sha256(file)}".encode())
    return sha.hexdigest()[:16]


def users_before(events: pl.LazyFrame, as_of: datetime) -> pl.Series:
    """Every user with an interaction before as_of, sorted."""
    return _interactions(events, as_of).select(pl.col("user_id").unique()).collect(engine="streaming")["user_id"].sort()


def interactions_by_user(events: pl.LazyFrame, as_of: datetime) -> Iterator[tuple[pl.Series, pl.DataFrame]]:
    """The interactions before as_of in batches: the next users, sorted, and theirs."""
    columns = ("user_id", "item_id", "event_time", "event_type")
    return _batches(users_before(events, as_of), _interactions(events, as_of).select(columns))


def events_by_user(events: pl.LazyFrame, user_ids: pl.Series) -> Iterator[tuple[pl.Series, pl.DataFrame]]:
    """The events in batches: the next of user_ids (sorted), and theirs."""
    return _batches(user_ids, events)


def events_by_item(events: pl.LazyFrame, item_ids: pl.Series, as_of: datetime) -> Iterator[tuple[pl.Series, pl.DataFrame]]:
    """The events before as_of in batches: the next of item_ids, and theirs."""
    return _batches(item_ids, events.filter(pl.col("event_time") < pl.lit(as_of, schema.TIME)))


def events_of(events: pl.LazyFrame, ids: pl.Series) -> pl.DataFrame:
    """The events of some users or items (sorted, named as their column): the file is sorted by user, so only their row groups are read."""
    if not len(ids):
        return events.head(0).collect()
    key = ids.name
    return (
        events.filter(pl.col(key).is_between(pl.lit(ids[0]), pl.lit(ids[-1])))
        .join(pl.LazyFrame([ids]), on=key, how="semi", maintain_order="left")
        .collect(engine="streaming")
    )


def _interactions(events: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    return events.filter((pl.col("event_time") < pl.lit(as_of, schema.TIME)) & pl.col("event_type").is_in(schema.INTERACTIONS))


def _batches(ids: pl.Series, events: pl.LazyFrame) -> Iterator[tuple[pl.Series, pl.DataFrame]]:
    """Runs of ids that hold EVENTS_AT_ONCE events or a little more, at least one run: memory depends on neither users nor days."""
    counts = events.group_by(ids.name).agg(n=pl.len()).collect(engine="streaming")
    n = pl.LazyFrame([ids]).join(counts.lazy(), on=ids.name, how="left", maintain_order="left").collect()["n"].fill_null(0)
    batch = (n.cum_sum() - n) // EVENTS_AT_ONCE
    starts = [0, *(batch.diff().fill_null(0) != 0).arg_true(), len(ids)]
    for start, stop in pairwise(starts):
        part = ids.slice(start, stop - start)
        yield part, events_of(events, part)
