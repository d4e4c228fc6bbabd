"""CIFAR-10: a residual network without attention and with each kind of it, and the compact ViT, by seeds.

    python benchmarks/cifar10.py FOLDER [--models none se …] [--seeds 0 1 2] [--together 2]

FOLDER holds ``train.tar.xz`` and ``test.tar.xz``, a folder a class in each. Each run is the command ``regard train
image`` with the settings of ``cifar10.yaml``; a tenth of the training pictures is set aside to validate on, and the
last weights are scored on the test pictures once. As many runs as there are cores go side by side, a thread each, for
threads share small convolutions badly. Each run's figures are added to ``results/cifar10.csv``, and runs that stand
there with these settings are not run again; ``results/cifar10.txt`` is the table of all of them.
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

from regard.cli.app import settings_of
from regard.tasks.image.model import load
from regard.train import checkpoint

HERE = Path(__file__).parent
SETTINGS = HERE / "cifar10.yaml"
KEPT = HERE / "results" / "cifar10.csv"
MODELS = {
    **{name: ["--model.attention", name] for name in ("none", "se", "cbam", "self", "query")},
    "vit": ["--model.kind", "vit"],
}
COLUMNS = ("settings", "model", "seed", "accuracy", "parameters", "epochs", "train_minutes", "threads", "machine")
WIDE = (6, 8, 8, 8, 8, 12, 8, 9)
"""Of the table's columns, but for the first."""
CORES = len(os.sched_getaffinity(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--together", type=int, default=CORES, help="runs side by side")
    options = parser.parse_args()
    done = {(row["model"], int(row["seed"])) for row in rows()}
    left = [(model, seed) for seed in options.seeds for model in options.models if (model, seed) not in done]
    threads = max(1, CORES // options.together)

    def one(what: tuple[str, int]) -> dict[str, object]:
        return run(options.folder, options.runs / "{}-{}".format(*what), *what, threads)

    with ThreadPoolExecutor(options.together) as pool:
        try:
            for future in as_completed([pool.submit(one, what) for what in left]):
                add(future.result())
                print(table(), flush=True)
        finally:
            pool.shutdown(cancel_futures=True)  # those that have not begun
    KEPT.with_suffix(".txt").write_text(table() + "\n")


def run(data: Path, folder: Path, model: str, seed: int, threads: int) -> dict[str, object]:
    """Train one model, or go on with it, and score it."""
    surroundings = os.environ | {"OMP_NUM_THREADS": str(threads)}
    regard = [sys.executable, "-m", "regard"]
    settings = ["--config", str(SETTINGS), "--data.train", str(data / "train.tar.xz"), *MODELS[model]]
    settings += ["--train.seed", str(seed)]
    subprocess.run(
        [*regard, "train", "image", str(folder), *(["--resume"] if folder.exists() else settings)],
        check=True, env=surroundings,
    )  # fmt: skip
    test = [*regard, "eval", str(folder), "--data", str(data / "test.tar.xz"), "--json"]
    told = json.loads(subprocess.run(test, check=True, capture_output=True, text=True, env=surroundings).stdout)
    trained = load(folder, settings_of("image")(folder)).model
    progress = checkpoint.load_state(folder, "last")["progress"]
    found = (
        digest(), model, seed, f"{told['accuracy']['score']:.2f}", sum(p.numel() for p in trained.parameters()),
        progress["epoch"] + 1, f"{progress['seconds'] / 60:.1f}", threads, machine(),
    )  # fmt: skip
    return dict(zip(COLUMNS, found, strict=True))


def digest() -> str:
    """What the settings are known by."""
    return hashlib.sha256(SETTINGS.read_bytes()).hexdigest()[:8]


def rows() -> list[dict[str, str]]:
    """What is kept of earlier runs with these settings."""
    if not KEPT.exists():
        return []
    with KEPT.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["settings"] == digest()]


def add(row: dict[str, object]) -> None:
    """Keep a run's figures."""
    new = not KEPT.exists()
    with KEPT.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def table() -> str:
    """The mean over seeds of each model, its spread, and the difference to the one without attention."""
    kept = rows()
    found = {name: [float(row["accuracy"]) for row in kept if row["model"] == name] for name in MODELS}
    plain = found["none"]
    lines = ["CIFAR-10, a lossy copy (JPEG): accuracy on the 10,000 test pictures, in per cent"]
    lines += sorted({row["machine"] for row in kept})
    names = ("seeds", "mean", "lowest", "highest", "– none", "parameters", "passes", "minutes")
    lines.append(" " * 8 + "".join(f"{name:>{width}}" for name, width in zip(names, WIDE, strict=True)))
    for name, scores in found.items():
        if scores:
            own = [row for row in kept if row["model"] == name]
            minutes = statistics.mean(float(row["train_minutes"]) for row in own)
            more = f"{statistics.mean(scores) - statistics.mean(plain):+.2f}" if plain else "–"
            lines.append(
                f"{name:8}{len(scores):6}{statistics.mean(scores):8.2f}{min(scores):8.2f}{max(scores):8.2f}{more:>8}"
                f"{int(own[0]['parameters']):12,}{own[0]['epochs']:>8}{minutes:9.1f}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
