"""Greedy decoding, and the loop that it shares with sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from regard.decode.candidates import best_tokens
from regard.decode.step import NO_DISTRIBUTION, Hypothesis, State, StepFunction, advance, check_start, select


def greedy(step: StepFunction, state: State, first: Tensor, *, eos: int, max_length: int) -> list[Hypothesis]:
    """Take the most probable token at every step; of equally probable ones, the one with the smallest number.

    Args:
        step: the model.
        state: its state before the first token, one row for each sequence.
        first: int64 ``(rows,)``, the tokens to begin with.
        eos: the token that ends a sequence.
        max_length: the largest number of emitted tokens, including EOS.

    Returns:
        One hypothesis for each row.

    Raises:
        ValueError: an argument is out of range, or a row's logits are not a distribution (NaN, +inf, or all −inf).

    Example:
        >>> from regard.decode import Step
        >>> following = torch.tensor([1, 2, 3, 3])  # the most probable token after each
        >>> def step(tokens, state):
        ...     return Step(9.0 * torch.eye(4)[following[tokens]], state)
        ...
        >>> greedy(step, None, torch.tensor([0, 1]), eos=3, max_length=10)[0].tokens
        [1, 2]
    """
    return roll_out(step, state, first, _most_probable, eos=eos, max_length=max_length)


def _most_probable(logits: Tensor, places: Tensor | None) -> tuple[Tensor, Tensor]:
    values, tokens, sums = best_tokens(logits, 1)
    return tokens[:, 0], values[:, 0] - sums


Choice = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""Given logits ``(rows, vocabulary)`` and the rows' places in the first batch, int64 ``(rows,)`` or None, if they are
all of it: the tokens to emit, int64 ``(rows,)``, and their log-probabilities ``(rows,)``."""

_LEFT = 0.75
"""Finished rows leave the batch when no more than this share of it is unfinished: each time, the state is copied."""


@dataclass
class _Row:
    """What a row has emitted, EOS included; ``weights``: the places of its weights among those of all steps."""

    tokens: list[int] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    score: float = 0.0
    finished: bool = False

    def emit(self, token: int, gain: float, weights: int, eos: int) -> None:
        if math.isnan(gain):
            raise ValueError(NO_DISTRIBUTION)
        self.tokens.append(token)
        self.weights.append(weights)
        self.score += gain
        self.finished = token == eos

    def hypothesis(self, weights: Tensor | None) -> Hypothesis:
        tokens = self.tokens[:-1] if self.finished else self.tokens
        return Hypothesis(
            tokens, self.score, self.score, self.finished, None if weights is None else weights[self.weights]
        )


@torch.no_grad()
def roll_out(
    step: StepFunction, state: State, first: Tensor, choose: Choice, *, eos: int, max_length: int
) -> list[Hypothesis]:
    """Decode all rows in parallel, token by token, until every row is finished.

    Args:
        step: the model.
        state: its state before the first token.
        first: int64 ``(rows,)``.
        choose: see `Choice`.
        eos: the token that ends a sequence.
        max_length: the largest number of emitted tokens, including EOS.

    Raises:
        ValueError: as `greedy`.
    """
    check_start(first, eos, max_length)
    written = [_Row() for _ in range(len(first))]
    batch, places, tokens = written, None, first
    weights: list[Tensor] = []
    count = 0  # of the rows of all steps so far
    for _ in range(max_length):
        unfinished = [at for at, row in enumerate(batch) if not row.finished]
        if not unfinished:
            break
        if len(unfinished) <= _LEFT * len(batch):
            batch = [batch[at] for at in unfinished]
            index = torch.tensor(unfinished, device=first.device)
            places = index if places is None else places[index]
            tokens, state = tokens[index], select(state, index)
        result = advance(step, tokens, state, eos)
        state = result.state
        tokens, gains = choose(result.logits, places)
        if result.weights is not None:
            weights.append(result.weights)
        for at, (row, token, gain) in enumerate(zip(batch, tokens.tolist(), gains.tolist(), strict=True)):
            if not row.finished:
                row.emit(token, gain, count + at, eos)
        count += len(batch)
    joined = torch.cat(weights) if weights else None
    return [row.hypothesis(joined) for row in written]
