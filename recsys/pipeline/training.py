"""`recsys train`, read aloud: tables, windows, text, rows, rankers, verdict, refit, run."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from recsys import evaluate, features, ranker, timeline
from recsys.artefacts import Run, draft, new_run_id
from recsys.config_file import flat
from recsys.errors import TooShortError
from recsys.lock import alone
from recsys.pipeline import answering, prices, recipe, verdict
from recsys.pipeline.calibrating import Calibrated, calibrate
from recsys.pipeline.chances import RECORD
from recsys.pipeline.checking import try_rules
from recsys.pipeline.job import Job, peak_memory_mb
from recsys.pipeline.models import champion, settle
from recsys.pipeline.offpolicy import off_policy, page_log
from recsys.pipeline.record import report_of
from recsys.pipeline.retention import retain
from recsys.pipeline.rows import Part, columns, fold_rows, joined, thinned, valid_rows
from recsys.pipeline.sides import Sides, fit_sides
from recsys.pipeline.slicing import try_slices
from recsys.pipeline.snapshot import Snapshot, snapshot
from recsys.pipeline.tables import users as users_of
from recsys.pipeline.texts import Texts, read_texts
from recsys.pipeline.world import World, read_world
from recsys.text import Fitted, workers
from recsys.tracking import Served, Tracker, track

BASE = "ranker_no_text"
"""The ranker that the one with text goes on from."""


@dataclass(frozen=True)
class Rankers:
    """The rankers by system: `of_folds` whose trees the valid window chose, and `whole`, as many trees on folds and valid window together.

    `ranker` goes on from the trees of `ranker_no_text`: what it adds is what the text adds, and the two do not differ by the luck
    of two fits, which is larger than what most features are worth.
    """

    of_folds: dict[str, ranker.Ranker]
    whole: dict[str, ranker.Ranker]


@dataclass(frozen=True)
class Models:
    """What one fit gives: the text sides, the steps they chose, the rankers, and the windows they come from.

    seconds: what the text sides took (`text`), and each ranker with the rows it was fitted on.
    """

    sides: Sides
    fitted: Fitted
    rankers: Rankers
    ledger: timeline.Ledger
    seconds: dict[str, float]


@dataclass(frozen=True)
class Evaluated:
    """The evaluation run: what was fitted, the verdict on the test window, and what `look` gave."""

    texts: Texts
    models: Models
    judged: verdict.Judged
    more: Any


EXAMPLE = ["a user_id of yours"]
"""How a registered model is asked: by nobody's real id, which would outlive the wish to be forgotten."""

Examine = Callable[[Job, World, Texts, Models, Snapshot], dict[str, Any]]
"""Looks at what was judged, with what was known at the start of the test window; gives more entries of the report."""

Look = Callable[[Job, World, Texts, Models, Snapshot], Any]

Then = Callable[[Job, Run], None]
"""What is done with the run while the project's folder is still held."""


def train(job: Job, examine: Examine = lambda *_: {}, then: Then = lambda *_: None) -> Run:
    """Fit, judge on the test window, refit up to the end of the data, and keep it all as a run. It ranks where no other can.

    Where `accelerate launch` started several workers the main one does so; each other lends a hand in the two text trainings and exits
    (SystemExit, code 0).
    """
    job.now = datetime.fromtimestamp(workers().of_main(job.now.timestamp()), UTC)
    if not workers().is_main:
        _lend_a_hand(job)
        sys.exit()
    with alone(job.home.folder, "recsys train"):
        run = trained(job, examine)
        then(job, run)
        return run


