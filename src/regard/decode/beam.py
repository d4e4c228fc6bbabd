"""Beam search over a batch of sentences."""

from __future__ import annotations

import math
from itertools import accumulate, islice
from typing import NamedTuple

import torch
from torch import Tensor

from regard.decode.candidates import extend
from regard.decode.step import Hypothesis, State, StepFunction, advance, check_start, select


class _End(NamedTuple):
    """A hypothesis that ended: its backpointers start at ``row``."""

    rank: float
    score: float
    length: int  # the number of tokens before EOS
    row: int  # of the step after these tokens
    finished: bool


class _Trace(NamedTuple):
    """The tokens, backpointers and attention weights of each step.

    ``weights[t]`` has the rows of step t; ``parents[t]`` and ``tokens[t]`` have the rows of the next step, and
    ``parents[t]`` are their rows in step t.
    """

    parents: list[Tensor]
    tokens: list[Tensor]
    weights: list[Tensor]


@torch.no_grad()
def beam_search(
    step: StepFunction,
    state: State,
    first: Tensor,
    *,
    eos: int,
    max_length: int,
    beam: int = 5,
    length_penalty: float = 1.0,
    best: int = 1,
    normalized: bool = False,
) -> list[list[Hypothesis]]:
    """Search for the sequences with the highest length-normalized log-probability.

    A hypothesis of ``length`` tokens, including EOS, is ranked by ``score / ((5 + length) / 6) ** α`` (Wu et
    al. 2016, arXiv:1609.08144, equation 14, without the coverage term). In each step all extensions of a sentence's
    live beams are ordered by score. Those among the first ``beam`` that end are finished; the first ``beam`` that
    do not end stay live.

    A sentence is done when ``best`` hypotheses are finished and no live beam can be ranked above the worst of them.
    Scores only fall and the divisor only grows, so no extension of a live beam can be ranked above its score divided by
    the penalty of ``max_length``. Stopping by this bound never changes the result. Sentences that are done leave the
    batch.

    Args:
        step: the model; it is called with up to ``batch × beam`` rows.
        state: its state before the first token, one row for each sentence.
        first: int64 ``(batch,)``, the tokens to begin with.
        eos: the token that ends a sequence.
        max_length: the largest number of emitted tokens, including EOS.
        beam: the beam size. 1 without a length penalty is `greedy`.
        length_penalty: α, at least 0; 0 ranks by the score itself, larger values favour longer sequences.
        best: the number of hypotheses to return for each sentence, at most ``beam``.
        normalized: whether ``logits`` are added up as they are: log-probabilities, or other scores that are at most 0,
            such as those of `regard.decode.joint`.

    Returns:
        For each sentence up to ``best`` hypotheses, at least one, highest rank first. Unfinished ones, of
        ``max_length`` tokens, are returned only if none finished.

    Raises:
        ValueError: an argument is out of range, or a live row's logits are not a distribution (NaN, +inf, or all −inf).

    Example:
        >>> from regard.decode import Step
        >>> rows = [0.0, 0.6, 0.4, 0.0], [0.0, 0.3, 0.3, 0.4], [0.0, 0.0, 0.1, 0.9], [0.0, 0.0, 0.0, 1.0]
        >>> probabilities = torch.tensor(rows)  # of the next token, after each token
        >>> def step(tokens, state):
        ...     return Step(probabilities[tokens].log(), state)
        ...
        >>> [[best], *_] = beam_search(step, None, torch.tensor([0]), eos=3, max_length=5, beam=2, length_penalty=0.0)
        >>> best.tokens, round(math.exp(best.score), 2)  # greedy would take token 1, with 0.24
        ([2], 0.36)
    """
    check_start(first, eos, max_length)
    _check(beam, length_penalty, best)
    kept: list[list[_End]] = [[] for _ in range(first.shape[0])]
    trace = _Trace([], [], [])
    searched = list(range(first.shape[0]))  # the sentences that are still in the batch
    tokens, scores = first, torch.zeros_like(first, dtype=torch.float32)[:, None]
    largest = _penalty(max_length, length_penalty)
    for length in range(1, max_length + 1):
        if not searched:
            break
        result = advance(step, tokens, state, eos)
        if result.weights is not None:
            trace.weights.append(result.weights)
        extended = extend(scores, result.logits, beam, eos, normalized)
        penalty = _penalty(length, length_penalty)
        for at, score, row in extended.ended:
            _keep(kept[searched[at]], _End(score / penalty, score, length - 1, row, True), best)
        unfinished = [
            at for at, score in enumerate(extended.tops) if score / largest > _worst(kept[searched[at]], best)
        ]
        scores, rows, tokens = extended.scores, extended.parents, extended.tokens
        if len(unfinished) < len(searched):
            searched = [searched[at] for at in unfinished]
            index = torch.tensor(unfinished, dtype=torch.int64, device=scores.device)
            scores, rows, tokens = (part.index_select(0, index) for part in (scores, rows, tokens))
        rows, tokens = rows.flatten(), tokens.flatten()
        trace.parents.append(rows)
        trace.tokens.append(tokens)
        if length < max_length:
            state = select(result.state, rows)
    _cut_off(kept, searched, scores, max_length, length_penalty, best)
    return _hypotheses(kept, trace)


