"""Fine-tuning the interest model on visits, in two phases.

1. *warm*: the tower learns over the frozen encoder's vectors: a matrix product a step.
2. *joint*: tower and last encoder layers together. Each distinct item of a step goes through the encoder once, however many
   events name it: the loss's gradient with respect to the items' pooled vectors is collected first, then pushed through the
   encoder batch by batch of the token budget (gradient caching, Gao et al. 2021), so memory is bounded by the budget.

The loss of a positive i of user u over the step's items S is a softmax whose negatives carry importance weights:

    - log( e^{s_ui} / (e^{s_ui} + sum over j in S, j no text the user likes, of e^{s_uj} / P(j in S)) )

The sum is the Horvitz-Thompson estimate of the full catalogue's partition function; with every item in S it *is* the full
softmax, without correction. The positive is not corrected: given the query it is there with certainty. Nothing is corrected in scoring.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.blocks import Bools, Floats, History, top_k
from recsys.config import Text
from recsys.errors import ModelError
from recsys.metrics import ndcg
from recsys.text.checkpoint import Checkpoint
from recsys.text.encoder import Encoder, Inputs, Progress
from recsys.text.model import InterestModel, context
from recsys.text.tower import Tower
from recsys.text.visits import Sampler, Step, Visits, liked_texts, visits_of

State = dict[str, Any]
OnCheck = Callable[[dict[str, Any]], None]
"""Hears of each check, as a row of the learning curve; what it raises ends the training and passes."""

WARM_CHECK_STEPS = 50
WARM_CATALOGUE = 8192
"""Items of a warm step: up to here the whole catalogue, and so the full softmax; above, this many negatives."""
CHECK_DEPTH = 100
"""The text window's own validation is ndcg at this cutoff: deep, because the first ten places of one model alone are noisy."""


@dataclass(frozen=True)
class Question:
    """The text window's own validation: histories as of its start, the items liked afterwards, unseen by then, and the shown catalogue.

    truth: bool (n_users, n_items); shown: bool (n_users, n_items), what may be listed for each.
    """

    history: History
    truth: Bools
    shown: Bools


@dataclass
class Fitted:
    """What training chose: steps of each phase, and the learning curve (phase, step, loss, ndcg on the text window's validation)."""

    warm_steps: int = 0
    steps: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)


