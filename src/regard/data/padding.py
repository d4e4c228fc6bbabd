"""Rows of tokens of different lengths as one padded tensor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor


def pad(rows: Sequence[Sequence[int]], fill: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Pad ``rows`` on the right: int64 ``(B, longest)`` and their lengths ``(B,)``."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    padded = np.full((len(rows), lengths.max(initial=0)), fill, dtype=np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.fromiter(chain.from_iterable(rows), np.int64)
    return torch.from_numpy(padded).to(device), torch.from_numpy(lengths).to(device)
