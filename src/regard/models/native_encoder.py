"""The layers of a Transformer's encoder in one call of the C++ library.

In Python, each layer makes dozens of calls, which take longer than the products of a short text.
"""

from __future__ import annotations

import ctypes
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from regard.kernels.cpu import library
from regard.kernels.cpu import step as native
from regard.kernels.memory import is_plain
from regard.kernels.packed import Kind
from regard.models.modules import modules_of, parameters_of
from regard.models.packed_layers import PackedLayers, packed_once, readable, supported, version

_encoders: WeakKeyDictionary[nn.ModuleList, tuple[Any, PackedLayers]] = WeakKeyDictionary()


def encoded(layers: nn.ModuleList, last: nn.Module, x: Tensor, lengths: Tensor, kind: Kind) -> Tensor | None:
    """The outputs of layers without a memory, and of the normalization after them; None: they are left to PyTorch.

    Args:
        layers: the layers.
        last: the normalization, or the identity.
        x: the embedded tokens, ``(B, L, dim)``.
        lengths: int64 ``(B,)``.
        kind: how the weights are stored.
    """
    if x.dtype is not torch.float32 or not x.numel() or not is_plain(x, lengths):
        return None
    packed = _packed(layers, last, kind)
    if packed is None:
        return None
    batch, length, _ = x.shape
    if packed.turn is not None and packed.model.places < length:
        packed.reach(max(length, 2 * packed.model.places))
    outputs, ends = x.clone(memory_format=torch.contiguous_format), lengths.clamp(0, length).contiguous()
    native.run_together(
        native.EncodeCall(ctypes.addressof(packed.model), batch, length, ends.data_ptr(), x=outputs.data_ptr())
    )
    return outputs


def _packed(layers: nn.ModuleList, last: nn.Module, kind: Kind) -> PackedLayers | None:
    """The packed layers; None if the library does not have them, or something looks at them."""
    modules = modules_of(layers, last)
    tensors = parameters_of(modules)
    if not readable(modules, tensors, (torch.float32,)) or not supported(layers, last):
        return None
    key = (library.level, kind, version(tensors))
    return packed_once(_encoders, layers, key, lambda: PackedLayers(layers, last, kind))
