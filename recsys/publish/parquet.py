"""The Parquet sink: one folder a night, read back and checked before it gets its name, then served through `current`."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from recsys.atomic import Draft, draft, point
from recsys.errors import ArtefactError
from recsys.schema import RECOMMENDATIONS, check

PARTS = "recommendations"
REFUSED = "Nothing was published; what was served before still is. Give every user one list, ranks from 1 up and each item once."


@dataclass(frozen=True)
class ParquetSink:
    """Publishes to `<folder>/<night id>/recommendations/part-00000.parquet ...` and `manifest.json`.

    A night published twice gets a second folder (`...-2`): a reader of the first one keeps it.
    """

    folder: Path

    def publish(self, lists: Iterator[pl.DataFrame], manifest: dict[str, Any]) -> Path:
        """Publish chunks of RECOMMENDATIONS, holding one in memory at a time; returns the night's folder.

        `manifest` has at least `as_of` (ISO) and `run_id`; added to it are `n_users`, `n_rows`, the digests, and `seconds`:
        those given plus those spent here, drawing from `lists` included. Raises ArtefactError on a disk error, on lists
        that break their promise and on no list at all; TableError on a chunk that is not of the schema.
        """
        begun = time.perf_counter()
        final = self._night(manifest)
        with draft(final, manifest) as night:
            n_written = _write(night, lists)
            n_users, n_rows = _read_back(night.path / PARTS)
            if n_rows != n_written:
                raise ArtefactError(
                    f"{final}: {n_written} rows were written and {n_rows} read back. Nothing was published: check the disk."
                )
            seconds = round(manifest.get("seconds", 0.0) + time.perf_counter() - begun, 3)
            night.manifest |= {"n_users": n_users, "n_rows": n_rows, "seconds": seconds}
        point(self.folder, final.name)
        return final

    def _night(self, manifest: dict[str, Any]) -> Path:
        name = f"{datetime.fromisoformat(manifest['as_of']):%Y%m%d-%H%M%S}_{manifest['run_id']}"
        place, again = self.folder / name, 1
        while place.exists():
            again += 1
            place = self.folder / f"{name}-{again}"
        return place


def _write(night: Draft, lists: Iterator[pl.DataFrame]) -> int:
    """Write each chunk as a part; returns the number of rows."""
    n_rows = 0
    for place, chunk in enumerate(lists):
        night.table(f"{PARTS}/part-{place:05d}", check(chunk, RECOMMENDATIONS).select(RECOMMENDATIONS.names))
        n_rows += chunk.height
    if not n_rows:
        raise ArtefactError(f"{night.final}: there is no list to publish. Nothing was published; what was served before still is.")
    return n_rows


def _read_back(folder: Path) -> tuple[int, int]:
    """Users and rows of the parts as they lie on the disk. Raises ArtefactError where a list breaks its promise."""
    parts = sorted(folder.glob("*.parquet"))
    sizes = [_check_part(pl.read_parquet(part), part.name) for part in parts]
    n_users, n_rows = sum(users for users, _ in sizes), sum(rows for _, rows in sizes)
    n_distinct = pl.scan_parquet(parts).select(pl.col("user_id").n_unique()).collect().item()
    if n_distinct != n_users:
        raise ArtefactError(f"{PARTS}: {n_users - n_distinct} users have rows in more than one chunk. {REFUSED}")
    return n_users, n_rows


def _check_part(part: pl.DataFrame, name: str) -> tuple[int, int]:
    users = part.group_by("user_id", maintain_order=True).agg(
        is_once=pl.col("item_id").n_unique() == pl.len(),
        is_ranked=(pl.col("rank").min() == 1) & (pl.col("rank").max() == pl.len()) & (pl.col("rank").n_unique() == pl.len()),
    )
    for column, fault in (("is_once", "have an item twice"), ("is_ranked", "have ranks that do not run 1, 2, 3 ...")):
        wrong = users.filter(~pl.col(column))["user_id"]
        if len(wrong):
            raise ArtefactError(f"{PARTS}/{name}: {len(wrong)} of {users.height} users {fault} (first: user_id={wrong[0]}). {REFUSED}")
    return users.height, part.height
