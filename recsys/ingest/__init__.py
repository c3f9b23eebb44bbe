"""Raw files to Items and Events: read every format, parse by declared rules, keep each rejected row with its reason."""

from datetime import datetime
from pathlib import Path

from recsys.config import Config
from recsys.ingest.checks import run_checks
from recsys.ingest.draft import Setting, Source, draft
from recsys.ingest.guess import guess_events, guess_items, guess_items_of_events, item_ids, unused
from recsys.ingest.read import find_files, read
from recsys.ingest.result import N_EXAMPLES, CheckResult, Status
from recsys.ingest.tables import Sources, Tables, before, build, parse_events, read_sources, reject_empty

__all__ = [
    "N_EXAMPLES",
    "CheckResult",
    "Setting",
    "Source",
    "Sources",
    "Status",
    "Tables",
    "before",
    "build",
    "draft",
    "find_files",
    "guess_events",
    "guess_items",
    "guess_items_of_events",
    "ingest",
    "item_ids",
    "parse_events",
    "read",
    "read_sources",
    "reject_empty",
    "run_checks",
    "unused",
]


def ingest(config: Config, base: Path, now: datetime) -> Tables:
    """Items, Events, rejects and counts out of the files that the config names; paths are relative to `base`.

    An event after `now` is rejected. Raises SourceError (a file or an expression does not fit) and TableError (no usable row).
    """
    return reject_empty(build(read_sources(config, base), config, now), config)
