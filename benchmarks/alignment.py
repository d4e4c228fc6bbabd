"""Word alignment by the attention of translation models, beside eflomal; see alignment.sh, which trains the models.

    python benchmarks/alignment.py FOLDER_OF_ALIGNMENTS RUNS_FOLDER [FOLDER_OF_PUBLISHED_HYPOTHESES]

For each pair of languages: links by the attention of the decoder's last layer but one, mean over heads; and by the
layer and head on whose links the models of both directions agree best for 300 validation pairs, which have no links of
people. Each is read at the step that puts out a word and at the step after, as weights and as norms of the weighted
vectors. ``eflomal-align`` is used if it is installed (``pip install eflomal``). Published hypotheses, such as
``fastalign.deen.talp``, are scored if they are there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from machine import machine

from regard.explain.links import ErrorRate, Gold, Links, Symmetrization, error_rate, from_pharaoh, symmetrized
from regard.tasks.families.seq2seq.aligning import Aligner, linked
from regard.tasks.running import load

Pair = tuple[str, str]
COMBINED: Symmetrization = "grow-diag-final-and"
GOLDS = {"deen": "deen.alignment.talp", "enfr": "enfr.gold"}
PUBLISHED = {
    "deen": ("published, Europarl: fast_align 27.0, mgiza 20.6; Transformer 47.7, next step 29.8, norms 41.4 | 25.0"),
    "enfr": "published, Hansards: fast_align 10.5, mgiza 5.9",
}


class Choice(NamedTuple):
    """Where an `Aligner` reads."""

    layer: int | None
    head: int | None
    next_step: bool
    norms: bool


def read_pairs(path: Path) -> list[Pair]:
    lines = (line.split("\t") for line in path.read_text().splitlines())
    return [(one, other) for one, other in lines]


def turned(links: Links) -> Links:
    return frozenset((target, source) for source, target in links)


def both_ways(models: tuple[Any, Any], choices: tuple[Choice, Choice], pairs: list[Pair]) -> tuple[list[Links], ...]:
    """The links of the models of both directions, each as (source, target) of the pairs."""
    reverse = [(target, source) for source, target in pairs]
    forward = list(linked(pairs, Aligner(models[0], *choices[0])))
    return forward, [turned(one) for one in linked(reverse, Aligner(models[1], *choices[1]))]


def agreeing(models: tuple[Any, Any], pairs: list[Pair], next_step: bool, norms: bool) -> tuple[Choice, Choice]:
    """The layers and heads of both models whose links are the most alike on the pairs."""
    model = models[0].model
    heads = [*range(model.heads), None]
    choices = [Choice(layer, head, next_step, norms) for layer, head in product(range(len(model.decoder)), heads)]
    reverse = [(target, source) for source, target in pairs]
    forward = {choice: list(linked(pairs, Aligner(models[0], *choice))) for choice in choices}
    backward = {choice: [turned(one) for one in linked(reverse, Aligner(models[1], *choice))] for choice in choices}
    return min(product(choices, choices), key=lambda two: disagreement(forward[two[0]], backward[two[1]]))


def disagreement(forward: list[Links], backward: list[Links]) -> float:
    return error_rate(forward, [Gold(one, one) for one in backward]).error


def eflomal(train: list[Pair], test: list[Pair]) -> Iterator[tuple[str, list[Links]]]:
    """Links of both directions of the test pairs, which end the training pairs."""
    program = shutil.which("eflomal-align")
    if program is None:
        print("  eflomal-align is not installed, so it is left out")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pairs").write_text("".join(f"{one} ||| {other}\n" for one, other in train))
        subprocess.run(
            [program, "-i", folder / "pairs", "-f", folder / "forward", "-r", folder / "reverse", "--overwrite"],
            check=True, capture_output=True,
        )  # fmt: skip
        sides = []
        for side in ("forward", "reverse"):
            lines = (folder / side).read_text().splitlines()[-len(test) :]
            sides.append([from_pharaoh(line).sure for line in lines])
    yield "eflomal", sides[0]
    yield "eflomal, other direction", sides[1]
    yield f"eflomal, {COMBINED}", [symmetrized(one, other, COMBINED) for one, other in zip(*sides, strict=True)]


def row(name: str, score: ErrorRate) -> None:
    error, precision, recall = (100 * value for value in score)
    print(f"  {name:66} {error:5.1f} {precision:10.1f} {recall:7.1f}", flush=True)


def measure(pair: str, data: Path, runs: Path, published: Path | None) -> None:
    corpus = runs / "corpora" / pair
    test, valid = read_pairs(corpus / "test.tsv"), read_pairs(corpus / "valid.tsv")[:300]
    golds = [from_pharaoh(line, first=1) for line in (data / GOLDS[pair]).read_text().splitlines()]
    print(f"{pair}: {len(test)} pairs, possible links counted, {PUBLISHED[pair]}")
    print(f"  {'':66} {'AER':>5} {'precision':>10} {'recall':>7}")
    models = load(runs / pair, "best", "translate"), load(runs / f"{pair}.reversed", "best", "translate")
    for norms, next_step in product((False, True), (False, True)):
        usual = Choice(None, None, next_step, norms)
        what = f"{'norms' if norms else 'weights'}, {'next step' if next_step else 'own step'}"
        for where, choices in (
            ("last layer but one", (usual, usual)), ("agreeing", agreeing(models, valid, next_step, norms)),
        ):  # fmt: skip
            names = [f"layer {one.layer} head {'mean' if one.head is None else one.head}" for one in choices]
            place = where if where != "agreeing" else f"agreeing, {names[0]} | {names[1]}"
            forward, backward = both_ways(models, choices, test)
            row(f"{what}, {place}", error_rate(forward, golds))
            row(f"{what}, {where}, other direction", error_rate(backward, golds))
            joined = [symmetrized(one, other, COMBINED) for one, other in zip(forward, backward, strict=True)]
            row(f"{what}, {where}, {COMBINED}", error_rate(joined, golds))
    for name, hypotheses in eflomal(read_pairs(corpus / "train.tsv"), test):
        row(f"{name}, the same texts", error_rate(hypotheses, golds))
    if published is not None:
        for path in sorted(published.glob(f"*.{pair}.talp")):
            row(
                f"published: {path.name}",
                error_rate([from_pharaoh(line).sure for line in path.read_text().splitlines()], golds),
            )


def main(data: Path, runs: Path, published: Path | None = None) -> None:
    print(machine())
    for pair in GOLDS:
        measure(pair, data, runs, published)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
