"""A linear classifier of n-grams, fitted at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from regard.data.arrays import read_arrays, write_arrays
from regard.data.ngrams import Bags, NGrams
from regard.data.progress import counted
from regard.tasks.fitted.calibrated import Targets, calibration
from regard.tasks.fitted.machine import bag_tensors, products, support_vector_machine

_FOLDS = 4
"""The number of parts of the texts of which one is left out at a time, to calibrate the scores."""
_ENOUGH = 5000
"""No further part is left out when as many texts have been."""
_SAVED = ("hashes", "idf", "weight", "bias")


class NGramClassifier:
    """A linear support-vector machine on the n-grams of a text, whose scores are calibrated to logits.

    Each class has a function of its own, with the squared hinge loss. A linear function of its scores gives the logits:
    the one with the smallest cross-entropy of texts that were left out of the fit (Platt 1999).

    Args:
        ngrams: those that are known.
        weight: ``(n-grams, classes)``.
        bias: ``(classes,)``.

    >>> texts = [["good", "film"], ["bad", "film"], ["good", "cast"], ["bad", "cast"]]
    >>> model = NGramClassifier.fit(texts, np.array([1, 0, 1, 0]), classes=2)
    >>> model.logits([["bad"], ["good"]]).argmax(1).tolist()
    [0, 1]
    """

    file: ClassVar[str] = "ngrams"

    def __init__(self, ngrams: NGrams, weight: Tensor, bias: Tensor):
        self.ngrams, self.weight, self.bias = ngrams, weight, bias

    @classmethod
    def fit(
        cls, texts: Sequence[Sequence[str]], labels: np.ndarray, classes: int, *, balance: np.ndarray | None = None
    ) -> NGramClassifier:
        """The classifier of these texts.

        Args:
            texts: the words of each.
            labels: the class of each, int64 ``(texts,)``, or the labels, bool ``(texts, classes)``.
            classes: their number.
            balance: weights of the classes: see `regard.data.labelled.balance`.
        """
        ngrams = NGrams.of(texts)
        with counted("weighting n-grams") as count:
            bags = ngrams.bags(_each(texts, count))
        targets = Targets.of(labels, classes, balance)
        with counted("fitting the linear model, steps") as count:
            weight, bias = support_vector_machine(bags, targets, len(ngrams.hashes), count)
            scores, left_out = _scores_left_out(bags, targets, len(ngrams.hashes), count)
        scale, offsets = calibration(scores, targets.chosen(left_out))
        return cls(ngrams, scale * weight, scale * bias + offsets)

    @classmethod
    def load(cls, path: Path) -> NGramClassifier:
        """Read what `save` wrote. Raises UserError: the file is missing or damaged."""
        hashes, idf, weight, bias = read_arrays(path, _SAVED, "a classifier of n-grams")
        return cls(NGrams(hashes, idf), torch.from_numpy(weight), torch.from_numpy(bias))

    def save(self, path: Path) -> None:
        """Write to a safetensors file."""
        parts = (self.ngrams.hashes, self.ngrams.idf, self.weight.numpy(), self.bias.numpy())
        write_arrays(path, dict(zip(_SAVED, parts, strict=True)))

    def describe(self) -> str:
        """See `Fitted`."""
        return f"linear model: {len(self.weight):,} n-grams"

    def logits(self, texts: Iterable[Sequence[str]]) -> Tensor:
        """``(texts, classes)`` for the words of texts."""
        return products(bag_tensors(self.ngrams.bags(texts)), self.weight) + self.bias


def _each(texts: Iterable[Sequence[str]], count: Callable[[], None]) -> Iterator[Sequence[str]]:
    for text in texts:
        yield text
        count()


def _scores_left_out(bags: Bags, targets: Targets, size: int, count: Callable[[], None]) -> tuple[Tensor, Tensor]:
    """Scores of texts by machines that were fitted without them, ``(n, classes)``, and the numbers of these texts."""
    texts = len(targets.labels)
    order, folds = np.random.default_rng(0).permutation(texts), min(_FOLDS, texts)
    scores, left_out = [torch.empty(0, targets.labels.shape[1])], [np.empty(0, np.int64)]
    for fold in range(folds):
        if sum(map(len, left_out)) >= _ENOUGH:
            break
        apart = np.zeros(texts, bool)
        apart[order[fold::folds]] = True
        weight, bias = support_vector_machine(bags.of(~apart), targets.chosen(torch.from_numpy(~apart)), size, count)
        scores.append(products(bag_tensors(bags.of(apart)), weight) + bias)
        left_out.append(np.flatnonzero(apart))
    return torch.cat(scores), torch.from_numpy(np.concatenate(left_out))
