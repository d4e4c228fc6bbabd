"""Spelled names, numbers and commands (AN4), beside CTC alone and the text of the nearest training recording.

    python benchmarks/transcription.py ARCHIVE [--seeds 0] [--settings FILE.yaml] [--attention location none]

ARCHIVE is ``an4.tar.xz``, with Sphinx's features and lists; it is unpacked into the folder of the runs. The checkpoint
is chosen on the recordings of the first speakers of the training list, about a hundred; the test recordings, of other
speakers, are scored once, without a language model. The floor is the text of the training recording whose features are
nearest, as means of 20 parts. The table is printed, for ``benchmarks/results/transcription.txt``. A command that was
stopped goes on where it was when it is run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from comparison import trained
from machine import machine

from regard.data.recordings import Recordings, read_recordings
from regard.data.sounds import SoundFormat
from regard.data.transcripts import Utterance, read_transcripts
from regard.settings import load_yaml
from regard.tasks.families.seq2seq.error_rates import error_rate
from regard.tasks.results import Scores
from regard.tasks.running import evaluate
from regard.tasks.transcribe.settings import TranscribeConfig

HERE = Path(__file__).parent
PUBLISHED = "ESPnet2 Transformer 7.6, CTC with a BiGRU 9.6, Kaldi's monophones 10.6, its best model 5.95"
_DEVELOPMENT, _PARTS = 100, 20


@dataclass(frozen=True)
class Tables:
    """Tables of the recordings of each part."""

    train: Path
    valid: Path
    test: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--settings", type=Path, default=HERE / "transcription.yaml")
    parser.add_argument("--runs", type=Path, default=Path("runs/transcription"))
    parser.add_argument(
        "--attention", nargs="*", default=["location", "none"], choices=["location", "additive", "none"]
    )
    arguments = parser.parse_args()
    tables = divided(arguments.archive, arguments.runs)
    print(f"AN4, test, word error rate, per cent, without a language model; {machine()}")
    print(f"published: {PUBLISHED}")
    print(f"{'nearest recording':24} {floor(tables)}", flush=True)
    for attention in arguments.attention:
        results = [score(arguments, tables, seed, attention) for seed in arguments.seeds]
        words, characters = ([result[name].value for result in results] for name in ("wer", "cer"))
        print(
            f"{f'attention {attention}':24} {statistics.mean(words):.2f} ({min(words):.2f} – {max(words):.2f}) · "
            f"CER {statistics.mean(characters):.2f}",
            flush=True,
        )
        for seed, result in zip(arguments.seeds, results, strict=True):
            print(f"  seed {seed}: {result['wer'].value:.2f}, {result['wer'].how}", flush=True)


def divided(archive: Path, runs: Path) -> Tables:
    """Unpack the archive once, and write the tables."""
    if not (runs / "an4").exists():
        with tarfile.open(archive) as files:
            files.extractall(runs, filter="data")
    lists = runs / "an4" / "etc"
    known = [_spoken(one) for one in read_transcripts(str(lists / "an4_train.fileids")).utterances]
    test = [_spoken(one) for one in read_transcripts(str(lists / "an4_test.fileids")).utterances]
    speakers = list(dict.fromkeys(one["speaker"] for one in known))
    count, held_out = 0, set()
    for speaker in speakers:
        if count < _DEVELOPMENT:
            held_out.add(speaker)
            count += sum(one["speaker"] == speaker for one in known)
    parts = {
        "train": [one for one in known if one["speaker"] not in held_out],
        "valid": [one for one in known if one["speaker"] in held_out],
        "test": test,
    }
    for name, rows in parts.items():
        (runs / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return Tables(*(runs / f"{name}.jsonl" for name in ("train", "valid", "test")))


def _spoken(one: Utterance) -> dict[str, str]:
    """A line of a table; the speaker is the folder of the file."""
    return {"path": str(one.sound.resolve()), "text": one.text, "speaker": one.sound.parent.name}


def score(arguments: argparse.Namespace, tables: Tables, seed: int, attention: str) -> Scores:
    """Train with one seed, or what is left of the training, and score the test recordings once."""
    changes: dict[str, dict[str, Any]] = {
        "data": {"train": str(tables.train), "valid": str(tables.valid)},
        "model": {"attention": attention},
        "train": {"seed": seed},
    }
    run = arguments.runs / f"{attention}-{seed}"
    trained("transcribe", load_yaml(arguments.settings, TranscribeConfig), changes, run)
    return evaluate(run, str(tables.test))


def floor(tables: Tables) -> str:
    """The word error rate of the text of the nearest training recording."""
    known, test = (read_recordings(str(table), SoundFormat(seconds=60)) for table in (tables.train, tables.test))
    seen, heard = _means(known), _means(test)
    scale = seen.std(0)
    nearest = [int((((seen - one) / scale) ** 2).sum(1).argmin()) for one in heard]
    rate = error_rate([known.texts[row] for row in nearest], test.texts, "word")
    return f"{rate.rate:.2f}, {rate.score().how}"


def _means(recordings: Recordings) -> np.ndarray:
    """The mean features of twenty parts of each recording, and the logarithm of its length."""
    rows: list[Sequence[float]] = []
    for row in range(len(recordings)):
        features = recordings.values[row]
        at = np.linspace(0, len(features), _PARTS + 1)
        parts = [features[int(a) : max(int(a) + 1, int(b))].mean(0) for a, b in itertools.pairwise(at)]
        rows.append(np.append(np.concatenate(parts), np.log(len(features))).tolist())
    return np.array(rows)


if __name__ == "__main__":
    main()
