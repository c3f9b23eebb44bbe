"""A folder with an order and no dates, as a world with a clock: the last item of every user happened one day before the end,
the one before it two days before, and so on. "Before position n - d" is then "before the end less d days" for every user at once.
No global time is claimed by it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from recsys.blocks import Catalogue, History, top_k
from recsys.errors import TableError
from recsys.metrics import ndcg
from recsys.schema import ITEMS, TIME

END = datetime(2024, 1, 1, tzinfo=UTC)
FEWEST = 4
"""Items of a user: one to learn from before the label of the ranker, of the validation and of the test."""


@dataclass(frozen=True)
class Positions:
    """items and events as the schema has them; `depth` d asks for the item at n - d."""

    catalogue: Catalogue
    events: pl.DataFrame

    def as_of(self, depth: int) -> datetime:
        """The moment before which everything lies that a question of that depth may know."""
        return END - timedelta(days=depth)

    def before(self, depth: int) -> pl.DataFrame:
        """Events at positions before n - depth."""
        return self.events.filter(pl.col("event_time") < pl.lit(self.as_of(depth), TIME))

    def targets(self, depth: int) -> np.ndarray:
        """item_index (n_users,) of the item at n - depth, users sorted."""
        asked = self.events.filter(pl.col("event_time") == pl.lit(self.as_of(depth), TIME)).sort("user_id")
        return self.catalogue.index_of(asked["item_id"])

    def users(self) -> pl.Series:
        """Sorted user ids."""
        return self.events["user_id"].unique().sort()

    def history(self, depth: int) -> History:
        """The histories of all users before n - depth."""
        return History.of(self.before(depth), self.catalogue, self.users(), self.as_of(depth), {"click": 1.0})


def read(folder: Path) -> Positions:
    """Read items.parquet(item_id, text) and events.parquet(user_id, item_id, pos). Raises TableError when they are not that."""
    tables = []
    for name, columns in (("items", ["item_id", "text"]), ("events", ["user_id", "item_id", "pos"])):
        path = folder / f"{name}.parquet"
        if not path.is_file():
            raise TableError(f"{path}: no such file. Give a folder with items.parquet (item_id, text) and events.parquet.")
        table = pl.read_parquet(path)
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise TableError(f"{path}: column {', '.join(missing)} is missing; it has {', '.join(table.columns)}. Rename them.")
        tables.append(table.select(columns).with_columns(pl.col("item_id").cast(pl.String)))
    items, events = tables
    events = events.with_columns(pl.col("user_id").cast(pl.String)).sort("user_id", "pos")
    unknown = events.join(items, on="item_id", how="anti").height
    if unknown:
        raise TableError(
            f"{folder}/events.parquet: {unknown} rows name an item that items.parquet does not hold. Drop them or add the items."
        )
    length = pl.len().over("user_id")
    short = events.filter(length < FEWEST)["user_id"].n_unique()
    if short:
        print(f"{short} users with fewer than {FEWEST} events are left out")
    place = pl.int_range(pl.len()).over("user_id")
    kept = events.filter(length >= FEWEST).select(
        "user_id",
        "item_id",
        event_type=pl.lit("click"),
        event_time=(pl.lit(END) - pl.duration(days=pl.len().over("user_id") - place)).cast(TIME),
        **{name: pl.lit(None, dtype) for name, dtype in EMPTY_EVENT.items()},
    )
    catalogue = items.select("item_id", title=pl.col("text").fill_null(""))
    absent = {column.name: pl.lit(None, column.dtype) for column in ITEMS.columns if column.name not in ("item_id", "title")}
    absent["description"] = pl.lit("")
    return Positions(Catalogue.of(catalogue.with_columns(**absent).select(ITEMS.names)), kept)


def in_order(folder: Path) -> tuple[pl.DataFrame, list[np.ndarray]]:
    """items.parquet sorted by item_id, and the rows in it of what each user had, in order; users of two events or more."""
    items = pl.read_parquet(folder / "items.parquet").sort("item_id")
    events = pl.read_parquet(folder / "events.parquet")
    rows = events.join(items.select("item_id").with_row_index("row"), on="item_id").sort("user_id", "pos")
    lists = rows.group_by("user_id", maintain_order=True).agg("row").filter(pl.col("row").list.len() > 1)["row"]
    return items, [one.to_numpy().astype(np.int64) for one in lists]


def nearest_text(vectors: np.ndarray, histories: list[np.ndarray], last: int = 5, k: int = 10) -> np.ndarray:
    """ndcg@k (n_users,) of each user's last item by the cosine of pooled vectors (n_items, hidden) and the mean of the `last` before it.

    The items the user had before are masked.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    parts = []
    for start in range(0, len(histories), 512):
        block = histories[start : start + 512]
        scores = np.stack([unit[one[:-1][-last:]].mean(axis=0) for one in block]) @ unit.T
        for row, one in enumerate(block):
            scores[row, np.setdiff1d(one[:-1], one[-1:])] = -np.inf
        hits = top_k(scores, k)[0] == np.array([one[-1] for one in block])[:, None]
        parts.append(ndcg(hits, np.ones(len(block), np.int64)))
    return np.concatenate(parts)


EMPTY_EVENT = {"value": pl.Float32, "price": pl.Float32, "request_id": pl.String, "position": pl.Int32, "propensity": pl.Float32}
