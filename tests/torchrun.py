"""Python run by several processes at once, as torchrun starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def command(count: int) -> list[str]:
    """The command that runs what follows it, a script or ``-m`` and a module, by ``count`` processes."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]


def by_processes(count: int, *what: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """``what``, a script or ``-m`` and a module, with its arguments, by ``count`` processes of this machine."""
    return subprocess.run([*command(count), *map(str, what)], capture_output=True, text=True, check=False, cwd=cwd)
