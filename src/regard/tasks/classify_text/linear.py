"""A linear classifier of n-grams, fitted at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.data.arrays import read_arrays, write_arrays
from regard.data.ngrams import Bags, NGrams

_STRENGTH = 30.0
"""The weight of the loss of all texts, relative to half the squared norm of the weights."""
_STEPS = 100
"""The largest number of steps of L-BFGS."""
_SAVED = ("hashes", "idf", "weight", "bias")


class NGramClassifier:
    """Logistic regression on the n-grams of a text.

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
        """The classifier with the smallest loss on these texts, its squared weights included.

        Args:
            texts: the words of each.
            labels: the class of each, int64 ``(texts,)``, or the labels, bool ``(texts, classes)``.
            classes: their number.
            balance: weights of the classes: see `regard.data.labelled.balance`.
        """
        ngrams = NGrams.of(texts)
        bags, transposed = _tensors(ngrams.bags(texts)), _tensors(ngrams.bags(texts).transposed(len(ngrams.hashes)))
        weight, bias = torch.zeros(len(ngrams.hashes), classes), torch.zeros(classes)
        target, decay = torch.from_numpy(labels), 1 / (_STRENGTH * len(texts))
        weights = None if balance is None else torch.from_numpy(balance).float()
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            with torch.enable_grad():
                logits = (_products(bags, weight) + bias).requires_grad_()
                loss = _loss(logits, target, weights)
                (gradient,) = torch.autograd.grad(loss, logits)
            # The gradient as products of the same kind is twenty times as fast as that of embedding_bag.
            weight.grad, bias.grad = _products(transposed, gradient) + decay * weight, gradient.sum(0)
            return loss.detach() + decay / 2 * weight.square().sum()

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        return cls(ngrams, weight, bias)

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
        return _products(_tensors(self.ngrams.bags(texts)), self.weight) + self.bias


def _tensors(bags: Bags) -> tuple[Tensor, ...]:
    return tuple(map(torch.from_numpy, bags))


def _products(bags: tuple[Tensor, ...], matrix: Tensor) -> Tensor:
    """The sum of the rows of a matrix that each bag has, by its weights."""
    rows, weights, starts = bags
    return F.embedding_bag(rows, matrix, starts, mode="sum", per_sample_weights=weights)


def _loss(logits: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    """The mean over the texts."""
    if target.dim() == 1:
        return F.cross_entropy(logits, target, weight=weights, reduction="sum") / len(target)
    each = None if weights is None else torch.where(target, weights[1], weights[0])
    return F.binary_cross_entropy_with_logits(logits, target.float(), weight=each, reduction="sum") / len(target)
