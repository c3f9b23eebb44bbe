"""Who has been forgotten: a list of digests, so that the next reading of the raw files does not bring anybody back.

A digest of a short id can be guessed by trying ids: it is a reminder for this project, not a secret.
"""

import hashlib
import json
from pathlib import Path

import polars as pl

from recsys.atomic import disk, replacing
from recsys.errors import ArtefactError
from recsys.ingest import Tables

FILE_NAME = "forgotten.json"


def digests(folder: Path) -> frozenset[str]:
    """SHA-256 of the ids in the project's folder. Raises ArtefactError where the list is there and cannot be read."""
    path = folder / FILE_NAME
    with disk(path):
        if not path.exists():
            return frozenset()
        try:
            return frozenset(json.loads(path.read_text(encoding="utf-8"))["sha256"])
        except (ValueError, KeyError, TypeError):
            raise ArtefactError(f"{path}: is damaged, whom to leave out is not known. Restore it, or remove it and forget again.") from None


def add(folder: Path, user_id: str) -> None:
    """Put a user on the list."""
    known = digests(folder) | {_digest(user_id)}
    with replacing(folder / FILE_NAME) as temporary:
        temporary.write_text(json.dumps({"sha256": sorted(known)}, indent=2) + "\n", encoding="utf-8")


def left_out(tables: Tables, forgotten: frozenset[str]) -> Tables:
    """The tables without those forgotten, who are counted by table; of rejected lines the reason alone is kept."""
    if not forgotten:
        return tables
    kept = _without(tables.events, forgotten)
    counts = tables.counts | {"events kept": kept.height, "events forgotten": tables.events.height - kept.height}
    users = tables.users
    if users is not None:
        n_users = users.height
        users = _without(users, forgotten)
        counts |= {"users kept": users.height, "users forgotten": n_users - users.height}
    return Tables(tables.items, kept, nameless(tables.rejects), counts, users)


def _without(table: pl.DataFrame, forgotten: frozenset[str]) -> pl.DataFrame:
    ids = table["user_id"].unique()
    gone = ids.filter(pl.Series([_digest(user_id) in forgotten for user_id in ids], dtype=pl.Boolean))
    return table.filter(~pl.col("user_id").is_in(gone.implode()))


def nameless(rejects: pl.DataFrame) -> pl.DataFrame:
    """REJECTS without what lines of events and users said: any of them may name a user, in any column."""
    return rejects.with_columns(content=pl.when(pl.col("table") == "items").then("content").otherwise(pl.lit("{}")))


def _digest(user_id: str) -> str:
    return hashlib.sha256(user_id.encode()).hexdigest()
