"""What the pointer `current` has named, in order, in the file `pointed.json` beside it: so that there is a way back.

The pointer rules. It may be moved by hand, and a process may die between the two files: where they disagree, the pointer is taken
as it stands, and noted as found.
"""

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from recsys.atomic import disk, dumps, point, pointed, replacing

log = logging.getLogger(__name__)

NAME = "pointed.json"

By = Literal["train", "promote", "rollback", "found"]
Turn = dict[str, str]
"""run_id, by (`By`), time (ISO, UTC)."""


def turn(folder: Path, name: str, by: By) -> None:
    """Point at `name`; what was pointed at before is kept."""
    turns = _turns(folder)
    # The pointer first: a process that dies in between leaves a turn that is then found, not one that never was.
    point(folder, name)
    _write(folder, turns if _stack(turns)[-1:] == [name] else [*turns, _turn(name, by)])


def before(folder: Path) -> str | None:
    """What was pointed at before; None where nothing is known of it."""
    stack = _stack(_turns(folder))
    return stack[-2] if len(stack) > 1 else None


def ever(folder: Path) -> set[str]:
    """All names that were ever pointed at, as far as is known."""
    return {one["run_id"] for one in _turns(folder)}


def turn_back(folder: Path, name: str) -> None:
    """Point at `name`, which is what was pointed at `before`; the turn that led away from it no longer counts."""
    # Here the note first: after a death in between, what is pointed at still has the same before it.
    _write(folder, [*_turns(folder), _turn(name, "rollback")])
    point(folder, name)


def _turn(name: str, by: By) -> Turn:
    return {"run_id": name, "by": by, "time": datetime.now(UTC).isoformat(timespec="seconds")}


def _stack(turns: list[Turn]) -> list[str]:
    """The names that a way back leads through, the present one last."""
    stack: list[str] = []
    for one in turns:
        if one["by"] == "rollback":
            stack = stack[:-1]
        if stack[-1:] != [one["run_id"]]:
            stack.append(one["run_id"])
    return stack


def _turns(folder: Path) -> list[Turn]:
    """The turns so far, the last of them to what the pointer names."""
    turns, name = _read(folder / NAME), pointed(folder)
    return turns if name is None or _stack(turns)[-1:] == [name] else [*turns, _turn(name, "found")]


def _read(path: Path) -> list[Turn]:
    """None, with a warning, where the file is damaged; it is set aside."""
    with disk(path):
        try:
            turns = json.loads(path.read_text(encoding="utf-8"))["turns"]
            return [{key: str(one[key]) for key in ("run_id", "by", "time")} for one in turns]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (ValueError, KeyError, TypeError) as error:
            aside = path.with_name(f"{NAME}.damaged")
            os.replace(path, aside)
            log.warning("%s: is damaged (%s) and was set aside as %s; what was current earlier is no longer known", path, error, aside.name)
            return []


def _write(folder: Path, turns: list[Turn]) -> None:
    with replacing(folder / NAME) as temporary:
        temporary.write_text(dumps({"turns": turns}), encoding="utf-8")
