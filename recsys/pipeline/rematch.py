"""A champion's recipe on a challenger's ground: fitted on its tables up to its test window, judged on that, and kept.

So no model is judged on events that it was fitted on: the champion itself has been refitted since, up to the end of its own events.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl

from recsys import timeline
from recsys.artefacts import Run, draft
from recsys.atomic import remove
from recsys.errors import DataError
from recsys.pipeline import recipe, training
from recsys.pipeline.job import Clock, Job
from recsys.pipeline.world import World, world_of


def rematch(job: Job, champion: Run, challenger: Run) -> Run:
    """The lists of the champion's recipe on the challenger's test window, and the seconds of each stage; fitted once, then kept.

    Raises ConfigError, DataError or ModelError where the recipe cannot be followed there, ArtefactError where the tables are gone.
    """
    config = recipe.followed(champion, challenger, job.config)
    said = {
        "run_id": champion.run_id,
        "challenger": challenger.run_id,
        "config_hash": config.digest(),
        "recsys_version": recipe.recsys_version(),
        "dataset_digests": challenger.manifest["dataset_digests"],
    }
    name = f"{champion.run_id}_on_{challenger.run_id}"
    if not (job.home.gates / name).exists() or not _is_of(job.home.rematch(name), said):
        _fit(replace(job, config=config, clock=Clock()), name, said, challenger)
    return job.home.rematch(name)


def _is_of(kept: Run, said: dict[str, Any]) -> bool:
    return all(kept.manifest[key] == value for key, value in said.items())


def _fit(job: Job, name: str, said: dict[str, Any], challenger: Run) -> None:
    if not (job.home.snapshots / challenger.manifest["tables"]).is_dir():
        raise DataError(f"the tables of run {challenger.run_id} are gone, nothing can be fitted on them. Train again with `recsys train`.")
    world = world_of(job.home.tables(challenger.manifest["tables"]))
    _refuse_other_window(job, world, challenger)
    job.display.say(f"gate: fitting the recipe of run {said['run_id']} on the tables of run {challenger.run_id}")
    judged = training.evaluated(job, world).judged
    if (job.home.gates / name).exists():
        remove(job.home.gates / name)
    with draft(job.home.gates / name, said) as folder:
        folder.table("lists", judged.lists.filter(pl.col("system") == "ranker"))
        folder.record("report", {"seconds": {stage: round(seconds, 1) for stage, seconds in job.clock.seconds.items()}})


def _refuse_other_window(job: Job, world: World, challenger: Run) -> None:
    found, wanted = timeline.evaluation_ledger(world.start, world.end, job.config).test, judged_on(challenger)
    if found is None or (found.start, found.end) != wanted:
        raise DataError(
            f"the tables of run {challenger.run_id} end at {world.end:%Y-%m-%d}, and its test window at {wanted[1]:%Y-%m-%d}: rows have "
            "gone since. Train again with `recsys train`."
        )


def judged_on(run: Run) -> tuple[datetime, datetime]:
    """Start and end of what a run was judged on."""
    start, end = run.table("windows").filter(pl.col("name") == "test").select("start", "end").row(0)
    return start, end
