"""The table of layers: how each is made, and what it is called with. Every generic test of layers runs every row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regard import ALiBi, Cosine, RelativeBias, Softmax
from regard.nn import (
    CBAM,
    GRU,
    AdditiveAttention,
    AttentionPooling,
    Cepstra,
    Dropout,
    FeedForward,
    HardAttention,
    Learned,
    LearnedPositions,
    LocationAwareAttention,
    LogMel,
    LuongAttention,
    MultiHeadAttention,
    RMSNorm,
    Rotary,
    Scaling,
    SelfAttention2d,
    SequenceDropout,
    SinusoidalPositions,
    SoftAttention,
    SqueezeExcitation,
    StepLinear,
    VariationalAttention,
)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        make: factory arguments (``device``, ``dtype``) → the layer.
        inputs: the positional arguments of a call, for a batch of two.
        options: the keyword arguments of a call.
        factory: whether it takes factory arguments, because it has parameters.
        called: whether it is called with tensors.
        ranks: the numbers of dimensions that its first input may have; None: two or more.
    """

    make: Callable[..., nn.Module]
    inputs: tuple[Tensor, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    factory: bool = True
    called: bool = True
    ranks: tuple[int, ...] | None = (2, 3)


_SEQUENCE, _MEMORY, _IMAGE = rand(2, 5, 8), rand(2, 7, 6, seed=1), rand(2, 8, 3, 5)
_REAL = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])


def _cosine(**factory: Any) -> MultiHeadAttention:
    score = Learned(Cosine, scale=torch.full((2,), 3.0, device="cpu"), **factory)
    bias = Learned(RelativeBias, table=torch.linspace(0, 1, 16, device="cpu").view(2, 8), **factory)
    return MultiHeadAttention(8, 2, score=score, score_bias=bias, **factory)


LAYERS: dict[str, Row] = {
    "AdditiveAttention": Row(lambda **f: AdditiveAttention(8, 6, 4, **f), (_SEQUENCE, _MEMORY)),
    "LuongAttention": Row(lambda **f: LuongAttention(8, 6, **f), (_SEQUENCE, _MEMORY)),
    "LuongAttention, concat": Row(lambda **f: LuongAttention(8, 6, "concat", **f), (_SEQUENCE, _MEMORY)),
    "LuongAttention, dot": Row(lambda **f: LuongAttention(8, 8, "dot", **f), (_SEQUENCE, rand(2, 7, 8)), factory=False),
    "LocationAwareAttention": Row(
        lambda **f: LocationAwareAttention(8, 6, 4, kernel=3, filters=2, **f),
        (rand(2, 8), _MEMORY, torch.softmax(rand(2, 7), -1)), ranks=(1, 2),
    ),
    "SoftAttention": Row(lambda **f: SoftAttention(8, 6, **f), (_SEQUENCE, _MEMORY)),
    "HardAttention": Row(lambda **f: HardAttention(8, **f), (_SEQUENCE,)),
    "VariationalAttention": Row(lambda **f: VariationalAttention(8, **f), (_SEQUENCE,)),
    "MultiHeadAttention": Row(lambda **f: MultiHeadAttention(8, 2, **f), (_SEQUENCE,)),
    "MultiHeadAttention, one head": Row(lambda **f: MultiHeadAttention(8, 1, **f), (_SEQUENCE,)),
    "MultiHeadAttention, memory": Row(
        lambda **f: MultiHeadAttention(8, 4, key_heads=2, memory_width=6, memory_value_width=9, bias=False, **f),
        (_SEQUENCE, _MEMORY, rand(2, 7, 9)),
    ),
    "MultiHeadAttention, extra key": Row(lambda **f: MultiHeadAttention(8, 2, extra_key=True, **f), (_SEQUENCE,)),
    "MultiHeadAttention, learned score and bias": Row(_cosine, (_SEQUENCE,)),
    "MultiHeadAttention, positions": Row(
        lambda **f: MultiHeadAttention(
            8, 2, score_bias=ALiBi(), position=Rotary(4), key_position=SinusoidalPositions(4), **f
        ),
        (_SEQUENCE,),
    ),
    "AttentionPooling": Row(lambda **f: AttentionPooling(8, seeds=3, heads=2, **f), (_SEQUENCE,)),
    "FeedForward": Row(lambda **f: FeedForward(8, 16, **f), (_SEQUENCE,), ranks=None),
    "FeedForward, gated": Row(lambda **f: FeedForward(8, 16, gated=True, **f), (_SEQUENCE,), ranks=None),
    "FeedForward, gelu": Row(lambda **f: FeedForward(8, 16, activation="gelu", **f), (_SEQUENCE,), ranks=None),
    "RMSNorm": Row(lambda **f: RMSNorm(8, **f), (_SEQUENCE,), ranks=None),
    "GRU": Row(lambda **f: GRU(8, 6, **f), (_SEQUENCE, _REAL)),
    "StepLinear": Row(lambda **f: StepLinear(8, 6, **f), (_SEQUENCE,), ranks=None),
    "SqueezeExcitation": Row(lambda **f: SqueezeExcitation(8, 2, **f), (_IMAGE,), ranks=(3, 4)),
    "CBAM": Row(lambda **f: CBAM(8, 2, kernel=3, **f), (_IMAGE,), ranks=(3, 4)),
    "SelfAttention2d": Row(lambda **f: SelfAttention2d(8, 2, **f), (_IMAGE,), ranks=(3, 4)),
    "SinusoidalPositions": Row(lambda: SinusoidalPositions(8), (_SEQUENCE,), factory=False, ranks=None),
    "LearnedPositions": Row(lambda **f: LearnedPositions(9, 8, **f), (_SEQUENCE,), ranks=None),
    "Rotary": Row(lambda: Rotary(8, scaling=Scaling("yarn", 2.0, 16)), (_SEQUENCE,), factory=False, ranks=None),
    "Dropout": Row(lambda: Dropout(0.5), (_SEQUENCE,), factory=False, ranks=None),
    "SequenceDropout": Row(lambda: SequenceDropout(0.5), (_SEQUENCE,), factory=False),
    "LogMel": Row(lambda: LogMel(8000, bands=8), (rand(2, 800),), factory=False, ranks=(1, 2)),
    "Cepstra": Row(lambda: Cepstra(8000, bands=8, count=5), (rand(2, 800),), factory=False, ranks=(1, 2)),
    "Learned": Row(lambda **f: Learned(Softmax, sink=torch.arange(2.0, device="cpu"), **f), called=False),
}  # fmt: skip


def first(result: Any) -> Tensor:
    """The first output of a layer that may return several."""
    return result if isinstance(result, Tensor) else result[0]
