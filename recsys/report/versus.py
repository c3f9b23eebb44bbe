"""Two runs, found by what a person types, and whether one may say which of them is better: asked the same, of the same users."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from recsys import evaluate
from recsys.artefacts import Home, Run, collected
from recsys.errors import ArtefactError, ConfigError, nearest
from recsys.report.rows import JUDGED, windows

CURRENT, BEFORE = "current", "before"
PER_USER, LISTS = "per_user.parquet", "lists.parquet"
FILES = ("events.parquet", "items.parquet")
"""Of the tables: what a question is made of."""


@dataclass(frozen=True)
class Versus:
    """Run a beside run b: every difference is a minus b."""

    a: Run
    b: Run

    def __iter__(self) -> Iterator[Run]:
        yield from (self.a, self.b)


def versus(home: Home, a: str, b: str | None = None) -> Versus:
    """Two runs by their ids, or the words `current` and `before`; b None: the current one.

    Raises ArtefactError where there is no such run, naming the nearest, or it is not complete; ConfigError where both are the same.
    """
    first, second = (_run(home, typed) for typed in (a, b or CURRENT))
    if first.run_id == second.run_id:
        raise ConfigError(
            f"recsys compare: both are run {first.run_id}, and a run is no better than itself. Name another beside it: "
            "`recsys models list` shows which there are."
        )
    return Versus(first, second)


def _run(home: Home, typed: str) -> Run:
    if typed == CURRENT:
        return home.load()
    run_id = home.before() if typed == BEFORE else typed
    if run_id is None:
        raise ArtefactError(
            f"{home.runs}: no run was current before {home.current()}. Name one: `recsys models list` shows which there are."
        )
    if not (home.runs / run_id).is_dir():
        known = home.run_ids()
        hint = nearest(run_id, known) if known else "; there is none: `recsys train` makes one"
        raise ArtefactError(f"{home.runs}: there is no run {run_id!r} here{hint}. `current` and `before` are understood too.")
    return home.load(run_id)


def obstacles(pair: Versus) -> list[str]:
    """Why the figures of the two runs may not be compared, a sentence each; empty where they may."""
    found = [*_other_window(pair), *_other_tables(pair), *_other_relevance(pair), *_no_figures(pair)]
    return found or list(_other_question(pair))


def remarks(pair: Versus) -> list[str]:
    """What one should know beside figures that may be compared, a sentence each."""
    a, b = (run.record("report")["task"] for run in pair)
    if a == b:
        return []
    return [f"A was made for task {a}, B for task {b}: each list is judged in both tasks, yet its run was to be good in its own."]


def advice(pair: Versus) -> str:
    """What to do about obstacles."""
    return (
        "To compare the two recipes, train both on the same tables: put back the recsys.toml of one of them (its config.json holds every "
        "setting), run `recsys train`, and compare the run it makes with the other one. `recsys models promote` does so by itself for the "
        "run that ranks and the one that shall."
    )


def shared_tasks(pair: Versus) -> list[str]:
    """The tasks that both were judged in, the primary one of a first."""
    reports = [run.record("report") for run in pair]
    both = [task for task in reports[0]["tasks"] if task in reports[1]["tasks"]]
    return sorted(both, key=lambda task: (task != reports[0]["task"], task))


def of_ranker(run: Run, name: str, task: str) -> pl.DataFrame:
    """The rows of `per_user` or `lists` of the run's ranker in a task."""
    return collected(run.scan(name).filter((pl.col("task") == task) & (pl.col("system") == JUDGED)), run)


def has_question(run: Run) -> bool:
    """Does the run keep what its verdict was asked; runs of before that was kept do not."""
    return all(f"{name}.parquet" in run.manifest["digests"] for name in evaluate.KEPT_TABLES)


def kept_question(pair: Versus, task: str) -> evaluate.Question | None:
    """What both were asked in a task, from the run that keeps it; None where neither does."""
    keeper = next(filter(has_question, pair), None)
    if keeper is None:
        return None
    tables = {name: keeper.table(name) for name in evaluate.KEPT_TABLES}
    return evaluate.question_of(task, tables, keeper.record(evaluate.KEPT_SCALES))


def _other_window(pair: Versus) -> Iterator[str]:
    a, b = (next((w for w in windows(run.record("report")) if w["name"] == "test"), None) for run in pair)
    if a is None or b is None:
        yield "Not both have a test window."
    elif (a["start"], a["end"]) != (b["start"], b["end"]):
        yield (
            f"The test windows differ: A was judged on {a['start']} to {a['end']}, B on {b['start']} to {b['end']} (the end is not "
            "included). Other days have other users who did other things."
        )


def _other_tables(pair: Versus) -> Iterator[str]:
    names = [run.manifest["tables"] for run in pair]
    a, b = (run.manifest.get("dataset_digests") or {} for run in pair)
    # Runs of before their tables' digests were kept name their tables alone.
    differ = [name for name in FILES if a.get(name) != b.get(name)] if a and b else list(FILES) * (names[0] != names[1])
    if differ:
        what = " and ".join(name.removesuffix(".parquet") for name in differ)
        yield f"The {what} differ: A stands on tables {names[0]}, B on tables {names[1]}, and what is in them is not the same."


def _other_relevance(pair: Versus) -> Iterator[str]:
    a, b = (_relevance(run) for run in pair)
    for key in sorted(a.keys() & b.keys()):
        if a[key] != b[key]:
            yield f"What counts as relevant differs: {key} is {a[key]} in A and {b[key]} in B."


def _relevance(run: Run) -> dict[str, Any]:
    config = run.record("config")
    found = {f"events.types.{name}.label": type_["label"] for name, type_ in config.get("events", {}).get("types", {}).items()}
    return found | {f"evaluate.{key}": value for key, value in config.get("evaluate", {}).items() if key == "relevant_from"}


def _no_figures(pair: Versus) -> Iterator[str]:
    for name, run in zip("AB", pair, strict=True):
        if PER_USER not in run.manifest["digests"]:
            yield f"{name}, run {run.run_id}, keeps no figure by user: without them nothing can be paired. Train its config again."
    if not shared_tasks(pair):
        yield "No task is judged in both."


def _other_question(pair: Versus) -> Iterator[str]:
    """The last word: what both were asked, where both keep it."""
    if not all(map(has_question, pair)):
        return
    a, b = (run.table(evaluate.KEPT_TABLES[0]) for run in pair)
    n = a.join(b, on=a.columns, how="anti").height + b.join(a, on=a.columns, how="anti").height
    if n:
        yield f"What the users of the test window went for differs in {n:,} pairs of user and item: the tables were read in another way."
