"""Texts to vectors: sentence-transformers in float32 against our encoder in float32 and in int8, and what int8 costs in ranking.

    python -m benchmarks.encoding [--texts 1000] [--rounds 5] [--threads 2]

Needs sentence-transformers, onnx and onnxruntime. Texts of mixed length: half Online Retail titles, half film titles with
overviews (../shared/data, or the folder RECSYS_DATA); without them the demo shop's items, and no figure of ranking. MiniLM at 256
tokens. Medians of paired rounds: in each, every way runs once, tokenising included, in turning order; a first round is not counted.
The machine must be quiet: threads that wait for one another are slow together. On a busy one, only core-seconds of one thread hold.
Ranking: on Amazon Toys, all items but the seen by cosine with the mean of a user's last five but the last, which is to be found.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import torch

from benchmarks.positions import in_order, nearest_text
from recsys.evaluate.intervals import compare
from recsys.text import MINILM, Encoder, find_encoder

FOLDER = Path(os.environ.get("RECSYS_DATA", Path(__file__).parents[2] / "shared" / "data"))
MAX_TOKENS, TOKEN_BUDGET, SEED = 256, 2048, 7


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    encoders = our_encoders()
    speed(mixed_texts(given.texts), encoders, given.rounds)
    if (FOLDER / "amazon_toys").is_dir():
        ranking(encoders)
    else:
        print(f"no ranking: {FOLDER / 'amazon_toys'} is not there")


def our_encoders() -> dict[str, Encoder]:
    made = {}
    for name in ("ours float32", "ours int8"):
        made[name] = Encoder(find_encoder(MINILM, Path(), hub=False), "mean", MAX_TOKENS, 0, TOKEN_BUDGET)
    begun = time.perf_counter()
    made["ours int8"].use_int8()
    graph = made["ours int8"].int8
    assert graph
    print(f"export to int8: {time.perf_counter() - begun:.1f} s, {len(graph.onnx_bytes) / 1e6:.0f} MB")
    return made


def mixed_texts(n: int) -> list[str]:
    rng = np.random.default_rng(SEED)
    if not (FOLDER / "movies").is_dir():
        texts = demo_texts()
        return [texts[place] for place in rng.permutation(len(texts))[:n]]
    lines = pl.read_csv(FOLDER / "online_retail" / "online_retail.csv.gz", infer_schema=False)
    films = pl.read_csv(FOLDER / "movies" / "movies.csv.gz", infer_schema=False)
    titles = lines["Description"].drop_nulls().str.strip_chars().unique().sort()
    plots = films.select(pl.concat_str("title", "overview", separator=". "))["title"].drop_nulls()
    texts = [*titles.gather(rng.permutation(len(titles))[: n // 2]), *plots.gather(rng.permutation(len(plots))[: n - n // 2])]
    return [texts[place] for place in rng.permutation(len(texts))]


def demo_texts() -> list[str]:
    from recsys.demo.shop import write_shop

    with TemporaryDirectory() as folder:
        write_shop(Path(folder), n_users=50, n_days=30)
        items = pl.read_csv(next(Path(folder).glob("items*")), infer_schema=False)
    return items.select(pl.concat_str("title", "description", separator=". ", ignore_nulls=True))["title"].to_list()


def speed(texts: list[str], encoders: dict[str, Encoder], rounds: int) -> None:
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(find_encoder(MINILM, Path(), hub=False)), device="cpu")
    ways: dict[str, Callable[[], np.ndarray]] = {"sentence-transformers": lambda: theirs.encode(texts, show_progress_bar=False)}
    ways |= {name: partial(vectors, encoder, texts) for name, encoder in encoders.items()}
    lengths = encoders["ours float32"].tokens(texts).lengths
    spread = f"{lengths.min()} to {lengths.max()} tokens, median {np.median(lengths):.0f}"
    print(f"{len(texts):,} texts of {spread}; {torch.get_num_threads()} threads", flush=True)
    seconds, core_seconds, found = timed(ways, rounds)
    print(f"{'way':<22} {'texts/s':>8} {'ratio':>6} {'by core-seconds':>16} {'cosine error, mean':>19} {'largest':>9}")
    base = "sentence-transformers"
    for name in ways:
        ratio, by_core = (median(a / b for a, b in zip(spent[base], spent[name], strict=True)) for spent in (seconds, core_seconds))
        error = np.maximum(1 - (unit(found[name]) * unit(found[base])).sum(axis=1), 0)
        speed = len(texts) / median(seconds[name])
        print(f"{name:<22} {speed:>8,.0f} {ratio:>6.2f} {by_core:>16.2f} {error.mean():>19.1e} {error.max():>9.1e}", flush=True)


Seconds = dict[str, list[float]]


def timed(ways: dict[str, Callable[[], np.ndarray]], rounds: int) -> tuple[Seconds, Seconds, dict[str, np.ndarray]]:
    seconds: Seconds = {name: [] for name in ways}
    core_seconds: Seconds = {name: [] for name in ways}
    found, names = {}, list(ways)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            begun, core_begun = time.perf_counter(), time.process_time()
            found[name] = ways[name]()
            seconds[name].append(time.perf_counter() - begun)
            core_seconds[name].append(time.process_time() - core_begun)
    after_warming = ({name: values[1:] for name, values in spent.items()} for spent in (seconds, core_seconds))
    return next(after_warming), next(after_warming), found


def ranking(encoders: dict[str, Encoder]) -> None:
    items, histories = in_order(FOLDER / "amazon_toys")
    texts = items["text"].fill_null("").to_list()
    per_user = {name: {"ndcg@10": nearest_text(vectors(encoder, texts), histories)} for name, encoder in encoders.items()}
    figures, pairs = compare(per_user, "ours int8", ("ndcg@10",), 1000, SEED)
    for name, by_metric in figures.items():
        figure = by_metric["ndcg@10"]
        print(f"{name:<22} ndcg@10 {figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}], {figure.n:,} users of Amazon Toys")
    loss = pairs[0]
    counts = f"better {loss.better}, tied {loss.tied}, worse {loss.worse}"
    print(f"int8 - float32: {loss.difference:+.5f} [{loss.low:+.5f}, {loss.high:+.5f}]; {counts}")


def vectors(encoder: Encoder, texts: list[str]) -> np.ndarray:
    return encoder.encode(encoder.tokens(texts), lambda *_: None)


def unit(pooled: np.ndarray) -> np.ndarray:
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
