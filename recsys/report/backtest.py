"""A backtest as rows of plain values, and as text for the terminal: what all cutoffs say together, and how far they are apart."""

from collections.abc import Iterator
from typing import Any

from recsys.artefacts import Home, Run
from recsys.evaluate import ANCHORS
from recsys.report import rows
from recsys.report.plain import MISSING, aligned, figure, prose
from recsys.report.rows import JUDGED, MAIN, WITHOUT_TEXT, Report, Row
from recsys.report.words import interval

SHARES = ("value", "alone", "only")
SPREAD = ("mean", "lowest", "highest", "sd")


def backtests(home: Home) -> list[Run]:
    """The complete backtests of a project, oldest first."""
    return home.found(home.backtests)[0]


def backtest_object(made: Run) -> dict[str, Any]:
    """What `recsys backtest --format json` prints: None where a figure is undefined."""
    return made.record("report")


def systems(report: Report, task: str) -> list[Row]:
    """system, value (over all queries), low, high, n (users); mean, lowest, highest, sd (over n_cutoffs): of ndcg@10, the best first.

    The anchors come last.
    """
    found = [{"system": name, **by[MAIN]["figure"], **by[MAIN]["spread"]} for name, by in report["tasks"][task]["systems"].items()]
    return sorted(found, key=lambda row: (row["system"] in ANCHORS, -row["value"], row["system"]))


def paired(report: Report, task: str) -> list[Row]:
    """The ranker against each other system: against, difference, low, high, p, p_holm, won, lost, n_cutoffs, lowest, highest, better, tied,
    worse (users), word: the largest difference first.
    """
    found = []
    for one in report["tasks"][task]["paired"]:
        pair, over = one["paired"], one["spread"]
        numbers = {key: pair[key] for key in ("difference", "low", "high", "better", "tied", "worse")}
        numbers |= {key: one[key] for key in ("p", "p_holm", "won", "lost")} | {
            key: over[key] for key in ("n_cutoffs", "lowest", "highest")
        }
        found.append({"against": pair["b"], **numbers, "word": rows.word(pair["low"], pair["high"])})
    return sorted(found, key=lambda row: (-row["difference"], row["against"]))


def by_cutoff(report: Report, task: str) -> list[Row]:
    """cutoff (ISO day), system, ndcg, low, high, n, role: ranker, ranker_no_text, best other (over all cutoffs) or other."""
    best = next((row["system"] for row in systems(report, task) if row["system"] not in (JUDGED, WITHOUT_TEXT, *ANCHORS)), None)
    found = []
    for row in report["cutoffs"]:
        for system, by in row["tasks"][task]["systems"].items():
            role = system if system in (JUDGED, WITHOUT_TEXT) else "best other" if system == best else "other"
            numbers = {"ndcg": by[MAIN]["value"], **{key: by[MAIN][key] for key in ("low", "high", "n")}}
            found.append({"cutoff": row["cutoff"][:10], "system": system, **numbers, "role": role})
    return found


def backtest_notes(made: Run, task: str) -> list[str]:
    """What one must know to read the figures of a task, a sentence each."""
    report = backtest_object(made)
    return [*_notes(report), _asked(report, task)]


def backtest_text(made: Run) -> str:
    """The whole of a backtest in words and tables."""
    report = backtest_object(made)
    parts = [prose(*_notes(report)), _cutoffs(report)]
    for task in rows.tasks(report):
        parts += [prose(f"TASK {task}: {rows.SEEN_IN.get(task, '')}", _asked(report, task))]
        parts += [_systems(report, task), _paired(report, task)] if report["tasks"][task]["systems"] else []
    return "\n\n".join([*parts, _recall(report), _cost(report)])


def _notes(report: Report) -> Iterator[str]:
    n, days = len(report["cutoffs"]), report["test_days"]
    counted = "one cutoff" if n == 1 else f"{n} cutoffs, {report['every_days']} days apart, each"
    yield (
        f"Backtest {report['backtest_id']}, encoder {report['encoder']}: {counted} judged on the {days} days before it, by models that "
        "know nothing of these days."
    )
    yield from _left_out(report["left_out"])
    if n > 1 and report["every_days"] < days:
        yield (
            f"TEST WINDOWS OVERLAP: {report['every_days']} days apart, {days} days long. What happened in two of them is judged twice, so "
            "the spread over cutoffs is smaller than that over time."
        )
    yield (
        "The figure is over all queries (a user at a cutoff), each of which counts once; its 95 % interval draws users whole, with all of "
        "their cutoffs. Mean, lowest, highest and sd are over cutoffs, each of which counts once."
    )
    if n == 1:
        yield "One cutoff says nothing of the spread over time."


