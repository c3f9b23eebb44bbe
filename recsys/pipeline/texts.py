"""The text stage put together: encoder, kept vectors, the training on a text window, and the vectors of a catalogue."""

import hashlib
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from recsys import candidates, text, timeline
from recsys.blocks import Bools, Catalogue, Floats, History
from recsys.caches import StateCache, VectorCache
from recsys.config import Candidates
from recsys.item_text import text_digests
from recsys.pipeline.job import Job
from recsys.pipeline.shown import HeldOutLists, disliked, shown_lists
from recsys.pipeline.snapshot import TextSide, everyones_history, weights
from recsys.pipeline.tables import events_of
from recsys.schema import TIME
from recsys.text.shown import Shown, refuse_none

CHECK_CELLS = 20_000_000
"""Users times items of the text window's own validation: seeded users are taken up to here."""

UNKNOWN_SHARE = 0.1
"""Above this share of unknown tokens the encoder was made for other languages."""


GAINS = (0.0, 2.5, 5.0, 10.0, 20.0, 40.0)
"""In units of a score, which is at most the tower's scale of 10 to 30; a cosine is at most the number of recent choices."""


@dataclass(frozen=True)
class Texts:
    """The catalogue's texts, ready for the encoder.

    folder of the encoder; digest (n,) 32 hex digits; group (n,) int64, one number a distinct text, 0 for none; inputs for the
    encoder; pooled (n, hidden) float32 by the untrained encoder; encoder_digest of that; seconds: what reading and encoding them took.
    """

    folder: Path
    encoder_digest: str
    digest: list[str]
    group: NDArray[np.int64]
    inputs: text.Inputs
    pooled: Floats
    seconds: float

    @property
    def has_text(self) -> Bools:
        """(n,): is there any text."""
        return self.group > 0


def read_texts(job: Job, catalogue: Catalogue) -> Texts:
    """Find the encoder, tokenise the catalogue, and encode what was never encoded before."""
    config, begun = job.config.text, time.perf_counter()
    if config.scoring == "int8":
        text.require_onnx()  # before anything is trained
    folder = text.find_encoder(config.encoder, job.base)
    encoder = _encoder(job, folder)
    if config.distil_epochs:
        text.student_layers(encoder)  # refuses before anything is trained
    values = text.encoder_texts(catalogue.items, config.template, encoder)
    digests = text_digests(values)
    inputs = encoder.tokens(values)
    unknown = encoder.unknown_share(inputs)
    if unknown > UNKNOWN_SHARE:
        job.display.say(f"text: {unknown:.0%} of the tokens are unknown to the encoder: name one of your languages in text.encoder")
    if encoder.splits and encoder.states_mb(inputs) <= config.states_mb:
        inputs = _with_states(job, encoder, digests, inputs)
    pooled = _pooled(job, encoder, digests, inputs)
    return Texts(folder, encoder.digest(), digests, text.text_groups(values), inputs, pooled, time.perf_counter() - begun)


def fit_texts(
    job: Job, texts: Texts, catalogue: Catalogue, events: pl.LazyFrame, window: timeline.Window, chosen: text.Fitted | None
) -> tuple[TextSide, text.Fitted]:
    """Fine-tune on a text window. Without `chosen`, its last `valid_days` choose the steps; with it, all of it is learned from.

    Raises TableError where `text.loss` learns from impression lists and there are none.
    """
    training = training_of(job, texts, catalogue, events, window, chosen)
    judged = None if chosen else HeldOutLists.of(events, catalogue, _held_out(job, window), texts.has_text, job.config)
    before = judged.figures(training.model, training.pooled) if judged else None
    model, fitted = training.run()
    if judged:
        fitted.classification = {"before": before, "after": judged.figures(model, training.pooled)} | judged.counts
    if not fitted.curve:
        job.display.say("text: nothing to learn from: " + _nothing_to_learn(texts))
    if fitted.stopped:
        job.display.say(f"text: {fitted.stopped}")
    known, frozen = tuple(catalogue.ids(training.warm.astype(np.int32))), unit(texts.pooled, texts.has_text)
    model = replace(model, known=known, gain=chosen.gain if chosen else 0.0)
    taught = side_of(model, training.pooled, texts.has_text, catalogue, frozen)
    if training.question and model.blend:
        fitted.gain = best_gain(taught, training.history, catalogue, training.question, job.config.candidates)
        taught = replace(taught, model=replace(model, gain=fitted.gain))
    if not (fitted.blend_steps or taught.model.gain):
        # Such a blend is the text over again: a second source of the same candidates, its features twice before the trees.
        taught = side_of(replace(model, blend=None, known=()), training.pooled, texts.has_text, catalogue, frozen)
    side = _student_side(job, texts, training, fitted, catalogue, taught) if job.config.text.distil_epochs else taught
    if text.workers().is_main:
        VectorCache(job.home.caches / "vectors").add(side.model.encoder.digest(), texts.digest, training.pooled)
    training.checkpoint.clear()
    return _counted_in_int8(job, texts, catalogue, side) if job.config.text.scoring == "int8" else side, fitted


