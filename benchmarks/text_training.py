"""Speed of text training against sentence-transformers' own trainer (MultipleNegativesRankingLoss), on the same pairs of Online Retail.

    python -m benchmarks.text_training [--seconds 60] [--rounds 3] [--threads 2] [--pairs FILE]

A pair is an event: an item of a customer's previous invoice, and an item of the next one. Pairs are drawn once with a seed and kept
in FILE: one for every line of a next invoice, those of the last 28 days held out, of them one an invoice. A pair of one text with
itself is left out: it teaches nothing. Both systems start from the same encoder, learn from the same pairs for the same seconds in
fp32 (ours also takes the day of a pair, by which its events decay), and rank the whole catalogue, less the item asked with, for
every held-out pair.

Theirs has its usual settings: batches without duplicates, warm-up over a tenth of the steps, linear decay. Their seconds are those of
`train()`; ours are those of encoding the catalogue at first, of both phases of training and of what they set up. Encoding the
catalogue at the end, to rank it, is counted for neither. How many steps fill the seconds is found by a short run of each.

Needs `pip install 'recsys[bench,minilm]'`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import torch

from recsys import config_file, text
from recsys.blocks import Catalogue, Floats, History, top_k
from recsys.config import Text
from recsys.evaluate.intervals import Paired, compare
from recsys.ingest import ingest
from recsys.schema import EVENT_TYPES

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "online_retail.toml"
SEED = 7
HELD_OUT = timedelta(days=28)
CUTOFF = 10
BOOTSTRAP = 1000
METRIC = f"recall@{CUTOFF}"
CALIBRATION_STEPS = {"ours": 2, "theirs": 8}

OURS: dict[str, Any] = {
    "tune": "full",
    "warm_steps": 60,
    "blend_steps": 0,
    "history": 1,
    "queries": 512,
    "positives": 1,
    "push_steps": 16,
    "push_items": 512,
    "learning_rate": 2e-5,
    "half_life_days": 30.0,
}
"""Chosen on the pairs of the 28 days before those held out."""
THEIRS: dict[str, Any] = {"batch": 64, "learning_rate": 5e-5}


@dataclass(frozen=True)
class World:
    """The catalogue, the encoder's folder, and pairs (n, 2) int32 of item_index to learn from and held out.

    age_days (n,) float32: of the pairs to learn from, before the first of those held out.
    """

    folder: Path
    texts: list[str]
    learned: np.ndarray
    age_days: np.ndarray
    held_out: np.ndarray


@dataclass(frozen=True)
class Trained:
    """Pairs consumed, in all and in steps that end in the encoder, the seconds, and which held-out pairs were found (n,) 0.0 or 1.0."""

    events: int
    deep_events: int
    seconds: float
    found: np.ndarray

    @property
    def speed(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of training, each system, each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=Path, default=ROOT / "runs" / "text_training" / "pairs.parquet")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    world = world_of(chosen.pairs)
    untrained = found(*both(untuned(world), world.held_out), world.held_out)
    print(
        f"{len(world.learned):,} pairs to learn from, {len(world.held_out):,} held out, {len(world.texts):,} items; "
        f"{METRIC} untrained {untrained.mean():.4f}",
        flush=True,
    )
    systems = {"theirs": theirs, "ours": ours}
    steps = {name: fitting(train, world, chosen.seconds, CALIBRATION_STEPS[name]) for name, train in systems.items()}
    rounds = []
    print(f"{'round':>5} {'system':<8} {'steps':>6} {'events':>9} {'seconds':>8} {'events/s':>9} {METRIC:>10}")
    for number in range(chosen.rounds):
        rounds.append({name: train(world, steps[name], SEED + number)[0] for name, train in systems.items()})
        for name, one in rounds[-1].items():
            print(
                f"{number + 1:>5} {name:<8} {steps[name]:>6} {one.events:>9,} {one.seconds:>8.1f} {one.speed:>9,.1f} "
                f"{one.found.mean():>10.4f}",
                flush=True,
            )
    say(rounds)


def say(rounds: list[dict[str, Trained]]) -> None:
    """The medians over paired rounds, and the paired difference of recall over held-out pairs, each its mean over the rounds."""
    ratio = median(one["ours"].speed / one["theirs"].speed for one in rounds)
    deep = median(one["ours"].deep_events / one["ours"].seconds / one["theirs"].speed for one in rounds)
    mean = {name: {METRIC: np.mean([one[name].found for one in rounds], axis=0)} for name in rounds[0]}
    figures, paired = compare(mean, "ours", (METRIC,), BOOTSTRAP, SEED)
    print(f"events a second, ours over theirs: {ratio:.1f} (median of {len(rounds)} paired rounds);")
    print(f"  {deep:.1f} counting only those whose gradient went into the encoder, over the same seconds")
    for name, values in figures.items():
        one = values[METRIC]
        print(f"{METRIC} {name:<8} {one.value:.4f} [{one.low:.4f}, {one.high:.4f}] n {one.n:,}")
    print(difference(paired[0]))


def difference(one: Paired) -> str:
    return f"{one.metric} {one.a} minus {one.b}: {one.difference:+.4f} [{one.low:+.4f}, {one.high:+.4f}]"


def world_of(path: Path) -> World:
    """Read Online Retail and the pairs; draw and keep them where there are none."""
    settings = config_file.load(EXAMPLE)
    tables = ingest(settings, EXAMPLE.parent, datetime.now(UTC))
    catalogue = Catalogue.of(tables.items)
    texts = text.item_texts(catalogue.items, settings.text.template)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn(tables.events, dict(zip(catalogue.items["item_id"], texts, strict=True))).write_parquet(path)
    pairs = pl.read_parquet(path)
    learned, held_out = (
        np.stack([catalogue.index_of(pairs.filter(pl.col("held_out") == part)[side]) for side in ("previous", "next")], axis=1)
        for part in (False, True)
    )
    age_days = pairs.filter(~pl.col("held_out"))["age_days"].to_numpy().astype(np.float32)
    return World(text.find_encoder(text.MINILM, EXAMPLE.parent), texts, learned, age_days, held_out)


def drawn(events: pl.DataFrame, text_of: dict[str, str]) -> pl.DataFrame:
    """(previous, next, held_out, age_days): for each line of a next invoice one item of the customer's invoice before it."""
    rng, last = np.random.default_rng(SEED), events["event_time"].max()
    assert isinstance(last, datetime)
    invoices = (
        events.filter(pl.col("event_type") == "purchase")
        .group_by("user_id", "request_id")
        .agg(pl.col("event_time").min(), next=pl.col("item_id").unique().sort())
        .sort("user_id", "event_time", "request_id")
        .with_columns(before=pl.col("next").shift(1).over("user_id"))
        .drop_nulls("before")
    )
    lines = invoices.explode("next").with_columns(chance=rng.random(int(invoices["next"].list.len().sum())))
    place = (pl.col("chance") * pl.col("before").list.len()).floor().cast(pl.Int64)
    until = pl.lit(last - HELD_OUT)
    pairs = lines.with_columns(
        previous=pl.col("before").list.get(place),
        held_out=pl.col("event_time") >= until,
        age_days=(until - pl.col("event_time")).dt.total_seconds() / 86_400,
    )
    told = [pl.col(side).replace_strict(text_of, return_dtype=pl.String) for side in ("previous", "next")]
    pairs = pairs.filter(told[0] != told[1]).with_columns(turn=rng.permutation(pairs.filter(told[0] != told[1]).height))
    is_kept = ~pl.col("held_out") | (pl.col("turn") == pl.col("turn").min().over("user_id", "request_id"))
    return pairs.filter(is_kept).select("previous", "next", "held_out", "age_days")


