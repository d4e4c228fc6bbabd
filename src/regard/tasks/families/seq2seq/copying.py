"""The predictor of a model that writes and copies words, and its outputs with the origin of each word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from rich.console import Console

from regard.data.encoding import Tokens
from regard.data.lines import check_text, one_line
from regard.data.padding import pad
from regard.data.progress import counted
from regard.data.similar import Neighbour
from regard.data.tokenizer import BOS, EOS, PAD, UNK
from regard.data.words import NAMES, SHORT, Vocabulary, pieces, unknown
from regard.data.words import join as join_words
from regard.decode import Hypothesis
from regard.errors import UserError
from regard.explain import terminal
from regard.explain.alignment import Alignment
from regard.explain.copied import Origin, copied_from, narrowed, origins, render_origins
from regard.explain.draw import save_picture
from regard.explain.save import save
from regard.models.pointer import PointerRNN, PointerTransformer
from regard.tasks.exporting import Exportable
from regard.tasks.families.seq2seq.copying_settings import LENGTH_PENALTY
from regard.tasks.families.seq2seq.data import PairList
from regard.tasks.families.seq2seq.export import exportable
from regard.tasks.families.seq2seq.lengths import first_token
from regard.tasks.families.seq2seq.predictor import PairPredictor, Search, Tick
from regard.tasks.families.seq2seq.results import NO_ATTENTION, TextOutput
from regard.tasks.families.seq2seq.retrieval import Retriever
from regard.tasks.families.seq2seq.rows import Rows
from regard.tasks.results import Score, Scores
from regard.viewer.document import Document

Output = TypeVar("Output", bound="CopiedOutput")

_COLUMNS = 40
"""The largest number of source words of an image."""


@dataclass(frozen=True)
class Article:
    """A source.

    Attributes:
        numbers: of its words, EOS last.
        extra: its words that are not in the vocabulary, by their numbers.
        similar: the training pairs whose targets were read before it.
    """

    numbers: list[int]
    extra: dict[int, str]
    similar: tuple[Neighbour, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class Copied(Hypothesis):
    """A decoded sequence with the part of each token's probability that is from copying, EOS last."""

    shares: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class CopiedOutput(TextOutput):
    """An output of a model that copies: see `TextOutput`.

    Attributes:
        shares: for each piece of the alignment's target, the part of its probability that is from copying; None for a
            model that cannot copy.
        similar: the training pairs whose targets were read before the source.
    """

    shares: np.ndarray | None = None
    similar: tuple[Neighbour, ...] = ()

    def show(self, console: Console) -> None:
        """Print the input, the output, and the origin of each of its words."""
        if self.alignment is None or self.shares is None:
            return super().show(console)
        for text in (self.source, self.text):
            console.print(terminal.isolated(text), style="bold", highlight=False, markup=False)
        for one in self.similar:
            line = f"similar {one.similarity:.2f}: {one_line(one.target)}"
            console.print(terminal.isolated(line), style="dim", highlight=False, markup=False)
        console.print(render_origins(self.alignment, self.shares, console.width))
        return None

    def save(self, path: str | Path) -> None:
        """Draw the alignment: a page if the path ends in .html, otherwise an image of the source words that matter."""
        save(path, self.document, lambda image: save_picture(narrowed(self.aligned.words(), _COLUMNS), image))

    def document(self) -> Document:
        """As `TextOutput.document`, and the probability that each word was copied from each place of the source."""
        layers = {"attention": self.aligned.weights}
        if self.shares is None:
            return self.aligned.document(self.text, layers)
        note = "copied is the probability that a word was copied from each place; what is missing to 1 was written."
        return self.aligned.document(self.text, {**layers, "copied": copied_from(self.aligned, self.shares)}, [note])

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """As `TextOutput.to_dict`, with each word's origin: the part of its probability from copying, and the number
        of the source word, from 0; and the targets that were read before the source."""
        result = super().to_dict(attention=attention)
        if self.similar:
            result["similar"] = [{"text": one.target, "similarity": round(one.similarity, 4)} for one in self.similar]
        if self.shares is not None:
            result["words"] = [
                {"word": one.word, "copied": round(one.share, 4), "from": one.place} for one in self.origins()
            ]
        return result

    def origins(self) -> list[Origin]:
        """The origin of each word; none for a model that cannot copy."""
        return [] if self.alignment is None or self.shares is None else origins(self.alignment, self.shares)


