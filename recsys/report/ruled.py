"""What the rules of the shop do: what each did to a night's lists, and what each costs on the test window, as tables for the terminal."""

from typing import TYPE_CHECKING, Any

from recsys.artefacts import Home, Run
from recsys.config_rules import Rules
from recsys.errors import ArtefactError
from recsys.report.plain import MISSING, aligned, figure, prose
from recsys.report.rows import MAIN, Report
from recsys.report.words import interval

if TYPE_CHECKING:
    import pandas as pd

WITHOUT = "no rules"
CHANGES = ("removed", "moved", "users", "short", "missed")


def ruled_night(home: Home, night_id: str | None) -> dict[str, Any]:
    """night_id, as_of, run_id, n_users, `tonight` (counts by rule, notes), `prices` (those of the night's run; None where it has none)
    and `unpriced`: rules of the night that were not set so when the run was trained. Ready for JSON.

    Raises ArtefactError where nothing is published, or the night had no rules.
    """
    night = home.night(night_id)
    tonight = night.manifest.get("rules")
    if tonight is None:
        raise ArtefactError(f"night {night.run_id} was made without rules. Set some in [rules] and rank again, or name another night.")
    run = _run(home, night.manifest["run_id"])
    trained = Rules.model_validate(run.record("config").get("rules", {})).each if run else {}
    now = Rules.model_validate(tonight["set"]).each
    said = {key: night.manifest[key] for key in ("as_of", "run_id", "n_users")}
    prices = run.record("report").get("rules") if run else None
    return {
        "night_id": night.run_id,
        **said,
        "tonight": tonight | {"by_rule": {name: tonight["by_rule"][name] for name in now}},
        "prices": prices,
        "unpriced": [name for name, one in now.items() if prices is None or trained.get(name) != one],
    }


def _run(home: Home, run_id: str) -> Run | None:
    """The run that made the night, which may be gone."""
    try:
        return home.load(run_id)
    except ArtefactError:
        return None


def ruled_text(found: dict[str, Any]) -> str:
    """The same as tables."""
    tonight = found["tonight"]
    changes = [*tonight["by_rule"].items(), ("all together", tonight["together"])]
    cells = [
        [name, *(f"{change[key]:,}" for key in ("removed", "moved", "users", "short")), _missed(name, change)] for name, change in changes
    ]
    parts = [
        f"Night {found['night_id']}, as of {found['as_of'][:16]}, run {found['run_id']}",
        "What each rule alone did to the lists that there would be without rules\n"
        + aligned(("rule", "rows removed", "rows moved", "users", "lists shorter", "pins not placed"), cells)
        + "\n"
        + prose(
            f"  Of {tonight['n_users']:,} users asked for, {tonight['none']:,} have no list.",
            *(f"  Note: {note}." for note in tonight["notes"]),
        ),
    ]
    if found["prices"]:
        parts.append(_prices(found["prices"]))
    if found["unpriced"]:
        parts.append(prose(f"Without a price, as run {found['run_id']} was trained with other rules: {', '.join(found['unpriced'])}."))
    return "\n\n".join(parts)


def rules_frames(found: dict[str, Any]) -> tuple["pd.DataFrame", "pd.DataFrame | None"]:
    """What `ruled_night` found, as frames: what each rule did (rule, removed, moved, users, short, missed), and the prices (lists, ndcg,
    difference, low, high, coverage, revenue; the paired difference with its interval, missing without rules), None where the run has none.
    """
    import pandas as pd

    tonight, priced = found["tonight"], found["prices"]
    changes = [*tonight["by_rule"].items(), ("all together", tonight["together"])]
    did = pd.DataFrame([{"rule": name} | {key: change[key] for key in CHANGES} for name, change in changes])
    if not priced:
        return did, None
    rows = []
    for one in priced["lists"]:
        pair = one["difference"] or {}
        figures = {"ndcg": one["ndcg"]["value"], **{key: pair.get(key) for key in ("difference", "low", "high")}}
        rows.append({"lists": one["name"], **figures, "coverage": one["coverage"]["value"], "revenue": one["revenue"]})
    return did, pd.DataFrame(rows)


def _missed(name: str, change: dict[str, int]) -> str:
    return f"{change['missed']:,}" if name.startswith("pins.") or change["missed"] else MISSING


def rules_text(run: Run) -> str:
    """The prices of a run's rules; empty for a run without rules."""
    priced = run.record("report").get("rules")
    return _prices(priced) if priced else ""


def _prices(priced: Report) -> str:
    """ndcg@10, coverage@10 and revenue@10 of the test window without rules, under each alone and under all."""
    cells = [
        [
            one["name"],
            interval(one["ndcg"], "value"),
            interval(one["difference"], "difference", "+") if one["difference"] else MISSING,
            figure(one["coverage"]["value"]),
            MISSING if one["revenue"] is None else f"{one['revenue']:,.0f}",
        ]
        for one in priced["lists"]
    ]
    header = ("lists under", f"{MAIN} [95 % interval]", f"against {WITHOUT}, paired", "coverage@10", "revenue@10")
    notes = prose(
        "  revenue@10: the sum of the prices of what was listed and wanted.",
        "  Columns of items and users have no history: a rule over them is priced by what they were when the run was trained.",
        *(f"  Note: {note}." for note in priced["notes"]),
    )
    return f"What the rules cost on the test window, task {priced['task']}\n" + aligned(header, cells) + "\n" + notes