def fitting(train: Callable[..., tuple[Trained, list[float]]], world: World, seconds: float, n_steps: int) -> int:
    """How many steps fill the seconds, by a short run."""
    one, moments = train(world, n_steps, SEED)
    step = median(np.diff(moments))
    return max(1, int((seconds - (one.seconds - n_steps * step)) / step))


def theirs(world: World, n_steps: int, seed: int) -> tuple[Trained, list[float]]:
    """sentence-transformers' trainer; and the moment at which each step ended."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.base.model_card import BaseModelCardCallback
    from sentence_transformers.base.training_args import BatchSamplers
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    moments: list[float] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: object, **__: object) -> None:
            moments.append(time.perf_counter())

    model = SentenceTransformer(str(world.folder), device="cpu")
    pairs = {side: [world.texts[place] for place in world.learned[:, column]] for column, side in enumerate(("anchor", "positive"))}
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            folder,
            max_steps=n_steps,
            per_device_train_batch_size=THEIRS["batch"],
            learning_rate=THEIRS["learning_rate"],
            warmup_steps=max(n_steps // 10, 1),
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            use_cpu=True,
            seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = SentenceTransformerTrainer(
            model, arguments, train_dataset=Dataset.from_dict(pairs), loss=MultipleNegativesRankingLoss(model), callbacks=[Watch()]
        )
        trainer.remove_callback(BaseModelCardCallback)  # looks for examples for its README: no part of training
        begun = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begun
    vectors = unit(model.encode(world.texts, batch_size=128, show_progress_bar=False))
    return Trained(
        n_steps * THEIRS["batch"], n_steps * THEIRS["batch"], seconds, found(*both(vectors, world.held_out), world.held_out)
    ), moments


def ours(world: World, n_steps: int, seed: int) -> tuple[Trained, list[float]]:
    """The warm and the joint phase of `recsys.text.Training`; and the moment at which each push ended."""
    settings = Text(**OURS, steps=n_steps, check_steps=n_steps)
    moments: list[float] = []

    def watch(what: str, done: int, total: int) -> None:
        if what == "text: joint" and done < total:
            moments.append(time.perf_counter())

    encoder, inputs = encoder_of(world, settings)
    history = of_pairs(world.learned, world.age_days)
    group = np.unique(np.array(world.texts), return_inverse=True)[1].astype(np.int64) + 1
    begun = time.perf_counter()
    pooled = encoder.encode(inputs, watch)
    chosen = text.Fitted(settings.warm_steps, n_steps, 0)
    training = text.Training(encoder, inputs, pooled, group, history, settings, seed, None, chosen, text.Checkpoint(None), watch)
    model, fitted = training.run()
    assert fitted.steps == n_steps, fitted.stopped
    vectors = model.item_vectors(training.pooled, training.has_text)
    users = model.user_vectors(of_pairs(world.held_out[:, :1], np.zeros(len(world.held_out), np.float32)), vectors)[:, 0]
    deep = n_steps * settings.push_steps * settings.queries
    return Trained(deep + settings.warm_steps * settings.queries, deep, moments[-1] - begun, found(users, vectors, world.held_out)), moments


def encoder_of(world: World, settings: Text) -> tuple[text.Encoder, text.Inputs]:
    """The encoder as it is packaged, and the catalogue as it takes it."""
    way = text.Way.of(settings)
    encoder = text.Encoder(world.folder, settings.pooling, settings.max_tokens, settings.train_layers, settings.token_budget, way)
    return encoder, encoder.tokens(world.texts)


def of_pairs(pairs: np.ndarray, age_days: np.ndarray) -> History:
    """Each row of item_index a user of its own, its items a day apart, the last one `age_days` (n,) and a day old.

    Only the second of a pair carries weight, as what is to be found.
    """
    n, length = pairs.shape
    age = (age_days[:, None] + np.arange(length, 0, -1, dtype=np.float32)).ravel()
    weight = np.tile(np.arange(length, dtype=np.float32), n)
    kind = np.full(n * length, EVENT_TYPES.index("purchase"), np.int8)
    users = pl.Series("user_id", np.arange(n)).cast(pl.String)
    indptr = np.arange(n + 1, dtype=np.int64) * length
    return History(users, datetime(2012, 1, 1, tzinfo=UTC), indptr, pairs.ravel().astype(np.int32), kind, age, weight)


def untuned(world: World) -> Floats:
    """Unit vectors (n_items, hidden) by the encoder as it is packaged."""
    encoder, inputs = encoder_of(world, Text(steps=0))
    return unit(encoder.encode(inputs, lambda *_: None))


def unit(vectors: np.ndarray) -> Floats:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def both(vectors: Floats, held_out: np.ndarray) -> tuple[Floats, Floats]:
    """Vectors asked with, and of the catalogue."""
    return vectors[held_out[:, 0]], vectors


def found(asked: Floats, vectors: Floats, held_out: np.ndarray) -> np.ndarray:
    """(n,) 1.0 where the second of a pair is among the CUTOFF nearest of the catalogue, less the first; else 0.0."""
    scores = asked @ vectors.T
    scores[np.arange(len(scores)), held_out[:, 0]] = -np.inf
    return (top_k(scores, CUTOFF)[0] == held_out[:, 1:]).any(axis=1).astype(np.float64)


if __name__ == "__main__":
    main()
