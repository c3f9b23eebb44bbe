"""`recsys search`, read aloud: trials of the text model, then of the ranker over the best text model's rows.

The test window is never looked at: what comes after the valid window, events and items, is put away before anything is fitted.
The trials are kept as they finish, so a search that was cut short goes on where it was.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from recsys import config_file, features, ranker, study, timeline
from recsys.artefacts import new_run_id
from recsys.atomic import replacing
from recsys.blocks import Catalogue
from recsys.errors import ConfigError, ModelError, TooShortError
from recsys.lock import alone
from recsys.pipeline.job import Job, Silent
from recsys.pipeline.models import settle
from recsys.pipeline.rows import columns, fold_rows, valid_rows
from recsys.pipeline.sides import fit_sides
from recsys.pipeline.texts import read_texts, try_texts
from recsys.pipeline.training import BASE
from recsys.pipeline.world import World, read_world
from recsys.schema import TIME
from recsys.study import COMPLETE, PrunedError, Report, Settings, Study, Trial
from recsys.text import workers
from recsys.tracking import Tracker, track

FILE_NAME = "searched.toml"

MEASURES = {
    "text": "ndcg@100 on the text window's own validation",
    "ranker": "LightGBM's own ndcg@10 on the valid window, users of whom text tells",
}

JOINT_CHECKS_FROM = 10**7
"""Where the pruner's count of joint steps begins: so a joint check is compared with joint checks only."""

TREES_A_CHECK = 10

WARM_UP = {"text": 0, "ranker": 100}
"""No trial is pruned before this step: with a low learning rate, the first trees say little of the last."""

Fit = Callable[[Job, Tracker, Report], float]
"""Fit with a trial's settings; gives its figure."""


@dataclass(frozen=True)
class Part:
    """The trials of one section, `text` or `ranker`, by number, what they are judged by, and the best complete one with its figure."""

    section: str
    measure: str
    own: Settings
    trials: list[Trial]
    best: Trial
    figure: float


@dataclass(frozen=True)
class Found:
    """What a search found: its parts, the lines for recsys.toml, and the file that holds them."""

    parts: list[Part]
    lines: str
    path: Path


def search(job: Job) -> Found:
    """Search the text model's settings, then the ranker's, and write the best ones to `searched.toml` in the project's folder.

    Raises ConfigError where there is nothing to search, and where `accelerate launch` started several workers.
    """
    study.check_installed()
    if workers().n > 1:
        raise ConfigError("recsys search: runs as one program alone. Start it without `accelerate launch`.")
    if not (job.config.search.text or job.config.search.ranker):
        raise ConfigError("search: search.text and search.ranker are both empty. Give one of them a setting to search.")
    with alone(job.home.folder, "recsys search"):
        return _searched(job)


def _searched(job: Job) -> Found:
    job.home.sweep()
    world = read_world(job)
    ledger = timeline.evaluation_ledger(world.start, world.end, job.config)
    world = before_test(world, ledger)
    name = f"search-{new_run_id(job.now, job.config.digest())}"
    with track(job.config.tracking, job.home.folder, job.config.project.name, name) as tracker:
        tracker.params(config_file.flat(job.config.model_dump(mode="json")))
        found = _keep(job, _parts(job, world, ledger, tracker), tracker)
    settle(job, is_alone=True)
    return found


def before_test(world: World, ledger: timeline.Ledger) -> World:
    """What was there when the valid window ended: the events before, and the items that were available or acted on by then."""
    assert ledger.valid is not None
    until = pl.lit(ledger.valid.end, TIME)
    events = world.events.filter(pl.col("event_time") < until)
    acted_on = events.select(pl.col("item_id").unique()).collect()["item_id"]
    begun = pl.col("available_from").is_null() | (pl.col("available_from") < until) | pl.col("item_id").is_in(acted_on.implode())
    return replace(world, catalogue=Catalogue(world.catalogue.items.filter(begun)), events=events)


def _parts(job: Job, world: World, ledger: timeline.Ledger, tracker: Tracker) -> list[Part]:
    asked, begun = job.config.search, time.monotonic()
    seconds = 60 * asked.minutes or float("inf")
    parts = []
    if asked.text:
        until = begun + (seconds / 2 if asked.ranker else seconds)
        parts.append(_part(job, world, tracker, "text", lambda: _text_fit(job, world, ledger), until))
        job = _with(job, "text", parts[0].best.settings)
    if asked.ranker:
        parts.append(_part(job, world, tracker, "ranker", lambda: _ranker_fit(job, world, ledger), begun + seconds))
    return parts


def _part(job: Job, world: World, tracker: Tracker, section: str, begin: Callable[[], Fit], until: float) -> Part:
    """Trials of one section until there are enough or time is up; a trial that has begun is finished, and the first is always made."""
    space, n_trials = getattr(job.config.search, section), job.config.search.trials
    own = {name: getattr(getattr(job.config, section), name) for name in space}
    path = job.home.caches / "searches" / f"{section}-{_digest(job, world, section)}.json"
    one, fit = Study(space, own, job.config.project.seed, WARM_UP[section], _kept(path)[:n_trials]), None
    while not one.trials or (len(one.trials) < n_trials and time.monotonic() < until):
        fit = fit or begin()
        trial = one.run(_objective(job, tracker, section, own, fit))
        with replacing(path) as temporary:
            temporary.write_text(json.dumps([asdict(done) for done in one.trials]), encoding="utf-8")
        reached = "" if trial.figure is None else f" {trial.figure:.4f}"
        job.display.say(f"{section} trial {trial.number}: {trial.state}{reached} in {trial.seconds:.0f} s")
    complete = [(trial.figure, -trial.number, trial) for trial in one.trials if trial.state == COMPLETE and trial.figure is not None]
    if not complete:
        raise ModelError(f"search.{section}: none of {len(one.trials)} trials got to its end. Narrow the ranges of search.{section}.")
    figure, _, best = max(complete)
    return Part(section, MEASURES[section], own, one.trials, best, figure)


