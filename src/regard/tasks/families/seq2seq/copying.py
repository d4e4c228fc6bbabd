"""The predictor of a model that writes and copies words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from regard.data.encoding import Tokens
from regard.data.lines import check_text
from regard.data.padding import pad
from regard.data.progress import counted
from regard.data.similar import Neighbour
from regard.data.tokenizer import BOS, EOS, PAD, UNK
from regard.data.words import NAMES, SHORT, Vocabulary, pieces, unknown
from regard.data.words import join as join_words
from regard.decode import Hypothesis
from regard.errors import UserError
from regard.explain.alignment import Alignment
from regard.models.pointer import PointerRNN, PointerTransformer
from regard.tasks.exporting import Exportable
from regard.tasks.families.seq2seq.consensus import agreed
from regard.tasks.families.seq2seq.copied_output import Copied, CopiedOutput
from regard.tasks.families.seq2seq.copying_settings import LENGTH_PENALTY
from regard.tasks.families.seq2seq.data import PairList
from regard.tasks.families.seq2seq.export import exportable
from regard.tasks.families.seq2seq.lengths import first_token
from regard.tasks.families.seq2seq.predictor import PairPredictor, Search, Tick
from regard.tasks.families.seq2seq.results import NO_ATTENTION
from regard.tasks.families.seq2seq.retrieval import Retriever
from regard.tasks.families.seq2seq.rows import Rows

Output = TypeVar("Output", bound="CopiedOutput")


@dataclass(frozen=True)
class Article:
    """A source.

    Attributes:
        text: as the user wrote it.
        numbers: of its words, EOS last.
        extra: its words that are not in the vocabulary, by their numbers.
        similar: the training pairs whose targets were read before it.
    """

    text: str
    numbers: list[int]
    extra: dict[int, str]
    similar: tuple[Neighbour, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)


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
        samples: int = 0,
        lead_below: float = 0.0,
    ) -> Iterator[Any]:
        """The output for each text, in order."""
        return self.decoded(inputs, search(beam, length, length_penalty, no_repeat, samples, lead_below))

    def look(
        self,
        item: str,
        *,
        target: str | None = None,
        beam: int = 5,
        length: str | None = None,
        length_penalty: float = LENGTH_PENALTY,
        no_repeat: bool = True,
        samples: int = 0,
        lead_below: float = 0.0,
    ) -> Output:
        """The output for a text, or ``target`` if it is given, with the origin of each word."""
        check_text("text", item)
        check_text("--target", target)
        article = self.read(item)
        if target is None:
            wanted = search(beam, length, length_penalty, no_repeat, samples, lead_below)
            output = next(self.outputs([item], wanted))
            if output.alignment is None:
                raise UserError(NO_ATTENTION)
            return output
        tokens = self.target(article, target)
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
            use += "; the source begins with the targets of similar training pairs, each with a token <far> to "
            use += "<closest> after it"
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
                targets.append(self.target(article, short))
                count()
        return Rows(_flat(sources), _flat(targets))

    def read(self, item: str) -> Article:
        """The words of a text, as many as the model reads, after the targets of similar training pairs."""
        if self.retriever is None:
            return Article(item, *self.vocabulary.source(item, self.max_length))
        similar = self.retriever.nearest(item)
        numbers, extra = self.vocabulary.source(item, self.max_length, self.retriever.words(similar))
        return Article(item, numbers, extra, tuple(similar))

    def target(self, article: Article, text: str) -> list[int]:
        """The tokens of an output for a text; words that the model can neither write nor copy are unknown."""
        return self.vocabulary.target(text, article.extra if self.copies else {})

    def start(self, sources: list[Article]) -> Any:
        """See `regard.tasks.families.seq2seq.predictor.Seq2SeqPredictor`."""
        return self.model.start(*self._tensors(sources))

    def limit(self, sources: list[Article]) -> int:
        """See `regard.tasks.families.seq2seq.predictor.Seq2SeqPredictor`."""
        return self.max_target + 1

    def decode(self, sources: list[Article], search: Search, tick: Tick) -> list[Hypothesis]:
        """The best output for each source, with what was copied."""
        hypotheses = super().decode(sources, search, tick)
        if search.samples:
            hypotheses = [
                agreed(self, source, one, search, tick) for source, one in zip(sources, hypotheses, strict=True)
            ]
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
    beam: int,
    length: str | None = None,
    length_penalty: float = LENGTH_PENALTY,
    no_repeat: bool = True,
    samples: int = 0,
    lead_below: float = 0.0,
) -> Search:
    """How an output is searched for; see `regard.tasks.families.seq2seq.copying_settings.CopySearchOptions`."""
    return Search(beam, length_penalty, 3 if no_repeat else 0, first_token(length), samples, lead_below)


def _flat(rows: list[list[int]]) -> Tokens:
    return Tokens.of(
        np.fromiter((number for row in rows for number in row), np.uint32), np.cumsum([len(row) for row in rows])
    )
