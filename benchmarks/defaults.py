"""Train each task on 40, 260, 3,000 and 30,000 examples with the default settings, and score it.

    OMP_NUM_THREADS=1 python benchmarks/defaults.py [--tasks translate] [--sizes 40 260] [--minutes 20]

Translation: pairs of the built-in English-French corpus, scored by exact match on 300 pairs of its test split (greedy).

Text generation: lines of Python's language reference, and after its 8,716 lines of the standard library's docstrings,
scored by bits per byte on the last tenth, which is set aside; the floor is the entropy of single characters. Size 17 is
a text of 860 bytes.

Images: 40 noisy squares, red or blue, else scikit-learn's digits, shifted by up to 3 of 32 pixels; the floor is the
largest class. 40 and 260 are scored on the tenth set aside. There are 1,797 digits: 3,000 and 30,000 images are shifted
copies of 1,497 of them, and are scored on the other 300.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import math
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from machine import machine
from PIL import Image

from regard.cli.main import main as command_line
from regard.data import cldr
from regard.tasks.generate.task import reference


def pairs(folder: Path, size: int) -> tuple[Path, list[str], str]:
    """A file of pairs, the options of its evaluation, and its floor."""
    parts: tuple[tuple[str, int, Literal["train", "test"]], ...] = (("train", size, "train"), ("test", 300, "test"))
    for name, count, split in parts:
        lines = [f"{source}\t{target}\n" for source, target in cldr.corpus(count, seed=0, split=split)]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder / "train.tsv", ["--data", str(folder / "test.tsv"), "--beam", "1"], "0"


def text(folder: Path, size: int) -> tuple[Path, list[str], str]:
    """A file of lines, the options of its evaluation, and its floor."""
    lines = [line for document in (*reference(), *docstrings()) for line in document.splitlines() if line.strip()]
    chosen = "\n".join(lines[:size])
    (folder / "train.txt").write_text(chosen, encoding="utf-8")
    counts = Counter(chosen)
    entropy = -sum(n / len(chosen) * math.log2(n / len(chosen)) for n in counts.values())
    return folder / "train.txt", [], f"{entropy:.2f}"


def docstrings() -> Iterator[str]:
    """The docstrings of the standard library's modules, classes and functions."""
    root = Path(os.__file__).parent
    for path in sorted([*root.glob("*.py"), *root.glob("[a-z]*/*.py")]):
        if path.parent.name not in ("test", "site-packages", "dist-packages"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    yield ast.get_docstring(node) or ""


def images(folder: Path, size: int) -> tuple[Path, list[str], str]:
    """A folder of images, the options of its evaluation, and its floor."""
    random, root = np.random.default_rng(0), folder / "images"
    labels: list[str] = []

    def save(number: int, array: np.ndarray, label: str, part: str = "") -> None:
        path = root / part / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array.astype(np.uint8)).save(path)
        labels.append(label)

    if size <= 40:
        for n in range(size):
            colour = (220, 30, 30) if n % 2 else (30, 30, 220)
            save(n, np.clip(colour + random.normal(0, 30, (32, 32, 3)), 0, 255), "red" if n % 2 else "blue")
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        order = random.permutation(len(digits.target))
        valid, train = (order[:300], order[300:]) if size > 300 else (order[:0], order)
        for part, which in (("train", np.resize(train, size)), ("val", valid)):
            for n, at in enumerate(which):
                array = np.roll(np.kron(digits.images[at] * 15.9, np.ones((4, 4))), random.integers(-3, 4, 2), (0, 1))
                save(n, array, str(digits.target[at]), part if len(valid) else "")
    return root, [], f"{100 * Counter(labels).most_common(1)[0][1] / len(labels):.0f}"


TASKS: dict[str, tuple[Callable[[Path, int], tuple[Path, list[str], str]], str]] = {
    "translate": (pairs, "exact"),
    "generate": (text, "bits_per_byte"),
    "classify-image": (images, "accuracy"),
}


def regard(*arguments: str) -> tuple[str, str]:
    """What a command of regard prints: standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.suppress(SystemExit):
        command_line(list(arguments))
    return out.getvalue(), err.getvalue()


def measure(task: str, size: int, minutes: float | None) -> str:
    """One row of the table."""
    make, metric = TASKS[task]
    limit = [] if minutes is None else ["--train.minutes", str(minutes)]
    with tempfile.TemporaryDirectory() as folder:
        data, options, floor = make(Path(folder), size)
        began = time.process_time()
        printed, log = regard("train", task, f"{folder}/run", "--data.train", str(data), *limit)
        seconds = time.process_time() - began
        steps = re.search(r"trained ([\d,]+) steps", printed)
        if steps is None:
            raise SystemExit(f"{task}, {size}: {log[-1000:]}")
        scores, _ = regard("eval", f"{folder}/run", *options)
        score = re.search(rf"^ *{metric} +([\d.]+)", scores, re.MULTILINE)
        chosen = re.search(r"chosen by the size of the data: (.*)", log)
        assert score is not None
        assert chosen is not None
        return f"{task:15}{size:>9,}  {metric:14}{score[1]:>7}{floor:>7}{steps[1]:>8}{seconds:>9.0f}  {chosen[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[40, 260, 3000, 30_000])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--minutes", type=float, help="end each training after so many minutes, by default never")
    chosen = parser.parse_args()
    print(machine())
    print(f"{'task':15}{'examples':>9}  {'score':14}{'':>7}{'floor':>7}{'steps':>8}{'CPU s':>9}  settings chosen")
    for task in chosen.tasks:
        for size in chosen.sizes:
            print(measure(task, size, chosen.minutes), flush=True)


if __name__ == "__main__":
    main()
