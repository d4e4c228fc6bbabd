"""A trained model with its tokenizer, which finds the answers to questions in their contexts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from regard.data.lines import compose, is_unicode, read_blocks
from regard.data.matching import FEATURES, LONGEST
from regard.data.questions import Question
from regard.data.tokenizer import PAD, Tokenizer
from regard.errors import UserError
from regard.explain.alignment import Alignment
from regard.models.modules import evaluating
from regard.models.span import SpanReader
from regard.tasks.exporting import Exportable, recurrent, several_models
from regard.tasks.families.span.odds import BestSpans, Odds, mean_odds, mean_threshold
from regard.tasks.families.span.reading import OVERLAPPING, read, with_linear
from regard.tasks.families.span.results import NO_ATTENTION, Answer, Candidate
from regard.tasks.families.span.settings import SpanDataConfig
from regard.tasks.families.span.windows import Windows
from regard.tasks.fitted.companion import Companion
from regard.tasks.fitted.spans import SpanClassifier
from regard.tasks.groups import doubling, groups
from regard.tasks.results import Failure
from regard.tasks.task import Predictor

_TOGETHER = 64
"""The largest number of questions that are read together."""

_LEAST = -100.0
"""The lowest logit of an exported model, so that its logits can be compared."""


@dataclass(frozen=True)
class Answerer(Predictor):
    """A trained model with its tokenizer.

    Attributes:
        model: the model.
        tokenizer: of contexts and questions.
        config: the sizes of windows.
        companion: a linear model that has a share of the log-odds, see `with_linear`; None: there is none.
        others: other trained models. The log-odds are then means over all of them (Lakshminarayanan et al. 2017,
            arXiv:1612.01474); the attention is that of this model.
    """

    model: SpanReader
    tokenizer: Tokenizer
    config: SpanDataConfig
    companion: Companion[SpanClassifier] | None = None
    others: tuple[Answerer, ...] = ()

    @property
    def for_held_out(self) -> Answerer:
        """The same for questions that were set aside for validation."""
        companion = None if self.companion is None else self.companion.for_held_out
        return replace(self, companion=companion, others=tuple(one.for_held_out for one in self.others))

    @property
    def every(self) -> tuple[Answerer, ...]:
        """This model alone, and the others."""
        return replace(self, others=()), *self.others

    @property
    def threshold(self) -> float:
        """The probability of an answer, divided by the sum of it and that of no answer, from which on it is given."""
        every = [float(one.model.threshold) for one in self.every]
        return mean_threshold(every) if self.others else every[0]

    def predict(
        self, inputs: Iterable[str], *, context: Path | None = None, top: int = 1, threshold: float | None = None
    ) -> Iterator[Answer | Failure]:
        """The answer to each question, in order.

        Args:
            inputs: questions; without ``context``, each with a tab and its context after it, or as a JSON object with
                ``question`` and ``context``. An input that cannot be used gives a `Failure`.
            context: a text file that all questions are about.
            top: the number of answers to each, which do not overlap.
            threshold: an answer is given if its probability, divided by the sum of it and that of no answer, is at
                least this; None: the model's.

        Raises:
            UserError: the file cannot be read.
        """
        text = _context(context)
        for group in groups(inputs, doubling(_TOGETHER)):
            questions = [_parsed(item, text) for item in group]
            usable = [one for one in questions if isinstance(one, Question)]
            answers = iter(self.answers(usable, top=top, threshold=threshold))
            yield from (one if isinstance(one, Failure) else next(answers) for one in questions)

    def look(self, item: str, *, context: Path | None = None) -> Answer:
        """The answer to a question, with the attention of its tokens; arguments as of `predict`."""
        question = _parsed(item, _context(context))
        if isinstance(question, Failure):
            raise UserError(question.error)
        (answer,) = self.answers([question])
        return self.aligned(question, answer)

    def answers(self, questions: Sequence[Question], *, top: int = 1, threshold: float | None = None) -> list[Answer]:
        """The answers to questions."""
        least = self.threshold if threshold is None else threshold
        odds = self.odds(questions, top)
        return [_answer(one, of_one.best(top), least) for one, of_one in zip(questions, odds, strict=True)]

    def odds(self, questions: Sequence[Question], top: int = 1) -> list[Odds]:
        """The log-odds of spans of each context, among them the best ``top`` without overlaps."""
        if not self.others:
            return self._own_odds(questions, 1 if top == 1 and self.companion is None else OVERLAPPING * top)
        every = [one._own_odds(questions, OVERLAPPING * top) for one in self.every]
        shares = [1 / len(every)] * len(every)
        return [mean_odds([own.spans for own in of_one], shares) for of_one in zip(*every, strict=True)]

    def aligned(self, question: Question, answer: Answer) -> Answer:
        """The answer with the attention. Raises UserError: the model has none."""
        windows = Windows([question], self.tokenizer, self.config)
        first = (answer.spans[0].start, answer.spans[0].end)
        row = max(windows.rows([0]), key=lambda row: windows.tokens_in(row, first).sum())
        weights = self.weights(windows, row)
        pieces, asked = (tuple(self.tokenizer.pieces(side.tolist())) for side in windows.numbers(row))
        return replace(answer, alignment=Alignment(pieces, asked, weights), inside=windows.tokens_in(row, first))

    def weights(self, windows: Windows, row: int) -> np.ndarray:
        """The weights of the question's tokens over those of a window. Raises UserError: the model has no attention."""
        evaluating(self.model)
        with torch.inference_mode():
            _, weights = self.model.look(*windows.batch([row], self.model.device))
        if weights is None:
            raise UserError(NO_ATTENTION)
        return weights[0].float().cpu().numpy()

    def _own_odds(self, questions: Sequence[Question], most: int) -> list[Odds]:
        """The log-odds by this model alone, with at most ``most`` spans of a window."""
        windows = Windows(questions, self.tokenizer, self.config)
        evaluating(self.model)
        with torch.inference_mode():
            odds = read(self.model, windows, range(len(questions)), most=most).odds
        if self.companion is None:
            return odds
        ranked, contexts = self.companion.model.ranked(questions), [one.context for one in questions]
        return with_linear(odds, ranked, self.companion.share, contexts)

    def exportable(self) -> Exportable:
        """See `regard.tasks.task.Predictor`; without the linear model.

        Raises:
            UserError: the model is recurrent, or these are several models.
        """
        if self.others:
            raise several_models("log-odds")
        if self.model.recurrent:
            raise recurrent("conv")
        vocabulary, features = len(self.tokenizer), FEATURES

        def sample(sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
            batch, width, asked = sizes["batch"], sizes["context_length"], sizes["question_length"]
            lengths = [torch.full((batch,), size) for size in (width, asked)]
            for one in lengths:
                one[1:] = (one[1:] + 1) // 2
            return (
                torch.randint(4, vocabulary, (batch, width)), lengths[0],
                torch.randint(4, vocabulary, (batch, asked)), lengths[1],
                torch.randint(0, features, (batch, width)), torch.randint(0, features, (batch, asked)),
            )  # fmt: skip

        inputs = {
            "context": ("batch", "context_length"), "context_lengths": ("batch",),
            "question": ("batch", "question_length"), "question_lengths": ("batch",),
            "context_matches": ("batch", "context_length"), "question_matches": ("batch", "question_length"),
        }  # fmt: skip
        notes = {
            "task": "answer", "pad": PAD, "tokenizer": "tokenizer.json", "longest": self.model.longest,
            "threshold": float(self.model.threshold),
            "use": "logit 0 is no answer; 1 + i * longest + k is the span from token i of the context to token i + k; "
            f"spans that do not exist have {_LEAST}; a match is the length of the longest part of the text around a "
            f"token's characters that is in the other text, in lower case, at most {LONGEST}, and {LONGEST + 1} more "
            "if they are in a word that the other text has, too",
        }  # fmt: skip
        missing = "" if self.companion is None else self.companion.described
        return Exportable(_Logits(self.model), inputs, sample, notes=notes, missing=missing)


class _Logits(nn.Module):
    """The model with logits that are not far from zero."""

    def __init__(self, model: SpanReader):
        super().__init__()
        self.model = model

    def forward(
        self, context: Tensor, context_lengths: Tensor, question: Tensor, question_lengths: Tensor,
        context_matches: Tensor, question_matches: Tensor,
    ) -> Tensor:  # fmt: skip
        logits: Tensor = self.model(
            context, context_lengths, question, question_lengths, context_matches, question_matches
        )
        return logits.clamp(min=_LEAST)


def _answer(question: Question, best: BestSpans, threshold: float) -> Answer:
    candidates = tuple(
        Candidate(question.context[start:end], start, end, best.probability(odds))
        for (start, end), odds in best.spans
    )  # fmt: skip
    return Answer(question.question, question.context, candidates, best.best_share >= threshold, 1 - best.share)


def _context(path: Path | None) -> str | None:
    """The text of a file. Raises UserError: it cannot be read, or has no text."""
    if path is None:
        return None
    text = compose("".join(read_blocks(path)))
    if not text.strip():
        raise UserError(f"--context: {path} has no text")
    return text


def _parsed(item: str, context: str | None) -> Question | Failure:
    """The question of an input; a Failure if it cannot be used."""
    asked = item
    if context is None:
        if item.lstrip().startswith("{"):
            try:
                content = json.loads(item)
                asked, context = content["question"], content["context"]
            except (ValueError, KeyError, RecursionError) as error:
                return Failure(
                    item, f'question: expected {{"question": …, "context": …}} in JSON, got {item!r} ({error})'
                )
        elif "\t" in item:
            asked, context = item.split("\t", 1)
        else:
            return Failure(
                item, f"question: has no context, got {item!r}; name its file with --context, or write the context "
                'after a tab, or both in JSON as {"question": …, "context": …}',
            )  # fmt: skip
    for name, text in (("question", asked), ("context", context)):
        if not isinstance(text, str) or not text.strip() or not is_unicode(text):
            return Failure(item, f"{name}: expected text, got {text!r}")
    return Question(compose(context), compose(asked.strip()), ())
