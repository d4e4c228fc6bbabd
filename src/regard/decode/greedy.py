"""Greedy decoding, and the loop that it shares with sampling."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from regard.decode.step import Hypothesis, State, StepFunction, advance, check_gains, check_start


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
    return roll_out(step, state, first, lambda logits: logits.argmax(-1), eos=eos, max_length=max_length)


@torch.no_grad()
def roll_out(
    step: StepFunction, state: State, first: Tensor, choose: Callable[[Tensor], Tensor], *, eos: int, max_length: int
) -> list[Hypothesis]:
    """Decode all rows in parallel, token by token, until every row is finished.

    Finished rows continue, and their tokens are dropped, so that ``choose`` gets the same rows in every step.

    Args:
        step: the model.
        state: its state before the first token.
        first: int64 ``(rows,)``.
        choose: given logits ``(rows, vocabulary)``, returns the tokens to emit, int64 ``(rows,)``.
        eos: the token that ends a sequence.
        max_length: the largest number of emitted tokens, including EOS.

    Raises:
        ValueError: as `greedy`.
    """
    check_start(first, eos, max_length)
    tokens, finished = first, torch.zeros_like(first, dtype=torch.bool)
    lengths, scores = torch.zeros_like(first), torch.zeros_like(first, dtype=torch.float32)
    emitted: list[Tensor] = []
    steps: list[Tensor] = []
    for _ in range(max_length):
        if finished.all():
            break
        result = advance(step, tokens, state, eos)
        state = result.state
        tokens = choose(result.logits)
        gains = result.logits.gather(1, tokens[:, None])[:, 0] - result.logits.logsumexp(-1)
        gains = gains.masked_fill(finished, 0.0)
        check_gains(gains)
        scores = scores + gains
        lengths = lengths + ~finished
        finished = finished | (tokens == eos)
        emitted.append(tokens)
        if result.weights is not None:
            steps.append(result.weights)
    if not emitted:
        return []
    rows = torch.stack(emitted, 1).tolist()
    weights = torch.stack(steps, 1) if steps else None
    return [
        Hypothesis(rows[row][: length - ended], score, score, ended, None if weights is None else weights[row, :length])
        for row, (length, score, ended) in enumerate(
            zip(lengths.tolist(), scores.tolist(), finished.tolist(), strict=True)
        )
    ]
