"""Sampling, with temperature, top-k and nucleus filtering."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from regard.decode.greedy import roll_out
from regard.decode.step import Hypothesis, State, StepFunction


def sample(
    step: StepFunction,
    state: State,
    first: Tensor,
    *,
    eos: int,
    max_length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> list[Hypothesis]:
    """Draw every token from the model's distribution, after `filter_logits`.

    Each step draws noise for all rows, also for those that are finished and have left the batch. The tokens of a row
    therefore depend on the generator, the number of rows and the index of the row, not on when other rows finish.

    Args:
        step: the model.
        state: its state before the first token, one row for each sequence.
        first: int64 ``(rows,)``, the tokens to begin with.
        eos: the token that ends a sequence.
        max_length: the largest number of emitted tokens, including EOS.
        temperature: as in `filter_logits`.
        top_k: as in `filter_logits`.
        top_p: as in `filter_logits`.
        generator: draws the noise, on any device; None: PyTorch's default generator.

    Returns:
        One hypothesis for each row. Scores are those of the unfiltered distribution.

    Raises:
        ValueError: an argument is out of range, or a row's logits are not a distribution (NaN, +inf, or all −inf).

    Example:
        >>> from regard.decode import Step
        >>> def step(tokens, state):
        ...     return Step(torch.zeros(len(tokens), 10), state)
        ...
        >>> hypotheses = sample(step, None, torch.tensor([0, 0]), eos=9, max_length=5, top_k=3)
        >>> [len(hypothesis.tokens) <= 5 for hypothesis in hypotheses]
        [True, True]
    """
    _check(temperature, top_k, top_p)

    def choose(logits: Tensor, places: Tensor | None) -> tuple[Tensor, Tensor]:
        filtered = filter_logits(logits, temperature, top_k, top_p)
        # The largest of (logit − log of exponential noise) is distributed as the softmax: the Gumbel-max trick.
        device = filtered.device if generator is None else generator.device
        shape = (len(first), filtered.shape[1])
        noise = torch.empty(shape, dtype=filtered.dtype, device=device).exponential_(generator=generator)
        if places is not None:
            noise = noise.index_select(0, places.to(device))
        # Noise of 0 would turn a forbidden token's −inf into NaN.
        noise = noise.clamp_min(torch.finfo(noise.dtype).tiny).to(filtered.device)
        tokens = (filtered - noise.log()).argmax(-1)
        return tokens, logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(-1)

    return roll_out(step, state, first, choose, eos=eos, max_length=max_length)


def filter_logits(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Divide logits by the temperature, then remove tokens (−inf) by top-k, then by top-p.

    Args:
        logits: ``(rows, vocabulary)``.
        temperature: above 0; below 1 sharpens the distribution, above 1 flattens it.
        top_k: keep this many of the most probable tokens (Fan et al. 2018, arXiv:1805.04833); all if there are fewer.
        top_p: of these, keep the fewest that together have at least this probability, and at least one (Holtzman et
            al. 2020, arXiv:1904.09751). 1 keeps all.

    Returns:
        ``(rows, vocabulary)``.

    Raises:
        ValueError: ``temperature`` is not above 0, ``top_k`` is below 1, or ``top_p`` is not in (0, 1].

    Example:
        >>> filter_logits(torch.tensor([[2.0, 1.0, 0.0, -1.0]]), temperature=0.5, top_k=2)
        tensor([[4., 2., -inf, -inf]])
    """
    _check(temperature, top_k, top_p)
    logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        values, tokens = logits.topk(top_k)
        logits = torch.full_like(logits, -math.inf).scatter(-1, tokens, values)
    if top_p is not None and top_p < 1:
        values, tokens = logits.sort(stable=True, dim=-1, descending=True)
        mass = values.softmax(-1).cumsum(-1)
        # A token is removed if the ones before it already have the probability; the first has none before it.
        full = mass[..., :-1] >= top_p
        values = torch.cat([values[..., :1], values[..., 1:].masked_fill(full, -math.inf)], -1)
        logits = torch.empty_like(logits).scatter(-1, tokens, values)
    return logits


def _check(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: must be above 0 and finite, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k: must be at least 1, or None to keep all, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p: must be above 0 and at most 1, or None to keep all, got {top_p}")
