"""The verdict on the test window: every system's lists under the same mask and the same eligible catalogue, for both tasks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import candidates, evaluate, text, timeline
from recsys.blocks import Bools, Floats
from recsys.config import TASKS
from recsys.pipeline import exposed
from recsys.pipeline.job import Clock, Display
from recsys.pipeline.slicing import item_slices, made_by, user_slices
from recsys.pipeline.snapshot import Chunk, Snapshot, as_lists, best, chunks, labels
from recsys.ranker import Ranker

SYSTEMS = (
    *(evaluate.RANDOM, "popularity", "repurchase", "item_cosine", "collaborative", "text_frozen", "text_tuned", "text_collaborative"),
    *("retrieval", "ranker_no_text", "ranker", evaluate.ORACLE),
)
"""text_collaborative only where a blend was chosen; the first and the last are anchors (`evaluate.anchors`)."""
K = evaluate.K


@dataclass(frozen=True)
class Judged:
    """Verdict of each task, what was asked, the lists behind them (task, system, user_id, item_id, rank), the recall of the candidates,
    and the grouped AUC of the ranker over what was shown: None where the events have no impression.
    """

    tasks: dict[str, evaluate.Verdict]
    asked: dict[str, evaluate.Question]
    lists: pl.DataFrame
    candidate_recall: dict[str, object]
    grouped_auc: dict[str, Any] | None

    @property
    def per_user(self) -> pl.DataFrame:
        """`Verdict.per_user` of every task, with the column `task`."""
        return pl.concat([verdict.per_user.with_columns(task=pl.lit(task)) for task, verdict in self.tasks.items()])


def judge(
    snapshot: Snapshot,
    events: pl.LazyFrame,
    people: pl.LazyFrame | None,
    window: timeline.Window,
    rankers: dict[str, Ranker],
    clock: Clock,
    display: Display,
) -> Judged:
    """Rank every user who acted in the window, as of its start, with every system, and compare with what happened.

    people: the table of users, if there is one.
    """
    config = snapshot.config
    with clock.stage("evaluate"):
        asked = questions(snapshot, events, people, window)
    users, truth = asked["all"].users, asked["all"].truth
    relevant = truth.filter(pl.col("label") >= config.evaluate.relevant_from)
    shown = exposed.shown_pairs(events, window, users, relevant)
    lists: list[pl.DataFrame] = []
    hits: list[pl.DataFrame] = []
    scored: list[pl.DataFrame] = []
    done = 0
    for chunk in chunks(snapshot, events, users, clock):
        with clock.stage("evaluate"):
            lists += list(_chunk_lists(snapshot, chunk, rankers, asked, done))
            hits.append(_hits(snapshot, chunk, relevant))
            scored += [exposed.scored(chunk, snapshot.catalogue, rankers["ranker"], shown)] if shown.height else []
        done += chunk.block.history.n_users
        display.progress("ranking the test window", done, len(users))
    with clock.stage("evaluate"):
        together = pl.concat(lists).sort("task", "system", "user_id", "rank")
        verdicts = {task: _verdict(snapshot, question, together.filter(pl.col("task") == task)) for task, question in asked.items()}
        recall = evaluate.candidate_recall(pl.concat(hits), truth, tuple(snapshot.sources), config.evaluate.relevant_from)
        grouped = exposed.grouped_auc(shown, scored, config.evaluate.bootstrap, config.project.seed) if shown.height else None
    return Judged(verdicts, asked, together, recall, grouped)


def questions(
    snapshot: Snapshot, events: pl.LazyFrame, people: pl.LazyFrame | None, window: timeline.Window
) -> dict[str, evaluate.Question]:
    """What is asked in the window and what happened in it, by task. people: as in `judge`."""
    inside, seen = window.of(events).collect(), timeline.seen_pairs(events, snapshot.as_of)
    users = timeline.active_users(inside, window)
    truth = timeline.truth(inside, window, labels(snapshot.config)).join(
        _eligible(snapshot), on="item_id", how="semi", maintain_order="left"
    )
    whole = evaluate.Question(
        truth=truth,
        users=users,
        relevant_from=snapshot.config.evaluate.relevant_from,
        gains=snapshot.config.gains,
        catalogue=item_slices(snapshot, seen, truth.filter(pl.col("label") >= snapshot.config.evaluate.relevant_from)),
        user_slices=user_slices(users, seen, people, snapshot.config),
        n_all_users=snapshot.n_users,
        made_by=made_by(snapshot.config),
        seen=seen,
        vectors=snapshot.text.frozen[snapshot.eligible],
    )
    unseen = truth.join(seen, on=["user_id", "item_id"], how="anti", maintain_order="left")
    return {task: replace(whole, truth=unseen) if task == "new" else whole for task in TASKS}


def _chunk_lists(
    snapshot: Snapshot, chunk: Chunk, rankers: dict[str, Ranker], asked: dict[str, evaluate.Question], first: int
) -> Iterator[pl.DataFrame]:
    """The lists of every system and task for the users from place `first` of those asked on."""
    users, pool = chunk.block.history.user_ids, chunk.pool
    everything = np.ones(len(pool.user), bool)
    yield from row_lists(snapshot, chunk, "retrieval", chunk.fused.astype(np.float64), everything)
    yield from row_lists(snapshot, chunk, "ranker_no_text", rankers["ranker_no_text"].score(chunk.frame), pool.by_behaviour)
    yield from row_lists(snapshot, chunk, "ranker", rankers["ranker"].score(chunk.frame, chunk.told), everything)
    # What was relevant first, the most so before the rest; behind it the order of retrieval, whose scores are below 1.
    best_order = chunk.fused + _labels(snapshot, chunk, asked["all"].truth)
    yield from row_lists(snapshot, chunk, evaluate.ORACLE, best_order, everything)
    unseen = ~chunk.block.history.seen(len(snapshot.catalogue))
    for name, scores in _catalogue_scores(snapshot, chunk, first):
        for task in TASKS:
            shown = snapshot.eligible & unseen if task == "new" else np.broadcast_to(snapshot.eligible, scores.shape)
            yield _named(as_lists(users, snapshot.catalogue, *candidates.list_top(scores, shown, K)), task, name)


def row_lists(snapshot: Snapshot, chunk: Chunk, system: str, score: NDArray[np.float64], allowed: Bools) -> Iterator[pl.DataFrame]:
    """The lists of each task of a system that scores the candidates: score (r,), allowed (r,)."""
    users, pool = chunk.block.history.user_ids, chunk.pool
    for task in TASKS:
        rows, item, rank = best(pool.user, pool.item, score, allowed & ~pool.is_seen if task == "new" else allowed, K)
        yield _named(as_lists(users, snapshot.catalogue, pool.user[rows].astype(np.int64), item, rank), task, system)


def _catalogue_scores(snapshot: Snapshot, chunk: Chunk, first: int) -> Iterator[tuple[str, Floats]]:
    """The systems that rank the whole eligible catalogue, one dense (n_users, n_items) array at a time; `first` as in `_chunk_lists`."""
    block, sources = chunk.block, snapshot.sources
    yield evaluate.RANDOM, evaluate.random_scores(snapshot.config.project.seed, first, block.history.n_users, len(snapshot.catalogue))
    popularity = sources["popularity"].score(block)
    yield "popularity", popularity
    own = sources["repurchase"].score(block)
    # The user's own items first, then popularity, squeezed below them.
    squeezed = popularity / (np.max(popularity, initial=1, where=np.isfinite(popularity)) + 1)
    yield "repurchase", np.where(np.isfinite(own), own + 1, squeezed).astype(np.float32)
    yield "item_cosine", sources["item_cosine"].score(block)
    yield "collaborative", sources["collaborative"].score(block)
    frozen = snapshot.text.frozen
    users = text.mean_of_history(block.history, frozen, snapshot.config.text.history)
    has_both = np.outer(np.any(users != 0, axis=1), np.any(frozen != 0, axis=1))
    yield "text_frozen", np.where(has_both, users @ frozen.T, -np.inf).astype(np.float32)
    yield "text_tuned", sources[candidates.TEXT].score(block)
    if candidates.BLEND in sources:
        yield "text_collaborative", sources[candidates.BLEND].score(block)


def _labels(snapshot: Snapshot, chunk: Chunk, truth: pl.DataFrame) -> NDArray[np.float64]:
    """(r,): the label of each candidate, 0 where the user did not go for it."""
    users = chunk.block.history.user_ids.to_frame("user_id").with_row_index("user")
    found = truth.join(users, on="user_id", how="inner")
    row = chunk.pool.find(found["user"].to_numpy(), snapshot.catalogue.index_of(found["item_id"]))
    label = np.zeros(len(chunk.pool.user))
    label[row[row >= 0]] = found["label"].to_numpy()[row >= 0]
    return label


def _named(lists: pl.DataFrame, task: str, system: str) -> pl.DataFrame:
    return lists.with_columns(task=pl.lit(task), system=pl.lit(system))


def _hits(snapshot: Snapshot, chunk: Chunk, relevant: pl.DataFrame) -> pl.DataFrame:
    ids = {"user_id": chunk.block.history.user_ids.gather(chunk.pool.user), "item_id": snapshot.catalogue.ids(chunk.pool.item)}
    ranks = {f"{name}_rank": pl.Series(rank).fill_nan(None) for name, rank in chunk.pool.rank.items()}
    return pl.DataFrame({**ids, **ranks}).join(relevant, on=["user_id", "item_id"], how="semi")


def _eligible(snapshot: Snapshot) -> pl.DataFrame:
    return snapshot.catalogue.items.select("item_id").filter(pl.Series(snapshot.eligible))


def _verdict(snapshot: Snapshot, question: evaluate.Question, lists: pl.DataFrame) -> evaluate.Verdict:
    config = snapshot.config
    present = [name for name in SYSTEMS if name != "text_collaborative" or candidates.BLEND in snapshot.sources]
    by_system = {name: lists.filter(pl.col("system") == name).select("user_id", "item_id", "rank") for name in present}
    return evaluate.judge(by_system, question, "ranker", config.evaluate.bootstrap, config.project.seed)
