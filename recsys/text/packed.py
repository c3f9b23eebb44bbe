"""Texts through a BERT-like encoder without padding: the tokens of a batch are one row, and attention stays within each text.

Everything but attention works token by token, so a row of many texts costs what its real tokens cost. transformers takes the
attention from its registry of implementations; here it is one that knows where each text begins and ends.
"""

from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

FIRST_POSITION = {"bert": 0, "electra": 0, "roberta": 1, "xlm-roberta": 1, "camembert": 1}
"""Architectures that can be packed: 0 where positions count from 0, 1 where they begin after the padding's own."""

NAME = "within_texts"


def packs(model: nn.Module) -> bool:
    """Can this model take packed texts."""
    config = model.config
    return config.model_type in FIRST_POSITION and getattr(config, "position_embedding_type", "absolute") == "absolute"


def packed_states(model: nn.Module, ids: Tensor, lengths: NDArray[np.int64]) -> Tensor:
    """Last states (n_tokens, hidden) of texts whose token ids (n_tokens,) int64 follow one another; lengths (n_texts,), none is 0."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, within_texts)
    config = model.config
    first = FIRST_POSITION[config.model_type] * ((config.pad_token_id or 0) + 1)
    positions = torch.from_numpy(np.concatenate([np.arange(first, first + n) for n in lengths])).to(ids.device)
    before, config._attn_implementation = config._attn_implementation, NAME
    try:
        return model(input_ids=ids[None], position_ids=positions[None], text_lengths=lengths.tolist()).last_hidden_state[0]
    finally:
        config._attn_implementation = before


def within_texts(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    text_lengths: list[int],
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of query, key, value (1, heads, n_tokens, size) within each text, (1, n_tokens, heads, size); no mask is looked at.

    On a GPU that flash attention runs on, in half precision, it is PyTorch's `varlen_attn` (not measured: no GPU was at hand);
    elsewhere one scaled dot product for each run of texts of one length, so sorted texts are quickest.
    """
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and torch.cuda.get_device_capability(query.device) >= (8, 0):
        return _flash(query, key, value, scaling, text_lengths), None
    parts, start = [], 0
    for length, run in groupby(text_lengths):
        stop = start + length * len(list(run))
        blocks = (t[0, :, start:stop].unflatten(1, (-1, length)).transpose(0, 1) for t in (query, key, value))
        parts.append(nn.functional.scaled_dot_product_attention(*blocks, scale=scaling).transpose(1, 2).flatten(0, 1))
        start = stop
    return torch.cat(parts)[None], None


def _flash(query: Tensor, key: Tensor, value: Tensor, scaling: float, text_lengths: list[int]) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    bounds = torch.tensor([0, *np.cumsum(text_lengths)], dtype=torch.int32, device=query.device)
    rows = (t[0].transpose(0, 1).contiguous() for t in (query, key, value))
    return varlen_attn(*rows, bounds, bounds, max(text_lengths), max(text_lengths), scale=scaling)[None]
