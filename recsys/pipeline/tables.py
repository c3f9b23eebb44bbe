"""The ingested tables of a project, kept by a digest of the raw files and of how they are read: ingested once, read many times."""

import hashlib
import json
from datetime import UTC, datetime

import polars as pl

from recsys import ingest, schema
from recsys.artefacts import Run, draft
from recsys.atomic import sha256
from recsys.errors import ArtefactError
from recsys.pipeline.job import Job

FUTURE = "event_time is after"


def tables(job: Job) -> Run:
    """The tables of the job's raw files: items, events, rejects and the record `counts`. Ingests where they are not there yet.

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


def _write(job: Job, digest: str) -> Run:
    made = ingest.ingest(job.config, job.base, job.now)
    name = digest if not any(FUTURE in reason for reason in made.counts) else f"{digest}-{job.now.astimezone(UTC):%Y%m%d%H%M%S}"
    home = job.home
    if not (home.snapshots / name).exists():
        with draft(home.snapshots / name, {"made": job.now.isoformat()}) as folder:
            folder.table("items", schema.check(made.items, schema.ITEMS))
            folder.table("events", schema.check(made.events, schema.EVENTS))
            folder.table("rejects", schema.check(made.rejects, schema.REJECTS))
            folder.record("counts", made.counts)
    return home.tables(name)


def _digest(job: Job) -> str:
    how = job.config.model_dump(mode="json", include={"items", "events"})
    sha = hashlib.sha256(json.dumps(how, sort_keys=True).encode())
    for path in dict.fromkeys((job.config.items.path, job.config.events.path)):
        for file in ingest.find_files(path, job.base):
            sha.update(f"{file.name} {sha256(file)}".encode())
    return sha.hexdigest()[:16]


def users_before(events: pl.LazyFrame, as_of: datetime) -> pl.Series:
    """Every user with an interaction before as_of, sorted."""
    before = events.filter((pl.col("event_time") < pl.lit(as_of, schema.TIME)) & pl.col("event_type").is_in(schema.INTERACTIONS))
    return before.select(pl.col("user_id").unique()).collect()["user_id"].sort()


def events_of(events: pl.LazyFrame, user_ids: pl.Series, as_of: datetime) -> pl.DataFrame:
    """The events before as_of of some users (sorted): the file is sorted by user, so only their row groups are read."""
    if not len(user_ids):
        return events.head(0).collect()
    return (
        events.filter(
            pl.col("user_id").is_between(pl.lit(user_ids[0]), pl.lit(user_ids[-1])) & (pl.col("event_time") < pl.lit(as_of, schema.TIME))
        )
        .join(pl.LazyFrame({"user_id": user_ids}), on="user_id", how="semi", maintain_order="left")
        .collect()
    )
