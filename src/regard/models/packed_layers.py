"""The layers of a Transformer, packed for the C++ library: which ones it can run, and their weights."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from regard.attend import Dot, Softmax
from regard.attend.watching import Watching
from regard.kernels.cpu import library
from regard.kernels.cpu import step as native
from regard.kernels.cpu.rows import gelu
from regard.kernels.memory import is_plain, is_watched
from regard.kernels.packed import Kind
from regard.models.layers import TransformerLayer
from regard.nn import FeedForward, MultiHeadAttention, RMSNorm, Rotary
from regard.nn.packed import own_memory

Made = TypeVar("Made")

_NORMS = {nn.LayerNorm: native.LAYER_NORM, nn.RMSNorm: native.RMS_NORM, RMSNorm: native.RMS_NORM}


class PackedLayers:
    """Packed layers and the normalization after them.

    Attributes:
        model: the structure of the library, without what only a decoder has.
        turn: what turns queries and keys by their positions; None: nothing does.
    """

    def __init__(self, layers: nn.ModuleList, last: nn.Module, kind: Kind):
        first = _layer(layers[0])
        attend, feed = _attention(first.attend), first.feed
        self.turn, self.width = attend.position, attend.key.out_features // attend.key_heads
        packed = native.pack_layers([_packed_layer(_layer(one), kind) for one in layers])
        ending = native.pack_norm(None, None, 0.0) if isinstance(last, nn.Identity) else _norm(last)
        self.alive: list[Any] = [packed, ending]
        activation = native.GATED if feed.gate is not None else native.GELU if feed.activation is gelu else native.RELU
        self.model = native.Model(
            ctypes.addressof(packed.of), len(layers), attend.query.in_features, feed.inner.out_features, attend.heads,
            attend.key_heads, self.width, first.around_attend.order == "pre", _NORMS[type(first.around_attend.norm)],
            activation, attend_scale=self.width**-0.5,
            turned=self.turn.turned if isinstance(self.turn, Rotary) else 0,
            interleaved=isinstance(self.turn, Rotary) and self.turn.interleaved,
            ends_normed=not isinstance(last, nn.Identity), last=ending.of,
        )  # fmt: skip

    def reach(self, places: int) -> None:
        """Make the factors of rotary positions up to ``places``."""
        if isinstance(self.turn, Rotary):
            table, other = (one.contiguous() for one in self.turn._factors(torch.arange(places), torch.float32))
            self.alive += [table, other]  # those before may still be read by another thread
            self.model.own, self.model.other = table.data_ptr(), other.data_ptr()
        self.model.places = places


def readable(modules: Sequence[nn.Module], tensors: Sequence[Tensor], dtypes: Sequence[torch.dtype]) -> bool:
    """Whether the library may run modules with these parameters: it can read them, and nothing follows their calls.

    Gradients, a compiler, autocast, a watcher and hooks do.
    """
    if library.level is None or torch.is_grad_enabled() or is_watched() or Watching.current is not None:
        return False
    if torch.is_autocast_enabled("cpu") or nn.modules.module._has_any_global_hook():
        return False
    if any(one.training or one._forward_hooks or one._forward_pre_hooks for one in modules):
        return False
    read = [own_memory(one) for one in tensors]
    return is_plain(*read) and not any(one.dtype not in dtypes or one.is_inference() for one in read)


def version(tensors: Sequence[Tensor]) -> list[tuple[int, int, int]]:
    """What changes when a parameter is replaced or written to."""
    return [(id(one), one.data_ptr(), one._version) for one in tensors]


def packed_once(
    before: WeakKeyDictionary[nn.ModuleList, tuple[Any, Made]],
    layers: nn.ModuleList,
    key: Any,
    pack: Callable[[], Made],
) -> Made:
    """What was packed of these layers before, or packed now if it has another key."""
    kept = before.get(layers)
    if kept is None or kept[0] != key:
        kept = before[layers] = (key, pack())
    return kept[1]


def supported(layers: nn.ModuleList, last: nn.Module) -> bool:
    """Whether the library has these layers, and the normalization after them."""
    kinds = {_kind(one) for one in layers}
    if len(kinds) != 1 or None in kinds:
        return False
    return isinstance(last, nn.Identity) or type(last) is type(_layer(layers[0]).around_attend.norm)


def _kind(layer: nn.Module) -> object:
    """What all layers must have in common; None: the library does not have such a layer."""
    if type(layer) is not TransformerLayer or type(layer.feed) is not FeedForward:
        return None
    around = [one for one in (layer.around_attend, layer.around_cross, layer.around_feed) if one is not None]
    norms = {(type(one.norm), one.order) for one in around}
    if len(norms) != 1 or type(around[0].norm) not in _NORMS or any(one.norm.weight is None for one in around):
        return None
    attentions = [one for one in (layer.attend, layer.cross) if one is not None]
    if not all(_plain_attention(one) for one in attentions):
        return None
    own, cross, feed = _attention(layer.attend), layer.cross, layer.feed
    if cross is not None and (cross.position is not None or cross.key_heads != own.heads):
        return None
    inner, outer, gate = feed.inner, feed.outer, feed.gate  # each look-up in a module takes half a microsecond
    if any(type(one) is not nn.Linear for one in (inner, outer)) or type(gate) not in (nn.Linear, type(None)):
        return None
    widths = own.heads, own.key_heads, own.query.out_features, own.key.out_features
    return (*norms, widths, id(own.position), cross is None, gate is None, feed.activation, inner.out_features)


def _plain_attention(module: nn.Module) -> bool:
    """Whether it is softmax of dot products, of keys and values of the same width."""
    if type(module) is not MultiHeadAttention or module.score_bias is not None or module.key_position is not None:
        return False
    query, key, value, turn = module.query, module.key, module.value, module.position
    turned = turn is None or (type(turn) is Rotary and (turn.scaling is None or not turn.scaling.needs_length))
    width = key.out_features // module.key_heads
    sizes = value.out_features == key.out_features and query.out_features == width * module.heads
    score, row = module.score, module.normalizer
    plain = type(score) is Dot and score.scale is None and type(row) is Softmax and row.sink is None
    return turned and sizes and plain and module.extra_key is None and key.in_features == value.in_features


def _packed_layer(layer: TransformerLayer, kind: Kind) -> dict[str, native.Packed]:
    own, cross, feed = _attention(layer.attend), layer.cross, layer.feed
    parts = {
        "attend_norm": _norm(layer.around_attend.norm),
        "feed_norm": _norm(layer.around_feed.norm),
        "joined": _product(kind, own.query, own.key, own.value),
        "attend_output": _product(kind, own.output),
        "inner": _product(kind, feed.inner) if feed.gate is None else _product(kind, feed.inner, feed.gate),
        "outer": _product(kind, feed.outer),
    }
    if cross is not None and layer.around_cross is not None:
        parts["cross_norm"] = _norm(layer.around_cross.norm)
        parts["cross_query"], parts["cross_output"] = _product(kind, cross.query), _product(kind, cross.output)
    return parts


def _product(kind: Kind, *linears: nn.Linear) -> native.Packed:
    """The matrices of several layers with the same input as one."""
    biases: list[Tensor] = [one.bias for one in linears if one.bias is not None]
    return native.pack_product(torch.cat([one.weight for one in linears]), torch.cat(biases) if biases else None, kind)


def _norm(module: Any) -> native.Packed:
    eps = torch.finfo(torch.float32).eps if module.eps is None else module.eps
    return native.pack_norm(module.weight, getattr(module, "bias", None), eps)


def _layer(module: nn.Module) -> TransformerLayer:
    assert isinstance(module, TransformerLayer)
    return module


def _attention(module: nn.Module) -> MultiHeadAttention:
    assert isinstance(module, MultiHeadAttention)
    return module
