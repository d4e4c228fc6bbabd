"""CIFAR-10: a residual network without attention, with each kind of attention, and the compact ViT; several seeds each.

    python benchmarks/cifar10.py FOLDER [--models none se …] [--seeds 0 1 2] [--together 2]

FOLDER holds ``train.tar.xz`` and ``test.tar.xz``; each has one folder per class. Each run is the command ``regard train
image`` with the settings of ``cifar10.yaml``. A tenth of the training images is held out for validation, and the last
weights are scored once on the test images. By default there are as many runs in parallel as cores, with one thread
each, because small convolutions gain little from a second thread. The scores of each run are appended to
``results/cifar10.csv``, and a run that is already there with the same settings is skipped. ``results/cifar10.txt`` is
the table of all runs.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from machine import machine

from regard.tasks.classify_image.task import ImageLabeller
from regard.tasks.running import load
from regard.training import checkpoint

HERE = Path(__file__).parent
SETTINGS = HERE / "cifar10.yaml"
RESULTS = HERE / "results" / "cifar10.csv"
MODELS = {
    **{name: ["--model.attention", name] for name in ("none", "se", "cbam", "self", "query")},
    "vit": ["--model.kind", "vit"],
}
COLUMNS = ("settings", "model", "seed", "accuracy", "parameters", "epochs", "train_minutes", "threads", "machine")
WIDTHS = (6, 8, 8, 8, 8, 12, 8, 9)
"""Widths of the table's columns after the first."""
CORES = len(os.sched_getaffinity(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--together", type=int, default=CORES, help="number of runs in parallel")
    options = parser.parse_args()
    done = {(row["model"], int(row["seed"])) for row in rows()}
    pending = [(model, seed) for seed in options.seeds for model in options.models if (model, seed) not in done]
    threads = max(1, CORES // options.together)

    def start(model: str, seed: int) -> dict[str, object]:
        return run(options.folder, options.runs / f"{model}-{seed}", model, seed, threads)

    with ThreadPoolExecutor(options.together) as pool:
        try:
            for future in as_completed([pool.submit(start, model, seed) for model, seed in pending]):
                add(future.result())
                print(table(), flush=True)
        finally:
            pool.shutdown(cancel_futures=True)  # after an error, start no further runs
    RESULTS.with_suffix(".txt").write_text(table() + "\n")


def run(data: Path, folder: Path, model: str, seed: int, threads: int) -> dict[str, object]:
    """Train one model, or resume its run, and score it on the test images: a row of the results."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    regard = [sys.executable, "-m", "regard"]
    settings = ["--config", str(SETTINGS), "--data.train", str(data / "train.tar.xz"), *MODELS[model]]
    settings += ["--train.seed", str(seed)]
    subprocess.run(
        [*regard, "train", "classify-image", str(folder), *(["--resume"] if folder.exists() else settings)],
        check=True, env=environment,
    )  # fmt: skip
    test = [*regard, "eval", str(folder), "--data", str(data / "test.tar.xz"), "--json"]
    scores = json.loads(subprocess.run(test, check=True, capture_output=True, text=True, env=environment).stdout)
    labeller = load(folder)
    assert isinstance(labeller, ImageLabeller)
    trained = labeller.model
    progress = checkpoint.load_state(folder, "last")["progress"]
    values = (
        digest(), model, seed, f"{scores['accuracy']['score']:.2f}", sum(p.numel() for p in trained.parameters()),
        progress["epoch"] + 1, f"{progress['seconds'] / 60:.1f}", threads, machine(),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def digest() -> str:
    """The hash of the settings, by which runs with other settings are left out of the table."""
    return hashlib.sha256(SETTINGS.read_bytes()).hexdigest()[:8]


def rows() -> list[dict[str, str]]:
    """The rows of earlier runs with these settings."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["settings"] == digest()]


def add(row: dict[str, object]) -> None:
    """Append the row of a run to the results."""
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def table() -> str:
    """For each model: the mean accuracy over seeds, its range, and the difference to the model without attention."""
    runs = rows()
    accuracies = {name: [float(row["accuracy"]) for row in runs if row["model"] == name] for name in MODELS}
    without = accuracies["none"]
    lines = ["CIFAR-10, a lossy copy (JPEG): accuracy on the 10,000 test images, in per cent"]
    lines += sorted({row["machine"] for row in runs})
    names = ("seeds", "mean", "lowest", "highest", "– none", "parameters", "epochs", "minutes")
    lines.append(" " * 8 + "".join(f"{name:>{width}}" for name, width in zip(names, WIDTHS, strict=True)))
    for name, scores in accuracies.items():
        if scores:
            own = [row for row in runs if row["model"] == name]
            minutes = statistics.mean(float(row["train_minutes"]) for row in own)
            gain = f"{statistics.mean(scores) - statistics.mean(without):+.2f}" if without else "–"
            lines.append(
                f"{name:8}{len(scores):6}{statistics.mean(scores):8.2f}{min(scores):8.2f}{max(scores):8.2f}{gain:>8}"
                f"{int(own[0]['parameters']):12,}{own[0]['epochs']:>8}{minutes:9.1f}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
