"""The C++ sources say what every compiler here understands, not only the one that built the library."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parent.parent / "src" / "regard" / "kernels" / "cpu" / "native"
FOUND = [name for name in ("g++", "clang++") if shutil.which(name)]
X86 = [
    *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c"),
    *("-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
]
LEVELS = {"portable": []} | ({"amx": X86} if platform.machine() in ("x86_64", "AMD64") else {})


@pytest.mark.skipif(not FOUND, reason="there is no C++ compiler")
@pytest.mark.parametrize("compiler", FOUND or ["none"])
@pytest.mark.parametrize("level", LEVELS)
def test_sources_compile_without_a_warning(compiler: str, level: str) -> None:
    command = [
        compiler, "-std=gnu++20", "-O1", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off",
        f"-DREGARD_LEVEL={level}", *LEVELS[level], "level.cpp", "library.cpp", "quick.cpp",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=NATIVE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
