"""Metrics of lists that lie in data frames: `recsys.evaluate.measure` beside ranx's `evaluate`, from the same frames, to the same values.

    python -m benchmarks.metrics_speed [--users 20000] [--items 100] [--rounds 5]

ndcg, map, mrr, recall and precision at `--items`; the map of ranx is our ap_trec. The frames are polars. What ranx is timed for: to pandas
(it takes no other frame, and wants ids as Python objects), its from_df of both, its evaluate. Not timed: its compilation by numba, more
than a minute on a first use: a first round is left out of both. Each round times both; the figure is the median of the ratios of the
rounds, beside it that without the way to pandas.
"""

import argparse
import time
import warnings

import numpy as np
import pandas as pd
import polars as pl
from numba.core.errors import NumbaTypeSafetyWarning
from ranx import Qrels, Run
from ranx import evaluate as ranx_evaluate

from recsys.evaluate import measure

NAMES = {"ndcg": "ndcg", "ap_trec": "map", "mrr": "mrr", "recall": "recall", "precision": "precision"}
CATALOGUE, MOST_WANTED = 10_000, 20
IDS = ["user_id", "item_id"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    # ranx's own code casts between integers of different width.
    warnings.filterwarnings("ignore", category=NumbaTypeSafetyWarning)
    lists, truth = tables(given.users, given.items)
    rounds = [one_round(lists, truth, given.items) for _ in range(given.rounds + 1)][1:]
    ours, converting, theirs = np.array(rounds).T
    print(f"{lists.height:,} rows of lists, {truth.height:,} of truth; medians of {given.rounds} rounds after a first")
    print(f"recsys {np.median(ours):.3f} s   to pandas {np.median(converting):.3f} s   ranx {np.median(theirs):.3f} s")
    print(f"ratio {np.median((converting + theirs) / ours):.1f}   without the way to pandas {np.median(theirs / ours):.1f}")


def tables(n_users: int, k: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lists of k random items, ranks as scores would order them; half of what a user wants is from the list."""
    rng = np.random.default_rng(7)
    users, items = np.array([f"user_{n:06d}" for n in range(n_users)]), np.array([f"item_{n:06d}" for n in range(CATALOGUE)])
    listed = np.stack([rng.choice(CATALOGUE, k, replace=False) for _ in range(n_users)])
    wanted = []
    for row in listed:
        n = int(rng.integers(1, MOST_WANTED))
        wanted.append(np.unique(np.r_[rng.choice(row, n // 2, replace=False), rng.integers(0, CATALOGUE, n - n // 2)]))
    lists = pl.DataFrame(
        {"user_id": np.repeat(users, k), "item_id": items[listed.ravel()], "rank": np.tile(np.arange(1, k + 1, dtype=np.int32), n_users)}
    )
    owner, found = np.repeat(users, [len(one) for one in wanted]), items[np.concatenate(wanted)]
    return lists, pl.DataFrame({"user_id": owner, "item_id": found, "label": np.ones(len(found), dtype=np.int32)})


def one_round(lists: pl.DataFrame, truth: pl.DataFrame, k: int) -> tuple[float, float, float]:
    """Seconds of recsys, of the way to pandas, and of ranx; raises where a value differs by more than 1e-6."""
    begun = time.perf_counter()
    found = measure(lists, truth, k, tuple(NAMES))
    ours = time.perf_counter() - begun
    begun = time.perf_counter()
    run, qrels = as_pandas(lists, score=-pl.col("rank").cast(pl.Float64)), as_pandas(truth, label=pl.col("label").cast(pl.Int64))
    converting = time.perf_counter() - begun
    begun = time.perf_counter()
    judged = Qrels.from_df(qrels, "user_id", "item_id", "label"), Run.from_df(run, "user_id", "item_id", "score")
    expected = ranx_evaluate(*judged, [f"{name}@{k}" for name in NAMES.values()])
    theirs = time.perf_counter() - begun
    for name, other in NAMES.items():
        assert abs(found.means[f"{name}@{k}"] - expected[f"{other}@{k}"]) < 1e-6, (name, found.means, expected)
    return ours, converting, theirs


def as_pandas(frame: pl.DataFrame, **columns: pl.Expr) -> pd.DataFrame:
    found = frame.with_columns(**columns).to_pandas()
    return found.astype(dict.fromkeys(IDS, object))


if __name__ == "__main__":
    main()
