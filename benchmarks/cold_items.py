"""Items without a single event before the cutoff, ranked among themselves: does the tuned text know who will like them?

    python -m benchmarks.cold_items examples/online_retail.toml [--cutoffs 3] [--days 28]

At each of several cutoffs, `days` apart and counted back from the end of the data, the interest model is trained on what stands
before, and every user with a history who then liked a new item within `days` is asked about the new items alone. Random order, the
mean of the recent history by TF-IDF and by the untrained encoder, and the tuned model; ndcg@10, pooled over the cutoffs: a query is a
user at a cutoff. Intervals are bootstrap over queries.
"""

import argparse
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer

from recsys import candidates, config_file, metrics, text, timeline
from recsys.blocks import Floats, History, top_k
from recsys.candidates import Block
from recsys.evaluate.intervals import compare
from recsys.pipeline.job import Display, Job, utc_now
from recsys.pipeline.snapshot import weights
from recsys.pipeline.tables import events_of
from recsys.pipeline.texts import Texts, fit_texts, read_texts
from recsys.pipeline.world import World, read_world
from recsys.schema import TIME

SEED, BOOTSTRAP, K = 7, 1000, 10


def main() -> None:
    """Ask at each cutoff, pool, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--cutoffs", type=int, default=3)
    parser.add_argument("--days", type=int, default=28)
    given = parser.parse_args()
    with Display() as display:
        path = given.config.resolve()
        settings = config_file.load(path)
        by_text_alone = settings.model_copy(update={"text": settings.text.model_copy(update={"blend_steps": 0})})
        job = Job(by_text_alone, path.parent, utc_now(), display)
        world = read_world(job)
        texts = read_texts(job, world.catalogue)
        parts = [asked(job, world, texts, number + 1, given.days) for number in range(given.cutoffs)]
    per_query = {name: {"ndcg@10": np.concatenate([part[name] for part in parts])} for name in parts[0]}
    print(f"{given.config}: {given.cutoffs} cutoffs, queries " + " + ".join(str(len(part["random"])) for part in parts))
    figures, pairs = compare(per_query, "tuned", ("ndcg@10",), BOOTSTRAP, SEED)
    for name, by in figures.items():
        f = by["ndcg@10"]
        print(f"{name:<8} {f.value:.4f} [{f.low:.4f}, {f.high:.4f}]  n {f.n}")
    for pair in pairs:
        print(f"tuned - {pair.b:<8} {pair.difference:+.4f} [{pair.low:+.4f}, {pair.high:+.4f}]")


def asked(job: Job, world: World, texts: Texts, number: int, days: int) -> dict[str, metrics.Floats]:
    """ndcg@10 of every query of the cutoff `number` windows before the end, by system."""
    window = timeline.Window("cold", world.end - timedelta(days=days * number), world.end - timedelta(days=days * (number - 1)))
    before = world.events.filter(pl.col("event_time") < pl.lit(window.start, TIME))
    learned = timeline.Window("text", world.start, window.start)
    side, _ = fit_texts(job, texts, world.catalogue, world.events, learned, None)
    known = before.select("item_id").unique().collect()["item_id"]
    is_cold = ~world.catalogue.items["item_id"].is_in(known.implode()).to_numpy()
    cold = np.flatnonzero(is_cold & world.catalogue.eligible(window.start, window.end) & texts.has_text)
    inside = window.of(world.events.select("user_id", "item_id", "event_time", "event_type")).collect()
    users = inside.join(before.select("user_id").unique().collect(), on="user_id", how="semi")["user_id"].unique().sort()
    later = History.of(inside, world.catalogue, users, window.end, weights(job.config))
    liked = later.matrix((later.is_liked & (later.weight > 0)).astype(np.float32), len(world.catalogue))[:, cold].toarray() > 0
    users, liked = users.filter(pl.Series(liked.any(axis=1))), liked[liked.any(axis=1)]
    history = History.of(events_of(before, users), world.catalogue, users, window.start, weights(job.config))
    words = TfidfVectorizer(sublinear_tf=True, dtype=np.float32).fit_transform(
        text.item_texts(world.catalogue.items, job.config.text.template)
    )
    recent = {"frozen": side.frozen, "tfidf": words}
    scores = {name: by_mean(history, vectors, cold, job.config.text.history) for name, vectors in recent.items()}
    scores["random"] = np.random.default_rng([SEED, number]).random(liked.shape).astype(np.float32)
    match = candidates.TextMatch(candidates.TEXT, side.vectors[candidates.TEXT], side.model.scale())
    scores["tuned"] = match.score(Block(history, side.users(history)))[:, cold]
    return {name: judged(values, liked) for name, values in scores.items()}


def by_mean(history: History, vectors: Floats, cold: np.ndarray, n: int) -> Floats:
    """Scores (n_users, n_cold) by the mean of the latest `n` liked items' vectors, dense or sparse."""
    places, real = history.latest(n)
    use = real & history.is_liked[places]
    user = np.repeat(np.arange(history.n_users), use.sum(axis=1))
    rows = vectors[history.item_index[places[use]]]
    near = rows @ vectors[cold].T
    near = near.toarray() if hasattr(near, "toarray") else near
    total = np.zeros((history.n_users, len(cold)), np.float32)
    np.add.at(total, user, near)
    return total


def judged(scores: Floats, liked: np.ndarray) -> metrics.Floats:
    """ndcg@10 (n_users,)."""
    best, _ = top_k(scores.astype(np.float32), K)
    hits = np.take_along_axis(liked, np.maximum(best, 0), axis=1) & (best >= 0)
    return metrics.ndcg(hits, liked.sum(axis=1))


if __name__ == "__main__":
    main()
