"""Raw files to Items and Events: read every format, parse by declared rules, keep each rejected row with its reason."""

from datetime import datetime
from pathlib import Path

from recsys.config import Config
from recsys.ingest.checks import run_checks
from recsys.ingest.draft import Setting, Source, draft
from recsys.ingest.guess import guess_events, guess_items, guess_items_of_events, item_ids, unused
from recsys.ingest.read import find_files, read
from recsys.ingest.result import CheckResult
from recsys.ingest.tables import Tables, build, read_sources, reject_empty

__all__ = [
    "CheckResult",
    "Setting",
    "Source",
    "Tables",
    "draft",
    "find_files",
    "guess_events",
    "guess_items",
    "guess_items_of_events",
    "ingest",
    "item_ids",
    "read",
    "run_checks",
    "unused",
]


def ingest(config: Config, base: Path, now: datetime) -> Tables:
    """Items, Events, rejects and counts out of the files that the config names; paths are relative to `base`.

    An event after `now` is rejected. Raises SourceError (a file or an expression does not fit) and TableError (no usable row).
    """
    return reject_empty(build(read_sources(config, base), config, now), config)
