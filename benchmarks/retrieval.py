"""Exact top 100 by blocked matrix product against faiss (flat and HNSW), by size of the catalogue: where does an index pay?

    python -m benchmarks.retrieval [--sizes 20000 100000 200000]

Needs faiss-cpu (not a dependency). Random unit vectors of 384 dimensions around 500 centres; recall is against exact search.
"""

import argparse
import time
from statistics import median

import numpy as np

from recsys.blocks import top_k

K, DIM, N_QUERIES, ROUNDS = 100, 384, 1024, 3


def main() -> None:
    import faiss

    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000, 200_000])
    print(f"{'items':>8} {'way':<12} {'build s':>8} {'queries/s':>10} {'x exact':>8} {'recall@100':>10} {'users where it pays':>20}")
    for size in parser.parse_args().sizes:
        rng = np.random.default_rng(7)
        centres = rng.normal(size=(500, DIM)).astype(np.float32)
        items, queries = (
            unit(centres[rng.integers(500, size=n)] + 0.7 * rng.normal(size=(n, DIM)).astype(np.float32)) for n in (size, N_QUERIES)
        )
        truth, exact = timed(lambda items=items, queries=queries: search_exact(queries, items))
        row(size, "exact", 0.0, exact, exact, 1.0)
        flat, hnsw = faiss.IndexFlatIP(DIM), faiss.IndexHNSWFlat(DIM, 32, faiss.METRIC_INNER_PRODUCT)
        hnsw.hnsw.efSearch = 128
        for name, index in (("faiss flat", flat), ("faiss hnsw", hnsw)):
            begun = time.perf_counter()
            index.add(items)
            build = time.perf_counter() - begun
            found, seconds = timed(lambda index=index, queries=queries: index.search(queries, K)[1])
            recall = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, truth, strict=True)])
            row(size, name, build, seconds, exact, float(recall))


def search_exact(queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    rows = max(1, 16_000_000 // len(items))
    return np.concatenate([top_k(queries[a : a + rows] @ items.T, K)[0] for a in range(0, len(queries), rows)])


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def timed(search):
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        found = search()
        seconds.append(time.perf_counter() - begun)
    return found, median(seconds)


def row(size: int, name: str, build: float, seconds: float, exact: float, recall: float) -> None:
    saved = (exact - seconds) / N_QUERIES
    pays = f"{build / saved:,.0f}" if build and saved > 0 else ("0" if not build else "never")
    print(
        f"{size:>8,} {name:<12} {build:>8.1f} {N_QUERIES / seconds:>10,.0f} {exact / seconds:>8.2f} {recall:>10.3f} {pays:>20}", flush=True
    )


if __name__ == "__main__":
    main()
