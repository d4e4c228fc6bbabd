"""Scaling rules that extend rotary positions to contexts longer than those of the training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scaling:
    """Changes the rate at which each pair of features is rotated.

    - ``"linear"``: every rate divided by ``factor`` (position interpolation, Chen et al. 2023, arXiv:2306.15595);
    - ``"ntk"``: the base grows, so that fast pairs keep their rate and the slowest is divided by ``factor`` (bloc97
      2023);
    - ``"dynamic"``: as ``ntk``, by the ratio of the length of the sequence to ``trained``; up to ``trained``, nothing
      changes;
    - ``"yarn"``: pairs that turn often within ``trained`` keep their rate, those that turn less than once are divided
      by ``factor``, those between are interpolated; queries and keys are scaled by ``0.1 ln factor + 1`` (Peng et al.
      2023, arXiv:2309.00071);
    - ``"llama3"``: the same in terms of wavelength, without the scale (Grattafiori et al. 2024, arXiv:2407.21783).

    Attributes:
        kind: the rule.
        factor: how many times the trained length, at least 1.
        trained: the length of the training's context, for ``dynamic``, ``yarn`` and ``llama3``.
        fast: the number of turns within ``trained`` from which a pair keeps its rate; None: 32 (yarn), 4 (llama3).
        slow: the number of turns up to which its rate is divided by ``factor``; 1 in both papers.

    Raises:
        ValueError: an attribute is missing or out of range.

    Example:
        >>> from regard.nn import Rotary
        >>> rotary = Rotary(64, base=500_000.0, scaling=Scaling("llama3", factor=8.0, trained=8192))
        >>> rotary(torch.randn(2, 10, 64), start=20_000).shape
        torch.Size([2, 10, 64])
    """

    kind: Literal["linear", "ntk", "dynamic", "yarn", "llama3"]
    factor: float
    trained: int | None = None
    fast: float | None = None
    slow: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "ntk", "dynamic", "yarn", "llama3"):
            raise ValueError(f"kind: expected linear, ntk, dynamic, yarn or llama3, got {self.kind!r}")
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"factor: must be at least 1, got {self.factor}")
        if self.kind in ("dynamic", "yarn", "llama3") and (self.trained is None or self.trained < 1):
            raise ValueError(f"trained: {self.kind} needs the length of the training's context, got {self.trained}")
        if self.fast is not None and self.fast <= self.slow:
            raise ValueError(f"fast: must be above slow, {self.slow}, got {self.fast}")

    @property
    def needs_length(self) -> bool:
        """Whether the rates depend on the length of the sequence."""
        return self.kind == "dynamic"

    def apply(self, rates: Tensor, base: float, width: int, length: int) -> tuple[Tensor, float]:
        """The changed rates, and the factor on queries and keys.

        Args:
            rates: ``(width / 2,)``, radians per position.
            base: of the rotary positions.
            width: the number of features that are rotated.
            length: of the sequence, for ``dynamic``.
        """
        if self.kind == "linear":
            return rates / self.factor, 1.0
        if self.kind == "ntk":
            return _grown(rates, base, width, self.factor), 1.0
        assert self.trained is not None
        if self.kind == "dynamic":
            if length <= self.trained:
                return rates, 1.0
            return _grown(rates, base, width, self.factor * length / self.trained - (self.factor - 1)), 1.0
        turns = self.trained * rates / (2 * math.pi)
        if self.kind == "llama3":
            fast = 4.0 if self.fast is None else self.fast
            kept = ((turns - self.slow) / (fast - self.slow)).clamp(0, 1)
            return rates * kept + rates / self.factor * (1 - kept), 1.0
        return self._yarn(rates, base, width, self.trained), 0.1 * math.log(self.factor) + 1.0

    def _yarn(self, rates: Tensor, base: float, width: int, trained: int) -> Tensor:
        """YaRN interpolates by the number of the pair, between the pairs that turn ``fast`` and ``slow`` times."""

        def pair(turns: float) -> float:
            return width * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base))

        first = max(0, math.floor(pair(32.0 if self.fast is None else self.fast)))
        last = min(width - 1, math.ceil(pair(self.slow)))
        pairs = torch.arange(len(rates), device=rates.device, dtype=rates.dtype)
        divided = ((pairs - first) / max(1e-3, last - first)).clamp(0, 1)
        return rates / self.factor * divided + rates * (1 - divided)


def _grown(rates: Tensor, base: float, width: int, factor: float) -> Tensor:
    """The rates for the base times ``factor^(width / (width − 2))``."""
    grown = base * factor ** (width / max(1, width - 2))
    steps = torch.arange(0, width, 2, device=rates.device, dtype=rates.dtype)
    return torch.exp(steps * (-math.log(grown) / width))