def _counted_in_int8(job: Job, texts: Texts, catalogue: Catalogue, side: TextSide) -> TextSide:
    """The same model with the vectors that tonight's will be comparable to: those of the quantised encoder."""
    side.model.encoder.use_int8()
    pooled = _pooled(job, side.model.encoder, texts.digest, replace(texts.inputs, states=None))
    return replace(side_of(side.model, pooled, texts.has_text, catalogue, side.frozen), teacher=side.teacher)


def _student_side(job: Job, texts: Texts, training: text.Training, fitted: text.Fitted, catalogue: Catalogue, taught: TextSide) -> TextSide:
    begun = time.perf_counter()
    student = replace(taught.model, encoder=_distil(job, texts, training, fitted).encoder)
    fitted.distil_seconds = time.perf_counter() - begun
    return replace(side_of(student, training.pooled, texts.has_text, catalogue, taught.frozen), teacher=taught)


def try_texts(
    job: Job, texts: Texts, catalogue: Catalogue, events: pl.LazyFrame, window: timeline.Window, on_check: text.OnCheck
) -> text.Fitted:
    """What `fit_texts` would choose, and its curve, with nothing kept on disk; `on_check` may raise to stop it."""
    training = training_of(job, texts, catalogue, events, window, None)
    training.checkpoint, training.on_check = text.Checkpoint(None), on_check
    training.config = training.config.model_copy(update={"blend_steps": 0})  # its gain follows that of the text it stands on
    return training.run()[1]


def _held_out(job: Job, window: timeline.Window) -> timeline.Window:
    return replace(window, start=window.end - timedelta(days=job.config.text.valid_days))


def training_of(
    job: Job, texts: Texts, catalogue: Catalogue, events: pl.LazyFrame, window: timeline.Window, chosen: text.Fitted | None
) -> text.Training:
    """The training on a text window: with `chosen` on all of it; without, its last `valid_days` are asked about."""
    held_out = None if chosen else _held_out(job, window)
    until = held_out.start if held_out else window.end
    history = everyones_history(events, catalogue, until, job.config)
    question = _question(job, catalogue, events, held_out) if held_out else None
    against = disliked(events, catalogue, history.user_ids, until, job.config)
    shown = _shown(job, catalogue, events, history, window.start, until)
    sale_days, encoder = catalogue.sale_days(until), _encoder(job, texts.folder)
    digest = _training_digest(job, texts, encoder, history, against, shown, sale_days, chosen)
    return text.Training(
        encoder,
        texts.inputs,
        texts.pooled,
        texts.group,
        history,
        job.config.text,
        job.config.project.seed,
        question,
        chosen,
        text.Checkpoint(job.home.caches / "checkpoints" / digest),
        job.display.progress,
        against,
        shown,
        sale_days,
    )


def best_gain(side: TextSide, history: History, catalogue: Catalogue, question: text.Question, config: Candidates) -> float:
    """What of GAINS ranks the question best."""
    cosine = candidates.Neighbours.cosine(history, catalogue, config)
    block = candidates.Block(question.history, side.users(question.history))
    blended = side.sources(cosine, config.half_life_days)[candidates.BLEND]
    assert isinstance(blended, candidates.Blended)
    interest, near = blended.interest.score(block), blended.neighbours.score(block)

    def figure(gain: float) -> float:
        scores = candidates.blend(interest, near, gain)
        return text.check_ndcg(np.where(question.shown, scores, -np.inf).astype(np.float32), question.truth)

    return max(GAINS, key=figure)


def frozen_side(job: Job, texts: Texts, catalogue: Catalogue) -> TextSide:
    """What is known of text before anything is learned: the encoder as it came, a user the mean of what they did."""
    model = text.InterestModel.untrained(_encoder(job, texts.folder), texts.pooled, texts.has_text, job.config.text.history)
    return side_of(model, texts.pooled, texts.has_text, catalogue, unit(texts.pooled, texts.has_text))


