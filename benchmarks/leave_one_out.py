"""Leave-one-out on any folder with items.parquet(item_id, text) and events.parquet(user_id, item_id, pos): every system, one table.

    python -m benchmarks.leave_one_out ../shared/data/amazon_toys [--keep-seen] [--json FILE]

The last item of a user is the test, the last but one the validation, the one before it the ranker's label. Each is ranked against
the whole catalogue, seen items masked unless --keep-seen, knowing what stands at earlier positions and nothing else. What has a
knob (the weight of TF-IDF, the regularisation of EASE, the steps of a training, the trees) has it chosen on the validation; what
is judged is then fitted again on all that stands before the test item, as the untrained systems are. `seconds` are those of all
fits and of scoring every user.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy import linalg, sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.positions import Positions, read
from recsys import candidates, config, config_file, features, ranker, text
from recsys.blocks import Floats, History, top_k
from recsys.config import Text
from recsys.evaluate.intervals import Figure, compare
from recsys.metrics import ndcg, recall
from recsys.pipeline.job import Clock
from recsys.pipeline.rows import Part, columns, joined
from recsys.pipeline.snapshot import Chunk, TextSide, best, chunks, snapshot
from recsys.pipeline.texts import best_gain, unit
from recsys.pipeline.training import BASE

CUTOFFS = (5, 10, 50)
BLOCK = 1024
SEED = 7
BOOTSTRAP = 1000
CHECK_USERS = 4000
RECENT = 5
"""Items of the history that the untrained systems look at, as the published tables do."""
EASE_GRID = (50.0, 200.0, 800.0)
TFIDF_GRID = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)

RANKER_USERS = 6000
"""Users, seeded, whose labels the ranker learns from, and as many to stop it by."""
CANDIDATES = {"half_life_days": 2.0, "popularity_half_life_days": 1000.0, "covisitation_days": 3.0}
"""A day of this clock is one item of the history."""

TEXT = {
    "tune": "full",
    "warm_steps": 300,
    "steps": 24,
    "push_steps": 16,
    "push_items": 1536,
    "check_steps": 8,
    "blend_steps": 900,
    "queries": 512,
    "positives": 1,
    "history": 20,
    "half_life_days": 0.0,
    "learning_rate": 5e-5,
    "patience": 6,
}
"""The text model's settings, for any folder: steps are of a size for ten thousand items and a hundred thousand events."""

Scores = Callable[[int, int], Floats]
"""Scores (stop - start, n_items) of the users from start to stop."""


@dataclass
class World:
    """The positions, what every system shares, and the seconds each took."""

    positions: Positions
    keep_seen: bool
    texts: list[str]
    histories: dict[int, History] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    places: dict[str, np.ndarray] = field(default_factory=dict)

    def history(self, depth: int) -> History:
        """All that stands before n - depth."""
        if depth not in self.histories:
            self.histories[depth] = self.positions.history(depth)
        return self.histories[depth]

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.positions.catalogue)

    def rank(self, scores: Scores, depth: int) -> np.ndarray:
        """The place from 1 of each user's item at n - depth among all items, ties by item_id; 0 beyond the last cutoff."""
        history, targets = self.history(depth), self.positions.targets(depth)
        places = []
        for start in range(0, history.n_users, BLOCK):
            stop = min(start + BLOCK, history.n_users)
            block = np.array(scores(start, stop), np.float32)
            if not self.keep_seen:
                rows = slice(history.indptr[start], history.indptr[stop])
                block[history.user_index[rows] - start, history.item_index[rows]] = -np.inf
            best, _ = top_k(block, max(CUTOFFS))
            hit = best == targets[start:stop, None]
            places.append(np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0))
        return np.concatenate(places)

    def judge(self, name: str, scores: Scores, seconds: float) -> None:
        """Keep the places of the test items and the seconds; say them."""
        begun = time.perf_counter()
        places = self.rank(scores, 1)
        self.keep(name, places, seconds + time.perf_counter() - begun)

    def keep(self, name: str, places: np.ndarray, seconds: float) -> None:
        """Keep the places of the test items, 0 beyond the last cutoff, and the seconds; say them."""
        self.places[name], self.seconds[name] = places, seconds
        print(
            f"{name:<20} recall@10 {figure(self.places[name], 'recall@10').mean():.4f}  ndcg@10 "
            f"{figure(self.places[name], 'ndcg@10').mean():.4f}  {self.seconds[name]:.0f} s",
            flush=True,
        )


