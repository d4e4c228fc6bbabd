"""Python run by several processes at once, as torchrun starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def by_processes(count: int, *what: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """``what``, a script or ``-m`` and a module, with its arguments, by ``count`` processes of this machine."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    return subprocess.run([*launch, *map(str, what)], capture_output=True, text=True, check=False, cwd=cwd)
