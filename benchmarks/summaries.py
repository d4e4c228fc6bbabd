"""Summaries of a data set: the model that copies, the same model without copying, and the first sentence of each text.

    python benchmarks/summaries.py FOLDER [--minutes 20] [--kind gru] [--seeds 1]

FOLDER has ``train``, ``dev`` and ``test``, each a folder of ``.subject`` files, as in AESLC (Zhang and Tetreault 2019,
arXiv:1906.03497). The first sentence needs no training: a model below it has learned nothing of use. Published for
AESLC, ROUGE-1/2/L: a Transformer from scratch 15.0/7.4/14.9 (Zhang et al. 2020, arXiv:1912.08777), people
24.7/10.5/23.4.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
from pathlib import Path

from machine import machine

from regard.data.summaries import open_summaries
from regard.tasks.families.seq2seq.rouge import TYPES, rouge
from regard.tasks.results import Scores
from regard.tasks.running import evaluate, train


def first_sentences(folder: Path) -> dict[str, float]:
    """ROUGE of the first sentence of each text, at most 20 words."""
    references: dict[str, list[str]] = {}
    for source, target in open_summaries(str(folder), on_bad_line="skip")[0]:
        references.setdefault(source, []).append(target)
    texts = [" ".join(re.split(r"(?<=[.!?])\s|\n", source)[0].split()[:20]) for source in references]
    return rouge(texts, list(references.values()))[0]


def trained(folder: Path, args: argparse.Namespace, copy: bool, seed: int) -> Scores:
    """The scores of a model on the test part."""
    settings = {
        "data": {
            "train": str(folder / "train"), "valid": str(folder / "dev"), "max_length": 200, "max_summary": 30,
            "on_bad_line": "skip",
        },
        "model": {"kind": args.kind, "copy": copy},
        "train": {"minutes": args.minutes, "seed": seed, "epochs": 1000},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        train("summarize", settings, Path(work) / "run")
        return evaluate(Path(work) / "run", str(folder / "test"), on_bad_line="skip", beam=5)


def line(name: str, runs: list[dict[str, float]]) -> str:
    """A row of the table: the mean of each score, and its range if there are several seeds."""
    cells = []
    for kind in TYPES:
        values = [scores[kind] for scores in runs]
        spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):6.2f}{spread}")
    return f"{name:24}{'  '.join(cells)}"


def main() -> None:
    """Print a table of ROUGE-1, ROUGE-2 and ROUGE-L, and where the attention of the models is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--kind", choices=("gru", "transformer"), default="gru")
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    print(f"{machine()}\n{args.kind}, {args.minutes:g} minutes each, {args.seeds} seeds; best of all references")
    print(f"{'':24}{'  '.join(TYPES)}")
    print(line("first sentence", [first_sentences(args.folder / "test")]), flush=True)
    for name, copy in (("without copying", False), ("copying", True)):
        runs = [trained(args.folder, args, copy, seed) for seed in range(args.seeds)]
        print(line(name, [{kind: scores[kind].value for kind in TYPES} for scores in runs]), flush=True)
        for part in ("copied", "new", "place"):
            if part in runs[0]:
                print(f"  {part} {runs[0][part].value:.1f} {runs[0][part].how}", flush=True)


if __name__ == "__main__":
    main()
