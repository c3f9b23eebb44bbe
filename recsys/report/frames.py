"""The report of a run as pandas frames, one a table or a chart of the dashboard. pandas is loaded when the first one is asked for."""

from typing import TYPE_CHECKING, Any

import polars as pl

from recsys.artefacts import Home, Run
from recsys.report import ablation, backtest, rows

if TYPE_CHECKING:
    import pandas as pd


def tasks_of(run: Run) -> list[str]:
    """The tasks of a run, the primary one first."""
    return rows.tasks(run.record("report"))


def systems_frame(run: Run, task: str) -> "pd.DataFrame":
    """system, every metric of the verdict, low and high of ndcg@10, n, n_lists; the best first; NaN where undefined or not measured."""
    return _frame(rows.systems(run.record("report"), task), text=("system",))


def paired_frame(run: Run, task: str) -> "pd.DataFrame":
    """against, difference (ndcg@10), low, high, better, tied, worse, word: the ranker against each other system."""
    return _frame(rows.paired(run.record("report"), task), text=("against", "word"))


def slices_frame(run: Run, task: str, slice: str | None = None) -> "pd.DataFrame":
    """slice, value, n, share, is_small, system, ndcg, low, high, role: a row a system and value, of one slice or of all, in their order.

    Without an interval where is_small; share is NaN in a run of an earlier version. role is `ranker`, `ranker_no_text`, `best other` (the
    highest of the others in that value) or `other`.
    """
    found = [row for row in rows.slices(run.record("report"), task) if slice in (None, row["slice"])]
    return _frame(found, text=("slice", "value", "system", "role"))


def runs_frame(runs: list[Run], task: str) -> "pd.DataFrame":
    """A row of `rows.run` for each run that has the task, the latest test window last; NaN where undefined."""
    reports = [run.record("report") for run in runs]
    found = [rows.run(report, task) for report in reports if task in report["tasks"]]
    names = ("run_id", "start", "end", "best_other_name", "word")
    return _frame(sorted(found, key=lambda row: (row["end"], row["run_id"])), text=names)


def recall_frame(run: Run) -> "pd.DataFrame":
    """source, value, alone, only: shares of what users went for, the best source first."""
    return _frame(rows.recall(run.record("report")), text=("source",))


def windows_frame(run: Run) -> "pd.DataFrame":
    """name, start, end (midnights), n_events, n_queries of each window, in order of time."""
    days = [pl.col(name).str.to_date() for name in ("start", "end")]
    frame = pl.DataFrame(rows.windows(run.record("report"))).with_columns(days)
    return _pandas(frame.with_columns(pl.col("start", "end").cast(pl.Datetime("us"))))


def seconds_frame(run: Run) -> "pd.DataFrame":
    """stage, seconds: the longest first."""
    return _frame(rows.seconds(run.record("report")), text=("stage",))


def curves_frames(run: Run) -> dict[str, "pd.DataFrame"]:
    """`text`: phase, step, loss, ndcg; `ranker`: system, trees (those added: the ranker goes on from ranker_no_text), ndcg.

    Empty where nothing was chosen on a window held out.
    """
    curves = run.record("curves")
    grown = [
        {"system": name, "trees": n, "ndcg": value}
        for name in (rows.JUDGED, rows.WITHOUT_TEXT)
        for n, value in enumerate(curves.get(name, []), start=1)
    ]
    text = pl.DataFrame(curves["text"], schema={"phase": pl.String, "step": pl.Int64, "loss": pl.Float64, "ndcg": pl.Float64})
    ranker = pl.DataFrame(grown, schema={"system": pl.String, "trees": pl.Int64, "ndcg": pl.Float64})
    return {"text": _pandas(text), "ranker": _pandas(ranker)}


def importance_frame(run: Run) -> "pd.DataFrame":
    """feature, gain (share of the total gain), meaning: the most important first."""
    record = run.record("features")
    gain = pl.DataFrame(list(record["importance"].items()), schema={"feature": pl.String, "gain": pl.Float64}, orient="row")
    share = pl.col("gain") / pl.col("gain").sum().clip(1e-12)
    meaning = pl.col("feature").replace_strict(record["meanings"], default="", return_dtype=pl.String)
    return _pandas(gain.with_columns(share, meaning=meaning).sort(["gain", "feature"], descending=[True, False]))


def has_ablation(run: Run) -> bool:
    """Was the run trained with `--ablate`; the three frames that follow are of such runs alone."""
    return ablation.ablation(run.record("report")) is not None


def variants_frame(run: Run, task: str) -> "pd.DataFrame":
    """variant, meaning, ndcg, low, high, training_minutes, text_minutes, scoring_seconds: from no text up."""
    found = [
        {key: row[key] for key in ("variant", "meaning", "training_minutes", "text_minutes", "scoring_seconds")}
        | {"ndcg": row["ndcg"][task]["value"], "low": row["ndcg"][task]["low"], "high": row["ndcg"][task]["high"]}
        for row in ablation.variants(run.record("report"))
    ]
    return _frame(found, text=("variant", "meaning"))


def differences_frame(run: Run, task: str) -> "pd.DataFrame":
    """pair, difference (ndcg@10), low, high, better, tied, worse, word: in the order in which text comes in."""
    return _frame(ablation.differences(run.record("report"), task), text=("pair", "word"))


def sliced_frame(run: Run, task: str, pair: str) -> "pd.DataFrame":
    """slice, value, n and the columns of `differences_frame`: one pair within every value of every slice."""
    found = [row for row in ablation.sliced(run.record("report"), task) if row["pair"] == pair]
    return _frame(found, text=("slice", "value", "pair", "word"))


def backtest_frame(made: Run, task: str) -> "pd.DataFrame":
    """system, value (over all queries), low, high, n (users); mean, lowest, highest, sd (over n_cutoffs): of ndcg@10, the best first."""
    return _frame(backtest.systems(made.record("report"), task), text=("system",))


def backtest_paired_frame(made: Run, task: str) -> "pd.DataFrame":
    """against, difference, low, high, p, p_holm, won, lost, n_cutoffs, better, tied, worse, word: the ranker against each other system."""
    return _frame(backtest.paired(made.record("report"), task), text=("against", "word"))


def cutoffs_frame(made: Run, task: str) -> "pd.DataFrame":
    """cutoff (ISO day), system, ndcg, low, high, n, role (as in `slices_frame`): a row a system of every cutoff, in order of time."""
    return _frame(backtest.by_cutoff(made.record("report"), task), text=("cutoff", "system", "role"))


def monitoring_frame(home: Home) -> "pd.DataFrame":
    """night_id, as_of, measure, key, value, status: what was measured of every night, in the order of the nights; no row before the first.

    Raises ArtefactError where the table cannot be read.
    """
    return _pandas(home.readings())


def _frame(found: list[dict[str, Any]], text: tuple[str, ...]) -> "pd.DataFrame":
    frame = pl.DataFrame(found, infer_schema_length=None)
    # A column of nothing but undefined figures would come as text-less nulls, and no chart draws those.
    nulls = [name for name, dtype in frame.schema.items() if dtype == pl.Null]
    return _pandas(frame.with_columns(pl.col(name).cast(pl.String if name in text else pl.Float64) for name in nulls))


def _pandas(frame: pl.DataFrame) -> "pd.DataFrame":
    return frame.to_pandas()
