"""The table of masks: each with a function that says, for one query and one key, whether the query sees the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mechanisms import Sizes, random
from regard import BlockSparse, Causal, Documents, Lengths, Prefix, Window
from regard.attend import Mask


@dataclass(frozen=True)
class Row:
    """One mask.

    Attributes:
        make: sizes → the mask, as an argument of `regard.attention`.
        sees: sizes, sequence b of the batch, head h, query i, key j → whether the query sees the key.
    """

    make: Callable[[Sizes], Mask | Tensor | None]
    sees: Callable[[Sizes, int, int, int, int], bool]


def _lengths(size: Sizes, longest: int, seed: int) -> Tensor:
    """Random lengths, one for each sequence; that of the last sequence is 0."""
    lengths = torch.randint(longest + 1, (size.batch,), generator=torch.Generator().manual_seed(seed))
    return lengths.index_fill(0, torch.tensor([size.batch - 1]), 0) if size.batch > 1 else lengths


def _boolean(size: Sizes) -> Tensor:
    """A random boolean mask with one query that sees no key."""
    mask = random(size.batch, 1, size.queries, size.keys, seed=3) > -0.4
    mask[:1, :, size.queries // 2] = False
    return mask


def _packed(length: int) -> Tensor:
    """The numbers of three documents, one after the other."""
    return torch.arange(length) * 3 // max(1, length)


def _interleaved(size: Sizes, length: int) -> Tensor:
    """The numbers of two documents that take turns."""
    return torch.arange(size.batch)[:, None] + torch.arange(length)[None] % 2


def _layout(size: Sizes, block: int) -> Tensor:
    """A random layout of blocks, one for each head."""
    shape = (1, size.heads, -(-size.queries // block), -(-size.keys // block))
    return random(*shape, seed=4) > -0.3


def _position(size: Sizes, i: int) -> int:
    """The position of query i among the keys: the last query is at the last key."""
    return i + size.keys - size.queries


MASKS: dict[str, Row] = {
    "none": Row(lambda z: None, lambda z, b, h, i, j: True),
    "causal": Row(lambda z: Causal(), lambda z, b, h, i, j: j <= _position(z, i)),
    "causal, top left": Row(lambda z: Causal(0), lambda z, b, h, i, j: j <= i),
    "causal, negative": Row(lambda z: Causal(-2), lambda z, b, h, i, j: j <= i - 2),
    "causal, per sequence": Row(
        lambda z: Causal(_lengths(z, z.keys, 7) - 2), lambda z, b, h, i, j: j <= i + int(_lengths(z, z.keys, 7)[b]) - 2
    ),
    "window, per sequence": Row(
        lambda z: Window(1, 2, _lengths(z, z.keys, 8)),
        lambda z, b, h, i, j: -1 <= j - i - int(_lengths(z, z.keys, 8)[b]) <= 2,
    ),
    "window": Row(lambda z: Window(2, 1), lambda z, b, h, i, j: -2 <= j - _position(z, i) <= 1),
    "window, one side": Row(lambda z: Window(1, None), lambda z, b, h, i, j: j >= _position(z, i) - 1),
    "window, offset": Row(lambda z: Window(0, 2, offset=-3), lambda z, b, h, i, j: 0 <= j - i + 3 <= 2),
    "prefix": Row(lambda z: Prefix(z.keys // 2), lambda z, b, h, i, j: j < z.keys // 2),
    "prefixes": Row(lambda z: Prefix(_lengths(z, z.keys, 5)), lambda z, b, h, i, j: j < int(_lengths(z, z.keys, 5)[b])),
    "prefix, then causal": Row(
        lambda z: Causal() | Prefix(z.keys // 2), lambda z, b, h, i, j: j < z.keys // 2 or j <= _position(z, i)
    ),
    "lengths": Row(lambda z: Lengths(_lengths(z, z.keys, 1)), lambda z, b, h, i, j: j < int(_lengths(z, z.keys, 1)[b])),
    "lengths of both": Row(
        lambda z: Lengths(_lengths(z, z.keys, 1), queries=_lengths(z, z.queries, 2)),
        lambda z, b, h, i, j: j < int(_lengths(z, z.keys, 1)[b]) and i < int(_lengths(z, z.queries, 2)[b]),
    ),
    "documents": Row(
        lambda z: Documents(_packed(z.keys), _packed(z.queries), packed=True),
        lambda z, b, h, i, j: int(_packed(z.keys)[j]) == int(_packed(z.queries)[i]),
    ),
    "documents, interleaved": Row(
        lambda z: Documents(_interleaved(z, z.keys), _interleaved(z, z.queries)),
        lambda z, b, h, i, j: int(_interleaved(z, z.keys)[b, j]) == int(_interleaved(z, z.queries)[b, i]),
    ),
    "documents, causal": Row(
        lambda z: Documents(_packed(z.keys), _packed(z.queries)) & Causal(),
        lambda z, b, h, i, j: int(_packed(z.keys)[j]) == int(_packed(z.queries)[i]) and j <= _position(z, i),
    ),
    "blocks": Row(
        lambda z: BlockSparse(_layout(z, 2)[0, 0], 2), lambda z, b, h, i, j: bool(_layout(z, 2)[0, 0, i // 2, j // 2])
    ),
    "blocks per head, causal": Row(
        lambda z: BlockSparse(_layout(z, 3), 3) & Causal(),
        lambda z, b, h, i, j: bool(_layout(z, 3)[0, h, i // 3, j // 3]) and j <= _position(z, i),
    ),
    "blocks of two sizes": Row(
        lambda z: BlockSparse(_layout(z, 3), 3) & ~BlockSparse(_layout(z, 2), 2),
        lambda z, b, h, i, j: bool(_layout(z, 3)[0, h, i // 3, j // 3]) and not _layout(z, 2)[0, h, i // 2, j // 2],
    ),
    "blocks, union": Row(
        lambda z: BlockSparse(_layout(z, 2)[:, :1], 2) | BlockSparse(_layout(z, 2), 2),
        lambda z, b, h, i, j: bool(_layout(z, 2)[0, 0, i // 2, j // 2] or _layout(z, 2)[0, h, i // 2, j // 2]),
    ),
    "boolean": Row(_boolean, lambda z, b, h, i, j: bool(_boolean(z)[b, 0, i, j])),
    "not causal": Row(lambda z: ~Causal(), lambda z, b, h, i, j: j > _position(z, i)),
    "neither window nor boolean": Row(
        lambda z: ~(Window(1, 1) | _boolean(z)),
        lambda z, b, h, i, j: abs(j - _position(z, i)) > 1 and not _boolean(z)[b, 0, i, j],
    ),
    "either side": Row(
        lambda z: Window(None, 0) | Window(0, None), lambda z, b, h, i, j: j <= _position(z, i) or j >= _position(z, i)
    ),
    "later keys": Row(
        lambda z: Window(1, None) | ~Prefix(z.keys // 2),
        lambda z, b, h, i, j: j >= _position(z, i) - 1 or j >= z.keys // 2,
    ),
    "all three": Row(
        lambda z: Causal() & _boolean(z) & Lengths(_lengths(z, z.keys, 6)),
        lambda z, b, h, i, j: (
            j <= _position(z, i) and bool(_boolean(z)[b, 0, i, j]) and j < int(_lengths(z, z.keys, 6)[b])
        ),
    ),
}


def visible(name: str, size: Sizes) -> np.ndarray:
    """The mask as a boolean array ``(B, H, Lq, Lk)``."""
    result = np.zeros(size.scores, bool)
    for index in np.ndindex(*result.shape):
        result[index] = MASKS[name].sees(size, *index)
    return result
