"""Checkpoints of a text training: weights and optimiser as safetensors, the rest as JSON, whole or not at all.

The folder is named by a digest of everything that decides the training; so a training started again after a kill goes on
where it was, and one with other inputs never finds it. The folder's name and the encoder's digest stand in the file too, so a
checkpoint that was copied or renamed is refused.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from recsys.atomic import replacing
from recsys.errors import ModelError
from recsys.text.workers import workers


class Checkpoint:
    """The checkpoint of one training, written by the main worker alone. `folder` None: only the best weights are kept, in memory.

    encoder: digest of the encoder that the training starts from.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.encoder = folder, ""
        self._best: dict[str, dict[str, Tensor]] = {}

    def keep_best(self, phase: str, parameters: dict[str, Tensor]) -> None:
        """Remember these weights as the best so far."""
        self._best[phase] = {name: p.detach().clone() for name, p in parameters.items()}

    def best(self, phase: str, parameters: dict[str, Tensor]) -> None:
        """Put the best weights back."""
        with torch.no_grad():
            for name, kept in self._best.get(phase, {}).items():
                parameters[name].copy_(kept)

    def save(self, phase: str, parameters: dict[str, Tensor], optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """Write weights, best weights, optimiser moments and the loop's state in one file, atomically."""
        if self.folder is None or not workers().is_main:
            return
        tensors = {f"now/{name}": p.detach() for name, p in parameters.items()}
        tensors |= {f"best/{name}": p for name, p in self._best.get(phase, {}).items()}
        for place, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{place}/{name}": torch.as_tensor(value) for name, value in moments.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = save(
            {name: t.cpu().contiguous().clone() for name, t in tensors.items()}, metadata=self._owner() | {"state": json.dumps(state)}
        )
        with replacing(self.folder / f"{phase}.safetensors") as temporary:
            temporary.write_bytes(whole)

    def load(self, phase: str, parameters: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
        """Restore a phase into `parameters` and `optimizer`; returns the loop's state, or None when there is nothing usable.

        Raises ModelError when the checkpoint is whole but of another training or another encoder.
        """
        path = self.folder / f"{phase}.safetensors" if self.folder else None
        if path is None or not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
                written = file.metadata()
            state: dict[str, Any] = json.loads(written["state"])
        except (SafetensorError, OSError, KeyError, ValueError, TypeError):
            return None
        self._refuse_another(path, written, parameters, tensors)
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(tensors[f"now/{name}"])
        self._best[phase] = {name: tensors[f"best/{name}"] for name in parameters if f"best/{name}" in tensors}
        self._restore(optimizer, tensors)
        return state

    def _owner(self) -> dict[str, str]:
        return {"training": self.folder.name if self.folder else "", "encoder": self.encoder}

    def _refuse_another(self, path: Path, written: dict[str, str], parameters: dict[str, Tensor], found: dict[str, Tensor]) -> None:
        faults = [f"its {key} is {written.get(key)}, not {own}" for key, own in self._owner().items() if written.get(key) != own]
        for name, p in parameters.items():
            kept = found.get(f"now/{name}")
            if kept is None or kept.shape != p.shape:
                faults.append(f"{name} {'is not in it' if kept is None else f'is {tuple(kept.shape)}, not {tuple(p.shape)}'}")
        if faults:
            more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
            raise ModelError(f"{path}: a checkpoint of another training or encoder: {faults[0]}{more}. Remove {path.parent} to start anew.")

    def _restore(self, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith("optimizer/"):
                _, place, name = key.split("/")
                moments.setdefault(int(place), {})[name] = tensor
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})

    def clear(self) -> None:
        """Forget the checkpoint: the training is done."""
        if self.folder and workers().is_main:
            shutil.rmtree(self.folder, ignore_errors=True)
