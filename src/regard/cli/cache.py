"""``regard cache``: what is in the folder of the cache, and how it is cleared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclopts import App

from regard.errors import UserError

if TYPE_CHECKING:
    from regard.data.clearing import Entry

_DAY = 86_400
_UNITS = (("day", _DAY), ("hour", 3600), ("minute", 60), ("second", 1))


def add_command(app: App) -> None:
    """Add ``regard cache``."""
    app.command(_cache, name="cache")


def _cache(*, clear: bool = False, older_than: float = 0.0) -> None:
    """Show the files that regard keeps of large data, or remove them.

    Text and pairs of more than 20 MB, and thousands of images, are read and tokenized or decoded only once. The results
    are kept as files in the folder $REGARD_CACHE (by default ~/.cache/regard), where the next start finds them.
    Removing them frees the disk and loses nothing: training makes those that it needs again, which takes some time. A
    training that is running keeps its files until it ends, but do not remove them while one is starting.

    Examples: `regard cache` shows all files, `regard cache --clear` removes them, and
    `regard cache --clear --older-than 30` removes those that were written more than 30 days ago.

    Args:
        clear: Remove the files. Only files that regard has written are removed, and none that is being written.
        older_than: Only files that were written more than this many days ago.
    """
    from regard.data import cache
    from regard.data.clearing import entries, remove

    if older_than < 0:
        raise UserError(f"--older-than: expected a number of days that is not negative, got {older_than:g}")
    listed = entries(older_than * _DAY)
    print(cache.path())
    if not clear:
        _print_kinds(listed)
        return
    removed = remove(listed)
    _print_kinds(removed)
    print(f"removed: {_count(len(removed))}, {sum(entry.size for entry in removed):,} bytes")
    if len(removed) < len(listed):
        print(f"not removed: {_count(len(listed) - len(removed))} that another process is writing or has removed")


def _print_kinds(listed: Sequence[Entry]) -> None:
    """A line for each kind of file: their number, size and age, and what they are."""
    from regard.data.cache import KINDS

    if not listed:
        print("no files")
        return
    rows = [("kind", "files", "MB", "age", "")]
    for kind in sorted({entry.kind for entry in listed}):
        of_kind = [entry for entry in listed if entry.kind == kind]
        ages = sorted(entry.age for entry in of_kind)
        youngest, oldest = _age(ages[0]), _age(ages[-1])
        age = oldest if youngest == oldest else f"{youngest} to {oldest}"
        content = KINDS.get(kind, "being written, or left by a process that was killed")
        rows.append((kind, f"{len(of_kind):,}", _megabytes(of_kind), age, content))
    if len(rows) > 2:
        rows.append(("all", f"{len(listed):,}", _megabytes(listed), "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for kind, files, size, age, content in rows:
        cells = (kind.ljust(widths[0]), files.rjust(widths[1]), size.rjust(widths[2]), age.ljust(widths[3]), content)
        print("  ".join(cells).rstrip())


def _megabytes(listed: Sequence[Entry]) -> str:
    return f"{sum(entry.size for entry in listed) / 1e6:,.1f}"


def _age(seconds: float) -> str:
    """``seconds`` in the largest unit of which there is at least one.

    >>> _age(90_000), _age(7300), _age(0.2)
    ('1 day', '2 hours', '0 seconds')
    """
    name, unit = next((one for one in _UNITS if seconds >= one[1]), _UNITS[-1])
    count = int(seconds // unit)
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _count(files: int) -> str:
    return f"{files:,} file{'' if files == 1 else 's'}"
