"""The C++ sources compile without a warning with every compiler here, not only the one that built the library."""

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
LEVELS: dict[str, list[str]] = {"portable": []} | ({"amx": X86} if platform.machine() in ("x86_64", "AMD64") else {})


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


@pytest.mark.skipif(not FOUND, reason="there is no C++ compiler")
@pytest.mark.parametrize("compiler", FOUND or ["none"])
@pytest.mark.parametrize("header", sorted(path.name for path in NATIVE.glob("*.h")))
def test_a_header_compiles_alone(compiler: str, header: str) -> None:
    """It includes what it uses. Functions that nobody calls yet are no fault here."""
    level = list(LEVELS)[-1]
    command = [
        compiler, "-std=gnu++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function",
        f"-DREGARD_LEVEL={level}", *LEVELS[level], "-I.", "-x", "c++", "-",
    ]  # fmt: skip
    source = f'#include "{header}"\n'
    done = subprocess.run(command, cwd=NATIVE, input=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
