"""The progress of reading and hashing data: shown for what takes longer than 2 seconds, and for nothing else."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from regard.data import cache
from regard.data.documents import open_documents
from regard.data.parallel import open_parallel
from regard.data.progress import progress
from regard.training.fingerprint import Long, Part

TEXT = "the quick brown fox jumps over the lazy dog\n" * 60_000


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "SMALL", 1000)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is shown from the start, and at each step."""
    monkeypatch.setattr("regard.data.progress._SHOWN_AFTER", 0.0)
    monkeypatch.setattr("regard.data.progress._REFRESH_SECONDS", 0.0)
    monkeypatch.setattr("regard.data.progress._LINE_SECONDS", 0.0)


def _write(folder: Path, kind: str) -> Path:
    path = folder / f"data.{kind}"
    record = json.dumps({"title": "a", "text": TEXT}).encode() + b"\n"
    path.write_bytes({"txt": TEXT.encode(), "txt.gz": gzip.compress(TEXT.encode()), "jsonl": record}[kind])
    return path


@pytest.mark.parametrize("kind", ["txt", "txt.gz", "jsonl"])
def test_reading_and_hashing_end_at_the_size_of_the_files(
    kind: str, tmp_path: Path, slow: None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(tmp_path, kind)
    open_documents(str(path))
    lines = capsys.readouterr().err.splitlines()
    file_size, text_size = (f"{size / 1e6:,.0f}" for size in (path.stat().st_size, len(TEXT)))
    for name, size in (("hashing files", file_size), ("reading text", file_size), ("hashing text", text_size)):
        last = [line for line in lines if line.startswith(f"{name} · ")][-1]
        assert re.fullmatch(rf"{name} · 100% · {size} of {size} MB · [\d,.]+ MB/s", last)
        assert any(re.fullmatch(rf"{name}: {size} MB in \d+ s", line) for line in lines)


def test_pairs_are_counted(tmp_path: Path, slow: None, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pairs.tsv").write_text("".join(f"{number}\t{'word ' * 1000}\n" for number in range(300)))
    open_parallel(str(tmp_path / "pairs.tsv"))
    assert "reading pairs: 2 MB in " in capsys.readouterr().err


def test_a_fingerprint_counts_short_and_long_examples(slow: None, capsys: pytest.CaptureFixture[str]) -> None:
    Part.of([("a" * 1_500_000, b"b"), (Long([b"c" * 1_000_000] * 2),)])
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"computing the fingerprint · 2 MB · [\d,.]+ MB/s", lines[0])
    assert re.fullmatch(r"computing the fingerprint: 4 MB in \d+ s", lines[-1])


def test_nothing_is_printed_for_data_that_take_less_than_two_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_documents(str(_write(tmp_path, "txt")))
    Part.of([("a", "b")])
    assert capsys.readouterr().err == ""


def test_what_every_process_does_is_shown_by_the_first(
    slow: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank, shown in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        with progress("hashing files", 2, first_only=True) as advance:
            advance(2)
        assert ("hashing files" in capsys.readouterr().err) == shown
