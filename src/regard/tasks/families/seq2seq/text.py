"""The predictor of a model from text to text: a model with the tokenizers of both sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from regard.data.lines import check_text
from regard.data.padding import pad
from regard.data.tokenizer import EOS, PAD, Tokenizer
from regard.decode import Hypothesis
from regard.errors import UserError
from regard.explain.alignment import Alignment
from regard.tasks.exporting import Exportable
from regard.tasks.families.seq2seq.data import PairList
from regard.tasks.families.seq2seq.export import USE, exportable
from regard.tasks.families.seq2seq.predictor import PairPredictor, Search
from regard.tasks.families.seq2seq.results import NO_ATTENTION, TextOutput
from regard.tasks.families.seq2seq.rows import Rows, encode
from regard.tasks.results import Failure

Output = TypeVar("Output", bound=TextOutput)

EXTRA = 10
"""An output has at most twice as many tokens as its source, and this many more."""


@dataclass(frozen=True)
class TextPredictor(PairPredictor[list[int], Output]):
    """A trained model with its tokenizers. An empty text has an empty output.

    A task's subclass sets ``task``, the name of the task, and ``output_type``, a subclass of `TextOutput`. A model that
    reads more of a source than its tokens, as one that copies does, overrides `start` and `output`.
    """

    source: Tokenizer
    target: Tokenizer
    task: ClassVar[str]

    def predict(self, inputs: Iterable[str], *, beam: int = 5) -> Iterator[Output | Failure]:
        """The output of each text, in order; a text that is too long for the model gives a `Failure`."""
        return self.decoded(inputs, Search(beam))

    def look(self, item: str, *, target: str | None = None, beam: int = 5) -> Output:
        """The output of a text, or ``target`` if it is given, with the alignment.

        Raises:
            UserError: one of both is empty, or the model has no attention.
        """
        check_text("text", item)
        check_text("--target", target)
        if target is not None:
            given: Output = self.output_type(item, target, 0.0, self.align(item, target))
            return given
        output = next(self.outputs([item], Search(beam)))
        if output.alignment is None:
            raise UserError(NO_ATTENTION)
        return output

    def exportable(self) -> Exportable:
        """See `regard.tasks.task.Predictor`. Raises UserError: the model is recurrent."""
        return exportable(
            self.model, len(self.source), len(self.target), self.task,
            {"tokenizers": ["source.tokenizer.json", "target.tokenizer.json"], "use": USE},
        )  # fmt: skip

    def align(self, text: str, target: str) -> Alignment:
        """The alignment of ``text`` with the output ``target``. Raises UserError: the model has no attention."""
        source, written = self._encode(text), self.target.encode(target.strip()) + [EOS]
        return self._alignment(source, written, self.weights([source], [written])[0])

    def rows(self, pairs: PairList) -> Rows:
        """See `PairPredictor`."""
        return encode(pairs, self.source, self.target)

    def read(self, item: str) -> list[int] | Failure:
        """The tokens of a text, with EOS; a Failure if it is too long for the model."""
        tokens, longest = self._encode(item), self.model.longest
        if longest is None or len(tokens) <= longest:
            return tokens
        return Failure(
            item,
            f"text: has {len(tokens):,} tokens, and this run has learned positions for at most {longest:,}; "
            "split the text, or train with a larger --data.max-length",
        )

    def start(self, sources: list[list[int]]) -> Any:
        """See `Seq2SeqPredictor`."""
        return self.model.start(*pad(sources, PAD, self.model.device))

    def limit(self, sources: list[list[int]]) -> int:
        """See `Seq2SeqPredictor`."""
        longest = 2 * max(map(len, sources)) + EXTRA
        return longest if self.model.longest is None else min(longest, self.model.longest)

    def output(self, item: str, source: list[int], hypothesis: Hypothesis) -> Output:
        """See `Seq2SeqPredictor`."""
        text, score, alignment = "", 0.0, None
        if item.strip():
            text, score = self.target.decode(hypothesis.tokens), hypothesis.score
            if hypothesis.weights is not None:
                written = hypothesis.tokens + [EOS] * hypothesis.finished
                alignment = self._alignment(source, written, hypothesis.weights[:, : len(source)].cpu().numpy())
        output: Output = self.output_type(item, text, score, alignment)
        return output

    def _encode(self, text: str) -> list[int]:
        return self.source.encode(text.strip()) + [EOS]

    def _alignment(self, source: list[int], target: list[int], weights: np.ndarray) -> Alignment:
        return Alignment(tuple(self.source.pieces(source)), tuple(self.target.pieces(target)), weights)
