"""What `recsys compare` says of two runs: first whether they may be compared, then by how much they differ, for whom, and in what."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from recsys import evaluate
from recsys.artefacts import Home, Run
from recsys.config import Evaluate, Project
from recsys.report import unlike
from recsys.report.changed import changed
from recsys.report.plain import figure
from recsys.report.rows import JUDGED, MAIN, Row
from recsys.report.sliced import TOO_FEW
from recsys.report.versus import Versus, advice, kept_question, obstacles, of_ranker, remarks, shared_tasks
from recsys.report.words import interval

METRICS = (MAIN, "recall@10", "map@10", "mrr@10")
LEVEL = 0.05

NO_SLICES = (
    "No slice can be paired: neither run keeps what its users were asked, which runs keep from now on. The slices of each run alone, in "
    "`recsys report`, are of no use here: two intervals that overlap or not decide nothing."
)


def compared(home: Home, pair: Versus) -> dict[str, Any]:
    """What `recsys compare --format json` prints.

    is_comparable, obstacles, advice: may the figures be compared, why not, what to do. reached: what each reached on its own test window,
    by task. tasks: of the comparable, `judged`, `sliced` and `changed` by task. The rest: in what the runs differ, comparable or not.
    """
    found = obstacles(pair)
    whole = {
        "a": _side(home, pair.a),
        "b": _side(home, pair.b),
        "is_comparable": not found,
        "obstacles": found,
        "advice": advice(pair) if found else None,
        "remarks": remarks(pair),
        "reached": reached(pair),
        "tasks": {} if found else {task: _task(home, pair, task) for task in shared_tasks(pair)},
        "windows": unlike.window_rows(pair),
        "tables": unlike.table_rows(home, pair),
        "config": unlike.config_rows(pair),
        "chosen": unlike.chosen_rows(pair),
        "features": unlike.feature_rows(pair),
        "costs": unlike.cost_rows(pair),
    }
    plain: dict[str, Any] = evaluate.without_nan(whole)
    return plain


def _task(home: Home, pair: Versus, task: str) -> Row:
    return judged(pair, task) | {"slices": sliced(pair, task), "changed": changed(home, pair, task)}


def _side(home: Home, run: Run) -> Row:
    report = run.record("report")
    return {key: report[key] for key in ("run_id", "as_of", "task")} | {"is_current": run.run_id == home.current()}


def reached(pair: Versus) -> dict[str, Row]:
    """task -> `a` and `b`: value, low, high, n of ndcg@10 of the run's ranker on its own test window; None where it lacks the task."""
    sides = [run.record("report")["tasks"] for run in pair]
    return {
        task: {letter: side[task]["systems"][JUDGED][MAIN] if task in side else None for letter, side in zip("ab", sides, strict=True)}
        for task in dict.fromkeys((*sides[0], *sides[1]))
    }


def judged(pair: Versus, task: str) -> Row:
    """The rankers of both on the same users: n_users, only_a, only_b (users whom the other lacks, left out), answer (a sentence) and
    detail (its figures), metrics (metric, n, a, b, difference, low, high, better, tied, worse, p, p_holm, word), and reach: the least
    difference `seen` by so many users, and users `needed` by difference.

    p_holm: corrected for the rows of metrics. Nobody in common: no metrics, and the answer says so. Raises ArtefactError where a table of
    the runs cannot be read.
    """
    a, b = (of_ranker(run, "per_user", task) for run in pair)
    both = a.join(b, on="user_id", suffix="_b").sort("user_id")
    by_a, by_b = ({metric: both[f"{metric}{suffix}"].to_numpy() for metric in METRICS} for suffix in ("", "_b"))
    metrics = _rows(evaluate.match_metrics(by_a, by_b, *_draws(pair))) if both.height else []
    reach = evaluate.reach(by_a[MAIN] - by_b[MAIN])
    answer, detail = _answer(task, metrics[0], reach) if metrics else _nobody(task, a.height, b.height)
    return {
        "n_users": both.height,
        "only_a": a.height - both.height,
        "only_b": b.height - both.height,
        "answer": answer,
        "detail": detail,
        "metrics": metrics,
        "reach": {"seen": None if np.isnan(reach.seen) else reach.seen, "needed": {str(e): n for e, n in reach.needed.items()}},
    }


def sliced(pair: Versus, task: str) -> list[Row] | None:
    """The same in ndcg@10 in each value of each slice: slice and value beside the columns of `judged`; p_holm: corrected for these rows.

    None where neither run keeps what its users were asked. Raises TableError where the lists do not fit the question.
    """
    asked = kept_question(pair, task)
    if asked is None:
        return None
    a, b = (of_ranker(run, "lists", task).select("user_id", "item_id", "rank") for run in pair)
    return _rows(evaluate.match_slices(a, b, asked, *_draws(pair)))


def _draws(pair: Versus) -> tuple[int, int]:
    """Resamples and seed, as the config of a has them."""
    config = pair.a.record("config")
    return config.get("evaluate", {}).get("bootstrap", Evaluate().bootstrap), config.get("project", {}).get("seed", Project().seed)


def _rows(found: Iterable[evaluate.Matched]) -> list[Row]:
    rows = [
        {"metric": one.pair.metric, "slice": one.slice, "value": one.value, "n": one.n, "a": one.mean_a, "b": one.mean_b}
        | {key: getattr(one.pair, key) for key in ("difference", "low", "high", "better", "tied", "worse")}
        | {"p": one.p, "p_holm": one.p_holm, "word": TOO_FEW if one.slice and one.n < evaluate.FEWEST_USERS else one.word}
        for one in found
    ]
    plain: list[Row] = evaluate.without_nan(rows)
    return plain


def _answer(task: str, row: Row, reach: evaluate.Reach) -> tuple[str, str]:
    """The plain answer of a task, no firmer than its interval and its p-value; and its figures."""
    if row["n"] < 2:
        return f"Task {task}: not decided: one user shows nothing.", ""
    if row["word"] == "tied":
        return f"Task {task}: A and B are the same to each of {row['n']:,} users.", f"{MAIN} of both: {figure(row['a'])}."
    by = f"{interval(row, 'difference', '+')} of {MAIN} over {row['n']:,} users, p {figure(row['p_holm'])} after Holm"
    counts = f"{row['better']:,} users better, {row['tied']:,} tied, {row['worse']:,} worse"
    if row["word"] == "undecided":
        few = f"Below {figure(reach.seen)} so many users mostly cannot tell it from luck."
        return f"Task {task}: not decided.", f"{by}; {counts}. {few}"
    firm = "" if row["p_holm"] <= LEVEL else " by the interval alone, which luck may give: p is not below .05"
    return f"Task {task}: A is {row['word']} than B{firm}.", f"{by}; {counts}."


def _nobody(task: str, n_a: int, n_b: int) -> tuple[str, str]:
    if not n_a or not n_b:
        return f"Task {task}: nobody is judged: no user had anything to find.", ""
    return f"Task {task}: no user was judged in both: none of the {n_a:,} of A is among the {n_b:,} of B.", ""