def figure(places: np.ndarray, metric: str) -> np.ndarray:
    """The metric (n_users,) of places from 1, 0 for none; one item is relevant, so recall is the hit rate."""
    name, k = metric.split("@")
    hits = np.arange(1, int(k) + 1)[None, :] == places[:, None]
    return {"recall": recall, "ndcg": ndcg}[name](hits, np.ones(len(places), np.int64))


def recent(history: History, n_items: int) -> sparse.csr_array:
    """(n_users, n_items): the latest items of each user."""
    places, real = history.latest(RECENT)
    user = np.repeat(np.arange(history.n_users), real.sum(axis=1))
    ones = np.ones(int(real.sum()), np.float32)
    return sparse.csr_array((ones, (user, history.item_index[places[real]])), shape=(history.n_users, n_items))


def bought(history: History, n_items: int) -> sparse.csr_array:
    """(n_users, n_items), 1 where the user ever had the item."""
    matrix = history.matrix(np.ones(len(history.item_index), np.float32), n_items)
    matrix.data[:] = 1
    return matrix


def cosine(history: History, n_items: int) -> sparse.csr_array:
    """Item-item cosine (n_items, n_items) of who had what, the diagonal 0."""
    had = bought(history, n_items)
    norm = np.sqrt(np.maximum(np.asarray(had.sum(axis=0)).ravel(), 1))
    unit = had @ sparse.diags_array(1 / norm).tocsr().astype(np.float32)
    similar = (unit.T @ unit).tocsr()
    similar.setdiag(0)
    return similar.astype(np.float32)


def ease(history: History, n_items: int, regularisation: float) -> Floats:
    """EASE's item-item weights (n_items, n_items): B = -P / diag(P), P = (X'X + r I)^-1, the diagonal 0 (Steck 2019)."""
    had = bought(history, n_items)
    gram = (had.T @ had).toarray().astype(np.float32)
    gram[np.diag_indices(n_items)] += regularisation
    factor, _ = linalg.lapack.spotrf(gram, overwrite_a=1)
    inverse, _ = linalg.lapack.spotri(factor, overwrite_c=1)
    inverse = np.triu(inverse) + np.triu(inverse, 1).T
    weights = -inverse / np.diag(inverse)[None, :]
    weights[np.diag_indices(n_items)] = 0
    return weights


def linear(rows: sparse.csr_array, similar: sparse.csr_array | Floats) -> Scores:
    """Scores of users as rows times an item-item matrix."""

    def scores(start: int, stop: int) -> Floats:
        block = rows[start:stop] @ similar
        return block.toarray() if sparse.issparse(block) else block

    return scores


def plus(one: Scores, weight: float, other: Scores) -> Scores:
    """one + weight x other."""
    return lambda start, stop: one(start, stop) + weight * other(start, stop)


def untrained(world: World) -> None:
    """popularity, item_cosine, ease, tfidf, cosine_tfidf."""
    n = world.n_items
    clock = time.perf_counter()
    counts = np.bincount(world.history(1).item_index, minlength=n).astype(np.float32)
    world.judge("popularity", lambda start, stop: np.repeat(counts[None], stop - start, axis=0), time.perf_counter() - clock)
    clock = time.perf_counter()
    similar = {depth: linear(recent(world.history(depth), n), cosine(world.history(depth), n)) for depth in (1, 2)}
    cosine_seconds = (time.perf_counter() - clock) / 2
    world.judge("item_cosine", similar[1], cosine_seconds)
    clock = time.perf_counter()
    tried = {r: world.rank(linear(bought(world.history(2), n), ease(world.history(2), n, r)), 2) for r in EASE_GRID}
    best = max(tried, key=lambda r: figure(tried[r], "ndcg@10").mean())
    world.judge("ease", linear(bought(world.history(1), n), ease(world.history(1), n, best)), time.perf_counter() - clock)
    clock = time.perf_counter()
    words = TfidfVectorizer(sublinear_tf=True, dtype=np.float32).fit_transform(world.texts).tocsr()
    alike = (words @ words.T).tocsr()
    by_text = {depth: linear(recent(world.history(depth), n), alike) for depth in (1, 2)}
    tfidf_seconds = time.perf_counter() - clock
    world.judge("tfidf", by_text[1], tfidf_seconds)
    clock = time.perf_counter()
    summed = {w: world.rank(plus(similar[2], w, by_text[2]), 2) for w in TFIDF_GRID}
    weight = max(summed, key=lambda w: figure(summed[w], "ndcg@10").mean())
    print(f"chosen on the validation: ease {best:g}, cosine_tfidf {weight:g}")
    world.judge("cosine_tfidf", plus(similar[1], weight, by_text[1]), 2 * cosine_seconds + tfidf_seconds + time.perf_counter() - clock)


