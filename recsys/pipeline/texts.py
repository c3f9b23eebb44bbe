"""The text stage put together: encoder, kept vectors, the training on a text window, and the vectors of a catalogue."""

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys import text, timeline
from recsys.artefacts import StateCache, VectorCache
from recsys.blocks import Bools, Catalogue, Floats, History
from recsys.pipeline.job import Job
from recsys.pipeline.snapshot import TextSide, everyones_history, weights
from recsys.pipeline.tables import events_of
from recsys.schema import TIME

CHECK_CELLS = 20_000_000
"""Users times items of the text window's own validation: seeded users are taken up to here."""


@dataclass(frozen=True)
class Texts:
    """The catalogue's texts, ready for the encoder.

    values (n,) strings; digest (n,) 32 hex digits; group (n,) int64, one number a distinct text, 0 for none; inputs for the
    encoder; pooled (n, hidden) float32 by the untrained encoder.
    """

    folder: Path
    digest: list[str]
    group: NDArray[np.int64]
    inputs: text.Inputs
    pooled: Floats

    @property
    def has_text(self) -> Bools:
        """(n,): is there any text."""
        return self.group > 0


def read_texts(job: Job, catalogue: Catalogue) -> Texts:
    """Find the encoder, tokenise the catalogue, and encode what was never encoded before."""
    config = job.config.text
    if config.scoring == "int8":
        text.require_onnx()  # before anything is trained
    folder = text.find_encoder(config.encoder, job.base)
    encoder = _encoder(job, folder)
    values = text.item_texts(catalogue.items)
    digests = _digests(values)
    inputs = encoder.tokens(values)
    n_layers = len(encoder.parameters())
    if config.steps and n_layers and encoder.splits and encoder.states_mb(inputs) <= config.states_mb:
        inputs = _with_states(job, encoder, digests, inputs)
    pooled = _pooled(job, encoder, digests, inputs)
    group = np.unique(np.array(values), return_inverse=True)[1].astype(np.int64) + 1
    return Texts(folder, digests, np.where(np.array(values) == "", 0, group), inputs, pooled)


def fit_texts(
    job: Job, texts: Texts, catalogue: Catalogue, events: pl.LazyFrame, window: timeline.Window, chosen: text.Fitted | None
) -> tuple[TextSide, text.Fitted]:
    """Fine-tune on a text window. Without `chosen`, its last `valid_days` choose the steps; with it, all of it is learned from."""
    held_out = None if chosen else replace(window, start=window.end - timedelta(days=job.config.text.valid_days))
    until = held_out.start if held_out else window.end
    history = everyones_history(events, catalogue, until, job.config)
    question = _question(job, catalogue, events, held_out) if held_out else None
    encoder = _encoder(job, texts.folder)
    training = text.Training(
        encoder,
        texts.inputs,
        texts.pooled,
        texts.group,
        history,
        job.config.text,
        job.config.project.seed,
        question,
        chosen,
        text.Checkpoint(job.home.caches / "checkpoints" / _training_digest(job, texts, encoder, history, chosen)),
        job.display.progress,
    )
    model, fitted = training.run()
    pooled = _fitted_vectors(job, model.encoder, texts, training.pooled.numpy())
    training.checkpoint.clear()
    return TextSide(model, model.item_vectors(pooled, texts.has_text), unit(texts.pooled, texts.has_text)), fitted


def _fitted_vectors(job: Job, encoder: text.Encoder, texts: Texts, pooled: Floats) -> Floats:
    """The catalogue's pooled vectors as tonight will have them: those of the training, or, in int8, of the quantised encoder."""
    if job.config.text.scoring == "int8":
        encoder.use_int8()
        return _pooled(job, encoder, texts.digest, texts.inputs)
    VectorCache(job.home.caches / "vectors").add(encoder.digest(), texts.digest, pooled)
    return pooled


def load_texts(job: Job, model: text.InterestModel, catalogue: Catalogue) -> TextSide:
    """The vectors of a catalogue by a fitted model: only texts that it never encoded go through the encoder."""
    values = text.item_texts(catalogue.items)
    pooled = _pooled(job, model.encoder, _digests(values), None, values)
    vectors = model.item_vectors(pooled, np.array([value != "" for value in values], bool))
    return TextSide(model, vectors, vectors)


def unit(pooled: Floats, has_text: Bools) -> Floats:
    """The untrained item vectors (n, hidden): pooled ones at length 1, zero without text."""
    norm = np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
    return np.where(has_text[:, None], pooled / norm, 0).astype(np.float32)


