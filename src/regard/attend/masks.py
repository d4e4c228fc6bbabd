"""Masks, which define the keys that a query may attend to: small classes, combined by ``&``, ``|`` and ``~``.

A mask lowers to an interval ``[start, end)`` of keys for each query if possible, so that kernels skip the other keys,
and otherwise to a layout of blocks or a boolean tensor. Positions count along the keys: query i is at i + Lk − Lq
unless an offset is given, so that the last query is at the last key, as with a cache of past keys.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.attend.numbers import is_whole, is_whole_or_symbolic
from regard.attend.visible import Mask, Shape, Visible
from regard.kernels.memory import is_plain

__all__ = ["BlockSparse", "Causal", "Documents", "Lengths", "Prefix", "Window"]


@dataclass(frozen=True, eq=False)
class Causal(Mask):
    """Key j is visible to query i when ``j <= i + offset``.

    Attributes:
        offset: Lk − Lq by default, so that the last query sees the last key, as in FlashAttention and with a cache of
            past keys; 0 is PyTorch's ``is_causal``; ``(B,)`` integers give each sequence of a batch its own offset.

    Example:
        >>> from regard import Look, attention
        >>> words = torch.zeros(3, 1)
        >>> _, view = attention(words, words, words, mask=Causal(), look=Look(rows=[0, 1]))
        >>> view.rows.tolist()
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    """

    offset: int | Tensor | None = None

    def lower(self, shape: Shape, device: torch.device) -> Visible:
        """See `Mask.lower`."""
        queries, keys = shape[2:]
        offset = _offset("Causal", self.offset, shape, device)
        if isinstance(offset, Tensor):
            return Visible(end=(torch.arange(queries, device=device) + offset + 1).clamp(0, keys))
        end = torch.arange(offset + 1, offset + 1 + queries, device=device)
        return Visible(end=end.clamp(0, keys).view(1, 1, queries), causal=offset)


@dataclass(frozen=True, eq=False)
class Window(Mask):
    """Query i sees the keys from ``i + offset − left`` to ``i + offset + right``, both included.

    ``Causal() & Window(255, 0)`` or just ``Window(255, 0)`` is the sliding window of 256 keys (Beltagy et al. 2020,
    arXiv:2004.05150).

    Attributes:
        left: the number of keys that a query sees before its own position; None: all.
        right: the number of keys after it; None: all.
        offset: as in `Causal`.

    Example:
        >>> from regard import Look, attention
        >>> words = torch.zeros(4, 1)
        >>> _, view = attention(words, words, words, mask=Window(left=1, right=0), look=Look(rows=[0, 3]))
        >>> view.rows.tolist()
        [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """

    left: int | None
    right: int | None
    offset: int | Tensor | None = None

    def lower(self, shape: Shape, device: torch.device) -> Visible:
        """See `Mask.lower`. Raises ValueError: ``left`` or ``right`` is negative."""
        queries, keys = shape[2:]
        for name, size in (("left", self.left), ("right", self.right)):
            if size is not None and not is_whole_or_symbolic(size):
                raise TypeError(f"mask: Window.{name} must be a whole number or None, got {size!r}")
            if size is not None and size < 0:
                raise ValueError(f"mask: Window.{name} must not be negative, got {size}")
        own = torch.arange(queries, device=device)[None, None] + _offset("Window", self.offset, shape, device)
        return Visible(
            start=None if self.left is None else (own - self.left).clamp(0, keys),
            end=None if self.right is None else (own + self.right + 1).clamp(0, keys),
        )


@dataclass(frozen=True, eq=False)
class Prefix(Mask):
    """The first keys are visible to every query; ``Causal() | Prefix(n)`` is the mask of a prefix language model.

    Raffel et al. 2020 (arXiv:1910.10683), section 3.2.1.

    Attributes:
        keys: the number of keys, for all sequences or, ``(B,)``, for each.

    Example:
        >>> from regard import Look, attention
        >>> words = torch.zeros(4, 1)
        >>> _, view = attention(words, words, words, mask=Causal() | Prefix(2), look=Look(rows=[0, 3]))
        >>> view.rows.tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]
    """

    keys: int | Tensor

    def lower(self, shape: Shape, device: torch.device) -> Visible:
        """See `Mask.lower`. Raises ValueError: not from 0 to Lk."""
        if isinstance(self.keys, Tensor):
            return Visible(end=_lengths("Prefix.keys", self.keys, shape[0], shape[3], device)[:, None, None])
        if not is_whole_or_symbolic(self.keys):
            raise TypeError(f"mask: Prefix.keys must be a whole number or an integer tensor, got {self.keys!r}")
        if not 0 <= self.keys <= shape[3]:
            raise ValueError(f"mask: Prefix.keys must be from 0 to {shape[3]}, got {self.keys}")
        return Visible(end=torch.full((1, 1, 1), self.keys, device=device))


@dataclass(frozen=True, eq=False)
class Lengths(Mask):
    """The number of keys, and of queries, of each sequence of a batch that are real; the rest is padding.

    Attributes:
        keys: ``(B,)`` integers from 0 to Lk.
        queries: the same from 0 to Lq, or None: all are real. A padded query sees no key: its output is 0.

    Example:
        >>> from regard import Look, attention
        >>> words = torch.zeros(2, 1, 4, 1)  # two sequences, padded to length 4
        >>> _, view = attention(words, words, words, mask=Lengths(torch.tensor([4, 2])), look=Look(rows=[0]))
        >>> view.rows[:, 0, 0].tolist()
        [[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]]
    """

    keys: Tensor
    queries: Tensor | None = None

    def lower(self, shape: Shape, device: torch.device) -> Visible:
        """See `Mask.lower`."""
        batch, _, queries, keys = shape
        end = _lengths("Lengths.keys", self.keys, batch, keys, device)[:, None, None]
        if self.queries is not None:
            lengths = _lengths("Lengths.queries", self.queries, batch, queries, device)
            real = torch.arange(queries, device=device) < lengths[:, None]
            end = torch.where(real[:, None], end, 0)
        return Visible(end=end)


@dataclass(frozen=True, eq=False)
class Documents(Mask):
    """A query sees the keys of its own document, for several documents packed into one sequence.

    Attributes:
        keys: ``(B, Lk)`` or ``(Lk,)`` integers, the document of each key.
        queries: the same of each query, ``(B, Lq)`` or ``(Lq,)``; None: those of the last Lq keys.
        packed: a promise that the keys of each document are contiguous, so that the mask lowers to intervals. On a CPU
            this is checked, and no promise is needed; on a GPU or in a compiled graph it cannot be checked.

    Example:
        >>> from regard import Look, attention
        >>> words = torch.zeros(4, 1)
        >>> mask = Documents(torch.tensor([0, 0, 1, 1])) & Causal()
        >>> _, view = attention(words, words, words, mask=mask, look=Look(rows=[1, 2]))
        >>> view.rows.tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    """

    keys: Tensor
    queries: Tensor | None = None
    packed: bool = False

    def lower(self, shape: Shape, device: torch.device) -> Visible:
        """See `Mask.lower`. Raises ValueError: ``packed`` is True, but the documents are not contiguous."""
        batch, _, queries, keys = shape
        of_keys = _documents("keys", self.keys, batch, keys, device)
        if self.queries is None and queries > keys:
            raise ValueError(f"mask: Documents.queries must be given if there are more queries, {queries}, than keys")
        of_queries = (
            of_keys[:, keys - queries :]
            if self.queries is None
            else _documents("queries", self.queries, batch, queries, device)
        )
        same = (of_queries[:, :, None] == of_keys[:, None, :])[:, None]
        readable = is_plain(of_keys)
        contiguous = readable and _packed(of_keys)
        if self.packed and readable and not contiguous:
            raise ValueError("mask: Documents.packed is True, but the keys of a document are not contiguous")
        if not (self.packed or contiguous):
            return Visible(dense=same)
        # From the first key of the document, as many keys as it has; without keys, an empty interval.
        start = same.int().argmax(-1) if keys else same.sum(-1)
        return Visible(start=start, end=start + same.sum(-1))


@dataclass(frozen=True, eq=False)
class BlockSparse(Mask):
    """Blocks of queries see blocks of keys (Child et al. 2019, arXiv:1904.10509).

    Attributes:
        layout: boolean, ``(⌈Lq / size⌉, ⌈Lk / size⌉)``, with batch and heads before them if they differ.
        size: the side of a block.

    Example:
        >>> from regard import Look, attention
        >>> words = torch.zeros(4, 1)
        >>> layout = torch.tensor([[True, False], [True, True]])
        >>> _, view = attention(words, words, words, mask=BlockSparse(layout, size=2), look=Look(rows=[1, 2]))
        >>> view.rows.tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]
    """

    layout: Tensor
    size: int

    def lower(self, shape: Shape, device: torch.device) -> Visible:
        """See `Mask.lower`. Raises ValueError or TypeError: the layout does not fit."""
        if not is_whole(self.size) or self.size < 1:
            raise ValueError(f"mask: BlockSparse.size must be a whole number, at least 1, got {self.size!r}")
        if not isinstance(self.layout, Tensor) or self.layout.dtype is not torch.bool:
            raise TypeError(f"mask: BlockSparse.layout must be a boolean tensor, got {self.layout!r}")
        want = (*shape[:2], -(-shape[2] // self.size), -(-shape[3] // self.size))
        got = tuple(self.layout.shape)
        full = (1,) * (4 - len(got)) + got
        if len(full) != 4 or full[2:] != want[2:] or full[0] not in (1, want[0]) or full[1] not in (1, want[1]):
            raise ValueError(f"mask: BlockSparse.layout must have shape {want[2:]} or {want}, got {got}")
        if self.layout.device != device:
            raise ValueError(f"mask: BlockSparse.layout is on {self.layout.device}, query on {device}")
        return Visible(layout=self.layout.view(full), block=self.size)


def _offset(name: str, offset: int | Tensor | None, shape: Shape, device: torch.device) -> int | Tensor:
    """The offset as a number, or for each sequence of the batch as ``(B, 1, 1)``."""
    if offset is None:
        return shape[3] - shape[2]
    if isinstance(offset, Tensor):
        _integers(f"{name}.offset", offset, ((shape[0],),), device)
        return offset.to(torch.int64)[:, None, None]
    if not is_whole_or_symbolic(offset):
        raise TypeError(f"mask: {name}.offset must be a whole number, an integer tensor or None, got {offset!r}")
    return offset


def _integers(name: str, tensor: Tensor, shapes: tuple[tuple[int, ...], ...], device: torch.device) -> None:
    # The texts are formatted where they are raised: a compiled graph with a dynamic batch cannot do it before.
    if not isinstance(tensor, Tensor) or tensor.is_floating_point() or tensor.dtype is torch.bool:
        raise TypeError(f"mask: {name} must be an integer tensor of shape {_either(shapes)}, got {tensor!r}")
    if tuple(tensor.shape) not in shapes:
        raise ValueError(f"mask: {name} must have shape {_either(shapes)}, got {tuple(tensor.shape)}")
    if tensor.device != device:
        raise ValueError(f"mask: {name} is on {tensor.device}, query on {device}")


def _either(shapes: tuple[tuple[int, ...], ...]) -> str:
    return " or ".join(map(str, shapes))


def _lengths(name: str, lengths: Tensor, batch: int, longest: int, device: torch.device) -> Tensor:
    _integers(name, lengths, ((batch,),), device)
    if is_plain(lengths) and batch:
        smallest, largest = (int(bound) for bound in lengths.aminmax())
        if smallest < 0 or largest > longest:
            raise ValueError(f"mask: {name} must be from 0 to {longest}, got {lengths.tolist()}")
    return lengths.to(torch.int64).clamp(0, longest)


def _documents(name: str, ids: Tensor, batch: int, length: int, device: torch.device) -> Tensor:
    _integers(f"Documents.{name}", ids, ((batch, length), (length,)), device)
    return ids if ids.dim() == 2 else ids[None]


def _packed(ids: Tensor) -> bool:
    """Whether equal ids are contiguous in each row: there are then as many runs as different ids."""
    runs = (ids[:, 1:] != ids[:, :-1]).sum(1)
    ordered = ids.sort(1).values
    return bool((runs == (ordered[:, 1:] != ordered[:, :-1]).sum(1)).all())
