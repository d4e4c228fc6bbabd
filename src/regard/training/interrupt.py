"""Ctrl-C and SIGTERM stop training after the current step, with its state saved; a second Ctrl-C stops immediately.

Before the first step, there is no state to save: both end the process by an exception, so that its files are removed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


class Interrupted(Exception):
    """Training was stopped by a signal and has saved its state after ``step`` steps."""

    def __init__(self, step: int, signal_number: int):
        super().__init__(f"stopped after step {step}")
        self.step, self.signal_number = step, signal_number


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """A context in which SIGTERM raises SystemExit, so that it cleans up as Ctrl-C does; `Interrupt` replaces it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


class Interrupt:
    """A context that records the first SIGINT or SIGTERM in ``signal_number`` instead of raising within a step."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._record)
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def interrupted(self, step: int) -> Interrupted:
        """The exception to raise after the state is saved."""
        return Interrupted(step, self.signal_number or signal.SIGINT)

    def _record(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number
