"""Values of `regard` whose tensors are learned: the layer's own parameters."""

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
    """A score, bias or normalizer made anew at each call from parameters.

    ``Learned(Cosine, scale=torch.full((heads,), 10.0))``, ``Learned(RelativeBias, table=torch.zeros(heads, 32))``,
    ``Learned(Softmax, sink=torch.zeros(heads))``,
    ``Learned(lambda raw: Entmax(1 + torch.sigmoid(raw)), raw=torch.zeros(()))``.

    Args:
        make: the value's class, or a function that makes it.
        device: of the parameters; None: that of ``tensors``.
        dtype: of the parameters; None: that of ``tensors``.
        tensors: its arguments by name, with their initial values; each becomes a parameter of that name.

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
        """The value, of the parameters as they are now."""
        return self.make(**dict(self.named_parameters(recurse=False)))


def value_of(given: Any) -> Any:
    """The value itself, or what a `Learned` makes."""
    return given() if isinstance(given, Learned) else given


def row_of(given: Normalizer | Learned[Normalizer], dropout: float, training: bool) -> Normalizer:
    """The normalizer of a layer in training or in evaluation, where nothing is drawn or dropped."""
    made: Normalizer = value_of(given)
    if isinstance(made, Hard | Variational):
        made = replace(made, training=training and made.training)
    if isinstance(made, Dropout):
        return made if training else made.normalizer
    return Dropout(made, dropout) if training and dropout else made


SOFTMAX = Softmax()
"""What layers normalize with unless told otherwise."""
