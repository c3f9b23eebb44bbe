"""Candidate recall, the ranker's ceiling: what share of the relevant items retrieval put on the table, and thanks to which source."""

from typing import Any

import polars as pl

from recsys.errors import TableError

PAIR = ["user_id", "item_id"]


def candidate_recall(candidates: pl.DataFrame, truth: pl.DataFrame, sources: tuple[str, ...], relevant_from: int) -> dict[str, Any]:
    """`{"total", "n", "sources": {source: {"value", "alone", "only"}}}`; None for a share of nothing.

    candidates: user_id, item_id and a `<source>_rank` a source, null where that source did not retrieve the row; one row a pair.
    truth: user_id, item_id, label. n counts the users with something relevant.
    total    mean over those users of relevant retrieved / relevant
    value    the same mean with the rows of this source only
    alone    share of all relevant pairs that this source retrieved: a user counts by the number of pairs
    only     share of all relevant pairs that this source retrieved and no other did: what would be lost without it
    Raises TableError where a relevant pair stands in the candidates more than once.
    """
    pairs = truth.filter(pl.col("label") >= relevant_from).select(PAIR)
    by_source = [pl.col(f"{source}_rank").is_not_null().alias(source) for source in sources]
    rows = pairs.join(candidates.select(*PAIR, pl.lit(True).alias("is_retrieved"), *by_source), on=PAIR, how="left")
    if rows.height > pairs.height:
        raise TableError(f"candidates: {rows.height - pairs.height} relevant pairs stand there twice. Give the candidates of one window.")
    rows = rows.sort(PAIR).with_columns(pl.col("is_retrieved", *sources).fill_null(False))
    shares = {source: _source(rows, source, sources) for source in sources}
    return {"total": _mean_recall(rows, "is_retrieved"), "n": rows["user_id"].n_unique(), "sources": shares}


def _source(rows: pl.DataFrame, source: str, sources: tuple[str, ...]) -> dict[str, float | None]:
    is_only = pl.col(source) & (pl.sum_horizontal(*sources) == 1)
    alone, only = rows.select(pl.col(source).mean().alias("alone"), is_only.mean().alias("only")).row(0)
    return {"value": _mean_recall(rows, source), "alone": alone, "only": only}


def _mean_recall(rows: pl.DataFrame, column: str) -> float | None:
    by_user = rows.group_by("user_id", maintain_order=True).agg(pl.col(column).mean())
    mean = by_user[column].mean()
    return mean if isinstance(mean, float) else None
