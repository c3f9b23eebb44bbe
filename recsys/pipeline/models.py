"""`recsys models`: the runs of a project, the one that ranks, and the registry that mirrors it."""

from recsys import gates, tracking
from recsys.artefacts import Run
from recsys.errors import RecsysError
from recsys.pipeline import recipe
from recsys.pipeline.job import Job
from recsys.tracking import Registry, Standing


def champion(job: Job) -> Run | None:
    """The run that ranks; None where none does, or it cannot: its files or its config are of no use here."""
    try:
        run = job.home.load()
        recipe.made_by(run)
    except RecsysError:
        return None
    return run


def rollback(job: Job) -> Run:
    """Make the run current that was so before. Raises ArtefactError where none was, or it cannot be; nothing is then changed."""
    run = job.home.point_back()
    settle(job)
    return run


def settle(job: Job, is_alone: bool = False) -> Registry | None:
    """Send what waits for the tracking server, let its aliases name champion and challenger, and write the gate's decisions there.

    Says what was done. None where tracking is off or its store does not answer. is_alone: the caller holds the lock of the project.
    """
    home, config = job.home, job.config
    standing = Standing(home.current(), gates.challenger(home), gates.decisions(home))
    found = tracking.settle(config.tracking, home.folder, config.project.name, standing, is_alone)
    for line in found.done if found else ():
        job.display.say(line)
    return found
