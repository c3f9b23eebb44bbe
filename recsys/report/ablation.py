"""Did the text pay? The ablation of a run as a plain answer, as rows, and as text for the terminal."""

from collections.abc import Iterator
from typing import Any

from recsys.artefacts import Run
from recsys.report import rows
from recsys.report.plain import aligned, figure, prose
from recsys.report.rows import MAIN, Report, Row
from recsys.report.sliced import DETAIL, TOO_FEW
from recsys.report.words import interval, object_of

WITHOUT, ALONE, WHOLE = "no_text", "tuned", "tuned_collaborative"
MEANINGS = {
    WITHOUT: "behaviour alone",
    "frozen": "the encoder as it came, a user the mean of what they did",
    ALONE: "encoder and history tower trained",
    WHOLE: "and the blend of text and item ids",
    "distilled": "the same over an encoder of half the layers",
}
ANSWERS = {"better": "text pays", "worse": "text costs", "undecided": "not decided"}


def ablation(report: Report) -> dict[str, Any] | None:
    """What `recsys train --ablate` left in the report; None where it was not asked for."""
    return report.get("ablation")


def variants(report: Report) -> list[Row]:
    """variant, meaning, value, low and high of ndcg@10 by task, text_minutes, training_minutes, scoring_seconds; from no text up."""
    found = report["ablation"]
    return [
        {
            "variant": costs["variant"],
            "meaning": MEANINGS.get(costs["variant"], ""),
            "ndcg": {task: found["tasks"][task]["systems"][costs["variant"]] for task in rows.tasks(report)},
            "text_minutes": costs["text_minutes"],
            "training_minutes": costs["text_minutes"] + costs["ranker_minutes"],
            "scoring_seconds": costs["scoring_seconds"],
        }
        for costs in found["variants"]
    ]


def differences(report: Report, task: str) -> list[Row]:
    """pair (`a - b`), difference, low, high, better, tied, worse (users), word: in the order in which text comes in."""
    return [_difference(pair) for pair in report["ablation"]["tasks"][task]["paired"]]


def sliced(report: Report, task: str) -> list[Row]:
    """slice, value, n and the columns of `differences`: a row a pair of every value of every slice; its word of a small one: too few."""
    return [
        {key: part[key] for key in ("slice", "value", "n")} | _difference(pair) | ({"word": TOO_FEW} if rows.is_small(part) else {})
        for part in report["ablation"]["tasks"][task]["slices"]
        for pair in part["paired"]
    ]


def _difference(pair: Row) -> Row:
    numbers = {key: pair[key] for key in ("difference", "low", "high", "better", "tied", "worse")}
    return {"pair": f"{pair['a']} - {pair['b']}"} | numbers | {"word": rows.word(pair["low"], pair["high"])}


def headline(run: Run) -> str:
    """The pair that says whether the text paid: the whole text side, or what there is of it, against none."""
    known = {costs["variant"] for costs in object_of(run)["ablation"]["variants"]}
    return f"{WHOLE if WHOLE in known else ALONE} - {WITHOUT}"


def answer(run: Run, task: str) -> list[str]:
    """The plain answer of a task, no firmer than its intervals, in sentences: overall, without item ids where that is another answer,
    where it pays most and where it costs.
    """
    report, pair = object_of(run), headline(run)
    by_pair = {row["pair"]: row for row in differences(report, task)}
    whole, alone = by_pair[pair], by_pair[f"{ALONE} - {WITHOUT}"]
    if whole["low"] is None:
        return [f"Task {task}: nobody is judged, so there is no answer."]
    told = [f"Task {task}: {ANSWERS[whole['word']]}: {interval(whole, 'difference', '+')} of {MAIN} ({pair})."]
    if alone["word"] != whole["word"]:
        told.append(f"Without item ids: {ANSWERS[alone['word']]}: {interval(alone, 'difference', '+')} ({alone['pair']}).")
    parts = [row for row in sliced(report, task) if row["pair"] == pair]
    pays = sorted((row for row in parts if row["word"] == "better"), key=lambda row: -row["difference"])[:1]
    costs = sorted((row for row in parts if row["word"] == "worse"), key=lambda row: row["difference"])
    return told + [f"It pays most where {_place(row)}." for row in pays] + [f"It costs where {_place(row)}." for row in costs]


