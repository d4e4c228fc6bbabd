"""Connectionist temporal classification (CTC) in decoding: scores of prefixes, joint scores, and alignments.

Graves et al. 2006: each step of an input has a distribution over labels and a blank; the probability of a sequence of
labels is the sum over all paths that give it, after merging equal neighbours and removing blanks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from regard.decode.step import State, Step, StepFunction

_NEVER = -1e5
"""In place of the logarithm of 0, which could not be subtracted from itself."""


class Prefixes(NamedTuple):
    """The sequence of labels h of each row, and the sums over its paths up to each step.

    Attributes:
        steps: probabilities of the labels at each step, ``(rows, T, labels)``.
        blank: log-probability of the paths of h up to each step that end with a blank, ``(rows, T + 1)``, from step 0.
        label: the same of those that end with a label.
        last: the last label of h, int64 ``(rows,)``; −1: h is empty.
        score: log-probability that a sequence begins with h, ``(rows,)``.
        begun: not None after the first step, which gets a token with which decoding begins and which is no label.
    """

    steps: Tensor
    blank: Tensor
    label: Tensor
    last: Tensor
    score: Tensor
    begun: Tensor | None = None


class _Joint(NamedTuple):
    """A model's state, and the prefixes."""

    state: State
    prefixes: Prefixes


def joint(
    step: StepFunction | None,
    state: State,
    log_probabilities: Tensor,
    lengths: Tensor,
    *,
    weight: float,
    blank: int,
    eos: int,
) -> tuple[StepFunction, State]:
    """A step, and its first state, whose scores are those of a model and of CTC together.

    The score of a token is ``λ log p_ctc(h · c …) / p_ctc(h …) + (1 − λ) log p(c | h)`` (Watanabe et al. 2017,
    "Hybrid CTC/Attention Architecture for End-to-End Speech Recognition", section IV), where p_ctc(h …) is the
    probability that a sequence begins with h, and for EOS that it is h. The scores are at most 0 and are to be added up
    as they are: search with ``normalized=True``.

    Args:
        step: the model; None: CTC alone, with a weight of 1.
        state: its state before the first token.
        log_probabilities: of CTC, ``(rows, T, vocabulary)``, normalized over the vocabulary.
        lengths: int64 ``(rows,)``, the number of steps that are no padding.
        weight: λ, from 0 to 1.
        blank: the token that stands for the blank; it is never written.
        eos: the token that ends a sequence.

    Raises:
        ValueError: the weight is out of range, or is below 1 without a model.

    Example:
        >>> from regard.decode import beam_search
        >>> steps = torch.tensor([[[0.1, 0.8, 0.1], [0.5, 0.4, 0.1]]]).log()  # blank, a label, EOS
        >>> step, state = joint(None, None, steps, torch.tensor([2]), weight=1.0, blank=0, eos=2)
        >>> [[best]] = beam_search(step, state, torch.tensor([2]), eos=2, max_length=3, beam=1, normalized=True)
        >>> best.tokens, round(best.score, 4)  # the log of 0.8 · 0.5 + 0.8 · 0.4 + 0.1 · 0.4
        ([1], -0.2744)
    """
    if not 0 <= weight <= 1 or (step is None and weight < 1):
        raise ValueError(f"weight: must be from 0 to 1, and 1 without a model, got {weight}")

    def scored(tokens: Tensor, state: _Joint) -> Step:
        prefixes = state.prefixes if state.prefixes.begun is None else _extended(state.prefixes, tokens, blank)
        prefixes = prefixes._replace(begun=torch.ones_like(tokens))
        scores = _following(prefixes, blank, eos)
        if step is None:
            return Step(scores, _Joint(None, prefixes))
        result = step(tokens, state.state)
        logs = result.logits.to(scores.dtype).log_softmax(-1)
        mixed = (1 - weight) * logs + (weight * scores if weight else 0.0)
        mixed[:, blank] = -torch.inf
        return Step(mixed, _Joint(result.state, prefixes), result.weights)

    return scored, _Joint(state, _empty(log_probabilities, lengths, blank))


def _empty(log_probabilities: Tensor, lengths: Tensor, blank: int) -> Prefixes:
    """The empty sequences of labels."""
    rows, count, _ = log_probabilities.shape
    steps = log_probabilities.double().exp()
    padding = torch.arange(count, device=steps.device) >= lengths[:, None]
    steps = steps.masked_fill(padding[..., None], 0.0)
    steps[..., blank] = torch.where(padding, 1.0, steps[..., blank])  # padding changes no sum
    blanks = torch.cat([steps.new_zeros(rows, 1), _log(steps[..., blank]).cumsum(1)], 1)
    never = torch.full_like(blanks, -torch.inf)
    last = torch.full((rows,), -1, device=steps.device)
    return Prefixes(steps, blanks, never, last, steps.new_zeros(rows))


