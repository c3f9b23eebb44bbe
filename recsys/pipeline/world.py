"""The tables a command stands on: items as a catalogue, and everything that happened."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from recsys import timeline
from recsys.artefacts import Run
from recsys.blocks import Catalogue
from recsys.pipeline import tables as tables_of
from recsys.pipeline.job import Job
from recsys.text.workers import workers


@dataclass(frozen=True)
class World:
    """The tables a training stands on."""

    catalogue: Catalogue
    events: pl.LazyFrame
    start: datetime
    end: datetime
    tables: Run


def read_world(job: Job) -> World:
    """The job's tables, ingested where they are not there yet."""
    with workers().main_first():
        tables = tables_of.tables(job)
    return world_of(tables)


def world_of(tables: Run) -> World:
    """The world of ingested tables."""
    items, events = tables_of.read(tables)
    start, end = timeline.span(events)
    return World(Catalogue.of(items), events, start, end, tables)
