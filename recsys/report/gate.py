"""What the promotion gate decided, as a table of checks and one sentence."""

from typing import Any

from recsys import gates
from recsys.report.plain import aligned, prose


def gate_text(decision: dict[str, Any]) -> str:
    """The checks of a decision, what they were made on, and the sentence."""
    if not decision["checks"]:
        return prose(decision["sentence"])
    cells = [[check["name"], check["status"], check["words"]] for check in decision["checks"]]
    return "\n".join([_heading(decision), aligned(("check", "", "found"), cells, n_left=3), "", prose(decision["sentence"])])


def gate_exit_code(decision: dict[str, Any] | None) -> int:
    """1 where the run was refused; 0 where it ranks, or the gate was not asked."""
    return int(decision is not None and gates.is_refused(decision))


def _heading(decision: dict[str, Any]) -> str:
    window = decision["window"]
    where = f", task {decision['task']}, test window {window['start']} to {window['end']}" if window else ""
    return prose(
        f"Gate: run {decision['challenger']} against run {decision['champion']}{where}",
        f"Of run {decision['champion']} is compared: {decision['champion_fit']}.",
    )
