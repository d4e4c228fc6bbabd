"""Memory and time of training on large data: ``python benchmarks/large_data.py --text 20 200 1000 --pairs 5000``.

For each size in MB, random sentences of 50,000 words, whose frequencies follow Zipf's law, are written to a text file,
and ``regard train generate`` trains on it for two steps: with an empty cache, and then again. Likewise ``regard train
translate`` on thousands of pairs, and ``regard train classify-image`` on thousands of JPEG images (``--images 50``) of
320 × 256 pixels, used at 224 × 224; the reading of up to 20,000 is timed beside PyTorch's DataLoader with two workers,
which calls the same function for each image: three times by turns, the median of the times and of their ratios.
``--lines 1000`` pipes so many thousands of lines through ``regard translate``, and translates some of them from a list
for comparison.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from PIL import Image
from torch.utils.data import DataLoader

import regard
from regard.data import cldr
from regard.data.image_files import open_image, squared
from regard.data.images import read_images
from regard.tasks.families.seq2seq.predictor import Search

_WORDS = 50_000
_TURNS = 3
_TIMED = 20
"""Thousands of images whose reading is timed, at most."""
_SETTINGS = ("--model.dim", "64", "--train.steps", "2", "--train.warmup", "1")
_IMAGE_SETTINGS = (
    *("--data.size", "224", "--model.width", "8", "--model.blocks", "1", "--train.batch", "16"),
    *("--train.steps", "2", "--train.warmup", "1", "--train.validate-on", "64"),
)

_TRANSLATOR = (
    *("--data.builtin-pairs", "20000", "--model.dim", "64", "--train.epochs", "3", "--train.tokens", "2048"),
    *("--tokenizer.source-size", "1000", "--tokenizer.target-size", "1000"),
)


def _vocabulary(random: np.random.Generator) -> np.ndarray:
    letters = np.array(list("eeeeaaarrriiioootttnnnsssllcudpmhgbfywkvxzjq"))
    return np.array(["".join(random.choice(letters, size)) for size in random.integers(2, 12, _WORDS)])


class Sentences:
    """Random sentences, the same for the same seed."""

    def __init__(self, seed: int):
        self._random = np.random.default_rng(seed)
        self._words = _vocabulary(np.random.default_rng(0))
        frequency = 1 / np.arange(1, _WORDS + 1)
        self._cumulative = np.cumsum(frequency / frequency.sum())

    def __call__(self, count: int, words: int = 15) -> list[str]:
        """``count`` sentences of ``words`` words."""
        chosen = np.searchsorted(self._cumulative, self._random.random((count, words)))
        return [" ".join(row) + "." for row in self._words[np.minimum(chosen, _WORDS - 1)].tolist()]


def write_text(path: Path, size: int) -> None:
    """Write sentences of ``size`` bytes."""
    sentences, written = Sentences(1), 0
    with path.open("w") as file:
        while written < size:
            written += file.write("\n".join(sentences(10_000)) + "\n")


def write_pairs(path: Path, thousands: int) -> None:
    """Write so many thousands of pairs of sentences."""
    source, target = Sentences(1), Sentences(2)
    with path.open("w") as file:
        for _ in range(thousands):
            pairs = zip(source(1000, 12), target(1000, 12), strict=True)
            file.write("".join(f"{one}\t{other}\n" for one, other in pairs))


def write_images(folder: Path, thousands: int) -> None:
    """Write so many thousands of images in ten classes: smooth random colours."""
    random = np.random.default_rng(1)
    for number in range(1000 * thousands):
        path = folder / f"class {number % 10}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(random.integers(0, 256, (8, 10, 3), dtype=np.uint8))
        small.resize((320, 256), Image.Resampling.BICUBIC).save(path, quality=90)


def reading(folder: Path, thousands: int) -> None:
    """Print the times of regard's reader, without and with its cache, and of PyTorch's DataLoader, by turns."""
    write_images(folder / "timed", thousands)
    paths = sorted((folder / "timed").rglob("*.jpg"))
    os.environ["REGARD_CACHE"] = str(folder / "reading")

    def decode() -> None:
        shutil.rmtree(folder / "reading", ignore_errors=True)
        find()

    def find() -> None:
        assert len(read_images(str(folder / "timed"), 224).pixels) == len(paths)

    def load() -> None:
        loader: Any = DataLoader(paths, batch_size=64, num_workers=2, collate_fn=_decoded)  # type: ignore[arg-type]
        assert sum(len(batch) for batch in loader) == len(paths)

    names = {"regard": decode, "regard, again": find, "DataLoader": load}
    times = {name: list[tuple[float, float]]() for name in names}
    for _ in range(_TURNS):
        for name, read in names.items():
            times[name].append(_seconds(read))
    for name, turns in times.items():
        wall, processor = (statistics.median(column) for column in zip(*turns, strict=True))
        ratio, busy = (
            statistics.median(theirs[at] / ours[at] for ours, theirs in zip(turns, times["DataLoader"], strict=True))
            for at in (0, 1)
        )
        print(
            f"{'reading':>16}  {name:14} {wall:6.1f} s  {processor:6.1f} s of processors; "
            f"{ratio:.2f} times as fast as DataLoader, by processors {busy:.2f}"
        )


def _seconds(read: Callable[[], None]) -> tuple[float, float]:
    """The seconds that a function takes, and those of all processors in this process and in the children it ends."""
    began, before = time.monotonic(), _processor_seconds()
    read()
    return time.monotonic() - began, _processor_seconds() - before


def _processor_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def _decoded(paths: Sequence[Path]) -> torch.Tensor:
    return torch.from_numpy(np.stack([squared(open_image(path.read_bytes()), 224) for path in paths]))


def translating(thousands: int, folder: Path) -> None:
    """Pipe lines through a small translator of the built-in corpus, and print a line about it."""
    run, file = folder / "run", folder / "lines.txt"
    command = [sys.executable, "-m", "regard"]
    subprocess.run([*command, "train", "translate", str(run), *_TRANSLATOR], check=True, capture_output=True)
    sources = [source for source, _ in cldr.corpus(20_000, seed=1, split="train")]
    with file.open("w") as written:
        written.writelines(f"{source}\n" for source in itertools.islice(itertools.cycle(sources), 1000 * thousands))
    began = time.monotonic()
    with file.open() as lines:
        process = subprocess.Popen(
            [*command, "translate", str(run), "--beam", "1"], stdin=lines, stdout=subprocess.PIPE, text=True
        )
    memory = Memory(process.pid)
    memory.start()
    assert process.stdout is not None
    outputs = [process.stdout.readline()]
    first = time.monotonic() - began
    count = 1
    for line in process.stdout:
        count += 1
        if len(outputs) < len(sources):
            outputs.append(line)
    seconds = time.monotonic() - began
    memory.join()
    translator: Any = regard.load(run)
    began = time.monotonic()
    expected = [f"{result.line()}\n" for result in translator.outputs(sources, Search(beam=1))]
    listed = len(sources) / (time.monotonic() - began)
    if count != 1000 * thousands or process.wait() or outputs != expected[: len(outputs)]:
        raise SystemExit("regard translate: the output is not that of the input")
    print(
        f"{thousands:,} thousand lines: first line after {first:.1f} s, {count / seconds:,.0f} lines/s "
        f"({listed:,.0f} from a list), {memory.own / 1e6:,.0f} MB of memory",
        flush=True,
    )


class Memory(threading.Thread):
    """The peak memory of a process and its children, in bytes, read at most five times a second.

    Attributes:
        own: anonymous and shared memory.
        mapped: pages of mapped files in addition, which the system can take back at any time.
    """

    def __init__(self, process: int):
        super().__init__(daemon=True)
        self._process, self.own, self.mapped = process, 0, 0

    def run(self) -> None:
        """Read until the process ends."""
        while True:
            began = time.monotonic()
            own = mapped = 0
            for process in _with_children(self._process):
                try:
                    text = Path(f"/proc/{process}/smaps_rollup").read_text()
                except OSError:
                    continue
                sizes = {name: 1024 * int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
                own += sizes.get("Pss_Anon", 0) + sizes.get("Pss_Shmem", 0)
                mapped += sizes.get("Pss_File", 0)
            if not own:
                return
            self.own, self.mapped = max(self.own, own), max(self.mapped, mapped)
            # The system visits each mapped page, which stops the process meanwhile: not more than a tenth of the time.
            time.sleep(max(0.2, 9 * (time.monotonic() - began)))


def _with_children(process: int) -> list[int]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return [process]
    return [process, *(descendant for child in children for descendant in _with_children(int(child)))]


@dataclass
class Start:
    """A training of two steps.

    Attributes:
        first_step: seconds to the first step.
        processor: seconds that its threads computed until its end, which say more on a machine that does other work.
        tokenizing: seconds of tokenizing; 0: the tokens were in the cache.
        memory: the peak.
    """

    first_step: float
    processor: float
    tokenizing: float
    memory: Memory


def train(task: str, folder: Path, options: Sequence[str]) -> Start:
    """Train for two steps."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    environment = os.environ | {"REGARD_CACHE": str(folder / "cache")}
    began = time.monotonic()
    command = [sys.executable, "-m", "regard", "train", task, str(run), *options]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    memory = Memory(process.pid)
    memory.start()
    first_step, tokenizing, lines = 0.0, 0.0, []
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if " batch" in line and " parameters" in line:  # the last line before the first step
            first_step = time.monotonic() - began
        if spent := re.search(r"tokenizing: .* in ([\d,]+) s", line):
            tokenizing += float(spent[1].replace(",", ""))
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("".join(lines))
    memory.join()
    return Start(first_step, usage.ru_utime + usage.ru_stime, tokenizing, memory)


