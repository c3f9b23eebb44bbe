"""The checks of the promotion gate: the paired test on the primary metric, and what must not be paid for it elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from recsys import evaluate
from recsys.artefacts import Run
from recsys.config_tables import Promote
from recsys.errors import ArtefactError

METRIC = "ndcg@10"
BASELINES = ("popularity", "repurchase")
FRESH_ITEMS = {"cold: no event yet": "items without an event", "up to 28 days": "new items"}
"""Values of the slice `item_age`, and what their checks are called."""

FITTING = ("text", "candidates", "features", "ranker", "evaluate")
"""Stages of fitting and judging: what a training and the gate's own fit both go through."""

LEVEL = 0.05

LEAST_MINUTES = 1.0
"""Less counts as this: the seconds of a small shop vary more than any limit."""


@dataclass(frozen=True)
class Check:
    """One check: PASS, FAIL (the run is refused), or WARN where it could not be asked; its value, the limit, and both in words."""

    name: str
    status: Literal["PASS", "WARN", "FAIL"]
    value: float | None
    limit: float | None
    words: str


@dataclass(frozen=True)
class Shown:
    """What a run costs and shows on a window: coverage@10, novelty@10, share of users with a list of fewer than 10, minutes, MB.

    None where it is not known.
    """

    coverage: float | None
    novelty: float | None
    short: float | None
    minutes: float | None
    memory_mb: float | None


def question_of(run: Run, task: str) -> evaluate.Question:
    """What a run was asked in its test window. Raises ArtefactError where it keeps no question."""
    tables = {name: run.table(name) for name in evaluate.KEPT_TABLES}
    return evaluate.question_of(task, tables, run.record(evaluate.KEPT_SCALES))


def lists_of(run: Run, task: str) -> pl.DataFrame:
    """user_id, item_id, rank of the ranker's lists in the test window. Raises ArtefactError where they are not kept."""
    kept = run.table("lists").filter((pl.col("task") == task) & (pl.col("system") == "ranker"))
    return kept.select("user_id", "item_id", "rank")


def short_share(lists: pl.DataFrame, users: pl.Series) -> float | None:
    """Share of the users whose list has fewer than K places, or who have none; None of nobody."""
    full = lists.group_by("user_id").len().filter(pl.col("len") >= evaluate.K).join(users.to_frame("user_id"), on="user_id", how="semi")
    return 1 - full.height / len(users) if len(users) else None


def minutes_of(report: Mapping[str, Any]) -> float | None:
    """Minutes of FITTING; None where the report does not say."""
    seconds = [report.get("seconds", {}).get(stage) for stage in FITTING]
    return None if None in seconds else sum(seconds) / 60


def shown_by(run: Run, task: str) -> Shown:
    """What a run shows on its own test window."""
    report = run.record("report")
    figures = report["tasks"][task]["systems"]["ranker"]
    try:
        short = short_share(lists_of(run, task), question_of(run, task).users)
    except ArtefactError:
        short = None
    return Shown(figures["coverage@10"]["value"], figures["novelty@10"]["value"], short, minutes_of(report), report.get("peak_memory_mb"))


def primary(pair: evaluate.Paired, p: float, effect: float, limits: Promote) -> Check:
    """The paired test: superiority (the interval above 0, and p below LEVEL), or non-inferiority (the interval above -margin).

    effect: what so many users can show.
    """
    n = pair.better + pair.tied + pair.worse
    found = f"{pair.difference:+.4f} [{pair.low:+.4f}, {pair.high:+.4f}], {n:,} users (who can show {effect:.4f}), p {p:.3f}"
    if limits.rule == "better":
        return _check(METRIC, pair.low > 0 and p < LEVEL, pair.low, 0.0, f"{found}: surely above 0?")
    return _check(METRIC, pair.low > -limits.margin, pair.low, -limits.margin, f"{found}: surely above {-limits.margin:g}?")


def fresh_items(slices: Sequence[evaluate.Slice], limits: Promote) -> Iterator[Check]:
    """Items without an event, and new ones: not surely worse than by the margin."""
    parts = {part.value: part for part in slices if part.slice == "item_age"}
    for value, name in FRESH_ITEMS.items():
        if value not in parts or parts[value].is_small:
            n = parts[value].n if value in parts else 0
            yield Check(name, "PASS", None, -limits.cold_margin, f"{n} users went for one: too few to say" if n else "nobody went for one")
            continue
        pair, n = parts[value].paired[0], parts[value].n
        words = f"{pair.difference:+.4f} [{pair.low:+.4f}, {pair.high:+.4f}], {n:,} users: surely below {-limits.cold_margin:g}?"
        yield _check(name, pair.high >= -limits.cold_margin, pair.high, -limits.cold_margin, words)


def baselines(run: Run, task: str) -> Iterator[Check]:
    """A run is not surely below what needs no model, on its own test window."""
    paired = run.record("report")["tasks"][task]["paired"]
    found = {pair["b"]: pair for pair in paired if pair["metric"] == METRIC and pair["high"] is not None}
    for name in BASELINES:
        if name not in found:
            yield Check(f"against {name}", "WARN", None, 0.0, "not judged against it")
            continue
        pair = found[name]
        words = f"{pair['difference']:+.4f} [{pair['low']:+.4f}, {pair['high']:+.4f}] on its own window: surely below 0?"
        yield _check(f"against {name}", pair["high"] >= 0, pair["high"], 0.0, words)


def costs(before: Shown, now: Shown, limits: Promote) -> Iterator[Check]:
    """Coverage, popularity, list health, run time and memory, against the run that ranks."""
    left = _ratio(before.coverage, now.coverage)
    lost = None if left is None else 1 - left
    yield _at_most("coverage", lost, limits.coverage_fall, _moved(before.coverage, now.coverage, ".3f", "share lost"))
    # Novelty is the mean of -log2(share of users who had the item): two to its fall says how many times as popular.
    times = None if before.novelty is None or now.novelty is None else 2 ** (before.novelty - now.novelty)
    yield _at_most("popularity", times, limits.popularity_times, _moved(before.novelty, now.novelty, ".2f bits of novelty", "times"))
    yield _at_most("short lists", now.short, before.short, _moved(before.short, now.short, ".4f", "share of users"))
    minutes = [None if value is None else max(value, LEAST_MINUTES) for value in (before.minutes, now.minutes)]
    yield _at_most("minutes", _ratio(*minutes), limits.minutes_times, _moved(before.minutes, now.minutes, ".1f", "times"))
    memory = _ratio(before.memory_mb, now.memory_mb)
    yield _at_most("memory", memory, limits.memory_times, _moved(before.memory_mb, now.memory_mb, ",.0f MB", "times"))


def _ratio(before: float | None, now: float | None) -> float | None:
    return now / before if before and now is not None else None


def _moved(before: float | None, now: float | None, how: str, unit: str) -> str:
    digits, _, kind = how.partition(" ")
    old, new = ("not known" if value is None else f"{value:{digits}}" for value in (before, now))
    return f"{old} to {new} {kind}".rstrip() + f" ({unit})"


def _at_most(name: str, value: float | None, limit: float | None, words: str) -> Check:
    if value is None or limit is None:
        return Check(name, "WARN", value, limit, f"{words}: not asked")
    return _check(name, value <= limit, value, limit, words)


def _check(name: str, is_fine: bool, value: float, limit: float, words: str) -> Check:
    return Check(name, "PASS" if is_fine else "FAIL", value, limit, words)
