"""Calls of the attention by a model of transformers, as calls of `regard.attention`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from regard.attend import Causal, Dot, Dropout, Look, Mask, Score, Softcap, Softmax, attention
from regard.integrations.transformers.visibility import Visibility

HARMLESS = frozenset(
    {
        "cache_position", "deterministic", "labels", "logits_to_keep", "num_items_in_batch", "output_attentions",
        "output_hidden_states", "output_router_logits", "position_ids", "return_dict", "use_cache",
    }
)  # fmt: skip
"""Arguments of models that reach the attention and have no influence on it."""


class Tally:
    """Counts calls, except in compiled graphs.

    Attributes:
        calls: since the start of the program.
    """

    calls = 0


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Visibility | Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """The attention function of transformers' ``AttentionInterface``.

    Args:
        module: the layer that calls it.
        query: ``(B, H, Lq, E)``.
        key: ``(B, Hk, Lk, E)``.
        value: ``(B, Hk, Lk, Ev)``.
        attention_mask: what the mask function returned; or boolean, True where a query may attend, or a number that is
            added to each score, which broadcast to ``(B, H, Lq, n)`` with n ≥ Lk; None: causal if `is_causal` says so.
        dropout: probability, on the weights.
        scaling: of the scores; by default ``E ** −½``.
        is_causal: for ``attention_mask=None``; by default the module's attribute of this name, or else True.
        position_bias: added to the scores (T5).
        softcap: of the scores (Gemma 2).
        s_aux: a logit for each head that has no value (GPT-OSS).
        sliding_window: the number of keys that a query sees, which the mask already contains.
        others: arguments that have no influence.

    Returns:
        The output ``(B, Lq, H, Ev)``, and the weights ``(B, H, Lq, Lk)`` if the model's outputs are to have them
        (``output_attentions=True``), otherwise None.

    Raises:
        TypeError: an argument that is not known, by name.
        ValueError: a sliding window without a mask.
    """
    unknown = [name for name, given in others.items() if given is not None and name not in HARMLESS]
    if unknown:
        raise TypeError(
            f"{type(module).__name__} passes {', '.join(map(repr, unknown))} to its attention, which regard does not "
            "know; use attn_implementation='eager' for this model"
        )
    if not torch.compiler.is_compiling():
        Tally.calls += 1
    score: Score = Dot(scaling)
    if softcap is not None:
        score = Softcap(score, softcap)
    normalizer: Softmax | Dropout = Softmax(sink=s_aux)
    if dropout:
        normalizer = Dropout(normalizer, dropout)
    mask, bias = _lowered(module, query, key, attention_mask, is_causal, sliding_window)
    if position_bias is not None:
        bias = position_bias if bias is None else bias + position_bias
    options: dict[str, Any] = {"score": score, "bias": bias, "mask": mask, "normalizer": normalizer}
    if not _wants_weights(others):
        return attention(query, key, value, **options).transpose(1, 2).contiguous(), None
    output, view = attention(query, key, value, look=Look(rows=slice(None)), **options)
    return output.transpose(1, 2).contiguous(), view.rows.to(query.dtype)


def _wants_weights(others: Mapping[str, Any]) -> bool:
    """Whether the weights are to be in the outputs of the model: collected by its hooks, or asked for by argument."""
    from transformers.utils import output_capturing

    collected = output_capturing._active_collector.get() or {}
    return bool(others.get("output_attentions")) or any("attentions" in name for name in collected)


def _lowered(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    mask: Visibility | Tensor | None,
    is_causal: bool | None,
    sliding_window: int | None,
) -> tuple[Mask | Tensor | None, Tensor | None]:
    """The mask and what is added to the scores."""
    keys = key.shape[2]
    if isinstance(mask, Visibility):
        return mask.mask, None
    if mask is not None:
        mask = mask[..., :keys]
        return (mask, None) if mask.dtype is torch.bool else (None, mask)
    if sliding_window is not None and keys > sliding_window:
        raise ValueError(
            f"{type(module).__name__} passes sliding_window {sliding_window} without a mask to its attention"
        )
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    # The first query is at the first key, as in PyTorch; a single query sees every key.
    return (Causal(0) if causal and query.shape[2] > 1 else None), None
