"""A night is published: written as Parquet, read back, staged in every sink, and only then served, everywhere."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from recsys.atomic import MANIFEST, Draft, draft, point, pointed, remove
from recsys.errors import PublishError
from recsys.publish.parts import PARTS, REFUSED, WHY, Night, Promise, read_back
from recsys.publish.sink import Sink
from recsys.schema import EXPLANATIONS, RECOMMENDATIONS, check

log = logging.getLogger(__name__)

Look = Callable[[Draft], None]
"""Looks at a night that is written and read back, before it has its name: may add files to it, and may refuse it by raising."""


def publish(
    lists: Iterator[pl.DataFrame],
    manifest: dict[str, Any],
    folder: Path,
    promise: Promise,
    sinks: Sequence[Sink] = (),
    keep: int = 0,
    look: Look = lambda _: None,
) -> Path:
    """Publish chunks of RECOMMENDATIONS, all rows of a user in one chunk, holding one in memory at a time; returns the night's folder.

    Chunks that have the columns of EXPLANATIONS beside theirs are explained: that table is written, too, in parts of the same rows.
    It is `<folder>/<night id>/recommendations/part-00000.parquet ...`, `explanations/...` likewise, and `manifest.json`;
    `<folder>/current` names the night that is served. A night published twice gets a second folder (`...-2`): a reader of the first one
    keeps it. `manifest` has at least `as_of` (ISO) and `run_id`; added are `n_users`, `n_rows`, the digests, and `seconds`: those given
    plus those spent here, drawing from `lists` included. `keep`: nights kept, the served one included (0: all of them). `look` is given
    the night before any sink is.

    Raises PublishError on lists that break their promise, on no list at all and on a sink that fails, ArtefactError on a disk error,
    TableError on a chunk that is not of the schema, and what `look` raises. What was served before is then still served, by every sink
    that did not switch.
    """
    night = _written(lists, manifest, folder, promise, look)
    try:
        for sink in sinks:
            sink.stage(night)
    except BaseException as error:
        _undo(night, sinks)
        if isinstance(error, PublishError):
            raise PublishError(f"{error} {REFUSED} Mend it and rank again.") from None
        raise
    _switch(night, folder, sinks, keep)
    return night.path


def _written(lists: Iterator[pl.DataFrame], manifest: dict[str, Any], folder: Path, promise: Promise, look: Look) -> Night:
    begun = time.perf_counter()
    final = _place(folder, manifest)
    with draft(final, manifest) as night:
        n_written = _write(night, lists)
        n_users, n_rows = read_back(Night(night.path, {}), promise)
        if n_rows != n_written:
            raise PublishError(f"{final}: {n_written} rows were written and {n_rows} read back. {REFUSED} Check the disk.")
        look(night)
        seconds = round(manifest.get("seconds", 0.0) + time.perf_counter() - begun, 3)
        night.manifest |= {"n_users": n_users, "n_rows": n_rows, "seconds": seconds}
    return Night(final, night.manifest)


def _place(folder: Path, manifest: dict[str, Any]) -> Path:
    name = f"{datetime.fromisoformat(manifest['as_of']):%Y%m%d-%H%M%S}_{manifest['run_id']}"
    place, again = folder / name, 1
    while place.exists():
        again += 1
        place = folder / f"{name}-{again}"
    return place


def _write(night: Draft, lists: Iterator[pl.DataFrame]) -> int:
    """Write each chunk as a part, its explanations beside it where it has any; returns the number of rows."""
    n_rows = 0
    for place, chunk in enumerate(lists):
        night.table(f"{PARTS}/part-{place:05d}", check(chunk, RECOMMENDATIONS).select(RECOMMENDATIONS.names))
        if "base" in chunk.columns:
            night.table(f"{WHY}/part-{place:05d}", check(chunk, EXPLANATIONS).select(EXPLANATIONS.names))
        n_rows += chunk.height
    if not n_rows:
        raise PublishError(f"{night.final}: there is no list to publish. {REFUSED}")
    return n_rows


def _undo(night: Night, sinks: Sequence[Sink]) -> None:
    """Take a night away that was staged in part. A sink that does not answer cannot be cleaned: it serves what it served."""
    for sink in sinks:
        try:
            sink.drop(night)
        except PublishError as error:
            log.warning("%s", error)
    shutil.rmtree(night.path, ignore_errors=True)


def _switch(night: Night, folder: Path, sinks: Sequence[Sink], keep: int) -> None:
    """Serve the night everywhere, the folder last: what `current` names is served by every sink, or a later try was cut short."""
    done: list[str] = []
    for sink in sinks:
        try:
            sink.switch(night, keep)
        except PublishError as error:
            new = f"{' and '.join(done)} already serve tonight's lists; all else" if done else "Everything"
            raise PublishError(f"{error} {new} still serves those of before. Mend it and rank again.") from None
        done.append(sink.name)
    point(folder, night.night_id)
    if keep:
        _forget(folder, keep)


def _forget(folder: Path, keep: int) -> None:
    """Remove complete nights before the latest `keep`, by their names, which begin with their moment; never the one that is served."""
    nights = sorted(path for path in folder.glob("*/") if (path / MANIFEST).is_file() and not path.name.startswith("."))
    served = pointed(folder)
    for path in nights[:-keep]:
        if path.name != served:
            remove(path)
