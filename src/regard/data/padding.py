"""Rows of tokens of different lengths as one padded tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pad(rows: Sequence[Sequence[int]], fill: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Pad ``rows`` on the right: int64 ``(B, longest)`` and their lengths ``(B,)``."""
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.full((len(rows), int(lengths.max()) if len(rows) else 0), fill)
    for at, row in enumerate(rows):
        padded[at, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return padded.to(device), lengths.to(device)
