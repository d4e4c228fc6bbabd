"""Encodings of positions: added to the features, or as a rotation of queries and keys."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from regard.kernels.memory import is_watched
from regard.nn.layer import Device, Layer, check_kind
from regard.nn.scaling import Scaling


class SinusoidalPositions(nn.Module):
    """``x_p + [sin(p·w_0), cos(p·w_0), sin(p·w_1), …]``, ``w_i = base^(−2i/width)`` (Vaswani et al. 2017,
    arXiv:1706.03762).

    Nothing is learned, and every position has a vector.

    Args:
        width: of the features; even.
        base: the longest wavelength is 2π · base positions.

    Raises:
        ValueError: ``width`` is not even and positive, or ``base`` is not above 1.

    Example:
        >>> SinusoidalPositions(4)(torch.zeros(2, 4)).round(decimals=3)
        tensor([[0.0000, 1.0000, 0.0000, 1.0000],
                [0.8410, 0.5400, 0.0100, 1.0000]])
    """

    def __init__(self, width: int, base: float = 10_000.0):
        super().__init__()
        self.width, self.base = _even("width", width), _above("base", base, 1)

    def forward(self, x: Tensor, start: int = 0, *, positions: Tensor | None = None) -> Tensor:
        """Add to ``x`` ``(…, L, width)`` the positions from ``start`` on, or ``positions``: see `Rotary.forward`.

        Raises:
            ValueError: ``x`` has another width, or ``positions`` does not fit it.
        """
        _check(x, self.width, positions)
        if positions is None:
            positions = torch.arange(start, start + x.shape[-2], device=x.device)
        return x + _broadcast(self.at(positions), positions, x).to(x.dtype)

    def at(self, positions: Tensor) -> Tensor:
        """The vectors of ``positions`` ``(…)``, float32 ``(…, width)``."""
        rates = torch.exp(torch.arange(0, self.width, 2, device=positions.device) * (-math.log(self.base) / self.width))
        angles = positions[..., None].float() * rates
        return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)


class LearnedPositions(Layer):
    """A learned vector for each position, added to the features (Gehring et al. 2017, arXiv:1705.03122; as in BERT
    and GPT-2).

    Args:
        length: the number of positions.
        width: of the features.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: a size is not positive.

    Example:
        >>> layer = LearnedPositions(length=100, width=8)
        >>> layer(torch.randn(2, 10, 8), start=20).shape
        torch.Size([2, 10, 8])
    """

    def __init__(self, length: int, width: int, *, device: Device = None, dtype: torch.dtype | None = None):
        super().__init__()
        if min(length, width) < 1:
            raise ValueError(f"length and width must be positive, got {length}, {width}")
        self.weight = nn.Parameter(torch.empty(length, width, device=device, dtype=dtype))
        self._reset_own()

    def _reset_own(self) -> None:
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor, start: int = 0, *, positions: Tensor | None = None) -> Tensor:
        """Add to ``x`` ``(…, L, width)`` the positions from ``start`` on, or ``positions``: see `Rotary.forward`.

        Raises:
            IndexError: one of ``positions`` does not exist.
            ValueError: ``x`` reaches beyond the last position or has another width, or ``positions`` does not fit it.
        """
        _check(x, self.weight.shape[1], positions)
        if positions is not None:
            return x + _broadcast(self.weight[positions], positions, x)
        end = start + x.shape[-2]
        if not 0 <= start <= end <= len(self.weight):
            raise ValueError(f"x: reaches position {end}, but only {len(self.weight)} positions have a vector")
        return x + self.weight[start:end]


_TABLE = 256
"""The number of positions whose factors are computed together."""


class _Table(NamedTuple):
    """Factors of the positions from ``start`` to ``end``, and the dtype, device and mode that they are for."""

    key: object
    start: int
    end: int
    own: Tensor
    other: Tensor


class Rotary(nn.Module):
    """Queries and keys rotated by an angle proportional to the position: their product depends on the distance.

    Su et al. 2021 (arXiv:2104.09864): feature pair i of position p is rotated by ``p · base^(−2i/width)``.

    Args:
        width: of a head.
        base: 10,000 in the paper.
        turned: the number of features that are rotated, the first ones ("partial" in GPT-NeoX); even. None: all.
        interleaved: whether a pair is two adjacent features, as in the paper and GPT-J, or one of each half, as in
            GPT-NeoX and Llama.
        scaling: for contexts longer than those of the training: see `regard.nn.Scaling`; None: no scaling.

    Raises:
        ValueError: ``width`` or ``turned`` is not even and positive, or ``base`` is not above 1.

    Example:
        >>> rotary = Rotary(8)
        >>> query, key = torch.randn(8), torch.randn(8)
        >>> def score(query_position, key_position):
        ...     turned = rotary(query[None], query_position), rotary(key[None], key_position)
        ...     return (turned[0] * turned[1]).sum()
        ...
        >>> torch.allclose(score(3, 1), score(12, 10), atol=1e-5)  # only the distance matters
        True
    """

    def __init__(
        self,
        width: int,
        *,
        base: float = 10_000.0,
        turned: int | None = None,
        interleaved: bool = False,
        scaling: Scaling | None = None,
    ):
        super().__init__()
        self.width, self.base, self.interleaved = width, _above("base", base, 1), interleaved
        self.turned = _even("width" if turned is None else "turned", width if turned is None else turned)
        if self.turned > width:
            raise ValueError(f"turned: must be at most width, {width}, got {turned}")
        self.scaling = scaling
        self._kept: _Table | None = None

    def forward(self, x: Tensor, start: int = 0, *, positions: Tensor | None = None) -> Tensor:
        """Rotate queries or keys.

        Args:
            x: ``(B, H, L, width)``, or without leading dimensions.
            start: the position of the first.
            positions: int64 ``(L,)``, or ``(B, L)`` with B the first dimension of ``x``, instead of those from
                ``start`` on.

        Returns:
            As ``x``, computed in float32 (float64 for float64).

        Raises:
            ValueError: ``x`` has another width, or ``positions`` another length.
        """
        _check(x, self.width, positions)
        precise = torch.promote_types(x.dtype, torch.float32)
        if positions is None:
            own, other = self._from(start, x.shape[-2], precise, x.device)
        else:
            own, other = (_broadcast(factors, positions, x) for factors in self._factors(positions, precise))
        head = x if self.turned == self.width else x[..., : self.turned]
        if self.interleaved:
            partner = head.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
        else:
            partner = torch.cat(head.chunk(2, -1)[::-1], -1)
        turned = (head.to(precise) * own + partner.to(precise) * other).to(x.dtype)
        return turned if self.turned == self.width else torch.cat([turned, x[..., self.turned :]], -1)

    def _from(self, start: int, length: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        """The factors of the positions from ``start`` on.

        A table with those of the last call and the following ones is kept: queries and keys of all layers that share
        the module need the same ones, decoding steps the next ones, and computing them takes longer than attention.
        """
        end, fixed = start + length, self.scaling is None or not self.scaling.needs_length
        if torch.compiler.is_compiling() or not fixed:
            return self._factors(torch.arange(start, end, device=device), dtype)
        key, kept = (dtype, device, torch.is_inference_mode_enabled()), self._kept
        if kept is None or kept.key != key or start < kept.start or end > kept.end:
            count = max(length, _TABLE)
            own, other = self._factors(torch.arange(start, start + count, device=device), dtype)
            kept = _Table(key, start, start + count, own, other)
            # Tensors from inside a transform of torch.func or a mode may not be usable outside of it.
            if not (torch._C._are_functorch_transforms_active() or is_watched()):
                self._kept = kept
        return kept.own[start - kept.start : end - kept.start], kept.other[start - kept.start : end - kept.start]

    def _factors(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The factors of each feature and of its partner in the pair, each ``(…, turned)``."""
        steps = torch.arange(0, self.turned, 2, device=positions.device, dtype=dtype)
        rates = self.base ** (-steps / self.turned)
        factor = 1.0
        if self.scaling is not None:
            longest = int(positions.max()) + 1 if self.scaling.needs_length and positions.numel() else 0
            rates, factor = self.scaling.apply(rates, self.base, self.turned, longest)
        angles = positions[..., None].to(dtype) * rates
        cos, sin = angles.cos() * factor, angles.sin() * factor
        if self.interleaved:
            return torch.stack([cos, cos], -1).flatten(-2), torch.stack([-sin, sin], -1).flatten(-2)
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def _check(x: Tensor, width: int, positions: Tensor | None) -> None:
    """Refuse an ``x`` of another width, and positions that are neither ``(L,)`` nor ``(B, L)``."""
    check_kind("x", x)
    if x.dim() < 2 or x.shape[-1] != width:
        raise ValueError(f"x: expected width {width}, (…, L, {width}), got shape {tuple(x.shape)}")
    if positions is None:
        return
    got, length = tuple(positions.shape), x.shape[-2]
    if got != (length,) and not (x.dim() > 2 and got == (x.shape[0], length)):
        batch = x.shape[0] if x.dim() > 2 else "B"
        raise ValueError(f"positions: expected ({length},) or ({batch}, {length}), got {got}")


def _broadcast(vectors: Tensor, positions: Tensor, x: Tensor) -> Tensor:
    """The vectors of ``positions``, broadcastable to ``x`` with any dimensions between its batch and length."""
    return vectors if positions.dim() == 1 else vectors[(slice(None),) + (None,) * (x.dim() - 3)]


def _even(name: str, number: int) -> int:
    if number < 2 or number % 2:
        raise ValueError(f"{name}: must be even and positive, got {number}")
    return number


def _above(name: str, number: float, bound: float) -> float:
    if not number > bound:
        raise ValueError(f"{name}: must be above {bound}, got {number}")
    return number
