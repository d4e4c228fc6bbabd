"""Transcripts in every format give the same utterances; commands are not run, and bad lines are named."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from regard.data.transcripts import Utterance, read_transcripts
from regard.errors import UserError

TEXTS = {"1-2-0001": "GOOD MORNING", "3-4-0002": "CAFÉ"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in TEXTS:
        (tmp_path / f"{name}.flac").touch()
    return tmp_path


def _write(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def _expected(folder: Path, **more: str) -> list[Utterance]:
    return [Utterance(folder / f"{name}.flac", text, speaker=more.get(name)) for name, text in TEXTS.items()]


def test_tables_and_manifests(folder: Path) -> None:
    rows = [(f"{name}.flac", text) for name, text in TEXTS.items()]
    tables = (
        _write(folder / "a.tsv", *("\t".join(row) for row in rows)),
        _write(folder / "a.csv", "sentence,path", *(f"{text},{file}" for file, text in rows)),
        _write(folder / "a.jsonl", *(json.dumps({"audio_filepath": f, "duration": 2, "text": t}) for f, t in rows)),
        _write(folder / "a.json", *(json.dumps({"audio_filepath": f, "duration": 2, "text": t}) for f, t in rows)),
    )
    for table in tables:
        assert list(read_transcripts(table).utterances) == _expected(folder)
    part = json.dumps({"audio_filepath": "1-2-0001.flac", "offset": 1.5, "duration": 2, "text": "GOOD"})
    manifest = _write(folder / "b.jsonl", part, part.replace("1-2", "9-9"), part.replace("1.5", "-1"))
    with pytest.raises(UserError, match=r"line 2: names the file 9-9-0001.flac, .*line 3: a part from -1.0"):
        read_transcripts(manifest)
    transcripts = read_transcripts(manifest, on_bad="skip")
    assert [(one.start, one.end) for one in transcripts.utterances] == [(1.5, 3.5)]
    assert transcripts.notes[0].startswith("2 of 3 lines left out")


def test_kaldi_folders(folder: Path, tmp_path: Path) -> None:
    data = folder / "data"
    data.mkdir()
    _write(data / "wav.scp", *(f"{name} {name}.flac" for name in TEXTS))
    _write(data / "text", *(f"{name} {text}" for name, text in TEXTS.items()))
    _write(data / "utt2spk", "1-2-0001 ann", "3-4-0002 bo")
    expected = _expected(folder, **{"1-2-0001": "ann", "3-4-0002": "bo"})
    assert [one.sound.resolve() for one in read_transcripts(str(data)).utterances] == [one.sound for one in expected]
    assert [(one.text, one.speaker) for one in read_transcripts(str(data)).utterances] == [
        (one.text, one.speaker) for one in expected
    ]
    _write(data / "segments", "u 1-2-0001 0.5 1.25", "v 1-2-0001 2 1")
    _write(data / "text", "u GOOD", "v BAD", "w MISSING")
    transcripts = read_transcripts(str(data), on_bad="skip")
    assert [(one.text, one.start, one.end) for one in transcripts.utterances] == [("GOOD", 0.5, 1.25)]
    assert "a part from 2.0 to 1.0 seconds" in transcripts.notes[0]
    assert "w is not in wav.scp" in transcripts.notes[0]
    _write(data / "wav.scp", f"1-2-0001 touch {tmp_path}/run |")
    with pytest.raises(UserError, match=r"wav.scp: line 1: a command in the place of a file, which is not run"):
        read_transcripts(str(data))
    assert not (tmp_path / "run").exists()


LONG = "x" * 300
"""A longer name than a file can have."""

BAD_ROWS = (
    ({"audio_filepath": "/"}, r"names the file /, which does not exist"),
    ({"audio_filepath": " "}, "empty sound"),
    ({"audio_filepath": LONG}, r"names the file x{39}…, which does not exist"),
    ({"offset": float("inf")}, "a part from inf to None seconds"),
    ({"offset": 0, "duration": float("inf")}, "a part from 0.0 to inf seconds"),
    ({"offset": 0, "duration": float("nan")}, "a part from 0.0 to nan seconds"),
)


@pytest.mark.parametrize(("wrong", "message"), BAD_ROWS)
def test_bad_rows_of_a_manifest_are_named_and_can_be_left_out(folder: Path, wrong: Any, message: str) -> None:
    good = {"audio_filepath": "1-2-0001.flac", "text": "GOOD"}
    manifest = _write(folder / "a.jsonl", json.dumps({**good, **wrong}), json.dumps(good))
    with pytest.raises(UserError, match=rf"1 of 2 lines cannot be used: line 1: {message}"):
        read_transcripts(manifest)
    assert [one.text for one in read_transcripts(manifest, on_bad="skip").utterances] == ["GOOD"]


BAD_KALDI = (
    ("wav.scp: line 2", "no path after u", {"wav.scp": "u"}),
    ("wav.scp: line 2", "/ does not exist", {"wav.scp": "u /"}),
    ("wav.scp: line 2", "x{39}… does not exist", {"wav.scp": f"u {LONG}"}),
    ("segments: line 2", "expected the name of a recording and two times after u, got ''", {"segments": "u"}),
    ("segments: line 2", "expected the name .* got '1-2-0001'", {"segments": "u 1-2-0001"}),
    ("segments: line 2", "expected the name .* got '1-2-0001 0 x'", {"segments": "u 1-2-0001 0 x"}),
    ("segments: line 2", "a part from 0.0 to inf seconds", {"segments": "u 1-2-0001 0 inf"}),
    ("segments: line 2", "a part from nan to 1.0 seconds", {"segments": "u 1-2-0001 nan 1"}),
    ("segments: line 2", "a part from inf to None seconds", {"segments": "u 1-2-0001 inf -1"}),
)


@pytest.mark.parametrize(("where", "message", "lines"), BAD_KALDI)
def test_bad_lines_of_kaldi_are_named_and_can_be_left_out(
    folder: Path, where: str, message: str, lines: dict[str, str]
) -> None:
    contents = {"wav.scp": ["1-2-0001 1-2-0001.flac"], "text": ["u BAD", "1-2-0001 GOOD"], "segments": [" "]}
    for name, content in contents.items():
        _write(folder / name, *content, *filter(None, [lines.get(name)]))
    where = where.replace("segments: line 2", "segments: line 2")
    with pytest.raises(
        UserError, match=rf"{where} \({message}\); correct it, or leave such out with --data.on-bad skip"
    ):
        read_transcripts(str(folder))
    assert [one.text for one in read_transcripts(str(folder), on_bad="skip").utterances] == ["GOOD"]


def test_a_segment_of_kaldi_can_end_with_its_file(folder: Path) -> None:
    _write(folder / "wav.scp", "1-2-0001 1-2-0001.flac")
    _write(folder / "text", "u GOOD")
    _write(folder / "segments", "u 1-2-0001 0.5 -1")
    assert [(one.start, one.end) for one in read_transcripts(str(folder)).utterances] == [(0.5, None)]


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_a_file_is_found_in_either_form_of_unicode(tmp_path: Path, stored: Any, written: Any) -> None:
    file = tmp_path / unicodedata.normalize(stored, "é-ü.flac")
    file.touch()
    name = unicodedata.normalize(written, "é-ü")
    _write(tmp_path / "a.tsv", f"{name}.flac\tA")
    _write(tmp_path / "wav.scp", f"{name} {name}.flac")
    _write(tmp_path / "text", f"u {unicodedata.normalize('NFD', 'É')}")
    _write(tmp_path / "segments", f"u {name} 0 1")
    _write(tmp_path / "inner.trans.txt", f"{name} A")
    _write(tmp_path / "b.fileids", name)
    _write(tmp_path / "b.transcription", f"A ({name})")
    kaldi = read_transcripts(str(tmp_path)).utterances[0]
    (tmp_path / "wav.scp").unlink()
    others = (read_transcripts(str(tmp_path / listed)).utterances[0] for listed in ("a.tsv", "b.fileids", ""))
    assert kaldi.text == "É"
    assert [one.sound.name for one in (kaldi, *others)] == [file.name] * 4


def test_only_options_that_exist_are_advised(folder: Path) -> None:
    table = _write(folder / "a.csv", "path,what,offset", "1-2-0001.flac,GOOD,0")
    with pytest.raises(UserError, match=r"without a usual name of the text; name it with --data.text-column, or give"):
        read_transcripts(table)


def test_librispeech_trees(folder: Path) -> None:
    inner = folder / "1" / "2"
    inner.mkdir(parents=True)
    for name in TEXTS:
        (folder / f"{name}.flac").rename(inner / f"{name}.flac")
    _write(inner / "1-2.trans.txt", *(f"{name} {text}" for name, text in TEXTS.items()))
    assert list(read_transcripts(str(folder)).utterances) == _expected(inner, **{"1-2-0001": "1", "3-4-0002": "3"})
    _write(inner / "1-2.trans.txt", "1-2-0009 NOTHING")
    with pytest.raises(UserError, match=r"line 1 \(no sound 1-2-0009 beside it\).*--data.on-bad skip"):
        read_transcripts(str(folder))


def test_sphinx_lists(folder: Path) -> None:
    (folder / "etc").mkdir()
    (folder / "feat").mkdir()
    for name in TEXTS:
        (folder / f"{name}.flac").rename(folder / "feat" / f"{name}.mfc")
    ids = _write(folder / "etc" / "a.fileids", *TEXTS)
    lines = [f"<s> {text} </s> ({name})" for name, text in TEXTS.items()]
    _write(folder / "etc" / "a.transcription", *lines)
    assert [(one.sound.name, one.text) for one in read_transcripts(ids).utterances] == [
        (f"{name}.mfc", text) for name, text in TEXTS.items()
    ]
    _write(folder / "etc" / "a.fileids", *TEXTS, "", " ")
    assert len(read_transcripts(ids).utterances) == 2
    _write(folder / "etc" / "a.transcription", lines[0], lines[0])
    with pytest.raises(UserError, match=r"a.transcription: line 2 \(expected <s> TEXT </s> \(3-4-0002\)\)"):
        read_transcripts(ids)
    _write(folder / "etc" / "a.transcription", lines[0])
    with pytest.raises(UserError, match=r"a.fileids has 2 lines, .*a.transcription 1; they must have the same number"):
        read_transcripts(ids)
