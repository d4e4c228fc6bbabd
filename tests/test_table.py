"""The reader of tables: every format with one, two and three columns, good and bad."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regard.data.columns import Bad, Column, Header, Layout
from regard.data.reading import Reading
from regard.data.table import open_table
from regard.errors import UserError

COLUMNS = (
    Column("text", "data.text", number=1, usual=("sentence", "body")),
    Column("label", "data.label", number=2, usual=("class",), kind="label"),
    Column("note", "data.note_column", number=3, usual=("remark",)),
)
LAYOUTS = {"one": Layout(COLUMNS[:1]), "two": Layout(COLUMNS[:2]), "three": Layout(COLUMNS)}
LAYOUTS["an optional one"] = Layout((*COLUMNS[:2], replace(COLUMNS[2], required=False)))

Rows = Sequence[Mapping[str, Any]]
ROWS = [{"id": "7", "sentence": "a cat", "class": "pet", "note": "x y"}, {"id": "8", "sentence": "é — 漢", "class": "1",
         "note": "z"}]  # fmt: skip


def _separated(separator: str, rows: Rows) -> bytes:
    lines = [separator.join(rows[0]), *(separator.join(row.values()) for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def _csv(separator: str, rows: Rows) -> bytes:
    file = io.StringIO()
    csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([rows[0], *(row.values() for row in rows)])
    return file.getvalue().encode()


def _jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


LINES: dict[str, Callable[[Rows], bytes]] = {
    "t.tsv": lambda rows: _separated("\t", rows),
    "t.txt": lambda rows: b"\xef\xbb\xbf" + _separated("\t", rows).replace(b"\n", b"\r\n"),
    "t.tsv.gz": lambda rows: gzip.compress(_separated("\t", rows)),
    "t.csv": lambda rows: _csv(",", rows),
    "t.csv.xz": lambda rows: lzma.compress(_csv(";", rows)),
}
RECORDS: dict[str, Callable[[Rows], bytes]] = {
    "t.jsonl": _jsonl, "t.json": _jsonl, "t.ndjson": _jsonl,
    "t.json-lines.gz": lambda rows: gzip.compress(_jsonl(rows)),
}  # fmt: skip


def _write(name: str, rows: Rows, folder: Path) -> str:
    """The path of a table."""
    if name == "t.parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(rows), folder / name)
    elif name == "hub":
        pytest.importorskip("datasets").Dataset.from_list(list(rows)).save_to_disk(folder / name)
        return f"hf:{folder / name}"
    else:
        (folder / name).write_bytes((LINES | RECORDS)[name](rows))
    return str(folder / name)


ALL = (*LINES, *RECORDS, "t.parquet", "hub")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("count", LAYOUTS)
def test_columns_by_their_usual_names(name: str, count: str, tmp_path: Path) -> None:
    layout = LAYOUTS[count]
    rows = list(open_table(_write(name, ROWS, tmp_path), layout).rows)
    keys = ("sentence", "class", "note")[: len(layout.columns)]
    first = [(1, Header(keys))] if name in LINES else []
    expected = [tuple(row[key] for key in keys) for row in ROWS]
    assert rows == [*first, *((at + len(first), row) for at, row in enumerate(expected, 1))]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("count", LAYOUTS)
def test_columns_by_given_names(name: str, count: str, tmp_path: Path) -> None:
    given = ("id", "note", "class")
    columns = LAYOUTS[count].columns
    columns = tuple(replace(column, given=one) for column, one in zip(columns, given, strict=False))
    rows = list(open_table(_write(name, ROWS, tmp_path), Layout(columns)).rows)
    assert [row for _, row in rows] == [tuple(row[key] for key in given[: len(columns)]) for row in ROWS]
    wrong = Layout((*columns[:-1], replace(columns[-1], given="nots")))
    with pytest.raises(UserError, match=r"has no column 'nots'; its columns are id, .*; did you mean note\?$"):
        list(open_table(_write(name, ROWS, tmp_path), wrong).rows)


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("count", LAYOUTS)
def test_columns_by_number(name: str, count: str, tmp_path: Path) -> None:
    given: tuple[str | int, ...] = (2, "3", 4)
    columns = tuple(replace(column, given=at) for at, column in zip(given, LAYOUTS[count].columns, strict=False))
    rows = list(open_table(_write(name, ROWS, tmp_path), Layout(columns)).rows)
    keys = ("sentence", "class", "note")[: len(columns)]
    assert rows == [(1, keys), *((at, tuple(row[key] for key in keys)) for at, row in enumerate(ROWS, 2))]
    table = open_table(_write(name, ROWS, tmp_path), Layout((replace(columns[0], given=0), *columns[1:])))
    with pytest.raises(UserError, match=r"^data\.text: columns are counted from 1, got 0$"):
        list(table.rows)


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("count", LAYOUTS)
def test_lines_without_a_header_have_the_default_order(name: str, count: str, tmp_path: Path) -> None:
    rows = [{"a cat": "a dog", "pet": "pest", "x": "y"}]
    size = len(LAYOUTS[count].columns)
    expected = [(1, ("a cat", "pet", "x")[:size]), (2, ("a dog", "pest", "y")[:size])]
    assert list(open_table(_write(name, rows, tmp_path), LAYOUTS[count]).rows) == expected


@pytest.mark.parametrize("name", ALL)
def test_a_table_without_a_column(name: str, tmp_path: Path) -> None:
    path = _write(name, [{"sentence": "a", "kind": "b"}], tmp_path)
    columns = tuple(replace(column, number=None) for column in COLUMNS[:2])
    with pytest.raises(UserError) as error:
        list(open_table(path, Layout(columns)).rows)
    assert str(error.value) == (
        f"{path}: cannot tell which column is the label; its columns are sentence, kind; name one with --data.label"
    )


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("absent", ["column", "value"])
def test_an_optional_column_may_be_absent(name: str, absent: str, tmp_path: Path) -> None:
    others = [{"sentence": "a", "class": "b"}, {"sentence": "c", "class": "d"}]
    value = "" if name in LINES else None
    rows: Rows = others if absent == "column" else [{**others[0], "note": value}, {**others[1], "note": "x"}]
    reading = Reading(_write(name, rows, tmp_path), LAYOUTS["an optional one"])
    assert list(reading) == [("a", "b", None), ("c", "d", None if absent == "column" else "x")]
    layout = Layout((*COLUMNS[:2], replace(COLUMNS[2], required=False, given="remark")))
    with pytest.raises(
        UserError, match=r"has no column 'remark'; its columns are .*--data\.note-column|cannot be used"
    ):
        list(Reading(_write(name, others, tmp_path), layout))


def test_optional_columns_at_the_end_of_a_line(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\tb\tc\nd\te\nf\n")
    rows = [row for _, row in open_table(str(tmp_path / "t.tsv"), LAYOUTS["an optional one"]).rows]
    assert rows == [("a", "b", "c"), ("d", "e", None), Bad("no tab", "f")]
    columns = replace(COLUMNS[0], given=3), COLUMNS[1], replace(COLUMNS[2], required=False)
    rows = [row for _, row in open_table(str(tmp_path / "t.tsv"), Layout(columns)).rows]
    assert rows[0] == ("c", "b", None)


BAD_LINES = [
    ("t.tsv", b"x\n", Bad("no tab", "x"), 2), ("t.tsv", b"\xff\ty\tz\n", Bad("not UTF-8"), 1),
    ("t.tsv", b"x\ty\n", Bad("too few columns", "x\ty"), 3), ("t.csv", b"x,y\n", Bad("too few columns", "x,y"), 3),
    ("t.csv", b'"x,y,z\n', Bad("not CSV: unexpected end of data", '"x,y,z'), 1),
    ("t.csv", b"x\n", Bad("too few columns", "x"), 2), ("t.csv", b"\xff,y,z\n", Bad("not UTF-8"), 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "line", "bad", "needs"), BAD_LINES)
@pytest.mark.parametrize("count", ["one", "two", "three"])
def test_bad_lines(name: str, line: bytes, bad: Bad, needs: int, count: str, tmp_path: Path) -> None:
    good = b"a\tb\tc\n" if name == "t.tsv" else b"a,b,c\n"
    (tmp_path / name).write_bytes(good + line + good)
    size = len(LAYOUTS[count].columns)
    rows = dict(open_table(str(tmp_path / name), LAYOUTS[count]).rows)
    assert list(rows) == [1, 2, 3]
    assert rows[1] == rows[3] == ("a", "b", "c")[:size]
    assert rows[2] == bad if size >= needs else isinstance(rows[2], tuple)


BAD_RECORDS = [
    ("nonsense", "not JSON"), ("[1]", "not a JSON object"), ('{"label": "b", "note": "c"}', "no text"),
    ('{"text": null, "label": "b", "note": "c"}', "text is null"),
    ('{"text": 3, "label": "b", "note": "c"}', "text is not text"),
    ('{"text": "\\ud800", "label": "b", "note": "c"}', "not Unicode: half a surrogate pair"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "reason"), BAD_RECORDS)
@pytest.mark.parametrize("count", LAYOUTS)
def test_bad_records(line: str, reason: str, count: str, tmp_path: Path) -> None:
    good = '{"text": "a", "label": "b", "note": "c"}\n'
    (tmp_path / "t.jsonl").write_text(good + line + "\n" + good)
    (_, first), (number, row), (_, last) = open_table(str(tmp_path / "t.jsonl"), LAYOUTS[count]).rows
    assert first == last == ("a", "b", "c")[: len(LAYOUTS[count].columns)]
    assert isinstance(row, Bad)
    assert (number, row.reason) == (2, reason)


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet", "hub"])
@pytest.mark.parametrize("count", LAYOUTS)
def test_nulls_in_records(name: str, count: str, tmp_path: Path) -> None:
    rows: Rows = [{"text": "a", "label": "b", "note": "c"}, {"text": None, "label": "b", "note": "c"}]
    _, (_, row) = open_table(_write(name, rows, tmp_path), LAYOUTS[count]).rows
    assert isinstance(row, Bad)
    assert row.reason == "text is null"


@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
@pytest.mark.parametrize(("count", "words"), [("one", "one"), ("two", "two"), ("three", "three")])
def test_ambiguous_headers(name: str, count: str, words: str, tmp_path: Path) -> None:
    mark = "\t" if name == "t.tsv" else ","
    (tmp_path / name).write_text(mark.join(("Text", "Text", "class", "remark")) + "\n" + mark.join("abcd") + "\n")
    flags = {"one": "--data.text", "two": "--data.text and --data.label"}
    with pytest.raises(UserError) as error:
        list(open_table(str(tmp_path / name), LAYOUTS[count]).rows)
    assert str(error.value) == (
        f"{tmp_path / name}: line 1 looks like a header, Text, Text, class, remark; name {words} of the columns with "
        f"{flags.get(count, '--data.text, --data.label and --data.note-column')}, or give their numbers to read line 1 "
        "as a row"
    )


@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
def test_a_header_in_which_only_one_column_has_a_usual_name(name: str, tmp_path: Path) -> None:
    path = _write(name, [{"label": "1", "content": "a cat"}], tmp_path)
    with pytest.raises(
        UserError, match=r"a header, label, content, without a usual name of the text; name it with --data\.text, "
    ):
        list(open_table(path, LAYOUTS["two"]).rows)
    layout = Layout((replace(COLUMNS[0], given="content"), COLUMNS[1]))
    assert [row for _, row in open_table(path, layout).rows] == [("a cat", "1")]


def test_labels_and_other_values_of_records(tmp_path: Path) -> None:
    values = [3, 3.0, "3", ["a", "b"], None, "", 0.5, True]
    path = _write("t.jsonl", [{"label": value} for value in values], tmp_path)
    kinds: dict[str, list[object]] = {}
    for kind in ("label", "labels", "any"):
        column = Column("label", "data.label", kind=kind)  # type: ignore[arg-type]
        rows = [row for _, row in open_table(path, Layout((column,))).rows]
        kinds[kind] = [row.reason if isinstance(row, Bad) else row[0] for row in rows if not isinstance(row, Header)]
    wrong = "expected a label that is text or a whole number, got "
    single = ["3", "3", "3", f"{wrong}list", "has no label", "has an empty label", f"{wrong}float", "True"]
    assert kinds["label"] == single
    assert kinds["labels"] == [*single[:3], ("a", "b"), *single[4:]]
    assert kinds["any"] == values


@pytest.mark.parametrize("saved", ["hub", "parquet"])
def test_numbers_of_classes_become_their_names(saved: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    classes = datasets.ClassLabel(names=["no", "yes"])
    types = {"text": datasets.Value("string"), "answer": classes, "all": datasets.Sequence(classes)}
    rows = {"text": ["a", "b", "c"], "answer": [1, 0, -1], "all": [[1, 0], [], [1]]}
    table = datasets.Dataset.from_dict(rows, features=datasets.Features(types))
    path = f"hf:{tmp_path / 'saved'}" if saved == "hub" else str(tmp_path / "t.parquet")
    table.save_to_disk(tmp_path / "saved") if saved == "hub" else table.to_parquet(path)
    layout = Layout((COLUMNS[0], replace(COLUMNS[1], feature="ClassLabel")))
    opened = open_table(path, layout)
    assert opened.names == ("text", "answer")
    first, second, (_, last) = opened.rows
    assert (first, second) == ((1, ("a", "yes")), (2, ("b", "no")))
    assert isinstance(last, Bad)
    assert last.reason == "label -1 is not one of the 2 classes; it may stand for a missing label"
    column = Column("all", "data.all", kind="labels")
    assert [row for _, row in open_table(path, Layout((column,))).rows] == [(("yes", "no"),), ((),), (("yes",),)]


def test_columns_that_are_not_used_are_not_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    types = datasets.Features({"text": datasets.Value("string"), "photo": datasets.Image()})
    rows = {"text": ["a"], "photo": [{"bytes": b"not an image", "path": None}]}
    datasets.Dataset.from_dict(rows, features=types).save_to_disk(tmp_path / "saved")
    assert list(open_table(f"hf:{tmp_path / 'saved'}", LAYOUTS["one"]).rows) == [(1, ("a",))]


def test_other_separators_and_endings(tmp_path: Path) -> None:
    columns = tuple(Column(name, f"data.{name}", number=at) for at, name in enumerate(("user", "item", "time"), 1))
    layout = Layout(columns, separators=("\t", "::"), endings=(".txt", ".dat"))
    (tmp_path / "ratings.dat").write_text("1::12::9\n2::13\n3\n")
    rows = list(open_table(str(tmp_path / "ratings.dat"), layout).rows)
    assert rows == [(1, ("1", "12", "9")), (2, Bad("too few columns", "2::13")), (3, Bad("no tab or ::", "3"))]
    (tmp_path / "ratings.txt").write_text("time\titem\tuser\n9\ta::b\t1\n")
    assert list(open_table(str(tmp_path / "ratings.txt"), layout).rows)[1:] == [(2, ("1", "a::b", "9"))]
    (tmp_path / "t.tsv").write_text("x")
    with pytest.raises(
        UserError, match=r"unknown ending .tsv; expected .txt, .dat, .csv, .json, .jsonl, .*, .parquet$"
    ):
        open_table(str(tmp_path / "t.tsv"), layout)


@pytest.mark.parametrize("size", [2, 3])
def test_aligned_files(size: int, tmp_path: Path) -> None:
    layout = Layout(COLUMNS[:size], aligned=True)
    for name in "abc"[:size]:
        (tmp_path / name).write_bytes(f"{name}1\n{name}2\n".encode())
    path = ",".join(str(tmp_path / name) for name in "abc"[:size])
    letters = "abc"[:size]
    expected = [(at, tuple(f"{name}{at}" for name in letters)) for at in (1, 2)]
    assert list(open_table(path, layout).rows) == expected
    with (tmp_path / "b").open("ab") as file:
        file.write(b"\xff\n")
    with pytest.raises(UserError, match=r"a has 2 lines, .*b 3.*: aligned files must have the same number"):
        list(open_table(path, layout).rows)
    with pytest.raises(UserError, match=r"expected one file, or (two|three) aligned files as first,.*; got 4 names"):
        open_table(f"{tmp_path}/a,b,c,d", layout)


def test_two_columns_that_would_be_the_same() -> None:
    for given in ((2, None, None), (None, 1, None), ("x", "x", None), (None, "text", None)):
        columns = [replace(column, given=one) for column, one in zip(COLUMNS, given, strict=True)]
        name = next(one for one in given if one is not None)
        with pytest.raises(
            UserError, match=rf"^data\.text, data\.label: both would be column {name}; name two columns$"
        ):
            Layout(tuple(columns))


def test_rows_are_read_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(b"a\tb\n" * 200_000)[:-9])
    rows = iter(open_table(str(tmp_path / "t.tsv.gz"), LAYOUTS["two"]).rows)
    assert next(rows) == (1, ("a", "b"))
    with pytest.raises(UserError, match="cannot be read to its end"):
        list(rows)


@pytest.fixture
def mixed(tmp_path: Path) -> str:
    (tmp_path / "t.tsv").write_text("text\tlabel\n e\u0301 \ta\n\tb\nno label\nlast\tc\n")
    return str(tmp_path / "t.tsv")


def test_bad_lines_are_collected(mixed: str) -> None:
    reading = Reading(mixed, LAYOUTS["two"], "skip")
    assert list(reading) == [("é", "a"), ("last", "c")]
    assert (reading.count, reading.bad_count, reading.header) == (2, 2, Header(("text", "label")))
    assert reading.first() == f"{mixed}: 2 rows, the first 'é' → 'a'; columns 'text', 'label', as line 1 names them"
    left_out = "line 3: empty text (' b'); line 4: no tab ('no label')"
    assert reading.notice() == f"{mixed}: 2 of 4 lines left out: {left_out}"
    with pytest.raises(UserError) as error:
        list(Reading(mixed, LAYOUTS["two"], option="data.on_wrong"))
    assert str(error.value) == (
        f"{mixed}: 2 of 4 lines cannot be used: {left_out}; correct them, or leave them out with --data.on-wrong skip"
    )


def test_a_reader_checks_and_changes_rows(mixed: str) -> None:
    def check(row: tuple[Any, ...]) -> tuple[Any, ...] | str:
        return (row[0], ord(row[1])) if row[1] != "a" else "a is not a label here"

    reading = Reading(mixed, LAYOUTS["two"], "skip", check=check)
    assert list(reading) == [("last", 99)]
    assert str(reading.bad[0]) == "line 2: a is not a label here (' e\u0301  a')"
    assert reading.first().startswith(f"{mixed}: 1 row, the first 'last' → 99; ")
    with pytest.raises(UserError, match=r"no usable row in it; line 2: no \("):
        list(Reading(mixed, LAYOUTS["two"], "skip", check=lambda row: "no"))
