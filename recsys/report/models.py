"""What `recsys models list` prints: the runs, newest first, what each reached, and which of them ranks."""

from datetime import UTC, datetime
from typing import Any

from recsys import gates
from recsys.artefacts import Home, Run
from recsys.errors import ArtefactError
from recsys.report import rows
from recsys.report.plain import MISSING, aligned
from recsys.report.rows import JUDGED, MAIN, Row
from recsys.report.words import interval

UNKNOWN = "?"


def models_object(home: Home, versions: dict[str, int] | None) -> dict[str, Any]:
    """What `recsys models list --format json` prints.

    current, before: run ids, None where there is none; before is where a rollback goes. fault: why the current run cannot be used, or
    None. is_registry_known: False where it does not answer. runs: run_id, made, as_of, tasks, megabytes, is_current, state (of `gates`),
    gate (what it said last, a sentence, or None), version, is_champion. versions: of the registry, by run id; None where it is not known.
    An incomplete run is left out, with a warning.
    """
    found = [home.load(run_id) for run_id in reversed(home.run_ids())]
    current, states, said = home.current(), gates.states(home), gates.decisions(home)
    return {
        "current": current,
        "before": home.before(),
        "fault": _fault(home) if current else None,
        "is_registry_known": versions is not None,
        "runs": [
            _row(run, current, versions or {})
            | {"state": states.get(run.run_id, "retired"), "gate": said.get(run.run_id, {}).get("sentence")}
            for run in found
        ],
    }


def run_states(home: Home) -> dict[str, str]:
    """What each complete run is: champion, challenger, refused or retired (of `gates`)."""
    return {run_id: str(state) for run_id, state in gates.states(home).items()}


def models_text(found: dict[str, Any]) -> str:
    """The same as a table for the terminal, and a line on what ranks and where a rollback goes."""
    if not found["runs"] and not found["current"]:
        return "No run yet. Make one with `recsys train`."
    tasks = list(dict.fromkeys(task for row in found["runs"] for task in row["tasks"]))
    header = ("run", "", "made (UTC)", "as of", *(f"{MAIN}, {task}" for task in tasks), "MB", "registry")
    cells = [
        [
            row["run_id"],
            row["state"] if row["state"] != "retired" else "",
            (row["made"] or MISSING)[:16].replace("T", " "),
            row["as_of"][:10],
            *(interval(row["tasks"][task], MAIN) if task in row["tasks"] else MISSING for task in tasks),
            f"{row['megabytes']:,.1f}",
            _registered(row) if found["is_registry_known"] else UNKNOWN,
        ]
        for row in found["runs"]
    ]
    back = f"`recsys models rollback` goes back to {found['before']}." if found["before"] else "No run was current before it."
    ranks = found["fault"] or f"Run {found['current']} ranks." if found["current"] else "No run is current: `recsys models promote RUN`."
    return "\n".join([aligned(header, cells, n_left=4), "", f"{ranks} {back if found['current'] else ''}".rstrip()])


def _row(run: Run, current: str | None, versions: dict[str, int]) -> Row:
    report = run.record("report")
    judged = {task: report["tasks"][task]["systems"][JUDGED][MAIN] for task in rows.tasks(report)}
    version = versions.get(run.run_id)
    return {
        "run_id": run.run_id,
        "made": _made(run.run_id),
        "as_of": report["as_of"],
        "tasks": {task: {MAIN: by["value"], "low": by["low"], "high": by["high"]} for task, by in judged.items()},
        "megabytes": megabytes(run),
        "is_current": run.run_id == current,
        "version": version,
        "is_champion": run.run_id == current and version is not None,
    }


def megabytes(run: Run) -> float:
    """MB of the run's folder, with one digit."""
    return round(int(sum(run.manifest["sizes"].values())) / 1e6, 1)


def _made(run_id: str) -> str | None:
    """The moment in the name of a run, ISO; None where there is none in it."""
    try:
        return datetime.strptime(run_id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).isoformat()
    except ValueError:
        return None


def _fault(home: Home) -> str | None:
    try:
        home.load()
    except ArtefactError as error:
        return str(error)
    return None


def _registered(row: Row) -> str:
    return MISSING if row["version"] is None else f"version {row['version']}{', champion' if row['is_champion'] else ''}"