@dataclass(frozen=True)
class Fit:
    """An interest model fitted before n - depth with the catalogue's vectors, and what its training chose."""

    side: TextSide
    fitted: text.Fitted


@dataclass
class Encoded:
    """The catalogue through the frozen encoder."""

    world: World
    config: Text
    folder: Path
    inputs: text.Inputs
    pooled: Floats
    group: np.ndarray

    def fit(self, depth: int, chosen: text.Fitted | None, **changed: object) -> Fit:
        """Train on what stands before n - depth; without `chosen`, the items at n - depth choose the steps."""
        config = self.config.model_copy(update=changed)
        encoder, asked = encoder_of(self.folder, config), None if chosen else question(self.world, depth)
        training = text.Training(
            encoder,
            self.inputs,
            self.pooled,
            self.group,
            self.world.history(depth),
            config,
            SEED,
            asked,
            chosen,
            text.Checkpoint(None),
            quiet,
        )
        model, fitted = training.run()
        print(f"  fit before n - {depth}: " + ", ".join(f"{r['phase']} {r['step']} {r['ndcg']:.4f}" for r in fitted.curve if r["ndcg"]))
        vectors = {candidates.TEXT: model.item_vectors(training.pooled, training.has_text)}
        if model.blend:
            vectors[candidates.BLEND] = model.item_vectors(training.pooled, training.has_text, training.id_row)
        gained = replace(model, gain=chosen.gain if chosen else 0.0)
        side = TextSide(gained, vectors, unit(self.pooled, training.has_text), training.pooled)
        if asked and model.blend:
            catalogue = self.world.positions.catalogue
            fitted.gain = best_gain(side, self.world.history(depth), catalogue, asked, settings().candidates)
            side = replace(side, model=replace(model, gain=fitted.gain))
        if not (fitted.blend_steps or side.model.gain):  # the text over again, which the house does not keep
            side = replace(side, vectors={candidates.TEXT: vectors[candidates.TEXT]})
        return Fit(side, fitted)


def settings() -> config.Config:
    """The defaults, on the clock of positions."""
    columns = {"item_id": "item_id", "title": "text"}, {name: name for name in ("user_id", "item_id", "event_type", "event_time")}
    tables = {name: {"path": "-", "columns": of} for name, of in zip(("items", "events"), columns, strict=True)}
    return config_file.parse(tables | {"candidates": CANDIDATES}, "leave-one-out")


def quiet(*_: object) -> None:
    """No progress: the table is the progress."""


def encoder_of(folder: Path, config: Text) -> text.Encoder:
    """The encoder as the config has it."""
    return text.Encoder(folder, config.pooling, config.max_tokens, config.train_layers, config.token_budget, text.Way.of(config))


def encoded(world: World, config: Text) -> Encoded:
    """Find the encoder and encode the catalogue."""
    folder = text.find_encoder(config.encoder, Path("."))
    encoder = encoder_of(folder, config)
    inputs = encoder.tokens(world.texts)
    group = np.unique(np.array(world.texts), return_inverse=True)[1].astype(np.int64) + 1
    group[np.array([not value.strip() for value in world.texts])] = 0
    return Encoded(world, config, folder, inputs, encoder.encode(inputs, quiet), group)


