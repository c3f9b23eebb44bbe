"""`recsys train --ablate`: did the text pay? One ranker, fitted anew for each state of knowledge about text, on the same windows.

| variant | text features and candidates |
| --- | --- |
| no_text | none: behaviour alone |
| frozen | of the encoder as it came, a user the mean of their latest interactions |
| tuned | of the encoder and the history tower as they were trained |
| tuned_collaborative | of these, and of the blend of text and item ids |
| distilled | the same with the student's vectors in place of the tuned encoder's |

Each makes its own candidates and features in the folds, the valid and the test window, so a variant is what the shop would have had
with that setting. All answer for the same users, under the same masks, over the same eligible catalogue. What the verdict has fitted is not
fitted again.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from recsys import candidates, evaluate, text, timeline
from recsys.artefacts import Run
from recsys.errors import ModelError
from recsys.pipeline import training, verdict
from recsys.pipeline.job import Job
from recsys.pipeline.sides import Sides, over
from recsys.pipeline.snapshot import Snapshot, TextSide, chunks
from recsys.pipeline.tables import users as users_of
from recsys.pipeline.texts import Texts, distilled_side, frozen_side
from recsys.pipeline.training import Models
from recsys.pipeline.world import World
from recsys.ranker import Ranker

NO_TEXT, FROZEN, TUNED, BLENDED, DISTILLED = VARIANTS = ("no_text", "frozen", "tuned", "tuned_collaborative", "distilled")

PAIRS = (
    (FROZEN, NO_TEXT),
    (TUNED, NO_TEXT),
    (TUNED, FROZEN),
    (BLENDED, TUNED),
    (BLENDED, NO_TEXT),
    (DISTILLED, BLENDED),
)

DISTIL_EPOCHS = 3
"""Passes over the texts that teach the student where `text.distil_epochs` asks for none."""


@dataclass(frozen=True)
class Variant:
    """What is known of text at each window, the ranker fitted on it, and seconds: of the text model, and of rows and trees."""

    sides: Sides
    ranker: Ranker
    text_seconds: float
    ranker_seconds: float


def train(job: Job, then: training.Then = lambda *_: None) -> Run:
    """`training.train` with the ablation in the run's report, under `ablation`."""
    return training.train(job, lambda *known: {"ablation": ablate(*known)}, then)


def ablate(job: Job, world: World, texts: Texts, models: Models, known: Snapshot) -> dict[str, Any]:
    """Fit, time and judge the variants; `known` as of the start of the test window.

    Gives `variants` (costs), `tasks` (figures, paired differences, slices), `n_users` scored, `distil_epochs`, and `left_out`: variant
    and why. Times are of this run: text that was encoded before costs nothing, and no_text's rows were made together with the others'.
    """
    epochs, window = job.config.text.distil_epochs or DISTIL_EPOCHS, models.ledger.test
    assert window is not None
    with job.clock.all_to("ablation"):
        variants, left_out = _variants(job, world, texts, models, epochs)
        asked = verdict.questions(known, world.events, users_of(world.tables), window)
        lists, seconds = {}, {}
        for name, variant in variants.items():
            begun = time.perf_counter()
            lists[name] = pl.concat(_lists(job, world, known, window, name, variant))
            seconds[name] = time.perf_counter() - begun
        tasks = {task: _judged(job, lists, task, question).as_dict() for task, question in asked.items()}
    return {
        "distil_epochs": epochs,
        "left_out": left_out,
        "n_users": len(asked["all"].users),
        "variants": [{"variant": name, **_costs(variant, seconds[name])} for name, variant in variants.items()],
        "tasks": tasks,
    }


