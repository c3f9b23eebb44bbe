"""What is published: the nights, whether they are still what was written, and how often each item stands in one."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from recsys.artefacts import Home, Run, collected
from recsys.errors import ArtefactError
from recsys.schema import RECOMMENDATIONS, TIME

if TYPE_CHECKING:
    import pandas as pd

    from recsys.ingest import CheckResult

PARTS = "recommendations/part-*.parquet"
NIGHTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "night_id": pl.String,
    "as_of": TIME,
    "run_id": pl.String,
    "n_users": pl.Int64,
    "n_rows": pl.Int64,
    "seconds": pl.Float64,
    "mb": pl.Float64,
    "is_served": pl.Boolean,
    "has_run": pl.Boolean,
}


def nights(home: Home) -> "pd.DataFrame":
    """night_id, as_of, run_id, n_users, n_rows, seconds, mb, is_served, has_run of every complete night, the latest first.

    has_run: is the run that ranked it still there, and complete.
    """
    complete, _ = home.found(home.nights)
    served, runs = home.served(), {run.run_id for run in home.found(home.runs)[0]}
    found = [
        (
            night.run_id,
            datetime.fromisoformat(said["as_of"]),
            *(said[key] for key in ("run_id", "n_users", "n_rows", "seconds")),
            sum(said["sizes"].values()) / 1e6,
            night.run_id == served,
            said["run_id"] in runs,
        )
        for night in complete
        for said in [night.manifest]
    ]
    return pl.DataFrame(found, schema=NIGHTS, orient="row").sort("as_of", "night_id", descending=True).to_pandas()


def scan_night(night: Run) -> pl.LazyFrame:
    """The RECOMMENDATIONS of a night, lazily: a filter on user_id reads that user's row groups alone, by their statistics.

    Columns that the recsys which made the night did not know are null.
    """
    known = {column.name: column.dtype for column in RECOMMENDATIONS.columns}
    return pl.scan_parquet(night.path / PARTS, schema=known, missing_columns="insert", extra_columns="ignore")


def listed(night: Run) -> pl.DataFrame:
    """item_id, n_lists (UInt32), mean_rank (Float64) of every item that stands in a list of the night."""
    counts = scan_night(night).group_by("item_id").agg(n_lists=pl.len(), mean_rank=pl.col("rank").mean())
    return collected(counts.sort("item_id"), night)


def listed_for(night: Run, item_id: str) -> pl.DataFrame:
    """user_id, rank, reason of everybody whose list holds the item, the highest places first."""
    found = scan_night(night).filter(pl.col("item_id") == item_id).select("user_id", "rank", "reason")
    return collected(found.sort("rank", "user_id"), night)


def night_checks(home: Home, night: Run) -> "list[CheckResult]":
    """Named checks of a night: are its files what was written, and is what it stands on still there. Reads all of its files."""
    said = night.manifest
    return [
        _checked(
            "files", f"{len(said['digests'])} files are, byte for byte, those that were read back when it was published", night.verify
        ),
        _checked("run", f"run {said['run_id']}, which ranked it, is here", lambda: home.load(said["run_id"])),
        _checked("tables", f"tables {said['tables']}, which it was ranked from, are here", lambda: home.tables(said["tables"])),
    ]


def _checked(name: str, message: str, look: Callable[[], object]) -> "CheckResult":
    from recsys.ingest import CheckResult  # the readers of raw files come with it

    try:
        look()
    except ArtefactError as error:
        return CheckResult(name, "FAIL", 1, str(error), ())
    return CheckResult(name, "PASS", 0, message, ())
