"""What the rules cost: the ranker's lists of the test window without them, under each rule alone, and under all of them.

They are judged on the primary task, as everything is: from what was known at the start of the window. Columns of items and users have
no history: what a rule says of them is what they are tonight.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from recsys import evaluate, timeline
from recsys.calibration import Calibration
from recsys.config import Config
from recsys.pipeline import tables as tables_of
from recsys.pipeline import verdict
from recsys.pipeline.chances import chances, why_absent
from recsys.pipeline.job import Job
from recsys.pipeline.ruling import book_of, ruled
from recsys.pipeline.snapshot import Snapshot, as_lists, chunks
from recsys.pipeline.world import World
from recsys.ranker import Ranker

WITHOUT, TOGETHER = "no rules", "all together"


def price(job: Job, world: World, known: Snapshot, window: timeline.Window, ranker: Ranker, calibration: Calibration) -> dict[str, Any]:
    """`task`, `lists` (no rules, each rule, all together: figures and the difference against no rules), `notes`; {} without a rule.

    calibration: the one that the window judges.
    """
    config, users = job.config, tables_of.users(world.tables)
    if not config.rules.names:
        return {}
    with job.clock.stage("evaluate"):
        question = verdict.questions(known, world.events, users, window)[config.project.task]
        lists = pl.concat(_lists(job, world, known, question.users, ranker, calibration))
        by_name = {str(name): frame.drop("name") for (name,), frame in lists.group_by("name", maintain_order=True)}
        asked = {name: by_name.get(name, lists.head(0).drop("name")) for name in (WITHOUT, *config.rules.names, TOGETHER)}
        found = evaluate.price_lists(asked, question, WITHOUT, config.evaluate.bootstrap, config.project.seed)
    notes = [*book_of(config, known, users).notes(_places(job)), *_unmet(config, calibration)]
    return {"rules": {"task": config.project.task, "lists": [one.as_dict() for one in found], "notes": notes}}


def _places(job: Job) -> int:
    """As many as tonight, so that what is pinned far below counts in caps, and as many as are judged."""
    return max(job.config.rank.k, evaluate.K)


def _unmet(config: Config, calibration: Calibration) -> Iterator[str]:
    absent = why_absent(calibration, config.project.task)
    for name, (column, _) in config.rules.least_chances.items():
        if column in absent:
            yield f"rules.{name}: nothing meets it, as there is no {column} ({absent[column]})"


def _lists(
    job: Job, world: World, known: Snapshot, user_ids: pl.Series, ranker: Ranker, calibration: Calibration
) -> Iterator[pl.DataFrame]:
    """name, user_id, item_id, rank of each kind of lists, the judged places alone."""
    users, names, done = tables_of.users(world.tables), job.config.rules.names, 0
    book = book_of(job.config, known, users)
    for chunk in chunks(known, world.events, user_ids, job.clock):
        score, task = ranker.score(chunk.frame, chunk.told), job.config.project.task
        found = ruled(book, chunk, score, chances(calibration, chunk, score, task), users, task)
        for name, kept in {WITHOUT: (), **{name: (name,) for name in names}, TOGETHER: names}.items():
            cells = found.lists(kept, _places(job))[0][:, : evaluate.K]
            user, place = np.nonzero(cells >= 0)
            items = found.item[user, cells[user, place]]
            made = as_lists(chunk.block.history.user_ids, known.catalogue, user, items, place + 1)
            yield made.select(pl.lit(name).alias("name"), pl.all())
        done += chunk.block.history.n_users
        job.display.progress("pricing the rules", done, len(user_ids))
