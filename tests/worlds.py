"""Small worlds with a known answer, and a folder of any of them that the whole pipeline can train on in seconds."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from recsys.config import Config
from recsys.config_file import parse
from recsys.schema import EVENTS, ITEMS
from recsys.text import item_texts
from recsys.text.tiny import write_tiny_bert

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 60
END = START + DAYS * DAY

WORDS = {"even": ["river", "stone", "water", "pebble"], "odd": ["mountain", "lamp", "light", "candle"]}
# fmt: off
FILLER = [
    "small", "large", "blue", "green", "plain", "fine", "round", "old", "new", "classic",
    "daily", "gift", "spring", "autumn", "travel", "garden", "kitchen", "paper", "cotton", "soft",
]
# fmt: on
PARITIES = ("even", "odd")
TYPES = {
    "impression": {"weight": 0.0},
    "click": {"weight": 0.2, "label": 1},
    "cart": {"weight": 0.5, "label": 2},
    "purchase": {"weight": 1.0, "label": 3},
    "return": {"weight": 0.0},
}


class World(NamedTuple):
    """Items and the events before END; answers (user_id, item_id): the pairs that are to be found as of END."""

    items: pl.DataFrame
    events: pl.DataFrame
    answers: pl.DataFrame


def items_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    empty = {"title": "", "description": "", "category": None, "price": None, "available_from": None, "available_until": None}
    return pl.DataFrame([empty | row for row in rows], schema={c.name: c.dtype for c in ITEMS.columns}, orient="row")


def events_table(rows: list[tuple[str, str, str, datetime]], price: float | None = None) -> pl.DataFrame:
    """Of (user_id, item_id, event_type, event_time), sorted as ingest sorts."""
    schema = {c.name: c.dtype for c in EVENTS.columns}
    keys = pl.DataFrame(rows, schema={name: schema[name] for name in ("user_id", "item_id", "event_type", "event_time")}, orient="row")
    rest = [pl.lit(price if name == "price" else None, dtype).alias(name) for name, dtype in schema.items() if name not in keys.columns]
    return keys.with_columns(rest).select(EVENTS.names).sort("user_id", "event_time", "item_id", "event_type")


def parity(any_id: str) -> int:
    return int(any_id[1:]) % 2


def text_of(number: int, rng: np.random.Generator) -> dict[str, str]:
    """A text that says the parity, in words that are shared by its side, among words that everybody has."""
    side = PARITIES[number % 2]
    own, rest = rng.choice(WORDS[side]), rng.choice(FILLER, 10, replace=False)
    return {"title": f"{own} {' '.join(rest[:4])}", "description": " ".join(rest[4:]), "category": side}


@cache
def checkerboard(n_users: int = 40, n_items: int = 40, seed: int = 0) -> World:
    """Even users like even items, odd like odd: each likes all of their side but one, which is the answer.

    Everybody acts about every third day of 60, buys half of what they click, and buys their first item again every ten days.
    """
    rng = np.random.default_rng(seed)
    items = items_table([{"item_id": f"i{i:03}", "price": 1.0 + i % 7, **text_of(i, rng)} for i in range(n_items)])
    rows: list[tuple[str, str, str, datetime]] = []
    answers = []
    for user in range(n_users):
        order = rng.permutation(np.arange(user % 2, n_items, 2))
        answers.append((f"u{user:03}", f"i{order[0]:03}"))
        times = np.sort(rng.uniform(0, DAYS - 0.5, len(order) - 1))
        rows += list(_visits(f"u{user:03}", order[1:], times))
    found = pl.DataFrame(answers, schema=["user_id", "item_id"], orient="row")
    return World(items, events_table(rows, price=2.0), found)


def _visits(user: str, order: np.ndarray, times: np.ndarray) -> Iterator[tuple[str, str, str, datetime]]:
    for place, (item, time) in enumerate(zip(order, times, strict=True)):
        moment = START + timedelta(seconds=int(time * 86_400))
        yield user, f"i{item:03}", "click", moment
        if place % 2 == 0:
            yield user, f"i{item:03}", "purchase", moment + timedelta(minutes=10)
    for day in range(int(times[0]) + 10, DAYS, 10):
        yield user, f"i{order[0]:03}", "purchase", START + timedelta(days=day, hours=12)


@cache
def drifting_shop(n_users: int = 60, n_items: int = 40, seed: int = 0) -> World:
    """Everybody wants the first half of the items in the first month and the second half from then on. Answers: the second half."""
    rng = np.random.default_rng(seed)
    items = items_table([{"item_id": f"i{i:03}", "price": 3.0, **text_of(i, rng)} for i in range(n_items)])
    rows = []
    for user in range(n_users):
        for time in rng.uniform(0, DAYS - 0.5, 20):
            item = rng.integers(n_items // 2) + (n_items // 2) * (time >= DAYS / 2)
            rows.append((f"u{user:03}", f"i{item:03}", "purchase", START + timedelta(seconds=int(time * 86_400))))
    answers = [(f"u{user:03}", f"i{item:03}") for user in range(n_users) for item in range(n_items // 2, n_items)]
    return World(items, events_table(rows), pl.DataFrame(answers, schema=["user_id", "item_id"], orient="row"))


@cache
def cold_item_shop(seed: int = 0) -> World:
    """The checkerboard, and every other day an item for each side, which half of that side buys within four days.

    The last ones came half a day before END, and nobody could have had them yet: only their text says whom they suit (answers).
    """
    rng = np.random.default_rng(seed + 1)
    warm = checkerboard(seed=seed)
    users = warm.answers["user_id"].to_list()
    new, rows, answers = [], [], []
    for number, day in enumerate([*range(6, DAYS - 5, 2), DAYS - 0.5]):
        for side in (0, 1):
            name = f"i{100 + 2 * number + side}"
            new.append({"item_id": name, "price": 2.0, "available_from": START + day * DAY, **text_of(side, rng)})
            suited = [user for user in users if parity(user) == side]
            if day == DAYS - 0.5:
                answers += [(user, name) for user in suited]
            else:
                buyers = rng.choice(suited, len(suited) // 2, replace=False)
                rows += [(str(user), name, "purchase", START + (day + rng.uniform(0, 4)) * DAY) for user in buyers]
    events = pl.concat([warm.events, events_table(rows, price=2.0)]).sort("user_id", "event_time", "item_id", "event_type")
    return World(pl.concat([warm.items, items_table(new)]), events, pl.DataFrame(answers, schema=["user_id", "item_id"], orient="row"))


SMALL: dict[str, dict[str, Any]] = {
    "project": {"name": "world", "seed": 7, "threads": 1, "folder": "runs", "task": "new"},
    "items": {
        "path": "items.csv",
        "columns": {name: name for name in ITEMS.names},
    },
    "events": {
        "path": "events.csv",
        "columns": {name: name for name in ("user_id", "item_id", "event_type", "event_time", "value", "price")},
        "types": TYPES,
    },
    "time": {"fold_days": 5, "n_folds": 2, "valid_days": 5, "test_days": 7, "gap_days": 0},
    "text": {
        "encoder": "tiny_bert",
        "max_tokens": 24,
        "train_layers": 1,
        "warm_steps": 50,
        "steps": 20,
        "check_steps": 10,
        "queries": 64,
        "negatives": 40,
        "history": 20,
        "learning_rate": 5e-4,
        "tower_learning_rate": 1e-2,
        "valid_days": 5,
    },
    "candidates": {"per_source": 15, "neighbours": 20, "factors": 8, "iterations": 10},
    "ranker": {"trees": 40, "learning_rate": 0.1, "leaves": 7, "min_rows_leaf": 5, "early_stopping": 10, "keep_unchosen": 1.0},
    "rank": {"k": 5, "chunk_users": 16},
    "evaluate": {"bootstrap": 50},
    "tracking": {"enabled": False},
    "search": {"trials": 2},
}
"""Settings for 60 days of a small world."""


def settings(changes: dict[str, dict[str, Any]] | None = None) -> dict[str, dict[str, Any]]:
    """SMALL with some keys of some sections changed, and sections that it lacks."""
    changed = changes or {}
    return changed | {section: values | changed.get(section, {}) for section, values in SMALL.items()}


def config(changes: dict[str, dict[str, Any]] | None = None) -> Config:
    return parse(settings(changes), "world")


def write_world(folder: Path, items: pl.DataFrame, events: pl.DataFrame, changes: dict[str, dict[str, Any]] | None = None) -> Path:
    """Write items.csv, events.csv, tiny_bert/ and recsys.toml into `folder`; returns the path of the recsys.toml.

    `changes`: {section: {key: value}} over SMALL. The same world gives the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    items.write_csv(folder / "items.csv")
    events.select("user_id", "item_id", "event_type", "event_time", "value", "price").write_csv(folder / "events.csv")
    tiny_bert(folder / "tiny_bert", items)
    path = folder / "recsys.toml"
    path.write_text("\n".join(_toml(settings(changes))), encoding="utf-8")
    return path


def tiny_bert(folder: Path, items: pl.DataFrame, seed: int = 0) -> Path:
    return write_tiny_bert(folder, item_texts(items), seed=seed, hidden=32, layers=2)


def _toml(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Plain values, then tables. A JSON string, number, bool or list is TOML as it stands."""
    yield from (f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict))
    for key, value in values.items():
        if isinstance(value, dict):
            yield f"\n[{prefix}{key}]"
            yield from _toml(value, f"{prefix}{key}.")
