"""What is explained, and the inputs of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import UserError

Inputs = Mapping[str, Any] | Sequence[Any]
"""The arguments of a model, by name or in order."""

Target = Callable[[Any], Tensor] | Tensor | int | None
"""What to explain: a class for all inputs or for each; a function from the model's output to a number for each input,
``(B,)``; or None: the class with the largest logit."""

Chosen = Callable[[Any], Tensor] | Tensor
"""The same, as a function or as the class of each input, ``(B,)``."""


def chosen_target(model: nn.Module, output: Any, target: Target) -> Chosen:
    """The target, as the class of each input, ``(B,)``, or as a function.

    Raises:
        UserError: the output has no logits or no such class.
    """
    if callable(target) and not isinstance(target, Tensor):
        return target
    logits = logits_of(model, output)
    size, count = logits.shape
    classes = logits.argmax(-1) if target is None else torch.as_tensor(target, device=logits.device)
    if classes.dim() > 1 or (classes.dim() == 1 and classes.shape[0] != size):
        raise UserError(f"target: must be a class or one for each of {size} inputs, got shape {tuple(classes.shape)}")
    if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < count:
        raise UserError(f"target: classes are from 0 to {count - 1}, got {classes.tolist()}")
    return classes.expand(size)


def target_values(model: nn.Module, output: Any, target: Chosen) -> Tensor:
    """The number that is explained for each input, ``(B,)``.

    Raises:
        UserError: the function returned something else.
    """
    if isinstance(target, Tensor):
        return logits_of(model, output).gather(1, target[:, None])[:, 0]
    values = target(output)
    if not isinstance(values, Tensor) or values.dim() != 1:
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise UserError(f"target: the function must return one number for each input, (B,), got {got}")
    return values


def logits_of(model: nn.Module, output: Any) -> Tensor:
    """The logits of each input, ``(B, classes)``; of logits for each position those of the last.

    Raises:
        UserError: there are none.
    """
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor) or logits.dim() not in (2, 3):
        raise UserError(f"target: {type(model).__name__} returns no logits; give a function of its output")
    return logits[:, -1] if logits.dim() == 3 else logits


def run(model: nn.Module, inputs: Inputs) -> Any:
    """The output of a model."""
    return model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)


def tokens_of(inputs: Inputs) -> Tensor | None:
    """The first tensor of whole numbers in two or more dimensions, if it has two: the tokens; None: there are none."""
    for value in inputs.values() if isinstance(inputs, Mapping) else inputs:
        if isinstance(value, Tensor) and value.dim() >= 2 and value.dtype in (torch.int64, torch.int32):
            return value if value.dim() == 2 else None
    return None
