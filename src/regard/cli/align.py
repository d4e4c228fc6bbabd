"""``regard align``: links between the words of texts and their translations."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App

from regard.cli.options import Checkpoint
from regard.errors import UserError

if TYPE_CHECKING:
    from regard.explain.links import Gold


def add_command(app: App) -> None:
    """Add ``regard align``."""
    app.command(_align, name="align")


def _align(
    run: Path,
    pairs: Path | None = None,
    /,
    *,
    layer: int | None = None,
    head: int | None = None,
    next_step: bool = False,
    norms: bool = False,
    other: Path | None = None,
    combine: Literal["union", "intersection", "grow-diag", "grow-diag-final-and"] = "grow-diag",
    gold: Path | None = None,
    first: Literal[0, 1] = 1,
    checkpoint: Checkpoint = "best",
) -> None:
    """Link the words of texts and their translations by a translation model's attention.

    Each line of the input is a text, a tab and its translation. Each line of the output has their links in Pharaoh's
    format, such as `0-0 1-2`: the numbers of a source word and a target word, from 0. Words are what stands between
    spaces. Each target word is linked to the source word with the largest weight.

    With `--gold`, the alignment error rate is printed on standard error: Och and Ney 2003, over the links of all lines.

    Example: `regard align runs/de-en pairs.tsv --next-step > links.txt`

    Args:
        run: Folder of a trained run of translate.
        pairs: File of pairs, plain or .gz/.xz; by default standard input.
        layer: Decoder layer of a Transformer, from 0; by default the last but one.
        head: Head of the layer, from 0; by default the mean over all.
        next_step: Read the weights one step later, when a word is the decoder's input, not its output.
        norms: Take the norms of the weighted vectors (Kobayashi et al. 2020) in place of a Transformer's weights.
        other: Run of the other direction. The links of both are combined.
        combine: How: grow-diag begins with the links of both and adds neighbours that give a link to a word without.
        gold: File of links drawn by people, a line for each pair: 1-2 is sure, 1p2 or 1?2 possible.
        first: Number of a text's first word in the file of --gold.
        checkpoint: Checkpoint to use: the one with the best validation metric, or the last one.
    """
    from regard.explain.links import error_rate, to_pharaoh
    from regard.tasks.families.seq2seq.aligning import Aligner, linked
    from regard.tasks.running import load

    def aligner(folder: Path) -> Aligner:
        predictor: Any = load(folder, checkpoint, "translate")
        return Aligner(predictor, layer, head, next_step, norms)

    golds = None if gold is None else _golds(gold, first)
    hypotheses = []
    for links in linked(_pairs(pairs), aligner(run), None if other is None else aligner(other), combine):
        print(to_pharaoh(links), flush=True)
        if golds is not None:
            hypotheses.append(links)
    if golds is None:
        return
    if len(golds) != len(hypotheses):
        raise UserError(f"{gold}: has {len(golds):,} lines, and there are {len(hypotheses):,} pairs")
    error, precision, recall = error_rate(hypotheses, golds)
    print(
        f"alignment error rate {100 * error:.1f} %, precision {100 * precision:.1f} % by possible links, recall "
        f"{100 * recall:.1f} % of sure ones",
        file=sys.stderr,
    )


def _pairs(path: Path | None) -> Iterator[tuple[str, str]]:
    """The pairs of a file or of standard input. Raises UserError: a line is not a text, a tab and a text."""
    from regard.data.lines import iterate_text_lines

    for number, line in enumerate(iterate_text_lines(path), 1):
        sides = line.split("\t")
        if len(sides) != 2:
            where = "standard input" if path is None else path
            raise UserError(
                f"{where}, line {number:,}: expected a text, a tab and its translation, got {len(sides) - 1} tabs"
            )
        yield sides[0], sides[1]


def _golds(path: Path, first: int) -> list[Gold]:
    """The links of each line of a file. Raises UserError: a line cannot be read."""
    from regard.data.lines import iterate_text_lines
    from regard.explain.links import from_pharaoh

    lines = enumerate(iterate_text_lines(path), 1)
    return [from_pharaoh(line, first=first, where=f"{path}, line {number:,}") for number, line in lines]
