"""How the ranker orders what was shown: grouped AUC over the impressions of the test window."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from recsys import evaluate, metrics, timeline
from recsys.blocks import Catalogue
from recsys.pipeline.snapshot import Chunk
from recsys.ranker import Ranker

PAIR = ["user_id", "item_id"]


def shown_pairs(events: pl.LazyFrame, window: timeline.Window, users: pl.Series, relevant: pl.DataFrame) -> pl.DataFrame:
    """user_id, item_id, is_positive: what `users` were shown in the window, each pair once, and whether it is in `relevant`."""
    shown = window.of(events).filter(pl.col("event_type") == "impression").select(PAIR).unique().collect()
    asked = shown.filter(pl.col("user_id").is_in(users.implode()))
    found = relevant.select(*PAIR, is_positive=pl.lit(True))
    return asked.join(found, on=PAIR, how="left").with_columns(pl.col("is_positive").fill_null(False))


def scored(chunk: Chunk, catalogue: Catalogue, ranker: Ranker, shown: pl.DataFrame) -> pl.DataFrame:
    """user_id, is_positive, score of those candidates of a chunk that were shown."""
    ids = {"user_id": chunk.block.history.user_ids.gather(chunk.pool.user), "item_id": catalogue.ids(chunk.pool.item)}
    rows = pl.DataFrame(ids).with_row_index("row").join(shown, on=PAIR, how="inner")
    score = ranker.score(chunk.frame, chunk.told)[rows["row"].to_numpy()]
    return rows.select("user_id", "is_positive", score=pl.Series(score, dtype=pl.Float64))


def grouped_auc(shown: pl.DataFrame, parts: Sequence[pl.DataFrame], bootstrap: int, seed: int) -> dict[str, Any]:
    """The GAUC of the `scored` parts by user as a figure (value, low, high, n users), and what is not in it.

    n_left_out: users all of whose pairs are of one class. shown: pairs shown; not_candidates: those of them that retrieval missed, which
    have no score. The interval is a bootstrap over the users, each with the weight of their pairs; None where undefined.
    """
    rows = pl.concat(parts).sort("user_id")
    group = rows["user_id"].rle_id().to_numpy().astype(np.int64)
    weight = np.bincount(group).astype(np.float64)
    auc = metrics.auc_by_group(rows["is_positive"].to_numpy(), rows["score"].to_numpy(), group, len(weight))
    figure = evaluate.weighted_figure(auc, weight, bootstrap, seed)
    found: dict[str, Any] = evaluate.without_nan(asdict(figure))
    return found | {"n_left_out": len(auc) - figure.n, "shown": shown.height, "not_candidates": shown.height - rows.height}
