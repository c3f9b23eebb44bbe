"""Where runs, caches and nights live: the only reader and writer of runs. An artefact is complete or absent, and never a pickle.

    <folder>/runs/<run id>/...  <folder>/runs/current  <folder>/runs/pointed.json  <folder>/caches/...
    <folder>/nights/<night id>/...  <folder>/nights/current  <folder>/monitoring.parquet
    <folder>/backtests/<backtest id>/...  <folder>/cutoffs/<what decides it>-<day>/...
    <folder>/gates/<run id>.json  <folder>/gates/<champion>_on_<challenger>/...

Loading never guesses the newest: it takes a run id, or the one that the pointer `current` names.
"""

import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from recsys import pointer
from recsys.atomic import MANIFEST, PREFIX, VERSION, Draft, disk, draft, dumps, pointed, replacing, sha256, temporary_name
from recsys.errors import ArtefactError, TableError
from recsys.schema import MONITORING, check

__all__ = ["Draft", "Home", "Run", "collected", "draft", "new_run_id"]

log = logging.getLogger(__name__)

STALE_SECONDS = 86_400.0
"""A draft that nothing was written to for so long belongs to a killed process."""

CHECKS = "checks.json"

AGAIN = "Train again with `recsys train`, or name another run with --run."
WHICH = "`recsys models list` shows which there are; `recsys train` makes a new one."
ANOTHER = f"Go back with `recsys models rollback`, or take another with `recsys models promote`: {WHICH}"


def new_run_id(now: datetime, config_digest: str) -> str:
    """Name of a run, e.g. `20261124-031500-ab12cd`: UTC second and config. Names sort by time. `now` must know its zone."""
    if now.tzinfo is None:
        raise ValueError("a run id needs a moment with a time zone")
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{config_digest[:6]}"


@dataclass(frozen=True)
class Run:
    """A complete run, published night, or backtest; read-only."""

    run_id: str
    path: Path
    manifest: dict[str, Any]

    def file(self, name: str) -> Path:
        """Path of a file of the run. Raises ArtefactError where the run has no such file."""
        if name not in self.manifest["digests"]:
            raise ArtefactError(f"run {self.run_id} holds no {name} (it holds {', '.join(sorted(self.manifest['digests']))}). {AGAIN}")
        return self.path / name

    def table(self, name: str) -> pl.DataFrame:
        """Read `<name>.parquet` whole."""
        path = self.file(f"{name}.parquet")
        with _readable(path):
            return pl.read_parquet(path)

    def scan(self, name: str) -> pl.LazyFrame:
        """`<name>.parquet`, lazily."""
        return pl.scan_parquet(self.file(f"{name}.parquet"))

    def record(self, name: str) -> dict[str, Any]:
        """Read `<name>.json`."""
        return _read_json(self.file(f"{name}.json"))

    def verify(self) -> None:
        """Compare every file with its SHA-256: reads all of them. Raises ArtefactError naming those that differ."""
        with _readable(self.path):
            changed = [name for name, digest in self.manifest["digests"].items() if sha256(self.path / name) != digest]
        if changed:
            raise ArtefactError(f"run {self.run_id}: {len(changed)} files were changed after it was written: {', '.join(changed)}. {AGAIN}")


