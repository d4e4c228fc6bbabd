"""The base class of masks, with the operators ``&``, ``|`` and ``~``, and the result of lowering a mask."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regard.kernels.visibility import spread

Shape = tuple[int, int, int, int]
"""The shape of the scores, (B, H, Lq, Lk)."""


@dataclass(frozen=True, eq=False)
class Visible:
    """A lowered mask: a key is visible if every part allows it (None: no limit); shapes as in `Plan`."""

    start: Tensor | None = None
    end: Tensor | None = None
    dense: Tensor | None = None
    layout: Tensor | None = None
    block: int = 1
    causal: int | None = None

    @property
    def parts(self) -> frozenset[str]:
        """The names of the parts that are not None."""
        return frozenset(name for name in ("start", "end", "dense", "layout") if getattr(self, name) is not None)

    def whole(self, shape: Shape, device: torch.device) -> Tensor:
        """As one boolean tensor that broadcasts to ``shape``."""
        _, _, queries, keys = shape
        visible = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=device)
        rows, columns = torch.arange(queries, device=device), torch.arange(keys, device=device)
        if self.start is not None:
            visible = visible & (columns >= self.start[..., None])
        if self.end is not None:
            visible = visible & (columns < self.end[..., None])
        if self.layout is not None:
            visible = visible & spread(self.layout, rows // self.block, columns // self.block)
        return visible if self.dense is None else visible & self.dense

    def meet(self, other: Visible, shape: Shape, device: torch.device) -> Visible:
        """The keys that both show."""
        if self.layout is not None and other.layout is not None and self.block != other.block:
            # Layouts of different block sizes have no common layout, not even that of the smaller blocks.
            other = Visible(dense=other.whole(shape, device))
        return Visible(
            _join(torch.maximum, self.start, other.start),
            _join(torch.minimum, self.end, other.end),
            _join(torch.logical_and, self.dense, other.dense),
            _join(torch.logical_and, self.layout, other.layout),
            self.block if self.layout is not None else other.block,
            self.causal if not other.parts else (other.causal if not self.parts else None),
        )

    def join(self, other: Visible, shape: Shape, device: torch.device) -> Visible:
        """The keys that either shows."""
        if not self.parts or not other.parts:
            return Visible()
        if self.parts == other.parts == {"end"}:
            return Visible(end=_join(torch.maximum, self.end, other.end))
        if self.parts == other.parts == {"start"}:
            return Visible(start=_join(torch.minimum, self.start, other.start))
        if self.parts == other.parts == {"layout"} and self.block == other.block:
            return Visible(layout=_join(torch.logical_or, self.layout, other.layout), block=self.block)
        return Visible(dense=self.whole(shape, device) | other.whole(shape, device))

    def complement(self, shape: Shape, device: torch.device) -> Visible:
        """The keys that this hides."""
        if self.parts == {"end"}:
            return Visible(start=self.end)
        if self.parts == {"start"}:
            return Visible(end=self.start)
        if self.parts == {"layout"} and self.layout is not None:
            return Visible(layout=~self.layout, block=self.block)
        return Visible(dense=~self.whole(shape, device))


class Mask:
    """The base class of masks, which define the keys that each query sees.

    With ``a & b`` a query sees the keys that both masks show, with ``a | b`` those that either shows, with ``~a`` those
    that ``a`` hides. One of the two can be a boolean tensor. A mask of your own is a subclass with the method `lower`.

    Inside a function that ``torch.compile(fullgraph=True)`` or a strict ``torch.export`` traces, write
    ``a.complement()`` for ``~a``: PyTorch can trace that operator for its own classes only. Without
    ``fullgraph`` the operator only breaks the graph. A mask that is made outside of the function may use it.

    Example:
        >>> from regard import Causal, Look, Window, attention
        >>> words = torch.zeros(3, 1)
        >>> past = Causal() & ~Window(0, 0)  # the keys before the query's own
        >>> _, view = attention(words, words, words, mask=past, look=Look(rows=slice(None)))
        >>> view.rows.tolist()
        [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    """

    def lower(self, shape: Shape, device: torch.device) -> Visible:
        """The mask for scores of ``shape`` (B, H, Lq, Lk). Raises ValueError or TypeError: it does not fit them."""
        raise TypeError(f"mask: {type(self).__name__} must define lower(self, shape, device)")

    def __and__(self, other: Mask | Tensor) -> Mask:
        return _Both(self, as_mask(other))

    def __rand__(self, other: Tensor) -> Mask:
        return _Both(as_mask(other), self)

    def __or__(self, other: Mask | Tensor) -> Mask:
        return _Either(self, as_mask(other))

    def __ror__(self, other: Tensor) -> Mask:
        return _Either(as_mask(other), self)

    def __invert__(self) -> Mask:
        return self.complement()

    def complement(self) -> Mask:
        """The same as ``~mask``, for functions that `torch.compile` traces: it cannot trace that operator."""
        return _Not(self)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """A boolean tensor combined with a mask: PyTorch calls this, in a compiled graph too."""
        combination = _COMBINATIONS.get(func)
        return NotImplemented if combination is None else combination(*map(as_mask, args))


@dataclass(frozen=True, eq=False)
class Boolean(Mask):
    """A boolean tensor that broadcasts to ``(B, H, Lq, Lk)``, True where the query may attend. As an argument, a tensor
    is converted to this.

    Example:
        >>> from regard import Causal, Look, attention
        >>> words, seen = torch.zeros(3, 1), torch.tensor([True, True, False])
        >>> _, view = attention(words, words, words, mask=Boolean(seen) & Causal(), look=Look(rows=[0, 2]))
        >>> view.rows.tolist()  # seen & Causal() is the same
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    """

    tensor: Tensor

    def lower(self, shape: Shape, device: torch.device) -> Visible:
        """See `Mask.lower`."""
        got = tuple(self.tensor.shape)
        if len(got) > 4 or any(have not in (1, want) for have, want in zip(got[::-1], shape[::-1], strict=False)):
            raise ValueError(f"mask: a boolean mask must broadcast to (B, H, Lq, Lk) = {shape}, got shape {got}")
        if self.tensor.device != device:
            raise ValueError(f"mask: is on {self.tensor.device}, query on {device}")
        return Visible(dense=self.tensor[(None,) * (4 - len(got))])


@dataclass(frozen=True, eq=False)
class _Both(Mask):
    left: Mask
    right: Mask

    def lower(self, shape: Shape, device: torch.device) -> Visible:
        return self.left.lower(shape, device).meet(self.right.lower(shape, device), shape, device)


@dataclass(frozen=True, eq=False)
class _Either(Mask):
    left: Mask
    right: Mask

    def lower(self, shape: Shape, device: torch.device) -> Visible:
        return self.left.lower(shape, device).join(self.right.lower(shape, device), shape, device)


@dataclass(frozen=True, eq=False)
class _Not(Mask):
    mask: Mask

    def lower(self, shape: Shape, device: torch.device) -> Visible:
        return self.mask.lower(shape, device).complement(shape, device)


_COMBINATIONS: dict[Callable[..., Any], type[_Both | _Either]] = {
    **dict.fromkeys((operator.and_, Tensor.__and__, Tensor.__rand__, Tensor.bitwise_and), _Both),
    **dict.fromkeys((operator.or_, Tensor.__or__, Tensor.__ror__, Tensor.bitwise_or), _Either),
}


def as_mask(mask: Mask | Tensor) -> Mask:
    """A mask as it is, a boolean tensor as a `Boolean`. Raises TypeError: it is neither."""
    if isinstance(mask, Mask):
        return mask
    if isinstance(mask, Tensor) and mask.dtype is torch.bool:
        return Boolean(mask)
    got = f"a tensor of {mask.dtype}" if isinstance(mask, Tensor) else repr(mask)
    raise TypeError(f"mask: expected a mask such as Causal(), or a boolean tensor (True: may attend), got {got}")


def _join(operation: Callable[[Tensor, Tensor], Tensor], left: Tensor | None, right: Tensor | None) -> Tensor | None:
    if left is None or right is None:
        return left if right is None else right
    return operation(left, right)
