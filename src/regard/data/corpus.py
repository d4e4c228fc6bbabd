"""Documents as flat UTF-8 bytes, in memory or in a mapped file, read in pieces and in Unicode's composed form."""

from __future__ import annotations

import hashlib
import io
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, overload

import numpy as np

from regard.data import cache
from regard.data.lines import compose
from regard.data.progress import progress

PIECE = 1 << 16
"""Bytes of a piece of a long document."""

_LONGEST_PIECE = 1 << 20
"""A document without white space is cut after this many bytes at the latest."""

_BLOCK = 1 << 22

Block = tuple[str, bool]
"""A part of a document, and whether it is the last part of it."""


class Documents(Sequence[str]):
    """Documents, kept as the user wrote them and read in composed form (NFC), which tokenizers expect.

    They are in one buffer of UTF-8 bytes, so that a document of a gigabyte takes no more memory than a million small
    ones. Slices and selections share the buffer.

    Args:
        data: uint8, the bytes of all documents.
        starts: int64 ``(count,)``, where each document begins in ``data``.
        ends: int64 ``(count,)``, where it ends.
        digest: identifies the content of a mapped file; empty for documents in memory.

    >>> documents = Documents.of(["one", "e\u0301"])
    >>> len(documents), documents.size, list(documents) == ["one", "\u00e9"]
    (2, 6, True)
    """

    def __init__(self, data: np.ndarray, starts: np.ndarray, ends: np.ndarray, digest: str = ""):
        self.data, self.starts, self.ends, self.digest = data, starts, ends, digest

    @classmethod
    def of(cls, texts: Iterable[str]) -> Documents:
        """Documents in memory."""
        contents = [text.encode() for text in texts]
        bounds = np.cumsum([0, *map(len, contents)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(contents), dtype=np.uint8), bounds[:-1], bounds[1:])

    @property
    def size(self) -> int:
        """The bytes of all documents, as the user wrote them."""
        return int((self.ends - self.starts).sum())

    @property
    def large(self) -> bool:
        """Whether they are in a file, so that what is made from them belongs into the cache."""
        return bool(self.digest)

    @property
    def key(self) -> str:
        """Identifies these documents among those of all files."""
        digest = hashlib.blake2b(self.digest.encode(), digest_size=16)
        for places in (self.starts, self.ends):
            digest.update(np.ascontiguousarray(places).data)
        if not self.digest:
            digest.update(self.data.data)
        return digest.hexdigest()

    def select(self, rows: np.ndarray) -> Documents:
        """The documents with these numbers, or for which this mask is True."""
        return Documents(self.data, self.starts[rows], self.ends[rows], self.digest)

    def pieces(self, index: int) -> Iterator[str]:
        """A document in pieces of about `PIECE` bytes, which give the same tokens as the document at once.

        A long document is cut before a space or a line break that follows another character than white space. No
        tokenizer of regard has a token across such a place, and no character is composed across it. Only in a mebibyte
        without such a place, the cut is between any two characters that are not composed.
        """
        at, end = int(self.starts[index]), int(self.ends[index])
        while at < end:
            size = PIECE
            while True:
                text = self.text(at, min(end, at + size))
                cut = len(text) if at + size >= end else last_cut(text)
                if cut or size >= _LONGEST_PIECE:
                    break
                size *= 2
            piece = text[: cut or _last_boundary(text)]
            yield compose(piece)
            at += len(piece.encode())

    def all_pieces(self) -> Iterator[str]:
        """The pieces of all documents."""
        for index in range(len(self)):
            yield from self.pieces(index)

    def text(self, start: int, stop: int) -> str:
        """The text of these bytes as the user wrote it, without a character of which only a part is in them."""
        return self.data[start:stop].tobytes().decode("utf-8", "ignore")

    def sample(self, size: int, piece: int) -> list[str]:
        """Pieces of at most ``piece`` bytes and about ``size`` bytes together, spread evenly over all documents."""
        counts = np.maximum(1, -((self.starts - self.ends) // piece))
        ends = np.cumsum(counts)
        every = max(1, -(-self.size // size))
        pieces = []
        for number in range(0, int(ends[-1]), every):
            index = int(np.searchsorted(ends, number, side="right"))
            start = int(self.starts[index]) + piece * int(number - (ends[index] - counts[index]))
            stop = min(start + piece, int(self.ends[index]))
            text = self.text(start, stop)
            first = 0 if start == self.starts[index] else max(0, first_cut(text))
            last = len(text) if stop == self.ends[index] else last_cut(text) or len(text)
            pieces.append(compose(text[first:last]))
        return pieces

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Documents: ...
    def __getitem__(self, index: int | slice) -> str | Documents:
        if isinstance(index, slice):
            return Documents(self.data, self.starts[index], self.ends[index], self.digest)
        return compose(self.text(int(self.starts[index]), int(self.ends[index])))


class Store:
    """Collects documents block by block: in memory, and from `cache.SMALL` bytes on in a file.

    Documents that have only white space are left out. The file is unnamed, unless ``file`` is given.
    """

    def __init__(self, file: IO[bytes] | None = None):
        self._file: IO[bytes] = io.BytesIO() if file is None else file
        self._bounds = array("q", [0])
        self._end = 0
        self._blank = True

    def add(self, block: str, last: bool) -> int:
        """Add a part of a document, and return its size in bytes; ``last`` ends the document.

        Raises:
            UserError: the cache cannot be written.
        """
        content = block.encode()
        try:
            self._add(content, not block or block.isspace(), last)
        except OSError as error:
            raise cache.unusable(error) from error
        return len(content)

    def _add(self, content: bytes, blank: bool, last: bool) -> None:
        self._file.write(content)
        self._end += len(content)
        self._blank = self._blank and blank
        if last:
            if self._blank:
                self._end = self._bounds[-1]
                self._file.seek(self._end)
                self._file.truncate()
            else:
                self._bounds.append(self._end)
            self._blank = True
        if isinstance(self._file, io.BytesIO) and self._end > cache.SMALL:
            self._move_to_disk()

    def extend(self, blocks: Iterable[Block]) -> None:
        """Add these parts of documents."""
        for block, last in blocks:
            self.add(block, last)

    def finish(self, **notes: Any) -> None:
        """End the file, for `mapped`; ``notes`` are kept in it."""
        bounds = np.frombuffer(self._bounds, dtype=np.int64)
        digest = _digest(self._file, bounds)
        cache.finish(self._file, {"bounds": bounds}, {**notes, "digest": digest})
        self._file.flush()

    def documents(self) -> Documents:
        """The documents that were added."""
        if not isinstance(self._file, io.BytesIO):
            with self._file:
                self.finish()
                return mapped(self._file)[0]
        data = np.frombuffer(self._file.getvalue(), dtype=np.uint8)
        bounds = np.frombuffer(self._bounds, dtype=np.int64)
        return Documents(data, bounds[:-1], bounds[1:])

    def _move_to_disk(self) -> None:
        content = self._file
        self._file = cache.unnamed()
        assert isinstance(content, io.BytesIO)
        self._file.write(content.getbuffer())


def mapped(file: IO[bytes]) -> tuple[Documents, dict[str, Any]]:
    """The documents in a file that a `Store` has written, and the notes that `Store.finish` kept in it."""
    content, arrays, notes = cache.load(file)
    return Documents(content, arrays["bounds"][:-1], arrays["bounds"][1:], notes.pop("digest")), notes


def facts(
    name: str, compute: Callable[[], dict[str, Any]], documents: Sequence[Documents], *parts: object
) -> dict[str, Any]:
    """What ``compute`` returns about ``documents``; it is kept in the cache if some of them are large.

    Args:
        name: of the facts.
        compute: makes a JSON object.
        documents: what the facts are about.
        parts: what they depend on besides the documents, such as a seed.
    """
    if not any(one.large for one in documents):
        return compute()
    return cache.facts(cache.name(name, *(one.key for one in documents), *parts), compute)


def last_cut(text: str) -> int:
    """The last place before a space or line break that follows another character than white space; 0: none.

    >>> last_cut("one two  three"), last_cut("one")
    (7, 0)
    """
    end = len(text)
    while (at := max(text.rfind(" ", 0, end), text.rfind("\n", 0, end))) > 0:
        if not text[at - 1].isspace():
            return at
        end = at
    return 0


def first_cut(text: str) -> int:
    """The first such place; -1: none."""
    places = (at for at in range(1, len(text)) if text[at] in " \n" and not text[at - 1].isspace())
    return next(places, -1)


def is_boundary(text: str, at: int) -> bool:
    """Whether a cut at ``at`` divides no character into parts, such as a letter and its accent."""
    before, after = text[at - 1], text[at]
    return unicodedata.combining(after) == 0 and compose(before + after) == compose(before) + compose(after)


def _last_boundary(text: str) -> int:
    return next((at for at in range(len(text) - 1, 0, -1) if is_boundary(text, at)), len(text))


def _digest(file: IO[bytes], bounds: np.ndarray) -> str:
    """Of the content of ``file`` and of ``bounds``."""
    digest = hashlib.blake2b(bounds.data, digest_size=16)
    file.seek(0)
    with progress("hashing text", int(bounds[-1])) as advance:
        while block := file.read(_BLOCK):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()