def question(world: World, depth: int) -> text.Question:
    """The items at n - depth of seeded users, to choose the steps by."""
    history, n = world.history(depth), world.n_items
    asked = np.sort(np.random.default_rng(SEED).permutation(history.n_users)[:CHECK_USERS])
    users = world.positions.users().gather(asked)
    known = History.of(world.positions.before(depth), world.positions.catalogue, users, world.positions.as_of(depth), {"click": 1.0})
    truth = np.zeros((len(asked), n), bool)
    truth[np.arange(len(asked)), world.positions.targets(depth)[asked]] = True
    shown = np.ones_like(truth) if world.keep_seen else ~known.seen(n) | truth
    return text.Question(known, truth, shown)


def interest(world: World, fit: Fit, source: str) -> Scores:
    """Scores of the test by a text source."""
    history, catalogue, given = world.history(1), world.positions.catalogue, settings().candidates
    match = fit.side.sources(candidates.Neighbours.cosine(history, catalogue, given), given.half_life_days)[source]
    users = world.positions.users()

    def scores(start: int, stop: int) -> Floats:
        block = History.of(world.positions.before(1), catalogue, users[start:stop], world.positions.as_of(1), {"click": 1.0})
        return match.score(candidates.Block(block, fit.side.users(block)))

    return scores


def by_text(world: World, catalogue: Encoded, seconds: float) -> None:
    """text_frozen, text_frozen_tower, text_tuned, text_collaborative, ranker."""
    clock = time.perf_counter()
    unit = catalogue.pooled / np.maximum(np.linalg.norm(catalogue.pooled, axis=1, keepdims=True), 1e-12)
    users = text.mean_of_history(world.history(1), np.where(catalogue.group[:, None] > 0, unit, 0).astype(np.float32), RECENT)
    world.judge("text_frozen", lambda start, stop: users[start:stop] @ unit.T, seconds + time.perf_counter() - clock)
    config = catalogue.config
    # As many user-side steps as the tuned model has in both its phases: what differs is the encoder.
    clock = time.perf_counter()
    tower = {"warm_steps": config.warm_steps + config.steps * config.push_steps, "steps": 0, "blend_steps": 0}
    fit = catalogue.fit(1, catalogue.fit(2, None, **tower).fitted, **tower)
    world.judge("text_frozen_tower", interest(world, fit, candidates.TEXT), seconds + time.perf_counter() - clock)
    clock = time.perf_counter()
    fits = {2: catalogue.fit(2, None)}
    fits[1] = catalogue.fit(1, fits[2].fitted)
    print(f"chosen on the validation: gain of the neighbours {fits[2].fitted.gain:g}")
    fit_seconds = seconds + time.perf_counter() - clock
    world.judge("text_tuned", interest(world, fits[1], candidates.TEXT), fit_seconds)
    if catalogue.config.blend_steps:
        source = candidates.BLEND if candidates.BLEND in fits[1].side.vectors else candidates.TEXT
        world.judge("text_collaborative", interest(world, fits[1], source), fit_seconds)
    clock = time.perf_counter()
    fits[3] = catalogue.fit(3, fits[2].fitted)
    ranked(world, fits, fit_seconds + time.perf_counter() - clock)


def ranked(world: World, fits: dict[int, Fit], seconds: float) -> None:
    """The ranker, each depth with the text model and all statistics of what stands before it."""
    clock = time.perf_counter()
    given, threads = settings(), len(os.sched_getaffinity(0))
    users = world.positions.users()
    asked = users.gather(np.sort(np.random.default_rng(SEED).permutation(len(users))[:RANKER_USERS]))
    rows = {depth: _rows(world, fits[depth], depth, asked) for depth in (3, 2)}
    fixed = (features.names(), given.ranker, given.gains, SEED, threads)
    base = ranker.fit(columns(rows[3], BASE), columns(rows[2], BASE), *fixed)
    fitted = ranker.fit(columns(rows[3], "ranker"), columns(rows[2], "ranker"), *fixed, base=base)
    places = np.zeros(len(users), np.int64)
    targets, first = world.positions.targets(1), 0
    for chunk in _chunks(world, fits[1], 1, users):
        allowed = np.ones(len(chunk.pool.user), bool) if world.keep_seen else ~chunk.pool.is_seen
        found, item, rank = best(chunk.pool.user, chunk.pool.item, fitted.score(chunk.frame, chunk.told), allowed, max(CUTOFFS))
        user = first + chunk.pool.user[found]
        hit = item == targets[user]
        places[user[hit]] = rank[hit]
        first += chunk.block.history.n_users
    world.keep("ranker", places, seconds + time.perf_counter() - clock)


