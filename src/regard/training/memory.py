"""The memory of training: freed memory is reused, and too little memory is an error with one line."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

from regard.errors import UserError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from malloc.h of the GNU C library


def keep_freed_memory() -> bool:
    """Make the GNU C library reuse large blocks; True if it does.

    PyTorch's CPU allocator calls malloc for each tensor. Above a threshold, glibc maps new pages for it and unmaps them
    when it is freed, so that every batch pays for page faults: a fifth of the time of a training step here.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_TRIM_THRESHOLD, (1 << 31) - 1))


@contextmanager
def enough_memory(batch: str) -> Iterator[None]:
    """Raises UserError where memory runs out in this context; ``batch`` is the setting that needs less of it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has no error of its own for this on a CPU: "DefaultCPUAllocator: can't allocate memory: you tried …".
        text = str(error)
        if not isinstance(error, MemoryError) and "allocate" not in text and "Storage size" not in text:
            raise
        raise UserError(f"training: out of memory; try a smaller model, or a smaller --train.{batch}") from error
