"""Promotion, read aloud: the gate decides, the decision is kept, and only then does the pointer turn."""

import os
from typing import Any

from recsys import gates
from recsys.artefacts import Run
from recsys.errors import BusyError, ConfigError
from recsys.lock import alone
from recsys.pipeline import ablation, gate, training
from recsys.pipeline.job import Job
from recsys.pipeline.models import champion, settle


def train(job: Job, ablate: bool, promote: bool) -> tuple[Run, dict[str, Any] | None]:
    """`recsys train`; with `promote` the gate is asked at once, and its decision comes with the run."""
    if promote and os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError("--promote: the gate works in one program. Train without it, then ask: `recsys models promote RUN`.")
    decisions: list[dict[str, Any]] = []

    def then(job: Job, run: Run) -> None:
        if promote:
            decisions.append(promoted(job, run.run_id))

    run = (ablation.train if ablate else training.train)(job, then=then)
    if not decisions and run.run_id != job.home.current():
        job.display.say(f"run {run.run_id} is a challenger: `recsys models promote {run.run_id}` asks the gate whether it may rank")
    return run, decisions[0] if decisions else None


def promote(job: Job, run_id: str, forced: str | None = None) -> dict[str, Any]:
    """Ask the gate about a run, and let it rank where it passes, or where it is `forced` for a reason; returns the decision.

    Raises ConfigError on an empty reason, ArtefactError where the run is not whole or what is needed cannot be read or written,
    BusyError where another command is at work, or another run came to rank meanwhile; the run that ranked then still does.
    """
    if forced is not None and not forced.strip():
        raise ConfigError("--force: the reason is empty. Say why this run shall rank: it is kept with the decision.")
    with alone(job.home.folder, "recsys models promote"):
        return promoted(job, run_id, forced)


def promoted(job: Job, run_id: str, forced: str | None = None) -> dict[str, Any]:
    """`promote` where the project's folder is already held (`recsys.lock`)."""
    run, before, ranking = job.home.load(run_id), job.home.current(), champion(job)
    run.verify()
    if ranking and ranking.run_id == run.run_id:
        sentence = f"Run {run.run_id} ranks already; nothing was to be decided."
        return {"decision": "passed", "forced": None, "challenger": run.run_id, "champion": run.run_id, "sentence": sentence, "checks": []}
    decision = gate.decide(job, run, ranking, forced)
    gates.keep(job.home, run.run_id, decision)
    if not gates.is_refused(decision):
        if job.home.current() != before:
            raise BusyError(f"run {job.home.current()} came to rank while the gate compared with {before}. Nothing was changed; ask again.")
        job.home.point(run.run_id, "promote")
    settle(job, is_alone=True)
    return decision
