"""A small project with a complete run: its report is a real verdict, judged on twelve users, whose second task has nothing to find."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from recsys import evaluate, metrics
from recsys.artefacts import Draft, Home, Run, draft
from recsys.caches import VectorCache
from recsys.families import FAMILIES
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
    home: Home,
    more: dict[str, object] | None = None,
    users: tuple[str, ...] = (),
    n_events: int = 7,
    run_id: str = RUN_ID,
    config: dict[str, object] | None = None,
    ranker: pl.DataFrame | None = None,
) -> Run:
    """Write tables, where there are none, and a run, and make that run current.

    `more` are more entries of its report, `config` of its config; `users`, with `n_events` each, are there beside USERS; `ranker`: the
    lists that are kept and judged by user as its ranker's, in the place of those of its report.
    """
    if not home.snapshots.exists():
        _write_tables(home, users, n_events)
    with draft(home.runs / run_id, MANIFEST | {"run_id": run_id, "encoder_digest": ENCODER}) as folder:
        folder.record("config", {"text": {"template": ["title", "description", "category"]}} | (config or {}))
        save_file({"tower.projection.weight": np.eye(3, dtype=np.float32)}, folder.file("text/tower.safetensors"))
        folder.record("report", report() | {"run_id": run_id} | (more or {}))
        folder.record("features", {"importance": {"a_first": 1.0, "text_z": 3.0}, "meanings": {"a_first": "one thing", "text_z": "fit"}})
        curve = [{"phase": "warm", "step": 0, "loss": None, "ndcg": 0.1}, {"phase": "warm", "step": 50, "loss": 2.0, "ndcg": 0.2}]
        folder.record("curves", {"text": curve, "ranker": [0.1, 0.2], "ranker_no_text": [0.1]})
        _keep_verdict(folder, ranker)
    home.point(run_id)
    return home.load()


def _keep_verdict(folder: Draft, ranker: pl.DataFrame | None) -> None:
    """The tables of a verdict, as the pipeline keeps them."""
    asked = {task: question(task) for task in ("all", "new")}
    made = lists() | ({} if ranker is None else {"ranker": ranker})
    verdicts = {task: evaluate.judge(made, one, "ranker", 20, 7) for task, one in asked.items()}
    named = [frame.with_columns(task=pl.lit(task), system=pl.lit(name)) for task in asked for name, frame in made.items()]
    folder.table("lists", pl.concat(named))
    folder.table("per_user", pl.concat([verdict.per_user.with_columns(task=pl.lit(task)) for task, verdict in verdicts.items()]))
    folder.record(evaluate.KEPT_SCALES, evaluate.question_scales(asked))
    for name, table in evaluate.question_tables(asked).items():
        folder.table(name, table)


def with_night(home: Home, items: list[str] = ITEM_IDS[:5], users: tuple[str, ...] = (), run_id: str = RUN_ID, explain: int = 0) -> Run:
    """Publish a night with the same `items` for all of USERS but the last, and for `users`; the first `explain` places explained."""
    rows = [
        (user, item, rank, 1.0 / rank, AS_OF, run_id, "popular now", None, 0.25 / rank)
        for user in sorted((*USERS[:-1], *users))
        for rank, item in enumerate(items, 1)
    ]
    lists = pl.DataFrame(rows, schema={column.name: column.dtype for column in RECOMMENDATIONS.columns}, orient="row")
    lists = explained(lists, explain) if explain else lists
    promise = Promise(len(USERS), 0.5, pl.Series(ITEM_IDS))
    return home.night(publish(iter([lists]), MANIFEST | {"run_id": run_id}, home.nights, promise).name)


def explained(lists: pl.DataFrame, places: int) -> pl.DataFrame:
    """The lists with EXPLANATIONS: taste adds half of a score, price takes a tenth; item_0 is pinned, the others are because of it."""
    rank, score, is_first = pl.col("rank"), pl.col("score"), pl.col("item_id") == "item_0"
    added = {"base": score * 0.6, "taste": score * 0.5, "price": score * -0.1}
    families = [pl.when(rank <= places).then(added.get(name, pl.lit(0.0))).cast(pl.Float32).alias(name) for name in ("base", *FAMILIES)]
    return lists.with_columns(
        *families,
        because_item_id=pl.when(~is_first).then(pl.lit("item_0")),
        because_similarity=pl.when(~is_first).then(pl.lit(0.75, pl.Float32)),
        sources=pl.when(is_first).then(pl.lit([], pl.List(pl.String))).otherwise(pl.lit(["popularity", "text"])),
        rules=pl.when(is_first).then(pl.lit(["pins.spring"])).otherwise(pl.lit([], pl.List(pl.String))),
        plain_rank=pl.when(~is_first).then(rank - 1).cast(pl.Int32),
    )


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
    return evaluate.judge(lists(), question(task), "ranker", 20, 7)


def shuffled(seed: int) -> pl.DataFrame:
    """Lists of eight items in an order of chance, for each user another."""
    rng = np.random.default_rng(seed)
    rows = [(user, item, rank) for user in USERS for rank, item in enumerate(rng.permutation(ITEM_IDS)[:8], 1)]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32}, orient="row")


def lists() -> dict[str, pl.DataFrame]:
    """Of each system: it puts what everybody wants a place lower than the next one."""
    return {"random": _lists(8)} | {name: _lists(8 - place) for place, name in enumerate(SYSTEMS)} | {"oracle": _lists(0)}


def ablation() -> dict[str, object]:
    """An ablation in the layout of the pipeline, judged on the same users: each variant puts what they want a place lower than the next."""
    names = ("no_text", "frozen", "tuned", "tuned_collaborative", "distilled")
    made = {name: _lists(8 - place) for place, name in enumerate(names)}
    pairs = [(names[1], names[0]), *((names[2], b) for b in names[:2]), (names[3], names[2]), (names[3], names[0]), (names[4], names[3])]
    costs = {"text_minutes": 0.5, "ranker_minutes": 1.25, "scoring_seconds": 3.0, "trees": 5}
    return {
        "distil_epochs": 3,
        "left_out": {},
        "n_users": 12,
        "variants": [{"variant": name, **costs} for name in names],
        "tasks": {task: evaluate.judge_pairs(made, question(task), pairs, 20, 7).as_dict() for task in ("new", "all")},
    }


def with_backtest(home: Home, backtest_id: str = RUN_ID) -> Run:
    """Write a backtest of two cutoffs, each judged as the run is; text is not known at the first."""
    with draft(home.backtests / backtest_id, {"backtest_id": backtest_id, "cutoffs": ["first", "last"]}) as folder:
        folder.record("report", backtest() | {"backtest_id": backtest_id})
    return home.backtest(backtest_id)


def backtest() -> dict[str, object]:
    """The report of a backtest in the layout of the pipeline."""
    told, days = report(), [(AS_OF - timedelta(days=back)).isoformat() for back in (28, 0)]
    share, cost = asdict(evaluate.spread([0.5, 0.7])), {"minutes": 1.5, "peak_memory_mb": 512.5, "seconds": {"text": 12.0}}
    verdicts = {task: judged(task) for task in ("new", "all")}
    tasks = {task: verdict.as_dict() for task, verdict in verdicts.items()}
    row = {"windows": told["windows"], "chosen": told["chosen"], "candidate_recall": told["candidate_recall"], "tasks": tasks, "cost": cost}
    rows = {
        task: pl.concat([verdict.per_user.with_columns(cutoff=pl.lit(day)) for day in days]).filter(
            (pl.col("system") != "text_tuned") | (pl.col("cutoff") == days[1])
        )
        for task, verdict in verdicts.items()
    }
    return {
        "backtest_id": RUN_ID,
        "task": "all",
        "encoder": "tiny",
        "every_days": 28,
        "test_days": 28,
        "left_out": [],
        "cutoffs": [row | {"cutoff": day} for day in days],
        "tasks": {task: evaluate.across(of_task, "ranker", 20, 7).as_dict() for task, of_task in rows.items()},
        "candidate_recall": {"total": share, "sources": {"popularity": dict.fromkeys(("value", "alone", "only"), share)}},
        "cost": {"minutes": 3.0, "peak_memory_mb": 512.5},
    }


def calibration() -> dict[str, object]:
    """Chances in the layout of the pipeline: of a purchase alone, on the twelve users, twice as high as what happened."""
    rng = np.random.default_rng(0)
    chance, user = rng.random(600) ** 2, np.repeat(np.arange(12), 50)
    happened = rng.random(600) < chance / 2
    found = evaluate.reliability(happened, chance, user, 20, 7).as_dict()
    slices = {"place": (["places 1 to 10", "below"], (np.arange(600) % 50 >= 10).astype(np.int64))}
    parts = [one.as_dict() for one in evaluate.sliced(happened, chance, user, slices, 20, 7)]
    constant = evaluate.reliability(happened, np.full(600, 0.1), user, 20, 7).as_dict()
    learned = {"n": 600, "n_positives": 60, "base_rate": 0.1}
    kinds = {
        "click": {"absent": "none of 600 candidates had a click"},
        "purchase": {"learned": learned, "judged": found, "others": {"base rate": constant}, "slices": parts},
    }
    return {"days": 14, "n_users": {"learned": 12, "judged": 12}, "tasks": {"all": kinds, "new": kinds}}


def off_policy() -> dict[str, object]:
    """Estimates in the layout of the pipeline: one system with an estimate, one refused, and no other order."""
    model = evaluate.Examination(np.array([1.0, 0.5]), np.full(10, 0.2), 4000, 500)
    rng, n = np.random.default_rng(0), 4000
    position = np.tile([1, 2], n // 2)
    acted = rng.random(n) < 0.2 / position
    shown = rng.integers(0, 10, n).astype(np.int32)
    pages = evaluate.Pages(np.arange(n // 2) % 12, np.repeat(np.arange(n // 2), 2), shown, position, np.full(n, 0.1), acted)
    lists = {"popularity": np.tile(np.arange(5), (12, 1)), "ranker": np.full((12, 1), -1)}
    offers = ((name, evaluate.offer_of_lists(pages, one, model)) for name, one in lists.items())
    logged, found = evaluate.estimates(pages, offers, model, 20, 7)
    systems = {name: evaluate.without_nan(asdict(one)) for name, one in found.items()}
    places = {"n_places": n, "n_pages": n // 2, "n_acts": int(acted.sum()), "logged": asdict(logged), "systems": systems}
    learned = {"n": model.n, "n_acts": model.n_acts}
    return {"looked": model.looked.tolist(), "learned": learned, "places": places, "order": {"absent": "no order in a toy"}}


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
                "price": [None, *[5.0] * 9],
            }
        ),
        user_slices=pl.DataFrame({"user_id": USERS, "user_activity": ["1 to 9 items"] * 12}),
        n_all_users=12,
        seen=pl.DataFrame({"user_id": USERS, "item_id": ITEM_IDS[:1] * 12}),
        vectors=np.eye(10, 4),
    )


def _lists(shift: int) -> pl.DataFrame:
    items = [*ITEM_IDS[2 : 2 + shift], *ITEM_IDS[:2], *ITEM_IDS[2 + shift :]]
    rows = [(user, item, rank) for user in USERS for rank, item in enumerate(items, 1)]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32}, orient="row")
