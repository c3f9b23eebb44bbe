"""The report of a run: one plain object with everything a person or a program asks about its quality and its cost."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recsys import evaluate, timeline
from recsys.pipeline.job import Job
from recsys.schema import LIKED

if TYPE_CHECKING:
    from recsys.pipeline.training import Models
    from recsys.pipeline.verdict import Judged
    from recsys.pipeline.world import World


def report_of(job: Job, run_id: str, world: World, models: Models, judged: Judged) -> dict[str, Any]:
    """The object that `recsys report --format json` prints (peak memory is added when it is written)."""
    return {
        "run_id": run_id,
        "as_of": world.end.isoformat(),
        "task": job.config.project.task,
        "encoder": job.config.text.encoder,
        "windows": windows_of(models.ledger, world),
        "tasks": {task: _task(verdict) for task, verdict in judged.tasks.items()},
        "candidate_recall": judged.candidate_recall,
        "grouped_auc": judged.grouped_auc,
        "chosen": chosen_of(models),
        "distillation": asdict(models.fitted.distilled) if models.fitted.distilled else None,
        "classification": models.fitted.classification,
        "counts": world.tables.record("counts"),
        "eligibility": "an item that becomes available inside a window may be listed in it: a shop knows tomorrow's new items",
        "seconds": {stage: round(seconds, 1) for stage, seconds in job.clock.seconds.items()},
    }


def chosen_of(models: Models) -> dict[str, float]:
    """What windows held out have chosen: steps of the text model, gain of the blend, trees."""
    return {
        "warm_steps": models.fitted.warm_steps,
        "steps": models.fitted.steps,
        "blend_steps": models.fitted.blend_steps,
        "gain": models.fitted.gain,
        "trees": models.rankers.whole["ranker"].n_trees,
        "trees_without_text": models.rankers.whole["ranker_no_text"].n_trees,
    }


def windows_of(ledger: timeline.Ledger, world: World) -> list[dict[str, Any]]:
    """name, start, end, n_events, n_queries, n_likes of each window, in order of time."""
    return [_window(window, world) for window in ledger.windows]


def _task(verdict: evaluate.Verdict) -> dict[str, Any]:
    anchors, traps = evaluate.anchors_of(verdict.systems, "ranker"), evaluate.traps_of(verdict.paired, verdict.slices)
    return verdict.as_dict() | {"anchors": anchors.as_dict(), "traps": traps}


def _window(window: timeline.Window, world: World) -> dict[str, Any]:
    events = window.of(world.events.select("user_id", "event_time", "event_type")).collect()
    return {
        "name": window.name,
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "n_events": events.height,
        "n_queries": len(timeline.active_users(events, window)),
        "n_likes": int(events["event_type"].is_in(LIKED).sum()),
    }