def measure(task: str, name: str, size: int, options: Sequence[str], folder: Path) -> None:
    """Train twice, and print a line for each."""
    for number in ("first", "second"):
        start = train(task, folder, options)
        speed = f"{size / 1e6 / start.tokenizing:6.1f} MB/s" if start.tokenizing else f"{'—':>11}"
        print(
            f"{name:>16}  {size / 1e6:8,.0f} MB  {number:>6}  {start.first_step:8.1f} s  {start.processor:8.1f} s"
            f"  {speed}  {start.memory.own / 1e6:8,.0f} MB  {start.memory.mapped / 1e6:8,.0f} MB",
            flush=True,
        )


def main() -> None:
    """Measure the sizes that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=int, nargs="*", default=[], metavar="MB", help="sizes of text in MB")
    parser.add_argument("--folder", type=Path, help="where to write the data; by default, a temporary folder")
    parser.add_argument("--pairs", type=int, nargs="*", default=[], metavar="N", help="numbers of pairs in thousands")
    parser.add_argument("--images", type=int, nargs="*", default=[], metavar="N", help="numbers of images in thousands")
    parser.add_argument("--lines", type=int, nargs="*", default=[], metavar="N", help="numbers of lines in thousands")
    arguments = parser.parse_args()
    print(machine())
    columns = f"{'data':>16}  {'size':>11}  {'start':>6}  {'first step':>10}  {'processor':>10}  {'tokenizing':>11}"
    print(f"{columns}  {'memory':>11}  {'files':>11}")
    for megabytes in arguments.text:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            folder = Path(name)
            write_text(folder / "train.txt", megabytes * 1_000_000)
            (folder / "valid.txt").write_text("\n".join(Sentences(2)(100)))
            options = ["--data.train", str(folder / "train.txt"), "--data.valid", str(folder / "valid.txt"), *_SETTINGS]
            measure("generate", f"{megabytes} MB of text", (folder / "train.txt").stat().st_size, options, folder)
    for thousands in arguments.pairs:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            folder = Path(name)
            write_pairs(folder / "train.tsv", thousands)
            with (folder / "train.tsv").open() as file:
                (folder / "valid.tsv").write_text("".join(itertools.islice(file, 20)))
            options = ["--data.train", str(folder / "train.tsv"), "--data.valid", str(folder / "valid.tsv"), *_SETTINGS]
            label = f"{thousands / 1000:.1f} M pairs"
            measure("translate", label, (folder / "train.tsv").stat().st_size, options, folder)
    for thousands in arguments.images:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            folder = Path(name)
            write_images(folder / "images", thousands)
            options = ["--data.train", str(folder / "images"), *_IMAGE_SETTINGS]
            measure("classify-image", f"{thousands},000 images", thousands * 1000 * 3 * 224**2, options, folder)
            reading(folder, min(thousands, _TIMED))
    for thousands in arguments.lines:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            translating(thousands, Path(name))


if __name__ == "__main__":
    main()
