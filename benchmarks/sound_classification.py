"""Spoken digits (FSDD), beside the same model without attention and a support-vector machine on log-mel energies.

    python benchmarks/sound_classification.py ARCHIVE [--split takes | speakers] [--seeds 0 1 2] [--settings FILE.yaml]

ARCHIVE is ``recordings.tar.xz`` of the Free Spoken Digit Dataset, with files such as ``7_jackson_32.wav``; it is
unpacked into the folder of the runs. With ``takes``, the takes 0 to 4 of each digit and speaker are the test sounds;
with ``speakers``, one speaker after the other. The checkpoint is chosen on a tenth of the training sounds, and the test
sounds are scored once. The support-vector machine sees 20 means of 26 log-mel energies over time. The table is printed,
for ``benchmarks/results/sound_classification.txt``. A command that was stopped goes on where it was when it is run
again.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from comparison import header, row, trained
from machine import machine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from regard.data.sounds import SoundFormat, Sounds, read_sounds
from regard.nn import LogMel
from regard.settings import load_yaml
from regard.tasks.classify_sound.settings import ClassifySoundConfig
from regard.tasks.running import evaluate

HERE = Path(__file__).parent
WIDTH = 24
MODELS = {"attention": "additive", "no attention": "none"}
PUBLISHED = {"takes": "a small CNN on MFCC: 99.67", "speakers": "none for this split"}
_TEST_TAKES = 5
_RATE, _BANDS, _PARTS = 8000, 26, 20


class Recording(NamedTuple):
    """A file, such as ``7_jackson_32.wav``."""

    path: Path
    digit: str
    speaker: str
    take: int


@dataclass(frozen=True)
class Split:
    """Tables of the training and test sounds."""

    name: str
    train: Path
    test: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--split", choices=list(PUBLISHED), default="takes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--settings", type=Path, default=HERE / "sound_classification.yaml")
    parser.add_argument("--runs", type=Path, default=Path("runs/sound_classification"))
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS), help="none: the floor only")
    arguments = parser.parse_args()
    splits = divided(recordings(arguments.archive, arguments.runs), arguments.split, arguments.runs)
    print(f"FSDD, {arguments.split}: test accuracy, per cent; {machine()}")
    print(f"published: {PUBLISHED[arguments.split]}")
    shown = ["mean", *(split.name for split in splits if len(splits) > 1)]
    floors = with_mean({split.name: floor(split) for split in splits})
    print(header(shown, WIDTH), row("support-vector machine", [floors], shown, WIDTH), sep="\n", flush=True)
    for model in arguments.models:
        results = [
            with_mean({split.name: score(arguments, split, seed, model) for split in splits})
            for seed in arguments.seeds
        ]
        print(row(model, results, shown, WIDTH), flush=True)


def recordings(archive: Path, runs: Path) -> list[Recording]:
    """The files of the archive, unpacked once."""
    folder = runs / "recordings"
    if not folder.exists():
        with tarfile.open(archive) as files:
            files.extractall(runs, filter="data")
    every = []
    for path in sorted(folder.glob("*.wav")):
        digit, speaker, take = path.stem.split("_")
        every.append(Recording(path.resolve(), digit, speaker, int(take)))
    return every


def divided(every: Sequence[Recording], how: str, runs: Path) -> list[Split]:
    """Write the tables of each split."""
    names = ["takes"] if how == "takes" else sorted({one.speaker for one in every})
    splits = []
    for name in names:
        tables = runs / f"{name}-train.tsv", runs / f"{name}-test.tsv"
        for table, tested in zip(tables, (False, True), strict=True):
            rows = [
                f"{one.path}\t{one.digit}\n"
                for one in every
                if (one.take < _TEST_TAKES if how == "takes" else one.speaker == name) is tested
            ]
            table.write_text("".join(rows))
        splits.append(Split(name, *tables))
    return splits


def score(arguments: argparse.Namespace, split: Split, seed: int, model: str) -> float:
    """Train with one seed, or what is left of the training, and score the test sounds once."""
    changes: dict[str, dict[str, Any]] = {
        "data": {"train": str(split.train)},
        "model": {"attention": MODELS[model]},
        "train": {"seed": seed},
    }
    run = arguments.runs / f"{split.name}-{model.replace(' ', '-')}-{seed}"
    trained("classify-sound", load_yaml(arguments.settings, ClassifySoundConfig), changes, run)
    return evaluate(run, str(split.test))["accuracy"].value


def with_mean(scores: dict[str, float]) -> dict[str, float]:
    """The accuracy of each split, and their mean."""
    return scores | {"mean": statistics.mean(scores.values())}


def floor(split: Split) -> float:
    """The accuracy of a support-vector machine."""
    form = SoundFormat(rate=_RATE)
    known, test = (read_sounds(str(table), form) for table in (split.train, split.test))
    model = make_pipeline(StandardScaler(), SVC(C=10)).fit(_means(known), known.labels)
    names = np.array(known.names)
    return 100 * float((names[model.predict(_means(test))] == np.array(test.names)[test.labels]).mean())


def _means(sounds: Sounds) -> np.ndarray:
    """The mean log-mel energies of twenty parts of each sound, ``(n, 520)``."""
    mel, rows = LogMel(_RATE, bands=_BANDS), []
    for at in range(len(sounds.values)):
        features = mel(torch.from_numpy(sounds.values[at] / np.float32(32768))).numpy()
        bounds = np.linspace(0, len(features), _PARTS + 1)
        rows.append([features[int(a) : max(int(a) + 1, int(b))].mean(0) for a, b in itertools.pairwise(bounds)])
    return np.array(rows).reshape(len(rows), -1)


if __name__ == "__main__":
    main()
