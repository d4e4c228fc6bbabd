"""The decoder of a Transformer, packed for the C++ library: which models it can run, and their weights."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from regard.attend import Dot, Softmax
from regard.attend.watching import Watching
from regard.kernels.cpu import library
from regard.kernels.cpu import step as native
from regard.kernels.cpu.call import DTYPES
from regard.kernels.cpu.rows import gelu
from regard.kernels.memory import is_plain, is_watched
from regard.kernels.packed import Kind
from regard.models.layers import TransformerLayer
from regard.nn import FeedForward, LearnedPositions, MultiHeadAttention, RMSNorm, Rotary, SinusoidalPositions
from regard.nn.packed import own_memory

_PLACES = 256
"""The number of positions whose vectors are computed at first; it grows by doubling."""

_NORMS = {nn.LayerNorm: native.LAYER_NORM, nn.RMSNorm: native.RMS_NORM, RMSNorm: native.RMS_NORM}


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

    def tensors(self) -> Iterator[Tensor]:
        """All parameters."""
        yield from (self.embedding, self.bias)
        for part in (self.positions, self.layers, self.last):
            if part is not None:
                yield from part.parameters()

    def modules(self) -> Iterator[nn.Module]:
        """All modules."""
        for part in (self.positions, self.layers, self.last):
            if part is not None:
                yield from part.modules()


class Decoder:
    """A packed stack."""

    def __init__(self, stack: Stack):
        first = _layer(stack.layers[0])
        attend, feed = _attention(first.attend), first.feed
        self.embedding, self.positions, self.turn = stack.embedding, stack.positions, attend.position
        self.width, self.heads, self.key_heads = (
            attend.key.out_features // attend.key_heads,
            attend.heads,
            attend.key_heads,
        )
        self.count, self.cross = len(stack.layers), first.cross is not None
        kind: Kind = "bfloat16" if (stack.kind, stack.embedding.dtype) == ("float32", torch.bfloat16) else stack.kind
        self.dtype = torch.float32 if kind == "float32" else torch.bfloat16
        self.layers = native.pack_layers([_packed_layer(_layer(one), kind) for one in stack.layers])
        last = native.pack_norm(None, None, 0.0) if isinstance(stack.last, nn.Identity) else _norm(stack.last)
        output = native.pack_product(stack.embedding, stack.bias, kind)
        self.alive = (last, output)
        self.tokens, self.dim = stack.embedding.shape
        activation = native.GATED if feed.gate is not None else native.GELU if feed.activation is gelu else native.RELU
        scale = self.width**-0.5
        self.model = native.Model(
            ctypes.addressof(self.layers.of), self.count, self.dim, feed.inner.out_features, self.heads,
            self.key_heads, self.width, first.around_attend.order == "pre", _NORMS[type(first.around_attend.norm)],
            activation, self.cross, stack.shown, self.tokens, DTYPES[self.dtype], stack.scale, scale, scale,
            turned=self.turn.turned if isinstance(self.turn, Rotary) else 0,
            interleaved=isinstance(self.turn, Rotary) and self.turn.interleaved,
            ends_normed=not isinstance(stack.last, nn.Identity), last=last.of, output=output.of,
        )  # fmt: skip
        self.tables = list[Tensor]()  # those that are no longer used may still be read by another thread
        self.reach(_PLACES)

    def reach(self, places: int) -> None:
        """Make the vectors of the positions up to ``places``. Raises ValueError: learned positions end before it."""
        positions, model = self.positions, self.model
        places = max(places, 2 * model.places)
        if isinstance(positions, LearnedPositions):
            if model.places:
                raise ValueError(f"x: reaches position {places}, but only {model.places} positions have a vector")
            table = positions.weight.detach().float().clone()
            places = len(table)
        elif isinstance(positions, SinusoidalPositions):
            table = positions.at(torch.arange(places))
        elif isinstance(self.turn, Rotary):
            table, other = (one.contiguous() for one in self.turn._factors(torch.arange(places), torch.float32))
            self.tables += [table, other]
            model.own, model.other, model.places = table.data_ptr(), other.data_ptr(), places
            return
        self.tables.append(table)
        model.positions, model.places = table.data_ptr(), places


_DTYPES = (torch.float32, torch.bfloat16)

_decoders: WeakKeyDictionary[nn.ModuleList, tuple[Any, Decoder]] = WeakKeyDictionary()


def decoder_of(stack: Stack) -> Decoder | None:
    """The packed stack; None if the library does not have what it consists of, or something looks at its modules.

    It is packed again when a parameter has changed since it was.
    """
    if not _may_run(stack):
        return None
    tensors = list(stack.tensors())
    read = [own_memory(one) for one in tensors]
    if not is_plain(*read) or any(one.dtype not in _DTYPES or one.is_inference() for one in read):
        return None
    stack = replace(stack, embedding=own_memory(stack.embedding))
    if not stack.embedding.is_contiguous():
        return None
    key = (
        library.level,
        stack.scale,
        stack.shown,
        stack.kind,
        [(id(one), one.data_ptr(), one._version) for one in tensors],
    )
    before = _decoders.get(stack.layers)
    if not _supported(stack):
        return None
    if before is not None and before[0] == key:
        return before[1]
    made = Decoder(stack)
    _decoders[stack.layers] = (key, made)
    return made


def _may_run(stack: Stack) -> bool:
    """Whether nothing follows the calls of its modules: gradients, a compiler, autocast, a watcher, hooks."""
    if library.level is None or torch.is_grad_enabled() or is_watched() or Watching.current is not None:
        return False
    if torch.is_autocast_enabled("cpu") or nn.modules.module._has_any_global_hook():
        return False
    return not any(one.training or one._forward_hooks or one._forward_pre_hooks for one in stack.modules())


def _supported(stack: Stack) -> bool:
    positions, layers = stack.positions, list(stack.layers)
    added = positions is None or type(positions) in (LearnedPositions, SinusoidalPositions)
    kinds = {_kind(one) for one in layers}
    if not added or len(kinds) != 1 or None in kinds:
        return False
    if isinstance(stack.last, nn.Identity):
        return True
    return type(stack.last) is type(_layer(layers[0]).around_attend.norm)


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
    own, feed = _attention(layer.attend), layer.feed
    if layer.cross is not None and (layer.cross.position is not None or layer.cross.key_heads != own.heads):
        return None
    if any(type(one) is not nn.Linear for one in (feed.inner, feed.outer)) or type(feed.gate) not in (
        nn.Linear,
        type(None),
    ):
        return None
    turn, widths = own.position, (own.heads, own.key_heads, own.query.out_features, own.key.out_features)
    return (*norms, widths, id(turn), layer.cross is None, feed.gate is None, feed.activation, feed.inner.out_features)


def _plain_attention(module: nn.Module) -> bool:
    """Whether it is softmax of dot products, of keys and values of the same width."""
    if type(module) is not MultiHeadAttention or module.score_bias is not None or module.key_position is not None:
        return False
    turn, width = module.position, module.key.out_features // module.key_heads
    turned = turn is None or (type(turn) is Rotary and (turn.scaling is None or not turn.scaling.needs_length))
    sizes = module.value.out_features == module.key.out_features and module.query.out_features == width * module.heads
    score, row = module.score, module.normalizer
    plain = type(score) is Dot and score.scale is None and type(row) is Softmax and row.sink is None
    return (
        turned and sizes and plain and module.extra_key is None and module.key.in_features == module.value.in_features
    )


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
