"""Readers of parallel text: every format, and every way in which a file can be wrong."""

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


@pytest.mark.parametrize("pack", [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)], ids=["", "gz", "xz"])
@pytest.mark.parametrize("name", FORMATS)
def test_formats(tmp_path: Path, name: str, pack: tuple[str, Callable[[bytes], bytes]]) -> None:
    path = tmp_path / (name + pack[0])
    path.write_bytes(pack[1](FORMATS[name]))
    assert read_parallel(str(path)).pairs == PAIRS


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_two_aligned_files(tmp_path: Path, suffix: str) -> None:
    pack = gzip.compress if suffix else bytes
    for side, name in enumerate(("t.en", "t.fr")):
        (tmp_path / (name + suffix)).write_bytes(pack("".join(pair[side] + "\n" for pair in PAIRS).encode()))
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
    """Records with nulls."""
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
    found = read_parallel(nulls, on_bad_line="skip")
    assert found.pairs == [("c", "d")]
    assert [(bad.line, bad.reason) for bad in found.bad] == [(1, "target is null"), (2, "source is null")]
    with pytest.raises(UserError, match=r"2 of 3 lines cannot be used: line 1: target is null"):
        read_parallel(nulls)


def test_nulls_among_documents_are_named(nulls: str) -> None:
    with pytest.raises(UserError, match=r"record 1: 'target' is null$"):
        read_documents(nulls, column="target")
    with pytest.raises(UserError, match=r"record 1 has no text in 'text'; it has source, target \(--data.column\)$"):
        read_documents(nulls)


def test_records_of_other_names_are_told(tmp_path: Path) -> None:
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
def test_one_column_is_not_both_sides(tmp_path: Path, source: str | None, target: str | None) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("a cat\tun chat\n")
    with pytest.raises(UserError, match=f"both would be column {source or target}; name two"):
        read_parallel(str(path), source=source, target=target)


def test_csv_header_and_fields_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('target,source\n"un\nchat",a cat\nle chien,the dog\nx\n')
    found = read_parallel(str(path), on_bad_line="skip")
    assert found.pairs == [("a cat", "un\nchat"), ("the dog", "le chien")]
    assert (found.bad[0].line, found.bad[0].reason) == (5, "too few columns")


