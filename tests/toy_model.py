"""A model of the registry that needs no training: MLflow runs this file to load it."""

from pathlib import Path

import polars as pl

from recsys.tracking import Served


def write(folder: Path) -> None:
    """Its files: who gets what."""
    (folder / "below").mkdir()
    pl.DataFrame({"user_id": ["u1"], "item_id": ["i1"], "rank": [1], "score": [0.5], "reason": ["popular now"]}).write_csv(
        folder / "below" / "lists.csv"
    )


SERVED = Served(write, Path(__file__), ["u1"], 5)

if __name__.startswith("code_model"):
    from recsys.tracking.recommender import serve

    def load(folder: Path):  # type: ignore[no-untyped-def]
        lists = pl.read_csv(folder / "below" / "lists.csv", schema_overrides={"rank": pl.Int32})
        return lambda user_ids, k: lists.filter(pl.col("user_id").is_in(user_ids.implode()), pl.col("rank") <= k)

    serve(load)
