"""The interface of models that read a source and write a target token by token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from regard.decode import Step


class EncoderDecoder(nn.Module, ABC):
    """A model with an encoder and a decoder.

    ``forward`` takes the source, the target and the label smoothing, and returns the summed loss of the target tokens.

    Attributes:
        longest: the largest length of source and target, if positions are learned; None: unlimited.
    """

    longest: int | None = None

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    @abstractmethod
    def start(self, *source: Any, **options: Any) -> Any:
        """The decoder's state before the first token of each row; ``source``: the tensors of a batch."""

    @abstractmethod
    def step(self, tokens: Tensor, state: Any) -> Step:
        """One step of decoding, `regard.decode.StepFunction`: ``tokens`` int64 ``(B,)``."""
