"""`recsys backtest`, read aloud: what a training judges, at several past cutoffs, oldest first; then all of them together.

At each cutoff the data end: what happened at it or later does not exist for that fit. Nothing is refitted, and what ranks tonight stays
what it is. A cutoff is kept as soon as it is judged, whole or not at all, so a backtest that was cut short goes on where it was.
"""

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

import feature_store
from recsys import evaluate, text
from recsys.artefacts import Run, draft, new_run_id
from recsys.atomic import sha256
from recsys.config import TASKS
from recsys.config_file import flat
from recsys.errors import ConfigError, TooShortError
from recsys.lock import alone
from recsys.pipeline.job import Clock, Job, begin_peak_memory, peak_memory_mb
from recsys.pipeline.models import settle
from recsys.pipeline.record import chosen_of, windows_of
from recsys.pipeline.retention import retain
from recsys.pipeline.training import evaluated
from recsys.pipeline.world import World, read_world
from recsys.schema import TIME
from recsys.text import workers
from recsys.tracking import track

LIBRARIES = ("implicit", "lightgbm", "numpy", "polars", "scipy", "torch", "transformers")
"""Another version of one of them may give other figures."""

SHARES = ("value", "alone", "only")


def backtest(job: Job, n_cutoffs: int, every_days: int | None = None) -> Run:
    """Judge at up to `n_cutoffs` cutoffs, `every_days` apart (None: `time.test_days`, so that no two test windows overlap).

    The last cutoff is the end of the data, so its verdict is that of `recsys train`. A cutoff for which the data are too short is left out,
    and said so. Raises TooShortError where that leaves none, ConfigError where `accelerate launch` started several workers.
    """
    if workers().n > 1:
        raise ConfigError("recsys backtest: runs as one program alone. Start it without `accelerate launch`.")
    with alone(job.home.folder, "recsys backtest"):
        job.home.sweep()
        world = read_world(job)
        every = every_days or job.config.time.test_days
        digest = _digest(job, world)
        judged, left_out = _cutoffs(job, world, digest, _moments(world.end, n_cutoffs, every))
        made = _keep(job, world, digest, every, judged, left_out)
        _track(job, made)
        settle(job, is_alone=True)
        retain(job)
        return made


def before(world: World, cutoff: datetime) -> World:
    """The world as if it ended at the cutoff: without the events at it and later. The items stay as they are."""
    return replace(world, events=world.events.filter(pl.col("event_time") < pl.lit(cutoff, TIME)), end=cutoff)


def _moments(end: datetime, n_cutoffs: int, every_days: int) -> list[datetime]:
    """Oldest first."""
    return [end - timedelta(days=every_days * back) for back in range(n_cutoffs - 1, -1, -1)]


def _cutoffs(job: Job, world: World, digest: str, moments: list[datetime]) -> tuple[list[Run], dict[datetime, str]]:
    """The cutoffs that are judged, and the others with the reason."""
    judged, left_out = [], {}
    for number, moment in enumerate(moments, start=1):
        job.display.say(f"cutoff {number} of {len(moments)}: {moment:%Y-%m-%d}")
        try:
            judged.append(_cutoff(job, world, digest, moment))
        except TooShortError as error:
            left_out[moment] = str(error)
            job.display.say(f"left out: {error}")
    if not judged:
        raise TooShortError(f"backtest: the data are too short for any of {len(moments)} cutoffs. The latest: {left_out[moments[-1]]}")
    return judged, left_out


def _cutoff(job: Job, world: World, digest: str, moment: datetime) -> Run:
    """Judged now, or kept from before."""
    name = f"{digest}-{moment:%Y%m%d}"
    if (job.home.cutoffs / name).exists():
        job.display.say("kept from before")
        return job.home.cutoff(name)
    if moment <= world.start:
        raise TooShortError(f"events: they begin on {world.start:%Y-%m-%d}, and not before this cutoff. Ask for fewer, or collect more.")
    job, begun = replace(job, clock=Clock()), time.perf_counter()
    begin_peak_memory()
    cut = before(world, moment)
    one = evaluated(job, cut)
    with draft(job.home.cutoffs / name, {"cutoff": moment.isoformat(), "made": job.now.isoformat()}) as folder:
        tasks = {task: verdict.as_dict() for task, verdict in one.judged.tasks.items()}
        known = {"windows": windows_of(one.models.ledger, cut), "chosen": chosen_of(one.models), "tasks": tasks}
        folder.record("judged", known | {"candidate_recall": one.judged.candidate_recall})
        folder.table("per_user", one.judged.per_user)
        folder.record("cost", _cost(job, time.perf_counter() - begun))
    return job.home.cutoff(name)


def _cost(job: Job, seconds: float) -> dict[str, Any]:
    by_stage = {stage: round(spent, 1) for stage, spent in job.clock.seconds.items() if spent}
    return {"minutes": round(seconds / 60, 3), "peak_memory_mb": round(peak_memory_mb(), 1), "seconds": by_stage}


