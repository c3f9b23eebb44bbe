"""What `recsys nightly` prints: one summary, as an object for programs and, of the same facts, as lines fit for a mail or a chat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from recsys import gates
from recsys.report import rows
from recsys.report.plain import figure
from recsys.report.rows import JUDGED, MAIN, Row

if TYPE_CHECKING:
    from recsys.artefacts import Run
    from recsys.pipeline.nightly import Told

STATUSES = ("PASS", "WARN", "FAIL")
INDENT = 12
DIGITS = 6

MEANINGS = {
    "published": "tonight's lists are served",
    "unchanged": "tonight's lists were served already, nothing was to be done",
    "refused": "nothing was published, the lists of before are still served",
    "failed": "tonight's lists were not published, what was served before still is",
}


def nightly_object(told: Told) -> dict[str, Any]:
    """What `recsys nightly --format json` prints; every key is there every night, None or empty where there is nothing to say."""
    return {
        "project": told.project,
        "began": told.began.isoformat(timespec="seconds"),
        "outcome": told.outcome,
        "exit_code": told.exit_code,
        "as_of": told.as_of.isoformat() if told.as_of else None,
        "checks": _checks(told),
        "training": {
            "due": told.due,
            "run_id": told.trained.run_id if told.trained else None,
            "figure": _main_figure(told.trained),
            "gate": told.decision,
        },
        "run": {"run_id": told.run.run_id, "as_of": told.run.manifest["as_of"]} if told.run else None,
        "served": _night(told.night),
        "monitoring": _monitoring(told),
        "seconds": {name: round(seconds, 1) for name, seconds in told.seconds.items()},
        "rank_seconds": {name: round(seconds, 1) for name, seconds in told.rank_seconds.items()},
        "failures": [{"step": step, "message": message} for step, message in told.failures],
        "to_do": list(_to_do(told)),
    }


def nightly_text(said: dict[str, Any]) -> str:
    """The same facts as lines; the last one is the published folder alone or, where none was published, REFUSED or FAILED."""
    lines = [f"{said['project']}, night of {said['began'][:16].replace('T', ' ')}: {said['outcome']}, {MEANINGS[said['outcome']]}", ""]
    for name, value in _lines(said):
        lines += [f"{name:<{INDENT}}{line}" if not place else f"{'':<{INDENT}}{line}" for place, line in enumerate(value)]
    is_served = said["outcome"] in ("published", "unchanged") and said["served"]
    return "\n".join([*lines, "", said["served"]["folder"] if is_served else said["outcome"].upper()])


def _checks(told: Told) -> dict[str, Any]:
    counted = Counter[str](result.status for result in told.checks)
    not_passed = [{"name": r.name, "status": r.status, "count": r.count, "message": r.message} for r in told.checks if r.status != "PASS"]
    return {**{status: counted[status] for status in STATUSES}, "not_passed": not_passed}


def _main_figure(run: Run | None) -> Row | None:
    """The verdict of a run that was trained tonight: the ranker against the best other system, on the primary task."""
    if run is None:
        return None
    report = run.record("report")
    task = report["task"]
    best = rows.best_other(report["tasks"][task]["systems"])
    pair = next((row for row in rows.paired(report, task) if row["against"] == best), None)
    return {"task": task, "metric": MAIN, "system": JUDGED} | pair if pair else None


def _night(night: Run | None) -> Row | None:
    if night is None:
        return None
    said = {name: night.manifest.get(name) for name in ("as_of", "run_id", "n_users", "n_rows")}
    return {"night_id": night.run_id, "folder": str(night.path), **said, "places": ["folder", *night.manifest.get("sinks", [])]}


def _monitoring(told: Told) -> Row | None:
    if told.measured is None:
        return None
    found = told.measured
    counted = Counter[str](one.status for one in found.readings)
    beyond = [
        {"measure": one.measure, "key": one.key, "value": round(one.value, DIGITS), "status": one.status}
        for one in found.readings
        if one.status != "PASS"
    ]
    of_night = {one.measure: round(one.value, DIGITS) for one in found.readings if not one.key}
    return {
        "compared_with": found.compared_with,
        "notes": found.notes,
        **{status: counted[status] for status in STATUSES},
        "not_passed": beyond,
        "measures": of_night,
    }


def _to_do(told: Told) -> Iterator[str]:
    steps = [step for step, _ in told.failures]
    if told.outcome == "refused" and told.measured is None:
        yield "Mend what the failed checks name (`recsys check` shows rows of it), then run `recsys nightly` again."
    if told.outcome == "refused" and told.measured:
        yield (
            "Look at the measures that failed. To publish all the same, raise their second number in [monitor] and run `recsys nightly` "
            "again, or publish by hand with `recsys rank`, which is not measured."
        )
    if "train" in steps and told.outcome != "failed" and told.run:
        yield f"The lists are those of run {told.run.run_id}. Try the training with `recsys train`; the next night tries it again, too."
    if "gate" in steps and told.trained:
        yield f"Run {told.trained.run_id} waits for the gate: ask it with `recsys models promote`; the next night asks it, too."
    if told.outcome == "failed":
        yield "Mend what the message names, then run `recsys nightly` again: it goes on with what is already done."
    if {"monitoring", "prometheus"} & set(steps):
        yield "The lists are not touched by that. Mend what the message names; run `recsys nightly` again and it writes what is missing."


def _lines(said: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Each fact as its name and its lines."""
    for failure in said["failures"]:
        yield "FAILED", f"{failure['step']}: {failure['message']}".splitlines()
    yield "as of", [_moment(said["as_of"])] if said["as_of"] else ["not known: the tables were not read"]
    yield "checks", _check_lines(said["checks"])
    yield "run", list(_run_lines(said))
    yield "lists", list(_list_lines(said["served"]))
    yield "monitoring", list(_monitoring_lines(said["monitoring"]))
    yield "seconds", [", ".join(f"{name} {seconds:,.0f}" for name, seconds in said["seconds"].items()), *_rank_stages(said)]
    if said["to_do"]:
        yield "to do", said["to_do"]


