"""The ranker's rows of past windows: every query's candidates as of the window's start, with what then happened as labels."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import features, ranker, timeline
from recsys.blocks import Bools, Catalogue
from recsys.errors import TooShortError
from recsys.pipeline.job import Job
from recsys.pipeline.sides import Sides
from recsys.pipeline.snapshot import Chunk, TextSide, chunks, labels, snapshot
from recsys.pipeline.tables import events_of
from recsys.pipeline.world import World
from recsys.text.shown import Shown

N_WINDOWS = 64
"""More than there are windows: queries of pages are numbered after those of candidates."""

MIN_QUERIES = 10
"""Below this a ranker would learn noise; the message says how to widen the windows."""


@dataclass(frozen=True)
class Part:
    """Ranker rows of some queries: which of them a source other than text retrieved, and which are of users of whom text tells."""

    rows: ranker.Rows
    by_behaviour: Bools
    told: Bools

    def where(self, kept: Bools) -> "Part":
        """Some of the rows, in their order."""
        return Part(self.rows.where(kept), self.by_behaviour[kept], self.told[kept])

    @property
    def position(self) -> NDArray[np.int32]:
        """(r,) int32: as in Rows, 0 where it has none."""
        return np.zeros(len(self.told), np.int32) if self.rows.position is None else self.rows.position


def fold_rows(job: Job, world: World, sides: Sides, ledger: timeline.Ledger) -> Part:
    """The thinned rows of the ranker folds. Raises TooShortError where they are too few."""
    parts = enumerate(zip(sides, ledger.folds, strict=False))
    with_pages = job.config.ranker.pages
    rows = joined([thinned(job, _window_rows(job, world, side, window, number, with_pages), number) for number, (side, window) in parts])
    _refuse_few(rows, "the ranker folds", "time.fold_days or time.n_folds")
    return rows


def valid_rows(job: Job, world: World, sides: Sides, ledger: timeline.Ledger) -> Part:
    """All rows of the valid window. Raises TooShortError where they are too few."""
    assert ledger.valid is not None
    valid = _window_rows(job, world, sides[len(ledger.folds)], ledger.valid, len(ledger.folds))
    _refuse_few(valid, "the valid window", "time.valid_days")
    return valid


def thinned(job: Job, part: Part, number: int) -> Part:
    """The rows of window `number` with the seeded share `ranker.keep_unchosen` of the candidates that nobody chose."""
    rng = np.random.default_rng([job.config.project.seed, number])
    is_kept = rng.random(len(part.rows.label)) < job.config.ranker.keep_unchosen
    return part.where((part.rows.label > 0) | (part.position > 0) | is_kept)


def _window_rows(job: Job, world: World, side: TextSide, window: timeline.Window, number: int, with_pages: bool = False) -> Part:
    inside = window.of(world.events).collect()
    users = timeline.active_users(inside, window)
    truth = timeline.truth(inside, window, labels(job.config))
    known = snapshot(
        world.events, world.catalogue, window.start, window.end, side, job.config, world.catalogue.categories, job.threads, job.clock
    )
    parts, done, n_pages = [], 0, 0
    for chunk in chunks(known, world.events, users, job.clock):
        with job.clock.stage("features"):
            parts += _chunk_parts(chunk, truth, world.catalogue, (number << 24) + 2 * done)
            if with_pages:
                parts.append(_page_part(job, world, window, chunk, (number + N_WINDOWS << 24) + n_pages))
                n_pages += len(np.unique(parts[-1].rows.query_id))
        done += chunk.block.history.n_users
        job.display.progress(f"rows: {window.name}", done, len(users))
    return joined(parts)


def _chunk_parts(chunk: Chunk, truth: pl.DataFrame, catalogue: Catalogue, first_query: int) -> list[Part]:
    """Each user asks twice, with and without the items they had: so one ranker learns both tasks."""
    user_ids, pool = chunk.block.history.user_ids, chunk.pool
    keys = pl.DataFrame({"user_id": user_ids.gather(pool.user), "item_id": catalogue.ids(pool.item)})
    label = keys.join(truth, on=["user_id", "item_id"], how="left", maintain_order="left")["label"].fill_null(0).to_numpy()
    matrix = ranker.matrix(chunk.frame, features.names())
    parts = []
    for asked, allowed in enumerate((np.ones(len(label), bool), ~pool.is_seen)):
        chosen = np.flatnonzero(allowed & _has_positive(pool.user, (label > 0) & allowed))
        query = (first_query + 2 * pool.user[chosen] + asked).astype(np.uint32)
        parts.append(
            Part(ranker.Rows(matrix[chosen], label[chosen].astype(np.int32), query), pool.by_behaviour[chosen], chunk.told[chosen])
        )
    return parts


def _page_part(job: Job, world: World, window: timeline.Window, chunk: Chunk, first_query: int) -> Part:
    """The candidates of a chunk that a page of the window showed, a query a page on which something was chosen and something ignored."""
    users, pool = chunk.block.history.user_ids, chunk.pool
    inside = events_of(window.of(world.events), users).lazy()
    types, hours = job.config.events.types, job.config.text.follow_hours
    shown = Shown.of(inside, world.catalogue, users, window.start, window.end, types, hours)
    at = pool.find(shown.user_index[shown.list_index], shown.item_index)
    kept = np.flatnonzero((at >= 0) & (shown.position > 0))
    page = shown.list_index[kept]
    kept = kept[_has_positive(page, shown.label[kept] > 0) & _has_positive(page, shown.label[kept] == 0)]
    query = first_query + np.unique(shown.list_index[kept], return_inverse=True)[1]
    matrix = ranker.matrix(chunk.frame[at[kept]], features.names())
    rows = ranker.Rows(matrix, shown.label[kept].astype(np.int32), query.astype(np.uint32), shown.position[kept])
    return Part(rows, pool.by_behaviour[at[kept]], chunk.told[at[kept]])


def _has_positive(user: np.ndarray, positive: Bools) -> Bools:
    found: Bools = np.bincount(user, positive, minlength=int(user.max(initial=0)) + 1) > 0
    of_rows: Bools = found[user]
    return of_rows


NO_ROWS = Part(
    ranker.Rows(np.empty((0, len(features.names())), np.float32), np.empty(0, np.int32), np.empty(0, np.uint32)),
    np.empty(0, bool),
    np.empty(0, bool),
)
"""Of a window in which nobody acted."""


def joined(parts: list[Part]) -> Part:
    """The parts one after another; none at all has no row."""
    parts = parts or [NO_ROWS]
    rows = ranker.Rows(
        np.concatenate([part.rows.features for part in parts]),
        np.concatenate([part.rows.label for part in parts]),
        np.concatenate([part.rows.query_id for part in parts]),
        np.concatenate([part.position for part in parts]),
    )
    return Part(rows, np.concatenate([part.by_behaviour for part in parts]), np.concatenate([part.told for part in parts]))


def _refuse_few(part: Part, where: str, setting: str) -> None:
    n = len(np.unique(part.rows.query_id))
    if n < MIN_QUERIES:
        raise TooShortError(f"{where}: only {n} queries have a positive among their candidates, {MIN_QUERIES} are needed. Raise {setting}.")


def columns(part: Part, name: str) -> ranker.Rows:
    """The rows that a ranker is fitted on.

    `ranker`, which goes on from the other: those that text tells something of. `ranker_no_text`: without text features, rows that
    only text retrieved, and queries so left without a positive.
    """
    if name == "ranker":
        return part.rows.where(part.told)
    query = np.unique(part.rows.query_id, return_inverse=True)[1]
    kept = np.flatnonzero(part.by_behaviour & _has_positive(query, part.by_behaviour & (part.rows.label > 0)))
    rows = part.rows.where(kept)
    rows.features[:, [place for place, feature in enumerate(features.names()) if features.is_text(feature)]] = np.nan
    return rows