def _chunks(world: World, fit: Fit, depth: int, users: pl.Series) -> Iterator[Chunk]:
    positions, threads = world.positions, len(os.sched_getaffinity(0))
    events, as_of = positions.events.lazy(), positions.as_of(depth)
    known = snapshot(events, positions.catalogue, as_of, as_of, fit.side, settings(), [], threads, Clock())
    return chunks(known, events, users, Clock())


def _rows(world: World, fit: Fit, depth: int, users: pl.Series) -> Part:
    """The candidates of the users as of n - depth, one list a user whose item is among them; unchosen ones thinned in the label's depth."""
    targets = dict(zip(world.positions.users(), world.positions.targets(depth), strict=True))
    rng, parts, first = np.random.default_rng([SEED, depth]), [], 0
    for chunk in _chunks(world, fit, depth, users):
        wanted = np.array([targets[user] for user in chunk.block.history.user_ids])
        user, label = chunk.pool.user, (chunk.pool.item == wanted[chunk.pool.user]).astype(np.int32)
        has_item = np.bincount(user, label, minlength=len(wanted)) > 0
        kept = has_item[user] & (world.keep_seen | ~chunk.pool.is_seen)
        if depth == 3:
            kept &= (label > 0) | (rng.random(len(label)) < settings().ranker.keep_unchosen)
        matrix = ranker.matrix(chunk.frame.filter(pl.Series(kept)), features.names())
        rows = ranker.Rows(matrix, label[kept], (first + user[kept]).astype(np.uint32))
        parts.append(Part(rows, chunk.pool.by_behaviour[kept], chunk.told[kept]))
        first += len(wanted)
    return joined(parts)


def main() -> None:
    """Judge, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep-seen", action="store_true", help="seen items stay in the lists")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--text", default="{}", help="other settings of [text], as JSON")
    given = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    positions = read(given.folder)
    world = World(positions, given.keep_seen, text.item_texts(positions.catalogue.items))
    print(f"{len(positions.users()):,} users, {world.n_items:,} items, {positions.events.height:,} events")
    untrained(world)
    begun = time.perf_counter()
    catalogue = encoded(world, Text(**TEXT | json.loads(given.text)))
    by_text(world, catalogue, time.perf_counter() - begun)
    report(world, given.json)


def report(world: World, path: Path | None) -> None:
    """The table with intervals, the paired differences that matter, and the JSON."""
    metrics = [f"{name}@{k}" for k in CUTOFFS for name in ("recall", "ndcg")]
    per_user = {system: {metric: figure(places, metric) for metric in metrics} for system, places in world.places.items()}
    figures, _ = compare(per_user, next(iter(per_user)), (), BOOTSTRAP, SEED)
    print(f"\n{'':<20}" + "".join(f"{metric:>26}" for metric in metrics) + f"{'seconds':>9}")
    for system, by_metric in figures.items():
        cells = "".join(f"{f.value:.4f} [{f.low:.4f}, {f.high:.4f}]".rjust(26) for f in by_metric.values())
        print(f"{system:<20}{cells}{world.seconds[system]:>9.0f}")
    pairs = [("text_tuned", b) for b in ("text_frozen", "text_frozen_tower", "tfidf")]
    pairs += [("text_collaborative", b) for b in ("ease", "cosine_tfidf", "text_tuned")] + [("ranker", "text_collaborative")]
    print("\npaired by user, ndcg@10")
    for a, b in pairs:
        if a in per_user and b in per_user:
            paired = compare({a: per_user[a], b: per_user[b]}, a, ("ndcg@10",), BOOTSTRAP, SEED)[1][0]
            ratio = figures[a]["ndcg@10"].value / max(figures[b]["ndcg@10"].value, 1e-12)
            print(f"{a} - {b}: {paired.difference:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}], ratio {ratio:.2f}")
    if path:
        path.write_text(json.dumps({"systems": {s: as_json(m) | {"seconds": world.seconds[s]} for s, m in figures.items()}}, indent=1))


def as_json(by_metric: dict[str, Figure]) -> dict[str, object]:
    """Figures as plain values."""
    return {metric: asdict(value) for metric, value in by_metric.items()}


if __name__ == "__main__":
    main()
