"""The child processes of a process, and the wait for their end; on Linux."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path


def children(process: int | None = None) -> set[str]:
    """The identifiers of the processes that ``process`` (None: this one) has started."""
    process = process or os.getpid()
    return set(Path(f"/proc/{process}/task/{process}/children").read_text().split())


def wait_for_end(processes: Iterable[str], seconds: float) -> None:
    """Return when all processes have ended; an AssertionError if one still runs after ``seconds``."""
    deadline = time.monotonic() + seconds
    while any(map(_runs, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(process: str) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # it has ended, but the process with the number 1 has not collected its exit status
