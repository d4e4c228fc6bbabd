"""What a classifier of texts says about some of them, for attributions to its words."""

from __future__ import annotations

import torch
from torch import Tensor

from regard.attribution.compared import Case, Explainable
from regard.data.texts import Texts
from regard.data.word_batches import word_batch
from regard.data.word_features import Features
from regard.errors import UserError
from regard.models.one_window import NumberedWords
from regard.models.text import TextClassifier


def explainable(model: TextClassifier, features: Features, window: int, texts: Texts, limit: int) -> Explainable:
    """The class of each of the first texts, of which a window is read, by the numbers of its words.

    Args:
        model: the classifier.
        features: of its words.
        window: the number of words that it reads together.
        texts: with the right classes.
        limit: the largest number of texts.

    Raises:
        UserError: no text has a word.
    """
    rows = [row for row, words in enumerate(texts.words[:limit]) if words]
    if not rows:
        raise UserError("data: none of the texts has a word")
    words = [texts.words[row][:window] for row in rows]
    batch = word_batch(words, features, window)
    numbered = NumberedWords(model, torch.from_numpy(batch.features).to(model.output.weight.device)).eval()
    cases, right = [], 0
    for row, numbers, own in zip(rows, torch.from_numpy(batch.words[:, 0]), words, strict=True):
        tokens = (numbers[: len(own)] + 1)[None].to(model.output.weight.device)
        with torch.no_grad():
            logits = numbered(tokens)[0]
        best = int(logits.argmax())
        target = _Probability(best) if texts.several else best
        cases.append(
            Case({"words": tokens}, torch.ones(len(own), dtype=torch.bool), target, _deciding(texts, row, best, own))
        )
        right += bool(texts.labels[row][best]) if texts.several else best == int(texts.labels[row])
    notes = [
        f"{right:,} of {len(rows):,} with the label that has the largest logit"
        if texts.several
        else f"{right:,} of {len(rows):,} classified as labelled",
        "removed words are hidden: they have the vector 0, as some have in training",
    ]
    if cut := sum(len(texts.words[row]) > window for row in rows):
        notes.append(f"cut to a window of {window:,} words: {cut:,} of {len(rows):,} texts")
    return Explainable(numbered, cases, NumberedWords.HIDDEN, "texts", notes)


def _deciding(texts: Texts, row: int, label: int, words: list[str]) -> Tensor | None:
    """Which word decides for a label, boolean ``(L,)``; None: it is not known, or there is none."""
    if texts.deciding is None:
        return None
    place = int(texts.deciding[row][label] if texts.several else texts.deciding[row])
    return torch.arange(len(words)) == place if 0 <= place < len(words) else None


class _Probability:
    """The probability of a label, of logits of labels that apply each for itself."""

    def __init__(self, label: int):
        self._label = label

    def __call__(self, logits: Tensor) -> Tensor:
        return logits[:, self._label].sigmoid()
