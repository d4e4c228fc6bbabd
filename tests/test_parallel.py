"""Readers of parallel text: every format, and every error in a file."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from regard.data.documents import read_documents
from regard.data.parallel import read_parallel
from regard.errors import UserError

PAIRS = [("a cat", "un chat"), ("the naïve dog", "le chien naïf"), ('he said "no", twice', "il a dit « non »")]


def _tsv() -> bytes:
    return "".join(f"{s}\t{t}\n" for s, t in PAIRS).encode()


def _csv() -> bytes:
    return "".join('"{}","{}"\n'.format(s.replace('"', '""'), t) for s, t in PAIRS).encode()


def _jsonl() -> bytes:
    return "".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in PAIRS).encode()


FORMATS = {"t.tsv": _tsv(), "t.txt": _tsv(), "t.csv": _csv(), "t.jsonl": _jsonl(), "t.ndjson": _jsonl()}
FORMATS["t.json-lines"] = _jsonl()


@pytest.mark.parametrize(
    ("suffix", "compress"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)], ids=["plain", "gz", "xz"]
)
@pytest.mark.parametrize("name", FORMATS)
def test_formats(tmp_path: Path, name: str, suffix: str, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / (name + suffix)
    path.write_bytes(compress(FORMATS[name]))
    assert read_parallel(str(path)).pairs == PAIRS


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_two_aligned_files(tmp_path: Path, suffix: str) -> None:
    compress = gzip.compress if suffix else bytes
    for side, name in enumerate(("t.en", "t.fr")):
        (tmp_path / (name + suffix)).write_bytes(compress("".join(pair[side] + "\n" for pair in PAIRS).encode()))
    assert read_parallel(f"{tmp_path}/t.en{suffix},{tmp_path}/t.fr{suffix}").pairs == PAIRS


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"en": [s for s, _ in PAIRS], "fr": [t for _, t in PAIRS]}), path)
    assert read_parallel(str(path), source="en", target="fr").pairs == PAIRS
    with pytest.raises(UserError, match="has no column 'source'; its columns are en, fr"):
        read_parallel(str(path))
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match="not readable as Parquet"):
        read_parallel(str(path))


def test_a_hugging_face_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "corpus"
    folder.mkdir()
    for split in ("train", "test"):
        lines = [json.dumps({"translation": {"en": f"{s} {split}", "fr": t}}) for s, t in PAIRS]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    assert read_parallel(f"hf:{folder}").pairs[0] == ("a cat train", "un chat")
    assert read_parallel(f"hf:{folder}#test", source="fr", target="en").pairs[0] == ("un chat", "a cat test")
    with pytest.raises(UserError, match="cannot be loaded"):
        read_parallel(f"hf:{folder}#nosuch")


RECORDS = [{"source": "a", "target": None}, {"source": None, "target": "b"}, {"source": "c", "target": "d"}]


@pytest.fixture(params=["jsonl", "parquet", "hub"])
def nulls(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of records with nulls."""
    if request.param == "jsonl":
        (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
        return str(tmp_path / "t.jsonl")
    if request.param == "parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(RECORDS), tmp_path / "t.parquet")
        return str(tmp_path / "t.parquet")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.Dataset.from_list(RECORDS).save_to_disk(tmp_path / "saved")
    return f"hf:{tmp_path}/saved"


def test_nulls_are_bad_lines(nulls: str) -> None:
    text = read_parallel(nulls, on_bad_line="skip")
    assert text.pairs == [("c", "d")]
    assert [(bad.line, bad.reason) for bad in text.reading.bad] == [(1, "target is null"), (2, "source is null")]
    unit = "line" if nulls.endswith(".jsonl") else "row"
    with pytest.raises(UserError, match=rf"2 of 3 {unit}s cannot be used: {unit} 1: target is null"):
        read_parallel(nulls)


def test_nulls_in_documents_are_refused(nulls: str) -> None:
    with pytest.raises(UserError, match=r"record 1: 'target' is null$"):
        read_documents(nulls, column="target")
    with pytest.raises(UserError, match=r"record 1 has no text in 'text'; it has source, target \(--data.column\)$"):
        read_documents(nulls)


def test_records_without_the_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"english": "a", "german": "b"}\n')
    with pytest.raises(UserError, match="has no column 'source'; its columns are english, german; name one of them"):
        read_parallel(str(tmp_path / "t.jsonl"))


