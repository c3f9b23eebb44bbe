"""`recsys suggest`: items for somebody without a history, out of one sentence of declared interest."""

from datetime import datetime

import numpy as np
import polars as pl

from recsys import candidates, timeline
from recsys.artefacts import Run
from recsys.blocks import Bools, Catalogue
from recsys.errors import ConfigError, FutureError, TableError
from recsys.pipeline import tables as tables_of
from recsys.pipeline.job import Job
from recsys.pipeline.ranking import config_of
from recsys.pipeline.snapshot import TextSide
from recsys.pipeline.texts import load_texts
from recsys.text import InterestModel

MOST = 10_000
"""Places of a list, as of `rank.k`."""


def suggest(job: Job, sentence: str, k: int | None, run_id: str | None, as_of: datetime | None) -> pl.DataFrame:
    """rank (Int32, from 1), item_id, title, score (Float32): the `k` eligible items with a text that interest the sentence's author most.

    The score is the interest score of the text; ties by item_id. `as_of` None: the midnight after the last event. A sentence without
    a word that the encoder knows is answered with the list of a newcomer, and a line on stderr says so.
    """
    _check_places(k)
    run = job.home.load(run_id)
    job.config = config_of(job, run)
    tables = tables_of.tables(job)
    moment = as_of or timeline.span(tables.scan("events"))[1]
    _refuse_future(run, moment)
    catalogue = Catalogue.of(tables_of.read(tables)[0])
    side = load_texts(job, InterestModel.load(run.file("text/tower.json").parent, job.config.text), catalogue)
    return _listed(job, side, catalogue, sentence, moment, k or job.config.rank.k)


def _check_places(k: int | None) -> None:
    if k is not None and not 1 <= k <= MOST:
        raise ConfigError(f"k = {k}: a list cannot have so many places. Ask for 1 to {MOST:,}.")


def _refuse_future(run: Run, as_of: datetime) -> None:
    knows_until = datetime.fromisoformat(run.manifest["knows_until"])
    if as_of < knows_until:
        raise FutureError(
            f"run {run.run_id} has learned from events up to {knows_until:%Y-%m-%d %H:%M}, --as-of {as_of:%Y-%m-%d %H:%M} is before that: "
            "its list would know the future. Name an older run with --run, or leave --as-of out."
        )


def _listed(job: Job, side: TextSide, catalogue: Catalogue, sentence: str, as_of: datetime, k: int) -> pl.DataFrame:
    vectors, users = side.vectors[candidates.TEXT], side.model.declared([sentence])
    shown = _shown(np.any(vectors != 0, axis=1), catalogue, as_of)
    if not side.model.readable([sentence])[0]:
        job.display.say(
            "the sentence has no word that the encoder knows: this is the list of somebody who said nothing. Say it in other words."
        )
    scores = side.model.scale() * (users @ vectors.T).max(axis=1)
    _, item, rank = candidates.list_top(scores, shown[None, :], k)
    titles = catalogue.items["title"].gather(item)
    return pl.DataFrame({"rank": rank, "item_id": catalogue.ids(item), "title": titles, "score": scores[0, item]}).cast({"rank": pl.Int32})


def _shown(has_text: Bools, catalogue: Catalogue, as_of: datetime) -> Bools:
    shown = has_text & catalogue.eligible(as_of, as_of)
    if not shown.any():
        raise TableError(
            f"items: none of {len(catalogue):,} has a text and may be shown as of {as_of:%Y-%m-%d %H:%M} ({has_text.sum():,} have a text). "
            "Look at title, description, available_from and available_until in [items.columns]."
        )
    return shown
