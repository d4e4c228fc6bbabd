"""The interface between a model and the decoders: a function that computes one step.

A `StepFunction` gets the last token of each row and a state, and returns the logits of the next token and the new
state. Decoders do not read the state; they only select rows of it (`select`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

State = Any
"""Nested tuples, named tuples, lists and dicts of tensors whose first dimension is the row; see `select`."""

NO_DISTRIBUTION = "logits: not a distribution: a row has NaN or +inf, or has −inf for every token"


@dataclass(frozen=True, eq=False)
class Step:
    """The result of one step of a model.

    Attributes:
        logits: ``(rows, vocabulary)``, unnormalized log-probabilities of the next token; −inf excludes a token.
        state: the state after this step, with the same rows.
        weights: ``(rows, source length)``, the attention of this step averaged over heads, or None. The source length
            is the same in all steps.

    Example:
        >>> step = Step(logits=torch.zeros(2, 10), state=(torch.zeros(2, 8),))
        >>> step.logits.shape
        torch.Size([2, 10])
    """

    logits: Tensor
    state: State
    weights: Tensor | None = None


StepFunction = Callable[[Tensor, State], Step]
"""``step(tokens, state)`` with ``tokens`` int64 ``(rows,)``, the last emitted token (or the first one)."""


@dataclass(frozen=True)
class Hypothesis:
    """One decoded sequence.

    Attributes:
        tokens: the emitted tokens, without the first input token and without the end-of-sequence token (EOS).
        score: the sum of the natural log-probabilities of all emitted tokens, including EOS, under the model's
            distribution (before temperature and filters).
        rank: the number that orders hypotheses: the length-normalized score in beam search, otherwise the score.
        finished: whether it ended with EOS; otherwise it was cut off at the maximal length.
        weights: ``(len(tokens) + finished, source length)``, one row of attention for each emitted token,
            EOS last; None if the model returns none. On the model's device, including columns of padding. Not compared
            by ``==``.

    Example:
        >>> Hypothesis(tokens=[4, 7], score=-1.5, rank=-1.5, finished=True)
        Hypothesis(tokens=[4, 7], score=-1.5, rank=-1.5, finished=True)
    """

    tokens: list[int]
    score: float
    rank: float
    finished: bool
    weights: Tensor | None = field(default=None, compare=False, repr=False)


def select(state: State, rows: Tensor) -> State:
    """Select rows of a state, in any order, with repetitions or omissions.

    Works on nested tuples, named tuples, lists and dicts. None stays None. For other objects with a method
    ``select(rows)``, such as a cache, that method is called.

    Args:
        state: the state, each tensor with the row as its first dimension.
        rows: int64 ``(new rows,)``, on the state's device.

    Raises:
        TypeError: the state has an object of another type.

    Example:
        >>> state = {"hidden": torch.tensor([[0.0], [1.0], [2.0]]), "cache": None}
        >>> select(state, torch.tensor([2, 2, 0]))["hidden"].tolist()
        [[2.0], [2.0], [0.0]]
    """
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state.index_select(0, rows)
    if callable(getattr(state, "select", None)):
        return state.select(rows)
    if isinstance(state, dict):
        return {name: select(part, rows) for name, part in state.items()}
    if isinstance(state, (tuple, list)):
        parts = [select(part, rows) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    raise TypeError(
        f"state: expected tensors in tuples, lists or dicts, or an object with select(rows), got {type(state).__name__}"
    )


def check_start(first: Tensor, eos: int, max_length: int) -> None:
    """Check the arguments that all decoders have.

    Raises:
        ValueError: ``first`` is not int64 ``(rows,)``, ``eos`` is negative, or ``max_length`` is below 1.
    """
    if first.dim() != 1 or first.dtype != torch.int64:
        raise ValueError(f"first: expected int64 of shape (rows,), got {first.dtype} of shape {tuple(first.shape)}")
    if eos < 0:
        raise ValueError(f"eos: must be a token, at least 0, got {eos}")
    if max_length < 1:
        raise ValueError(f"max_length: must be at least 1, got {max_length}")


def advance(step: StepFunction, tokens: Tensor, state: State, eos: int) -> Step:
    """Compute one step and check its logits, which are returned in float32 or float64.

    Raises:
        ValueError: the logits are not ``(rows, vocabulary)``, or ``eos`` is not in the vocabulary.
    """
    result = step(tokens, state)
    logits = result.logits
    if logits.dim() != 2 or logits.shape[0] != tokens.shape[0]:
        raise ValueError(f"logits: expected ({tokens.shape[0]}, vocabulary), got {tuple(logits.shape)}")
    if eos >= logits.shape[1]:
        raise ValueError(f"eos: must be below the vocabulary's size {logits.shape[1]}, got {eos}")
    precise = torch.promote_types(logits.dtype, torch.float32)
    return result if logits.dtype is precise else replace(result, logits=logits.to(precise))
