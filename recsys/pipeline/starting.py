"""`recsys init`: from the user's own files to a recsys.toml that works, or that says what it could not guess."""

import os
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from recsys import atomic, config_file, ingest, timeline
from recsys.config import TEMPLATE
from recsys.errors import ConfigError, DataError
from recsys.ingest import Setting, Source
from recsys.schema import LIKED

UNITS = (7, 14, 28, 90, 180, 365)
"""Days of a fold to choose from; shorter ones where the data is."""

N_ACTIVE = 500
"""Users who should have acted in the shortest window: with fewer, no verdict can tell two systems apart."""

N_UNITS = 12
"""Of so many folds' length the data should be at least: three folds, valid, two of test, and twice two of text."""

REPEATS = 0.05
"""Share of users' items that they chose on several days, above which lists may hold what somebody had before."""

SHORTEST = 6
"""Days that the shortest windows need: see `recsys.timeline`."""

CHARACTERS_PER_TOKEN = 4
TOKENS = (64, 128)
"""The default length of a text, and the longest that is proposed: time grows with it."""


@dataclass(frozen=True)
class Started:
    """The guesses (key, what stands there, why), the keys to fill in with what there is to choose from, and what should be looked at."""

    guessed: tuple[tuple[str, str, str], ...]
    unknown: dict[str, str]
    doubts: tuple[str, ...]


def start(events_path: str, items_path: str | None, path: Path, now: datetime) -> Started:
    """Look at the files (paths or globs from where the user stands) and write `path`. An existing file is left alone.

    Raises ConfigError (there is a file), SourceError and TableError (a file cannot be read).
    """
    if path.exists():
        raise ConfigError(f"{path}: is there already, and is left as it is. Name another file with --config, or take it away.")
    base = path.resolve().parent
    asked = _relative(events_path, base)
    raw = ingest.read(asked, base)
    events = ingest.guess_events(raw)
    place = asked if items_path is None else _relative(items_path, base)
    if place == asked:
        items = Source(place, ingest.guess_items_of_events(raw, events.columns.get("item_id")), ())
    else:
        rows = ingest.read(place, base)
        guesses = ingest.guess_items(rows, ingest.item_ids(raw, events))
        items = Source(place, guesses, tuple(ingest.unused(rows, guesses.columns)))
    sources = items, Source(asked, events, tuple(ingest.unused(raw, events.columns)))
    both = (("items", items.guesses), ("events", events))
    unknown = {f"{table}.columns.{name}": choice for table, one in both for name, choice in one.unknown.items()}
    guessed = tuple((f"{table}.{name}", guess.expression, guess.why) for table, one in both for name, guess in one.columns.items())
    settings, doubts = ((), ()) if unknown else _settings(ingest.draft(*sources, ()), base, now)
    with atomic.replacing(path) as temporary:
        temporary.write_text(ingest.draft(*sources, settings), encoding="utf-8")
    return Started(guessed, unknown, (*items.guesses.doubts, *events.doubts, *doubts))


def _relative(path: str, base: Path) -> str:
    """A path or glob as the user says it, as the config has to say it."""
    return Path(os.path.relpath(Path(path).absolute(), base)).as_posix()


def _settings(text: str, base: Path, now: datetime) -> tuple[tuple[Setting, ...], tuple[str, ...]]:
    """What only the rows tell: the lists' task, the windows, the length of a text; and what is doubtful of that."""
    try:
        tables = ingest.ingest(config_file.parse(tomllib.loads(text), "the guesses"), base, now)
    except DataError as error:
        return (), (str(error),)
    windows, doubts = _windows(tables.events)
    return (_task(tables.events), *windows, *_tokens(tables.items)), doubts


def _task(events: pl.DataFrame) -> Setting:
    days = events.filter(pl.col("event_type").is_in(LIKED)).group_by("user_id", "item_id").agg(n=pl.col("event_time").dt.date().n_unique())
    share = int((days["n"] > 1).sum()) / max(days.height, 1)
    again = f"{share:.0%} of what somebody chose they chose again on another day"
    if share > REPEATS:
        return Setting("project", "task", "all", f"{again}, so lists may hold what they had")
    return Setting("project", "task", "new", f"{again}, so lists hold what is new to them")


def _windows(events: pl.DataFrame) -> tuple[tuple[Setting, ...], tuple[str, ...]]:
    start, end = timeline.span(events.lazy())
    days = (end - start) // timeline.DAY
    if days < SHORTEST:
        return (), (f"[time]: the events span {days} days, and no windows fit into fewer than {SHORTEST}: collect more",)
    fitting = [unit for unit in UNITS if N_UNITS * unit <= days] or [max(days // N_UNITS, 1)]
    active = {unit: _fewest_active(events, end, unit) for unit in fitting}
    unit = next((unit for unit in fitting if active[unit] >= N_ACTIVE), fitting[-1])
    n_folds = 3 if N_UNITS * unit <= days else 2
    few = f"[time]: in its emptiest window {active[unit]:,} users acted: the verdict's intervals will be wide"
    why = f"of {days} days of events; {active[unit]:,} users acted in the emptiest of its windows"
    lengths = {"fold_days": unit, "n_folds": n_folds, "valid_days": unit, "test_days": 2 * unit if n_folds == 3 else unit}
    settings = [Setting("time", key, value, why if key == "fold_days" else "") for key, value in lengths.items()]
    learned = Setting("text", "valid_days", unit, "as long as a fold")
    return (*settings, learned), (few,) if active[unit] < N_ACTIVE else ()


def _fewest_active(events: pl.DataFrame, end: datetime, unit: int) -> int:
    """Users who acted in the emptiest of the last six stretches of `unit` days: those of the folds, valid and test."""
    stretches = [timeline.Window("", end - (back + 1) * unit * timeline.DAY, end - back * unit * timeline.DAY) for back in range(6)]
    return min(len(timeline.active_users(events, stretch)) for stretch in stretches)


def _tokens(items: pl.DataFrame) -> tuple[Setting, ...]:
    """A longer text than the default where a quarter of them need it."""
    length = pl.sum_horizontal(pl.col(name).fill_null("").str.len_chars() + 1 for name in TEMPLATE)
    needed = int(items.select(length.quantile(0.75) / CHARACTERS_PER_TOKEN).item() or 0)
    if needed <= TOKENS[0]:
        return ()
    return (
        Setting("text", "max_tokens", min(TOKENS[1], -(-needed // 16) * 16), f"a quarter of the texts have some {needed} tokens and more"),
    )