def _encoder(job: Job, folder: Path) -> text.Encoder:
    config = job.config.text
    return text.Encoder(folder, config.pooling, config.max_tokens, config.train_layers if config.steps else 0, config.token_budget)


def _digests(values: list[str]) -> list[str]:
    return [hashlib.sha256(value.encode()).hexdigest()[:32] for value in values]


def _pooled(job: Job, encoder: text.Encoder, digests: list[str], inputs: text.Inputs | None, values: list[str] | None = None) -> Floats:
    cache, key = VectorCache(job.home.caches / "vectors"), encoder.digest()
    known, vectors = cache.load(key)
    place = {digest: row for row, digest in enumerate(known)}
    missing = np.array([row for row, digest in enumerate(digests) if digest not in place], np.int64)
    pooled = np.zeros((len(digests), encoder.hidden), np.float32)
    found = np.array([row for row, digest in enumerate(digests) if digest in place], np.int64)
    if len(found):
        pooled[found] = vectors[[place[digests[row]] for row in found]]
    if len(missing):
        inputs = inputs or encoder.tokens([(values or [])[row] for row in missing])
        rows = missing if len(inputs) == len(digests) else np.arange(len(missing))
        pooled[missing] = encoder.encode(inputs, job.display.progress, rows)
        cache.add(key, [digests[row] for row in missing], pooled[missing])
    job.display.say(f"text: {len(found)} vectors kept from before, {len(missing)} texts encoded")
    return pooled


def _with_states(job: Job, encoder: text.Encoder, digests: list[str], inputs: text.Inputs) -> text.Inputs:
    """The inputs with the outputs of the layers that are not trained: from the cache where a text went through them before."""
    cache, key = StateCache(job.home.caches / "states"), f"{encoder.digest()}-{encoder.n_below}"
    hashes, offsets, kept = cache.load(key)
    place = {digest: row for row, digest in enumerate(hashes)}
    missing = np.array([row for row, digest in enumerate(digests) if digest not in place], np.int64)
    states = np.empty((len(inputs.ids), encoder.hidden), np.float32)
    made = encoder.states(inputs, missing, job.display.progress)
    made_offsets = np.concatenate([[0], np.cumsum(inputs.lengths[missing])])
    fresh = {int(row): n for n, row in enumerate(missing)}
    for row, digest in enumerate(digests):
        source, at, n = (made, made_offsets, fresh[row]) if row in fresh else (kept, offsets, place[digest])
        states[inputs.offsets[row] : inputs.offsets[row + 1]] = source[at[n] : at[n + 1]]
    if len(missing) or len(hashes) != len(digests):
        cache.store(key, digests, inputs.offsets, states)
    return text.Inputs(inputs.offsets, inputs.ids, states)


def _question(job: Job, catalogue: Catalogue, events: pl.LazyFrame, held_out: timeline.Window) -> text.Question | None:
    inside = held_out.of(events.select("user_id", "item_id", "event_time", "event_type")).collect()
    users = timeline.active_users(inside, held_out)
    most = max(1, CHECK_CELLS // max(len(catalogue), 1))
    if len(users) > most:
        users = users.gather(np.sort(np.random.default_rng(job.config.project.seed).choice(len(users), most, replace=False)))
    before = events_of(events.filter(pl.col("event_time") < pl.lit(held_out.start, TIME)), users)
    history = History.of(before, catalogue, users, held_out.start, weights(job.config))
    later = History.of(inside, catalogue, users, held_out.end, weights(job.config))
    seen = history.seen(len(catalogue))
    truth = np.zeros_like(seen)
    truth[later.user_index[later.is_liked], later.item_index[later.is_liked]] = True
    shown = ~seen & catalogue.eligible(held_out.start, held_out.end)
    truth &= shown
    asked = truth.any(axis=1)
    if not asked.any():
        return None
    kept = users.filter(pl.Series(asked))
    return text.Question(History.of(before, catalogue, kept, held_out.start, weights(job.config)), truth[asked], shown[asked])


def _training_digest(job: Job, texts: Texts, encoder: text.Encoder, history: History, chosen: text.Fitted | None) -> str:
    steps = (chosen.warm_steps, chosen.steps) if chosen else None
    sha = hashlib.sha256(f"{encoder.digest()} {job.config.text} {job.config.project.seed} {job.threads} {steps}".encode())
    sha.update("".join(texts.digest).encode())
    for array in (history.item_index, history.event_type, history.age_days, history.weight, history.indptr):
        sha.update(array.tobytes())
    return sha.hexdigest()[:32]
