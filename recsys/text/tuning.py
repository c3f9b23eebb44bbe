"""Ways to fine-tune an encoder: all of it, its last layers, or a small adapter of the library `peft` around it.

| tune | trained | how it is kept |
| --- | --- | --- |
| full | every weight, word embeddings too | as the encoder |
| layers | the last `train_layers` layers; the outputs of those below are kept (`Inputs.states`) | as the encoder |
| lora | W + s B A with B, A of rank r beside each query and value matrix W (Hu et al. 2021) | merged into W |
| adalora | W + s P L Q, L diagonal; the least important ranks are cut as it goes (Zhang et al. 2023) | merged into W |
| prefix | keys and values of p tokens put before every text in every layer (Li and Liang 2021) | as it is, beside the encoder |
| none | nothing | |
"""

import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recsys.config import Text
from recsys.errors import ModelError

PREFIXABLE = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
"""Architectures whose attention takes keys and values from outside; mpnet, albert, modernbert, distilbert, deberta do not."""

QUERY_AND_VALUE = (("query", "value"), ("q_proj", "v_proj"), ("q_lin", "v_lin"), ("query_proj", "value_proj"), ("q", "v"), ("Wqkv",))
"""What the architectures call the matrices that LoRA adapts."""

LORA_SCALE = 2.0
"""s of the table: what a unit of the low-rank product counts, whatever the rank."""

ORTHOGONALITY = 0.5
"""Weight of AdaLoRA's penalty, the mean over all P and Q of ||P'P - I|| (Frobenius); peft's default."""

PREFIX_START = 0.02
"""Standard deviation of a prefix at its start: peft's own 1.0 drowns the text, and equal rows would never part."""


@dataclass(frozen=True)
class Way:
    """How an encoder is tuned, and how it counts; the keys of `[text]` of the same names."""

    tune: Literal["full", "layers", "lora", "adalora", "prefix", "none"] = "layers"
    lora_rank: int = 8
    prefix_tokens: int = 8
    gradient_checkpointing: bool = False
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    @classmethod
    def of(cls, text: Text) -> "Way":
        """The way that a config names; without joint steps nothing of the encoder is trained."""
        tune = text.tune if text.steps else "none"
        return cls(tune, text.lora_rank, text.prefix_tokens, text.gradient_checkpointing, text.precision)

    def counts_in_bf16(self, device: torch.device) -> bool:
        """Are matrix products rounded to bfloat16: where asked for, and by itself on a GPU that has it (a CPU is slower with it)."""
        has_it = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return self.precision == "bf16" or (self.precision == "auto" and has_it)


class Lora:
    """LoRA on the query and value matrices of `model`, which it changes in place: at its start the outputs are the same."""

    def __init__(self, model: Any, way: Way, total_steps: int) -> None:
        """Raises ModelError where peft is not there or the model has no such matrices."""
        self.model, self.way = model, way
        matrices = _query_and_value(model, way.tune)
        with _quiet():
            self.wrapped = _peft(way.tune).get_peft_model(model, self._settings(matrices, total_steps))

    def _settings(self, matrices: list[str], total_steps: int) -> Any:
        rank = self.way.lora_rank
        return _peft("lora").LoraConfig(
            task_type="FEATURE_EXTRACTION", r=rank, lora_alpha=LORA_SCALE * rank, lora_dropout=0.0, target_modules=matrices
        )

    def named_parameters(self) -> dict[str, Tensor]:
        """The trained parameters by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def running(self) -> dict[str, Tensor]:
        """What else changes from step to step, by name, the same tensors each time: a checkpoint must hold it."""
        return {}

    def penalty(self) -> Tensor | None:
        """A scalar with gradient that is added to the loss of a step, or None."""
        return None

    def after_step(self, step: int) -> None:
        """Told after the optimiser's step number `step`, from 1, while the gradients are still there."""

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states (n, l, hidden) of token ids (n, l) under a bool mask (n, l)."""
        with _quiet():
            return self.wrapped(input_ids=ids, attention_mask=mask.long()).last_hidden_state

    def merged(self) -> Any:
        """The model with the adapter added into its matrices: of the class it had before."""
        return self.wrapped.merge_and_unload()


class AdaLora(Lora):
    """AdaLoRA: starts with half as many ranks again as `lora_rank` a matrix and cuts, over all matrices, to that mean.

    The first tenth of the steps cuts nothing, the last third trains what is left.
    """

    def __init__(self, model: Any, way: Way, total_steps: int) -> None:
        super().__init__(model, way, total_steps)
        for name, p in model.named_parameters():
            if ".ranknum." in name:  # a count: peft makes it trainable when it moves it to another device
                p.requires_grad_(False)
        self._running: dict[str, Tensor] = {}
        for name, p in self.named_parameters().items():
            self._running |= {f"sensitivity.{name}": torch.zeros_like(p), f"uncertainty.{name}": torch.zeros_like(p)}
            if ".lora_E." in name:
                self._running[f"left.{name}"] = torch.ones_like(p)

    def _settings(self, matrices: list[str], total_steps: int) -> Any:
        first = max(self.way.lora_rank * 3 // 2, self.way.lora_rank + 1)
        return _peft("adalora").AdaLoraConfig(
            task_type="FEATURE_EXTRACTION",
            init_r=first,
            target_r=self.way.lora_rank,
            lora_alpha=LORA_SCALE * first,
            lora_dropout=0.0,
            tinit=total_steps // 10,
            tfinal=total_steps // 3,
            total_step=total_steps,
            target_modules=matrices,
        )

    def running(self) -> dict[str, Tensor]:
        """The smoothed importance of every weight, its uncertainty, and which ranks are left (1.0, else 0.0)."""
        return self._running

    def penalty(self) -> Tensor | None:
        """ORTHOGONALITY times the mean of ||P'P - I||: ranks can only be weighed against each other when they are orthogonal."""
        norms = []
        for name, p in self.named_parameters().items():
            if ".lora_E." not in name:
                gram = p @ p.T if ".lora_A." in name else p.T @ p
                norms.append(torch.linalg.norm(gram - torch.eye(len(gram), device=p.device)))
        return ORTHOGONALITY * torch.stack(norms).mean()

    def after_step(self, step: int) -> None:
        """Weigh the ranks and cut to the budget of this step."""
        # peft keeps its figures in dicts of its own; ours go in and come out, so that a resumed training has them too.
        allocator, settings = self.wrapped.base_model.rankallocator, self.wrapped.peft_config["default"]
        own = {"sensitivity": allocator.exp_avg_ipt, "uncertainty": allocator.exp_avg_unc}
        names = list(self.named_parameters())
        for name in names:
            allocator.ipt[name] = torch.zeros(())
            for kind, kept in own.items():
                kept[name] = self._running[f"{kind}.{name}"].clone()
        settings.rank_pattern = {name: self._left(name).bool().flatten().tolist() for name in names if ".lora_E." in name}
        self.wrapped.base_model.update_and_allocate(step)
        for name, left in settings.rank_pattern.items():
            self._left(name).copy_(torch.tensor(left)[:, None])
        for kind, name in ((kind, name) for kind in own for name in names):
            after = getattr(allocator, {"sensitivity": "exp_avg_ipt", "uncertainty": "exp_avg_unc"}[kind])
            if name in after:  # emptied once the budget is reached
                self._running[f"{kind}.{name}"].copy_(after[name])

    def _left(self, name: str) -> Tensor:
        return self._running[f"left.{name}"]


