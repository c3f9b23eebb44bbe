"""Linear layers by oneDNN where PyTorch would take MKL, which leaves half of a processor unused that Intel did not make."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn


@contextmanager
def onednn_linears(model: nn.Module) -> Iterator[None]:
    """Inside the `with`, the float32 linear layers of a model on the CPU run by oneDNN, on weights as they were at its beginning.

    Without gradient only. Where PyTorch has no oneDNN, or autocast is on, nothing changes. Vectors differ by rounding.
    """
    runs = torch.backends.mkldnn.is_available() and not torch.is_autocast_enabled("cpu")
    layers = [module for module in model.modules() if runs and _is_plain(module)]
    for layer in layers:
        layer.forward = partial(_forward, torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach()), layer.bias)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _is_plain(module: nn.Module) -> bool:
    return type(module) is nn.Linear and module.weight.device.type == "cpu" and module.weight.dtype == torch.float32


def _forward(weight: Tensor, bias: Tensor | None, states: Tensor) -> Tensor:
    # The operator that torch.compile emits for a linear layer of fixed weights; it has no public name.
    return torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