def trained(job: Job, examine: Examine = lambda *_: {}) -> Run:
    """`train` of one worker for whom the project's folder is already held (`recsys.lock`)."""
    job.home.sweep()
    world = read_world(job)
    run_id = new_run_id(job.now, job.config.digest())
    with track(job.config.tracking, job.home.folder, job.config.project.name, run_id) as tracker:
        try_rules(job.config, world.catalogue.items, users_of(world.tables))
        try_slices(job.config, world.catalogue.items, users_of(world.tables))
        one = evaluated(job, world, partial(_look, examine))
        with job.clock.all_to("refit"):
            production = _fit(job, world, one.texts, timeline.refit_ledger(world.start, world.end, job.config), one.models)
        calibrated, more = one.more
        run = _keep(job, world, run_id, one.texts, one.models, one.judged, calibrated, more, production, tracker)
    if champion(job) is None:
        run.verify()
        job.home.point(run_id)
    settle(job, is_alone=True)
    retain(job)
    return run


def evaluated(job: Job, world: World, look: Look = lambda *_: None) -> Evaluated:
    """Fit on the windows that end with the world and judge on its test window: what `train` begins with and `backtest` does at each cutoff.

    Raises TooShortError where the world is too short for the windows, or nobody acted in one that must have something to say.
    """
    ledger = timeline.evaluation_ledger(world.start, world.end, job.config)
    _say_windows(job, ledger, world)
    _refuse_quiet_test(ledger, world)
    texts = _texts(job, world)
    models = _fit(job, world, texts, ledger, None)
    judged, more = _judge(job, world, texts, models, look)
    return Evaluated(texts, models, judged, more)


def _lend_a_hand(job: Job) -> None:
    world = read_world(job)
    texts = _texts(job, world)
    ledgers = (of(world.start, world.end, job.config) for of in (timeline.evaluation_ledger, timeline.refit_ledger))
    fitted = None
    for ledger in ledgers:
        fitted = fit_sides(job, texts, world.catalogue, world.events, ledger, fitted)[1]


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
        sides, fitted = fit_sides(job, texts, world.catalogue, world.events, ledger, chosen.fitted if chosen else None)
    seconds = {"text": time.perf_counter() - begun}
    if chosen:
        rows = fold_rows(job, world, sides, ledger)
        with job.clock.stage("ranker"):
            return Models(sides, fitted, Rankers({}, _refitted(job, rows, chosen.rankers.whole, {})), ledger, seconds)
    rankers, spent = fit_rankers(job, world, sides, ledger)
    return Models(sides, fitted, rankers, ledger, seconds | spent)


def fit_rankers(
    job: Job, world: World, sides: Sides, ledger: timeline.Ledger, known: Rankers | None = None
) -> tuple[Rankers, dict[str, float]]:
    """The ranker without text, unless it is `known`, and the one with it; and the seconds that each took with its rows.

    The valid window chooses the numbers of trees; then so many are fitted on folds and valid window together. So the ranker that is
    judged has learned from the days right before its as_of, as that of tonight will have.
    """
    begun = time.perf_counter()
    rows, valid = fold_rows(job, world, sides, ledger), valid_rows(job, world, sides, ledger)
    whole = joined([rows, thinned(job, valid, len(ledger.folds))])
    of_rows = time.perf_counter() - begun
    made = Rankers({BASE: known.of_folds[BASE]}, {BASE: known.whole[BASE]}) if known else Rankers({}, {})
    seconds = {}
    with job.clock.stage("ranker"):
        for name in ("ranker",) if known else (BASE, "ranker"):
            begun = time.perf_counter()
            made.of_folds[name] = _fit_ranker(job, rows, valid, None, name, made.of_folds)
            made.whole.update(_refitted(job, whole, {name: made.of_folds[name]}, made.whole))
            seconds[name] = of_rows + time.perf_counter() - begun
    return made, seconds


def _refitted(job: Job, rows: Part, chosen: dict[str, ranker.Ranker], bases: dict[str, ranker.Ranker]) -> dict[str, ranker.Ranker]:
    """As many trees as were chosen, over those in `bases`; the learning curves stay those of the choice."""
    made = dict(bases)
    for name, one in chosen.items():
        made[name] = replace(_fit_ranker(job, rows, None, one.n_trees, name, made), curve=one.curve)
    return made


