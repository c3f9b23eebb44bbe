"""Distillation: an encoder of half the layers learns to give the vectors of the tuned one, from the catalogue's texts alone.

The student starts as a copy: the teacher's embeddings, kept as they are, and its layers at evenly spaced places, first and last
included (DistilBERT, Sanh et al. 2019: for twelve layers 0, 2, 4, 7, 9, 11). No click is needed: what a text's vector shall be
is known, the teacher's (Reimers and Gurevych 2020). Over unit vectors, s by the student and t by the teacher, of a batch B:

    mean over i in B of (1 - <s_i, t_i>)

which is half the squared error, as only directions count in a score. Asking beside it for the teacher's similarities within the
batch (Tung and Mori 2019, Park et al. 2019) did not help: docs/log.md.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from recsys.blocks import Floats
from recsys.errors import ModelError
from recsys.text.encoder import SPLITTABLE, Encoder, Progress
from recsys.text.inputs import Inputs
from recsys.text.memory import Budget

LEARNING_RATE = 5e-4
STEP_TOKENS = 512
"""Tokens of a step: a catalogue is small, and many small steps bring the student nearer than few large ones."""
TIMED_TEXTS = 256
ROUNDS = 3


@dataclass(frozen=True)
class Distilled:
    """Teacher against student.

    cosine: mean of <student, teacher> over the distinct texts, unit vectors; ndcg: of the text window's own validation, None where there is
    none; texts_per_second: encoding, medians of interleaved rounds.
    """

    teacher_layers: int
    student_layers: int
    cosine: float
    teacher_ndcg: float | None
    student_ndcg: float | None
    teacher_texts_per_second: float
    student_texts_per_second: float


def student_layers(teacher: Encoder) -> list[int]:
    """Places of the teacher's layers that the student starts from: half of them, evenly spaced.

    Raises ModelError for an encoder of one layer, or one whose layers cannot be picked apart.
    """
    kind = teacher.model.config.model_type
    if kind not in SPLITTABLE:
        raise ModelError(
            f"text.distil_epochs: the layers of {kind!r} encoders cannot be picked apart. "
            f"Set it to 0, or text.encoder to one of {', '.join(SPLITTABLE)}."
        )
    n = len(teacher.model.encoder.layer)
    if n < 2:
        raise ModelError(
            f"text.distil_epochs: text.encoder has {n} layer, half of it is none. Set it to 0, or take an encoder of two or more."
        )
    return np.linspace(0, n - 1, n // 2).round().astype(int).tolist()


def distil(teacher: Encoder, inputs: Inputs, pooled: Floats, rows: NDArray[Any], epochs: int, seed: int, progress: Progress) -> Encoder:
    """A student of half the teacher's layers, trained for `epochs` passes over the texts at `rows`.

    pooled (n, hidden) float32: the teacher's vectors of all inputs. The same arguments and threads give the same weights.
    Raises ModelError where the teacher cannot be halved, or the loss is not a number.
    """
    from transformers import get_linear_schedule_with_warmup

    student = teacher.with_layers(student_layers(teacher))
    texts, wanted = Inputs(inputs.offsets, inputs.ids, None), functional.normalize(torch.from_numpy(pooled), dim=-1)
    steps = _steps(student, texts, rows, epochs, np.random.default_rng(seed))
    optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimizer, len(steps) // 10, len(steps))
    for number, batch in enumerate(steps):
        optimizer.zero_grad(set_to_none=True)
        loss = distance(student.pooled(texts, batch), wanted[torch.from_numpy(batch)].to(student.device))
        if not torch.isfinite(loss):
            raise ModelError(
                f"distillation: the loss of step {number} is not a number (items {batch[:3].tolist()} ...). Lower text.learning_rate."
            )
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress("text: distillation", number + 1, len(steps))
    return student


def distance(pooled: Tensor, wanted: Tensor) -> Tensor:
    """The loss of the module's head: pooled (b, hidden) by the student, wanted (b, hidden) unit vectors by the teacher."""
    return (1 - (functional.normalize(pooled, dim=-1) * wanted).sum(dim=1)).mean()


def compared(
    encoders: tuple[Encoder, Encoder],
    inputs: Inputs,
    rows: NDArray[Any],
    pooled: tuple[Floats, Floats],
    ndcg: tuple[float | None, float | None],
    seed: int,
) -> Distilled:
    """Teacher and student, in that order throughout, over the distinct texts at `rows` (at least one); timed on a seeded few of them."""
    unit = [vectors[rows] / np.linalg.norm(vectors[rows], axis=1, keepdims=True) for vectors in pooled]
    timed = np.random.default_rng(seed).permutation(rows)[:TIMED_TEXTS]
    layers = [len(encoder.model.encoder.layer) for encoder in encoders]
    speed = texts_per_second(encoders, inputs, timed)
    return Distilled(layers[0], layers[1], float((unit[0] * unit[1]).sum(axis=1).mean()), *ndcg, speed[0], speed[1])


def texts_per_second(encoders: Sequence[Encoder], inputs: Inputs, rows: NDArray[Any]) -> list[float]:
    """Texts a second of each encoder from token ids to vectors over the texts at `rows`: medians of rounds that take turns."""
    tokens = Inputs(inputs.offsets, inputs.ids, None)
    seconds = [[_seconds(encoder, tokens, rows) for encoder in encoders] for _ in range(ROUNDS)]
    return [len(rows) / median(column) for column in zip(*seconds, strict=True)]


def _seconds(encoder: Encoder, inputs: Inputs, rows: NDArray[Any]) -> float:
    begun = time.perf_counter()
    encoder.encode(inputs, lambda *_: None, rows)
    return time.perf_counter() - begun


def _steps(student: Encoder, inputs: Inputs, rows: NDArray[Any], epochs: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Batches of like length, of STEP_TOKENS tokens or fewer, drawn anew and in another order in each epoch."""
    narrow = copy.copy(student)
    narrow.budget = Budget(min(STEP_TOKENS, student.budget.tokens))
    steps: list[NDArray[np.int64]] = []
    for _ in range(epochs):
        batches = list(narrow.batches(inputs, rng.permutation(rows)))
        steps += [batches[place] for place in rng.permutation(len(batches))]
    return steps