@dataclass(frozen=True)
class Home:
    """The project's folder."""

    folder: Path

    @property
    def runs(self) -> Path:
        """One folder a run, and the pointer `current`."""
        return self.folder / "runs"

    @property
    def caches(self) -> Path:
        """What can be made again: safe to delete."""
        return self.folder / "caches"

    @property
    def snapshots(self) -> Path:
        """Ingested tables, one folder a digest of the raw files."""
        return self.folder / "tables"

    @property
    def nights(self) -> Path:
        """Published recommendations, one folder a night, and the pointer `current`."""
        return self.folder / "nights"

    @property
    def backtests(self) -> Path:
        """One folder a backtest: its cutoffs put together."""
        return self.folder / "backtests"

    @property
    def cutoffs(self) -> Path:
        """One folder a judged cutoff, of which backtests are made."""
        return self.folder / "cutoffs"

    @property
    def gates(self) -> Path:
        """What the promotion gate decided, one JSON a run, and the champions' recipes that were fitted for that, one folder each."""
        return self.folder / "gates"

    @property
    def monitoring(self) -> Path:
        """What was measured of every night: a MONITORING table."""
        return self.folder / "monitoring.parquet"

    def readings(self) -> pl.DataFrame:
        """The MONITORING table, in the order of the nights; empty before the first. Raises ArtefactError where it cannot be read."""
        if not self.monitoring.exists():
            return MONITORING.empty()
        try:
            return check(pl.read_parquet(self.monitoring), MONITORING).select(MONITORING.names)
        except (OSError, pl.exceptions.PolarsError, TableError) as error:
            raise ArtefactError(f"{self.monitoring}: cannot be read: {error}. Move it away: the next night begins a new one.") from None

    def add_readings(self, rows: pl.DataFrame) -> None:
        """Append the rows of one night, in the place of those it has there. All of them or none; ArtefactError on a disk error."""
        others = self.readings().filter(~pl.col("night_id").is_in(rows["night_id"].implode()))
        with replacing(self.monitoring) as temporary:
            pl.concat([others, check(rows, MONITORING).select(MONITORING.names)]).write_parquet(temporary)

    @contextmanager
    def scratch(self, prefix: str) -> Iterator[Path]:
        """A folder of one's own for the length of the `with`, then gone."""
        path = temporary_name(self.caches / prefix)
        with disk(path):
            path.mkdir(parents=True)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def load(self, run_id: str | None = None) -> Run:
        """The run of that id, or the one that `current` names. ArtefactError where it is absent, incomplete or of another version."""
        if run_id is not None:
            return _open(self.runs, run_id, WHICH)
        current = self.current()
        if current is None:
            raise ArtefactError(f"{self.runs}: no run is current. Make one with `recsys train`, or name one with --run.")
        try:
            return _open(self.runs, current, ANOTHER)
        except ArtefactError as error:
            raise ArtefactError(f"the current run cannot be used. {error}") from None

    def tables(self, digest: str) -> Run:
        """The ingested tables of that digest. Raises ArtefactError as `load` does."""
        if not (self.snapshots / digest).is_dir():
            raise ArtefactError(
                f"{self.snapshots}: the tables {digest} are gone. `recsys rank` reads the raw files again, for tonight and from then on."
            )
        return _open(self.snapshots, digest, "Train again: it ingests them.")

    def night(self, night_id: str | None = None) -> Run:
        """The published night of that id, or the one that is served. Raises ArtefactError as `load` does."""
        night_id = night_id or self.served()
        if night_id is None:
            raise ArtefactError(f"{self.nights}: nothing is published yet. Do it with `recsys rank`.")
        return _open(self.nights, night_id, "Look into the folder, or leave the name out to take the one that is served.")

    def backtest(self, backtest_id: str) -> Run:
        """The backtest of that id. Raises ArtefactError as `load` does."""
        return _open(self.backtests, backtest_id, "Make one with `recsys backtest`.")

    def cutoff(self, name: str) -> Run:
        """The judged cutoff of that name. Raises ArtefactError as `load` does."""
        return _open(self.cutoffs, name, "`recsys backtest` judges it again.")

    def rematch(self, name: str) -> Run:
        """A champion's recipe fitted for the gate. Raises ArtefactError as `load` does."""
        return _open(self.gates, name, "Remove it, and ask the gate again: it is made anew.")

    def point(self, run_id: str, by: pointer.By = "train") -> None:
        """Make a complete run the current one, in one step. Raises ArtefactError where it is not complete; `current` then stays."""
        pointer.turn(self.runs, self.load(run_id).run_id, by)

    def point_back(self) -> Run:
        """Make the run current that was so before. Raises ArtefactError where none was or it is not complete; `current` then stays."""
        earlier = self.before()
        if earlier is None:
            raise ArtefactError(f"{self.runs}: no run was current before {self.current()}. Take one with `recsys models promote`.")
        try:
            run = _open(self.runs, earlier, f"Take another with `recsys models promote`: {WHICH}")
        except ArtefactError as error:
            raise ArtefactError(f"the run that was current before {self.current()} cannot be used. {error}") from None
        pointer.turn_back(self.runs, run.run_id)
        return run

    def current(self) -> str | None:
        """The run id that the pointer names; None before the first successful training."""
        return pointed(self.runs)

    def before(self) -> str | None:
        """The run id that the pointer named before; None where nothing is known of it."""
        return pointer.before(self.runs)

    def served(self) -> str | None:
        """The night id that is served; None before the first."""
        return pointed(self.nights)

    def run_ids(self) -> list[str]:
        """Ids of the complete runs, oldest first; an incomplete one is named in a warning."""
        complete, faults = self.found(self.runs)
        for fault in faults:
            log.warning("left out: %s", fault)
        return [run.run_id for run in complete]

    def found(self, folder: Path) -> tuple[list[Run], list[str]]:
        """The complete artefacts of such a folder, by name, and what is wrong with each of the others, one message each."""
        names = sorted(path.name for path in folder.glob("*/") if not path.name.startswith(".")) if folder.is_dir() else []
        complete, faults = [], []
        for name in names:
            try:
                complete.append(_open(folder, name, "It is left out."))
            except ArtefactError as error:
                faults.append(str(error))
        return complete, faults

    def checks(self) -> dict[str, Any] | None:
        """What the last `recsys check` found (`made`, `status`, `checks`); None where there was none. ArtefactError where it is damaged."""
        path = self.folder / CHECKS
        return _read_json(path, "Make it again with `recsys check`.") if path.is_file() else None

    def keep_checks(self, found: dict[str, Any]) -> None:
        """Keep what a `recsys check` found in the place of what was there. Raises ArtefactError on a disk error."""
        with replacing(self.folder / CHECKS) as temporary:
            temporary.write_text(dumps(found), encoding="utf-8")

    def remove_checks(self) -> None:
        """Remove what the last `recsys check` found: its examples name people. Raises ArtefactError on a disk error."""
        with disk(self.folder / CHECKS):
            (self.folder / CHECKS).unlink(missing_ok=True)

    def sweep(self) -> list[Path]:
        """Remove drafts that killed processes left more than a day ago; returns what was removed."""
        places = (self.runs, self.caches, self.snapshots, self.nights, self.backtests, self.cutoffs, self.gates)
        stale = [path for place in places for path in place.glob(f"{PREFIX}*") if _age(path) > STALE_SECONDS]
        for path in stale:
            with disk(path):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        return stale


