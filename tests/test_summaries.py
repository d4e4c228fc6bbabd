"""Texts with short texts about them: what is read from tables, aligned files, folders and docstrings."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from regard.data import docstrings
from regard.data.summaries import open_summaries
from regard.errors import UserError

PAIRS = [("a long text", "short"), ("another, longer", "brief")]


def _write(folder: Path, name: str) -> str:
    path = folder / name
    if name.endswith(".tsv"):
        path.write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS))
    elif name.endswith(".csv"):
        path.write_text("id,Summary,Article\n" + "".join(f'{at},{b},"{a}"\n' for at, (a, b) in enumerate(PAIRS)))
    elif name.endswith(".jsonl.gz"):
        lines = "".join(json.dumps({"highlights": b, "document": a}) + "\n" for a, b in PAIRS)
        path.write_bytes(gzip.compress(lines.encode()))
    elif name.endswith(".parquet"):
        parquet: Any = pytest.importorskip("pyarrow.parquet")
        arrow: Any = pytest.importorskip("pyarrow")
        parquet.write_table(arrow.table({"text": [a for a, _ in PAIRS], "title": [b for _, b in PAIRS]}), path)
    else:
        path.write_text("".join(f"{a}\n" for a, _ in PAIRS))
        (folder / "b.txt").write_text("".join(f"{b}\n" for _, b in PAIRS))
        return f"{path},{folder / 'b.txt'}"
    return str(path)


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl.gz", "a.parquet", "a.txt"])
def test_tables_and_aligned_files_are_read(name: str, tmp_path: Path) -> None:
    pairs, lines = open_summaries(_write(tmp_path, name))
    assert list(pairs) == PAIRS
    assert "2 pairs" in lines[-1]


def test_columns_are_chosen(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"mail": "long", "about": "short"}\n')
    pairs, _ = open_summaries(str(tmp_path / "a.jsonl"), source="mail", target="about")
    assert list(pairs) == [("long", "short")]
    with pytest.raises(UserError, match=r"cannot tell which column is the source.*--data\.source"):
        open_summaries(str(tmp_path / "a.jsonl"))


def test_a_list_of_summaries_is_several_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "long", "summary": ["one", "two"]}\n{"text": "b", "summary": "c"}\n')
    pairs, _ = open_summaries(str(tmp_path / "a.jsonl"))
    assert list(pairs) == [("long", "one"), ("long", "two"), ("b", "c")]


def test_bad_lines_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("long\tshort\nonly\nlong\t\n")
    with pytest.raises(UserError, match=r"2 of 3 lines cannot be used: line 2: no tab.*line 3: empty target"):
        open_summaries(str(tmp_path / "a.tsv"))
    pairs, lines = open_summaries(str(tmp_path / "a.tsv"), on_bad_line="skip")
    assert (list(pairs), len(lines)) == ([("long", "short")], 2)


@pytest.fixture
def mails(tmp_path: Path) -> Path:
    folder = tmp_path / "mails"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.subject").write_text("Hello @subject\nall,\n\n@subject\nA greeting\n\n@ann0\nhello\n\n@ann1\nhi all")
    (folder / "deep" / "a.subject").write_bytes(b"Caf\xe9 at ten\r\n\n@subject\ncoffee")
    (folder / "other.txt").write_text("not read")
    return folder


def test_a_folder_of_subject_files_is_read(mails: Path) -> None:
    pairs, lines = open_summaries(str(mails))
    text = "Hello @subject\nall,"
    assert list(pairs) == [(text, "A greeting"), (text, "hello"), (text, "hi all"), ("Caf\ufffd at ten", "coffee")]
    assert lines == [f"{mails}: 4 pairs in 2 files"]


def test_files_without_a_subject_are_named(mails: Path, tmp_path: Path) -> None:
    (mails / "c.subject").write_text("no subject")
    with pytest.raises(UserError, match=r"1 of 3 files cannot be used: c\.subject: no text.*--data\.on-bad-line skip"):
        open_summaries(str(mails))
    pairs, lines = open_summaries(str(mails), on_bad_line="skip")
    assert (len(pairs), lines[0]) == (4, f"{mails}: 1 of 3 files left out: c.subject: no text, or no text after a line "
                                      "@subject")  # fmt: skip
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no \.subject files in it"):
        open_summaries(str(tmp_path / "empty"))
    with pytest.raises(UserError, match="no such file"):
        open_summaries(str(tmp_path / "none.tsv"))


CODE = '''
class Big:
    """A big thing.

    It has many parts, of which each can be taken off and put back on.
    """

    async def part(self, name, *, size=3):
        """Return the part
        that has a name.

        The size is checked before the part is returned to the caller.
        """

    def short(self):
        """A first line without more."""

if True:
    def café(x, /): """Drink it.

    The name of the function has a letter that is not ASCII, in the composed form."""
'''


def test_docstrings_are_a_signature_and_the_rest_for_the_first_line() -> None:
    assert [(source.partition(":")[0], target) for source, target in docstrings.pairs_of(CODE.encode())] == [
        ("Big", "A big thing."),
        ("Part (name, size)", "Return the part that has a name."),
    ]
    for code in (b"def broken(", b"\x00", b"\xff", b"", b'def f():\n    """No end of the text.\n\n    It goes on.'):
        assert list(docstrings.pairs_of(code)) == []


TRICKY = """
def first(text):
    '''Say what a text means::

        def not_code(text):
            return text

    The example above has a header of a function that is not one.
    '''
    if text:
        '''Another string after a colon.

        It belongs to no function, and has more than eight words.
        '''

def after_it(
    a: int = 3,  # a comment
    *, b: str = ":",
) -> None:  # and another
    '''Come after it all.

    The header above has several lines, comments and a colon in quotes.
    '''
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_the_docstrings_of_functions_and_classes_are_read(end: str) -> None:
    pairs = list(docstrings.pairs_of(TRICKY.replace("\n", end).encode()))
    assert [first for _, first in pairs] == ["Say what a text means::", "Come after it all."]
    assert pairs[1][0].startswith("After it (a, b): The header above")


def test_built_in_docstrings_are_the_same_each_time_and_held_out_by_module() -> None:
    train, test = docstrings.corpus(30, split="train"), docstrings.corpus(10, split="test")
    assert (len(train), len(test)) == (30, 10)
    assert docstrings.corpus(10, split="test") == test
    assert test[:3] == docstrings.corpus(3, split="test")
    for side in (0, 1):
        assert not {pair[side] for pair in train} & {pair[side] for pair in test}
    assert len(set(docstrings.examples())) == 3
