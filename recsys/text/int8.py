"""An encoder in 8-bit integers, run by ONNX Runtime: faster than float32, at a small loss that benchmarks/encoding.py measures.

A linear layer multiplies integers: x (a row of states) is round(x / s) with s = max|x| / 127, a column w of the weights is
round(w / t) with t = max|w| / 63, and the product of the two, a sum of integers, is multiplied by s t. ONNX Runtime's own
dynamic quantisation takes one s for a whole batch, so that a text's vector would depend on the texts beside it (by as much as
the error itself, measured); here a row has its own.
"""

import importlib
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recsys.errors import ModelError

WEIGHT_STEPS = 63
"""7 bits: on AVX2 two products of 8 by 8 bits overflow their 16-bit sum without a word."""

LINEAR = """
<domain: "recsys", opset_import: ["" : 17, "com.microsoft" : 1]>
linear_int8 (x, weight, weight_step) => (y)
{
  zero = Constant <value = uint8 {128}> ()
  one = Constant <value = float {1.0}> ()
  least = Constant <value = float {1e-12}> ()
  steps = Constant <value = float {127.0}> ()
  size = Abs (x)
  largest = ReduceMax <axes = [-1], keepdims = 1> (size)
  wide = Div (largest, steps)
  step = Max (wide, least)
  scaled = Div (x, step)
  rounded = QuantizeLinear (scaled, one, zero)
  by_column = com.microsoft.MatMulIntegerToFloat (rounded, weight, one, weight_step, zero)
  y = Mul (by_column, step)
}
"""
"""x (..., k) float32, weight (k, n) int8, weight_step (n,) float32: y (..., n) float32.

The product with its factors by column is one operator of ONNX Runtime's own, in place of three passes over y.
"""


def require_onnx() -> None:
    """Raise ModelError where onnx or onnxruntime is not installed."""
    missing = [name for name in ("onnx", "onnxruntime") if not _is_there(name)]
    if missing:
        raise ModelError(
            f'text.scoring = "int8" needs {" and ".join(missing)}, not installed here. '
            "`pip install 'recsys[onnx]'`, or set text.scoring = \"float32\"."
        )


def _is_there(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


class Int8:
    """The last states of an encoder in int8; `onnx_bytes` is the whole model. Products are exact: machines differ by float rounding."""

    def __init__(self, onnx_bytes: bytes) -> None:
        """Raises ModelError where the bytes are no model, or onnxruntime is not installed."""
        require_onnx()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a class of its own for each kind of fault
            reason = str(error).strip().split("\n")[0][:200]
            raise ModelError(f"the int8 model cannot be loaded: {reason}. Train again with `recsys train`.") from None
        self.onnx_bytes = onnx_bytes

    @classmethod
    def of(cls, model: nn.Module) -> "Int8":
        """The int8 form of a Hugging Face encoder. Raises ModelError where it cannot be exported."""
        require_onnx()
        import onnx

        with TemporaryDirectory() as folder:
            exported = _export(model, Path(folder) / "model.onnx")
        return cls(onnx.ModelProto.SerializeToString(_quantised(exported), deterministic=True))

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Last states (n, length, hidden) float32 of padded token ids (n, length) int64 and their mask (n, length) bool."""
        given = {"ids": ids.cpu().numpy(), "mask": mask.cpu().numpy().astype(np.int64)}
        return torch.from_numpy(self._session.run(["states"], given)[0]).to(ids.device)


class _Exported(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.model(input_ids=ids, attention_mask=mask).last_hidden_state


def _export(model: nn.Module, path: Path) -> Any:
    import onnx

    ids = torch.ones((2, 4), dtype=torch.int64, device=model.device)
    axes = {name: {0: "text", 1: "token"} for name in ("ids", "mask", "states")}
    config = model.config
    # What sdpa is exported to looks for NaN in every layer's attention: a third of the time of long texts.
    before, config._attn_implementation = config._attn_implementation, "eager"
    try:
        with warnings.catch_warnings():
            # The tracing exporter is deprecated, and warns of what it holds for constant; its rival needs one more library.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _Exported(model).eval(),  # the exporter puts the mode that it finds here back into all of the model
                (ids, torch.ones_like(ids)),
                path,
                input_names=["ids", "mask"],
                output_names=["states"],
                dynamic_axes=axes,
                opset_version=17,
                dynamo=False,
            )
    except Exception as error:  # whatever the tracing of a foreign architecture raises
        reason = str(error).strip().split("\n")[0][:200]
        raise ModelError(
            f'text.scoring: this encoder cannot be exported to ONNX: {reason}. Set text.scoring = "float32", or take another text.encoder.'
        ) from None
    finally:
        config._attn_implementation = before
    exported = onnx.load(path)
    _check(model, exported)
    return exported


def _check(model: nn.Module, exported: Any) -> None:
    """Raise ModelError where a padded batch of another shape than the traced one has other states than those of the model."""
    ids = torch.arange(27, device=model.device).reshape(3, 9) % 4  # of the smallest vocabulary there is
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[0, 5:] = False
    with torch.inference_mode():
        expected = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state[mask]
    found = Int8(exported.SerializeToString()).states(ids, mask)[mask]
    if not torch.allclose(found, expected, atol=1e-3, rtol=1e-3):
        off = float((found - expected).abs().max())
        raise ModelError(
            f"text.scoring: the ONNX export of this encoder gives other states, off by up to {off:.2g}. "
            'Set text.scoring = "float32", or take another text.encoder.'
        )


def _quantised(model: Any) -> Any:
    from onnx import helper, numpy_helper, parser

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            continue
        name = node.input[1]
        if f"{name}.int8" not in weights:
            rounded, step = _rounded(numpy_helper.to_array(weights[name]))
            made = (numpy_helper.from_array(rounded, f"{name}.int8"), numpy_helper.from_array(step, f"{name}.step"))
            model.graph.initializer.extend(made)
            weights |= {tensor.name: tensor for tensor in made}
        node.op_type, node.domain = "linear_int8", "recsys"
        del node.input[1:]
        node.input.extend([f"{name}.int8", f"{name}.step"])
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.functions.append(parser.parse_function(LINEAR))
    model.opset_import.extend([helper.make_opsetid("recsys", 1), helper.make_opsetid("com.microsoft", 1)])
    return model


def _rounded(weight: Any) -> tuple[Any, Any]:
    """weight (k, n) as int8 (k, n) and the step (n,) float32 of each column."""
    step = np.maximum(np.abs(weight).max(axis=0) / WEIGHT_STEPS, 1e-12).astype(np.float32)
    return np.rint(weight / step).astype(np.int8), step
