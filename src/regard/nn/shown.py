"""A mask for keys with one more key before them that every query sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.attend import Mask
from regard.attend.visible import Shape, Visible, as_mask


@dataclass(frozen=True, eq=False)
class ShownFirst(Mask):
    """``mask`` for all keys except the first, which every query sees.

    Attributes:
        mask: the mask for the keys without the first.
    """

    mask: Mask | Tensor

    def lower(self, shape: Shape, device: torch.device) -> Visible:
        """See `regard.attend.Mask.lower`."""
        inner = (*shape[:3], shape[3] - 1)
        visible = as_mask(self.mask).lower(inner, device)
        if not visible.parts:
            return visible
        if visible.parts == {"end"} and visible.end is not None:
            return Visible(end=visible.end + 1)
        dense = visible.whole(inner, device)
        dense = dense.expand(*dense.shape[:-1], inner[3])
        return Visible(dense=torch.nn.functional.pad(dense, (1, 0), value=True))
