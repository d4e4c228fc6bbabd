"""The output that agrees most with samples of the model: minimum Bayes risk decoding (Eikema and Aziz 2020).

The most probable output is often an untypical one: short, and improbable all the same. Here several candidates are
compared with samples of the model, and with the targets of similar training pairs, if the model reads such; the
candidate that has most words and pairs of words in common with them on average is the output (arXiv:2005.10283).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from regard.data.tokenizer import EOS, UNK
from regard.decode import Hypothesis, sample, select
from regard.decode.greedy import roll_out
from regard.tasks.families.seq2seq.predictor import Search, Tick
from regard.tasks.families.seq2seq.rouge import lead

if TYPE_CHECKING:
    from regard.tasks.families.seq2seq.copying import Article, CopyPredictor

_SIMILAR = 2.0
"""The weight of a similar pair's target, times its similarity, beside 1 for all samples together."""


def agreed(predictor: CopyPredictor[Any], article: Article, best: Hypothesis, search: Search, tick: Tick) -> Hypothesis:
    """The output for a text that agrees most with samples of the model.

    Candidates are the most probable output, the samples, and the targets of similar pairs. If the agreement of all is
    below ``search.lead_below``, the output is the first sentence of the text. Samples are the same for the same text.

    Args:
        predictor: the model.
        article: the text.
        best: its most probable output.
        search: how outputs are searched for; ``samples`` is not 0.
        tick: is called before each step of decoding.
    """
    samples = _samples(predictor, article, search, tick)
    similar = [predictor.target(article, one.target)[:-1][: predictor.max_target] for one in article.similar]
    weights = [1 / len(samples)] * len(samples) + [_SIMILAR * one.similarity for one in article.similar]
    drawn = [one.tokens for one in samples]
    words = [predictor.vocabulary.words(tokens, article.extra) for tokens in (*drawn, *similar)]
    candidates = [tokens for tokens in (best.tokens, *drawn, *similar) if UNK not in tokens]
    values = [agreement(predictor.vocabulary.words(one, article.extra), words, weights) for one in candidates]
    largest = max(values)
    chosen = candidates[values.index(largest)]
    if largest < search.lead_below:
        first = predictor.target(article, lead(article.text))[:-1]
        chosen = chosen if UNK in first else first
    known = {tuple(one.tokens): one for one in (*samples, best)}
    return known.get(tuple(chosen)) or _scored(predictor, article, chosen, search.first)


def agreement(text: Sequence[str], others: Sequence[Sequence[str]], weights: Sequence[float]) -> float:
    """What a text has in common with others: the mean of the F1 of words and that of pairs of words, from 0 to 1.

    Args:
        text: its words.
        others: the words of each.
        weights: of the others in the mean.

    >>> round(agreement(["a", "red", "cat"], [["the", "red", "cat"], ["dogs"]], [1.0, 1.0]), 3)
    0.292
    """
    own = _counts(text)
    values = [sum(map(_f1, own, _counts(other))) / 2 for other in others]
    return sum(weight * value for weight, value in zip(weights, values, strict=True)) / max(sum(weights), 1e-9)


def _counts(words: Sequence[str]) -> tuple[Counter[Any], Counter[Any]]:
    lower = [word.lower() for word in words]
    return Counter(lower), Counter(itertools.pairwise(lower))


def _f1(one: Counter[Any], other: Counter[Any]) -> float:
    return 2 * (one & other).total() / max(1, one.total() + other.total())


def _samples(predictor: CopyPredictor[Any], article: Article, search: Search, tick: Tick) -> list[Hypothesis]:
    """Outputs that are drawn from the model."""
    device, count = predictor.model.device, search.samples
    with torch.inference_mode():
        step, state = predictor.constrained([article], search, tick)
        state = select(state, torch.zeros(count, dtype=torch.int64, device=device))
        first = torch.full((count,), search.first, device=device)
        generator = torch.Generator().manual_seed(0)
        return sample(step, state, first, eos=EOS, max_length=predictor.limit([article]), generator=generator)


def _scored(predictor: CopyPredictor[Any], article: Article, tokens: Sequence[int], first: int) -> Hypothesis:
    """A given output with its log-probability."""
    device, given = predictor.model.device, iter([*tokens, EOS])

    def choose(logits: Tensor, places: Tensor | None) -> tuple[Tensor, Tensor]:
        token = torch.tensor([next(given)], device=device)
        return token, logits.log_softmax(-1).gather(1, token[:, None])[:, 0]

    with torch.inference_mode():
        start = torch.tensor([first], device=device)
        state = predictor.start([article])
        return roll_out(predictor.model.step, state, start, choose, eos=EOS, max_length=len(tokens) + 1)[0]
