"""The decoder of a Transformer, packed for the C++ library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from regard.kernels.cpu import library
from regard.kernels.cpu import step as native
from regard.kernels.cpu.call import DTYPES
from regard.kernels.packed import Kind
from regard.models.modules import modules_of, parameters_of
from regard.models.packed_layers import PackedLayers, packed_once, readable, supported, version
from regard.nn import LearnedPositions, SinusoidalPositions
from regard.nn.packed import own_memory

_PLACES = 256
"""The number of positions whose vectors are computed at first; it grows by doubling."""


@dataclass(frozen=True, eq=False)
class Stack:
    """What a step consists of.

    Attributes:
        embedding: the vectors of the tokens, ``(tokens, dim)``, which are also the output layer's weights.
        scale: the factor of the embeddings.
        positions: what adds positions to them; None: nothing does.
        layers: the layers.
        last: the normalization after them, or the identity.
        bias: of the output layer.
        shown: the layer whose attention to the memory is reported.
        kind: how the weights are stored, at least as short as they are; with fewer bits than float32, keys and values
            are bfloat16. Everything is computed in float32.
    """

    embedding: Tensor
    scale: float
    positions: nn.Module | None
    layers: nn.ModuleList
    last: nn.Module
    bias: Tensor
    shown: int = 0
    kind: Kind = "float32"

    def modules(self) -> list[nn.Module]:
        """All modules."""
        return modules_of(self.positions, self.layers, self.last)


class Decoder:
    """A packed stack."""

    def __init__(self, stack: Stack):
        kind: Kind = "bfloat16" if (stack.kind, stack.embedding.dtype) == ("float32", torch.bfloat16) else stack.kind
        self._layers = PackedLayers(stack.layers, stack.last, kind)
        self.embedding, self.positions, self.model = stack.embedding, stack.positions, self._layers.model
        self.tokens, self.dim = stack.embedding.shape
        self.width, self.key_heads, self.count = self._layers.width, self.model.key_heads, len(stack.layers)
        self.cross = getattr(stack.layers[0], "cross", None) is not None
        self.dtype = torch.float32 if kind == "float32" else torch.bfloat16
        output = native.pack_product(stack.embedding, stack.bias, kind)
        self._alive: list[object] = [output]
        model = self.model
        model.cross, model.shown, model.tokens, model.dtype = self.cross, stack.shown, self.tokens, DTYPES[self.dtype]
        model.embedding_scale, model.cross_scale, model.output = stack.scale, model.attend_scale, output.of
        self.reach(_PLACES)

    def reach(self, places: int) -> None:
        """Make the vectors of the positions up to ``places``. Raises ValueError: learned positions end before it."""
        positions, before = self.positions, self.model.places
        places = max(places, 2 * before)
        if isinstance(positions, LearnedPositions):
            if before:
                raise ValueError(f"x: reaches position {places}, but only {before} positions have a vector")
            table = positions.weight.detach().float().clone()
            places = len(table)
        elif isinstance(positions, SinusoidalPositions):
            table = positions.at(torch.arange(places))
        else:
            table = None
        if table is not None:
            self._alive.append(table)  # those before may still be read by another thread
            self.model.positions = table.data_ptr()
        self._layers.reach(places)


_decoders: WeakKeyDictionary[nn.ModuleList, tuple[Any, Decoder]] = WeakKeyDictionary()


def decoder_of(stack: Stack) -> Decoder | None:
    """The packed stack; None if the library does not have what it consists of, or something looks at its modules.

    It is packed again when a parameter has changed since it was.
    """
    modules = stack.modules()
    tensors = [stack.embedding, stack.bias, *parameters_of(modules)]
    if not readable(modules, tensors, (torch.float32, torch.bfloat16)):
        return None
    stack = replace(stack, embedding=own_memory(stack.embedding))
    added = stack.positions is None or type(stack.positions) in (LearnedPositions, SinusoidalPositions)
    if not (added and stack.embedding.is_contiguous() and supported(stack.layers, stack.last)):
        return None
    key = (library.level, stack.scale, stack.shown, stack.kind, version(tensors))
    return packed_once(_decoders, stack.layers, key, lambda: Decoder(stack))
