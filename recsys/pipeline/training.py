"""`recsys train`, read aloud: tables, windows, text, rows, rankers, verdict, refit, run."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys import candidates, features, ranker, timeline
from recsys.artefacts import Run, draft, new_run_id
from recsys.blocks import Bools, Catalogue
from recsys.errors import TooShortError
from recsys.pipeline import tables as tables_of
from recsys.pipeline import verdict
from recsys.pipeline.job import Job, peak_memory_mb
from recsys.pipeline.record import report_of
from recsys.pipeline.snapshot import Chunk, Snapshot, TextSide, chunks, labels, snapshot
from recsys.pipeline.texts import Texts, fit_texts, read_texts
from recsys.text import Fitted
from recsys.tracking import Tracker, track

MIN_QUERIES = 10
"""Below this a ranker would learn noise; the message says how to widen the windows."""


@dataclass(frozen=True)
class World:
    """The tables a training stands on."""

    catalogue: Catalogue
    events: pl.LazyFrame
    start: datetime
    end: datetime
    tables: Run


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
    """Fit, judge on the test window, refit up to the end of the data, keep it all as a run, and make that run the current one."""
    job.home.sweep()
    world = _world(job)
    run_id = new_run_id(job.now, job.config.digest())
    with track(job.config.tracking, job.home.folder, job.config.project.name, run_id) as tracker:
        ledger = timeline.evaluation_ledger(world.start, world.end, job.config)
        _say_windows(job, ledger, world)
        _refuse_quiet_test(ledger, world)
        with job.clock.stage("text"):
            texts = read_texts(job, world.catalogue)
        models = _fit(job, world, texts, ledger, None)
        judged, more = _judge(job, world, texts, models, examine)
        with job.clock.all_to("refit"):
            production = _fit(job, world, texts, timeline.refit_ledger(world.start, world.end, job.config), models)
        run = _keep(job, world, run_id, models, judged, more, production, tracker)
    job.home.point(run_id)
    return run


def _world(job: Job) -> World:
    tables = tables_of.tables(job)
    items, events = tables_of.read(tables)
    start, end = timeline.span(events)
    return World(Catalogue.of(items), events, start, end, tables)


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
    whole = _joined([rows, _thinned(job, valid, len(ledger.folds))])
    of_rows = time.perf_counter() - begun
    made, seconds = {}, {}
    with job.clock.stage("ranker"):
        for name in names:
            begun = time.perf_counter()
            made[name] = _choose_ranker(job, rows, valid, whole, name)
            seconds[name] = of_rows + time.perf_counter() - begun
    return made, seconds


def fold_rows(job: Job, world: World, side: TextSide, ledger: timeline.Ledger) -> "Part":
    """The thinned rows of the ranker folds. Raises TooShortError where they are too few."""
    rows = _joined([_thinned(job, _window_rows(job, world, side, window, number), number) for number, window in enumerate(ledger.folds)])
    _refuse_few(rows, "the ranker folds", "time.fold_days or time.n_folds")
    return rows


def valid_rows(job: Job, world: World, side: TextSide, ledger: timeline.Ledger) -> "Part":
    """All rows of the valid window. Raises TooShortError where they are too few."""
    assert ledger.valid is not None
    valid = _window_rows(job, world, side, ledger.valid, len(ledger.folds))
    _refuse_few(valid, "the valid window", "time.valid_days")
    return valid


@dataclass(frozen=True)
class Part:
    """Ranker rows of some queries, and which of them a source other than text retrieved."""

    rows: ranker.Rows
    by_behaviour: Bools

    def where(self, kept: Bools) -> "Part":
        """Some of the rows, in their order."""
        rows = self.rows
        return Part(ranker.Rows(rows.features[kept], rows.label[kept], rows.query_id[kept]), self.by_behaviour[kept])


def _thinned(job: Job, part: Part, number: int) -> Part:
    """The rows of window `number` with the seeded share `ranker.keep_unchosen` of the candidates that nobody chose."""
    rng = np.random.default_rng([job.config.project.seed, number])
    return part.where((part.rows.label > 0) | (rng.random(len(part.rows.label)) < job.config.ranker.keep_unchosen))


def _window_rows(job: Job, world: World, side: TextSide, window: timeline.Window, number: int) -> Part:
    inside = window.of(world.events).collect()
    users = timeline.active_users(inside, window)
    truth = timeline.truth(inside, window, labels(job.config))
    known = snapshot(
        world.events, world.catalogue, window.start, window.end, side, job.config, world.catalogue.categories, job.threads, job.clock
    )
    parts, done = [], 0
    for chunk in chunks(known, world.events, users, job.clock):
        with job.clock.stage("features"):
            parts += _chunk_parts(chunk, truth, world.catalogue, (number << 24) + 2 * done)
        done += chunk.block.history.n_users
        job.display.progress(f"rows: {window.name}", done, len(users))
    return _joined(parts)


def _chunk_parts(chunk: Chunk, truth: pl.DataFrame, catalogue: Catalogue, first_query: int) -> list[Part]:
    """Each user asks twice, with and without the items they had: so one ranker learns both tasks."""
    user_ids, pool = chunk.block.history.user_ids, chunk.pool
    keys = pl.DataFrame({"user_id": user_ids.gather(pool.user), "item_id": catalogue.ids(pool.item)})
    label = keys.join(truth, on=["user_id", "item_id"], how="left", maintain_order="left")["label"].fill_null(0).to_numpy()
    by_behaviour = np.any([~np.isnan(pool.rank[name]) for name in candidates.BEHAVIOUR], axis=0)
    matrix = ranker.matrix(chunk.frame, features.names())
    parts = []
    for asked, allowed in enumerate((np.ones(len(label), bool), ~chunk.is_seen)):
        chosen = np.flatnonzero(allowed & _has_positive(pool.user, (label > 0) & allowed))
        query = (first_query + 2 * pool.user[chosen] + asked).astype(np.uint32)
        parts.append(Part(ranker.Rows(matrix[chosen], label[chosen].astype(np.int32), query), by_behaviour[chosen]))
    return parts


def _has_positive(user: np.ndarray, positive: Bools) -> Bools:
    found: Bools = np.bincount(user, positive, minlength=int(user.max(initial=0)) + 1) > 0
    of_rows: Bools = found[user]
    return of_rows


NO_ROWS = Part(
    ranker.Rows(np.empty((0, len(features.names())), np.float32), np.empty(0, np.int32), np.empty(0, np.uint32)), np.empty(0, bool)
)
"""Of a window in which nobody acted."""


def _joined(parts: list[Part]) -> Part:
    parts = parts or [NO_ROWS]
    rows = ranker.Rows(
        np.concatenate([part.rows.features for part in parts]),
        np.concatenate([part.rows.label for part in parts]),
        np.concatenate([part.rows.query_id for part in parts]),
    )
    return Part(rows, np.concatenate([part.by_behaviour for part in parts]))


def _refuse_few(part: Part, where: str, setting: str) -> None:
    n = len(np.unique(part.rows.query_id))
    if n < MIN_QUERIES:
        raise TooShortError(f"{where}: only {n} queries have a positive among their candidates, {MIN_QUERIES} are needed. Raise {setting}.")


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
    config, held_out = job.config, _columns(valid, name) if valid else None
    columns = features.names(name == "ranker")
    return ranker.fit(_columns(rows, name), held_out, columns, config.ranker, config.gains, config.project.seed, job.threads, n_trees)


def _columns(part: Part, name: str) -> ranker.Rows:
    """The rows; for `ranker_no_text` less the text features, the rows that only text retrieved, and queries so left without a positive."""
    if name == "ranker":
        return part.rows
    every = features.names()
    wanted = np.array([every.index(feature) for feature in features.names(with_text=False)])
    query = np.unique(part.rows.query_id, return_inverse=True)[1]
    kept = np.flatnonzero(part.by_behaviour & _has_positive(query, part.by_behaviour & (part.rows.label > 0)))
    return ranker.Rows(part.rows.features[np.ix_(kept, wanted)], part.rows.label[kept], part.rows.query_id[kept])


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
            "chosen", {"warm_steps": models.fitted.warm_steps, "steps": models.fitted.steps, "trees": models.rankers["ranker"].n_trees}
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
