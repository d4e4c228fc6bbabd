"""The lines of a text file, plain or compressed; a line that is not UTF-8 does not end the reading."""

from __future__ import annotations

import codecs
import difflib
import gzip
import io
import lzma
import sys
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from regard.data.progress import Advance
from regard.errors import UserError

_OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}

_BROKEN = (OSError, EOFError, lzma.LZMAError, zlib.error)
_BLOCK = 1 << 20
_BUFFER = 1 << 17

_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip
"""Byte-order marks, the longer ones first."""
_WESTERN = "cp1252"
"""Windows-1252, which has all printable characters of Latin-1."""


def bare_suffix(path: Path) -> str:
    """The suffix that gives the format, in lower case, without ``.gz`` or ``.xz``: ``.tsv`` of ``a.TSV.gz``."""
    return Path(path.stem if path.suffix.lower() in _OPENERS else path.name).suffix.lower()


def check_file(path: Path) -> None:
    """Raises UserError: there is no such file (similar names are suggested), or it is a folder or empty."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    if not path.exists():
        names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, 1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise UserError(f"{path}: no such file{hint}")
    if path.is_file() and path.stat().st_size == 0:  # a pipe has no size
        raise UserError(f"{path}: the file is empty")


def read_lines(path: Path, advance: Advance | None = None, encoding: str = "utf-8") -> Iterator[str | None]:
    """Each line without its end (LF or CRLF); None for a line that is not in this encoding.

    A byte-order mark at the start is removed. Only LF ends a line: Unicode's other line separators are text.
    ``advance`` is called with the bytes of the file, compressed or not, that were read since its last call.

    Raises:
        UserError: the file cannot be read to its end, is UTF-16 or UTF-32, or its lines end in CR only.
    """
    check_file(path)
    try:
        with _opened(path, advance) as file:
            yield from _decoded(file, str(path), encoding)
    except _BROKEN as error:
        raise _broken(path, error) from error


def encoding_of(path: Path) -> str:
    """``"cp1252"`` for a file with lines in Windows-1252 or Latin-1, and none in UTF-8 but ASCII; else ``"utf-8"``.

    A file in UTF-8 may have damaged lines. What can be read only once, such as a pipe, counts as UTF-8.

    Raises:
        UserError: the file is missing, or cannot be read to its end.
    """
    check_file(path)
    encoding = "utf-8"
    if not path.is_file():
        return encoding
    try:
        with _opened(path, None) as file:
            for line in file:
                if not line.isascii():
                    if _is(line, "utf-8") or not _is(line, _WESTERN):
                        return "utf-8"
                    encoding = _WESTERN
    except _BROKEN as error:
        raise _broken(path, error) from error
    return encoding


def _is(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def read_blocks(path: Path, advance: Advance | None = None) -> Iterator[str]:
    """The text of a file in blocks of about a mebibyte, as its lines joined by LF; arguments as those of `read_lines`.

    Raises:
        UserError: as `read_lines`, and if a line is not UTF-8.
    """
    check_file(path)
    decoder, lines = codecs.getincrementaldecoder("utf-8")(), 0
    try:
        with _opened(path, advance) as file:
            for content in _normalized(file, str(path)):
                try:
                    text = decoder.decode(content, final=not content)
                except UnicodeDecodeError as error:
                    line = lines + error.object[: error.start].count(b"\n") + 1
                    raise UserError(f"{path}: line {line:,} is not UTF-8") from error
                lines += text.count("\n")
                yield text
    except _BROKEN as error:
        raise _broken(path, error) from error


class _Counted(io.FileIO):
    """A file that reports how many bytes are read."""

    def __init__(self, path: Path, advance: Advance):
        super().__init__(path)
        self._advance = advance

    def readinto(self, buffer: Any) -> int | None:  # type: ignore[override]
        size = super().readinto(buffer)
        self._advance(size or 0)
        return size


@contextmanager
def _opened(path: Path, advance: Advance | None) -> Iterator[IO[bytes]]:
    """A file, decompressed."""
    opener = _OPENERS.get(path.suffix.lower())
    with path.open("rb") if advance is None else io.BufferedReader(_Counted(path, advance), _BUFFER) as file:
        if opener is None:
            yield file
        else:
            with opener(file) as decompressed:
                yield decompressed


def _normalized(file: IO[bytes], origin: str) -> Iterator[bytes]:
    """The bytes of ``file`` without byte-order mark, CR before LF, and the end of the last line; empty at its end."""
    content = file.read(_BLOCK)
    _check_encoding(content[: content.find(b"\n") + 1 or None], origin)
    rest = content.removeprefix(b"\xef\xbb\xbf")
    while content := file.read(_BLOCK):
        # Line breaks at the end of a block wait for the next one: they may be those of the last line.
        block = rest.rstrip(b"\r\n")
        yield block.replace(b"\r\n", b"\n")
        rest = rest[len(block) :] + content
    yield rest.removesuffix(b"\n").removesuffix(b"\r").replace(b"\r\n", b"\n")
    yield b""


def read_text_lines(path: Path | None) -> list[str]:
    """All lines of a file, or of standard input for None. Raises UserError: see `iterate_text_lines`."""
    return list(iterate_text_lines(path))


def iterate_text_lines(path: Path | None) -> Iterator[str]:
    """The lines of a file, or of standard input for None, as they are read.

    Raises:
        UserError: as `read_lines`, and if a line is not UTF-8.
    """
    origin = "standard input" if path is None else str(path)
    lines = _decoded(sys.stdin.buffer, origin) if path is None else read_lines(path)
    for number, line in enumerate(lines, 1):
        if line is None:
            raise UserError(f"{origin}: line {number:,} is not UTF-8")
        yield line


def check_unicode(name: str, *texts: str | None) -> None:
    """Raises UserError: one of ``texts`` has bytes that are not UTF-8, which Python keeps as half surrogates."""
    if not all(is_unicode(text) for text in texts if text is not None):
        raise UserError(f"{name}: is not UTF-8; expected text in UTF-8")


def check_text(name: str, *texts: str | None) -> None:
    """Raises UserError: one of ``texts`` is empty, or not Unicode (see `check_unicode`)."""
    check_unicode(name, *texts)
    if not all(text.strip() for text in texts if text is not None):
        raise UserError(f"{name}: is empty; expected text")


def is_unicode(text: str) -> bool:
    """Whether ``text`` has no half of a surrogate pair, which no tokenizer accepts and UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def compose(text: str) -> str:
    """``text`` in Unicode's composed form, NFC, in which models and tokenizers get all text.

    >>> len("e\u0301"), len(compose("e\u0301"))
    (2, 1)
    """
    return unicodedata.normalize("NFC", text)