class CopiedShare:
    """The share of copying in the probability of the words of outputs: the mean of those that are given to `add`."""

    def __init__(self) -> None:
        self._total, self._words = 0.0, 0

    def add(self, output: CopiedOutput) -> None:
        """Count the words of an output."""
        words = output.origins()
        self._total, self._words = self._total + sum(one.share for one in words), self._words + len(words)

    def scores(self) -> Scores:
        """The share as a score; none for a model that cannot copy."""
        if not self._words:
            return {}
        return {"copied": Score(100 * self._total / self._words, "per cent of the words' probability, by copying")}


@dataclass(frozen=True)
class CopyPredictor(PairPredictor[Article, Output]):
    """A trained model with its vocabulary, which writes and copies words. An empty text has an empty output.

    A task's subclass sets ``task``, the name of the task, and ``output_type``, a subclass of `CopiedOutput`.

    Attributes:
        vocabulary: the words that the model can write.
        max_length: the number of words of a source that are read.
        max_target: the largest number of words of an output.
        retriever: looks up what is read before a source; None: nothing is.
    """

    vocabulary: Vocabulary
    max_length: int
    max_target: int
    retriever: Retriever | None = None
    task: ClassVar[str]
    excluded: ClassVar[Sequence[int]] = (PAD, BOS, UNK, *range(SHORT, len(NAMES)))

    @property
    def copies(self) -> bool:
        """Whether the model can copy."""
        return isinstance(self.model, PointerRNN | PointerTransformer)

    def predict(
        self,
        inputs: Iterable[str],
        *,
        beam: int = 5,
        length: str | None = None,
        length_penalty: float = LENGTH_PENALTY,
        no_repeat: bool = True,
    ) -> Iterator[Any]:
        """The output for each text, in order."""
        return self.decoded(inputs, search(beam, length, length_penalty, no_repeat))

    def look(
        self,
        item: str,
        *,
        target: str | None = None,
        beam: int = 5,
        length: str | None = None,
        length_penalty: float = LENGTH_PENALTY,
        no_repeat: bool = True,
    ) -> Output:
        """The output for a text, or ``target`` if it is given, with the origin of each word."""
        check_text("text", item)
        check_text("--target", target)
        article = self.read(item)
        if target is None:
            output = next(self.outputs([item], search(beam, length, length_penalty, no_repeat)))
            if output.alignment is None:
                raise UserError(NO_ATTENTION)
            return output
        tokens = self.vocabulary.target(target, article.extra if self.copies else {})
        weights, shares = self.origins([article], [tokens])[0]
        alignment = self._alignment(article, tokens, weights)
        given: Output = self.output_type(item, target, 0.0, alignment, shares, article.similar)
        return given

    def exportable(self) -> Exportable:
        """See `regard.tasks.task.Predictor`. Raises UserError: the model is recurrent."""
        use = "a source ends with the token end, a target begins with the token start; words outside of the vocabulary "
        if self.copies:
            use += (
                "have the numbers of regard.data.words.Vocabulary.source; log-probabilities of each next token: the "
                "first ones that each word of the vocabulary is written, the others that the word at each place of the "
                "source is copied"
            )
        else:
            use += "are the token 3"
        if self.retriever is not None:
            use += "; the source begins with the targets of similar training pairs, each with a token <similar-1> to "
            use += "<similar-4> after it"
        size = len(self.vocabulary)
        return exportable(self.model, size, size, self.task, {"vocabulary": "vocabulary.json", "use": use})

    def rows(self, pairs: PairList) -> Rows:
        """See `PairPredictor`."""
        known = unknown(len(self.vocabulary))
        sources, targets = [], []
        with counted("reading pairs") as count:
            for text, short in pairs:
                article = self.read(text)
                sources.append(article.numbers if self.copies else known(article.numbers))
                targets.append(self.vocabulary.target(short, article.extra if self.copies else {}))
                count()
        return Rows(_flat(sources), _flat(targets))

    def read(self, item: str) -> Article:
        """The words of a text, as many as the model reads, after the targets of similar training pairs."""
        if self.retriever is None:
            return Article(*self.vocabulary.source(item, self.max_length))
        similar = self.retriever.nearest(item)
        return Article(*self.vocabulary.source(item, self.max_length, self.retriever.words(similar)), tuple(similar))

    def start(self, sources: list[Article]) -> Any:
        """See `regard.tasks.families.seq2seq.predictor.Seq2SeqPredictor`."""
        return self.model.start(*self._tensors(sources))

    def limit(self, sources: list[Article]) -> int:
        """See `regard.tasks.families.seq2seq.predictor.Seq2SeqPredictor`."""
        return self.max_target + 1

    def decode(self, sources: list[Article], search: Search, tick: Tick) -> list[Hypothesis]:
        """The best output for each source, with what was copied."""
        hypotheses = super().decode(sources, search, tick)
        if not self.copies:
            return hypotheses
        tokens = [one.tokens + [EOS] * one.finished for one in hypotheses]
        return [
            Copied(one.tokens, one.score, one.rank, one.finished, torch.from_numpy(weights), shares)
            for one, (weights, shares) in zip(hypotheses, self.origins(sources, tokens, search.first), strict=True)
        ]

    def origins(
        self, sources: list[Article], targets: Sequence[list[int]], first: int = BOS
    ) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """The attention of each target's tokens, ``(tokens, source length)``, and their parts of copying.

        Raises:
            UserError: the model has no attention.
        """
        model = self.model
        if not isinstance(model, PointerRNN | PointerTransformer):
            return [(weights, None) for weights in self.weights(sources, targets, first)]
        target, lengths = pad([[first, *tokens] for tokens in targets], PAD, model.device)
        with torch.inference_mode():
            model.eval()
            weights, shares = (part.cpu().numpy() for part in model.copying(*self._tensors(sources), target))
        ends = [(length - 1, len(one)) for length, one in zip(lengths.tolist(), sources, strict=True)]
        return [(weights[at, :rows, :columns], shares[at, :rows]) for at, (rows, columns) in enumerate(ends)]

    def output(self, item: str, source: Article, hypothesis: Hypothesis) -> Output:
        """See `regard.tasks.families.seq2seq.predictor.Seq2SeqPredictor`."""
        text, score, alignment = "", 0.0, None
        if item.strip():
            text, score = join_words(self.vocabulary.words(hypothesis.tokens, source.extra)), hypothesis.score
            if hypothesis.weights is not None:
                tokens = hypothesis.tokens + [EOS] * hypothesis.finished
                alignment = self._alignment(source, tokens, hypothesis.weights[:, : len(source)].cpu().numpy())
        shares = None if alignment is None else getattr(hypothesis, "shares", None)
        output: Output = self.output_type(item, text, score, alignment, shares, source.similar)
        return output

    def _tensors(self, sources: list[Article]) -> tuple[torch.Tensor, torch.Tensor]:
        known = list if self.copies else unknown(len(self.vocabulary))
        return pad([known(one.numbers) for one in sources], PAD, self.model.device)

    def _alignment(self, source: Article, tokens: list[int], weights: np.ndarray) -> Alignment:
        sides = (self.vocabulary.words(numbers, source.extra) for numbers in (source.numbers, tokens))
        one, other = (tuple(pieces(words)) for words in sides)
        return Alignment(one, other, weights)


def search(
    beam: int, length: str | None = None, length_penalty: float = LENGTH_PENALTY, no_repeat: bool = True
) -> Search:
    """How an output is searched for."""
    return Search(beam, length_penalty, unrepeated=3 if no_repeat else 0, first=first_token(length))


def _flat(rows: list[list[int]]) -> Tokens:
    return Tokens.of(
        np.fromiter((number for row in rows for number in row), np.uint32), np.cumsum([len(row) for row in rows])
    )
