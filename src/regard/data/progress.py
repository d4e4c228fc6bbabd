"""The progress of preparing data: a bar on a terminal, a line every 20 seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

_LINE_SECONDS = 20.0
_SHOWN_AFTER = 2.0


Advance = Callable[[int], None]
"""Called with the bytes that are done since the last call."""


class Lines:
    """Lines of progress on a console that is no terminal: one every 20 seconds, of those that are offered."""

    def __init__(self, console: Console):
        self._console, self._last = console, time.monotonic()

    def offer(self, text: str) -> None:
        """Print ``text`` if a line is due."""
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last >= _LINE_SECONDS:
            self._last = now
            self._console.print(text, highlight=False, soft_wrap=True)


@contextmanager
def counted(name: str) -> Iterator[Callable[[], None]]:
    """A context that shows how many items are done, if it takes longer than 2 seconds; it yields the function to count.

    >>> with counted("reading images") as count:
    ...     count()
    """
    console = Console(stderr=True)
    lines, began, done = Lines(console), time.monotonic(), 0
    with Progress(
        TextColumn("{task.description}"), console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task("")

        def count() -> None:
            nonlocal done
            done += 1
            seconds = time.monotonic() - began
            text = f"{name}: {done:,} · {done / max(1e-9, seconds):,.0f}/s"
            if seconds > _SHOWN_AFTER:
                bar.update(task, description=text)
            lines.offer(text)

        yield count


@contextmanager
def progress(name: str, total: int) -> Iterator[Advance]:
    """A context that shows how many of ``total`` bytes are done; it yields the function that adds to them.

    At the end, a line with the time is printed.

    >>> with progress("reading", 300) as advance:
    ...     advance(300)
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[figures]}"),
    )  # fmt: skip
    lines, began, done = Lines(console), time.monotonic(), 0
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(name, total=float(max(1, total)), figures="")

        def advance(size: int) -> None:
            nonlocal done
            done += size
            speed = done / max(1e-9, time.monotonic() - began)
            figures = f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB · {speed / 1e6:,.1f} MB/s"
            bar.update(task, completed=float(done), figures=figures)
            lines.offer(f"{name} · {done / max(1, total):4.0%} · {figures}")

        yield advance
    seconds = time.monotonic() - began
    console.print(f"{name}: {done / 1e6:,.0f} MB in {seconds:,.0f} s", highlight=False, soft_wrap=True)