def _fit_ranker(job: Job, rows: Part, valid: Part | None, n_trees: int | None, name: str, bases: dict[str, ranker.Ranker]) -> ranker.Ranker:
    config, held_out = job.config, columns(valid, name) if valid else None
    given = (features.names(), config.ranker, config.gains, config.project.seed, job.threads)
    return ranker.fit(columns(rows, name), held_out, *given, n_trees=n_trees, base=bases.get(BASE) if name != BASE else None)


def _judge(job: Job, world: World, texts: Texts, models: Models, look: Look) -> tuple[verdict.Judged, Any]:
    window = models.ledger.test
    assert window is not None
    known = snapshot(
        world.events,
        world.catalogue,
        window.start,
        window.end,
        models.sides[-1],
        job.config,
        world.catalogue.categories,
        job.threads,
        job.clock,
    )
    judged = verdict.judge(known, world.events, users_of(world.tables), window, models.rankers.whole, job.clock, job.display)
    return judged, look(job, world, texts, models, known)


def _look(examine: Examine, job: Job, world: World, texts: Texts, models: Models, known: Snapshot) -> tuple[Calibrated, dict[str, Any]]:
    """Its chances, what its pages would have brought, what the rules of the shop cost, and what an Examine adds to the report."""
    assert models.ledger.test is not None
    of_folds, whole = models.rankers.of_folds["ranker"], models.rankers.whole["ranker"]
    calibrated = calibrate(job, world, models.sides, models.ledger, of_folds, whole, known)
    priced = prices.price(job, world, known, models.ledger.test, whole, calibrated.judged)
    log = page_log(job, world, known, models.ledger, models.rankers.whole)
    found = {"calibration": calibrated.found, "off_policy": off_policy(job, log)}
    return calibrated, found | priced | examine(job, world, texts, models, known)


def _keep(
    job: Job,
    world: World,
    run_id: str,
    texts: Texts,
    models: Models,
    judged: verdict.Judged,
    calibrated: Calibrated,
    more: dict[str, Any],
    production: Models,
    tracker: Tracker,
) -> Run:
    report = report_of(job, run_id, world, models, judged) | more
    manifest = {
        "run_id": run_id,
        "as_of": world.end.isoformat(),
        "recsys_version": recipe.recsys_version(),
        "config_hash": job.config.digest(),
        "tables": world.tables.run_id,
        "dataset_digests": world.tables.manifest["digests"],
        "knows_until": production.ledger.folds[-1].end.isoformat(),
        "encoder_digest": production.sides[-1].model.encoder.digest(),
        "untrained_digest": texts.encoder_digest,
    }
    with draft(job.home.runs / run_id, manifest) as folder:
        folder.record("config", job.config.model_dump(mode="json"))
        folder.record("report", report | {"peak_memory_mb": round(peak_memory_mb(), 1)})
        folder.record("chosen", report["chosen"])
        folder.record("ranker", {"n_base": production.rankers.whole["ranker"].n_base})
        folder.record(RECORD, calibrated.tonight.as_dict())
        folder.record("categories", {"categories": world.catalogue.categories})
        folder.record("features", {"importance": production.rankers.whole["ranker"].importance(), "meanings": features.meanings()})
        folder.record("curves", {"text": models.fitted.curve, **{name: model.curve for name, model in models.rankers.whole.items()}})
        folder.table("windows", models.ledger.table())
        folder.table("windows_refit", production.ledger.table())
        folder.table("lists", judged.lists)
        folder.table("per_user", judged.per_user)
        folder.record(evaluate.KEPT_SCALES, evaluate.question_scales(judged.asked))
        for name, table in evaluate.question_tables(judged.asked).items():
            folder.table(name, table)
        folder.file("ranker.txt").write_text(production.rankers.whole["ranker"].text())
        production.sides[-1].model.save(folder.file("text/tower.json").parent)
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
    tracker.model(_served(job, run, production.sides[-1].model.encoder.digest()))


def _served(job: Job, run: Run, encoder_digest: str) -> Served:
    write = partial(answering.pack, job, run, encoder_digest)
    return Served(write, Path(__file__).with_name("served.py"), EXAMPLE, job.config.rank.k)
