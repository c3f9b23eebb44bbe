"""In what two runs differ beside their figures: config, tables, windows, what was chosen, features, and cost."""

import json
from typing import Any

import polars as pl

from recsys import config_file
from recsys.artefacts import Home, Run, collected
from recsys.errors import ArtefactError
from recsys.report import rows
from recsys.report.models import megabytes
from recsys.report.rows import Row
from recsys.report.versus import Versus
from recsys.schema import EVENT_TYPES

NIGHT = ("rank", "rules", "publish", "nightly", "monitor", "check", "tracking", "search")
"""Sections of the config that no model is fitted or judged by."""

NIGHT_KEYS = ("project.name", "project.folder", "project.keep_runs")


def config_rows(pair: Versus) -> list[Row]:
    """key, a, b (None: no such key), part (`model`, or `night` where no model is fitted or judged by it) of each setting that differs."""
    a, b = (config_file.flat(run.record("config")) for run in pair)
    differ = [key for key in dict.fromkeys((*a, *b)) if a.get(key) != b.get(key)]
    found = [{"key": key, "a": a.get(key), "b": b.get(key), "part": _part(key)} for key in differ]
    return sorted(found, key=lambda row: row["part"])


def _part(key: str) -> str:
    return "night" if key.split(".")[0] in NIGHT or key in NIGHT_KEYS else "model"


def table_rows(home: Home, pair: Versus) -> list[Row]:
    """what, a, b, is_same: the tables' digests, how many rows were kept of them, and, where the tables are still here, users and types."""
    sides = [_tables(home, run) for run in pair]
    return [_row(what, *(side.get(what) for side in sides)) for what in dict.fromkeys((*sides[0], *sides[1]))]


def _tables(home: Home, run: Run) -> dict[str, Any]:
    digests = run.manifest.get("dataset_digests") or {}
    found: dict[str, Any] = {"tables": run.manifest["tables"]}
    found |= {f"digest of {name.removesuffix('.parquet')}": digest[:12] for name, digest in digests.items() if name.endswith(".parquet")}
    found |= dict(run.record("report")["counts"])
    try:
        events = home.tables(run.manifest["tables"])
        by_type = collected(events.scan("events").group_by("event_type").len(), events)
        users = collected(events.scan("events").select(pl.col("user_id").n_unique()), events).item()
    except ArtefactError:
        return found  # the tables are gone; what the run itself keeps of them is told
    n_by_type = dict(by_type.iter_rows())
    return found | {"users with an event": users} | {f"events: {name}": n_by_type[name] for name in EVENT_TYPES if name in n_by_type}


def window_rows(pair: Versus) -> list[Row]:
    """window, a, b (`start to end`), events and users of each, is_same; the windows of a first."""
    sides = [{w["name"]: w for w in rows.windows(run.record("report"))} for run in pair]
    return [
        _row("window", *(_days(side.get(name)) for side in sides))
        | {"window": name}
        | {
            f"{of}_{letter}": side.get(name, {}).get(of)
            for letter, side in zip("ab", sides, strict=True)
            for of in ("n_events", "n_queries")
        }
        for name in dict.fromkeys((*sides[0], *sides[1]))
    ]


def _days(window: Row | None) -> str | None:
    return f"{window['start']} to {window['end']}" if window else None


def chosen_rows(pair: Versus) -> list[Row]:
    """what, a, b, is_same: the encoder, its digest after training, and what was chosen on windows held out."""
    sides = []
    for run in pair:
        report = run.record("report")
        encoder = {"encoder": report["encoder"], "tuned encoder": (run.manifest.get("encoder_digest") or "")[:12] or None}
        sides.append(encoder | report["chosen"])
    return [_row(what, *(side.get(what) for side in sides)) for what in dict.fromkeys((*sides[0], *sides[1]))]


def feature_rows(pair: Versus) -> list[Row]:
    """feature, a, b (shares of the gain of all; None where the run has no such feature), difference, meaning: the largest change first."""
    sides = [_shares(run) for run in pair]
    meanings = pair.b.record("features").get("meanings", {}) | pair.a.record("features").get("meanings", {})
    found = [
        {
            "feature": name,
            "a": sides[0].get(name),
            "b": sides[1].get(name),
            "difference": sides[0].get(name, 0.0) - sides[1].get(name, 0.0),
            "meaning": meanings.get(name, ""),
        }
        for name in dict.fromkeys((*sides[0], *sides[1]))
    ]
    return sorted(found, key=lambda row: (-abs(row["difference"]), row["feature"]))


def _shares(run: Run) -> dict[str, float]:
    gains = run.record("features")["importance"]
    whole = sum(gains.values()) or 1.0
    return {name: gain / whole for name, gain in gains.items()}


def cost_rows(pair: Versus) -> list[Row]:
    """what, a, b, difference: minutes in all and by stage, peak memory, and the size of the run's folder."""
    sides = [_costs(run) for run in pair]
    found = [_row(what, *(side.get(what) for side in sides)) for what in dict.fromkeys((*sides[0], *sides[1]))]
    return [row | {"difference": None if None in (row["a"], row["b"]) else row["a"] - row["b"]} for row in found]


def _costs(run: Run) -> dict[str, float]:
    report = run.record("report")
    stages = {f"minutes, {stage}": seconds / 60 for stage, seconds in report["seconds"].items()}
    return {"minutes": sum(stages.values())} | stages | {"peak memory, MB": report["peak_memory_mb"], "on the disk, MB": megabytes(run)}


def _row(what: str, a: Any, b: Any) -> Row:
    return {"what": what, "a": a, "b": b, "is_same": a == b}


def shown(value: Any) -> str:
    """A value of any of these rows as a reader sees it; `-` where there is none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
