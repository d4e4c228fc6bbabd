"""Do the defaults work on small data? Each task trained on 40, 260, 3,000 and 30,000 examples without any setting.

    python benchmarks/defaults.py [--sizes 40 260 3000] [--tasks translate generate image]

Translation takes pairs of the built-in English-French corpus, and is scored on 300 pairs of its test split. Text
generation takes so many lines of Python's language reference, and is scored by bits per byte on the text set aside; the
floor is the entropy of single characters. Images are coloured squares for 40, else scikit-learn's digits moved by up to
3 pixels, scored on the images set aside; the floor is the largest class. There are 1,797 digits, and fewer lines than
30,000: above that examples repeat, and the score is no longer one of unseen examples.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine
from PIL import Image

from regard.cli.main import main as command_line
from regard.data import cldr
from regard.tasks.generate.data import reference


def pairs(folder: Path, size: int) -> tuple[Path, list[str], str]:
    """A file of pairs, the options of its evaluation, and its floor."""
    for name, count, split in (("train", size, "train"), ("test", 300, "test")):
        lines = [f"{source}\t{target}\n" for source, target in cldr.corpus(count, seed=0, split=split)]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder / "train.tsv", ["--data", str(folder / "test.tsv")], "0"


def text(folder: Path, size: int) -> tuple[Path, list[str], str]:
    """A file of lines, the options of its evaluation, and its floor."""
    lines = [line for document in reference() for line in document.splitlines() if line.strip()]
    chosen = "\n".join((lines * (1 + size // len(lines)))[:size])
    (folder / "train.txt").write_text(chosen, encoding="utf-8")
    counts = Counter(chosen)
    entropy = -sum(n / len(chosen) * math.log2(n / len(chosen)) for n in counts.values())
    return folder / "train.txt", [], f"{entropy:.2f}"


def images(folder: Path, size: int) -> tuple[Path, list[str], str]:
    """A folder of images, the options of its evaluation, and its floor."""
    random, root = np.random.default_rng(0), folder / "images"
    if size <= 40:
        arrays = [np.full((32, 32, 3), (220, 30, 30) if n % 2 else (30, 30, 220), np.uint8) for n in range(size)]
        arrays = [np.clip(array + random.normal(0, 30, array.shape), 0, 255).astype(np.uint8) for array in arrays]
        labels = ["red" if n % 2 else "blue" for n in range(size)]
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        order = random.permutation(len(digits.target))
        chosen = [int(order[n % len(order)]) for n in range(size)]
        arrays = [np.kron(digits.images[n] * 15.9, np.ones((4, 4))).astype(np.uint8) for n in chosen]
        arrays = [np.roll(array, random.integers(-3, 4, 2), (0, 1)) for array in arrays]
        labels = [str(digits.target[n]) for n in chosen]
    for n, (array, label) in enumerate(zip(arrays, labels, strict=True)):
        (root / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(root / label / f"{n}.png")
    return root, [], f"{100 * Counter(labels).most_common(1)[0][1] / size:.0f}"


TASKS: dict[str, tuple[Callable[[Path, int], tuple[Path, list[str], str]], str]] = {
    "translate": (pairs, "exact"),
    "generate": (text, "bits_per_byte"),
    "image": (images, "accuracy"),
}


def regard(*arguments: str) -> tuple[str, str]:
    """What a command of regard prints: standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.suppress(SystemExit):
        command_line(list(arguments))
    return out.getvalue(), err.getvalue()


def measure(task: str, size: int) -> str:
    """One row of the table."""
    make, metric = TASKS[task]
    with tempfile.TemporaryDirectory() as folder:
        data, options, floor = make(Path(folder), size)
        began = time.perf_counter()
        printed, told = regard("train", task, f"{folder}/run", "--data.train", str(data))
        minutes = (time.perf_counter() - began) / 60
        steps = re.search(r"trained ([\d,]+) steps", printed)
        if steps is None:
            raise SystemExit(f"{task}, {size}: {told[-1000:]}")
        scores, _ = regard("eval", f"{folder}/run", *options)
        score = re.search(rf"^ *{metric} +([\d.]+)", scores, re.MULTILINE)
        chosen = re.search(r"chosen by the size of the data: (.*)", told)
        assert score is not None
        assert chosen is not None
        return f"{task:10}{size:>8,}{metric:>15}{score[1]:>9}{floor:>8}{steps[1]:>8}{minutes:>8.1f}  {chosen[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[40, 260, 3000, 30_000])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    given = parser.parse_args()
    print(machine())
    print(f"{'task':10}{'size':>8}{'score':>15}{'':>9}{'floor':>8}{'steps':>8}{'minutes':>8}  settings chosen")
    for task in given.tasks:
        for size in given.sizes:
            print(measure(task, size), flush=True)


if __name__ == "__main__":
    main()