def _variants(job: Job, world: World, texts: Texts, models: Models, epochs: int) -> tuple[dict[str, Variant], dict[str, str]]:
    """Those that there are, in order, and the others with the reason."""
    taught = tuple(side.teacher or side for side in models.sides)
    has_blend = candidates.BLEND in taught[0].vectors
    plain = tuple(replace(side, vectors={candidates.TEXT: side.vectors[candidates.TEXT]}) for side in taught) if has_blend else taught
    tuned_seconds = texts.seconds + models.seconds["text"] - models.fitted.blend_seconds - models.fitted.distil_seconds
    frozen = (frozen_side(job, texts, world.catalogue),) * len(taught)
    sides = {FROZEN: (frozen, texts.seconds), TUNED: (plain, tuned_seconds)}
    taught_seconds = tuned_seconds + (models.fitted.blend_seconds if has_blend else 0)
    left_out = {}
    if has_blend:
        sides[BLENDED] = (taught, taught_seconds)
    else:
        left_out[BLENDED] = _no_blend(job, models)
    reason = _not_distilled(texts, taught[0])
    if reason:
        left_out[DISTILLED] = reason
    else:
        student, spent = _student(job, world, texts, models, taught, epochs)
        sides[DISTILLED] = (student, taught_seconds + spent)
    nothing = tuple(replace(side, vectors={}) for side in taught)
    variants = {NO_TEXT: Variant(nothing, models.rankers.whole[training.BASE], 0.0, models.seconds[training.BASE])}
    return variants | {name: _fitted(job, world, models, *side) for name, side in sides.items()}, left_out


def _no_blend(job: Job, models: Models) -> str:
    if not job.config.text.blend_steps:
        return "text.blend_steps = 0"
    return "the text window's validation chose no blend" if models.fitted.curve else "there was nothing to learn from"


def _not_distilled(texts: Texts, taught: TextSide) -> str:
    """Why there can be no student, or nothing."""
    try:
        text.student_layers(taught.model.encoder)
    except ModelError:
        return "the layers of text.encoder cannot be halved"
    return "" if texts.has_text.any() else "no item has a text"


def _student(job: Job, world: World, texts: Texts, models: Models, taught: Sides, epochs: int) -> tuple[Sides, float]:
    """The distilled sides, the run's own where it has them, and the seconds they took."""
    if models.sides[0].teacher:
        return models.sides, models.fitted.distil_seconds
    begun = time.perf_counter()
    first = distilled_side(job, texts, world.catalogue, taught[0], epochs)
    return tuple(over(first, side, texts, world.catalogue) for side in taught), time.perf_counter() - begun


def _fitted(job: Job, world: World, models: Models, sides: Sides, text_seconds: float) -> Variant:
    if sides[0] is models.sides[0]:
        return Variant(sides, models.rankers.whole["ranker"], text_seconds, models.seconds["ranker"])
    rankers, seconds = training.fit_rankers(job, world, sides, models.ledger, models.rankers)
    return Variant(sides, rankers.whole["ranker"], text_seconds, seconds["ranker"])


def _lists(job: Job, world: World, known: Snapshot, window: timeline.Window, name: str, variant: Variant) -> Iterator[pl.DataFrame]:
    """Both tasks' lists of everybody who acted in the window, from their events on."""
    as_known, done = known.knowing(variant.sides[-1]), 0
    users = timeline.active_users(window.of(world.events).collect(), window)
    for chunk in chunks(as_known, world.events, users, job.clock):
        everything = np.ones(len(chunk.pool.user), bool)
        yield from verdict.row_lists(as_known, chunk, name, variant.ranker.score(chunk.frame, chunk.told), everything)
        done += chunk.block.history.n_users
        job.display.progress(f"ablation: ranking by {name}", done, len(users))


def _judged(job: Job, lists: dict[str, pl.DataFrame], task: str, question: evaluate.Question) -> evaluate.Differences:
    of_task = {name: made.filter(pl.col("task") == task).select("user_id", "item_id", "rank") for name, made in lists.items()}
    # Where there is no blend, the student stands beside the tuned encoder itself.
    pairs = [(a, b if b in lists else TUNED) for a, b in PAIRS if a in lists]
    return evaluate.judge_pairs(of_task, question, pairs, job.config.evaluate.bootstrap, job.config.project.seed)


def _costs(variant: Variant, scoring_seconds: float) -> dict[str, float]:
    """Minutes of the text model and of the ranker with its rows, seconds to rank everybody in the test window, trees."""
    return {
        "text_minutes": round(variant.text_seconds / 60, 3),
        "ranker_minutes": round(variant.ranker_seconds / 60, 3),
        "scoring_seconds": round(scoring_seconds, 2),
        "trees": variant.ranker.n_trees,
    }
