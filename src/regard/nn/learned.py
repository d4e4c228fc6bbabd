"""Scores, biases and normalizers whose tensors are parameters of a layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from regard.attend import Dropout, Hard, Normalizer, Softmax, Variational
from regard.nn.layer import Device, Layer, assign

Value = TypeVar("Value", covariant=True)


class Learned(Layer, Generic[Value]):
    """A score, bias or normalizer that is constructed from parameters in each call.

    ``Learned(Cosine, scale=torch.full((heads,), 10.0))``, ``Learned(RelativeBias, table=torch.zeros(heads, 32))``,
    ``Learned(Softmax, sink=torch.zeros(heads))``,
    ``Learned(lambda raw: Entmax(1 + torch.sigmoid(raw)), raw=torch.zeros(()))``.

    Args:
        make: the class, or a function that constructs the value.
        device: of the parameters; None: that of ``tensors``.
        dtype: of the parameters; None: that of ``tensors``.
        tensors: the arguments by name, with initial values; each becomes a parameter of that name.

    Example:
        >>> from regard.nn import MultiHeadAttention
        >>> sink = Learned(Softmax, sink=torch.zeros(2))
        >>> layer = MultiHeadAttention(8, 2, normalizer=sink)
        >>> [name for name, _ in layer.named_parameters() if "sink" in name]
        ['normalizer.sink']
    """

    def __init__(
        self, make: Callable[..., Value], *, device: Device = None, dtype: torch.dtype | None = None, **tensors: Tensor
    ):
        super().__init__()
        self.make = make
        self._initial = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        for name, tensor in self._initial.items():
            parameter = tensor.to(device=device, dtype=dtype, copy=True)
            self.register_parameter(name, nn.Parameter(parameter))

    def _reset_own(self) -> None:
        for name, initial in self._initial.items():
            if initial.is_meta:
                raise RuntimeError(
                    f"Learned: {name} was given on the meta device and has no values to reset to; "
                    "give a tensor with values, and device='meta'"
                )
            assign(self.get_parameter(name), initial)

    def forward(self) -> Value:
        """The value, constructed from the current parameters."""
        return self.make(**dict(self.named_parameters(recurse=False)))


def value_of(value: Any) -> Any:
    """The value itself, or the value that a `Learned` constructs."""
    return value() if isinstance(value, Learned) else value


def row_of(normalizer: Normalizer | Learned[Normalizer], dropout: float, training: bool) -> Normalizer:
    """The normalizer of a layer in training, or in evaluation, where nothing is drawn or dropped."""
    value: Normalizer = value_of(normalizer)
    if isinstance(value, Hard | Variational):
        value = replace(value, training=training and value.training)
    if isinstance(value, Dropout):
        return value if training else value.normalizer
    return Dropout(value, dropout) if training and dropout else value


SOFTMAX = Softmax()
"""The default normalizer of layers."""
