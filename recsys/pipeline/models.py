"""`recsys models`: the runs of a project, the one that ranks, and the registry that mirrors it."""

from recsys import tracking
from recsys.artefacts import Run
from recsys.pipeline.job import Job
from recsys.tracking import Registry


def promote(job: Job, run_id: str) -> Run:
    """Make a run the current one, once every byte of it was checked. Raises ArtefactError where it cannot be; nothing is then changed."""
    run = job.home.load(run_id)
    run.verify()
    job.home.point(run.run_id, "promote")
    settle(job)
    return run


def rollback(job: Job) -> Run:
    """Make the run current that was so before. Raises ArtefactError where none was, or it cannot be; nothing is then changed."""
    run = job.home.point_back()
    settle(job)
    return run


def settle(job: Job, is_alone: bool = False) -> Registry | None:
    """Send what waits for the tracking server, and let the alias `champion` name the current run; says what was done.

    None where tracking is off or its store does not answer. is_alone: the caller holds the lock of the project's folder.
    """
    found = tracking.settle(job.config.tracking, job.home.folder, job.config.project.name, job.home.current(), is_alone)
    for line in found.done if found else ():
        job.display.say(line)
    return found
