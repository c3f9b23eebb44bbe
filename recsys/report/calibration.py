"""Can the chances of a run be believed: what was said and what happened on the test window, as rows, frames and text for the terminal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recsys.artefacts import Run
from recsys.report.plain import MISSING, aligned, figure, prose
from recsys.report.rows import Report, Row, tasks

if TYPE_CHECKING:
    import pandas as pd

FIGURES = ("n", "n_positives", "base_rate", "predicted", "gap", "low", "high", "ece", "brier_skill", "log_loss_skill")
FEWEST = 20
"""Candidates of a slice that it happened to, below which its error is mostly luck, and it is not called the worst."""

LISTED = ("place", "places 1 to 10")
HOW = (
    "happened: the share of candidates; said: the mean chance. ECE: how far apart the two are within tenths of the candidates.",
    "skill (Brier): 0 is as good as knowing the share alone, 1 is certain and right. One number for all has hardly an ECE, and none of it.",
    "worst slice: the one of the largest ECE against its own share.",
)


def kinds(report: Report, task: str) -> dict[str, Row]:
    """kind -> its entry, or {"absent": why}; none where the run was trained before there were chances."""
    found: dict[str, Row] = (report.get("calibration") or {}).get("tasks", {}).get(task, {})
    return found


def said(report: Report, task: str) -> list[Row]:
    """kind, said_by, and the FIGURES: the ranker's chances over all candidates, over the first ten places, and what is simpler."""
    rows = []
    for kind, entry in kinds(report, task).items():
        if "absent" in entry:
            continue
        listed = next((part for part in entry["slices"] if (part["slice"], part["value"]) == LISTED), None)
        by = {"ranker": entry["judged"], **({f"ranker, {LISTED[1]}": listed} if listed else {}), **entry["others"]}
        rows += [{"kind": kind, "said_by": name, **{key: one[key] for key in FIGURES}} for name, one in by.items()]
    return rows


def sliced(report: Report, task: str) -> list[Row]:
    """kind, slice, value and the FIGURES of every slice."""
    return [
        {"kind": kind, **{key: part[key] for key in ("slice", "value", *FIGURES)}}
        for kind, entry in kinds(report, task).items()
        for part in entry.get("slices", [])
    ]


def worst(report: Report, task: str, kind: str) -> Row | None:
    """The slice whose ECE is largest by its own share that happened; None where none has enough that happened."""
    parts = [part for part in sliced(report, task) if part["kind"] == kind and part["n_positives"] >= FEWEST]
    return max(parts, key=lambda part: part["ece"] / part["base_rate"], default=None)


def curve(report: Report, task: str, kind: str) -> list[Row]:
    """n, predicted, happened of each bin of the first ten places."""
    parts = kinds(report, task).get(kind, {}).get("slices", [])
    return [one for part in parts if (part["slice"], part["value"]) == LISTED for one in part["curve"]]


def has_calibration(run: Run) -> bool:
    """Has the run chances at all."""
    return bool(run.record("report").get("calibration"))


def absent(report: Report, task: str) -> dict[str, str]:
    """kind -> why there is no chance of it."""
    return {kind: entry["absent"] for kind, entry in kinds(report, task).items() if "absent" in entry}


def said_frame(run: Run, task: str) -> "pd.DataFrame":
    """The rows of `said`; NaN where undefined."""
    return _frame(said(run.record("report"), task), ("kind", "said_by"))


def chances_sliced_frame(run: Run, task: str) -> "pd.DataFrame":
    """The rows of `sliced`; NaN where undefined."""
    return _frame(sliced(run.record("report"), task), ("kind", "slice", "value"))


def reliability_frame(run: Run, task: str) -> "pd.DataFrame":
    """kind, n, predicted, happened: a row a bin of the first ten places."""
    report = run.record("report")
    found = [{"kind": kind, **one} for kind in kinds(report, task) for one in curve(report, task, kind)]
    return _frame(found, ("kind",), ("n", "predicted", "happened"))


def _frame(found: list[Row], text: tuple[str, ...], figures: tuple[str, ...] = FIGURES) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(found, columns=[*text, *figures]).astype(dict.fromkeys(figures, float))


def calibration_text(run: Run) -> str:
    """Tables of both tasks, the primary one first; empty where the run was trained before there were chances."""
    report = run.record("report")
    if not report.get("calibration"):
        return ""
    entry, n = report["calibration"], report["calibration"]["n_users"]
    heading = prose(
        f"Chances within {entry['days']} days: learned on {n['learned']:,} users as of the valid window, judged on {n['judged']:,} as of "
        "the test window, whether they then acted or not"
    )
    parts = [part for task in tasks(report) for kind in kinds(report, task) for part in _kind_parts(report, task, kind)]
    return "\n".join([heading, *parts, prose(*(f"  {line}" for line in HOW))])


def _kind_parts(report: Report, task: str, kind: str) -> list[str]:
    title = f"Chance of a {kind}, task {task}"
    why = absent(report, task).get(kind)
    if why:
        return [f"{title}: none, as {why}"]
    header = ("said by", "candidates", "happened", "said", "too high by [95 % interval]", "ECE", "skill")
    table = aligned(header, (_cells(row) for row in said(report, task) if row["kind"] == kind))
    part = worst(report, task, kind)
    return [title, table, *([prose(_worst_line(part))] if part else [])]


def _cells(row: Row) -> list[str]:
    gap = MISSING if row["low"] is None else f"{row['gap']:+.5f} [{row['low']:+.5f}, {row['high']:+.5f}]"
    values = [figure(row[key], 5) for key in ("base_rate", "predicted")]
    return [row["said_by"], f"{row['n']:,}", *values, gap, figure(row["ece"], 5), figure(row["brier_skill"], 4, "+")]


def _worst_line(part: Row) -> str:
    return (
        f"  worst slice: {part['slice']} {part['value']}, ECE {figure(part['ece'], 5)} where {figure(part['base_rate'], 5)} happened and "
        f"{figure(part['predicted'], 5)} was said ({part['n_positives']:,} of {part['n']:,})"
    )


def chance_words(row: Mapping[str, Any]) -> str:
    """The chances of a listed item in words, `click 12.00 %, purchase 0.45 %`; empty where none is known."""
    known = {kind: row[f"{kind}_probability"] for kind in ("click", "purchase")}
    return ", ".join(f"{kind} {percent(chance)}" for kind, chance in known.items() if chance is not None)


def percent(chance: float | None) -> str:
    """A chance in per cent; `-` where it is unknown."""
    return MISSING if chance is None else f"{100 * chance:.2f} %"
