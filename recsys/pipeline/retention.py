"""What nobody needs any more goes: old runs with their models in the registry, and the tables and vectors that only they knew."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from recsys import tracking
from recsys.artefacts import Home, Run
from recsys.atomic import MANIFEST, disk, remove
from recsys.errors import ArtefactError
from recsys.pipeline.job import Job

log = logging.getLogger(__name__)

YOUNG_SECONDS = 86_400.0
"""Tables that were written, and vectors that were used, so lately may be in use by a command that has made nothing of them yet."""


def retain(job: Job) -> None:
    """Remove what is of no use, and say how much. The caller holds the lock of the project's folder.

    Runs: kept are the latest `project.keep_runs` (0: all), the current one, the one that a rollback goes to, those that ranked a night
    that is there, and those whose version has an alias. Tables: those of the runs and nights that are there. Vectors: those of the runs
    that are there, and those used since the oldest of them was made. What is not complete, or of another version, is left where it is.
    A disk error is a warning: the work is done already.
    """
    try:
        n_runs = _remove_runs(job)
        n_others = _remove_all(_unused_tables(job.home)) + _remove_all(_unused_vectors(job.home))
    except ArtefactError as error:
        log.warning("what is old was not removed: %s", error)
        return
    if n_runs or n_others:
        job.display.say(f"removed: {n_runs} old run(s), {n_others} table folder(s) and vector file(s) that none of those kept needs")


def _remove_runs(job: Job) -> int:
    keep, home = job.config.project.keep_runs, job.home
    if not keep:
        return 0
    runs = _complete(home, home.runs)
    used = {home.current(), home.before()} | {night.manifest["run_id"] for night in _complete(home, home.nights)}
    old = [run.run_id for run in runs[:-keep] if run.run_id not in used]
    free = tracking.remove_outdated(job.config.tracking, home.folder, job.config.project.name, old)
    return _remove_all(run.path for run in runs if run.run_id in free)


def _unused_tables(home: Home) -> list[Path]:
    used = {one.manifest["tables"] for folder in (home.runs, home.nights) for one in _complete(home, folder)}
    return [
        tables.path
        for tables in _complete(home, home.snapshots)
        if tables.run_id not in used and _age(tables.path / MANIFEST) > YOUNG_SECONDS
    ]


def _unused_vectors(home: Home) -> list[Path]:
    runs = _complete(home, home.runs)
    used, age = {run.manifest["encoder_digest"] for run in runs}, max([YOUNG_SECONDS, *(_age(run.path / MANIFEST) for run in runs)])
    return [path for path in (home.caches / "vectors").glob("*.safetensors") if path.stem not in used and _age(path) > age]


def _complete(home: Home, folder: Path) -> list[Run]:
    return home.found(folder)[0]


def _age(path: Path) -> float:
    """Seconds since it was written or, for vectors, used."""
    with disk(path):
        return time.time() - path.stat().st_mtime


def _remove_all(paths: Iterable[Path]) -> int:
    n = 0
    for path in paths:
        if path.is_dir():
            remove(path)
        else:
            with disk(path):
                path.unlink()
        n += 1
    return n
