"""Transcripts in every format give the same utterances; commands are not run, and bad lines are named."""

from __future__ import annotations

import json
from pathlib import Path

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
    _write(folder / "etc" / "a.transcription", lines[0], lines[0])
    with pytest.raises(UserError, match=r"a.transcription: line 2 \(expected <s> TEXT </s> \(3-4-0002\)\)"):
        read_transcripts(ids)
    _write(folder / "etc" / "a.transcription", lines[0])
    with pytest.raises(UserError, match=r"a.fileids has 2 lines, .*a.transcription 1; they must have the same number"):
        read_transcripts(ids)
