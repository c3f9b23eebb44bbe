"""`recsys train`, read aloud: tables, windows, text, rows, rankers, verdict, refit, run."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from recsys import features, ranker, timeline
from recsys.artefacts import Run, draft, new_run_id
from recsys.errors import TooShortError
from recsys.pipeline import verdict
from recsys.pipeline.job import Job, peak_memory_mb
from recsys.pipeline.record import report_of
from recsys.pipeline.rows import Part, columns, fold_rows, joined, thinned, valid_rows
from recsys.pipeline.snapshot import Snapshot, TextSide, snapshot
from recsys.pipeline.texts import Texts, fit_texts, read_texts
from recsys.pipeline.world import World, read_world
from recsys.text import Fitted, workers
from recsys.tracking import Tracker, track


@dataclass(frozen=True)
class Models:
    """What one fit gives: the text side, the steps it chose, the rankers by system, and the windows they come from.

    seconds: what the text side took (`text`), and each ranker with the rows it was fitted on.
    """

    text: TextSide
    fitted: Fitted
    rankers: dict[str, ranker.Ranker]
    ledger: timeline.Ledger
    seconds: dict[str, float]


Examine = Callable[[Job, World, Texts, Models, Snapshot], dict[str, Any]]
"""Looks at what was judged, with what was known at the start of the test window; gives more entries of the report."""


def train(job: Job, examine: Examine = lambda *_: {}) -> Run:
    """Fit, judge on the test window, refit up to the end of the data, keep it all as a run, and make that run the current one.

    Where `accelerate launch` started several workers the main one does so; each other lends a hand in the two text trainings and exits
    (SystemExit, code 0).
    """
    job.now = datetime.fromtimestamp(workers().of_main(job.now.timestamp()), UTC)
    if not workers().is_main:
        _lend_a_hand(job)
        sys.exit()
    job.home.sweep()
    world = read_world(job)
    run_id = new_run_id(job.now, job.config.digest())
    with track(job.config.tracking, job.home.folder, job.config.project.name, run_id) as tracker:
        ledger = timeline.evaluation_ledger(world.start, world.end, job.config)
        _say_windows(job, ledger, world)
        _refuse_quiet_test(ledger, world)
        texts = _texts(job, world)
        models = _fit(job, world, texts, ledger, None)
        judged, more = _judge(job, world, texts, models, examine)
        with job.clock.all_to("refit"):
            production = _fit(job, world, texts, timeline.refit_ledger(world.start, world.end, job.config), models)
        run = _keep(job, world, run_id, models, judged, more, production, tracker)
    job.home.point(run_id)
    return run


def _lend_a_hand(job: Job) -> None:
    world = read_world(job)
    texts = _texts(job, world)
    window = timeline.evaluation_ledger(world.start, world.end, job.config).text
    _, fitted = fit_texts(job, texts, world.catalogue, world.events, window, None)
    fit_texts(job, texts, world.catalogue, world.events, timeline.refit_ledger(world.start, world.end, job.config).text, fitted)


def _texts(job: Job, world: World) -> Texts:
    with job.clock.stage("text"), workers().main_first():
        return read_texts(job, world.catalogue)


def _say_windows(job: Job, ledger: timeline.Ledger, world: World) -> None:
    times = world.events.select("event_time").collect()
    for window in ledger.windows:
        job.display.say(f"window {window.name:<7} {window.start:%Y-%m-%d} to {window.end:%Y-%m-%d} {window.of(times).height:>9,} events")


def _refuse_quiet_test(ledger: timeline.Ledger, world: World) -> None:
    assert ledger.test is not None
    if timeline.active_users(ledger.test.of(world.events).collect(), ledger.test).is_empty():
        span = f"{ledger.test.start:%Y-%m-%d} to {ledger.test.end:%Y-%m-%d}"
        raise TooShortError(f"events: nobody acted in the test window, {span}: there is nothing to judge by. Raise time.test_days.")


def _fit(job: Job, world: World, texts: Texts, ledger: timeline.Ledger, chosen: Models | None) -> Models:
    """One fit on a ledger. With `chosen`, the refit: as many text steps and trees as the evaluation run chose."""
    begun = time.perf_counter()
    with job.clock.stage("text"):
        side, fitted = fit_texts(job, texts, world.catalogue, world.events, ledger.text, chosen.fitted if chosen else None)
    seconds = {"text": time.perf_counter() - begun}
    if chosen:
        rows = fold_rows(job, world, side, ledger)
        with job.clock.stage("ranker"):
            return Models(side, fitted, {"ranker": _refit_ranker(job, rows, chosen.rankers["ranker"], "ranker")}, ledger, seconds)
    rankers, spent = fit_rankers(job, world, side, ledger, ("ranker_no_text", "ranker"))
    return Models(side, fitted, rankers, ledger, seconds | spent)


def fit_rankers(
    job: Job, world: World, side: TextSide, ledger: timeline.Ledger, names: tuple[str, ...]
) -> tuple[dict[str, ranker.Ranker], dict[str, float]]:
    """Rankers over one text side, the valid window choosing the trees; and the seconds that each took with its rows."""
    begun = time.perf_counter()
    rows, valid = fold_rows(job, world, side, ledger), valid_rows(job, world, side, ledger)
    whole = joined([rows, thinned(job, valid, len(ledger.folds))])
    of_rows = time.perf_counter() - begun
    made, seconds = {}, {}
    with job.clock.stage("ranker"):
        for name in names:
            begun = time.perf_counter()
            made[name] = _choose_ranker(job, rows, valid, whole, name)
            seconds[name] = of_rows + time.perf_counter() - begun
    return made, seconds


def _choose_ranker(job: Job, rows: Part, valid: Part, whole: Part, name: str) -> ranker.Ranker:
    """The valid window chooses the number of trees; then so many are fitted on the whole, folds and valid window together.

    So the ranker that is judged has learned from the days right before its as_of, as that of tonight will have.
    """
    first = _fit_ranker(job, rows, valid, None, name)
    return _refit_ranker(job, whole, first, name)


def _refit_ranker(job: Job, rows: Part, chosen: ranker.Ranker, name: str) -> ranker.Ranker:
    """As many trees as were chosen; the learning curve stays that of the choice."""
    return replace(_fit_ranker(job, rows, None, chosen.n_trees, name), curve=chosen.curve)


def _fit_ranker(job: Job, rows: Part, valid: Part | None, n_trees: int | None, name: str) -> ranker.Ranker:
    config, held_out = job.config, columns(valid, name) if valid else None
    known = features.names(name == "ranker")
    return ranker.fit(columns(rows, name), held_out, known, config.ranker, config.gains, config.project.seed, job.threads, n_trees)


def _judge(job: Job, world: World, texts: Texts, models: Models, examine: Examine) -> tuple[verdict.Judged, dict[str, Any]]:
    window = models.ledger.test
    assert window is not None
    known = snapshot(
        world.events, world.catalogue, window.start, window.end, models.text, job.config, world.catalogue.categories, job.threads, job.clock
    )
    judged = verdict.judge(known, world.events, window, models.rankers, job.clock, job.display)
    return judged, examine(job, world, texts, models, known)


def _keep(
    job: Job,
    world: World,
    run_id: str,
    models: Models,
    judged: verdict.Judged,
    more: dict[str, Any],
    production: Models,
    tracker: Tracker,
) -> Run:
    report = report_of(job, run_id, world, models, judged) | more
    manifest = {
        "run_id": run_id,
        "as_of": world.end.isoformat(),
        "config_hash": job.config.digest(),
        "tables": world.tables.run_id,
        "dataset_digests": world.tables.manifest["digests"],
        "knows_until": production.ledger.folds[-1].end.isoformat(),
    }
    with draft(job.home.runs / run_id, manifest) as folder:
        folder.record("config", job.config.model_dump(mode="json"))
        folder.record("report", report | {"peak_memory_mb": round(peak_memory_mb(), 1)})
        folder.record(
            "chosen",
            {
                "warm_steps": models.fitted.warm_steps,
                "steps": models.fitted.steps,
                "blend_steps": models.fitted.blend_steps,
                "gain": models.fitted.gain,
                "trees": models.rankers["ranker"].n_trees,
            },
        )
        folder.record("categories", {"categories": world.catalogue.categories})
        folder.record("features", {"importance": production.rankers["ranker"].importance(), "meanings": features.meanings()})
        folder.record("curves", {"text": models.fitted.curve, **{name: model.curve for name, model in models.rankers.items()}})
        folder.table("windows", models.ledger.table())
        folder.table("windows_refit", production.ledger.table())
        folder.table("lists", judged.lists)
        folder.table("per_user", pl.concat([v.per_user.with_columns(task=pl.lit(task)) for task, v in judged.tasks.items()]))
        folder.file("ranker.txt").write_text(production.rankers["ranker"].text())
        production.text.model.save(folder.file("text/tower.json").parent)
    run = job.home.load(run_id)
    _track(job, run, production, tracker)
    return run


def _track(job: Job, run: Run, production: Models, tracker: Tracker) -> None:
    from recsys.pipeline import figures

    report, curves = run.record("report"), run.record("curves")
    tracker.params(flat(job.config.model_dump(mode="json")) | run.record("chosen"))
    for task, content in report["tasks"].items():
        tracker.metrics(
            {f"{task}/{s}/{m}": f["value"] for s, ms in content["systems"].items() for m, f in ms.items() if f["value"] is not None}
        )
    for task, content in report.get("ablation", {}).get("tasks", {}).items():
        tracker.metrics({f"{task}/ablation/{p['a']}_minus_{p['b']}": p["difference"] for p in content["paired"] if p["low"] is not None})
    tracker.metrics(
        {f"seconds/{stage}": value for stage, value in report["seconds"].items()} | {"peak_memory_mb": report["peak_memory_mb"]}
    )
    for step, row in enumerate(curves["text"]):
        tracker.metrics({f"text/{k}": row[k] for k in ("loss", "ndcg") if row[k] is not None}, step)
    for name in ("ranker", "ranker_no_text"):
        for step, value in enumerate(curves[name]):
            if step % 10 == 0 or step == len(curves[name]) - 1:
                tracker.metrics({f"{name}/lightgbm_ndcg_at_10": value}, step)
    for name, digest in run.manifest["dataset_digests"].items():
        if name.endswith(".parquet"):
            tracker.dataset(
                Path(name).stem,
                digest,
                int(pl.scan_parquet(job.home.tables(run.manifest["tables"]).file(name)).select(pl.len()).collect().item()),
            )
    for name, figure in figures.of_run(report, curves, run.record("features")).items():
        tracker.figure(name, figure)
    tracker.record("config", run.record("config"))
    tracker.record("report", report)
    tracker.ranker(production.rankers["ranker"].booster)


def flat(values: dict[str, object], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Nested dicts as one, keys joined with dots; what is no plain value as text."""
    out: dict[str, str | int | float | bool] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            out |= flat(value, f"{name}.")
        else:
            out[name] = value if isinstance(value, str | int | float | bool) else str(value)
    return out
