"""Every source of text, with text that is not plain lines in UTF-8: encodings, line breaks, pipes."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from regard.data.documents import read_documents
from regard.data.lines import one_line, read_text_lines
from regard.data.parallel import read_parallel
from regard.errors import UserError
from regard.tasks.families.language.data import Text

Line = Callable[[str], str]


class Source(NamedTuple):
    """A source of text.

    Attributes:
        name: of the file.
        line: makes the line of the file that contains a text.
        read: reads the texts of the file.
    """

    name: str
    line: Line
    read: Callable[[Path], list[str]]


def _sources(path: str) -> list[str]:
    return [source for source, _ in read_parallel(path).pairs]


def _documents(path: str) -> list[str]:
    return list(Text.of([], read_documents(path)).valid)


def _standard_input(path: Path) -> list[str]:
    with path.open("rb") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read())))
        return read_text_lines(None)


def _plain(text: str) -> str:
    return text


SOURCES = {
    "standard input": Source("a.txt", _plain, _standard_input),
    "file": Source("a.txt", _plain, read_text_lines),
    "gz": Source("a.txt.gz", _plain, read_text_lines),
    "tsv": Source("a.tsv", lambda text: f"{text}\tb", lambda path: _sources(str(path))),
    "csv": Source("a.csv", lambda text: f"{text},b", lambda path: _sources(str(path))),
    "jsonl": Source(
        "a.jsonl", lambda text: json.dumps({"source": text, "target": "b"}), lambda path: _sources(str(path))
    ),
    "aligned files": Source("a.en", _plain, lambda path: _sources(f"{path},{path}")),
    "document": Source("a.md", _plain, lambda path: _documents(str(path))[0].split("\n")),
    "folder": Source("a.md", _plain, lambda path: _documents(str(path.parent))[0].split("\n")),
    "records": Source("a.jsonl", lambda text: json.dumps({"text": text}), lambda path: _documents(str(path))),
}
TRAINED = ("tsv", "csv", "jsonl", "aligned files", "document", "folder", "records")
"""Sources of training text, composed (Unicode NFC) when it is read. The tokenizer composes the text of the others."""


def _write(source: Source, folder: Path, texts: Sequence[str], encode: Callable[[str], bytes] = str.encode) -> Path:
    content = encode("".join(f"{source.line(text)}\n" for text in texts))
    path = folder / source.name
    path.write_bytes(gzip.compress(content) if source.name.endswith(".gz") else content)
    return path


WRONG_ENCODINGS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "UTF-16": (lambda text: text.encode("utf-16"), "is UTF-16, expected UTF-8; convert it: iconv -f UTF-16 -t UTF-8"),
    "UTF-16LE without mark": (lambda text: text.encode("utf-16-le"), "is UTF-16LE, expected UTF-8"),
    "UTF-16BE without mark": (lambda text: text.encode("utf-16-be"), "is UTF-16BE, expected UTF-8"),
    "UTF-32": (lambda text: text.encode("utf-32"), "is UTF-32, expected UTF-8"),
    "CR": (lambda text: text.replace("\n", "\r").encode(), "its lines end in CR only, expected LF or CRLF"),
    "Latin-1": (lambda text: text.replace("two", "tw\xf6").encode("latin-1"), "(line|record) 2.* not UTF-8"),
}


@pytest.mark.parametrize("encoding", WRONG_ENCODINGS)
@pytest.mark.parametrize("source", SOURCES)
def test_wrong_encodings_give_a_one_line_error(source: str, encoding: str, tmp_path: Path) -> None:
    encode, reason = WRONG_ENCODINGS[encoding]
    path = _write(SOURCES[source], tmp_path, ("cafe one", "two"), encode)
    with pytest.raises(UserError, match=reason) as error:
        SOURCES[source].read(path)
    assert str(error.value).startswith("standard input: " if source == "standard input" else f"{tmp_path}/a.")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"], ids=ascii)
@pytest.mark.parametrize("source", [source for source in SOURCES if source != "csv"])
def test_only_line_feeds_end_lines(tmp_path: Path, source: str, character: str) -> None:
    path = _write(SOURCES[source], tmp_path, (f"a{character}b", "c"))
    assert SOURCES[source].read(path) == [f"a{character}b", "c"]


def test_one_line_replaces_every_kind_of_line_break() -> None:
    assert one_line("a\u2028b\x85c\fd\ve\x1cf\r\ng") == "a b c d e f g"


@pytest.mark.parametrize("source", [source for source in SOURCES if source not in ("jsonl", "records", "csv")])
def test_byte_order_marks_and_carriage_returns_are_removed(tmp_path: Path, source: str) -> None:
    path = _write(SOURCES[source], tmp_path, ("a", "b"), lambda text: ("\ufeff" + text.replace("\n", "\r\n")).encode())
    assert SOURCES[source].read(path) == ["a", "b"]


@pytest.mark.parametrize("source", ["jsonl", "records"])
def test_half_a_surrogate_pair_in_json_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(UserError, match="2: not Unicode: half a surrogate pair"):
        SOURCES[source].read(_write(SOURCES[source], tmp_path, ("one", "\ud800")))


@pytest.mark.parametrize("source", TRAINED)
def test_training_text_is_unicode_composed(tmp_path: Path, source: str) -> None:
    path = _write(SOURCES[source], tmp_path, ("cafe\u0301", "two"))
    assert SOURCES[source].read(path) == ["caf\xe9", "two"]


@pytest.mark.parametrize(
    "source", [source for source in SOURCES if source not in ("aligned files", "folder", "standard input")]
)
def test_pipes_can_be_read(tmp_path: Path, source: str) -> None:
    content = _write(SOURCES[source], tmp_path, ("a", "b")).read_bytes()
    (tmp_path / "pipe").mkdir()
    path = tmp_path / "pipe" / SOURCES[source].name
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(content), daemon=True)
    writer.start()
    assert SOURCES[source].read(path) == ["a", "b"]
    writer.join(10)


def test_a_wikipedia_extract_is_read_from_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "wiki_00")
    content = '{"text": "one"}\n{"text": "two"}\n'
    writer = threading.Thread(target=lambda: (tmp_path / "wiki_00").write_text(content), daemon=True)
    writer.start()
    assert read_documents(str(tmp_path / "wiki_00")) == ["one", "two"]
    writer.join(10)


def test_an_empty_input_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    assert _standard_input(tmp_path / "a.txt") == []
    with pytest.raises(UserError, match=r"a\.txt: the file is empty"):
        read_text_lines(tmp_path / "a.txt")
