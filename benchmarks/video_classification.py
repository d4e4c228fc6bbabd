"""Movements of persons (JHMDB), beside the same model without attention and a support-vector machine on poses.

    python benchmarks/video_classification.py FOLDER [--splits 1 2 3] [--seeds 0 1 2] [--settings FILE.yaml]

FOLDER has split1.train.jsonl.gz, split1.test.jsonl.gz and those of splits 2 and 3: a clip per line, its 15 joints in
each frame (``pose``) and its class (``label``). The checkpoint is chosen on a tenth of the training clips, and the test
clips are scored once. The support-vector machine sees means, standard deviations and largest values of positions,
distances and motion over the frames of a clip, and mirrored copies of the training clips; its features and its C were
chosen by cross-validation on the training clips of split 1. The table is printed, for
``benchmarks/results/video_classification.txt``. A run that exists is not trained again, and one that was stopped goes
on.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from comparison import header, row, trained
from machine import machine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from regard.data.clips import Clips, read_clips
from regard.data.poses import PoseCodec
from regard.data.skeletons import SKELETONS
from regard.settings import load_yaml
from regard.tasks.classify_video.settings import ClassifyVideoConfig
from regard.tasks.running import evaluate

HERE = Path(__file__).parent
PUBLISHED = "none for these 14 classes; of all 21, mean of the splits: DD-Net (Yang et al. 2019) 77.2"
_WIDTH = 26


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--settings", type=Path, default=HERE / "video_classification.yaml")
    parser.add_argument("--runs", type=Path, default=Path("runs/video_classification"))
    parser.add_argument("--attention", nargs="*", default=["additive", "none"], choices=["additive", "none"])
    arguments = parser.parse_args()
    columns = [*(f"split {split}" for split in arguments.splits), "mean"]
    print(f"JHMDB, 14 classes: test accuracy, per cent; {machine()}")
    print(f"published: {PUBLISHED}")
    print(header(columns, _WIDTH), flush=True)
    floors = {f"split {split}": floor(arguments.folder, split) for split in arguments.splits}
    print(row("support-vector machine", [with_mean(floors)], columns, _WIDTH), flush=True)
    for attention in arguments.attention:
        results = []
        for seed in arguments.seeds:
            scores = {f"split {split}": score(arguments, split, seed, attention) for split in arguments.splits}
            results.append(with_mean(scores))
        print(row(f"attention {attention}", results, columns, _WIDTH), flush=True)


def with_mean(scores: dict[str, float]) -> dict[str, float]:
    """The scores of the splits, and their mean."""
    return {**scores, "mean": statistics.mean(scores.values())}


def score(arguments: argparse.Namespace, split: int, seed: int, attention: str) -> float:
    """Train with one seed, and score the test clips once."""
    run = arguments.runs / f"split{split}-{attention}-{seed}"
    changes: dict[str, dict[str, Any]] = {
        "data": {"train": str(table(arguments.folder, split, "train"))}, "model": {"attention": attention},
        "train": {"seed": seed},
    }  # fmt: skip
    trained("classify-video", load_yaml(arguments.settings, ClassifyVideoConfig), changes, run)
    return evaluate(run, str(table(arguments.folder, split, "test")))["accuracy"].value


def table(folder: Path, split: int, part: str) -> Path:
    """The file of a part of a split."""
    return (folder / f"split{split}.{part}.jsonl.gz").resolve()


def floor(folder: Path, split: int) -> float:
    """The accuracy of a support-vector machine."""
    known, test = (read_clips(str(table(folder, split, part)), PoseCodec()) for part in ("train", "test"))
    mirrored = SKELETONS["jhmdb"].mirrored
    features = np.concatenate([described(known), described(known, mirrored)])
    model = make_pipeline(StandardScaler(), SVC(C=10)).fit(features, np.tile(known.labels, 2))
    names = np.array(known.names)
    return 100 * float((names[model.predict(described(test))] == np.array(test.names)[test.labels]).mean())


def described(clips: Clips, mirrored: list[int] | None = None) -> np.ndarray:
    """Means, standard deviations and largest values of positions, distances and motion, ``(n, features)``."""
    rows = []
    for number in range(len(clips.values)):
        joints = clips.values[number].astype(float)
        if mirrored is not None:
            joints = joints[:, mirrored] * [-1, 1]
        middle = joints.mean(1, keepdims=True)
        size = np.sqrt(((joints - middle) ** 2).sum(2).mean())
        around, motion = (joints - middle) / size, np.diff(joints, axis=0) / size
        one, other = np.triu_indices(joints.shape[1], 1)
        distances = np.linalg.norm(joints[:, one] - joints[:, other], axis=2) / size
        speed = np.linalg.norm(motion, axis=2)
        flat = (around.reshape(len(around), -1), distances, motion.reshape(len(motion), -1), speed)
        parts = [statistic for part in flat for statistic in (part.mean(0), part.std(0))]
        travelled = (middle[-1] - middle[0])[0]
        rows.append(np.concatenate([*parts, speed.max(0), np.ptp(flat[0], axis=0), travelled]))
    return np.array(rows)


if __name__ == "__main__":
    main()