def _age(path: Path) -> float:
    """Seconds since anything in it was written; 0 for one that its writer removes at this moment."""
    try:
        return time.time() - max(p.stat().st_mtime for p in [path, *path.rglob("*")])
    except FileNotFoundError:
        return 0.0


def _open(folder: Path, name: str, advice: str) -> Run:
    path = folder / name
    if not name or Path(name).name != name or name.startswith(".") or not path.is_dir():
        raise ArtefactError(f"{folder}: there is no {name!r} here. {advice}")
    if not (path / MANIFEST).is_file():
        raise ArtefactError(f"{path}: is incomplete: it has no {MANIFEST}. Remove the folder. {advice}")
    manifest = _read_json(path / MANIFEST)
    if manifest.get("version") != VERSION:
        raise ArtefactError(
            f"{path}: was written in format {manifest.get('version')!r}; this recsys reads format {VERSION}. "
            f"Read it with the recsys that wrote it, or train again with `recsys train`. {advice}"
        )
    _check_sizes(path, manifest, advice)
    return Run(name, path, manifest)


def _check_sizes(path: Path, manifest: dict[str, Any], advice: str) -> None:
    sizes = manifest.get("sizes")
    if not isinstance(sizes, dict) or not isinstance(manifest.get("digests"), dict) or sizes.keys() != manifest["digests"].keys():
        raise ArtefactError(f"{path / MANIFEST}: does not list the files of the run. Remove the folder. {advice}")
    wrong = [name for name, size in sizes.items() if not (path / name).is_file() or (path / name).stat().st_size != size]
    if wrong:
        raise ArtefactError(
            f"{path}: is incomplete: {len(wrong)} files are missing or cut short: {', '.join(wrong)}. Remove the folder. {advice}"
        )


def _read_json(path: Path, advice: str = AGAIN) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path}: cannot be read: {error}. {advice}") from error
    if not isinstance(content, dict):
        raise ArtefactError(f"{path}: is no JSON object. {advice}")
    return content


def collected(rows: pl.LazyFrame, source: Run) -> pl.DataFrame:
    """The rows of a query over files of a run or night. Raises ArtefactError where one of them cannot be read."""
    with _readable(source.path):
        return rows.collect(engine="streaming")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ArtefactError(f"{path}: cannot be read: {error}. {AGAIN}") from error