def _place(row: Row) -> str:
    return f"{row['slice']} is '{row['value']}' ({interval(row, 'difference', '+')}, {row['n']:,} users)"


def ablation_text(run: Run) -> str:
    """Answer, variants with their costs, and paired differences, overall and by slice; empty for a run without an ablation."""
    report = object_of(run)
    if ablation(report) is None:
        return ""
    names = rows.tasks(report)
    parts = ["Did the text pay?\n" + prose(*(" ".join(answer(run, task)) for task in names)), _variants(run)]
    for task in names:
        parts += [_differences(report, task), _sliced(run, task)]
    return "\n\n".join(parts)


def notes(run: Run) -> Iterator[str]:
    """What one must know to read the figures, a sentence each."""
    found = object_of(run)["ablation"]
    yield "Training: rows and trees of the evaluation fit, and the text model; text that was encoded before costs nothing again."
    yield f"Scoring: candidates, features and scores of {found['n_users']:,} users of the test window, from their events on."
    if any(costs["variant"] == "distilled" for costs in found["variants"]):
        yield f"The student was taught by {found['distil_epochs']} passes over the texts."
    for name, reason in found["left_out"].items():
        yield f"{name} is left out: {reason}."


def chance(n_slices: int) -> str:
    """What so many intervals of 95 % are worth together."""
    return (
        "A slice of items counts only those items as relevant. "
        f"Of {n_slices} slices with an interval about {n_slices / 20:.1f} would leave zero by chance."
    )


def _variants(run: Run) -> str:
    report = object_of(run)
    names = rows.tasks(report)
    cells = [
        [
            row["variant"],
            *(interval(row["ndcg"][task], "value") for task in names),
            *(figure(row[key], 2) for key in ("training_minutes", "text_minutes", "scoring_seconds")),
        ]
        for row in variants(report)
    ]
    header = ("variant", *(f"{MAIN} {task} [95 %]" for task in names), "train min", "of it text", "scoring s")
    return "What it knows of text, and what that costs\n" + aligned(header, cells) + "\n" + prose(*(f"  {note}" for note in notes(run)))


def _differences(report: Report, task: str) -> str:
    cells = [
        [row["pair"], interval(row, "difference", "+"), *(f"{row[key]:,}" for key in ("better", "tied", "worse")), row["word"]]
        for row in differences(report, task)
    ]
    header = ("pair", f"{MAIN} difference [95 % interval]", "users better", "tied", "worse", "the first is")
    return f"Paired by user, task {task}\n" + aligned(header, cells)


def _sliced(run: Run, task: str) -> str:
    pairs = list(dict.fromkeys((f"{ALONE} - {WITHOUT}", headline(run))))
    by_slice: dict[tuple[str, str, int], dict[str, str]] = {}
    shown = [row for row in sliced(object_of(run), task) if row["slice"] != DETAIL]
    for row in shown:
        by_slice.setdefault((row["slice"], row["value"], row["n"]), {})[row["pair"]] = interval(row, "difference", "+")
    cells = [[name, value, f"{n:,}", *(found[pair] for pair in pairs)] for (name, value, n), found in by_slice.items()]
    n_told = len({(row["slice"], row["value"]) for row in shown if row["low"] is not None})
    title = f"Where, task {task}: difference in {MAIN}\n"
    if not cells:
        return f"{title}  nobody is judged"
    return title + aligned(("slice", "value", "users", *pairs), cells, n_left=2) + "\n" + prose(f"  {chance(n_told)}")
