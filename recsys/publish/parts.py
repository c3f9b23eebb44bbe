"""A night as it lies on the disk, and the promises that its lists are held to: read back, never taken from memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recsys.errors import PublishError
from recsys.families import FAMILIES
from recsys.publish.hard import Hard
from recsys.schema import EXPLANATIONS, check

PARTS = "recommendations"
WHY = "explanations"
"""Where EXPLANATIONS lie, where a night keeps them: a part for each part of the lists, of the same rows."""

ROUNDING = 1e-5
"""How far families may sum beside a score, as a share of all they add and take: they are kept in single precision."""

REFUSED = "Nothing was published; what was served before still is."


@dataclass(frozen=True)
class Night:
    """A complete night: its folder, with all rows of a user in one part, and what its manifest says."""

    path: Path
    manifest: dict[str, Any]

    @property
    def night_id(self) -> str:
        """The name of its folder."""
        return self.path.name

    @property
    def n_parts(self) -> int:
        """How many parts it has."""
        return len(self._files())

    def parts(self) -> Iterator[pl.DataFrame]:
        """Its RECOMMENDATIONS, a part at a time."""
        return (pl.read_parquet(file) for file in self._files())

    def explanations(self) -> Iterator[pl.DataFrame]:
        """Its EXPLANATIONS, a part at a time; none where it keeps none."""
        return (pl.read_parquet(file) for file in self._files(WHY))

    def _files(self, table: str = PARTS) -> list[Path]:
        return sorted((self.path / table).glob("*.parquet"))


@dataclass(frozen=True)
class Promise:
    """What the lists are held to: `n_asked` users, a list for at least `fewest_share` of them, items of `offered` alone, hard rules.

    n_meant_none: how many of the users are meant to have no list, asked when the lists are made; they count for no share.
    """

    n_asked: int
    fewest_share: float
    offered: pl.Series
    hard: Hard | None = None
    n_meant_none: Callable[[], int] = lambda: 0


def read_back(night: Night, promise: Promise) -> tuple[int, int]:
    """Users and rows of the parts as they lie on the disk. Raises PublishError where a list breaks its promise."""
    checked = [_check_part(part, f"{PARTS}/part-{place:05d}", promise) for place, part in enumerate(night.parts())]
    n_users, n_rows = sum(len(users) for users, _ in checked), sum(rows for _, rows in checked)
    if (night.path / WHY).is_dir():
        _check_explanations(night)
    n_distinct = pl.concat([users for users, _ in checked]).n_unique()
    if n_distinct != n_users:
        raise PublishError(f"{PARTS}: {n_users - n_distinct} users have rows in more than one chunk. {REFUSED}")
    n_asked = promise.n_asked - promise.n_meant_none()
    if n_users < promise.fewest_share * n_asked:
        raise PublishError(
            f"{PARTS}: {n_users:,} of {n_asked:,} users have a list, publish.fewest_share asks for {promise.fewest_share:.0%}. "
            f"{REFUSED} Look at what the others could be offered (availability, project.task, [rules])."
        )
    return n_users, n_rows


def _check_part(part: pl.DataFrame, name: str, promise: Promise) -> tuple[pl.Series, int]:
    """The users of a part, once each, and how many rows it has."""
    # Row by row first: in an aggregation the offered items would be laid out anew for every user.
    rows = part.with_columns(is_offered=pl.col("item_id").is_in(promise.offered.implode()), is_scored=pl.col("score").is_finite())
    users = rows.group_by("user_id", maintain_order=True).agg(
        is_once=pl.col("item_id").n_unique() == pl.len(),
        is_ranked=(pl.col("rank").min() == 1) & (pl.col("rank").max() == pl.len()) & (pl.col("rank").n_unique() == pl.len()),
        is_offered=pl.col("is_offered").all(),
        is_scored=pl.col("is_scored").all(),
    )
    faults = {
        "is_once": "have an item twice",
        "is_ranked": "have ranks that do not run 1, 2, 3 ...",
        "is_offered": "have an item that is not on offer at that moment",
        "is_scored": "have a score that is no number",
    }
    for column, fault in faults.items():
        wrong = users.filter(~pl.col(column))["user_id"]
        if len(wrong):
            raise PublishError(f"{name}: {len(wrong)} of {users.height} users {fault} (first: user_id={wrong[0]}). {REFUSED}")
    if promise.hard:
        _check_hard(part, name, promise.hard)
    return users["user_id"], part.height


def _check_explanations(night: Night) -> None:
    n_explained = 0
    for place, (part, why) in enumerate(zip(night.parts(), night.explanations(), strict=False)):
        _check_explained(part, why, f"{WHY}/part-{place:05d}")
        n_explained += 1
    if n_explained != night.n_parts:
        raise PublishError(f"{WHY}: {n_explained} of {night.n_parts} parts are explained. {REFUSED}")


def _check_explained(part: pl.DataFrame, why: pl.DataFrame, name: str) -> None:
    keys = ["user_id", "item_id", "rank"]
    if not check(why, EXPLANATIONS).select(keys).equals(part.select(keys)):
        raise PublishError(f"{name}: explains other rows than {PARTS} lists. {REFUSED}")
    added = [pl.col(column).cast(pl.Float64) for column in ("base", *FAMILIES)]
    beside = (pl.sum_horizontal(added) - part["score"]).abs()
    allowed = ROUNDING * pl.sum_horizontal(expression.abs() for expression in added)
    wrong = why.filter(pl.col("base").is_not_null() & ~(beside <= allowed))
    if wrong.height:
        first = f"user_id={wrong['user_id'][0]}, item_id={wrong['item_id'][0]}"
        raise PublishError(f"{name}: families of {wrong.height} of {why.height} rows do not sum to the score (first: {first}). {REFUSED}")


def _check_hard(part: pl.DataFrame, name: str, hard: Hard) -> None:
    broken = list(hard.breaches(part))
    if broken:
        told = "; ".join(
            f"{rows.height} rows break {rule} (first: user_id={rows['user_id'][0]}, item_id={rows['item_id'][0]})" for rule, rows in broken
        )
        raise PublishError(f"{name}: {told}. {REFUSED} Take the rule out or mend the tables, and rank again.")