def _objective(job: Job, tracker: Tracker, section: str, own: Settings, fit: Fit) -> study.Objective:
    def objective(number: int, settings: Settings, report: Report) -> float:
        with tracker.nested(f"{section}-{number:03}", PrunedError) as run:
            run.params({f"{section}.{name}": value for name, value in (own | settings).items()})
            figure = fit(replace(_with(job, section, settings), display=Silent()), run, report)
            run.metrics({f"{section}/best": figure})
            return figure

    return objective


def _text_fit(job: Job, world: World, ledger: timeline.Ledger) -> Fit:
    read_texts(job, world.catalogue)  # what is encoded here is found again by every trial

    def fit(job: Job, run: Tracker, report: Report) -> float:
        def checked(row: dict[str, Any]) -> None:
            if row["ndcg"] is None:
                raise _nothing_asked(job)
            run.metrics({f"text/{row['phase']}_ndcg": row["ndcg"]}, row["step"])
            report(row["step"] + (0 if row["phase"] == "warm" else JOINT_CHECKS_FROM), row["ndcg"])

        fitted = try_texts(job, read_texts(job, world.catalogue), world.catalogue, world.events, ledger.text, checked)
        if not fitted.curve:
            raise _nothing_asked(job)
        return max(float(row["ndcg"]) for row in fitted.curve)

    return fit


def _nothing_asked(job: Job) -> TooShortError:
    return TooShortError(
        f"search.text: trials cannot be told apart: in the last {job.config.text.valid_days} days of the text window nobody liked an "
        "item with a text that was new to them. Raise text.valid_days, or set search.text = {}."
    )


def _ranker_fit(job: Job, world: World, ledger: timeline.Ledger) -> Fit:
    sides, _ = fit_sides(job, read_texts(job, world.catalogue), world.catalogue, world.events, replace(ledger, test=None), None)
    rows, valid = fold_rows(job, world, sides, ledger), valid_rows(job, world, sides, ledger)

    def fit(job: Job, run: Tracker, report: Report) -> float:
        def on_tree(n_trees: int, figure: float) -> None:
            if n_trees % TREES_A_CHECK == 0:
                run.metrics({"ranker/ndcg_at_10": figure}, n_trees)
                report(n_trees, figure)

        made = job.config
        given = (features.names(), made.ranker, made.gains, made.project.seed, job.threads)
        base = ranker.fit(columns(rows, BASE), columns(valid, BASE), *given)
        more = ranker.fit(columns(rows, "ranker"), columns(valid, "ranker"), *given, on_tree=on_tree, base=base)
        return max(more.curve or base.curve)  # text says nothing of anybody: the trees without it are the ranker

    return fit


def _with(job: Job, section: str, settings: Settings) -> Job:
    """The job with some settings of a section changed."""
    values = job.config.model_dump()
    values[section] |= settings
    return replace(job, config=config_file.parse(values, f"search.{section} {settings}"))


def _digest(job: Job, world: World, section: str) -> str:
    """Of everything that decides a trial."""
    made = job.config.model_dump(mode="json", exclude={"search", "rank", "tracking"})
    decides = [made, getattr(job.config.search, section), job.threads, world.tables.run_id]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _kept(path: Path) -> list[Trial]:
    """The trials of a search that was cut short; none where there are none, or they cannot be read."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Trial(**row | {"checks": [(step, figure) for step, figure in row["checks"]]}) for row in rows]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _keep(job: Job, parts: list[Part], tracker: Tracker) -> Found:
    for part in parts:
        tracker.params({f"best.{part.section}.{name}": value for name, value in (part.own | part.best.settings).items()})
        tracker.metrics({f"{part.section}/best": part.figure})
    tracker.record("search", {part.section: [asdict(trial) for trial in part.trials] for part in parts})
    lines = "\n".join(line for part in parts for line in _lines(part))
    path = job.home.folder / FILE_NAME
    with replacing(path) as temporary:
        temporary.write_text(
            f"# Found by `recsys search` on {job.now:%Y-%m-%d}: for recsys.toml, in the place of the same keys.\n{lines}\n"
        )
    return Found(parts, lines, path)


def _lines(part: Part) -> list[str]:
    """As TOML, which writes words and numbers as JSON does."""
    found = f"{part.measure} {part.figure:.4f}, the best of {len(part.trials)} trials"
    if not part.best.settings:
        return [f"# [{part.section}] stays as it is: {found}"]
    rows = [f"{name} = {json.dumps(value)}  # was {json.dumps(part.own[name])}" for name, value in part.best.settings.items()]
    return [f"[{part.section}]  # {found}", *rows]