def _check_lines(checks: Row) -> list[str]:
    not_passed = [f"{one['status']} {one['name']}: {one['message']}" for one in checks["not_passed"]]
    return [", ".join(f"{checks[status]} {status}" for status in STATUSES), *not_passed]


def _run_lines(said: dict[str, Any]) -> Iterator[str]:
    run, training = said["run"], said["training"]
    trained = "trained tonight" if run and training["run_id"] == run["run_id"] else "not trained tonight"
    yield f"{run['run_id']}, as of {_moment(run['as_of'])}, {trained}" if run else "none ranked"
    if training["due"]:
        yield f"training was due: {training['due']}"
    if gate := training["gate"]:
        failed = [check for check in gate["checks"] if check["status"] == "FAIL"]
        yield f"{'WARN gate' if gates.is_refused(gate) else 'gate'}: {gate['sentence']}"
        yield from (f"FAIL {check['name']}: {check['words']}" for check in failed)
    if found := training["figure"]:
        interval = f"{figure(found['difference'], 4, '+')} [{figure(found['low'], 4, '+')}, {figure(found['high'], 4, '+')}]"
        yield f"{found['metric']}, task {found['task']}: {found['system']} minus {found['against']} {interval}, {found['word']}"


def _list_lines(served: Row | None) -> Iterator[str]:
    if served is None:
        yield "none was ever published"
        return
    n_users, n_rows = (f"{served[name]:,}" for name in ("n_users", "n_rows"))
    yield f"{n_users} users, {n_rows} rows, as of {_moment(served['as_of'])}, by run {served['run_id']}"
    yield f"served from {', '.join(served['places'])}: night {served['night_id']}"


def _monitoring_lines(found: Row | None) -> Iterator[str]:
    if found is None:
        yield "nothing was measured"
        return
    yield f"compared with {found['compared_with']}" if found["compared_with"] else "compared with no night"
    yield from found["notes"]
    if found["measures"]:
        yield ", ".join(f"{name.replace('_', ' ')} {figure(value, 3)}" for name, value in found["measures"].items())
    yield ", ".join(f"{found[status]} {status}" for status in STATUSES)
    yield from (f"{one['status']} {one['measure']} {one['key']}".rstrip() + f": {one['value']:.3f}" for one in found["not_passed"])


def _rank_stages(said: dict[str, Any]) -> list[str]:
    stages = ", ".join(f"{name} {seconds:,.0f}" for name, seconds in said["rank_seconds"].items())
    return [f"of rank: {stages}"] if stages else []


def _moment(text: str) -> str:
    return text[:16].replace("T", " ")
