"""What a check of the family `leak:` says: its name, and its status by limits of [check]."""

from collections.abc import Iterable

from recsys.ingest import N_EXAMPLES, CheckResult, Status

FAMILY = "leak: "

FEWEST = 10
"""Of fewer of a kind (users, items, events), a share or an AUC is luck, and no check judges it."""


def beyond(value: float, limits: tuple[float, ...]) -> Status:
    """PASS, WARN above the first of at most two ascending limits, FAIL above the second."""
    statuses: tuple[Status, ...] = ("PASS", "WARN", "FAIL")
    return statuses[sum(value > limit for limit in limits)]


def found(name: str, status: Status, count: int, message: str, examples: Iterable[str] = ()) -> CheckResult:
    """A CheckResult of the family, with the first examples."""
    return CheckResult(FAMILY + name, status, count, message, tuple(examples)[:N_EXAMPLES])


def unjudged(name: str, why: str) -> CheckResult:
    """A WARN that a check could not look, and why: nothing is passed in silence."""
    return found(name, "WARN", 0, f"not looked at: {why}")
