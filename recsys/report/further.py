"""What the verdict says beside its main figures: further metrics of every system, whether the ranker's lists are whole, what was shown."""

from recsys.report import rows
from recsys.report.plain import aligned, figure, prose
from recsys.report.rows import MORE, Report

HEADS = {
    "precision@10": "precision",
    "hit_rate@10": "hit rate",
    "ndcg_graded@10": "graded",
    "revenue_ndcg@10": "revenue",
    "serendipity@10": "serendipity",
    "ild@10": "ild",
    "popularity@10": "popularity",
    "repeat_rate@10": "repeats",
    "gini@10": "gini",
}
"""Heads short enough that the table fits a terminal; `graded` and `revenue` are kinds of ndcg."""


def more_text(report: Report, task: str) -> str:
    """The metrics of MORE as a table, and below it the list health; the empty string for a run that did not measure them."""
    if not rows.has_more(report, task):
        return ""
    cells = [
        [row["system"], *(figure(row[metric], 1 if metric == "popularity@10" else 4) for metric in MORE)]
        for row in rows.systems(report, task)
    ]
    table = aligned(("system", *(HEADS[metric] for metric in MORE)), cells)
    return f"More metrics at 10 places (docs/metrics.md), task {task}\n{table}\n{prose(health_text(report, task))}"


def health_text(report: Report, task: str) -> str:
    """Whether the ranker's lists are whole, as a sentence; the empty string for a run that did not count it."""
    found = report["tasks"][task].get("health")
    if not found:
        return ""
    missing, short, twice, gone = (found[name]["count"] for name in ("missing", "short", "duplicates", "unavailable"))
    return (
        f"Lists of the ranker: {missing:,} users got none, {short:,} fewer than 10 items; {twice:,} items stand twice in a list, "
        f"{gone:,} may not be shown."
    )


def grouped_auc_text(report: Report) -> str:
    """How the ranker orders what was shown, as a sentence; the empty string where nothing was shown or the run did not measure it."""
    found = report.get("grouped_auc")
    if not found:
        return ""
    shown = f"{found['shown']:,} pairs of user and item shown in the test window, {found['not_candidates']:,} of which were no candidates"
    if found["value"] is None:
        return f"Grouped AUC of the ranker: none, over {shown}; no user was shown both what they went for and what they did not."
    return (
        f"Grouped AUC of the ranker: {figure(found['value'])} [{figure(found['low'])}, {figure(found['high'])}] of {found['n']:,} users, "
        f"over {shown}; {found['n_left_out']:,} users went for all of it or for none and are left out."
    )