def _check(beam: int, length_penalty: float, best: int) -> None:
    if beam < 1:
        raise ValueError(f"beam: must be at least 1, got {beam}")
    if not 1 <= best <= beam:
        raise ValueError(f"best: must be at least 1 and at most the beam, {beam}, got {best}")
    if not 0 <= length_penalty < math.inf:
        raise ValueError(f"length_penalty: must be at least 0 and finite, got {length_penalty}")


def _penalty(length: int, alpha: float) -> float:
    return float(((5 + length) / 6) ** alpha)


def _keep(ends: list[_End], end: _End, best: int) -> None:
    ends.append(end)
    ends.sort(key=lambda end: -end.rank)
    del ends[best:]


def _worst(ends: list[_End], best: int) -> float:
    return ends[-1].rank if len(ends) == best else -math.inf


def _cut_off(
    kept: list[list[_End]], searched: list[int], scores: Tensor, max_length: int, alpha: float, best: int
) -> None:
    """Keep live beams, unfinished, for sentences without a finished hypothesis."""
    width = scores.shape[1]
    for at, sentence in enumerate(searched):
        if not kept[sentence]:
            live = [(score, at * width + beam) for beam, score in enumerate(scores[at].tolist()) if score > -math.inf]
            kept[sentence] = [
                _End(score / _penalty(max_length, alpha), score, max_length, row, False) for score, row in live[:best]
            ]


def _hypotheses(kept: list[list[_End]], trace: _Trace) -> list[list[Hypothesis]]:
    """Follow the backpointers of the hypotheses that were kept."""
    lengths = [len(step) for step in trace.tokens]
    parents, tokens = (_lists(steps, lengths) for steps in (trace.parents, trace.tokens))
    rows = torch.cat(trace.weights) if trace.weights else None
    starts = list(accumulate((len(step) for step in trace.weights), initial=0))

    def follow(end: _End) -> Hypothesis:
        row, emitted, path = end.row, [], [(end.length, end.row)] if end.finished else []
        for at in reversed(range(end.length)):
            emitted.append(tokens[at][row])
            row = parents[at][row]
            path.append((at, row))
        weights = None if rows is None else rows[[starts[at] + row for at, row in reversed(path)]]
        return Hypothesis(emitted[::-1], end.score, end.rank, end.finished, weights)

    return [[follow(end) for end in ends] for ends in kept]


def _lists(steps: list[Tensor], lengths: list[int]) -> list[list[int]]:
    """The numbers of each step; of a GPU's tensors, all are read at once."""
    numbers = iter(torch.cat(steps).tolist() if steps else [])
    return [list(islice(numbers, length)) for length in lengths]
