"""Whether attention is where a word of a reference is in its source, beside chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from regard.data.batching import fill
from regard.data.words import NAMES
from regard.tasks.families.seq2seq.copying import Article, CopyPredictor
from regard.tasks.families.seq2seq.data import PairList
from regard.tasks.results import Score, Scores

_FREQUENT = 100
"""The most frequent words of the vocabulary, which are not looked for: most of them have no single place."""

_MOST = 300
"""The number of references whose words are looked for."""


def placed(predictor: CopyPredictor[Any], pairs: PairList) -> Scores:
    """How much attention is on a word's own place when the reference needs it.

    For each word of the references that is in its text and is not one of the most frequent: the attention on the places
    of that word, and by chance, that is, the part of the text that these places are. Only the first 300 are used.
    """
    if getattr(predictor.model, "attend", True) is None:
        return {}  # no attention
    rare = min(len(NAMES) + _FREQUENT, len(predictor.vocabulary))
    shares: list[tuple[float, float]] = []
    for article, tokens, weights in _attention(predictor, pairs[:_MOST]):
        numbers = np.array(article.numbers)
        places = numbers == np.array(tokens)[:, None]
        needed = (np.array(tokens) >= rare) & places.any(1)
        shares += zip((weights * places).sum(1)[needed], places.mean(1)[needed], strict=True)
    if not shares:
        return {}
    weight, chance = 100 * np.mean(shares, 0)
    how = f"per cent of the attention on the place of a reference's word, {len(shares):,} words; by chance"
    return {"place": Score(float(weight), f"{how} {chance:.2f}")}


def _attention(predictor: CopyPredictor[Any], pairs: PairList) -> Iterator[tuple[Article, Sequence[int], np.ndarray]]:
    """Each source with the tokens of its reference and their attention."""
    examples = []
    for source, target in pairs:
        article = predictor.read(source)
        examples.append((article, predictor.target(article, target)))
    sizes = [(len(article), len(tokens)) for article, tokens in examples]
    order = sorted(range(len(examples)), key=lambda at: sizes[at])
    for batch in fill(order, sizes, predictor.batch_size):
        articles, targets = zip(*(examples[at] for at in batch), strict=True)
        origins = predictor.origins(list(articles), targets)
        for article, tokens, (weights, _) in zip(articles, targets, origins, strict=True):
            yield article, tokens, weights
