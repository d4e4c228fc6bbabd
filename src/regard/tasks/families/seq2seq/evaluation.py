"""Decodes evaluation texts, writes and times the outputs, and computes the scores that do not depend on the task."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from regard.data.lines import one_line
from regard.files import write_text
from regard.tasks.families.seq2seq.data import PairList
from regard.tasks.families.seq2seq.predictor import PairPredictor, Search
from regard.tasks.families.seq2seq.trainable import mean_loss
from regard.tasks.results import Score, Scores


def outputs(
    predictor: PairPredictor[Any, Any],
    pairs: PairList,
    search: Search,
    *,
    path: Path | None,
    unit: str,
    each: Callable[[Any], None] = lambda output: None,
) -> tuple[list[str], Scores]:
    """The outputs for the sources of ``pairs``, and ``loss`` and speed as scores.

    Args:
        predictor: the model.
        pairs: sources and references.
        search: how the outputs are searched for.
        path: a file to which the outputs are written, one per line.
        unit: what a source is, in the plural; the name of the score with the speed.
        each: is called with each output.

    Raises:
        UserError: a source is too long for the model, or the file cannot be written.
    """
    began = time.perf_counter()
    texts = []
    for output in predictor.outputs([source for source, _ in pairs], search):
        each(output)
        texts.append(output.text)
    speed = f"beam {search.beam}, {len(pairs) / (time.perf_counter() - began):,.0f} {unit} per second"
    if path is not None:
        write_lines(texts, path)
    loss = mean_loss(predictor.model, predictor.rows(pairs))
    return texts, {
        "loss": Score(loss, "cross-entropy in nats per target token, EOS included", 4),
        unit: Score(float(len(pairs)), speed, 0),
    }


def write_lines(texts: Sequence[str], path: Path) -> None:
    """Write texts, one per line; line breaks within a text become spaces. Raises UserError: it cannot be written."""
    write_text(path, "".join(f"{one_line(text)}\n" for text in texts))