class Prefix(Lora):
    """Prefix tuning: the model itself is not touched. `folder`: one that `save` wrote, else a new prefix of small random numbers."""

    def __init__(self, model: Any, way: Way, folder: Path | None = None) -> None:
        """Raises ModelError where peft is not there, the model takes no prefix, or the folder does not hold one that fits."""
        self.model, self.way = model, way
        peft, kind = _peft("prefix"), model.config.model_type
        if kind not in PREFIXABLE:
            raise ModelError(
                f'text.tune = "prefix": an encoder of type {kind!r} takes no prefix; those that do: {", ".join(PREFIXABLE)}. '
                'Set text.tune = "lora", "layers" or "full".'
            )
        with _quiet():
            self.wrapped = _read_prefix(peft, model, folder) if folder else self._new(peft)

    def _new(self, peft: Any) -> Any:
        wrapped = peft.get_peft_model(
            self.model, peft.PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=self.way.prefix_tokens)
        )
        nn.init.normal_(wrapped.prompt_encoder["default"].embedding.weight, std=PREFIX_START)
        return wrapped.eval()

    @property
    def tokens(self) -> int:
        """Positions that the prefix takes before a text."""
        return int(self.wrapped.peft_config["default"].num_virtual_tokens)

    def named_parameters(self) -> dict[str, Tensor]:
        """The prefix (tokens, layers * 2 * hidden) by name."""
        return {"prefix": self.wrapped.prompt_encoder["default"].embedding.weight}

    def save(self, folder: Path) -> None:
        """Write the prefix in peft's own format into `folder`."""
        self.wrapped.peft_config["default"].base_model_name_or_path = "encoder"  # else a path of this machine
        self.wrapped.save_pretrained(folder, save_embedding_layers=False)  # else it asks the hub about the vocabulary
        (folder / "README.md").unlink(missing_ok=True)  # an empty model card


def adapter(model: Any, way: Way, total_steps: int) -> Lora | None:
    """The adapter of a way around `model`, drawn with torch's generator; None for the ways that train weights of the model itself."""
    if way.tune == "prefix":
        return Prefix(model, way)
    kinds = {"lora": Lora, "adalora": AdaLora}
    return kinds[way.tune](model, way, total_steps) if way.tune in kinds else None


def recompute(layers: nn.ModuleList) -> None:
    """Gradient checkpointing (Chen et al. 2016): keep a layer's input alone, run the layer again in the backward pass.

    Done here, because the library does it only for a model in training mode, that is with dropout.
    """
    for layer in layers:
        if "forward" not in vars(layer):  # else it does so already
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


def _query_and_value(model: Any, tune: str) -> list[str]:
    linear = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    for names in QUERY_AND_VALUE:
        if linear.issuperset(names):
            return list(names)
    raise ModelError(
        f'text.tune = "{tune}": an encoder of type {model.config.model_type!r} has no query and value matrices that it could adapt. '
        'Set text.tune = "layers" or "full".'
    )


def _read_prefix(peft: Any, model: Any, folder: Path) -> Any:
    try:
        return peft.PeftModel.from_pretrained(model, folder).eval()
    except (
        Exception
    ) as error:  # peft raises OSError, ValueError, KeyError, RuntimeError, SafetensorError ... for a folder that does not fit
        raise ModelError(f"{folder}: the prefix of the encoder cannot be loaded ({str(error).strip()[:200]}). Train again.") from None


def _peft(tune: str) -> Any:
    try:
        with _quiet():
            import peft
    except ImportError:
        raise ModelError(
            f"An encoder of text.tune = \"{tune}\" needs the library peft, which is not installed. `pip install 'recsys[peft]'`."
        ) from None
    return peft


def _quiet() -> Any:
    # peft 0.21 still says `past_key_values` and `is_gradient_checkpointing`, which transformers renamed.
    return warnings.catch_warnings(action="ignore", category=FutureWarning)
