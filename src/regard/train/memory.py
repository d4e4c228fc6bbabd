"""Keep freed memory for reuse instead of returning it to the operating system."""

from __future__ import annotations

import ctypes
import platform

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
