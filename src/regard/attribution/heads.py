"""What single heads do for a result: their importance by gradients, and what happens without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from regard.attribution.target import Inputs, Target, run, target_values
from regard.attribution.trace import Call, trace
from regard.attribution.vectors import projections

Heads = dict[tuple[str, int], Tensor]
"""A number for each input and head, ``(B, H)``, by the name of the module and the number of its call."""


def head_importance(model: nn.Module, inputs: Inputs, target: Target = None) -> Heads:
    """How much the target would change, to first order, if the output of a head was scaled: ``|Σ o · ∂target / ∂o|``.

    Michel et al. 2019 (arXiv:1905.10650), who take the loss as the target and average over inputs. One forward and one
    backward pass for all heads.

    Args:
        model: see `attribute`.
        inputs: see `attribute`.
        target: see `attribute`.

    Raises:
        UserError: the model cannot be followed.

    Example:
        >>> model = torch.nn.TransformerEncoderLayer(16, 4, batch_first=True).eval()
        >>> heads = head_importance(model, [torch.randn(2, 5, 16)], lambda output: output[:, 0, 3])
        >>> {key: tuple(one.shape) for key, one in heads.items()}
        {('self_attn', 0): (2, 4)}
    """
    seen = trace(model, inputs, target)
    return {(call.name, call.number): (call.output * call.gradient).sum((2, 3)).abs() for call in seen.calls}


def head_ablation(model: nn.Module, inputs: Inputs, target: Target = None) -> Heads:
    """How much smaller the target is without a head, with zeros in place of its output; negative: it is larger.

    Section 3 of Michel et al. 2019 (arXiv:1905.10650). One forward pass for each head.

    Args:
        model: see `attribute`.
        inputs: see `attribute`.
        target: see `attribute`.

    Raises:
        UserError: the model cannot be followed, or an output projection cannot be told.

    Example:
        >>> from regard.nn import MultiHeadAttention
        >>> layer = MultiHeadAttention(8, 2).eval()
        >>> class First(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = layer
        ...
        ...     def forward(self, x):
        ...         return self.layer(x)[0][:, 0]
        >>> heads = head_ablation(First().eval(), [torch.randn(2, 5, 8)], target=3)
        >>> {key: tuple(one.shape) for key, one in heads.items()}
        {('layer', 0): (2, 2)}
    """
    seen = trace(model, inputs, target)
    for call in seen.calls:
        projections(call)
    results: Heads = {}
    with torch.no_grad():
        for call in seen.calls:
            changes = []
            for head in range(call.output.shape[1]):
                with _without(seen.calls, call, head):
                    changes.append(seen.values - target_values(model, run(model, inputs), seen.target))
            results[call.name, call.number] = torch.stack(changes, 1)
    return results


@contextmanager
def _without(calls: list[Call], call: Call, head: int) -> Iterator[None]:
    """In this block, the output of a head of a call is zero."""
    wanted = [other for other in calls if other.projection is call.projection].index(call)
    width, seen = call.output.shape[3], Counter[None]()

    def hide(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        seen[None] += 1
        if seen[None] - 1 != wanted:
            return None
        joined = arguments[0].clone()
        joined[..., head * width : (head + 1) * width] = 0
        return joined, *arguments[1:]

    assert call.projection is not None
    handle = call.projection.register_forward_pre_hook(hide)
    try:
        yield
    finally:
        handle.remove()
