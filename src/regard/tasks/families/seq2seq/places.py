"""Whether attention is where a word of a reference is in its source, beside chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from regard.data.words import NAMES
from regard.tasks.families.seq2seq.copying import CopyPredictor
from regard.tasks.families.seq2seq.data import PairList
from regard.tasks.results import Score, Scores

_FREQUENT = 100
"""The most frequent words of the vocabulary, which are not looked for: most of them have no single place."""


def placed(predictor: CopyPredictor[Any], pairs: PairList) -> Scores:
    """How much attention is on a word's own place when the reference needs it.

    For each word of the references that is in its text and is not one of the most frequent: the attention on the places
    of that word, and by chance, that is, the part of the text that these places are.
    """
    if getattr(predictor.model, "attend", True) is None:
        return {}  # no attention
    rare = min(len(NAMES) + _FREQUENT, len(predictor.vocabulary))
    weight, chance, count = 0.0, 0.0, 0
    for source, target in pairs:
        article = predictor.read(source)
        tokens = predictor.vocabulary.target(target, article.extra if predictor.copies else ())
        wanted = [at for at, token in enumerate(tokens) if token >= rare and token in article.numbers]
        if not wanted:
            continue
        numbers = np.array(article.numbers)
        weights, _ = predictor.origins([article], [tokens])[0]
        for at in wanted:
            places = numbers == tokens[at]
            weight, chance, count = weight + float(weights[at][places].sum()), chance + float(places.mean()), count + 1
    if not count:
        return {}
    how = f"per cent of the attention on the place of a reference's word, {count:,} words; by chance"
    return {"place": Score(100 * weight / count, f"{how} {100 * chance / count:.2f}")}
