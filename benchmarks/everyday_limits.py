"""The least time that this machine needs for so many bytes and operations, measured."""

from __future__ import annotations

import time

import numpy as np
from everyday_sides import Call

_LEAST = 1 << 16
_READ = 1 << 29
"""The smallest buffer whose reading is timed, and the bytes that are read in all."""


def least(threads: int, dtype: str, read: float, operations: float) -> Call:
    """The larger of the time to read ``read`` bytes, from the caches if they fit, and that of the ``operations``."""
    import torch

    from regard.kernels.cpu import library

    assert library.library is not None
    assert library.level is not None
    buffer = torch.ones(max(int(read), _LEAST) // 4)
    repeats = max(10, _READ // buffer.nbytes)
    fastest = min(_seconds(reduction, buffer, repeats) for reduction in (torch.Tensor.sum, torch.Tensor.amax))
    index, number = library.NAMES.index(library.level), {"float32": 0, "bfloat16": 2}[dtype]
    rates = []
    for _ in range(3):
        began = time.perf_counter()
        done = library.library.regard_peak(index, number, 1_000_000)
        rates.append(done / (time.perf_counter() - began))
    seconds = max(fastest * read / buffer.nbytes, operations / (threads * max(rates)))
    return lambda: np.array(seconds)


def _seconds(reduction: object, buffer: object, repeats: int) -> float:
    """The shortest of so many reductions of the whole buffer."""
    assert callable(reduction)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        reduction(buffer)
        times.append(time.perf_counter() - began)
    return min(times)
