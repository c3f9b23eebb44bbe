"""What `recsys init`, `check`, `train`, `report` and `suggest` print: plain aligned tables that no pipe wraps, and nothing is cut short."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from recsys.artefacts import Run
from recsys.report import rows
from recsys.report.classification import classification_text
from recsys.report.further import grouped_auc_text, more_text
from recsys.report.plain import MISSING, aligned, figure, prose
from recsys.report.rows import MAIN, METRICS, Report, Row
from recsys.report.sliced import anchors_line, slice_notes, slices_table

if TYPE_CHECKING:
    import polars as pl

    from recsys.ingest import CheckResult
    from recsys.pipeline.starting import Started


def object_of(run: Run) -> dict[str, Any]:
    """The report of a run as the JSON object that `recsys report --format json` prints: None where a figure is undefined."""
    return run.record("report")


def verdict_text(run: Run) -> str:
    """The whole verdict of a run in words and tables, for a terminal of 110 columns."""
    report = object_of(run)
    parts = [_heading(report), _windows(report)]
    for task in rows.tasks(report):
        parts += [_task_heading(report, task), _systems(report, task), prose(anchors_line(report, task)), more_text(report, task)]
        parts += [_paired(report, task), _slices(report, task)]
    parts += [_recall(report), prose(grouped_auc_text(report)), *_classification(report), _costs(report)]
    return "\n\n".join(filter(None, parts))


def checks_table(results: "Iterable[CheckResult]") -> str:
    """Named checks: PASS, WARN or FAIL, the rows it speaks of, what it found, and below it the first examples."""
    found = list(results)
    name_width = max((len(result.name) for result in found), default=0)
    count_width = max((len(f"{result.count:,}") for result in found), default=0)
    lines = []
    for result in found:
        lines.append(f"{result.status:<4}  {result.name:<{name_width}}  {result.count:>{count_width},}  {result.message}")
        lines += [f"{'':<{name_width + count_width + 8}}  e.g. {example}" for example in result.examples]
    told = {status: sum(result.status == status for result in found) for status in ("PASS", "WARN", "FAIL")}
    return "\n".join([*lines, "", ", ".join(f"{count} {status}" for status, count in told.items())])


def checks_object(results: "Iterable[CheckResult]") -> dict[str, Any]:
    """What `recsys check --format json` prints: the worst status, and every check in order."""
    checks = [dataclasses.asdict(result) for result in results]
    statuses = {check["status"] for check in checks}
    return {"status": next((status for status in ("FAIL", "WARN") if status in statuses), "PASS"), "checks": checks}


def started_text(started: "Started") -> str:
    """What `recsys init` guessed, what should be looked at, and what a person has to fill in."""
    cells = [[key, expression, why] for key, expression, why in started.guessed]
    looks = [f"Look at  {doubt}" for doubt in started.doubts]
    gaps = [f"Fill in  {key}: which of {choice}?" for key, choice in started.unknown.items()]
    return "\n".join([aligned(("our column", "yours", "why"), cells, n_left=3), "", *looks, *gaps]).rstrip() + "\n"


def suggestions_text(found: "pl.DataFrame") -> str:
    """The list of `recsys suggest`: rank, item_id, title on one line (`-` where it is empty), score."""
    cells = [
        [str(row["rank"]), row["item_id"], " ".join(row["title"].split()) or MISSING, figure(row["score"])]
        for row in found.iter_rows(named=True)
    ]
    return aligned(("rank", "item_id", "title", "score"), cells, n_left=3)


def interval(row: Row, key: str, sign: str = "") -> str:
    """`value [low, high]` of a row with `low` and `high`; `-` where it is undefined, no interval where there are too few users for one."""
    if row[key] is None:
        return MISSING
    if row["low"] is None:
        return f"{figure(row[key], 4, sign)} (too few)"
    return f"{figure(row[key], 4, sign)} [{figure(row['low'], 4, sign)}, {figure(row['high'], 4, sign)}]"


def chosen_text(report: Report) -> str:
    """What was chosen on windows held out, as one sentence."""
    chosen = report["chosen"]
    has_blend = chosen["blend_steps"] or chosen["gain"]
    blend = f"a blend with item ids of {chosen['blend_steps']} steps and gain {chosen['gain']:g}" if has_blend else "no blend with item ids"
    return (
        f"Chosen on windows held out: {chosen['warm_steps']} warm and {chosen['steps']} joint steps of the text model, {blend}, "
        f"{chosen['trees_without_text']} trees without text and {chosen['trees'] - chosen['trees_without_text']} more with it."
    )


def _heading(report: Report) -> str:
    return prose(
        f"Run {report['run_id']}, as of {report['as_of'][:10]}, encoder {report['encoder']}",
        chosen_text(report),
        *_distillation(report.get("distillation")),
        "The figures are of the test window; the model kept for ranking was fitted again up to the end of the events.",
    )


def _distillation(found: Row | None) -> Iterator[str]:
    if found:
        gain = found["student_texts_per_second"] / found["teacher_texts_per_second"]
        yield (
            f"The text model was distilled from {found['teacher_layers']} layers to {found['student_layers']}: ndcg@100 on "
            f"its own validation {figure(found['teacher_ndcg'])} before, {figure(found['student_ndcg'])} after; "
            f"it encodes {gain:.2f} times as many texts a second."
        )


def _windows(report: Report) -> str:
    cells = [[w["name"], w["start"], w["end"], f"{w['n_events']:,}", f"{w['n_queries']:,}"] for w in rows.windows(report)]
    return "Windows (the end is not included)\n" + aligned(("window", "start", "end", "events", "users"), cells)


def _task_heading(report: Report, task: str) -> str:
    primary = ", the primary one" if task == report["task"] else ""
    without = report["tasks"][task]["n_without_truth"]
    judged = max((row["n"] for row in rows.systems(report, task)), default=0)
    return prose(
        f"TASK {task}{primary}: {rows.SEEN_IN.get(task, '')}",
        f"{judged:,} users of the test window are judged; {without:,} more had nothing to find in this task and are in no figure.",
        f"Eligible: {report['eligibility']}.",
    )


def _systems(report: Report, task: str) -> str:
    cells = [
        [row["system"], interval(row, MAIN), *(figure(row[metric]) for metric in METRICS[1:]), f"{row['n']:,}"]
        for row in rows.systems(report, task)
    ]
    return f"Systems, task {task}\n" + aligned(("system", f"{MAIN} [95 % interval]", *METRICS[1:], "users"), cells)


def _paired(report: Report, task: str) -> str:
    cells = [
        [row["against"], interval(row, "difference", "+"), f"{row['better']:,}", f"{row['tied']:,}", f"{row['worse']:,}", row["word"]]
        for row in rows.paired(report, task)
    ]
    header = ("ranker against", f"{MAIN} difference [95 % interval]", "users better", "tied", "worse", "ranker is")
    return f"Paired by user, task {task}\n" + aligned(header, cells)


def _slices(report: Report, task: str) -> str:
    return "\n".join([f"Slices, {MAIN}, task {task}", slices_table(report, task), *map(prose, slice_notes(report, task))])


def _recall(report: Report) -> str:
    found = report["candidate_recall"]
    cells = [[row["source"], *(figure(row[key]) for key in ("value", "alone", "only"))] for row in rows.recall(report)]
    return (
        f"Candidate recall, the ranker's ceiling: {figure(found['total'])} of what users went for was among their candidates\n"
        + aligned(("source", "recall (mean of users)", "share of all pairs", "by no other source"), cells)
    )


def _classification(report: Report) -> list[str]:
    found = report.get("classification")
    if not found:
        return []
    how = prose(
        f"The later {found['lists_judged']:,} lists shown in the held-out days of the text window; an item is called chosen from the "
        f"score on that is best for F1 on the {found['lists_choosing']:,} lists before them.",
    )
    return [f"{classification_text(found['before'], found['after'])}\n{how}"]


def _costs(report: Report) -> str:
    stages = list(_stage_cells(report))
    return "Time and memory\n" + aligned(("stage", "seconds"), stages) + f"\n  peak memory {report['peak_memory_mb']:,.0f} MB"


def _stage_cells(report: Report) -> Iterator[list[str]]:
    for row in rows.seconds(report):
        yield [row["stage"], f"{row['seconds']:,.1f}"]
    yield ["total", f"{sum(report['seconds'].values()):,.1f}"]
