"""`recsys forget USER`: every row of a user goes, from tables, runs, nights and sinks; what has learned from them is named."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.artefacts import Home
from recsys.atomic import MANIFEST, PREFIX, disk, rewrite
from recsys.errors import ArtefactError, ConfigError
from recsys.lock import alone
from recsys.pipeline import forgotten
from recsys.pipeline.job import Job
from recsys.pipeline.sinks import sinks_of
from recsys.publish import PARTS


@dataclass(frozen=True)
class Forgotten:
    """Rows removed by place, and the runs there are, each of which may have learned from them."""

    rows: dict[str, int]
    runs: list[str]


def forget(job: Job, user_id: str) -> Forgotten:
    """Put the user on the list of those who are left out, then remove their rows, place after place.

    Cut short, it is to be started again, and goes on. Raises ConfigError on an empty id, PublishError where a sink does not answer,
    ArtefactError on a disk error.
    """
    if not user_id:
        raise ConfigError("recsys forget: the user_id is empty. Give the one to forget.")
    sinks = sinks_of(job.config.publish)
    with alone(job.home.folder, "recsys forget"):
        forgotten.add(job.home.folder, user_id)
        job.home.remove_checks()
        _remove_drafts(job.home)
        rows = {str(path.relative_to(job.home.folder)): _from_folder(path, user_id) for path in _folders(job.home)}
        rows |= {sink.name: sink.forget(user_id) for sink in sinks}
    return Forgotten({place: n for place, n in rows.items() if n}, job.home.run_ids())


def _folders(home: Home) -> list[Path]:
    """Every finished folder of the project: tables, runs, nights, and those that registered models hold. Served nights first."""
    found = [path.parent for path in home.folder.rglob(MANIFEST) if not any(part.startswith(PREFIX) for part in path.parts)]
    return sorted(found, key=lambda path: (not path.is_relative_to(home.nights), path))


def _from_folder(folder: Path, user_id: str) -> int:
    """Remove the user's rows from the Parquet files of a folder; returns how many."""
    sizes = _manifest(folder).get("sizes", {})
    tables, n_gone = {}, 0
    with disk(folder):
        for path in sorted(folder.rglob("*.parquet")):
            name = path.relative_to(folder).as_posix()
            # An earlier try that was cut short has written the file anew, and not the manifest.
            is_torn = sizes.get(name) != path.stat().st_size
            if "user_id" in pl.read_parquet_schema(path):
                gone = pl.scan_parquet(path).filter(pl.col("user_id") == user_id).select(pl.len()).collect().item()
                if gone or is_torn:
                    tables[name] = pl.read_parquet(path).filter(pl.col("user_id") != user_id)
                n_gone += gone
            elif path.name == "rejects.parquet":
                rejects = pl.read_parquet(path)
                if is_torn or not forgotten.nameless(rejects).equals(rejects):
                    tables[name] = forgotten.nameless(rejects)
        if tables:
            rewrite(folder, tables, _recounted(folder, user_id))
    return n_gone


def _recounted(folder: Path, user_id: str) -> dict[str, int]:
    """What a night's manifest says of its length; nothing of other folders."""
    if not (folder / PARTS).is_dir():
        return {}
    left = pl.scan_parquet(folder / PARTS).filter(pl.col("user_id") != user_id)
    counts = left.select(n_users=pl.col("user_id").n_unique(), n_rows=pl.len()).collect().row(0, named=True)
    return {name: int(count) for name, count in counts.items()}


def _manifest(folder: Path) -> dict[str, dict[str, int]]:
    try:
        found: dict[str, dict[str, int]] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{folder / MANIFEST}: cannot be read ({error}). Remove the folder, and forget again.") from None
    return found


def _remove_drafts(home: Home) -> None:
    """What killed processes left half written: under the lock nobody writes."""
    for place in (home.nights, home.snapshots, home.runs, home.cutoffs, home.gates):
        for path in place.glob(f"{PREFIX}*"):
            with disk(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
