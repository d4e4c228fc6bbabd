"""A mask for keys before which one more stands that every query sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.attend import Mask
from regard.attend.visible import Shape, Visible, as_mask


@dataclass(frozen=True, eq=False)
class ShownFirst(Mask):
    """``mask`` for all keys but the first, which every query sees.

    Attributes:
        mask: as it is for the keys without the first.
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
        whole = visible.whole(inner, device)
        whole = whole.expand(*whole.shape[:-1], inner[3])
        return Visible(dense=torch.nn.functional.pad(whole, (1, 0), value=True))
