"""The C++ sources compile without warnings with each compiler of this machine."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parent.parent / "src" / "regard" / "kernels" / "cpu" / "native"
COMPILERS = [name for name in ("g++", "clang++") if shutil.which(name)]
X86 = [
    *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c"),
    *("-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
]
LEVELS: dict[str, list[str]] = {"portable": []} | ({"amx": X86} if platform.machine() in ("x86_64", "AMD64") else {})


@pytest.mark.skipif(not COMPILERS, reason="there is no C++ compiler")
@pytest.mark.parametrize("compiler", COMPILERS or ["none"])
@pytest.mark.parametrize("level", LEVELS)
def test_sources_compile_without_warnings(compiler: str, level: str) -> None:
    command = [
        compiler, "-std=gnu++20", "-O1", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off",
        f"-DREGARD_LEVEL={level}", *LEVELS[level], "level.cpp", "library.cpp", "quick.cpp",
    ]  # fmt: skip
    result = subprocess.run(command, cwd=NATIVE, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not COMPILERS, reason="there is no C++ compiler")
@pytest.mark.parametrize(
    "compiler", [*COMPILERS[:1], *(pytest.param(name, marks=pytest.mark.long) for name in COMPILERS[1:])] or ["none"]
)
@pytest.mark.parametrize("header", sorted(path.name for path in NATIVE.glob("*.h")))
def test_each_header_compiles_by_itself(compiler: str, header: str) -> None:
    """A header has to include what it uses. Unused functions are normal here."""
    level = list(LEVELS)[-1]
    command = [
        compiler, "-std=gnu++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function",
        f"-DREGARD_LEVEL={level}", *LEVELS[level], "-I.", "-x", "c++", "-",
    ]  # fmt: skip
    source = f'#include "{header}"\n'
    result = subprocess.run(command, cwd=NATIVE, input=source, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
