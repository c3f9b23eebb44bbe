"""`recsys nightly`, read aloud: check, train when due, ask the gate, rank, measure, publish; and what is told of it, whatever happens."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import polars as pl

from recsys import gates, timeline
from recsys.artefacts import Home, Run
from recsys.atomic import Draft
from recsys.errors import ArtefactError, ConfigError, FutureError, LimitError, RecsysError
from recsys.ingest import CheckResult
from recsys.lock import alone
from recsys.pipeline import recipe
from recsys.pipeline import tables as tables_of
from recsys.pipeline.checking import check
from recsys.pipeline.gauges import write_gauges
from recsys.pipeline.job import Clock, Job
from recsys.pipeline.measuring import Measured, measured
from recsys.pipeline.promoting import promoted
from recsys.pipeline.ranking import config_of, publish, request_of
from recsys.pipeline.training import trained
from recsys.pipeline.watching import Watch

log = logging.getLogger(__name__)

Outcome = Literal["published", "unchanged", "refused", "failed"]


@dataclass
class Told:
    """What happened in one night.

    outcome: `published` (new lists are served), `unchanged` (tonight's were served already), `refused` (a FAIL of the checks, or a limit
    of [monitor]) or `failed`; after the last two, what was served before still is. due: why a run was trained, None where it was not due.
    decision: of the gate on that run; None where it was not asked (it is the only run, or nothing was trained).
    night: the one that is served in the end. seconds: by step; rank_seconds: by stage of the ranking. failures: step and message.
    """

    project: str
    began: datetime
    outcome: Outcome = "failed"
    checks: list[CheckResult] = field(default_factory=list)
    as_of: datetime | None = None
    due: str | None = None
    trained: Run | None = None
    decision: dict[str, Any] | None = None
    run: Run | None = None
    night: Run | None = None
    measured: Measured | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    rank_seconds: dict[str, float] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0: tonight's lists are served, and nothing failed; 1: refused; 2: something failed."""
        return 2 if self.failures else 1 if self.outcome == "refused" else 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Take the time of a step, and take down what fails in it: the job goes on to what can still be done."""
        begun = time.perf_counter()
        try:
            yield
        except LimitError:
            self.outcome = "refused"
        except Exception as error:
            is_ours = isinstance(error, RecsysError)
            log.log(logging.DEBUG if is_ours else logging.ERROR, "%s failed", name, exc_info=True)
            self.failures.append((name, str(error) if is_ours else f"{type(error).__name__}: {error}"))
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


def nightly(job: Job) -> Told:
    """The whole job, alone in the project's folder. What fails is told, not raised, but for what keeps it from beginning.

    Raises BusyError, ArtefactError (the folder cannot be written) and ConfigError (several workers).
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, and recsys nightly is one program. Train with several workers by "
            "`accelerate launch -m recsys.cli train`; the nightly job then finds that run."
        )
    with alone(job.home.folder, "recsys nightly"):
        told, file = Told(job.config.project.name, job.now), job.config.monitor.prometheus_file
        job.home.sweep()
        _go(job, told)
        with suppress(ArtefactError):
            told.night = job.home.night()
        if file:
            with told.step("prometheus"):
                write_gauges(job.base / file, told)
    return told


def _go(job: Job, told: Told) -> None:
    with told.step("check"):
        told.checks = check(job)
    if told.failures:
        return
    if any(result.status == "FAIL" for result in told.checks):
        told.outcome = "refused"
        return
    with told.step("train"):
        told.due = _due(job)
        if told.due:
            job.display.say(f"training: {told.due}")
            told.trained = _waiting(job) or trained(job)
    if told.trained and told.trained.run_id != job.home.current():
        with told.step("gate"):
            told.decision = promoted(job, told.trained.run_id)
    if told.failures and job.home.current() is None:
        return
    with told.step("rank"):
        _rank(job, told)
    if told.measured and told.outcome != "failed":
        with told.step("monitoring"):
            job.home.add_readings(told.measured.table())


def _due(job: Job) -> str | None:
    """Why a new run is needed, in words; None where the latest of those that rank or were refused is as new as can be.

    A challenger that was refused counts as trained: the next one is due when it has other events, or another config, to learn from.
    """
    if job.home.current() is None:
        return "there is no run yet"
    try:
        recipe.made_by(job.home.load())
    except RecsysError as error:
        return f"the current run cannot be used: {error}"
    answered = [name for name, state in gates.states(job.home).items() if state in ("champion", "refused")]
    return _outdated(job, job.home.load(answered[-1]))


def _outdated(job: Job, run: Run) -> str | None:
    """Why another run is to be trained after this one; None where it would be the same again."""
    try:
        made = recipe.made_by(run)
    except ConfigError as error:
        return f"the latest run cannot be used: {error}"
    if changed := recipe.changed(made, job.config):
        return f"{', '.join(changed)} of the config changed since run {run.run_id}"
    days = (timeline.span(tables_of.tables(job).scan("events"))[1] - datetime.fromisoformat(run.manifest["as_of"])).days
    if days >= job.config.nightly.train_every_days:
        return f"run {run.run_id} is {days} days of events old, nightly.train_every_days is {job.config.nightly.train_every_days}"
    return None


def _waiting(job: Job) -> Run | None:
    """A challenger that is what would be trained now: a job that was killed before the gate left it, or somebody trained by hand."""
    name = gates.challenger(job.home)
    run = job.home.load(name) if name else None
    return run if run and _outdated(job, run) is None else None


def _rank(job: Job, told: Told) -> None:
    """Rank with the current run, unless tonight's lists are served already."""
    run = told.run = job.home.load()
    job.config, job.clock = config_of(job, run), Clock({})
    tables = tables_of.tables(job)
    told.as_of = timeline.span(tables.scan("events"))[1]
    request = _request(job, run, tables, told.as_of)
    if published := _published(job.home, request):
        told.outcome, told.measured = "unchanged", Measured.of(published)
        return

    def examine(night: Draft, watch: Watch, events: pl.LazyFrame) -> None:
        with job.clock.stage("monitor"):
            told.measured = measured(job.home, night, watch, events)
            told.measured.keep(night)
        told.measured.refuse_failed()

    publish(job, run, tables, request, examine=examine)
    told.outcome, told.rank_seconds = "published", job.clock.seconds


def _request(job: Job, run: Run, tables: Run, as_of: datetime) -> dict[str, Any]:
    try:
        return request_of(job, run, tables, as_of, job.config.rank.k)
    except FutureError:
        raise FutureError(
            f"the tables of tonight end at {as_of:%Y-%m-%d %H:%M}, and run {run.run_id} has learned up to "
            f"{run.manifest['knows_until'][:16].replace('T', ' ')}: its lists would know the future. Is a file missing? Bring it back, "
            "or train on what there is with `recsys train`."
        ) from None


def _published(home: Home, request: dict[str, Any]) -> Run | None:
    """The served night, where it is what is asked for."""
    with suppress(ArtefactError):
        served = home.night()
        if all(served.manifest.get(name) == value for name, value in request.items()):
            return served
    return None