def test_columns_by_name_and_number(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("id\tfr\ten\n1\tun chat\ta cat\n")
    assert read_parallel(str(path), source="en", target="fr").pairs == [("a cat", "un chat")]
    assert read_parallel(str(path), source="3", target="2").pairs == [("en", "fr"), ("a cat", "un chat")]
    with pytest.raises(UserError, match="has no column 'eng'; its columns are id, fr, en; did you mean en"):
        read_parallel(str(path), source="eng", target="fr")
    for zero in ("0", "00"):
        with pytest.raises(UserError, match="counted from 1, got 0"):
            read_parallel(str(path), source=zero, target="1")


@pytest.mark.parametrize(("source", "target"), [("2", None), (None, "1"), ("en", "en"), ("target", None)])
def test_one_column_cannot_be_both_sides(tmp_path: Path, source: str | None, target: str | None) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("a cat\tun chat\n")
    with pytest.raises(UserError, match=f"both would be column {source or target}; name two"):
        read_parallel(str(path), source=source, target=target)


def test_json_with_a_translation_inside(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"id": 3, "translation": {"en": "a cat", "fr": "un chat"}}\n')
    assert read_parallel(str(path)).pairs == [("a cat", "un chat")]
    assert read_parallel(str(path), source="fr", target="en").pairs == [("un chat", "a cat")]
    assert read_parallel(str(path), source="fr").pairs == [("un chat", "a cat")]
    assert read_parallel(str(path), target="en").pairs == [("un chat", "a cat")]
    with pytest.raises(UserError, match="has no column 'de'; its columns are en, fr"):
        read_parallel(str(path), source="de", target="fr")
    path.write_text('{"translation": {"1": "a cat", "2": "un chat"}}\n')
    assert read_parallel(str(path), source=1).pairs == [("a cat", "un chat")]


@pytest.mark.parametrize("name", ["p.tsv", "p.csv"])
def test_a_column_that_no_line_has_is_not_a_fault_of_the_lines(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("a\tb\nc\td\n", encoding="utf-8")
    advice = r"2 of 2 lines cannot be used.*choose the columns with --data\.source and --data\.target$"
    with pytest.raises(UserError, match=advice):
        read_parallel(str(tmp_path / name), source="5")


def test_other_columns_are_suggested_only_where_columns_are_missing(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("a\t\nc\t\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"2 of 2 lines cannot be used.*; correct them$"):
        read_parallel(str(tmp_path / "p.tsv"))


def test_json_columns_are_wrong_only_if_no_record_has_them(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{}\n{"note": "x"}\n{"source": "a", "target": "b"}\n{"translation": {}}\n')
    text = read_parallel(str(path), on_bad_line="skip")
    assert text.pairs == [("a", "b")]
    assert [(bad.line, bad.reason) for bad in text.reading.bad] == [
        (1, "no source"),
        (2, "no source"),
        (4, "no source"),
    ]
    path.write_text('{"english": "a", "fr": "b"}\n' * 3)
    with pytest.raises(UserError, match="has no column 'englisch'; its columns are english, fr; did you mean english"):
        read_parallel(str(path), source="englisch", target="fr", on_bad_line="skip")


def test_byte_order_marks_line_ends_and_unicode_forms_are_normalized(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes("\ufeffa cat \tun chat\r\ncafe\u0301\tligne\u2028entière\r\n".encode())
    assert read_parallel(str(path)).pairs == [("a cat", "un chat"), ("café", "ligne\u2028entière")]


BAD_LINES = b"a cat\tun chat\nno tab here\n\tune cible\nsource\t \n\xff\xfe\tx\nthe dog\tle chien\n"


def test_bad_lines_are_reported_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes(BAD_LINES)
    with pytest.raises(UserError) as error:
        read_parallel(str(path))
    assert str(error.value) == (
        f"{path}: 4 of 6 lines cannot be used: line 2: no tab ('no tab here'); line 3: empty source (' une cible'); "
        "line 4: empty target ('source  '), …; correct them, or leave them out with --data.on-bad-line skip"
    )
    text = read_parallel(str(path), on_bad_line="skip")
    assert text.pairs == [("a cat", "un chat"), ("the dog", "le chien")]
    assert text.reading.bad_count == 4
    assert "4 of 6 lines left out" in str(text.reading.notice())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"source": "a"', "not JSON"), ('["a", "b"]', "not a JSON object"), ('{"source": "a"}', "no target"),
        ('{"source": "a", "target": 3}', "target is not text"), ("[" * 200_000, "not JSON"),
        ('{"source": "\\ud800", "target": "b"}', "not Unicode: half a surrogate pair"), ("{}", "no source"),
        ('{"source": "", "target": "b"}', "empty source"), ('{"source": null, "target": "b"}', "source is null"),
    ],
)  # fmt: skip
def test_bad_json_lines(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"source": "a", "target": "b"}\n' + line)
    text = read_parallel(str(path), on_bad_line="skip")
    assert [(bad.line, bad.reason) for bad in text.reading.bad] == [(2, reason)]


def _make(path: Path, name: str, content: bytes) -> str:
    (path / name).write_bytes(content)
    return str(path / name)


WRONG: list[tuple[Callable[[Path], str], str]] = [
    (lambda p: str(p / "t.tsv"), "no such file"),
    (lambda p: _make(p, "train.tsv", b"a\tb\n").replace("train", "trian"), "no such file; did you mean .*train.tsv"),
    (lambda p: str(p), "is a folder"),
    (lambda p: _make(p, "t.tsv", b""), "the file is empty"),
    (lambda p: _make(p, "t.tsv.gz", gzip.compress(b"")), "no usable pair"),
    (lambda p: _make(p, "t.doc", b"a\tb\n"), "unknown ending .doc; expected .tsv, .txt, .csv, .json, .jsonl"),
    (lambda p: _make(p, "t", b"a\tb\n"), r"unknown ending \(none\)"),
    (lambda p: _make(p, "t.tsv.gz", b"a\tb\n"), "cannot be read to its end"),
    (lambda p: _make(p, "t.tsv.gz", gzip.compress(b"a\tb\n" * 99)[:-9]), "cannot be read to its end"),
    (lambda p: _make(p, "t.tsv.xz", lzma.compress(b"a\tb\n" * 99)[:-9]), "cannot be read to its end"),
    (lambda p: _make(p, "t.tsv.gz", gzip.compress(b"a\tb\n" * 99)[:12] + b"\xff" * 40), "cannot be read to its end"),
    (lambda p: _make(p, "a", b"1\n2\n") + "," + _make(p, "b", b"1\n"), "has 2 lines, .* 1: aligned files must"),
    (lambda p: _make(p, "a", b"1\n") + "," + str(p / "c"), "c: no such file"),
    (lambda p: _make(p, "a", b"1\n") + "," + _make(p, "b", b"1\n") + ",c", "got 3 names"),
    (lambda p: _make(p, "a", b"\xff\n") + "," + _make(p, "b", b"1\n"), "line 1: not UTF-8 in .*a"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[f"{i}: {row[1][:30]}" for i, row in enumerate(WRONG)])
def test_a_wrong_file_gives_a_one_line_error(tmp_path: Path, make: Callable[[Path], str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_parallel(make(tmp_path))
    assert "\n" not in str(error.value)
