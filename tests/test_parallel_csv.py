"""Parallel text in CSV and TSV files: quotes, separators, header lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from regard.data.parallel import read_parallel
from regard.errors import UserError


def test_csv_header_and_fields_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('target,source\n"un\nchat",a cat\nle chien,the dog\nx\n')
    text = read_parallel(str(path), on_bad_line="skip")
    assert text.pairs == [("a cat", "un\nchat"), ("the dog", "le chien")]
    assert (text.reading.bad[0].line, text.reading.bad[0].reason) == (5, "too few columns")


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
    text = read_parallel(str(path), on_bad_line="skip")
    assert [(line.line, line.reason) for line in text.reading.bad] == [bad]
    assert text.pairs[-1] == last
    with pytest.raises(UserError, match=f"line {bad[0]}: "):
        read_parallel(str(path))


@pytest.mark.parametrize("quote", [0, 2, 37])
def test_an_unclosed_quote_affects_its_own_line_only(tmp_path: Path, quote: int) -> None:
    rows = [f"s{at},t{at}" for at in range(38)]
    rows[quote] = f'"s{quote},t{quote}'
    (tmp_path / "t.csv").write_text("\n".join(rows))
    text = read_parallel(str(tmp_path / "t.csv"), on_bad_line="skip")
    assert text.pairs == [(f"s{at}", f"t{at}") for at in range(38) if at != quote]
    assert (text.reading.bad[0].line, text.reading.bad_count) == (quote + 1, 1)
    assert "1 of 38 lines left out" in str(text.reading.notice())


@pytest.mark.parametrize(("name", "separator"), [("t.csv", ";"), ("t.csv", "\t"), ("t.csv", ","), ("t.tsv", "\t")])
def test_separators_and_header_lines(tmp_path: Path, name: str, separator: str) -> None:
    (tmp_path / name).write_text(f"target{separator}source\nun chat{separator}a cat\n")
    assert read_parallel(str(tmp_path / name)).pairs == [("a cat", "un chat")]


HEADERS = [
    (("english", "german"), (0, 1)), (("German", "English"), (0, 1)), (("id", "src", "tgt"), (1, 2)),
    (("id", "target", "source"), (2, 1)), (("", "en", "de"), (1, 2)), (("pt-BR", "en_GB"), (0, 1)),
    (("Source text", "Target text"), (0, 1)), (("de", "translation"), (0, 1)), (("id", "en"), (0, 1)),
    (("id", "de", "en"), (1, 2)), (("en_sentence", "de_sentence", "score"), (0, 1)), (("eng", "fra"), (0, 1)),
    (("lang", "input", "output"), (1, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "separator"), [("t.csv", ","), ("t.csv", ";"), ("t.tsv", "\t")])
@pytest.mark.parametrize(("names", "columns"), HEADERS, ids=[",".join(names) for names, _ in HEADERS])
def test_usual_header_names_are_recognized(
    tmp_path: Path, name: str, separator: str, names: tuple[str, ...], columns: tuple[int, int]
) -> None:
    rows = [names, [f"a{at}" for at in range(len(names))]]
    (tmp_path / name).write_text("".join(f"{separator.join(row)}\n" for row in rows))
    text = read_parallel(str(tmp_path / name))
    assert text.pairs == [(f"a{columns[0]}", f"a{columns[1]}")]
    assert text.reading.first().endswith(
        f": 1 pair, the first 'a{columns[0]}' → 'a{columns[1]}'; "
        f"columns {names[columns[0]]!r}, {names[columns[1]]!r}, as line 1 names them"
    )
    by_number = read_parallel(str(tmp_path / name), source="1", target="2", on_bad_line="skip")
    assert (by_number.reading.header, by_number.pairs[-1]) == (None, ("a0", "a1"))


PAIRS_LIKE_HEADERS = [("source", "source"), ("no", "no"), ("line", "number"), ("source", "Quelle"), ("a", "b")]


@pytest.mark.parametrize("pair", PAIRS_LIKE_HEADERS, ids=",".join)
def test_a_pair_that_looks_like_a_header_is_kept_and_reported(tmp_path: Path, pair: tuple[str, str]) -> None:
    (tmp_path / "t.tsv").write_text("\t".join(pair))
    text = read_parallel(str(tmp_path / "t.tsv"))
    assert text.pairs == [pair]
    assert text.reading.first() == f"{tmp_path}/t.tsv: 1 pair, the first {pair[0]!r} → {pair[1]!r}"


@pytest.mark.parametrize("names", [("en", "de", "fr"), ("source", "target", "target")])
def test_an_ambiguous_header_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    (tmp_path / "t.csv").write_text(f"{','.join(names)}\na,b,c\n")
    with pytest.raises(UserError, match=f"line 1 looks like a header, {', '.join(names)}; name two .* --data.source"):
        read_parallel(str(tmp_path / "t.csv"))


def test_csv_lines_and_headers_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xff,x\n"a\ncat",b\n"c\n\xff\n",d\n')
    text = read_parallel(str(path), on_bad_line="skip")
    assert text.pairs == [("a\ncat", "b")]
    assert [(line.line, line.reason) for line in text.reading.bad] == [(1, "not UTF-8"), (4, "not UTF-8")]
    with pytest.raises(UserError, match="line 1, the header: not UTF-8"):
        read_parallel(str(path), source="en", target="fr", on_bad_line="skip")


def test_a_header_of_several_lines_gives_a_one_line_error(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('"in\nEnglish",fr\na,b\n')
    with pytest.raises(UserError, match="its columns are in English, fr"):
        read_parallel(str(path), source="en", target="fr")
