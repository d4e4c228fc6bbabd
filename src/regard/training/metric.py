"""Validation metrics: which direction is better, and how their values are printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regard.errors import UserError


@dataclass(frozen=True)
class Metric:
    """A validation metric of a task.

    Args:
        name: the key in the result of a task's ``evaluate``, and the value of ``train.metric``.
        higher_is_better: whether a higher value is better, as for an accuracy; False for a loss or an error rate.
        unit: the unit of the value, such as ``"%"``; empty: it has none.
        digits: significant digits to print.
        how: one line on how it is computed.

    >>> errors = Metric("word_error_rate", unit="%", digits=3)
    >>> errors.rank(12.5, loss=2.0) > errors.rank(13.0, loss=1.5)
    True
    >>> errors.described()
    'word_error_rate (%): lower is better'
    """

    name: str
    higher_is_better: bool = False
    unit: str = ""
    digits: int = 4
    how: str = ""

    def rank(self, value: float, loss: float) -> tuple[float, float]:
        """A key for comparing validations: the better one has the larger key; of equal values, the lower loss decides.

        A value that is not a number ranks last.
        """
        if math.isnan(value):
            return -math.inf, -loss
        return value if self.higher_is_better else -value, -loss

    def number(self, value: float) -> str:
        """``value`` with the metric's number of digits."""
        return f"{value:.{self.digits}g}"

    def figure(self, value: float) -> str:
        """``value`` with the metric's number of digits, and ``%`` if that is its unit; others are too long."""
        return self.number(value) + (" %" if self.unit == "%" else "")

    def described(self) -> str:
        """The name, the unit, how it is computed, and which direction is better."""
        unit = f" ({self.unit})" if self.unit else ""
        direction = f"{'higher' if self.higher_is_better else 'lower'} is better"
        return f"{self.name}{unit}: {'; '.join(filter(None, (self.how, direction)))}"


def figures_text(figures: Mapping[str, float], metrics: Sequence[Metric]) -> list[str]:
    """Each of ``figures`` in the format of its metric; one that is not among ``metrics`` has no unit.

    >>> figures_text({"loss": 2.0, "accuracy": 91.256}, [Metric("accuracy", unit="%")])
    ['loss 2', 'accuracy 91.26 %']
    """
    known = {metric.name: metric for metric in metrics}
    return [f"{name} {known.get(name, Metric(name)).figure(value)}" for name, value in figures.items()]


def metric_named(name: str, metrics: Sequence[Metric]) -> Metric:
    """The metric of a task that ``train.metric`` names. Raises UserError: the task has no such metric."""
    for metric in metrics:
        if metric.name == name:
            return metric
    names = ", ".join(metric.name for metric in metrics)
    raise UserError(f"train.metric: expected one of {names}, got {name!r}")
