"""The pages of the test window as a log: what the systems' lists would have brought, had the pages been theirs.

Everybody who was shown a page is asked, whether they then acted or not: whoever acted was more likely shown what they like.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import evaluate, timeline
from recsys.blocks import Bools, Floats, Index
from recsys.config import Config
from recsys.evaluate import Examination, Pages
from recsys.pipeline.chances import listable
from recsys.pipeline.job import Job
from recsys.pipeline.shown import shown_lists
from recsys.pipeline.snapshot import Chunk, Snapshot, best, chunks
from recsys.pipeline.world import World
from recsys.ranker import Ranker
from recsys.text.shown import Shown

SYSTEMS = ("popularity", "retrieval", "ranker_no_text", "ranker")
MOST_USERS = 5_000
"""Users drawn from those who were shown a page in the test window."""

MOST_USERS_EARLIER = 50_000
"""Users whose earlier pages say how much a place is looked at."""

NO_PAGES = "no impression of the test window has a request_id and a position"
NO_PROPENSITY = "no page of the test window has the propensity of all its places"
NO_PLACES = "fewer than two places of the earlier pages have {fewest} acts each, so nobody knows how much a place is looked at"


@dataclass(frozen=True)
class PageLog:
    """Pages of the test window and what each system would have put there.

    users (n_users,) sorted; pages: their users are rows of `users`; age_days (n_pages,): from a page to the window's end; model: of the
    pages before the window; lists: by system (n_users, K) item_index, -1 where there is none; score: by system (n,) of what was shown,
    NaN where it is no candidate.
    """

    users: pl.Series
    pages: Pages
    age_days: Floats
    model: Examination
    lists: dict[str, Index]
    score: dict[str, NDArray[np.float64]]

    @property
    def is_weighted(self) -> Bools:
        """(n,): is it of a page that has the propensity of every place."""
        known = (self.pages.propensity > 0) & (self.pages.propensity <= 1)
        unknown = np.bincount(self.pages.page, ~known, minlength=len(self.pages.user))
        return np.asarray(unknown[self.pages.page] == 0)


def page_log(job: Job, world: World, known: Snapshot, ledger: timeline.Ledger, rankers: dict[str, Ranker]) -> PageLog | str:
    """The log of the test window, whose start is that of `known`; or why there is none."""
    window, config = ledger.test, job.config
    assert window is not None
    users = _drawn(world, window, config.project.seed, MOST_USERS)
    if users.is_empty():
        return NO_PAGES
    shown = _shown(world, window, users, config)
    earlier = timeline.Window("earlier", ledger.folds[0].start, window.start)
    before = _shown(world, earlier, _drawn(world, earlier, config.project.seed, MOST_USERS_EARLIER), config)
    model = evaluate.fit_examination(_pages(before, config), len(world.catalogue))
    if model is None:
        return NO_PLACES.format(fewest=evaluate.FEWEST_ACTS)
    pages = _pages(shown, config)
    pages = pages.where((pages.position >= 1) & (pages.position <= min(model.depth, evaluate.K)))
    lists, score = _asked(job, world, known, rankers, users, pages)
    return PageLog(users, pages, shown.age_days, model, lists, score)


def off_policy(job: Job, log: PageLog | str) -> dict[str, Any]:
    """As the report keeps it: `absent`, or the looks of each place and the estimates of both questions in acts per place shown."""
    if isinstance(log, str):
        return {"absent": log}
    model, kept = log.model, log.is_weighted
    learned = {"looked": model.looked.round(6).tolist(), "learned": {"n": model.n, "n_acts": model.n_acts}}
    with job.clock.stage("evaluate"):
        order = _entry(job, log.pages, ((name, evaluate.offer_of_order(log.pages, score, model)) for name, score in log.score.items()), log)
        if not kept.any():
            return learned | {"places": {"absent": NO_PROPENSITY}, "order": order}
        weighted = log.pages.where(kept)
        offers = ((name, evaluate.offer_of_lists(weighted, lists, model)) for name, lists in log.lists.items())
        return learned | {"places": _entry(job, weighted, offers, log), "order": order}


def _entry(job: Job, pages: Pages, offers: Iterator[tuple[str, evaluate.Offer]], log: PageLog) -> dict[str, Any]:
    logged, found = evaluate.estimates(pages, offers, log.model, job.config.evaluate.bootstrap, job.config.project.seed)
    counts = {"n_places": len(pages), "n_pages": len(np.unique(pages.page)), "n_acts": int(pages.acted.sum())}
    systems = {name: evaluate.without_nan(asdict(one)) for name, one in found.items()}
    return counts | {"logged": evaluate.without_nan(asdict(logged)), "systems": systems}


def _drawn(world: World, window: timeline.Window, seed: int, most: int) -> pl.Series:
    """A seeded draw of users who were shown a page in the window, sorted."""
    placed = (pl.col("event_type") == "impression") & pl.col("request_id").is_not_null() & pl.col("position").is_not_null()
    users = window.of(world.events).filter(placed).select(pl.col("user_id").unique()).collect(engine="streaming")["user_id"].sort()
    return users.gather(np.sort(np.random.default_rng(seed).permutation(len(users))[:most]))


def _shown(world: World, window: timeline.Window, users: pl.Series, config: Config) -> Shown:
    return shown_lists(world.events, world.catalogue, users, window.start, window.end, config)


def _pages(shown: Shown, config: Config) -> Pages:
    acted = shown.label >= config.evaluate.relevant_from
    position, propensity = shown.position.astype(np.int64), shown.propensity.astype(np.float64)
    return Pages(shown.user_index.astype(np.int64), shown.list_index, shown.item_index, position, propensity, acted)


def _asked(
    job: Job, world: World, known: Snapshot, rankers: dict[str, Ranker], users: pl.Series, pages: Pages
) -> tuple[dict[str, Index], dict[str, NDArray[np.float64]]]:
    """`lists` and `score` of a PageLog."""
    user = pages.user_of_row  # rising
    lists = {name: np.full((len(users), evaluate.K), -1, np.int32) for name in SYSTEMS}
    score = {name: np.full(len(pages), np.nan) for name in SYSTEMS}
    done = 0
    for chunk in chunks(known, world.events, users, job.clock):
        with job.clock.stage("evaluate"):
            pool, n = chunk.pool, chunk.block.history.n_users
            own = slice(*np.searchsorted(user, (done, done + n)))
            at = pool.find(user[own] - done, pages.item[own])
            for name, of_rows in _scores(chunk, rankers).items():
                score[name][own][at >= 0] = of_rows[at[at >= 0]]
                allowed = listable(pool.is_seen, job.config.project.task)
                rows, item, rank = best(pool.user, pool.item, of_rows, allowed, evaluate.K)
                lists[name][pool.user[rows] + done, rank - 1] = item
        done += n
        job.display.progress("ranking for the pages", done, len(users))
    return lists, score


def _scores(chunk: Chunk, rankers: dict[str, Ranker]) -> dict[str, NDArray[np.float64]]:
    """By system the scores (r,) of a chunk's candidates, NaN for what is none of its own."""
    no_text = rankers["ranker_no_text"].score(chunk.frame)
    return {
        "popularity": -chunk.pool.rank["popularity"].astype(np.float64),
        "retrieval": chunk.fused.astype(np.float64),
        "ranker_no_text": np.where(chunk.pool.by_behaviour, no_text, np.nan),
        "ranker": rankers["ranker"].score(chunk.frame, chunk.told),
    }
