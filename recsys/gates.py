"""What the promotion gate decided, one JSON a run beside the runs; out of that and the pointer, who is champion and who challenges it."""

import json
import logging
from typing import Any, Literal, get_args

from recsys import pointer
from recsys.artefacts import Home
from recsys.atomic import disk, dumps, replacing

log = logging.getLogger(__name__)

State = Literal["champion", "challenger", "refused", "retired"]
STATES: tuple[str, ...] = get_args(State)

EARLIER = ("made", "champion", "decision", "forced")
"""What is kept of the decisions before the last one."""


def is_refused(decision: dict[str, Any]) -> bool:
    """Was a run left out: the gate refused it, and nobody forced it."""
    return bool(decision["decision"] == "refused" and not decision["forced"])


def decisions(home: Home) -> dict[str, dict[str, Any]]:
    """The last decision on each run that has one; a file that is damaged is left out, with a warning."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(home.gates.glob("*.json")):
        with disk(path):
            try:
                said = json.loads(path.read_text(encoding="utf-8"))
                found[path.stem] = {"decision": said["decision"], "forced": said["forced"]} | said
            except (ValueError, KeyError, TypeError) as error:
                log.warning("%s: is damaged (%r); the gate can be asked again with `recsys models promote %s`", path, error, path.stem)
    return found


def keep(home: Home, run_id: str, decision: dict[str, Any]) -> None:
    """Keep a decision in one step, and of those before it what EARLIER names. Raises ArtefactError on a disk error."""
    before = decisions(home).get(run_id)
    earlier = [*before.get("earlier", []), {name: before.get(name) for name in EARLIER}] if before else []
    with replacing(home.gates / f"{run_id}.json") as temporary:
        temporary.write_text(dumps(decision | {"earlier": earlier}), encoding="utf-8")


def states(home: Home) -> dict[str, State]:
    """What each complete run is, oldest first.

    champion: it ranks. refused: so the gate said last, and nobody forced it. challenger: the newest run that was trained after the
    champion, never ranked, and was not refused. retired: all others.
    """
    current, said, ranked = home.current(), decisions(home), pointer.ever(home.runs)
    found: dict[str, State] = {}
    for run in home.found(home.runs)[0]:
        left_out = run.run_id in said and is_refused(said[run.run_id])
        found[run.run_id] = "champion" if run.run_id == current else "refused" if left_out else "retired"
    waiting = [name for name, state in found.items() if state == "retired" and name not in ranked and name > (current or "")]
    return found | dict.fromkeys(waiting[-1:], "challenger")


def challenger(home: Home) -> str | None:
    """The run that waits for the gate; None where none does."""
    return next((name for name, state in states(home).items() if state == "challenger"), None)
