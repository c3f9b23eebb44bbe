"""`recsys check`: the checks of the data, and whether the windows fit in them."""

from recsys import ingest, timeline
from recsys.errors import RecsysError
from recsys.ingest import CheckResult
from recsys.pipeline.job import Job


def check(job: Job) -> list[CheckResult]:
    """Every named check, in order; nothing is trained or written."""
    results = ingest.run_checks(job.config, job.base, job.now)
    if any(result.status == "FAIL" for result in results):
        return results
    return [*results, _windows(job)]


def _windows(job: Job) -> CheckResult:
    try:
        events = ingest.ingest(job.config, job.base, job.now).events
        ledger = timeline.evaluation_ledger(*timeline.span(events.lazy()), job.config)
    except RecsysError as error:
        return CheckResult("windows", "FAIL", 1, str(error), ())
    empty = [window.name for window in ledger.windows if not len(timeline.active_users(events, window))]
    if empty:
        return CheckResult("windows", "FAIL", len(empty), f"nobody acted in: {', '.join(empty)}. Choose longer windows in [time].", ())
    spans = tuple(f"{w.name} {w.start:%Y-%m-%d} to {w.end:%Y-%m-%d}: {len(timeline.active_users(events, w))} users" for w in ledger.windows)
    return CheckResult("windows", "PASS", len(spans), "text, ranker folds, valid and test fit in the data", spans)
