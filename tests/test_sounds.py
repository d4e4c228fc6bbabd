"""Sounds of every format, rate and number of channels become the same samples; bad ones are named."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.data import decoding, workers
from regard.data.ragged import Ragged
from regard.data.silences import windows
from regard.data.sound_files import open_sound
from regard.data.sounds import SoundFormat, Sounds, read_blocks, read_sounds
from regard.errors import UserError
from sound_sets import encoded, saved, sphinx, tone, write_classes

pytest.importorskip("soundfile")
pytest.importorskip("soxr")

FORM = SoundFormat(rate=8000, seconds=2.0)
FEATURES = np.random.default_rng(0).normal(size=(20, 13)).astype(np.float32)


def _open(content: bytes) -> np.ndarray:
    return open_sound(content, rate=8000, seconds=2.0, mfc_width=13)


def _alike(x: np.ndarray, y: np.ndarray) -> float:
    """The correlation of two sounds, at the best of a few shifts: compressed formats begin a little later."""
    size = min(len(x), len(y)) - 200
    return max(float(np.corrcoef(x[at : at + size], y[100 : 100 + size])[0, 1]) for at in range(200))


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("WAV", {"subtype": "PCM_24"}), ("WAV", {"subtype": "ULAW"}), ("FLAC", {}), ("OGG", {}), ("MP3", {}), ("AIFF", {}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44_100, 2)])
def test_every_format_rate_and_number_of_channels_gives_the_same_samples(
    kind: str, options: dict[str, Any], rate: int, channels: int
) -> None:
    x = 0.01 * tone(rate=rate)
    content = encoded(np.stack([x] * channels, 1), rate, kind, **options)
    samples = _open(content)
    assert samples.dtype == np.int16
    assert np.abs(samples).max() == 32767
    if kind != "MP3":
        assert len(samples) == 2400
    assert _alike(samples, tone()) > 0.99


@pytest.mark.parametrize(("kind", "rate", "seconds"), [("WAV", 8000, 9.0), ("FLAC", 44_100, 5.0), ("OGG", 11_025, 9.0)])
def test_a_long_sound_in_blocks_has_the_same_samples(kind: str, rate: int, seconds: float, tmp_path: Path) -> None:
    x = 0.1 + 0.01 * np.stack([tone(440, seconds, rate), tone(600, seconds, rate)], 1)
    path = tmp_path / "long"
    path.write_bytes(encoded(x, rate, kind))
    length, blocks = read_blocks(path, FORM, 0)
    every, expected = list(blocks), open_sound(path.read_bytes(), rate=8000, seconds=60.0, mfc_width=13)
    joined = np.concatenate(every).astype(int)
    assert length == len(joined) == len(expected)
    assert np.abs(joined - expected).max() <= 1  # the mean is summed in another order
    assert np.abs(joined).max() == 32767
    assert len(every) > 1


def test_a_long_sound_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    random, path = np.random.default_rng(0), tmp_path / "long.wav"
    path.write_bytes(encoded(random.uniform(-1, 1, (3_000_000, 1)).astype(np.float32)))
    tracemalloc.start()
    count = sum(len(values) for _, values in windows(read_blocks(path, FORM, 0)[1], 8000, 2.0))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 3_000_000
    assert most < path.stat().st_size / 3


def test_a_sound_is_read_from_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    content = encoded(tone(seconds=3.0))
    with ThreadPoolExecutor(1) as pool:
        pool.submit((tmp_path / "pipe").write_bytes, content)
        assert np.array_equal(np.concatenate(list(read_blocks(tmp_path / "pipe", FORM, 0)[1])), open_sound(
            content, rate=8000, seconds=3.0, mfc_width=13
        ))  # fmt: skip


def test_an_mp3_file_may_have_tags_and_lack_the_header_of_its_encoder() -> None:
    assert np.array_equal(_open(TAG + MP3), _open(MP3))
    bare = MP3.replace(b"Xing", bytes(4)).replace(b"Info", bytes(4))
    assert bare != MP3
    assert len(_open(bare[: len(bare) // 2])) < len(_open(bare))


def test_a_long_sound_is_cut() -> None:
    assert len(_open(encoded(tone(seconds=5.0)))) == 16_000


@pytest.mark.parametrize("order", ["<", ">"])
def test_ready_features_are_read(order: str) -> None:
    for content in (saved(FEATURES), saved(FEATURES.astype(np.float64)), sphinx(FEATURES, order)):
        assert np.array_equal(_open(content), FEATURES)


WAV, FLAC, MP3 = (encoded(tone(seconds=0.3), kind=kind) for kind in ("WAV", "FLAC", "MP3"))
TAG = b"ID3\4\0\0\0\0\1\2" + bytes(130)
"""At the beginning of an MP3 file, which is as if it were not there."""
BAD = {
    "empty.wav": (b"", "the file is empty"),
    "text.wav": (b"not a sound", "its content is not a sound"),
    "short.wav": (WAV[:1000], r"is truncated: has 956 of 4,800 bytes of samples"),
    "header.wav": (WAV[:30], "cannot be read as WAV: Error in WAV file"),
    "rate.wav": (WAV[:24] + (10).to_bytes(4, "little") + WAV[28:], "has 10 samples per second; expected 1,000 to"),
    "channels.wav": (WAV[:22] + bytes(2) + WAV[24:], "cannot be read as WAV: Channel count is zero"),
    "pipe.flac": (FLAC[:21] + bytes([FLAC[21] & 0xF0]) + bytes(4) + FLAC[26:], "does not state its length"),
    "short.flac": (encoded(tone(seconds=2.0), kind="FLAC")[:2000], "cannot be read as FLAC|is truncated"),
    "none.wav": (encoded(tone(seconds=0.0)), "has no samples"),
    "silent.wav": (encoded(0 * tone()), "is silent"),
    "offset.wav": (encoded(0 * tone() + 0.5), "is silent"),
    "nan.wav": (encoded(np.full(900, np.nan, np.float32), subtype="FLOAT"), "not finite"),
    "song.m4a": (b"\0\0\0\x18ftypM4A \0\0\0\0", "M4A or MP4 is not supported; convert it to WAV"),
    "pickle.npy": (saved(np.array([{}], dtype=object)), "cannot be read as an array of NumPy"),
    "two.npz": (saved(FEATURES, other=FEATURES), "has 2 arrays; expected one"),
    "flat.npy": (saved(np.zeros(5)), r"expected numbers, frames × features, got float64 of shape 5"),
    "other.npy": (saved(FEATURES), "has 13 features per frame, where the others have samples"),
    "odd.mfc": (sphinx(FEATURES.reshape(-1)[:20], ">"), r"has 20 numbers, not a multiple of 13, .*data.mfc_width"),
    "short.mfc": (sphinx(FEATURES, ">")[:644], "is truncated: has 160 of 260 numbers"),
    "little.mfc": (sphinx(FEATURES, "<")[:644], "is truncated: has 160 of 260 numbers"),
    "text.mfc": (b"not features", "its content is not a sound"),
    "short.mp3": (MP3[: len(MP3) // 3], r"is truncated: has [\d,]+ of [\d,]+ bytes"),
    "tagged.mp3": (TAG + MP3[: len(MP3) // 3], r"is truncated: has [\d,]+ of [\d,]+ bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named(name: str, tmp_path: Path) -> None:
    content, reason = BAD[name]
    folder = write_classes(tmp_path, 2)
    (folder / "low" / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"not a usable sound: .*/low/{name} \(.*({reason}).*--data.on-bad skip"):
        read_sounds(str(folder), FORM)
    sounds = read_sounds(str(folder), FORM, on_bad="skip")
    assert len(sounds.labels) == 4
    assert f"left out one sound that is not usable: {folder}/low/{name}" in sounds.notes[-1]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(UserError, match=r"reading sounds needs soundfile: pip install 'regard\[speech\]'"):
        _open(WAV)


def _same(one: Sounds, other: Sounds) -> None:
    assert (one.names, one.labels.tolist(), one.keys) == (other.names, other.labels.tolist(), other.keys)
    assert len(one.values) == len(other.values)
    assert all(np.array_equal(one.values[row], other.values[row]) for row in range(len(one.values)))


def test_folders_archives_and_tables_give_the_same_sounds(tmp_path: Path) -> None:
    folder = write_classes(tmp_path, 2)
    expected = read_sounds(str(folder), FORM)
    assert expected.names == ("high", "low")
    _same(read_sounds(shutil.make_archive(str(tmp_path / "set"), "zip", folder), FORM), expected)
    rows = [(str(path.relative_to(tmp_path)), path.parent.name) for path in sorted(folder.rglob("*.wav"))]
    (tmp_path / "set.tsv").write_text("".join(f"{path}\t{label}\n" for path, label in rows))
    (tmp_path / "set.csv").write_text("class,path\n" + "".join(f"{label},{path}\n" for path, label in rows))
    (tmp_path / "set.jsonl").write_text("".join(json.dumps({"audio": p, "label": label}) + "\n" for p, label in rows))
    for name in ("set.tsv", "set.csv", "set.jsonl"):
        _same(read_sounds(str(tmp_path / name), FORM), expected)
    with (tmp_path / "set.tsv").open("a") as file:
        file.write("missing.wav\tlow\n")
    with pytest.raises(UserError, match=r"set.tsv: line 5 \(names the file missing.wav, which does not exist\)"):
        read_sounds(str(tmp_path / "set.tsv"), FORM)


def test_a_sound_in_a_table_can_have_several_labels(tmp_path: Path) -> None:
    write_classes(tmp_path, 2)
    (tmp_path / "set.csv").write_text("path,labels\nsounds/low/0.wav,a|b\nsounds/low/1.wav,\nsounds/high/0.wav,b\n")
    sounds = read_sounds(str(tmp_path / "set.csv"), FORM, several=True)
    assert sounds.names == ("a", "b")
    assert sounds.labels.tolist() == [[True, True], [False, False], [False, True]]
    with pytest.raises(UserError, match="a file in a folder of a class has one label"):
        read_sounds(str(tmp_path / "sounds"), FORM, several=True)


@pytest.mark.parametrize("features", [False, True])
def test_a_large_set_is_decoded_by_workers_once_and_kept(
    features: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoding, "SECONDS", 60.0)
    folder = write_classes(tmp_path, 6)
    for number, path in enumerate(sorted(folder.rglob("*.wav"))):
        if features:
            path.with_suffix(".npy").write_bytes(saved(FEATURES[number:]))
            path.unlink()
    (folder / "low" / ("bad.npy" if features else "bad.wav")).write_bytes(b"RIFF")
    memory = read_sounds(str(folder), FORM, on_bad="skip")
    monkeypatch.setattr(workers, "cores", lambda: 2)
    monkeypatch.setattr(decoding, "SECONDS", 0.0)
    _same(read_sounds(str(folder), FORM, on_bad="skip"), memory)
    monkeypatch.setattr(decoding, "decode_item", None)  # the next ones are not decoded
    large = read_sounds(str(folder), FORM, on_bad="skip")
    _same(large, memory)
    assert large.width == (13 if features else 0)
    assert isinstance(large.values, Ragged)
    assert {path.name[:7] for path in (tmp_path / "cache").iterdir()} - {"digests"} == {"sounds-"}
