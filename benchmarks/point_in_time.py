"""One count as of a moment, three ways: our kernel, pandas merge_asof, polars join_asof.

`python -m benchmarks.point_in_time` prints medians of paired rounds: in each, every way runs once, so that a slow spell of
the machine falls on all of them. All start from the same table of string keys and must give the same counts.
"""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import polars as pl

from feature_store import Count, Entity, FeatureStore, FeatureView

N_EVENTS, N_QUERIES, N_ENTITIES, N_DAYS, N_ROUNDS = 1_000_000, 200_000, 50_000, 180, 5
START = datetime(2026, 1, 1, tzinfo=UTC)
STORE = FeatureStore(FeatureView("machine", Entity("machine", ("machine_id",)), (Count("n", "events before as_of"),)))


def table(n: int, time_column: str, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    micros = rng.integers(0, N_DAYS * 86_400, n) * 1_000_000 + int(START.timestamp()) * 1_000_000
    ids = pl.Series("machine_id", rng.integers(0, N_ENTITIES, n)).cast(pl.String)
    return pl.DataFrame([ids, pl.Series(time_column, micros).cast(pl.Datetime("us", "UTC"))])


def ours(events: pl.DataFrame, queries: pl.DataFrame) -> np.ndarray:
    return STORE.values("machine", events, queries, queries["as_of"])["n"].to_numpy()


def by_pandas(events: pd.DataFrame, queries: pd.DataFrame) -> np.ndarray:
    events = events.sort_values("event_time")
    events["n"] = events.groupby("machine_id").cumcount() + 1
    left = queries.reset_index().sort_values("as_of")
    joined = pd.merge_asof(left, events, left_on="as_of", right_on="event_time", by="machine_id", allow_exact_matches=False)
    return joined.sort_values("index")["n"].fillna(0).to_numpy()


def by_polars(events: pl.DataFrame, queries: pl.DataFrame) -> np.ndarray:
    counted = events.sort("event_time").with_columns(n=pl.int_range(1, pl.len() + 1).over("machine_id"))
    left = queries.with_row_index("row").sort("as_of")
    joined = left.join_asof(
        counted, left_on="as_of", right_on="event_time", by="machine_id", allow_exact_matches=False, check_sortedness=False
    )
    return joined.sort("row")["n"].fill_null(0).to_numpy()


def main() -> None:
    events, queries = table(N_EVENTS, "event_time", 1), table(N_QUERIES, "as_of", 2)
    frames = events.to_pandas(), queries.to_pandas()
    ways: dict[str, Callable[[], np.ndarray]] = {
        "feature_store": lambda: ours(events, queries),
        "pandas merge_asof": lambda: by_pandas(*frames),
        "polars join_asof": lambda: by_polars(events, queries),
    }
    wall: dict[str, list[float]] = {name: [] for name in ways}
    core: dict[str, list[float]] = {name: [] for name in ways}
    counts = {name: way() for name, way in ways.items()}  # unmeasured: the first call of each pays for imports
    for name, found in counts.items():
        if not np.array_equal(found, counts["feature_store"]):
            raise SystemExit(f"{name} counts otherwise in {(found != counts['feature_store']).sum():,} of {N_QUERIES:,} queries")
    for _ in range(N_ROUNDS):
        for name, way in ways.items():
            wall_start, core_start = time.perf_counter(), time.process_time()
            way()
            wall[name].append(time.perf_counter() - wall_start)
            core[name].append(time.process_time() - core_start)
    print(f"{N_EVENTS:,} events, {N_QUERIES:,} queries, {N_ENTITIES:,} entities; medians of {N_ROUNDS} paired rounds, same counts")
    print(f"{'':20}{'seconds':>9}{'ratio':>8}{'core-seconds':>15}{'ratio':>8}")
    for name in ways:
        ratios = [statistics.median(a / b for a, b in zip(s[name], s["feature_store"], strict=True)) for s in (wall, core)]
        print(f"{name:20}{statistics.median(wall[name]):9.3f}{ratios[0]:8.2f}{statistics.median(core[name]):15.3f}{ratios[1]:8.2f}")


if __name__ == "__main__":
    main()
