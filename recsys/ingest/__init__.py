"""Raw files to Items and Events: read every format, parse by declared rules, keep each rejected row with its reason."""

from datetime import datetime
from pathlib import Path

from recsys.config import Config
from recsys.ingest.checks import CheckResult, run_checks
from recsys.ingest.read import find_files
from recsys.ingest.tables import Tables, build, read_sources, reject_empty

__all__ = ["CheckResult", "Tables", "find_files", "ingest", "run_checks"]


def ingest(config: Config, base: Path, now: datetime) -> Tables:
    """Items, Events, rejects and counts out of the files that the config names; paths are relative to `base`.

    An event after `now` is rejected. Raises SourceError (a file or an expression does not fit) and TableError (no usable row).
    """
    return reject_empty(build(read_sources(config, base), config, now), config)
