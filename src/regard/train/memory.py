"""Keep freed memory instead of handing it back to the system after every tensor."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # the GNU C library's numbers, malloc.h


def keep_freed_memory() -> bool:
    """Make the GNU C library reuse large blocks; True if it took it.

    PyTorch's CPU allocator asks malloc for each tensor. Above a threshold glibc maps fresh pages for it and unmaps them
    when it dies, so that every batch pays for touching the same memory anew: a fifth of a training step here.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_TRIM_THRESHOLD, (1 << 31) - 1))
