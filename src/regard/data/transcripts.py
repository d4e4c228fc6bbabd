"""Recordings with their texts: tables and manifests, Kaldi's folders, LibriSpeech's trees, Sphinx's file lists."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regard.data.columns import Column, Layout
from regard.data.file_trees import find_file
from regard.data.lines import check_file, compose, read_lines, shorten
from regard.data.reading import Reading
from regard.errors import UserError

_SOUND = ("audio_filepath", "path", "file", "filename", "audio", "wav")
_TEXT = ("sentence", "transcript", "transcription", "normalized_text")
_ENDINGS = (".flac", ".wav", ".mp3", ".ogg", ".mfc", ".npy")
_SPHINX = re.compile(r"^(?:<s>)?(.*?)(?:</s>)?\s*\(([^()\s]+)\)$")
_SHOWN = 3


@dataclass(frozen=True)
class Utterance:
    """A recording, or a part of one, and its text.

    Attributes:
        sound: the file.
        text: in Unicode's composed form (NFC).
        start: the second at which it begins in the file.
        end: the second at which it ends; None: with the file.
        speaker: who speaks, if that is known.
    """

    sound: Path
    text: str
    start: float = 0.0
    end: float | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class Transcripts:
    """Utterances, and notes about what was left out and why."""

    utterances: tuple[Utterance, ...]
    notes: tuple[str, ...] = ()


Results = Iterator[tuple[str, Utterance | str]]
"""The place of each utterance, and the utterance, or why it cannot be used."""


def read_transcripts(
    path: str,
    *,
    sound_column: str | None = None,
    text_column: str | None = None,
    on_bad: Literal["error", "skip"] = "error",
) -> Transcripts:
    """Read recordings with their texts. The sounds themselves are not read.

    Args:
        path: a table with a column for the path and one for the text (`.tsv`, `.csv`, `.jsonl`, `.parquet`), such as a
            manifest of NeMo, whose ``offset`` and ``duration`` are used; a Kaldi folder, with ``wav.scp`` and ``text``,
            and optionally ``segments`` and ``utt2spk``; a folder with LibriSpeech's ``*.trans.txt`` files at any depth;
            or Sphinx's ``.fileids``, beside which is the ``.transcription``. Paths in files are relative to their
            folder; those of Kaldi and Sphinx may also be relative to a folder above it.
        sound_column: the column of the path; None: chosen by its name.
        text_column: the column of the text; None: likewise.
        on_bad: what to do with utterances without a text or a file.

    Raises:
        UserError: the format is unknown, a command is in the place of a file (it is never run), or there is no usable
            utterance; with ``on_bad="error"``, one is bad.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     (Path(name) / "1-2-0003.flac").touch()
    ...     _ = (Path(name) / "1-2.trans.txt").write_text("1-2-0003 A LINE\\n")
    ...     read_transcripts(name).utterances[0].text
    'A LINE'
    """
    place = Path(path)
    if place.is_dir():
        if (place / "wav.scp").exists():
            return _collected(path, _kaldi(place), on_bad)
        texts = sorted(place.rglob("*.trans.txt"))
        if not texts:
            raise UserError(f"{path}: expected a folder with wav.scp (Kaldi) or with *.trans.txt files (LibriSpeech)")
        return _collected(path, _librispeech(texts), on_bad)
    if place.suffix == ".fileids":
        return _collected(path, _sphinx(place), on_bad)
    return _table(path, sound_column, text_column, on_bad)


def _collected(path: str, results: Results, on_bad: str) -> Transcripts:
    utterances, bad = [], []
    for where, one in results:
        if isinstance(one, Utterance):
            utterances.append(one)
        else:
            bad.append(f"{where} ({one})")
    if bad and on_bad == "error":
        raise UserError(
            f"{path}: not a usable utterance: {bad[0]}; correct it, or leave such out with --data.on-bad skip"
        )
    if not utterances:
        raise UserError(f"{path}: no usable utterance in it{''.join(f'; {one}' for one in bad[:_SHOWN])}")
    more = ", …" if len(bad) > _SHOWN else ""
    notes = (f"left out {len(bad):,} utterances: {'; '.join(bad[:_SHOWN])}{more}",) if bad else ()
    return Transcripts(tuple(utterances), notes)


def _table(path: str, sound: str | None, text: str | None, on_bad: Literal["error", "skip"]) -> Transcripts:
    columns = (
        Column("sound", "data.sound_column", sound, number=1, usual=_SOUND, kind="raw"),
        Column("text", "data.text_column", text, number=2, usual=_TEXT),
        Column("offset", required=False, kind="any"),
        Column("duration", required=False, kind="any"),
        Column("speaker", required=False, kind="any"),
    )
    folder = Path(path).parent

    def check(values: tuple[object, ...]) -> tuple[object, ...] | str:
        name = str(values[0]).strip()
        if not name:
            return "empty sound"
        file = find_file(folder, name)
        if file is None:
            return f"names the file {shorten(name)}, which does not exist"
        try:
            start = float(str(values[2] or 0))
            # NeMo's duration is that of the part; without an offset, it is that of the file.
            end = None if values[3] is None or values[2] is None else start + float(str(values[3]))
        except ValueError:
            return "offset and duration must be numbers of seconds"
        if (problem := _no_part(start, end)) is not None:
            return problem
        return file, values[1], start, end, None if values[4] is None else str(values[4])

    reading = Reading(path, Layout(columns, "utterance"), on_bad, check=check, option="data.on_bad")
    utterances = tuple(Utterance(*values) for values in reading)
    notice = reading.notice()
    return Transcripts(utterances, () if notice is None else (notice.removeprefix(f"{path}: "),))


def _no_part(start: float, end: float | None) -> str | None:
    """Why there is no part between these seconds of a file; None: there may be one."""
    if 0 <= start < math.inf and (end is None or start < end < math.inf):
        return None
    return f"a part from {start} to {end} seconds"


def _pairs(path: Path) -> Iterator[tuple[str, str, str]]:
    """The place of each line, its first word, and the rest of it, as they are written: names of files are kept so."""
    check_file(path)
    for number, line in enumerate(read_lines(path), 1):
        if line is None:
            raise UserError(f"{path}: line {number:,} is not UTF-8")
        if line.strip():
            first, *rest = line.split(maxsplit=1)
            yield f"{path}: line {number:,}", first, "".join(rest).strip()


def _kaldi(folder: Path) -> Results:
    sounds = {}
    for where, name, named in _pairs(folder / "wav.scp"):
        if named.startswith("|") or named.endswith("|"):
            raise UserError(
                f"{where}: a command in the place of a file, which is not run; write the sounds to files, and their "
                "paths to wav.scp"
            )
        sounds[name] = where, named
    parts: dict[str, tuple[str, list[str]]] = {}
    if (folder / "segments").exists():
        parts = {name: (where, rest.split()) for where, name, rest in _pairs(folder / "segments")}
    speakers = {}
    if (folder / "utt2spk").exists():
        speakers = {name: speaker for _, name, speaker in _pairs(folder / "utt2spk")}
    for where, name, text in _pairs(folder / "text"):
        recording, start, end = name, 0.0, None
        if name in parts:
            place, fields = parts[name]
            try:
                recording, start, end = _segment(fields)
            except ValueError:
                yield place, f"expected the name of a recording and two times after {name}, got {' '.join(fields)!r}"
                continue
        if recording not in sounds:
            yield where, f"{recording} is not in wav.scp"
            continue
        listed, named = sounds[recording]
        file = _below(folder, named)
        if file is None:
            yield listed, f"{shorten(named)} does not exist" if named else f"no path after {recording}"
        elif not text:
            yield where, "no text"
        elif (problem := _no_part(start, end)) is not None:
            yield parts[name][0], problem
        else:
            yield where, Utterance(file, compose(text), start, end, speakers.get(name))


def _segment(fields: list[str]) -> tuple[str, float, float | None]:
    """A recording and the seconds of a part of it, whose end can be -1, that of the file. Raises ValueError."""
    recording, start, end = fields
    return recording, float(start), None if float(end) == -1 else float(end)


def _librispeech(texts: list[Path]) -> Results:
    for path in texts:
        for where, name, text in _pairs(path):
            file = _with_ending(path.parent, name)
            if file is None:
                yield where, f"no sound {shorten(name)} beside it"
            elif not text:
                yield where, "no text"
            else:
                yield where, Utterance(file, compose(text), speaker=name.split("-")[0])


def _sphinx(path: Path) -> Results:
    texts = path.with_suffix(".transcription")
    check_file(path)
    check_file(texts)
    names, lines = _without_last_blanks(path), _without_last_blanks(texts)
    if len(names) != len(lines):
        raise UserError(f"{path} has {len(names):,} lines, {texts} {len(lines):,}; they must have the same number")
    for number, (name, line) in enumerate(zip(names, lines, strict=True), 1):
        where, match = f"{texts}: line {number:,}", _SPHINX.match((line or "").strip())
        if name is None or match is None or match[2] != name.strip().split("/")[-1]:
            yield where, f"expected <s> TEXT </s> ({(name or '').strip().split('/')[-1]})"
            continue
        file = _below(path.parent, name.strip())
        text = compose(match[1].strip())
        if file is None:
            yield where, f"no file {shorten(name.strip())} with the ending {', '.join(_ENDINGS)} in a folder above"
        elif not text:
            yield where, "no text"
        else:
            yield where, Utterance(file, text)


def _without_last_blanks(path: Path) -> list[str | None]:
    """The lines of a file without the blank ones at its end."""
    lines = list(read_lines(path))
    while lines and lines[-1] is not None and not lines[-1].strip():
        lines.pop()
    return lines


def _below(folder: Path, name: str) -> Path | None:
    """The file ``name``, relative to the folder or one of the two above, or to their folders ``wav`` and ``feat``."""
    for above in (folder, *folder.resolve().parents[:2]):
        for inner in ("", "wav", "feat"):
            if (file := _with_ending(above / inner, name)) is not None:
                return file
    return None


def _with_ending(folder: Path, name: str) -> Path | None:
    """The file with this name, or with the first of the usual endings that makes it one; None: there is none."""
    files = (find_file(folder, name + ending) for ending in ("", *_ENDINGS) if name)
    return next((file for file in files if file is not None), None)
