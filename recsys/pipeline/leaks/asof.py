"""Drop the future from candidates and features: of all events, and of those before the moment alone, they must be the same bytes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys import timeline
from recsys.blocks import Catalogue
from recsys.ingest import CheckResult
from recsys.pipeline.job import Job
from recsys.pipeline.leaks.found import found, unjudged
from recsys.pipeline.snapshot import Chunk, TextSide, chunks, snapshot

FEATURES, ON_SALE = "features without the future", "candidates on sale"


@dataclass(frozen=True)
class Looked:
    """Candidates and features of some users of a window, as of its start.

    differs: what is not the same bytes without the events from then on; not_on_sale: candidates that cannot be had in the window;
    unborn: those that come on sale within it; users: their ids, chunk by chunk as in `made`.
    """

    window: timeline.Window
    made: list[Chunk]
    differs: list[str]
    not_on_sale: list[str]
    n_unborn: int
    n_users: int

    @property
    def n_rows(self) -> int:
        """Candidates of all users."""
        return sum(chunk.frame.height for chunk in self.made)


def look(job: Job, catalogue: Catalogue, side: TextSide, events: pl.DataFrame, then: pl.DataFrame, window: timeline.Window) -> Looked:
    """Make them out of `events`, and again out of `then`, the events as they were read without what came later."""
    users = drawn(timeline.active_users(events, window), job.config.check.leak_users, job.config.project.seed)
    made = _made(job, catalogue, side, events, window, users)
    again = _made(job, catalogue, side, then, window, users)
    item = np.concatenate([np.zeros(0, np.int32), *(chunk.pool.item for chunk in made)])
    wrong = np.unique(item[~catalogue.eligible(window.start, window.end)[item]])
    unborn = catalogue.items.select((pl.col("available_from") >= window.start).fill_null(False)).to_series().to_numpy()
    differs = sorted({name for one, other in zip(made, again, strict=True) for name in differing(one, other)})
    return Looked(window, made, differs, catalogue.ids(wrong).to_list(), int(unborn[item].sum()), len(users))


def drawn(users: pl.Series, most: int, seed: int) -> pl.Series:
    """At most so many of the sorted users, seeded, sorted."""
    if len(users) <= most:
        return users
    return users.gather(np.sort(np.random.default_rng(seed).choice(len(users), most, replace=False)))


def differing(one: Chunk, other: Chunk) -> Iterator[str]:
    """The names of what is not the same bytes: `candidates`, `<source>_score` and `<source>_rank`, features."""
    pools = (one.pool, other.pool)
    if len({(pool.user.tobytes(), pool.item.tobytes(), pool.is_seen.tobytes()) for pool in pools}) > 1:
        yield "candidates"
        return
    for name in one.pool.score:
        yield from (f"{name}_score" for _ in range(len({pool.score[name].tobytes() for pool in pools}) - 1))
        yield from (f"{name}_rank" for _ in range(len({pool.rank[name].tobytes() for pool in pools}) - 1))
    for name in one.frame.columns:
        if one.frame[name].to_numpy().tobytes() != other.frame[name].to_numpy().tobytes():
            yield name


def without_the_future(parts: list[Looked], has_text: bool) -> CheckResult:
    """One result of all moments. has_text: did text have a part."""
    looked = ", ".join(f"{part.window.start:%Y-%m-%d} ({part.n_users:,} users, {part.n_rows:,} candidates)" for part in parts)
    looked += "" if has_text else "; text had no part, for want of vectors that a training kept"
    differs = [f"as of {part.window.start:%Y-%m-%d}: {name}" for part in parts for name in part.differs]
    if differs:
        return found(FEATURES, "FAIL", len(differs), f"other bytes without what came later, as of {looked}", differs)
    empty = [part.window.name for part in parts if not part.n_users]
    if empty:
        return unjudged(FEATURES, f"nobody acted in {', '.join(empty)}")
    return found(FEATURES, "PASS", 0, f"the same bytes with and without what came later, as of {looked}")


def on_sale(parts: list[Looked]) -> CheckResult:
    """Was every candidate to be had in its window: no source, text before all, may list what is not born yet."""
    wrong = [f"as of {part.window.start:%Y-%m-%d}: {item_id}" for part in parts for item_id in part.not_on_sale]
    n_rows, n_unborn = sum(part.n_rows for part in parts), sum(part.n_unborn for part in parts)
    message = (
        f"of {n_rows:,} candidates {len(wrong):,} items are not on sale in their window; {n_unborn:,} come on sale within it, which a "
        "shop knows"
    )
    return found(ON_SALE, "FAIL" if wrong else "PASS", len(wrong), message, wrong)


def _made(job: Job, catalogue: Catalogue, side: TextSide, events: pl.DataFrame, window: timeline.Window, users: pl.Series) -> list[Chunk]:
    if not len(users):
        return []
    lazy = events.lazy()
    known = snapshot(lazy, catalogue, window.start, window.end, side, job.config, catalogue.categories, job.threads, job.clock)
    return list(chunks(known, lazy, users, job.clock))
