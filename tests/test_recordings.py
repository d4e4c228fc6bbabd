"""Morse code is where it says, and recordings are read from files, parts of files and features."""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from regard.data.morse import CODE, morse
from regard.data.recordings import read_recordings
from regard.data.sounds import SoundFormat
from regard.data.spoken import spoken
from regard.errors import UserError
from sound_sets import encoded, saved, tone


def test_every_character_of_the_morse_code_is_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.data.morse._NOISE", (0.0, 0.001))
    recordings = morse(12, 4000, seed=7)
    assert len(set(recordings.texts)) == len(recordings) == 12
    assert not set(recordings.texts) & set(morse(12, 4000, split="valid").texts)
    assert recordings.spans is not None
    for row, (text, spans) in enumerate(zip(recordings.texts, recordings.spans, strict=True)):
        assert (spans[1:, 0] == spans[:-1, 1]).all()
        x = recordings.values[row].astype(float)
        pitch = np.abs(np.fft.rfft(x)).argmax() * 4000 / len(x)
        wave = x * np.exp(-2j * np.pi * pitch * np.arange(len(x)) / 4000)
        level = np.abs(np.convolve(wave, np.ones(40) / 40, mode="same"))
        on = level > 0.5 * np.percentile(level, 95)
        for character, (start, end) in zip(text, spans, strict=True):
            inside = on[round(4000 * start) - 60 : round(4000 * end) - 60].astype(int)
            tones = np.flatnonzero(np.diff(inside, prepend=0) == 1)
            lengths = [int((np.cumsum(1 - inside[at:]) == 0).sum()) for at in tones]
            assert len(tones) == len(CODE.get(character, ""))
            if len({*CODE.get(character, "")}) == 2:
                signs = ["-" if length > (min(lengths) + max(lengths)) / 2 else "." for length in lengths]
                assert "".join(signs) == CODE[character]


def test_built_in_texts_are_spoken() -> None:
    pytest.importorskip("espeakng_loader", reason="needs the extra espeak")
    pytest.importorskip("soxr")
    recordings = spoken(6, 8000, seed=3)
    assert len(set(recordings.texts)) == 6
    assert len(set(recordings.speakers)) > 1
    spoken.cache_clear()
    again = spoken(6, 8000, seed=3)
    assert again.keys == recordings.keys
    assert not set(recordings.texts) & set(spoken(6, 8000, split="valid", seed=3).texts)
    seconds = recordings.values.lengths / 8000
    assert seconds.min() > 0.3
    assert seconds.max() < 20


def test_speech_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("soxr")
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r"speaking the built-in texts needs espeakng_loader: pip install 'regard\[esp"):
        spoken(2, 8000, seed=5)


def test_recordings_and_parts_of_them_are_read(tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    pytest.importorskip("soxr")
    two = np.concatenate([tone(300, 0.5), tone(900, 0.5)])
    (tmp_path / "a.flac").write_bytes(encoded(two, kind="FLAC"))
    (tmp_path / "b.wav").write_bytes(encoded(tone(500, 3.0)))
    (tmp_path / "silent.wav").write_bytes(encoded(0 * tone()))
    lines = [
        {"audio_filepath": "a.flac", "text": "both", "speaker": "ann"},
        {"audio_filepath": "a.flac", "text": "high", "offset": 0.5, "duration": 0.5},
        {"audio_filepath": "b.wav", "text": "long"},
        {"audio_filepath": "silent.wav", "text": "none"},
        {"audio_filepath": "a.flac", "text": "late", "offset": 9, "duration": 0.5},
        {"audio_filepath": "a.flac", "text": "rounded", "offset": 0.5, "duration": 0.59},
        {"audio_filepath": "a.flac", "text": "beyond", "offset": 0.5, "duration": 0.61},
        {"audio_filepath": "a.flac", "text": "far", "offset": 0, "duration": 1e308},
    ]
    path = tmp_path / "all.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    form = SoundFormat(rate=4000, seconds=2)
    with pytest.raises(UserError, match=r"silent\.wav \(is silent\)"):
        read_recordings(str(path), form)
    recordings = read_recordings(str(path), form, on_bad="skip")
    assert recordings.texts == ("both", "high", "rounded")
    assert recordings.speakers == ("ann", None, None)
    assert recordings.values.lengths.tolist() == [4000, 2000, 2000]
    assert np.abs(np.fft.rfft(recordings.values[1])).argmax() == 450
    assert "late" not in recordings.texts
    assert [note for note in recordings.notes if "longer than 2 s" in note]
    for reason in ("begins at 9 s, and the file has 1.00 s", "ends at 1.11 s, and the file has 1.00 s"):
        assert [note for note in recordings.notes if reason in note]


def test_memory_is_that_of_the_limit_and_not_of_the_files(tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    pytest.importorskip("soxr")
    random = np.random.default_rng(0)
    (tmp_path / "long.wav").write_bytes(encoded(random.uniform(-1, 1, (3_000_000, 1)).astype(np.float32)))
    (tmp_path / "short.wav").write_bytes(encoded(tone()))
    files = ({"path": "long.wav"}, {"path": "long.wav", "offset": 1}, {"path": "long.wav", "offset": 0, "duration": 99})
    lines = [{**one, "text": "a"} for one in (*files, {"path": "short.wav"})]
    (tmp_path / "all.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    tracemalloc.start()
    recordings = read_recordings(str(tmp_path / "all.jsonl"), SoundFormat(rate=8000, seconds=2))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(recordings) == 1
    assert "left out 3 recordings longer than 2 s (--data.seconds)" in recordings.notes
    assert most < (tmp_path / "long.wav").stat().st_size / 3


def test_features_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(saved(np.random.default_rng(0).normal(size=(9, 13))))
    (tmp_path / "all.tsv").write_text("a.npy\tnine frames\n")
    recordings = read_recordings(str(tmp_path / "all.tsv"), SoundFormat())
    assert (recordings.values.width, len(recordings.values[0])) == (13, 9)
