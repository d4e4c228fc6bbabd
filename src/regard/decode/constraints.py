"""Steps of decoding that exclude tokens: those that are never written, and those that would repeat an n-gram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from regard.decode.step import State, Step, StepFunction


class Written(NamedTuple):
    """A model's state, and the tokens of each row so far, int64 ``(rows, tokens)``."""

    state: State
    tokens: Tensor


def excluding(step: StepFunction, tokens: Sequence[int]) -> StepFunction:
    """``step`` with the probability 0 for ``tokens``; the other probabilities become larger by the same factor.

    >>> step = excluding(lambda tokens, state: Step(torch.zeros(1, 4), state), [0, 3])
    >>> step(torch.tensor([1]), None).logits
    tensor([[-inf, 0., 0., -inf]])
    """
    numbers = torch.tensor(list(tokens))

    def excluded(last: Tensor, state: State) -> Step:
        result = step(last, state)
        return replace(result, logits=result.logits.index_fill(1, numbers.to(last.device), -math.inf))

    return excluded


def without_repeats(step: StepFunction, state: State, size: int, eos: int) -> tuple[StepFunction, State]:
    """A step, and its first state, that write no n-gram of ``size`` tokens twice (Paulus et al. 2018,
    arXiv:1705.04304, section 2.5, for 3).

    A token that would complete an n-gram for the second time has the probability 0. EOS is always possible, so that a
    row never has no token left. The token with which decoding begins counts as written.

    Args:
        step: the model.
        state: its state before the first token.
        size: of the n-grams, at least 1.
        eos: the token that ends a sequence.

    Raises:
        ValueError: ``size`` is below 1.

    Example:
        >>> def step(tokens, state):
        ...     return Step(torch.tensor([[3.0, 2.0, 1.0]]), state)  # always token 0, if it can
        ...
        >>> from regard.decode import greedy
        >>> greedy(*without_repeats(step, None, 2, eos=2), torch.tensor([0]), eos=2, max_length=9)[0].tokens
        [0, 1, 0]
    """
    if size < 1:
        raise ValueError(f"size: must be at least 1, got {size}")

    def unrepeated(last: Tensor, written: Written) -> Step:
        before = written.tokens.to(last.device).expand(len(last), -1)
        tokens = torch.cat([before, last[:, None]], 1)
        result = step(last, written.state)
        logits = result.logits
        if tokens.shape[1] >= size:
            grams = tokens.unfold(1, size, 1)
            again = (grams[..., :-1] == tokens[:, None, tokens.shape[1] - size + 1 :]).all(-1)
            row, place = again.nonzero(as_tuple=True)
            banned = grams[row, place, -1]
            inside = (banned < logits.shape[1]) & (banned != eos)
            logits = logits.index_put((row[inside], banned[inside]), logits.new_tensor(-math.inf))
        return replace(result, logits=logits, state=Written(result.state, tokens))

    return unrepeated, Written(state, torch.zeros(1, 0, dtype=torch.int64))
