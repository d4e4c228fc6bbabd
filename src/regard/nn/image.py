"""Attention over images: over channels, over positions, and between positions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from regard.attend import Look, Normalizer, View
from regard.nn.layer import Device, Layer, check_shape
from regard.nn.learned import SOFTMAX, Learned, row_of
from regard.nn.optional_look import attend_heads


class Gates(NamedTuple):
    """The factors of an image, from 0 to 1: ``channel`` ``(B, C)`` and ``place`` ``(B, H, W)``, one for each position.

    Without B if the image has no B.

    Example:
        >>> _, gates = CBAM(8)(torch.randn(2, 8, 5, 7))
        >>> gates.channel.shape, gates.place.shape
        (torch.Size([2, 8]), torch.Size([2, 5, 7]))
    """

    channel: Tensor
    place: Tensor | None


class SqueezeExcitation(Layer):
    """``x · σ(W₂ relu(W₁ mean(x)))``: a factor for each channel, computed from the image (Hu et al. 2018,
    arXiv:1709.01507).

    Args:
        channels: C.
        reduction: r: the hidden layer has C / r units, at least one.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: a size is not positive.

    Example:
        >>> output, gates = SqueezeExcitation(8, reduction=2)(torch.randn(2, 8, 5, 7))
        >>> output.shape
        torch.Size([2, 8, 5, 7])
    """

    def __init__(self, channels: int, reduction: int = 16, *, device: Device = None, dtype: torch.dtype | None = None):
        super().__init__()
        self.gate = _bottleneck(channels, reduction, device, dtype)

    def forward(self, x: Tensor) -> tuple[Tensor, Gates]:
        """Gate the channels of ``x`` ``(B, C, H, W)`` or ``(C, H, W)``; the result and the gate."""
        check_shape("x", x, *_IMAGE)
        gate = torch.sigmoid(self.gate(x.mean((-2, -1))))
        return x * gate[..., None, None], Gates(gate, None)


class CBAM(Layer):
    """A factor for each channel, then one for each position (Woo et al. 2018, arXiv:1807.06521).

    ``x' = x · σ(MLP(mean) + MLP(max))`` over channels, then ``x' · σ(conv([mean; max]))`` over positions.

    Args:
        channels: C.
        reduction: r: the hidden layer has C / r units, at least one.
        kernel: of the convolution over positions; odd.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: a size is not positive, or ``kernel`` is even.

    Example:
        >>> output, gates = CBAM(8, reduction=2)(torch.randn(2, 8, 5, 7))
        >>> output.shape
        torch.Size([2, 8, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        kernel: int = 7,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel: must be odd and positive, got {kernel}")
        self.gate = _bottleneck(channels, reduction, device, dtype)
        self.place = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> tuple[Tensor, Gates]:
        """Gate the channels and the positions of ``x`` ``(B, C, H, W)`` or ``(C, H, W)``; the result and the gates."""
        check_shape("x", x, *_IMAGE)
        channel = torch.sigmoid(self.gate(x.mean((-2, -1))) + self.gate(x.amax((-2, -1))))
        x = x * channel[..., None, None]
        place = torch.sigmoid(self.place(torch.stack([x.mean(-3), x.amax(-3)], -3)))
        return x * place, Gates(channel, place.squeeze(-3))


class SelfAttention2d(Layer):
    """``x + W attention(x)``: every position attends to every position (the non-local block).

    Wang et al. 2018 (arXiv:1711.07971), its embedded Gaussian form; as in Zhang et al. 2019 (arXiv:1805.08318) the
    result is multiplied by a learned number that is 0 at first, so that the block starts as the identity.

    Args:
        channels: C.
        heads: of the attention.
        key_channels: of queries and keys, in all heads; None: C / 8, as in the second paper, at least one per head.
        normalizer: any normalizer, or a `Learned` one.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: a size is not positive, or ``heads`` does not divide the channels.

    Example:
        >>> x = torch.randn(2, 8, 5, 7)
        >>> output, view = SelfAttention2d(8, heads=2)(x, look=Look(top=1))
        >>> output.shape, view.top.keys.shape  # 2 heads, 5 · 7 positions
        (torch.Size([2, 8, 5, 7]), torch.Size([2, 2, 35, 1]))
    """

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        *,
        key_channels: int | None = None,
        normalizer: Normalizer | Learned[Normalizer] = SOFTMAX,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if min(channels, heads) < 1 or channels % heads:
            raise ValueError(f"heads: must divide channels, {channels}, got {heads}")
        if key_channels is None:
            key_channels = heads * max(1, channels // 8 // heads)
        if key_channels < 1 or key_channels % heads:
            raise ValueError(f"key_channels: must be a positive multiple of heads, {heads}, got {key_channels}")
        self.heads, self.normalizer = heads, normalizer
        self.query = nn.Conv2d(channels, key_channels, 1, bias=False, device=device, dtype=dtype)
        self.key = nn.Conv2d(channels, key_channels, 1, bias=False, device=device, dtype=dtype)
        self.value = nn.Conv2d(channels, channels, 1, bias=False, device=device, dtype=dtype)
        self.output = nn.Conv2d(channels, channels, 1, bias=False, device=device, dtype=dtype)
        self.gain = nn.Parameter(torch.empty(1, device=device, dtype=dtype))
        self._reset_own()

    def _reset_own(self) -> None:
        nn.init.zeros_(self.gain)

    def forward(self, x: Tensor, *, look: Look | None = None) -> tuple[Tensor, View | None]:
        """Attend between the positions of ``x`` ``(B, C, H, W)`` or ``(C, H, W)``.

        Position (i, j) is query and key i · W + j. Returns the result, as ``x``, and the view, None without ``look``.
        """
        check_shape("x", x, *_IMAGE)
        q, k, v = (self._positions(layer(x)) for layer in (self.query, self.key, self.value))
        attended, view = attend_heads(q, k, v, look, normalizer=row_of(self.normalizer, 0.0, self.training))
        image = attended.mT.reshape(x.shape)
        return x + self.gain * self.output(image), view

    def _positions(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` → ``(B, heads, H · W, C / heads)``."""
        split: Tensor = image.flatten(-2).unflatten(-2, (self.heads, -1))
        return split.mT


_IMAGE = ("B C H W", "C H W")


def _bottleneck(channels: int, reduction: int, device: Device, dtype: torch.dtype | None) -> nn.Sequential:
    if min(channels, reduction) < 1:
        raise ValueError(f"channels and reduction must be positive, got {channels}, {reduction}")
    hidden = max(1, channels // reduction)
    first = nn.Linear(channels, hidden, device=device, dtype=dtype)
    return nn.Sequential(first, nn.ReLU(), nn.Linear(hidden, channels, device=device, dtype=dtype))
