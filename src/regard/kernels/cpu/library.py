"""The compiled library: where it is, which instruction sets the machine has, and which one is used."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("amx", "avx512bf16", "avx512", "avx2", "portable")
"""The levels by their number in the library, best first."""

_FORCED = {"avx512": ("amx", "avx512bf16", "avx512"), "avx2": ("avx2",), "portable": ("portable",)}

_NEWEST = "regard_encode"
"""The function that was added to the library last; a library without it is too old."""

OTHER_VERSION = "regard's C++ library and its Python code have different versions: install regard again"


def _load() -> tuple[ctypes.CDLL | None, str]:
    """The library, or why it is missing."""
    # An editable installation has two folders: the sources, and the one with the built library.
    for folder in sys.modules[__package__].__path__:
        path = Path(folder) / "libregard_cpu.so"
        if path.is_file():
            try:
                loaded = ctypes.CDLL(str(path))
            except OSError as error:
                return None, f"the C++ kernels cannot be loaded: {error}"
            if not hasattr(loaded, _NEWEST):
                raise ImportError(OTHER_VERSION)
            loaded.regard_args_size.restype = ctypes.c_long
            loaded.regard_level.restype = ctypes.c_char_p
            for lookup in (loaded.regard_score, loaded.regard_normalizer):
                lookup.restype = ctypes.c_int64
                lookup.argtypes = [ctypes.c_char_p]
            loaded.regard_peak.restype = ctypes.c_double
            loaded.regard_peak.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
            loaded.regard_vmath.argtypes = [
                *(ctypes.c_int, ctypes.c_int64, ctypes.c_int64),
                *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_double),
            ]
            loaded.regard_all_finite.argtypes = [ctypes.c_char_p, ctypes.c_int64]
            for function in (loaded.regard_forward, loaded.regard_backward, loaded.regard_look, loaded.regard_drop):
                function.restype = ctypes.c_char_p
                function.argtypes = [ctypes.c_char_p]
            return loaded, ""
    return None, "the C++ kernels were not built: there was no C++ compiler when regard was installed"


library, missing = _load()

levels: tuple[str, ...] = () if library is None else tuple(n for i, n in enumerate(NAMES) if library.regard_level(i))
"""The levels of this machine, best first."""


def _chosen() -> tuple[str | None, str]:
    """The level to use, or why there is none."""
    name = os.environ.get("REGARD_CPU", "")
    if name and name not in _FORCED and name not in NAMES:
        expected = ", ".join(sorted({*_FORCED, *NAMES}))
        return None, f"REGARD_CPU: got {name!r}, expected one of {expected}"
    allowed = levels if not name else [level for level in levels if level in _FORCED.get(name, (name,))]
    if levels and not allowed:
        return None, f"REGARD_CPU: this machine does not have {name}; it has {', '.join(levels)}"
    return (allowed[0], "") if allowed else (None, missing)


level, why_none = _chosen()
"""The level in use, or None and why."""


@contextmanager
def use_level(name: str) -> Iterator[None]:
    """Run every call inside at the level ``name``, in the whole process; for tests and benchmarks.

    Raises:
        ValueError: this machine does not have the level.
    """
    global level
    if name not in levels:
        raise ValueError(f"use_level: this machine has {', '.join(levels) or 'none'}, not {name!r}")
    before, level = level, name
    try:
        yield
    finally:
        level = before
