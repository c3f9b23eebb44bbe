"""A small project with a complete run: its report is a real verdict, judged on twelve users, whose second task has nothing to find."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from recsys import evaluate, metrics
from recsys.artefacts import Home, Run, draft
from recsys.caches import VectorCache
from recsys.item_text import item_texts, text_digests
from recsys.publish import Promise, publish
from recsys.schema import EVENTS, ITEMS, RECOMMENDATIONS

RUN_ID = "20261124-031500-ab12cd"
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
SYSTEMS = ("popularity", "repurchase", "item_cosine", "collaborative", "text_frozen", "text_tuned", "retrieval", "ranker_no_text", "ranker")
USERS = [f"user_{number:02d}" for number in range(12)]
ITEM_IDS = [f"item_{number}" for number in range(10)]
EVIL = "<b>Lamp</b> & shade"
MANIFEST = {"run_id": RUN_ID, "as_of": AS_OF.isoformat(), "config_hash": "ab12cd345678", "tables": "toytables"}
ENCODER = "e" * 32
CONFIG = """
[project]
name = "toy"
folder = "things"
[items]
path = "items.csv"
columns = {item_id = "item_id", title = "title"}
[events]
path = "events.csv"
columns = {user_id = "user_id", item_id = "item_id", event_type = "event_type", event_time = "event_time"}
"""


def empty_project(folder: Path) -> tuple[Path, Home]:
    """Path of the recsys.toml, and the home with nothing in it."""
    path = folder / "recsys.toml"
    path.write_text(CONFIG)
    return path, Home(folder / "things")


def with_run(
    home: Home, more: dict[str, object] | None = None, users: tuple[str, ...] = (), n_events: int = 7, run_id: str = RUN_ID
) -> Run:
    """Write tables, where there are none, and a run, and make that run current.

    `more` are more entries of its report; `users`, with `n_events` each, are there beside USERS.
    """
    if not home.snapshots.exists():
        _write_tables(home, users, n_events)
    with draft(home.runs / run_id, MANIFEST | {"run_id": run_id, "encoder_digest": ENCODER}) as folder:
        folder.record("config", {"text": {"template": ["title", "description", "category"]}})
        save_file({"tower.projection.weight": np.eye(3, dtype=np.float32)}, folder.file("text/tower.safetensors"))
        folder.record("report", report() | {"run_id": run_id} | (more or {}))
        folder.record("features", {"importance": {"a_first": 1.0, "text_z": 3.0}, "meanings": {"a_first": "one thing", "text_z": "fit"}})
        curve = [{"phase": "warm", "step": 0, "loss": None, "ndcg": 0.1}, {"phase": "warm", "step": 50, "loss": 2.0, "ndcg": 0.2}]
        folder.record("curves", {"text": curve, "ranker": [0.1, 0.2], "ranker_no_text": [0.1]})
    home.point(run_id)
    return home.load()


def with_night(home: Home, items: list[str] = ITEM_IDS[:5], users: tuple[str, ...] = (), run_id: str = RUN_ID) -> Run:
    """Publish a night with the same `items` for all of USERS but the last, and for `users`."""
    rows = [
        (user, item, rank, 1.0 / rank, AS_OF, run_id, "popular now")
        for user in sorted((*USERS[:-1], *users))
        for rank, item in enumerate(items, 1)
    ]
    lists = pl.DataFrame(rows, schema={column.name: column.dtype for column in RECOMMENDATIONS.columns}, orient="row")
    promise = Promise(len(USERS), 0.5, pl.Series(ITEM_IDS))
    return home.night(publish(iter([lists]), MANIFEST | {"run_id": run_id}, home.nights, promise).name)


def with_vectors(home: Home) -> None:
    """Keep a vector of every item's text, as the run's encoder would leave it: item n points to nine times n degrees, all near a plane."""
    texts = item_texts(home.tables("toytables").table("items"))
    angle = np.arange(len(texts)) * np.pi / 20
    vectors = np.stack([np.cos(angle), np.sin(angle), np.full(len(texts), 0.01)], axis=1).astype(np.float32)
    VectorCache(home.caches / "vectors").add(ENCODER, text_digests(texts), vectors)


def _write_tables(home: Home, users: tuple[str, ...], n_events: int) -> None:
    titles = [EVIL, *(f"Title of {item}" for item in ITEM_IDS[1:])]
    items = {"item_id": ITEM_IDS, "title": titles, "description": [""] * 10, "category": ["Light"] * 10, "price": [None] + [5.0] * 9}
    items |= dict.fromkeys([name for name in ITEMS.names if name not in items], [None] * 10)
    rows = [
        (user, ITEM_IDS[day], "purchase", AS_OF + timedelta(days=day - 5), None, 10.0 * day + number, None, None, None)
        for number, user in enumerate(USERS)
        for day in range(7)
    ]
    rows += [
        (user, ITEM_IDS[place % 5], "click", AS_OF - timedelta(hours=place + 1), None, None, None, None, None)
        for user in users
        for place in range(n_events)
    ]
    events = pl.DataFrame(rows, schema={column.name: column.dtype for column in EVENTS.columns}, orient="row")
    with draft(home.snapshots / "toytables", {}) as folder:
        folder.table("items", pl.DataFrame(items, schema={column.name: column.dtype for column in ITEMS.columns}))
        folder.table("events", events.sort("user_id", "event_time"))
        folder.record("counts", {"events read": 90, "events kept": 84, "events rejected": 6, "events rejected: exact duplicate": 6})


def report() -> dict[str, object]:
    """A report in the layout of the pipeline."""
    shares = {"value": 0.5, "alone": 0.4, "only": 0.1}
    window = {
        "name": "test",
        "start": "2026-10-27T00:00:00+00:00",
        "end": AS_OF.isoformat(),
        "n_events": 84,
        "n_queries": 12,
        "n_likes": 84,
    }
    return {
        "run_id": RUN_ID,
        "as_of": AS_OF.isoformat(),
        "task": "all",
        "encoder": "tiny",
        "windows": [window],
        "tasks": {task: told(judged(task)) for task in ("new", "all")},
        "candidate_recall": {"total": 0.6, "n": 12, "sources": {"popularity": shares, "text": dict.fromkeys(shares)}},
        "chosen": {"warm_steps": 3, "steps": 2, "blend_steps": 0, "gain": 0.0, "trees": 5, "trees_without_text": 4},
        "classification": told_apart(),
        "counts": {"events kept": 84},
        "eligibility": "every item",
        "seconds": {"ingest": 0.5, "text": 12.0},
        "peak_memory_mb": 512.5,
    }


def told_apart() -> dict[str, object]:
    """Nothing is called chosen before, everything is told right after."""
    is_chosen = np.array([True, False, False])
    before, after = (metrics.classification(is_chosen, np.array(score), 0.5) for score in ([0.1, 0.3, 0.2], [0.9, 0.4, 0.2]))
    defined = {name: None if np.isnan(value) else value for name, value in before.items()}
    return {"before": defined, "after": after, "lists_choosing": 4, "lists_judged": 1234}


def told(verdict: evaluate.Verdict) -> dict[str, object]:
    """A verdict as the pipeline writes it."""
    anchors, traps = evaluate.anchors_of(verdict.systems, "ranker"), evaluate.traps_of(verdict.paired, verdict.slices)
    return verdict.as_dict() | {"anchors": anchors.as_dict(), "traps": traps}


def judged(task: str) -> evaluate.Verdict:
    """Everybody wants the first two items; each system puts them a place lower than the next one, the oracle first and chance last.

    In task `new` nothing is wanted.
    """
    lists = {name: _lists(8 - place) for place, name in enumerate(SYSTEMS)}
    return evaluate.judge({"random": _lists(8)} | lists | {"oracle": _lists(0)}, question(task), "ranker", 20, 7)


def ablation() -> dict[str, object]:
    """An ablation in the layout of the pipeline, judged on the same users: each variant puts what they want a place lower than the next."""
    names = ("no_text", "frozen", "tuned", "tuned_collaborative", "distilled")
    lists = {name: _lists(8 - place) for place, name in enumerate(names)}
    pairs = [(names[1], names[0]), *((names[2], b) for b in names[:2]), (names[3], names[2]), (names[3], names[0]), (names[4], names[3])]
    costs = {"text_minutes": 0.5, "ranker_minutes": 1.25, "scoring_seconds": 3.0, "trees": 5}
    return {
        "distil_epochs": 3,
        "left_out": {},
        "n_users": 12,
        "variants": [{"variant": name, **costs} for name in names],
        "tasks": {task: evaluate.judge_pairs(lists, question(task), pairs, 20, 7).as_dict() for task in ("new", "all")},
    }


def question(task: str) -> evaluate.Question:
    """What the twelve users are asked."""
    truth = [(user, item, 1) for user in USERS[:-1] for item in ITEM_IDS[:2]] if task == "all" else []
    return evaluate.Question(
        truth=pl.DataFrame(truth, schema={"user_id": pl.String, "item_id": pl.String, "label": pl.Int32}, orient="row"),
        users=pl.Series("user_id", USERS),
        relevant_from=1,
        gains=(0.0, 1.0),
        catalogue=pl.DataFrame(
            {
                "item_id": ITEM_IDS,
                "n_users": [6] * 10,
                "item_age": ["older"] * 10,
                "item_popularity": ["head"] * 10,
                "item_category": ["Light"] * 10,
            }
        ),
        user_slices=pl.DataFrame({"user_id": USERS, "user_activity": ["1 to 9 items"] * 12}),
        n_all_users=12,
    )


def _lists(shift: int) -> pl.DataFrame:
    items = [*ITEM_IDS[2 : 2 + shift], *ITEM_IDS[:2], *ITEM_IDS[2 + shift :]]
    rows = [(user, item, rank) for user in USERS for rank, item in enumerate(items, 1)]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32}, orient="row")