def one_line(text: str) -> str:
    """``text`` with a space for each line break, including Unicode's, so that it is one line for every reader."""
    return " ".join(text.splitlines())


def shorten(text: str, most: int = 40) -> str:
    """``text`` for a message, with ``…`` in place of what is beyond ``most`` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _broken(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: cannot be read to its end ({getattr(error, 'strerror', None) or error})")


def _decoded(file: IO[bytes], origin: str, encoding: str = "utf-8") -> Iterator[str | None]:
    for number, line in enumerate(file):
        if number == 0:
            _check_encoding(line, origin)
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode(encoding)
        except UnicodeDecodeError:
            yield None


def _check_encoding(first: bytes, origin: str) -> None:
    """Raises UserError: the first line of ``origin`` shows that the file is not UTF-8, or has no LF."""
    encoding = next((name for mark, name in _MARKS.items() if first.startswith(mark)), None)
    if encoding is None and len(start := first[:200]) >= 4:
        # Without a mark: in UTF-16, every second byte of mostly ASCII text is zero.
        zeros = [start[at::2].count(0) * 2 > len(start[at::2]) for at in (0, 1)]
        encoding = {(True, False): "UTF-16BE", (False, True): "UTF-16LE"}.get((zeros[0], zeros[1]))
    if encoding is not None:
        raise UserError(f"{origin}: is {encoding}, expected UTF-8; convert it: iconv -f {encoding} -t UTF-8")
    if not first.endswith(b"\n") and b"\r" in first.rstrip(b"\r"):
        raise UserError(f"{origin}: its lines end in CR only, expected LF or CRLF; convert it: tr '\\r' '\\n'")