def _left_out(found: list[Row]) -> Iterator[str]:
    if found:
        days = [row["cutoff"][:10] for row in found]
        span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        yield f"Left out: {len(found)} of the cutoffs asked for ({span}). {found[-1]['reason']}"


def _asked(report: Report, task: str) -> str:
    found = report["tasks"][task]
    if not found["systems"]:
        return f"Task {task}: nobody is judged in any cutoff, so there is no figure."
    without = sum(row["tasks"][task]["n_without_truth"] for row in report["cutoffs"])
    judged = f"{found['n_queries']:,} queries of {found['n_users']:,} users are judged"
    return f"{judged}; {without:,} more had nothing to find and are in no figure."


def _cutoffs(report: Report) -> str:
    header = ("cutoff", "test from", "users", "warm", "joint", "blend", "gain", "trees, no text", "added", "recall", "minutes", "MB")
    return "Cutoffs, what was chosen at each, and cost\n" + aligned(header, [_cutoff_cells(row) for row in report["cutoffs"]])


def _cutoff_cells(row: Row) -> list[str]:
    chosen, cost = row["chosen"], row["cost"]
    test = next(window for window in row["windows"] if window["name"] == "test")
    steps = [f"{chosen[name]:,}" for name in ("warm_steps", "steps", "blend_steps")]
    trees = [f"{chosen['trees_without_text']:,}", f"{chosen['trees'] - chosen['trees_without_text']:,}"]
    spent = [figure(cost["minutes"], 1), f"{cost['peak_memory_mb']:,.0f}"]
    asked = f"{test['n_queries']:,}"
    return [
        row["cutoff"][:10],
        test["start"][:10],
        asked,
        *steps,
        f"{chosen['gain']:g}",
        *trees,
        figure(row["candidate_recall"]["total"]),
        *spent,
    ]


def _systems(report: Report, task: str) -> str:
    cells = [
        [row["system"], interval(row, "value"), *(figure(row[key]) for key in SPREAD), f"{row['n_cutoffs']}"]
        for row in systems(report, task)
    ]
    header = ("system", f"{MAIN} [95 % interval]", "mean of cutoffs", *SPREAD[1:], "cutoffs")
    return f"Systems over all cutoffs, task {task}\n" + aligned(header, cells)


def _paired(report: Report, task: str) -> str:
    cells = [
        [
            row["against"],
            interval(row, "difference", "+"),
            *(figure(row[key]) for key in ("p", "p_holm")),
            f"{row['won']} of {row['n_cutoffs']}",
            *(figure(row[key], sign="+") for key in ("lowest", "highest")),
            row["word"],
        ]
        for row in paired(report, task)
    ]
    header = ("ranker against", f"{MAIN} difference [95 %]", "p", "p (Holm)", "won", "lowest", "highest", "ranker is")
    return f"Paired by user over all cutoffs, task {task}\n" + aligned(header, cells)


def _recall(report: Report) -> str:
    total = report["candidate_recall"]["total"]
    cells = [row for source in _sources(report) for row in _recall_cells(report, source)]
    header = ("source", "cutoff", "recall (mean of users)", "share of all pairs", "by no other source")
    return (
        f"Candidate recall, the ranker's ceiling: {figure(total['mean'])} in the mean of cutoffs ({figure(total['lowest'])} to "
        f"{figure(total['highest'])})\n" + aligned(header, cells, n_left=2)
    )


def _sources(report: Report) -> list[str]:
    found = report["candidate_recall"]["sources"]
    return sorted(found, key=lambda source: (-(found[source]["value"]["mean"] or 0), source))


def _recall_cells(report: Report, source: str) -> Iterator[list[str]]:
    means = report["candidate_recall"]["sources"][source]
    yield [source, "mean", *(figure(means[share]["mean"]) for share in SHARES)]
    for row in report["cutoffs"]:
        found = row["candidate_recall"]["sources"].get(source)
        yield ["", row["cutoff"][:10], *(figure(found[share]) if found else MISSING for share in SHARES)]


def _cost(report: Report) -> str:
    cost = report["cost"]
    return f"Cost of all cutoffs: {cost['minutes']:,.1f} minutes, peak memory {cost['peak_memory_mb']:,.0f} MB"
