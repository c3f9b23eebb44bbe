"""What does it cost to explain a row, and how far are path contributions from SHAP values?

    python -m benchmarks.explanations --config demo_shop/recsys.toml [--rows 2000]

The candidates of tonight's first users under the current run's own ranker: CPU microseconds a row to score, to explain by paths, and by
TreeSHAP; then, family by family, the correlation of the two over the rows, and in which share of the rows the same family adds most.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from recsys import face, timeline
from recsys.families import FAMILIES, families
from recsys.pipeline import ranking
from recsys.pipeline import tables as tables_of
from recsys.pipeline.snapshot import chunks
from recsys.ranker import Paths, Ranker


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, default=Path("demo_shop/recsys.toml"))
    parser.add_argument("--rows", type=int, default=2000)
    given = parser.parse_args()
    model, frame, told = candidates(given.config, given.rows)
    paths = Paths.of(model, families(), list(FAMILIES))
    print(f"{model.n_trees} trees, {frame.height:,} rows, {int((~told).sum()):,} of users of whom text tells nothing")
    timed("score", frame.height, lambda: model.score(frame, told))
    by_path = timed("paths", frame.height, lambda: paths.contributions(frame, told))
    shap = timed("SHAP", frame.height, lambda: model.contributions(frame, told))
    of_feature = np.array([families()[name] for name in model.features])
    by_shap = np.stack([shap[:, :-1][:, of_feature == family].sum(axis=1) for family in FAMILIES], axis=1)
    for place, family in enumerate(FAMILIES):
        one, other = by_path[:, place], by_shap[:, place]
        same = np.corrcoef(one, other)[0, 1] if one.std() > 0 and other.std() > 0 else np.nan
        print(f"{family:<12} correlation {same:.3f}, mean size by paths {np.abs(one).mean():.4f}, by SHAP {np.abs(other).mean():.4f}")
    print(f"the same family adds most: {np.mean(by_path[:, :-1].argmax(axis=1) == by_shap.argmax(axis=1)):.3f} of the rows")


def candidates(config: Path, n_rows: int) -> tuple[Ranker, pl.DataFrame, np.ndarray]:
    """The current run's ranker, and the first candidates of tonight's users."""
    with face.job(config) as job:
        run = job.home.load()
        tables = job.home.tables(run.manifest["tables"])
        items, events = tables_of.read(tables)
        job.config = ranking.config_of(job, run)
        ready = ranking.make_ready(job, run, items, events, timeline.span(events)[1])
        users = tables_of.users_before(events, ready.known.as_of)
        rng = np.random.default_rng(0)
        some = next(iter(chunks(ready.known, events, users, job.clock)))
        drawn = np.sort(rng.permutation(some.frame.height)[:n_rows])
        return ready.model, some.frame[drawn], some.told[drawn]


def timed(what: str, n_rows: int, work: Callable[[], np.ndarray]) -> np.ndarray:
    """What `work` returns, the second time; prints its microseconds a row."""
    work()
    begun = time.process_time()
    found = work()
    print(f"{what:<8} {(time.process_time() - begun) / n_rows * 1e6:>8.1f} us a row")
    return found


if __name__ == "__main__":
    main()
