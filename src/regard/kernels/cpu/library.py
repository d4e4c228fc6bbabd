"""The compiled library: where it is, which instruction sets this machine has, and the one that runs."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("amx", "avx512bf16", "avx512", "avx2", "portable")
"""The levels by their index in the library, best first."""

_FORCED = {"avx512": ("amx", "avx512bf16", "avx512"), "avx2": ("avx2",), "portable": ("portable",)}

_YOUNGEST = "regard_vmath"
"""Of the library's functions, the one that was added last."""

OTHER_VERSION = "regard's C++ library is of another version than its Python: install regard anew"


def _load() -> tuple[ctypes.CDLL | None, str]:
    """The library, or why there is none."""
    for folder in sys.modules[
        __package__
    ].__path__:  # an editable installation has two, one of them with what was built
        path = Path(folder) / "libregard_cpu.so"
        if path.is_file():
            try:
                found = ctypes.CDLL(str(path))
            except OSError as error:
                return None, f"the C++ kernels cannot be loaded: {error}"
            if not hasattr(found, _YOUNGEST):
                raise ImportError(OTHER_VERSION)
            found.regard_args_size.restype = ctypes.c_long
            found.regard_level.restype = ctypes.c_char_p
            for lookup in (found.regard_score, found.regard_normalizer):
                lookup.restype = ctypes.c_int64
                lookup.argtypes = [ctypes.c_char_p]
            found.regard_peak.restype = ctypes.c_double
            found.regard_peak.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
            found.regard_vmath.argtypes = [
                *(ctypes.c_int, ctypes.c_int64, ctypes.c_int64),
                *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_double),
            ]

            found.regard_all_finite.argtypes = [ctypes.c_char_p, ctypes.c_int64]
            for function in (found.regard_forward, found.regard_backward, found.regard_look, found.regard_drop):
                function.restype = ctypes.c_char_p
                function.argtypes = [ctypes.c_char_p]
            return found, ""
    return None, "the C++ kernels were not built: there was no C++ compiler when regard was installed"


library, missing = _load()

levels: tuple[str, ...] = () if library is None else tuple(n for i, n in enumerate(NAMES) if library.regard_level(i))
"""The levels that this machine has, best first."""


def _chosen() -> tuple[str | None, str]:
    """The level that runs, or why none does."""
    asked = os.environ.get("REGARD_CPU", "")
    if asked and asked not in _FORCED and asked not in NAMES:
        expected = ", ".join(sorted({*_FORCED, *NAMES}))
        return None, f"REGARD_CPU: got {asked!r}, expected one of {expected}"
    allowed = levels if not asked else [name for name in levels if name in _FORCED.get(asked, (asked,))]
    if levels and not allowed:
        return None, f"REGARD_CPU: this machine does not have {asked}; it has {', '.join(levels)}"
    return (allowed[0], "") if allowed else (None, missing)


level, why_none = _chosen()
"""The level that runs, and why none does."""


@contextmanager
def use_level(name: str) -> Iterator[None]:
    """Run every call inside at the level ``name``, for tests and benchmarks; for the whole process.

    Raises:
        ValueError: this machine does not have it.
    """
    global level
    if name not in levels:
        raise ValueError(f"use_level: this machine has {', '.join(levels) or 'none'}, not {name!r}")
    before, level = level, name
    try:
        yield
    finally:
        level = before
