"""What nobody needs any more goes: old runs with their models in the registry, and the tables and vectors that only they knew."""

import json
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from recsys import tracking
from recsys.artefacts import Home
from recsys.atomic import MANIFEST, PREFIX, disk, remove
from recsys.pipeline.job import Job

log = logging.getLogger(__name__)

YOUNG_SECONDS = 86_400.0
"""What was written so lately may be in use by a command that has made nothing of it yet."""


def retain(job: Job) -> None:
    """Remove what is of no use, and say how much. The caller holds the lock of the project's folder.

    Runs: kept are the latest `project.keep_runs` (0: all), the current one, the one that a rollback goes to, those that ranked a night
    that is there, and those whose version has an alias. Tables: those of the runs and nights that are there. Vectors: those by the
    encoders of the runs that are there. Backtests: as many as runs, the latest, with their cutoffs. Of the gate: what is of runs that are
    there. Of tables, vectors, checkpoints and cutoffs also those of the last day. Runs and nights that are not complete, or of another
    version, stay where they are, and what they name stays. What goes wrong is a warning: the work is done already.
    """
    home = job.home
    try:
        n_old = _remove_runs(job) + _remove_all(_old_backtests(job))
        of_runs = [*_unused_tables(home), *_unused_vectors(home), *_old_checkpoints(home), *_orphaned_decisions(home)]
        n_others = _remove_all([*of_runs, *_unused_cutoffs(home)])
    except Exception as error:
        log.warning("what is old was not removed: %s", error)
        log.debug("retention failed", exc_info=True)
        return
    if n_old or n_others:
        job.display.say(
            f"removed: {n_old} old run(s) and backtest(s); {n_others} tables, vectors, checkpoints, cutoffs, decisions that nobody needs"
        )


def _remove_runs(job: Job) -> int:
    keep, home = job.config.project.keep_runs, job.home
    if not keep:
        return 0
    used = _in_use(home)
    old = {run.run_id: run.path for run in home.found(home.runs)[0][:-keep] if run.run_id not in used}
    free = tracking.remove_outdated(job.config.tracking, home.folder, job.config.project.name, old)
    # Asked again for each: somebody may promote one meanwhile.
    return _remove_all(old[run_id] for run_id in free if run_id not in {home.current(), home.before()})


def _in_use(home: Home) -> set[str | None]:
    """The run that ranks, the one before it, and those that ranked the nights that are there."""
    return {home.current(), home.before()} | {said.get("run_id") for said in _manifests(home.nights)}


def _unused_tables(home: Home) -> list[Path]:
    used = {said.get("tables") for folder in (home.runs, home.nights) for said in _manifests(folder)}
    complete = home.found(home.snapshots)[0]
    return [tables.path for tables in complete if tables.run_id not in used and _age(tables.path / MANIFEST) > YOUNG_SECONDS]


def _unused_vectors(home: Home) -> list[Path]:
    used = {said.get(name) for said in _manifests(home.runs) for name in ("encoder_digest", "untrained_digest")}
    files = (home.caches / "vectors").glob("*.safetensors")
    return [path for path in files if path.stem not in used and _age(path) > YOUNG_SECONDS]


def _old_backtests(job: Job) -> list[Path]:
    keep = job.config.project.keep_runs
    return [old.path for old in job.home.found(job.home.backtests)[0][:-keep]] if keep else []


def _unused_cutoffs(home: Home) -> list[Path]:
    """Of backtests that are gone, or that were cut short and not taken up again."""
    used = {name for said in _manifests(home.backtests) for name in said.get("cutoffs", [])}
    complete = home.found(home.cutoffs)[0]
    return [one.path for one in complete if one.run_id not in used and _age(one.path / MANIFEST) > YOUNG_SECONDS]


def _old_checkpoints(home: Home) -> list[Path]:
    """Of trainings that were cut short and not taken up again."""
    return [path for path in (home.caches / "checkpoints").glob("*/") if _age(path) > YOUNG_SECONDS]


def _orphaned_decisions(home: Home) -> list[Path]:
    """Decisions of the gate, and fits that it made, of which a run is gone."""
    there = {path.name for path in home.runs.glob("*/")}
    files = [path for path in home.gates.glob("*.json") if path.stem not in there]
    return files + [path for path in home.gates.glob("*_on_*/") if not set(path.name.split("_on_")) <= there]


def _manifests(folder: Path) -> Iterator[dict[str, Any]]:
    """Every manifest that can be read, also of what is not complete: it may become so again."""
    for path in folder.glob(f"*/{MANIFEST}"):
        if not path.parent.name.startswith(PREFIX):
            with suppress(OSError, ValueError):
                said = json.loads(path.read_text(encoding="utf-8"))
                yield said if isinstance(said, dict) else {}


def _age(path: Path) -> float:
    """Seconds since it was written."""
    with disk(path):
        return time.time() - path.stat().st_mtime


def _remove_all(paths: Iterable[Path]) -> int:
    n = 0
    for path in paths:
        remove(path)
        n += 1
    return n
