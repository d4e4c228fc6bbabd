"""The progress of preparing data: a bar on a terminal, a line every 20 seconds elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

_LINE_SECONDS = 20.0
_SHOWN_AFTER = 2.0
_REFRESH_SECONDS = 0.1


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
def counted(name: str) -> Iterator[Callable[..., None]]:
    """A context that shows how many items are done, if it takes longer than 2 seconds.

    It yields the function to count: one item, or the number that it is given.

    >>> with counted("reading images") as count:
    ...     count()
    """
    console = Console(stderr=True)
    lines, began, done = Lines(console), time.monotonic(), 0
    with Progress(
        TextColumn("{task.description}"), console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task("")

        def count(items: int = 1) -> None:
            nonlocal done
            done += items
            seconds = time.monotonic() - began
            text = f"{name}: {done:,} · {done / max(1e-9, seconds):,.0f}/s"
            if seconds > _SHOWN_AFTER:
                bar.update(task, description=text)
            lines.offer(text)

        yield count


@contextmanager
def progress(name: str, total: int = 0, *, first_only: bool = False) -> Iterator[Advance]:
    """A context that shows how many bytes are done, if it takes longer than 2 seconds; it yields the function to add.

    At the end, a line with the time is printed, also only after 2 seconds.

    Args:
        name: of what is being done.
        total: the number of bytes; 0: it is unknown.
        first_only: every process does it, and only the first one shows it.

    >>> with progress("reading", 300) as advance:
    ...     advance(300)
    """
    console = Console(stderr=True, quiet=first_only and os.environ.get("RANK", "0") != "0")
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[share]}"),
        TextColumn("{task.fields[figures]}"),
    )  # fmt: skip
    bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
    task = bar.add_task(name, total=float(total) if total else None, share="", figures="")
    lines, began, done, shown, due = Lines(console), time.monotonic(), 0, False, _SHOWN_AFTER

    def advance(size: int) -> None:
        nonlocal done, shown, due
        done += size
        seconds = time.monotonic() - began
        if seconds < due:
            return
        due = seconds + _REFRESH_SECONDS  # not for each of many small parts, which would take long
        if not shown:
            shown = True
            bar.start()
        share = f"{done / total:4.0%}" if total else ""
        of_total = f" of {total / 1e6:,.0f}" if total else ""
        figures = f"{done / 1e6:,.0f}{of_total} MB · {done / 1e6 / seconds:,.1f} MB/s"
        bar.update(task, completed=float(done), share=share, figures=figures)
        lines.offer(" · ".join(filter(None, (name, share, figures))))

    try:
        yield advance
    finally:
        if shown:
            bar.stop()
    seconds = time.monotonic() - began
    if seconds >= _SHOWN_AFTER:
        console.print(f"{name}: {done / 1e6:,.0f} MB in {seconds:,.0f} s", highlight=False, soft_wrap=True)