def distilled_side(job: Job, texts: Texts, catalogue: Catalogue, side: TextSide, epochs: int) -> TextSide:
    """The same towers over a student of the encoder, taught for `epochs`. Raises ModelError where the encoder cannot be halved."""
    teacher, rows = side.model.encoder, _distinct(texts)
    pooled = _pooled(job, teacher, texts.digest, texts.inputs)
    student = text.distil(teacher, texts.inputs, pooled, rows, epochs, job.config.project.seed, job.display.progress)
    taught = student.encode(replace(texts.inputs, states=None), job.display.progress)
    return side_of(replace(side.model, encoder=student), taught, texts.has_text, catalogue, side.frozen)


def _distinct(texts: Texts) -> NDArray[np.int64]:
    """One row of each distinct text."""
    groups, rows = np.unique(texts.group, return_index=True)
    return rows[groups > 0]


def _distil(job: Job, texts: Texts, training: text.Training, fitted: text.Fitted) -> text.InterestModel:
    """Put a student in the tuned encoder's place; where the text window has its own validation, both are judged and timed."""
    teacher, taught, ndcg, seed = training.model.encoder, training.pooled, training.judged(), job.config.project.seed
    rows = _distinct(texts)
    student = text.distil(teacher, texts.inputs, taught, rows, job.config.text.distil_epochs, seed, job.display.progress)
    training.adopt(student)
    if training.question and len(rows):
        pooled, judged = (taught, training.pooled), (ndcg, training.judged())
        fitted.distilled = text.compared((teacher, student), texts.inputs, rows, pooled, judged, seed)
    return training.model


def _shown(job: Job, catalogue: Catalogue, events: pl.LazyFrame, history: History, start: datetime, end: datetime) -> Shown | None:
    if job.config.text.loss == "softmax":
        return None
    shown = shown_lists(events, catalogue, history.user_ids, start, end, job.config)
    refuse_none(shown, job.config.text.loss)
    return shown


def load_texts(job: Job, model: text.InterestModel, catalogue: Catalogue) -> TextSide:
    """The vectors of a catalogue by a fitted model: only texts that it never encoded go through the encoder."""
    values = text.encoder_texts(catalogue.items, job.config.text.template, model.encoder)
    pooled = _pooled(job, model.encoder, text_digests(values), None, values)
    has_text = np.array([value != "" for value in values], bool)
    return side_of(model, pooled, has_text, catalogue, unit(pooled, has_text))


def side_of(model: text.InterestModel, pooled: Floats, has_text: Bools, catalogue: Catalogue, frozen: Floats) -> TextSide:
    """The side of a model whose encoder gave `pooled`."""
    vectors = {candidates.TEXT: model.item_vectors(pooled, has_text)}
    if model.blend:
        vectors[candidates.BLEND] = model.item_vectors(pooled, has_text, model.id_row(catalogue.items["item_id"]))
    return TextSide(model, vectors, frozen, pooled)


def _nothing_to_learn(texts: Texts) -> str:
    n_texts = len(np.unique(texts.group[texts.has_text]))
    if n_texts < 2:
        return f"{'no item has a text' if not n_texts else 'every item with a text has the same one'}; the text gives no order of items"
    return "nobody liked an item with a text in the text window; the encoder is used as it is"


def unit(pooled: Floats, has_text: Bools) -> Floats:
    """The untrained item vectors (n, hidden): pooled ones at length 1, zero without text."""
    norm = np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
    return np.where(has_text[:, None], pooled / norm, 0).astype(np.float32)


def _encoder(job: Job, folder: Path) -> text.Encoder:
    config = job.config.text
    return text.Encoder(folder, config.pooling, config.max_tokens, config.train_layers, config.token_budget, text.Way.of(config))


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


def _training_digest(
    job: Job,
    texts: Texts,
    encoder: text.Encoder,
    history: History,
    against: sparse.csr_array,
    shown: Shown | None,
    sale_days: Floats,
    chosen: text.Fitted | None,
) -> str:
    steps = (chosen.warm_steps, chosen.steps) if chosen else None
    sha = hashlib.sha256(f"{encoder.digest()} {job.config.text} {job.config.project.seed} {job.threads} {steps}".encode())
    sha.update("".join(texts.digest).encode())
    of_lists = (shown.user_index, shown.age_days, shown.indptr, shown.item_index, shown.propensity, shown.weight) if shown else ()
    of_history = (history.item_index, history.event_type, history.age_days, history.weight, history.indptr)
    for array in (*of_history, against.indices, against.indptr, *of_lists, sale_days):
        sha.update(array.tobytes())
    return sha.hexdigest()[:32]
