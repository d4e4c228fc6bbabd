"""Decodes the examples of a set: few of them in this process, many by worker processes and into a file of the cache."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Generic

import numpy as np

from regard.data import cache
from regard.data.class_trees import Item
from regard.data.codec import KEY, Codec, Result, Values, decode_item
from regard.data.file_trees import BadItem
from regard.data.known_files import KnownFiles
from regard.data.progress import counted
from regard.data.workers import in_processes, in_threads
from regard.errors import UserError

SECONDS = 0.3
BYTES = 100_000_000
"""Worker processes and the cache are used if decoding takes longer, or if there are more bytes of values."""

_BYTES_IN_MEMORY = 500_000_000
"""The limit in place of `BYTES` if the cache cannot be written."""

_GROUP = 16
_GROUP_BYTES = 4_000_000
"""The largest number of examples that a worker process gets in one message, and of the bytes of their files."""


@dataclass
class Decoded(Generic[Values]):
    """The examples that can be used, in the order of the items.

    Attributes:
        values: of all of them, such as their pixels; of many examples, in a mapped file.
        labels: the class of each.
        keys: a digest of the content of each.
        bad: the origins of the other examples, and why they cannot be used.
        reasons: the same reasons by the digest of the content.
    """

    values: Values
    labels: list[str] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    reasons: dict[bytes, str] = field(default_factory=dict)

    def add(self, result: Result) -> bool:
        """Add an example without its values; returns whether it can be used."""
        if result.reason is None:
            self.labels.append(result.item.label)
            self.keys.append(result.key)
            return True
        self.bad.append(f"{result.item.origin} ({result.reason})")
        if result.key:
            self.reasons[result.key] = result.reason
        return False


def refusing(path: str, kind: str, on_bad: str) -> Callable[[str], None]:
    """For `decode_items`: with ``on_bad="error"``, an example that cannot be used is an error.

    Args:
        path: of the set, for the message.
        kind: what the examples are, such as ``"images"``.
        on_bad: ``"error"``, or ``"skip"``: nothing is done.
    """

    def check(bad: str) -> None:
        if on_bad == "error":
            raise UserError(
                f"{path}: not a usable {kind.removesuffix('s')}: {bad}; replace it, or leave such {kind} out with "
                "--data.on-bad skip"
            )

    return check


def decode_items(
    items: Callable[[], Iterator[Item]],
    codec: Codec[Values],
    origin: tuple[object, ...],
    check: Callable[[str], None] = lambda bad: None,
) -> Decoded[Values]:
    """Decode the examples of a set.

    If that takes longer than `SECONDS`, worker processes decode them, and the values are kept in the cache under the
    names of ``origin`` and of what the codec depends on. The next call compares the digest of each example with those
    that the cache has, and decodes all of them again if one is new. Files that have not changed since (`KnownFiles`)
    are not read for it. Of several processes, one decodes and the others wait for it.

    Args:
        items: called for the examples, and once more if those in the cache are others.
        codec: decodes and holds them.
        origin: what identifies the set, such as its path.
        check: called with each example that cannot be used, and the reason; it may raise an exception.

    Raises:
        UserError: the cache is needed and cannot be written, or a worker process was killed.
    """
    name = cache.name(codec.kind, *codec.depends_on, *origin)
    while True:
        read, files = _cached if cache.exists(name) else _decoded, KnownFiles(name)
        with counted(f"reading {codec.kind}") as advance:
            decoded = read(files.noted(items()), codec, name, files, check, advance)
        if decoded is not None:
            return decoded


def _decoded(
    items: Iterator[Item],
    codec: Codec[Values],
    name: str,
    files: KnownFiles,
    check: Callable[[str], None],
    advance: Callable[[], None],
) -> Decoded[Values] | None:
    """Decode examples; None: another process has written them to the cache."""
    decoded, first, written = Decoded(codec.held([])), list[np.ndarray](), False

    def added(result: Result) -> bool:
        advance()
        files.learn(result)
        if decoded.add(result):
            return True
        check(decoded.bad[-1])
        return False

    def write(file: IO[bytes]) -> None:
        nonlocal written
        written = True
        lengths = []
        for values in first:
            lengths.append(values.nbytes)
            file.write(values.data)
        file.flush()
        rows = list(range(len(first)))
        groups = _groups(enumerate(rest, len(first)))
        with closing(in_processes(partial(partial, codec.decode_group, file.name), groups)) as results:
            for row, (result, values) in enumerate(chain.from_iterable(results), len(first)):
                if added(result):
                    rows.append(row)
                lengths.append(values.nbytes)
                file.write(values.data)
        if codec.slot is not None:
            file.truncate(len(lengths) * codec.slot)  # the last ones may have no values
        file.seek(0, os.SEEK_END)
        arrays = {
            "keys": np.frombuffer(b"".join(decoded.keys), dtype=np.uint8), "rows": np.array(rows),
            "lengths": np.array(lengths),
        }  # fmt: skip
        cache.finish(file, arrays, {"reasons": {key.hex(): reason for key, reason in decoded.reasons.items()}})

    with closing(in_threads(partial(decode_item, codec=codec), _beginning(items, first))) as results:
        for result, values in results:
            if added(result):
                first.append(values)
    following = next(items, None)
    rest = chain([] if following is None else [following], items)
    if following is None:
        decoded.values = codec.held(first)
        return decoded
    path = cache.entry(name, write)
    if not written:
        return None
    files.save()
    kept = _Kept(path)
    decoded.values = kept.values(codec, kept.order)
    return decoded


def _groups(numbered: Iterator[tuple[int, Item]]) -> Iterator[list[tuple[int, Item]]]:
    """Examples that a worker process gets in one message: one at a time, it would wait as long as it works."""
    group, size = list[tuple[int, Item]](), 0
    for number, item in numbered:
        group.append((number, item))
        size += item.nbytes
        if len(group) == _GROUP or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _cached(
    items: Iterator[Item],
    codec: Codec[Values],
    name: str,
    files: KnownFiles,
    check: Callable[[str], None],
    advance: Callable[[], None],
) -> Decoded[Values] | None:
    """The examples that the cache has; None: some are not in it, and its file is removed."""
    path = cache.folder() / name
    try:
        kept = _Kept(path)
    except FileNotFoundError:  # another process has removed it
        return None
    decoded, rows = Decoded(codec.held([])), []
    for item in items:
        advance()
        result = kept.result(item, codec, files.next_key())
        files.learn(result)
        if not decoded.add(result):
            check(decoded.bad[-1])
        elif result.key in kept.rows:
            rows.append(kept.rows[result.key])
        else:
            path.unlink(missing_ok=True)
            return None
    files.save()
    decoded.values = kept.values(codec, np.array(rows, dtype=np.int64))
    return decoded


class _Kept:
    """The examples in a file of the cache.

    Attributes:
        order: the indices in the file of those that can be used.
        rows: digest → index in the file.
        reasons: digest → why an example cannot be used.
    """

    def __init__(self, path: Path):
        with path.open("rb") as file:
            self._content, arrays, notes = cache.load(file)
        keys, self.order, self._lengths = arrays["keys"].tobytes(), arrays["rows"], arrays["lengths"]
        self.rows = {keys[KEY * at : KEY * (at + 1)]: row for at, row in enumerate(self.order.tolist())}
        self.reasons = {bytes.fromhex(key): reason for key, reason in notes["reasons"].items()}

    def values(self, codec: Codec[Values], rows: np.ndarray) -> Values:
        """The values of these rows of the file."""
        return codec.mapped(self._content, self._lengths, rows)

    def result(self, item: Item, codec: Codec[Values], key: bytes | None) -> Result:
        """The result of decoding an item, which may be one that the file does not have.

        Args:
            item: the item.
            codec: computes its digest.
            key: the digest; None: it is not known yet.
        """
        try:
            key = codec.keyed(item)[0] if key is None else key
        except BadItem as error:
            return Result(item, b"", str(error))
        return Result(item, key, self.reasons.get(key))


def _beginning(items: Iterator[Item], decoded: list[np.ndarray]) -> Iterator[Item]:
    """The items that are decoded in this process: at least one, and all others if the cache cannot be written.

    ``decoded`` has the values of the first ones, to which the caller adds.
    """
    usable = cache.writable()
    end = time.monotonic() + (SECONDS if usable else math.inf)
    limit = BYTES if usable else _BYTES_IN_MEMORY
    counted_values = total = 0
    for item in items:
        yield item
        total += sum(values.nbytes for values in decoded[counted_values:])
        counted_values = len(decoded)
        if total >= limit or time.monotonic() > end:
            return
