"""Every way in for text, with every kind of text that is not plain lines in UTF-8."""

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
from regard.tasks.generate.data import Text

Line = Callable[[str], str]


class Way(NamedTuple):
    """A way in.

    Attributes:
        name: of the file.
        line: the line of the file that holds a text.
        read: gives the texts of the file again.
    """

    name: str
    line: Line
    read: Callable[[Path], list[str]]


def _sources(path: str) -> list[str]:
    return [source for source, _ in read_parallel(path).pairs]


def _documents(path: str) -> list[str]:
    return Text.of([], read_documents(path)).valid


def _standard_input(path: Path) -> list[str]:
    with path.open("rb") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read())))
        return read_text_lines(None)


def _plain(text: str) -> str:
    return text


WAYS = {
    "standard input": Way("a.txt", _plain, _standard_input),
    "file": Way("a.txt", _plain, read_text_lines),
    "gz": Way("a.txt.gz", _plain, read_text_lines),
    "tsv": Way("a.tsv", lambda text: f"{text}\tb", lambda path: _sources(str(path))),
    "csv": Way("a.csv", lambda text: f"{text},b", lambda path: _sources(str(path))),
    "jsonl": Way("a.jsonl", lambda text: json.dumps({"source": text, "target": "b"}), lambda path: _sources(str(path))),
    "aligned files": Way("a.en", _plain, lambda path: _sources(f"{path},{path}")),
    "document": Way("a.md", _plain, lambda path: _documents(str(path))[0].split("\n")),
    "folder": Way("a.md", _plain, lambda path: _documents(str(path.parent))[0].split("\n")),
    "records": Way("a.jsonl", lambda text: json.dumps({"text": text}), lambda path: _documents(str(path))),
}
TRAINED = ("tsv", "csv", "jsonl", "aligned files", "document", "folder", "records")
"""Those whose text is composed where it is read; the others' is where it is made into tokens."""


def _write(way: Way, folder: Path, texts: Sequence[str], encode: Callable[[str], bytes] = str.encode) -> Path:
    content = encode("".join(f"{way.line(text)}\n" for text in texts))
    path = folder / way.name
    path.write_bytes(gzip.compress(content) if way.name.endswith(".gz") else content)
    return path


BAD: dict[str, tuple[Callable[[str], bytes], str]] = {
    "UTF-16": (lambda text: text.encode("utf-16"), "is UTF-16, expected UTF-8; convert it: iconv -f UTF-16 -t UTF-8"),
    "UTF-16 without mark": (lambda text: text.encode("utf-16-le"), "is UTF-16LE, expected UTF-8"),
    "UTF-16 the other way": (lambda text: text.encode("utf-16-be"), "is UTF-16BE, expected UTF-8"),
    "UTF-32": (lambda text: text.encode("utf-32"), "is UTF-32, expected UTF-8"),
    "CR": (lambda text: text.replace("\n", "\r").encode(), "its lines end in CR alone, expected LF or CRLF"),
    "Latin-1": (lambda text: text.replace("two", "tw\xf6").encode("latin-1"), "(line|record) 2.* not UTF-8"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_names_what_is_wrong(way: str, bad: str, tmp_path: Path) -> None:
    encode, reason = BAD[bad]
    path = _write(WAYS[way], tmp_path, ("cafe one", "two"), encode)
    with pytest.raises(UserError, match=reason) as error:
        WAYS[way].read(path)
    assert str(error.value).startswith("standard input: " if way == "standard input" else f"{tmp_path}/a.")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("inner", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"], ids=ascii)
@pytest.mark.parametrize("way", [way for way in WAYS if way != "csv"])
def test_only_line_feeds_end_lines(tmp_path: Path, way: str, inner: str) -> None:
    path = _write(WAYS[way], tmp_path, (f"a{inner}b", "c"))
    assert WAYS[way].read(path) == [f"a{inner}b", "c"]


def test_one_line_has_no_line_break_of_any_kind() -> None:
    assert one_line("a\u2028b\x85c\fd\ve\x1cf\r\ng") == "a b c d e f g"


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("jsonl", "records", "csv")])
def test_marks_and_ends_of_windows_are_no_text(tmp_path: Path, way: str) -> None:
    path = _write(WAYS[way], tmp_path, ("a", "b"), lambda text: ("\ufeff" + text.replace("\n", "\r\n")).encode())
    assert WAYS[way].read(path) == ["a", "b"]


@pytest.mark.parametrize("way", ["jsonl", "records"])
def test_half_surrogates_in_json_are_told(tmp_path: Path, way: str) -> None:
    with pytest.raises(UserError, match="2: not Unicode: half a surrogate pair"):
        WAYS[way].read(_write(WAYS[way], tmp_path, ("one", "\ud800")))


@pytest.mark.parametrize("way", TRAINED)
def test_what_is_trained_on_is_composed(tmp_path: Path, way: str) -> None:
    path = _write(WAYS[way], tmp_path, ("cafe\u0301", "two"))
    assert WAYS[way].read(path) == ["caf\xe9", "two"]


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("aligned files", "folder", "standard input")])
def test_pipes_can_be_read(tmp_path: Path, way: str) -> None:
    content = _write(WAYS[way], tmp_path, ("a", "b")).read_bytes()
    (tmp_path / "pipe").mkdir()
    path = tmp_path / "pipe" / WAYS[way].name
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(content), daemon=True)
    writer.start()
    assert WAYS[way].read(path) == ["a", "b"]
    writer.join(10)


def test_an_extract_of_a_dump_is_read_from_a_pipe(tmp_path: Path) -> None:
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
