"""What other lists would have brought on the pages that were shown: estimates as rows, frames and text for the terminal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recsys.artefacts import Run
from recsys.report.plain import MISSING, aligned, figure, prose
from recsys.report.rows import Report, Row

if TYPE_CHECKING:
    import pandas as pd

QUESTIONS = {"places": "A place given to one of the system's ten", "order": "The same items in the system's order"}
"""Question of the report -> its title."""


def off_policy_rows(report: Report, question: str) -> list[Row]:
    """system, value, low, high, more, more_low, more_high, ips, snips, effective, acts, refused, in acts per 1,000 places shown.

    The first row is what was, the best system follows; value is the doubly robust estimate, more is that minus what was. Figures are None
    where refused.
    """
    entry = _entry(report, question)
    if "logged" not in entry:
        return []
    logged = _thousands(entry["logged"], "value", "low", "high")
    first = {"system": "as it was", **logged, "acts": entry["n_acts"], "effective": float(entry["n_places"]), "refused": ""}
    systems = sorted(map(_row, entry["systems"].items()), key=lambda row: (row["value"] is None, -(row["value"] or 0), row["system"]))
    return [first | dict.fromkeys(("more", "more_low", "more_high", "ips", "snips")), *systems]


def _entry(report: Report, question: str) -> dict[str, Any]:
    found: dict[str, Any] = (report.get("off_policy") or {}).get(question, {})
    return found


def _row(named: tuple[str, dict[str, Any]]) -> Row:
    system, one = named
    values = _thousands(one["dr"], "value", "low", "high") | _thousands(one["more"], "more", "more_low", "more_high")
    values |= {name: one[name] and _thousand(one[name]["value"]) for name in ("ips", "snips")}
    if one["refused"]:
        values = dict.fromkeys(values)
    overlap = one["overlap"]
    return {"system": system, **values, "acts": overlap["acts"], "effective": overlap["effective"], "refused": one["refused"]}


def _thousands(found: Mapping[str, float | None], value: str, low: str, high: str) -> dict[str, float | None]:
    return {value: _thousand(found["value"]), low: _thousand(found["low"]), high: _thousand(found["high"])}


def _thousand(value: float | None) -> float | None:
    return None if value is None else 1000 * value


def why_no_off_policy(report: Report, question: str) -> str:
    """Why the question has no answer in this run; empty where it has one."""
    found = report.get("off_policy")
    if not found:
        return "the run was trained before there were such estimates: train again"
    return str(found.get("absent") or _entry(report, question).get("absent", ""))


def off_policy_frame(run: Run, question: str) -> "pd.DataFrame":
    """The rows of `off_policy_rows`; NaN where undefined or refused."""
    import pandas as pd

    rows = off_policy_rows(run.record("report"), question)
    numbers = [name for name in (rows[0] if rows else {}) if name not in ("system", "refused")]
    return pd.DataFrame(rows, columns=["system", *numbers, "refused"]).astype(dict.fromkeys(numbers, float))


def looks_frame(run: Run) -> "pd.DataFrame":
    """place (int, from 1), looked: how often a place is looked at, the first 1; empty where the run does not know."""
    import pandas as pd

    looked = (run.record("report").get("off_policy") or {}).get("looked", [])
    return pd.DataFrame({"place": range(1, len(looked) + 1), "looked": looked}).astype({"place": int, "looked": float})


def off_policy_text(run: Run) -> str:
    """Tables of both questions, or why there is none; empty for a run without any page, and for one trained before there were estimates."""
    report = run.record("report")
    found = report.get("off_policy")
    if not found or "absent" in found:
        return ""
    learned, looked = found["learned"], ", ".join(figure(one, 2) for one in found["looked"])
    head = prose(
        "On the pages that were shown, in acts per 1,000 places (docs/off_policy.md): what was, and what the systems' lists would have "
        "brought. Estimates, by the logged chances and by how often a place is looked at."
    )
    tail = prose(f"  Looked at, by place: {looked} (of {learned['n']:,} earlier places with {learned['n_acts']:,} acts).")
    return "\n".join([head, *(part for question in QUESTIONS for part in _question_parts(report, question)), tail])


def _question_parts(report: Report, question: str) -> list[str]:
    title, why = QUESTIONS[question], why_no_off_policy(report, question)
    if why:
        return [prose(f"{title}: none, as {why}")]
    entry, rows = _entry(report, question), off_policy_rows(report, question)
    header = ("system", "doubly robust [95 %]", "more than it was [95 %]", "IPS", "SNIPS", "even places", "acts")
    table = aligned(header, map(_cells, rows))
    refused = [f"  {row['system']}: no estimate, {row['refused']}." for row in rows if row["refused"]]
    return [f"{title}: {entry['n_pages']:,} pages of {entry['logged']['n']:,} users", table, *map(prose, refused)]


def _cells(row: Row) -> list[str]:
    value, more = _interval(row["value"], row["low"], row["high"]), _interval(row["more"], row["more_low"], row["more_high"], "+")
    counts = [f"{row['effective']:,.0f}", f"{row['acts']:,}"]
    return [row["system"], value, more, figure(row["ips"], 1), figure(row["snips"], 1), *counts]


def _interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    return MISSING if value is None else f"{figure(value, 1, sign)} [{figure(low, 1, sign)}, {figure(high, 1, sign)}]"


def per_thousand(found: Mapping[str, float | None]) -> str:
    """An estimate of the report (value, low, high per place) with its interval, per 1,000 places."""
    value, low, high = _thousands(found, "value", "low", "high").values()
    return _interval(value, low, high)
