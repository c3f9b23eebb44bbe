"""Fine-tuning the interest model on visits, or on what was shown, in three phases.

1. *warm*: the tower learns over the frozen encoder's vectors: a matrix product a step.
2. *joint*: the tower goes on, and every `push_steps` user-side steps the gradient collected with respect to the items' vectors
   is pushed through the encoder, each item once whatever the number of events that named it (`GradientBank`).
3. *blend*: a second tower starts as the first and gets a vector of its own for every item that was liked, added to its text. In each
   step an item loses that vector with the chance `id_dropout` (Volkovs, Yu and Poutanen 2017, DropoutNet), so that the tower learns
   to do without: an item it never met is scored by its text.

A fitted model is kept fresh by `refresh`: a few more steps of its towers on a history that has grown, over the encoder as it is.

What a step asks and what the answers cost is the business of `steps` and `losses`: by `text.loss` a softmax over the whole catalogue
where it has at most `negatives` items, and over the step's items with log Q correction above; or a loss over impression lists.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from recsys.blocks import Bools, Floats, History, Index
from recsys.config import Text
from recsys.errors import ModelError
from recsys.text.bank import GradientBank
from recsys.text.checkpoint import Checkpoint
from recsys.text.encoder import Encoder, Progress
from recsys.text.fitted import Fitted, OnCheck, Question, check_ndcg
from recsys.text.inputs import Inputs
from recsys.text.model import InterestModel, id_vectors
from recsys.text.past import past_of
from recsys.text.rates import TOWER_RATE, warm_up_and_decay
from recsys.text.shown import Shown
from recsys.text.signals import liked_rows
from recsys.text.steps import Asked, ListSteps, Moments, VisitSteps
from recsys.text.tower import Tower
from recsys.text.workers import workers

State = dict[str, Any]
Pooled = Callable[[NDArray[np.int64]], Tensor]
"""Pooled vectors (n, hidden) of items by their rows (n,)."""

CHECK_STEPS = 50


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
        disliked: sparse.csr_array | None = None,
        shown: Shown | None = None,
        sale_days: Floats | None = None,
    ) -> None:
        """Inputs, pooled (n_items, hidden) from the frozen encoder and text_group (n_items,), 0 for no text, are rows of the catalogue.

        disliked (n_users, n_items) bool (none where it is not given) and the impression lists `shown`, which a `text.loss` over them
        needs, are of the users of the history. sale_days (n_items, 2): `Catalogue.sale_days` as of the history's moment.
        """
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)  # gathers are summed in the backward pass; their order must not depend on threads
        self.model = InterestModel(encoder, Tower(encoder.hidden, config.dim, config.interests), config.history)
        self.has_text = text_group > 0
        self.bank = GradientBank(encoder, inputs, pooled, np.flatnonzero(self.has_text), config.push_items, seed)
        self.history, self.config, self.seed, self.question = history, config, seed, question
        self.chosen, self.checkpoint, self.progress = chosen, checkpoint, progress
        self.tower, self.usable = self.model.tower, self.has_text
        self.disliked = sparse.csr_array((history.n_users, len(text_group)), dtype=bool) if disliked is None else disliked
        self.shown, self.sale_days = shown, sale_days
        # An item without text is alike to none but itself.
        self.text_group = np.where(self.has_text, text_group, text_group.max(initial=0) + 1 + np.arange(len(text_group)))
        self.warm = np.unique(history.item_index[liked_rows(history, self.disliked) & (history.weight > 0)]).astype(np.int64)
        self.bias = torch.nn.Parameter(torch.zeros(()))
        self.steps = self._steps()
        self.id_row = np.full(len(text_group), -1)
        self.result = Fitted()
        self.on_check: OnCheck = lambda row: None
        with torch.no_grad():
            start = torch.nn.functional.normalize(self.bank.vectors, dim=-1)[torch.from_numpy(self.has_text)]
            if len(start):
                self.model.tower.newcomer.copy_(self.model.tower.projection(start.mean(dim=0)))
        self.checkpoint.encoder = encoder.digest()

    def run(self) -> tuple[InterestModel, Fitted]:
        """Train and return the model at its best check. A loss that is no number ends a phase there (`Fitted.stopped` says where)."""
        config = self.config
        stop = self.chosen or Fitted(config.warm_steps, config.steps, config.blend_steps)
        if self.can_learn:
            self.model.encoder.begin(config.steps)
            self._begin_bias()
            self.result.warm_steps = self._phase("warm", stop.warm_steps, config.warm_steps, CHECK_STEPS)
            if self.model.encoder.parameters():
                self.result.steps = self._phase("joint", stop.steps, config.steps, config.check_steps)
            if config.blend_steps:
                begun = time.perf_counter()
                self.result.blend_steps = self._blend(stop.blend_steps)
                self.result.blend_seconds = time.perf_counter() - begun
        return self.model, self.result

    def refresh(self, model: InterestModel, fitted: Fitted, item_ids: pl.Series) -> InterestModel:
        """`text.refresh_steps` more steps of a fitted model's towers, each, on this training's history; what gave `pooled` stays.

        fitted: what was chosen; a tower of which no step was worth keeping does not go on either. item_ids: of the catalogue. The
        blend knows every item liked by now; the id of one that it did not know starts at zero.
        """
        n_steps = self.config.refresh_steps
        if not (n_steps and self.can_learn and fitted.warm_steps + fitted.steps):
            return model
        self._begin_bias()
        self.tower.load_state_dict(model.tower.state_dict())
        self._phase("refresh", n_steps, n_steps, n_steps)
        if model.blend and fitted.blend_steps:
            known = id_vectors(model.blend, model.id_row(item_ids)[self.warm]).detach()
            self._begin_blend(model.blend.state_dict() | {"ids": known})
            self._phase("refresh", n_steps, n_steps, n_steps)
        elif model.blend:
            self._begin_blend(self._without_ids())
        known_ids = tuple(item_ids.gather(self.warm))
        return replace(model, tower=self.model.tower, blend=self.model.blend, known=known_ids)

    @property
    def can_learn(self) -> bool:
        """Is there anything to ask, and more than one text to tell apart."""
        return bool(len(self.steps)) and len(np.unique(self.text_group[self.has_text])) > 1

    def judged(self) -> float | None:
        """ndcg at CHECK_DEPTH by the text alone as it stands, on the text window's own validation; None where there is none."""
        return self._validate(blended=False) if self.question else None

    def adopt(self, encoder: Encoder) -> None:
        """Put another encoder of the same width under the towers; every vector is made anew."""
        self.model = replace(self.model, encoder=encoder)
        # States that were kept are of the other encoder's layers.
        self.bank.encoder, self.bank.inputs = encoder, replace(self.bank.inputs, states=None)
        self.bank.renew_all(self.progress)

    def _blend(self, n_steps: int) -> int:
        self._begin_blend(self._without_ids())
        return self._phase("blend", n_steps, self.config.blend_steps, CHECK_STEPS)

    def _without_ids(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.model.tower.state_dict()
        return state | {"ids": torch.zeros(len(self.warm), self.model.tower.dim)}

    def _begin_blend(self, state: dict[str, Tensor]) -> None:
        self.tower = Tower(self.model.encoder.hidden, self.config.dim, self.config.interests, len(self.warm))
        self.tower.load_state_dict(state)
        self.id_row[self.warm] = np.arange(len(self.warm))
        self.usable = self.has_text | (self.id_row >= 0)
        self.steps = self._steps()
        self.model = replace(self.model, blend=self.tower)

    def _steps(self) -> VisitSteps | ListSteps:
        if self.config.loss == "softmax":
            return VisitSteps(self.history, self.usable, self.text_group, self.disliked, self.config, self.seed, self.sale_days)
        assert self.shown is not None
        return ListSteps(self.history, self.usable, self.shown, self.bias, self.config, self.seed)

    def _begin_bias(self) -> None:
        """With it the first scores say on average what is known without a model: how seldom what is shown is chosen."""
        if self.config.loss == "pointwise":
            assert isinstance(self.steps, ListSteps)
            with torch.no_grad():
                self.bias.copy_(self.steps.log_odds - self._scores(self.steps.asked(0), self._at_hand, self._kept_ids(0)).mean())

    @property
    def pooled(self) -> Floats:
        """Pooled vectors (n_items, hidden) float32 of the catalogue by the encoder as it is."""
        pooled: Floats = self.bank.vectors.numpy()
        return pooled

    def _phase(self, phase: str, n_steps: int, schedule: int, check_steps: int) -> int:
        """Run one phase to `n_steps` of a learning rate schedule; leaves the best weights in place and returns the step they were at."""
        config = self.config
        parameters = self._parameters(phase)
        optimizer = torch.optim.AdamW(self._groups(phase), weight_decay=0.01)
        state = self.checkpoint.load(phase, parameters | self._waiting(phase), optimizer)
        workers().wait()  # one that comes late would find what the main worker writes in this phase
        if phase == "joint" and (state or self.model.encoder.starts_elsewhere):
            self.bank.renew_all(self.progress)
        if not state:
            state = {"step": 0, "best": -1.0, "best_step": 0, "bad": 0, "curve": []}
            self._check(phase, float("nan"), state, parameters, optimizer)
        losses: list[float] = []
        while state["step"] < n_steps and state["bad"] < config.patience:
            number = state["step"]
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * warm_up_and_decay(number, schedule)
            losses.append(self._joint_step(optimizer, number) if phase == "joint" else self._user_step(optimizer, number))
            if not np.isfinite(losses[-1]):
                self._stop(phase, number, state["best_step"])
                break
            state["step"] = number + 1
            self.progress(f"text: {phase}", number, n_steps)
            if state["step"] % check_steps == 0 or state["step"] == n_steps:
                self._check(phase, float(np.mean(losses)), state, parameters, optimizer)
                losses = []
        self.progress(f"text: {phase}", n_steps, n_steps)
        self.checkpoint.best(phase, parameters)
        self.result.curve += state["curve"]
        if phase == "joint":
            self.model.encoder.finish()
            self.bank.renew_all(self.progress)
        return int(state["best_step"])

    def _stop(self, phase: str, number: int, best_step: int) -> None:
        if not np.isfinite(self.pooled[self.has_text]).all() and number == 0:
            raise ModelError(
                "text training: the encoder gives vectors that are not numbers. Its weights are broken: give another text.encoder."
            )
        self.result.stopped = (
            f"{phase} step {number} of {self.config.queries} queries: the loss or its gradient is not a number; "
            f"the weights of {phase} step {best_step} are kept. Lower text.learning_rate or text.tower_learning_rate."
        )

    def _parameters(self, phase: str) -> dict[str, Tensor]:
        named = {f"tower.{name}": p for name, p in self.tower.named_parameters()}
        if self.config.loss == "pointwise":
            named["bias"] = self.bias
        if phase == "joint":
            encoder = self.model.encoder
            named |= {f"encoder.{name}": tensor for name, tensor in (encoder.named_parameters() | encoder.running()).items()}
        return named

    def _waiting(self, phase: str) -> dict[str, Tensor]:
        return {"gradient": self.bank.gradient} if phase == "joint" else {}

    def _groups(self, phase: str) -> list[dict[str, object]]:
        peak = self.config.tower_learning_rate * TOWER_RATE[phase]
        learned = [*self.tower.parameters()] + [self.bias] * (self.config.loss == "pointwise")
        groups: list[dict[str, object]] = [{"params": learned, "peak": peak}]
        if phase == "joint":
            named = self.model.encoder.named_parameters()
            words = [name for name in named if name.startswith("embeddings.")]
            groups.append({"params": [p for name, p in named.items() if name not in words], "peak": self.config.learning_rate})
            groups.append({"params": [named[name] for name in words], "peak": self.config.embedding_learning_rate})
        return groups

    def _at_hand(self, rows: NDArray[np.int64]) -> Tensor:
        return self.bank.vectors[torch.from_numpy(rows)]

    def _user_step(self, optimizer: torch.optim.Optimizer, number: int, collect: bool = False) -> float:
        """One step of the tower over the vectors at hand; the gradient with respect to them is collected, if asked for."""
        optimizer.zero_grad(set_to_none=True)
        leaves: list[tuple[Tensor, Tensor]] = []

        def at_hand(rows: NDArray[np.int64]) -> Tensor:
            leaves.append((torch.from_numpy(rows), self._at_hand(rows).requires_grad_(collect)))
            return leaves[0][1]

        loss = self._loss(self.steps.asked(number, self._cosines if collect else None), at_hand, self._kept_ids(number))
        if torch.isfinite(loss):
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.tower.parameters(), 1.0)
            optimizer.step()
            if collect:
                self.bank.collect(leaves[0][0], leaves[0][1].grad)
        return float(loss.detach())

    def _joint_step(self, optimizer: torch.optim.Optimizer, number: int) -> float:
        """`push_steps` user-side steps, then one step of the encoder by the gradient of the items whose turn it is."""
        first = number * self.config.push_steps
        losses = [self._user_step(optimizer, first + n, collect=True) for n in range(self.config.push_steps)]
        if np.isfinite(losses).all():
            optimizer.zero_grad(set_to_none=True)
            self.bank.push(self.bank.turn(number))
            length = torch.nn.utils.clip_grad_norm_(self.model.encoder.parameters(), 1.0)
            if not torch.isfinite(length):
                return float("nan")
            optimizer.step()
            self.model.encoder.after_step(number + 1)
        return float(np.mean(losses))

    def _kept_ids(self, number: int) -> Bools:
        """(n_items,): which items have the vector of their id in step `number`."""
        if not self.tower.n_ids:
            return np.zeros(len(self.id_row), bool)
        kept = np.random.default_rng([self.seed, number, 3]).random(len(self.id_row)) >= self.config.id_dropout
        return kept & (self.id_row >= 0)

    def _loss(self, asked: Asked, pooled: Pooled, kept_ids: Bools) -> Tensor:
        """The loss of a step, given the pooled vectors of the items it needs."""
        return asked.loss(self._scores(asked, pooled, kept_ids))

    def _scores(self, asked: Asked, pooled: Pooled, kept_ids: Bools) -> Tensor:
        """(b, s): the scores that a step asks for."""
        users, items = self._sides(asked.moments, asked.items, pooled, kept_ids)
        return self.tower.score(users, items)

    def _cosines(self, moments: Moments) -> Tensor:
        """(b, n_items): how near the whole catalogue is to users at moments, by their texts, without gradient."""
        with torch.no_grad():
            rows = np.arange(len(self.usable))
            users, items = self._sides(moments, rows.astype(np.int32), self._at_hand, np.zeros(len(rows), bool))
            return (users @ items.T).amax(dim=1)

    def _sides(self, moments: Moments, wanted: Index, pooled: Pooled, kept_ids: Bools) -> tuple[Tensor, Tensor]:
        """Unit vectors (b, interests, dim) of users at moments and (s, dim) of the wanted items (s,), by the tower of the phase."""
        n_items, tower = len(self.usable), self.tower
        past = past_of(self.history, moments.user, moments.start, moments.now, self.config.history, n_items)
        needed = np.unique(np.concatenate([past.item[past.real], past.older.indices, wanted])).astype(np.int64)
        place = np.zeros(n_items, np.int64)
        place[needed] = np.arange(len(needed))
        of_id = id_vectors(tower, np.where(kept_ids, self.id_row, -1)[needed]) if tower.n_ids else None
        vectors = tower.items(pooled(needed) * torch.from_numpy(self.has_text[needed])[:, None], of_id)
        older = sparse.csr_array((past.older.data, place[past.older.indices], past.older.indptr), shape=(len(moments.now), len(needed)))
        # The summary is a mean over what may be a thousand items: their share of its gradient is not worth its cost.
        summary = torch.from_numpy(older @ vectors.detach().numpy())
        users = tower.users(vectors[torch.from_numpy(place[past.item])], past, summary)
        return users, vectors[torch.from_numpy(place[wanted])]

    def _check(self, phase: str, loss: float, state: State, parameters: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        if phase == "joint" and state["step"]:
            self.bank.renew_all(self.progress)
        figure = workers().of_main(self._validate(phase == "blend") if self.question else float(state["step"]))
        if figure > state["best"]:
            state |= {"best": figure, "best_step": state["step"], "bad": 0}
            self.checkpoint.keep_best(phase, parameters)
        else:
            state["bad"] += 1
        ndcg_here = figure if self.question else None
        state["curve"].append({"phase": phase, "step": state["step"], "loss": None if np.isnan(loss) else loss, "ndcg": ndcg_here})
        self.checkpoint.save(phase, parameters | self._waiting(phase), optimizer, state)
        self.on_check(state["curve"][-1])

    def _validate(self, blended: bool) -> float:
        assert self.question is not None
        vectors = self.model.item_vectors(self.pooled, self.has_text, self.id_row if blended else None)
        scores = (self.model.user_vectors(self.question.history, vectors, blended) @ vectors.T).max(axis=1)
        shown = self.question.shown & (self.usable if blended else self.has_text)
        return check_ndcg(np.where(shown, scores, -np.inf).astype(np.float32), self.question.truth)