@pytest.mark.parametrize(
    ("content", "bad", "last"),
    [
        ('a,b\n"le chat,x\nthe dog,le chien\n', (2, "not CSV: unexpected end of data"), ("the dog", "le chien")),
        ('a,b\n"le chat,x\nthe dog,"le chien"\nc,d\n', (2, "not CSV: ',' expected after '\"'"), ("c", "d")),
        ("a,b\nx\ry,z\nc,d\n", (2, "not CSV: new-line character seen in unquoted field"), ("c", "d")),
        ('a,b\n"m\nn",o\np\nc,d\n', (4, "too few columns"), ("c", "d")),
    ],
)
def test_bad_csv_is_a_bad_line(tmp_path: Path, content: str, bad: tuple[int, str], last: tuple[str, str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content, newline="")
    found = read_parallel(str(path), on_bad_line="skip")
    assert [(line.line, line.reason) for line in found.bad] == [bad]
    assert found.pairs[-1] == last
    with pytest.raises(UserError, match=f"line {bad[0]}: "):
        read_parallel(str(path))


@pytest.mark.parametrize("quote", [0, 2, 37])
def test_a_quote_that_is_not_closed_spoils_its_own_line_alone(tmp_path: Path, quote: int) -> None:
    rows = [f"s{at},t{at}" for at in range(38)]
    rows[quote] = f'"s{quote},t{quote}'
    (tmp_path / "t.csv").write_text("\n".join(rows))
    found = read_parallel(str(tmp_path / "t.csv"), on_bad_line="skip")
    assert found.pairs == [(f"s{at}", f"t{at}") for at in range(38) if at != quote]
    assert (found.bad[0].line, found.bad_count) == (quote + 1, 1)
    assert "1 of 38 lines left out" in str(found.notice())


@pytest.mark.parametrize(("name", "mark"), [("t.csv", ";"), ("t.csv", "\t"), ("t.csv", ","), ("t.tsv", "\t")])
def test_separators_and_header_lines(tmp_path: Path, name: str, mark: str) -> None:
    (tmp_path / name).write_text(f"target{mark}source\nun chat{mark}a cat\n")
    assert read_parallel(str(tmp_path / name)).pairs == [("a cat", "un chat")]


HEADERS = [
    (("english", "german"), (0, 1)), (("German", "English"), (0, 1)), (("id", "src", "tgt"), (1, 2)),
    (("id", "target", "source"), (2, 1)), (("", "en", "de"), (1, 2)), (("pt-BR", "en_GB"), (0, 1)),
    (("Source text", "Target text"), (0, 1)), (("de", "translation"), (0, 1)), (("id", "en"), (0, 1)),
    (("id", "de", "en"), (1, 2)), (("en_sentence", "de_sentence", "score"), (0, 1)), (("eng", "fra"), (0, 1)),
    (("lang", "input", "output"), (1, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "mark"), [("t.csv", ","), ("t.csv", ";"), ("t.tsv", "\t")])
@pytest.mark.parametrize(("names", "places"), HEADERS, ids=[",".join(names) for names, _ in HEADERS])
def test_a_header_of_usual_names_is_understood(
    tmp_path: Path, name: str, mark: str, names: tuple[str, ...], places: tuple[int, int]
) -> None:
    rows = [names, [f"a{at}" for at in range(len(names))]]
    (tmp_path / name).write_text("".join(f"{mark.join(row)}\n" for row in rows))
    found = read_parallel(str(tmp_path / name))
    assert found.pairs == [(f"a{places[0]}", f"a{places[1]}")]
    assert found.first().endswith(
        f": 1 pair, the first 'a{places[0]}' → 'a{places[1]}'; "
        f"columns {names[places[0]]!r}, {names[places[1]]!r}, as line 1 names them"
    )
    given = read_parallel(str(tmp_path / name), source="1", target="2", on_bad_line="skip")
    assert (given.header, given.pairs[-1]) == (None, ("a0", "a1"))


PAIRS_LIKE_HEADERS = [("source", "source"), ("no", "no"), ("line", "number"), ("source", "Quelle"), ("a", "b")]


@pytest.mark.parametrize("pair", PAIRS_LIKE_HEADERS, ids=",".join)
def test_a_first_pair_is_no_header_and_is_told(tmp_path: Path, pair: tuple[str, str]) -> None:
    (tmp_path / "t.tsv").write_text("\t".join(pair))
    found = read_parallel(str(tmp_path / "t.tsv"))
    assert found.pairs == [pair]
    assert found.first() == f"{tmp_path}/t.tsv: 1 pair, the first {pair[0]!r} → {pair[1]!r}"


@pytest.mark.parametrize("names", [("en", "de", "fr"), ("source", "target", "target")])
def test_a_header_that_leaves_the_sides_open_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    (tmp_path / "t.csv").write_text(f"{','.join(names)}\na,b,c\n")
    with pytest.raises(UserError, match=f"line 1 looks like a header, {', '.join(names)}; name two .* --data.source"):
        read_parallel(str(tmp_path / "t.csv"))


def test_csv_lines_and_headers_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xff,x\n"a\ncat",b\n"c\n\xff\n",d\n')
    found = read_parallel(str(path), on_bad_line="skip")
    assert found.pairs == [("a\ncat", "b")]
    assert [(line.line, line.reason) for line in found.bad] == [(1, "not UTF-8"), (4, "not UTF-8")]
    with pytest.raises(UserError, match="line 1, the header: not UTF-8"):
        read_parallel(str(path), source="en", target="fr", on_bad_line="skip")


def test_a_header_of_several_lines_is_told_in_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('"in\nEnglish",fr\na,b\n')
    with pytest.raises(UserError, match="its columns are in English, fr"):
        read_parallel(str(path), source="en", target="fr")


def test_json_with_a_translation_inside(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"id": 3, "translation": {"en": "a cat", "fr": "un chat"}}\n')
    assert read_parallel(str(path)).pairs == [("a cat", "un chat")]
    assert read_parallel(str(path), source="fr", target="en").pairs == [("un chat", "a cat")]
    assert read_parallel(str(path), source="fr").pairs == [("un chat", "a cat")]
    assert read_parallel(str(path), target="en").pairs == [("un chat", "a cat")]
    with pytest.raises(UserError, match="has no column 'de'; its columns are en, fr"):
        read_parallel(str(path), source="de", target="fr")


def test_json_columns_are_wrong_only_if_no_record_has_them(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{}\n{"note": "x"}\n{"source": "a", "target": "b"}\n{"translation": {}}\n')
    found = read_parallel(str(path), on_bad_line="skip")
    assert found.pairs == [("a", "b")]
    assert [(bad.line, bad.reason) for bad in found.bad] == [(1, "no source"), (2, "no source"), (4, "no source")]
    path.write_text('{"english": "a", "fr": "b"}\n' * 3)
    with pytest.raises(UserError, match="has no column 'englisch'; its columns are english, fr; did you mean english"):
        read_parallel(str(path), source="englisch", target="fr", on_bad_line="skip")


def test_marks_ends_and_forms(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes("\ufeffa cat \tun chat\r\ncafe\u0301\tligne\u2028entière\r\n".encode())
    assert read_parallel(str(path)).pairs == [("a cat", "un chat"), ("café", "ligne\u2028entière")]


BAD = b"a cat\tun chat\nno tab here\n\tune cible\nsource\t \n\xff\xfe\tx\nthe dog\tle chien\n"


def test_bad_lines_are_told_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes(BAD)
    with pytest.raises(UserError) as error:
        read_parallel(str(path))
    assert str(error.value) == (
        f"{path}: 4 of 6 lines cannot be used: line 2: no tab ('no tab here'); line 3: empty source ('\\tune cible'); "
        "line 4: empty target ('source\\t '), …; mend them, or leave them out with --data.on-bad-line skip"
    ).replace("'\\tune cible'", "' une cible'").replace("'source\\t '", "'source  '")  # fmt: skip
    found = read_parallel(str(path), on_bad_line="skip")
    assert found.pairs == [("a cat", "un chat"), ("the dog", "le chien")]
    assert found.bad_count == 4
    assert "4 of 6 lines left out" in str(found.notice())


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
    found = read_parallel(str(path), on_bad_line="skip")
    assert [(bad.line, bad.reason) for bad in found.bad] == [(2, reason)]


def _make(path: Path, name: str, content: bytes) -> str:
    (path / name).write_bytes(content)
    return str(path / name)


WRONG: list[tuple[Callable[[Path], str], str]] = [
    (lambda p: str(p / "t.tsv"), "no such file"),
    (lambda p: _make(p, "train.tsv", b"a\tb\n").replace("train", "trian"), "no such file; did you mean .*train.tsv"),
    (lambda p: str(p), "is a folder"),
    (lambda p: _make(p, "t.tsv", b""), "the file is empty"),
    (lambda p: _make(p, "t.tsv.gz", gzip.compress(b"")), "no usable pair"),
    (lambda p: _make(p, "t.doc", b"a\tb\n"), "unknown ending .doc; expected .tsv, .txt, .csv, .jsonl"),
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


@pytest.mark.parametrize(("make", "told"), WRONG, ids=[f"{i}: {row[1][:30]}" for i, row in enumerate(WRONG)])
def test_wrong_files_are_told_in_a_line(tmp_path: Path, make: Callable[[Path], str], told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        read_parallel(make(tmp_path))
    assert "\n" not in str(error.value)