class Training:
    """One training of an interest model on a history. Without a `question` it chooses nothing and runs as many steps as `chosen` says."""

    def __init__(
        self,
        encoder: Encoder,
        inputs: Inputs,
        pooled: Floats,
        text_group: NDArray[np.int64],
        history: History,
        config: Text,
        seed: int,
        question: Question | None,
        chosen: Fitted | None,
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> None:
        """Inputs, pooled (n_items, hidden) from the frozen encoder and text_group (n_items,), 0 for no text, are rows of the catalogue."""
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)  # gathers are summed in the backward pass; their order must not depend on threads
        self.model = InterestModel(encoder, Tower(encoder.hidden, config.dim), config.history)
        self.inputs, self.pooled, self.text_group = inputs, torch.from_numpy(pooled.copy()), text_group
        self.has_text = text_group > 0
        self.history, self.config, self.seed, self.question = history, config, seed, question
        self.chosen, self.checkpoint, self.progress = chosen, checkpoint, progress
        self.visits: Visits = visits_of(history, self.has_text)
        self.liked = liked_texts(history, text_group)
        self.result = Fitted()
        self.on_check: OnCheck = lambda row: None
        with torch.no_grad():
            start = torch.nn.functional.normalize(self.pooled, dim=-1)[torch.from_numpy(self.has_text)]
            if len(start):
                self.model.tower.newcomer.copy_(self.model.tower.projection(start.mean(dim=0)))

    def run(self) -> tuple[InterestModel, Fitted]:
        """Train and return the model at its best check. Raises ModelError when the loss is not a number."""
        if len(self.visits) and self.has_text.any():
            negatives = WARM_CATALOGUE if self.has_text.sum() > WARM_CATALOGUE else int(self.has_text.sum())
            stop = self.chosen or Fitted(self.config.warm_steps, self.config.steps)
            self.result.warm_steps = self._phase("warm", stop.warm_steps, self.config.warm_steps, WARM_CHECK_STEPS, negatives)
            if self.model.encoder.parameters():
                self.result.steps = self._phase("joint", stop.steps, self.config.steps, self.config.check_steps, self.config.negatives)
        self.model.tower.eval()
        return self.model, self.result

    def _phase(self, phase: str, n_steps: int, schedule: int, check_steps: int, negatives: int) -> int:
        """Run one phase to `n_steps` of a learning rate schedule; leaves the best weights in place and returns the step they were at."""
        sampler = Sampler(self.visits, self.has_text, self.config.queries, self.config.positives, negatives, self.seed)
        parameters = self._parameters(phase)
        optimizer = torch.optim.AdamW(self._groups(phase), weight_decay=0.01)
        state = self.checkpoint.load(phase, parameters, optimizer)
        if state and phase == "joint":
            self._refresh()
        if not state:
            state = {"step": 0, "best": -1.0, "best_step": 0, "bad": 0, "curve": []}
            self._check(phase, float("nan"), state, parameters, optimizer)
        losses: list[float] = []
        while state["step"] < n_steps and state["bad"] < self.config.patience:
            number = state["step"]
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * _warm_up_and_decay(number, schedule)
            losses.append(self._step(phase, sampler.step(number), optimizer, number))
            state["step"] = number + 1
            self.progress(f"text: {phase}", number, n_steps)
            if state["step"] % check_steps == 0 or state["step"] == n_steps:
                self._check(phase, float(np.mean(losses)), state, parameters, optimizer)
                losses = []
        self.progress(f"text: {phase}", n_steps, n_steps)
        self.checkpoint.best(phase, parameters)
        self.result.curve += state["curve"]
        if phase == "joint":
            self._refresh()
        return int(state["best_step"])

    def _parameters(self, phase: str) -> dict[str, Tensor]:
        named = {f"tower.{name}": p for name, p in self.model.tower.named_parameters()}
        if phase == "joint":
            named |= {f"encoder.{name}": p for name, p in self.model.encoder.trained.named_parameters()}
        return named

    def _groups(self, phase: str) -> list[dict[str, object]]:
        groups: list[dict[str, object]] = [{"params": list(self.model.tower.parameters()), "peak": self.config.tower_learning_rate}]
        if phase == "joint":
            groups[0]["peak"] = self.config.tower_learning_rate / 10  # it has settled; only to follow the encoder
            groups.append({"params": self.model.encoder.parameters(), "peak": self.config.learning_rate})
        return groups

    def _step(self, phase: str, step: Step, optimizer: torch.optim.Optimizer, number: int) -> float:
        optimizer.zero_grad(set_to_none=True)
        leaf = self._encode(step.items) if phase == "joint" else self.pooled[torch.from_numpy(step.items)]
        leaf.requires_grad_(phase == "joint")
        loss = self._loss(step, leaf)
        if not torch.isfinite(loss):
            names = step.items[:3].tolist()
            raise ModelError(
                f"text training: the loss of {phase} step {number} is not a number (items at rows {names} ...). Lower text.learning_rate."
            )
        loss.backward()
        if phase == "joint":
            self._push(step.items, leaf)
            self.pooled[torch.from_numpy(step.items)] = leaf.detach()
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
        return float(loss.detach())

    def _encode(self, items: NDArray[np.int32]) -> Tensor:
        vectors = torch.empty((len(items), self.model.encoder.hidden))
        with torch.no_grad():
            for rows in self.model.encoder.batches(self.inputs, items.astype(np.int64)):
                vectors[np.searchsorted(items, rows)] = self.model.encoder.pooled(self.inputs, rows).cpu()
        return vectors

    def _push(self, items: NDArray[np.int32], leaf: Tensor) -> None:
        assert leaf.grad is not None
        for rows in self.model.encoder.batches(self.inputs, items.astype(np.int64)):
            gradient = leaf.grad[torch.from_numpy(np.searchsorted(items, rows))].to(self.model.encoder.device)
            self.model.encoder.pooled(self.inputs, rows).backward(gradient)

    def _loss(self, step: Step, leaf: Tensor) -> Tensor:
        places, real = _before(self.history, self.visits, step.visits, self.config.history)
        past = self.history.item_index[places]
        needed = np.union1d(past[real], step.items).astype(np.int64)
        # Vectors of history items outside the step are those of their latest encoding, without gradient.
        pooled = self.pooled[torch.from_numpy(needed)].index_copy(0, torch.from_numpy(np.searchsorted(needed, step.items)), leaf)
        vectors = self.model.tower.items(pooled) * torch.from_numpy(self.has_text[needed])[:, None]
        place_in_needed = np.where(real, np.searchsorted(needed, np.where(real, past, needed[0])), 0)
        kind, age, weight = context(self.history, places)
        now = torch.from_numpy(self.history.age_days[self.visits.start[step.visits]])[:, None]
        users = self.model.tower.users(
            vectors[torch.from_numpy(place_in_needed)], kind, (age - now).clamp(min=0), weight, torch.from_numpy(real)
        )
        scores = self.model.tower.scale * users @ vectors[torch.from_numpy(np.searchsorted(needed, step.items))].T
        return softmax_loss(scores, step, torch.from_numpy(self._liked_in(step)))

    def _liked_in(self, step: Step) -> Bools:
        users = self.visits.user[step.visits]
        return (self.liked[users][:, self.text_group[step.items]].toarray() > 0).astype(bool)

    def _check(self, phase: str, loss: float, state: State, parameters: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        if phase == "joint" and state["step"]:
            self._refresh()
        figure = self._validate() if self.question else float(state["step"])
        if figure > state["best"]:
            state |= {"best": figure, "best_step": state["step"], "bad": 0}
            self.checkpoint.keep_best(phase, parameters)
        else:
            state["bad"] += 1
        ndcg_here = figure if self.question else None
        state["curve"].append({"phase": phase, "step": state["step"], "loss": None if np.isnan(loss) else loss, "ndcg": ndcg_here})
        self.checkpoint.save(phase, parameters, optimizer, state)
        self.on_check(state["curve"][-1])

    def _refresh(self) -> None:
        self.pooled = torch.from_numpy(self.model.encoder.encode(self.inputs, self.progress))

    def _validate(self) -> float:
        assert self.question is not None
        vectors = self.model.item_vectors(self.pooled.numpy(), self.has_text)
        scores = self.model.user_vectors(self.question.history, vectors) @ vectors.T
        scores = np.where(self.question.shown & self.has_text, scores, -np.inf)
        return _ndcg(scores.astype(np.float32), self.question.truth)


def softmax_loss(scores: Tensor, step: Step, liked: Tensor) -> Tensor:
    """The loss of the module's head: scores (b, s), liked (b, s) bool: items whose text the user likes. Weighted mean over pairs."""
    weighted = scores - torch.from_numpy(step.log_inclusion)
    negatives = torch.logsumexp(weighted.masked_fill(liked, -1e9), dim=1)
    positive = scores[torch.from_numpy(step.pair_visit), torch.from_numpy(step.pair_item)]
    total = torch.logaddexp(positive, negatives[torch.from_numpy(step.pair_visit)])
    weight = torch.from_numpy(step.pair_weight)
    return ((total - positive) * weight).sum() / weight.sum()


def _before(history: History, visits: Visits, chosen: NDArray[np.int64], n: int) -> tuple[NDArray[np.int64], Bools]:
    places = visits.start[chosen][:, None] - 1 - np.arange(n)[None, :]
    real = places >= history.indptr[visits.user[chosen]][:, None]
    return np.where(real, places, 0), real


def _warm_up_and_decay(step: int, n_steps: int) -> float:
    rise = max(n_steps // 10, 1)
    return min((step + 1) / rise, max(0.1, 1 - (step - rise) / max(n_steps - rise, 1)))


def _ndcg(scores: Floats, truth: Bools) -> float:
    best, _ = top_k(scores, CHECK_DEPTH)
    hits = np.take_along_axis(truth, np.maximum(best, 0), axis=1) & (best >= 0)
    return float(np.mean(ndcg(hits, truth.sum(axis=1))))
