"""Every way in for lines of text, with every kind of bad text; and writing through pipes, devices and links."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from regard.data.documents import read_documents
from regard.data.lines import one_line, read_text_lines
from regard.data.parallel import read_parallel
from regard.errors import UserError

Way = Callable[[Path, bytes], object]


def _file(name: str, read: Callable[[str], object]) -> Way:
    def way(folder: Path, content: bytes) -> object:
        path = folder / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return read(str(path))

    return way


def _standard_input(folder: Path, content: bytes) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        return read_text_lines(None)


WAYS: dict[str, Way] = {
    "standard input": _standard_input,
    "file": _file("a.txt", lambda path: read_text_lines(Path(path))),
    "gz": _file("a.txt.gz", lambda path: read_text_lines(Path(path))),
    "document": _file("a.md", read_documents),
    "tsv": _file("a.tsv", read_parallel),
    "csv": _file("a.csv", read_parallel),
    "jsonl": _file("a.jsonl", read_parallel),
    "aligned files": _file("a.en", lambda path: read_parallel(f"{path},{path}")),
}

TEXT = "a cat,x\tun chat\nthe dog,y\tle chien\n"
BAD = {
    "UTF-16": (TEXT.encode("utf-16"), "is UTF-16, expected UTF-8"),
    "UTF-16 without mark": (TEXT.encode("utf-16-le"), "is UTF-16LE, expected UTF-8"),
    "UTF-16 the other way": (TEXT.encode("utf-16-be"), "is UTF-16BE, expected UTF-8"),
    "UTF-32": (TEXT.encode("utf-32"), "is UTF-32, expected UTF-8"),
    "CR": (TEXT.replace("\n", "\r").encode(), "its lines end in CR alone, expected LF or CRLF"),
    "Latin-1": ("\n".join(["a,a\ta", "caf\xe9,b\tb"]).encode("latin-1"), "line 2.* not UTF-8"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_names_what_is_wrong(way: str, bad: str, tmp_path: Path) -> None:
    content, told = BAD[bad]
    if (way, bad) == ("jsonl", "Latin-1"):
        content = b'{"source": "a", "target": "b"}\n\xe9'
    told = told.replace("line 2.* not", "line 2: not") if way in ("tsv", "csv", "jsonl", "aligned files") else told
    with pytest.raises(UserError, match=told) as error:
        WAYS[way](tmp_path, content)
    assert str(error.value).startswith("standard input: " if way == "standard input" else f"{tmp_path}/a.")
    assert "\n" not in str(error.value)


def test_only_line_feeds_end_a_line() -> None:
    text = "a\u2028b\x85c\fd\ve\x1cf"
    assert _standard_input(Path(), f"\ufeff{text}\r\n\n\x00g".encode()) == [text, "", "\x00g"]
    assert one_line(f"{text}\r\ng") == "a b c d e f g"