def _following(prefixes: Prefixes, blank: int, eos: int) -> Tensor:
    """The change of the log-probability with each token after h, ``(rows, vocabulary)``; EOS: that h is all."""
    steps, blanks, last = prefixes.steps, prefixes.blank, prefixes.last
    before = torch.logaddexp(blanks, prefixes.label)
    total = _weighted(before[:, :-1], steps)
    # After a label, the same label begins only after a blank.
    same = last.clamp(min=0)[:, None]
    again = _weighted(blanks[:, :-1], steps.gather(2, same[:, None].expand(-1, steps.shape[1], 1)))
    total = torch.where((last >= 0)[:, None], total.scatter(1, same, again), total)
    total[:, eos] = before[:, -1]
    total[:, blank] = -torch.inf
    gains = (total - prefixes.score[:, None]).clamp(max=0.0)
    return torch.where(prefixes.score[:, None] == -torch.inf, -torch.inf, gains)


def _weighted(logs: Tensor, steps: Tensor) -> Tensor:
    """``log Σ_t exp(logs_t) steps_t``, ``(rows, labels)``."""
    largest = logs.amax(1, keepdim=True)
    scale = (logs - largest.nan_to_num(neginf=0.0)).exp()
    return torch.bmm(scale[:, None], steps)[:, 0].log() + largest


def _extended(prefixes: Prefixes, tokens: Tensor, blank: int) -> Prefixes:
    """The prefixes with one label more."""
    steps, last = prefixes.steps, prefixes.last
    before = torch.where(
        (tokens == last)[:, None], prefixes.blank, torch.logaddexp(prefixes.blank, prefixes.label)
    )[:, :-1]  # fmt: skip
    own = _log(steps.gather(2, tokens[:, None, None].expand(-1, steps.shape[1], 1))[..., 0])
    label = _accumulated(before, own)
    blanks = _accumulated(label[:, :-1], _log(steps[..., blank]))
    return Prefixes(steps, blanks, label, tokens, torch.logsumexp(before + own, 1))


def _accumulated(entering: Tensor, staying: Tensor) -> Tensor:
    """``a_t = (a_{t−1} + e_{t−1}) s_t`` in logarithms, from ``a_0 = 0``: ``(rows, T + 1)``."""
    total = staying.cumsum(1)
    shifted = torch.cat([torch.zeros_like(total[:, :1]), total[:, :-1]], 1)
    sums = total + torch.logcumsumexp((entering - shifted).clamp(min=10 * _NEVER), 1)
    sums = sums.masked_fill(sums < _NEVER, -torch.inf)
    return torch.cat([torch.full_like(sums[:, :1], -torch.inf), sums], 1)


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.log().clamp(min=_NEVER)


def align(log_probabilities: np.ndarray, labels: Sequence[int], blank: int) -> np.ndarray:
    """The steps of each label on the most probable path that gives ``labels`` (Viterbi).

    Args:
        log_probabilities: ``(T, vocabulary)``.
        labels: the sequence, without blanks.
        blank: the token that stands for the blank.

    Returns:
        The first step of each label, and the step after its last one: int64 ``(labels, 2)``.

    Raises:
        ValueError: there are fewer steps than labels, and blanks between equal ones.

    >>> steps = np.log([[0.1, 0.8, 0.1], [0.3, 0.6, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    >>> align(steps, [1, 2], blank=0).tolist()
    [[0, 2], [3, 4]]
    """
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    jump = np.zeros(len(states), dtype=bool)  # whether the blank before may be left out
    jump[3::2] = states[3::2] != states[1:-2:2]
    best = np.full(len(states), -np.inf)
    best[:2] = log_probabilities[0, states[:2]] if len(log_probabilities) else -np.inf
    back = np.zeros((len(log_probabilities), len(states)), dtype=np.int64)
    for at in range(1, len(log_probabilities)):
        moved = np.full((3, len(states)), -np.inf)
        moved[0], moved[1, 1:], moved[2, 2:] = best, best[:-1], best[:-2]
        moved[2, ~jump] = -np.inf
        back[at] = moved.argmax(0)
        best = moved.max(0) + log_probabilities[at, states]
    state = len(states) - 1 if len(states) == 1 or best[-1] >= best[-2] else len(states) - 2
    if best[state] == -np.inf:
        raise ValueError(f"labels: {len(labels)} do not fit into {len(log_probabilities)} steps")
    path = np.zeros(len(log_probabilities), dtype=np.int64)
    for at in reversed(range(len(path))):
        path[at] = state
        state -= back[at, state]
    firsts = np.searchsorted(path, 2 * np.arange(len(labels)) + 1)
    return np.stack([firsts, np.searchsorted(path, 2 * np.arange(len(labels)) + 1, side="right")], 1)