def _digest(job: Job, world: World) -> str:
    """Of everything that decides a cutoff's figures: config, tables, encoder, code."""
    beside = {"search", "rank", "rules", "tracking", "publish", "nightly", "monitor", "check"}
    made = job.config.model_dump(mode="json", exclude={**dict.fromkeys(beside, True), "project": {"name", "folder", "keep_runs"}})
    encoder = _files_digest(sorted(text.find_encoder(job.config.text.encoder, job.base).glob("*.*")))
    tables = [world.tables.manifest["digests"][f"{name}.parquet"] for name in ("items", "events")]
    decides = [made, job.threads, tables, encoder, _code_digest(), [version(name) for name in LIBRARIES]]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _code_digest() -> str:
    folders = (Path(__file__).parents[1], Path(str(feature_store.__file__)).parent)
    return _files_digest(path for folder in folders for path in sorted(folder.rglob("*.py")))


def _files_digest(paths: Iterable[Path]) -> str:
    return hashlib.sha256("".join(f"{path.name} {sha256(path)}\n" for path in paths if path.is_file()).encode()).hexdigest()


def _keep(job: Job, world: World, digest: str, every_days: int, judged: list[Run], left_out: dict[datetime, str]) -> Run:
    """Put the cutoffs together as one artefact, in which no user is named."""
    backtest_id = new_run_id(job.now, digest)
    manifest = {"backtest_id": backtest_id, "as_of": world.end.isoformat(), "cutoffs": [one.run_id for one in judged]}
    asked = {
        "backtest_id": backtest_id,
        "task": job.config.project.task,
        "encoder": job.config.text.encoder,
        "every_days": every_days,
        "test_days": job.config.time.test_days,
        "left_out": [{"cutoff": moment.isoformat(), "reason": reason} for moment, reason in left_out.items()],
    }
    with draft(job.home.backtests / backtest_id, manifest) as folder:
        folder.record("report", asked | _together(job, judged))
    return job.home.backtest(backtest_id)


def _together(job: Job, judged: list[Run]) -> dict[str, Any]:
    rows = [_row(one) for one in judged]
    per_user = pl.concat([one.table("per_user").with_columns(cutoff=pl.lit(one.manifest["cutoff"])) for one in judged])
    given = ("ranker", job.config.evaluate.bootstrap, job.config.project.seed)
    with job.clock.stage("evaluate"):
        tasks = {task: evaluate.across(per_user.filter(pl.col("task") == task), *given).as_dict() for task in TASKS}
    costs = [row["cost"] for row in rows]
    return {
        "cutoffs": rows,
        "tasks": tasks,
        "candidate_recall": _recall([row["candidate_recall"] for row in rows]),
        "cost": {"minutes": sum(c["minutes"] for c in costs), "peak_memory_mb": max(c["peak_memory_mb"] for c in costs)},
    }


def _row(one: Run) -> dict[str, Any]:
    """What is kept of one cutoff beside all of them together: its verdict without the slices."""
    found = one.record("judged")
    tasks = {task: {key: value for key, value in content.items() if key != "slices"} for task, content in found["tasks"].items()}
    return found | {"cutoff": one.manifest["cutoff"], "tasks": tasks, "cost": one.record("cost")}


def _recall(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Candidate recall over the cutoffs, and of each source over those that have it."""
    sources = list(dict.fromkeys(source for one in found for source in one["sources"]))
    shares = {
        source: {share: _spread([one["sources"][source][share] for one in found if source in one["sources"]]) for share in SHARES}
        for source in sources
    }
    return {"total": _spread([one["total"] for one in found]), "sources": shares}


def _spread(values: list[float | None]) -> dict[str, Any]:
    plain: dict[str, Any] = evaluate.without_nan(asdict(evaluate.spread(values)))
    return plain


def _track(job: Job, made: Run) -> None:
    """An MLflow run, where tracking is on: figures over all cutoffs, and by cutoff as steps."""
    report = made.record("report")
    with track(job.config.tracking, job.home.folder, job.config.project.name, f"backtest-{made.run_id}") as tracker:
        tracker.params(flat(job.config.model_dump(mode="json")))
        for task, content in report["tasks"].items():
            for system, by_metric in content["systems"].items():
                tracker.metrics({f"{task}/{system}/{metric}": over["figure"]["value"] for metric, over in by_metric.items()})
        for step, row in enumerate(report["cutoffs"]):
            for task, content in row["tasks"].items():
                by_system = {system: by["ndcg@10"]["value"] for system, by in content["systems"].items()}
                tracker.metrics({f"{task}/{s}/ndcg@10_by_cutoff": value for s, value in by_system.items() if value is not None}, step)
        tracker.metrics({f"cost/{name}": value for name, value in report["cost"].items()})
        tracker.record("backtest", report)
