"""A linear support-vector machine on bags of n-grams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.data.ngrams import Bags
from regard.tasks.fitted.calibrated import Targets

_STRENGTH = 1.0
"""The weight of the loss of a text, relative to half the squared norm of the weights."""
_STEPS = 30
"""The largest number of steps of Newton's method."""
_INNER = 30
"""The largest number of steps of conjugate gradients in one of them."""
_HALVINGS = 10
"""How often a step that makes the loss larger is halved."""
_TOLERANCE = 1e-3
"""The fit ends when the norm of the gradient is as small, relative to the first one."""


def support_vector_machine(
    bags: Bags, targets: Targets, size: int, count: Callable[[], None] = lambda: None
) -> tuple[Tensor, Tensor]:
    """The weights and biases with the smallest loss: the squared hinge, and the squares of weights and biases.

    Each class has a function of its own. The loss is quadratic as long as no margin is crossed, so a few steps of
    Newton's method lead to its minimum, with conjugate gradients for the equations (Keerthi and DeCoste 2005).

    Args:
        bags: of ``n`` texts.
        targets: their labels.
        size: the number of n-grams.
        count: called after each step.

    Returns:
        ``(size, classes)`` and ``(classes,)``.
    """
    problem = _Problem(bag_tensors(bags), bag_tensors(bags.transposed(size)), targets)
    parameters = torch.zeros(size + 1, targets.labels.shape[1])
    scores = problem.scores(parameters)
    slope = problem.slope(scores, parameters)
    enough = _TOLERANCE * slope.norm(dim=0)
    for _ in range(_STEPS):
        direction = _solved(problem.curvature(scores), -slope)
        change = problem.scores(direction)
        length = problem.step(scores, parameters, change, direction)
        parameters, scores = parameters + length * direction, scores + length * change
        count()
        slope = problem.slope(scores, parameters)
        if bool((slope.norm(dim=0) <= enough).all()):
            break
    return parameters[:-1], parameters[-1]


@dataclass(frozen=True)
class _Problem:
    """The loss of each class, for parameters ``(size + 1, classes)``, of which the last row are biases."""

    bags: tuple[Tensor, ...]
    transposed: tuple[Tensor, ...]
    targets: Targets

    @property
    def signs(self) -> Tensor:
        return 2 * self.targets.labels.float() - 1

    def scores(self, parameters: Tensor) -> Tensor:
        """``(n, classes)``."""
        return products(self.bags, parameters[:-1]) + parameters[-1]

    def gradient(self, errors: Tensor) -> Tensor:
        """Of the product of scores and ``errors``, ``(size + 1, classes)``."""
        # As products of the same kind, it takes a twentieth of the time of the gradient of embedding_bag.
        return torch.cat([products(self.transposed, errors), errors.sum(0, keepdim=True)])

    def missing(self, scores: Tensor) -> Tensor:
        """What each text lacks to the margin of each class."""
        return (1 - self.signs * scores).clamp(min=0)

    def loss(self, scores: Tensor, parameters: Tensor) -> Tensor:
        errors = self.targets.weights * self.missing(scores).square()
        return _STRENGTH * errors.sum(0) + parameters.square().sum(0) / 2

    def slope(self, scores: Tensor, parameters: Tensor) -> Tensor:
        """The gradient of the loss."""
        errors = self.targets.weights * self.signs * self.missing(scores)
        return parameters - 2 * _STRENGTH * self.gradient(errors)

    def curvature(self, scores: Tensor) -> Callable[[Tensor], Tensor]:
        """The product of the second derivative and a matrix."""
        weights = 2 * _STRENGTH * self.targets.weights * (self.missing(scores) > 0)
        return lambda matrix: matrix + self.gradient(weights * self.scores(matrix))

    def step(self, scores: Tensor, parameters: Tensor, change: Tensor, direction: Tensor) -> Tensor:
        """The share of ``direction``, which adds ``change`` to scores, that makes no loss larger, ``(classes,)``."""
        before, length = self.loss(scores, parameters), torch.ones(scores.shape[1])
        for _ in range(_HALVINGS):
            worse = self.loss(scores + length * change, parameters + length * direction) > before
            length = torch.where(worse, length / 2, length)
            if not bool(worse.any()):
                break
        return length


def _solved(product: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
    """The solution of an equation for each column, by conjugate gradients, until a tenth of the error is left."""
    solution, residual = torch.zeros_like(right), right
    direction, square = residual, residual.square().sum(0)
    enough = 0.01 * square
    for _ in range(_INNER):
        image = product(direction)
        along = torch.where(square > enough, square / (direction * image).sum(0), torch.zeros_like(square))
        solution = solution + along * direction
        residual = residual - along * image
        new = residual.square().sum(0)
        if bool((new <= enough).all()):
            break
        direction, square = residual + torch.where(square > 0, new / square, new) * direction, new
    return solution


def bag_tensors(bags: Bags) -> tuple[Tensor, ...]:
    """For `products`."""
    return tuple(map(torch.from_numpy, bags))


def products(bags: tuple[Tensor, ...], matrix: Tensor) -> Tensor:
    """The sum of the rows of a matrix that each bag has, by its weights."""
    rows, weights, starts = bags
    return F.embedding_bag(rows, matrix, starts, mode="sum", per_sample_weights=weights)
