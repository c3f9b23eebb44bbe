"""What is known of text at each window: fitted on the text window, then kept fresh, so that no score is older than its window.

The encoder and what was chosen are learned on events before the first ranker fold. From there to tonight may be months, in which new
items come and seasons turn; so at the start of every later window the towers learn on, from all that was known by then. Every score
stays out of its window's time, and the ranker is fitted on scores as fresh as tonight's will be.
"""

from dataclasses import replace
from datetime import timedelta

import polars as pl

from recsys import text, timeline
from recsys.blocks import Catalogue
from recsys.pipeline.job import Job
from recsys.pipeline.snapshot import TextSide
from recsys.pipeline.texts import Texts, fit_texts, side_of, training_of

Sides = tuple[TextSide, ...]
"""One for each moment of `timeline.Ledger.moments`: the folds in order, then valid and test window, or tonight."""


def fit_sides(
    job: Job, texts: Texts, catalogue: Catalogue, events: pl.LazyFrame, ledger: timeline.Ledger, chosen: text.Fitted | None
) -> tuple[Sides, text.Fitted]:
    """Fit on the ledger's text window (`fit_texts`), and refresh at every later moment."""
    side, fitted = fit_texts(job, texts, catalogue, events, ledger.text, chosen)
    sides = [side]
    for moment in ledger.moments[1:]:
        until = moment - timedelta(days=job.config.time.gap_days)
        sides.append(_refreshed(job, texts, catalogue, events, sides[-1], fitted, replace(ledger.text, end=until)))
    return tuple(sides), fitted


def over(student: TextSide, taught: TextSide, texts: Texts, catalogue: Catalogue) -> TextSide:
    """The towers of `taught` over the student's encoder and its vectors."""
    model = replace(taught.model, encoder=student.model.encoder)
    return replace(side_of(model, student.pooled, texts.has_text, catalogue, student.frozen), teacher=taught)


def _refreshed(
    job: Job, texts: Texts, catalogue: Catalogue, events: pl.LazyFrame, side: TextSide, fitted: text.Fitted, window: timeline.Window
) -> TextSide:
    if not job.config.text.refresh_steps:
        return side
    if side.teacher:
        # Teacher and student share their towers, which learn over the teacher's vectors as they did at first.
        return over(side, _refreshed(job, texts, catalogue, events, side.teacher, fitted, window), texts, catalogue)
    training = training_of(job, replace(texts, pooled=side.pooled), catalogue, events, window, fitted)
    training.checkpoint = text.Checkpoint(None)
    model = training.refresh(side.model, fitted, catalogue.items["item_id"])
    return side_of(model, side.pooled, texts.has_text, catalogue, side.frozen)
