"""Movements of persons (JHMDB), beside the same model without attention and a support-vector machine on poses.

    python benchmarks/video_classification.py FOLDER [--splits 1 2 3] [--seeds 0 1 2] [--shares 0 0.7]
    python benchmarks/video_classification.py FOLDER --folds

FOLDER has split1.train.jsonl.gz, split1.test.jsonl.gz and those of splits 2 and 3: a clip per line, its 15 joints in
each frame (``pose``) and its class (``label``). The checkpoint is chosen on a tenth of the training clips, and the test
clips are scored once. Each model is trained alone, and with ``--model.kernel``: the kernel classifier beside it is then
fitted to all training clips when training ends. The kernel classifier alone has all training clips, too, as the
support-vector machine. That sees means, standard deviations and largest values of positions, distances and motion over
the frames of a clip, and mirrored copies of the training clips; its features and its C were chosen by cross-validation
on the training clips of split 1.

The clips of a film are all in the training part of a split or all in its test part, and are not marked otherwise. So
the folds that ``--folds`` prints are made of other splits: the training clips of a split that another one tests are
scored by the support-vector machine and the kernel classifier of the others. The result is the mean of two folds.

The table is printed, for ``benchmarks/results/video_classification.txt``. A run that exists is not trained again, and
one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from comparison import header, row, trained
from machine import machine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from regard.data.clips import Clips, read_clips
from regard.data.labelled import select
from regard.data.poses import PoseCodec
from regard.data.skeletons import SKELETONS
from regard.settings import load_yaml
from regard.tasks.classify_video.settings import ClassifyVideoConfig
from regard.tasks.fitted.kernel import KernelClassifier
from regard.tasks.inputs.clip_settings import LabelledClipsConfig
from regard.tasks.inputs.poses import PoseClips
from regard.tasks.running import evaluate

HERE = Path(__file__).parent
PUBLISHED = "none for these 14 classes; of all 21, mean of the splits: DD-Net (Yang et al. 2019) 77.2"
SHARE = 0.7
"""Of the kernel classifier, chosen on the tenths of the training clips that are set aside."""
_WIDTH = 34

Classifier = Callable[[Clips, Clips], float]
"""The accuracy on the second clips, after training on the first ones."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--settings", type=Path, default=HERE / "video_classification.yaml")
    parser.add_argument("--runs", type=Path, default=Path("runs/video_classification"))
    parser.add_argument("--attention", nargs="*", default=["additive", "none"], choices=["additive", "none"])
    parser.add_argument("--shares", type=float, nargs="*", default=[0.0, SHARE], help="of the kernel classifier")
    parser.add_argument("--folds", action="store_true")
    arguments = parser.parse_args()
    columns = [*(f"split {split}" for split in arguments.splits), "mean"]
    scored = "accuracy on folds of the training clips" if arguments.folds else "test accuracy"
    print(f"JHMDB, 14 classes: {scored}, per cent; {machine()}")
    print(f"published: {PUBLISHED}")
    print(header(columns, _WIDTH), flush=True)
    classifiers: dict[str, Classifier] = {"support-vector machine": floor, "kernel classifier": kernel}
    for name, classifier in classifiers.items():
        scored_by = on_folds if arguments.folds else on_test
        result = {f"split {split}": scored_by(classifier, arguments.folder, split) for split in arguments.splits}
        print(row(name, [with_mean(result)], columns, _WIDTH), flush=True)
    for attention in [] if arguments.folds else arguments.attention:
        for share in arguments.shares:
            results = [scores(arguments, seed, {"attention": attention, "kernel": share}) for seed in arguments.seeds]
            name = f"attention {attention}" + (f", kernel {share}" if share else "")
            print(row(name, results, columns, _WIDTH), flush=True)


def with_mean(scores: dict[str, float]) -> dict[str, float]:
    """The scores of the splits, and their mean."""
    return {**scores, "mean": statistics.mean(scores.values())}


def scores(arguments: argparse.Namespace, seed: int, model: dict[str, Any]) -> dict[str, float]:
    """Train with one seed and these settings of the model, or what is left of it, and score the test clips once."""
    kernel = f"-kernel-{model['kernel']}" if model["kernel"] else ""
    results = {}
    for split in arguments.splits:
        run = arguments.runs / f"split{split}-{model['attention']}{kernel}-{seed}"
        train, test = (str(table(arguments.folder, split, part)) for part in ("train", "test"))
        changes: dict[str, dict[str, Any]] = {"data": {"train": train}, "model": model, "train": {"seed": seed}}
        trained("classify-video", load_yaml(arguments.settings, ClassifyVideoConfig), changes, run)
        results[f"split {split}"] = evaluate(run, test)["accuracy"].value
    return with_mean(results)


def on_test(classifier: Classifier, folder: Path, split: int) -> float:
    """The accuracy on the test clips."""
    return classifier(*(read_clips(str(table(folder, split, part)), PoseCodec()) for part in ("train", "test")))


def on_folds(classifier: Classifier, folder: Path, split: int) -> float:
    """The mean accuracy on the training clips that each other split tests, after training on the other clips."""
    clips = read_clips(str(table(folder, split, "train")), PoseCodec())
    results = []
    for other in {1, 2, 3} - {split}:
        tested = set(read_clips(str(table(folder, other, "test")), PoseCodec()).keys)
        held_out = np.array([key in tested for key in clips.keys])
        results.append(classifier(select(clips, ~held_out), select(clips, held_out)))
    return statistics.mean(results)


def table(folder: Path, split: int, part: str) -> Path:
    """The file of a part of a split."""
    return (folder / f"split{split}.{part}.jsonl.gz").resolve()


def fitted(clips: Clips) -> KernelClassifier:
    """The kernel classifier of these clips."""
    features = PoseClips(LabelledClipsConfig(skeleton="jhmdb")).pooled(clips, mirror=True)
    return KernelClassifier.fit(features, clips.labels, len(clips.names))


def kernel(known: Clips, test: Clips) -> float:
    """The accuracy of the kernel classifier alone."""
    (features,) = PoseClips(LabelledClipsConfig(skeleton="jhmdb")).pooled(test, mirror=False)
    predicted = fitted(known).logits(features).argmax(1).numpy()
    return accuracy(known, test, predicted)


def accuracy(known: Clips, test: Clips, predicted: np.ndarray) -> float:
    """Per cent of the clips whose class is that of this number in the known clips."""
    return 100 * float((np.array(known.names)[predicted] == np.array(test.names)[test.labels]).mean())


def floor(known: Clips, test: Clips) -> float:
    """The accuracy of a support-vector machine."""
    mirrored = SKELETONS["jhmdb"].mirrored
    features = np.concatenate([described(known), described(known, mirrored)])
    model = make_pipeline(StandardScaler(), SVC(C=10)).fit(features, np.tile(known.labels, 2))
    return accuracy(known, test, model.predict(described(test)))


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
