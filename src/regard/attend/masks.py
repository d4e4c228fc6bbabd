"""Which keys a query may attend to: small values, joined with ``&``. True means "may attend".

A mask lowers to row intervals ``[start, end)`` where it can, so that kernels skip what lies outside, and to a boolean
tensor where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Visible:
    """A lowered mask: where ``start <= j < end`` and ``dense`` (each None: no limit); shapes as in `Plan`."""

    start: Tensor | None = None
    end: Tensor | None = None
    dense: Tensor | None = None

    def meet(self, other: Visible) -> Visible:
        """What both let through."""
        return Visible(
            _join(torch.maximum, self.start, other.start),
            _join(torch.minimum, self.end, other.end),
            _join(torch.logical_and, self.dense, other.dense),
        )


class Mask:
    """What the masks share: ``a & b`` lets through what both let through."""

    def lower(self, shape: tuple[int, int, int, int], device: torch.device) -> Visible:
        """The mask for scores of ``shape`` (B, H, Lq, Lk). Raises ValueError or TypeError: it does not fit them."""
        raise TypeError(f"mask: {type(self).__name__} is not a mask of its own")

    def __and__(self, other: Mask | Tensor) -> Mask:
        return _And(self, as_mask(other))

    def __rand__(self, other: Tensor) -> Mask:
        return _And(as_mask(other), self)


@dataclass(frozen=True, eq=False)
class Causal(Mask):
    """Key j is visible to query i when ``j <= i + offset``.

    Attributes:
        offset: Lk − Lq unless given, so that the last query sees the last key, as in FlashAttention and with a cache of
            past keys; 0 is PyTorch's own ``is_causal``.
    """

    offset: int | None = None

    def lower(self, shape: tuple[int, int, int, int], device: torch.device) -> Visible:
        """See `Mask.lower`."""
        queries, keys = shape[2:]
        offset = keys - queries if self.offset is None else self.offset
        end = torch.arange(queries, device=device) + (offset + 1)
        return Visible(end=end.clamp(0, keys)[None, None])


@dataclass(frozen=True, eq=False)
class Lengths(Mask):
    """How many keys, and queries, of each sequence of a batch are real; the rest is padding.

    Attributes:
        keys: ``(B,)`` integers from 0 to Lk.
        queries: the same from 0 to Lq, or None: all are real. A padded query sees no key: its output is 0.
    """

    keys: Tensor
    queries: Tensor | None = None

    def lower(self, shape: tuple[int, int, int, int], device: torch.device) -> Visible:
        """See `Mask.lower`."""
        batch, _, queries, keys = shape
        end = _lengths("keys", self.keys, batch, keys, device)[:, None, None]
        if self.queries is not None:
            lengths = _lengths("queries", self.queries, batch, queries, device)
            real = torch.arange(queries, device=device) < lengths[:, None]
            end = torch.where(real[:, None], end, 0)
        return Visible(end=end)


@dataclass(frozen=True, eq=False)
class Boolean(Mask):
    """A boolean tensor that broadcasts to ``(B, H, Lq, Lk)``, True where the query may attend; tensors become this."""

    tensor: Tensor

    def lower(self, shape: tuple[int, int, int, int], device: torch.device) -> Visible:
        """See `Mask.lower`."""
        got = tuple(self.tensor.shape)
        if len(got) > 4 or any(have not in (1, want) for have, want in zip(got[::-1], shape[::-1], strict=False)):
            raise ValueError(f"mask: a boolean mask must broadcast to (B, H, Lq, Lk) = {shape}, got shape {got}")
        if self.tensor.device != device:
            raise ValueError(f"mask: is on {self.tensor.device}, query on {device}")
        return Visible(dense=self.tensor[(None,) * (4 - len(got))])


@dataclass(frozen=True, eq=False)
class _And(Mask):
    left: Mask
    right: Mask

    def lower(self, shape: tuple[int, int, int, int], device: torch.device) -> Visible:
        return self.left.lower(shape, device).meet(self.right.lower(shape, device))


def as_mask(mask: Mask | Tensor) -> Mask:
    """A mask as it is, a boolean tensor as a `Boolean`. Raises TypeError: it is neither."""
    if isinstance(mask, Mask):
        return mask
    if isinstance(mask, Tensor) and mask.dtype is torch.bool:
        return Boolean(mask)
    got = f"a tensor of {mask.dtype}" if isinstance(mask, Tensor) else repr(mask)
    raise TypeError(f"mask: expected a mask such as Causal(), or a boolean tensor (True: may attend), got {got}")


def _join(how: Callable[[Tensor, Tensor], Tensor], left: Tensor | None, right: Tensor | None) -> Tensor | None:
    if left is None or right is None:
        return left if right is None else right
    return how(left, right)


def _lengths(name: str, lengths: Tensor, batch: int, longest: int, device: torch.device) -> Tensor:
    if not isinstance(lengths, Tensor) or lengths.is_floating_point() or lengths.dtype is torch.bool:
        raise TypeError(f"mask: Lengths.{name} must be an integer tensor of shape ({batch},), got {lengths!r}")
    if tuple(lengths.shape) != (batch,):
        raise ValueError(f"mask: Lengths.{name} must have shape ({batch},), got {tuple(lengths.shape)}")
    if lengths.device != device:
        raise ValueError(f"mask: Lengths.{name} is on {lengths.device}, query on {device}")
    # Only where looking at the numbers is free: on a GPU it would wait, in a graph there are none yet.
    if device.type == "cpu" and batch and not torch.compiler.is_compiling():
        least, most = (int(bound) for bound in lengths.aminmax())
        if least < 0 or most > longest:
            raise ValueError(f"mask: Lengths.{name} must be from 0 to {longest}, got {lengths.tolist()}")
    return lengths.to(torch.int64).clamp(0, longest)
