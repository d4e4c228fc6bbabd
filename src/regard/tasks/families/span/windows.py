"""Questions as tokens: long contexts are divided into windows that overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from regard.data.matching import match_features
from regard.data.padding import pad
from regard.data.questions import Question, Span
from regard.data.tokenizer import PAD, Tokenizer
from regard.tasks.families.span.settings import SpanDataConfig

_ENCODED = 1000
"""The number of texts that are encoded in one call, during which Ctrl-C waits."""


class Encoded(NamedTuple):
    """A text as tokens: their numbers, and where each starts and ends in the text, int32 ``(n,)``."""

    tokens: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


class Windows:
    """Questions as windows of tokens.

    Args:
        questions: the questions.
        tokenizer: of contexts and questions.
        config: the sizes.

    Attributes:
        questions: as above.
        first: int64 ``(questions + 1,)``: the windows of question i are ``first[i]`` to ``first[i + 1] - 1``.
        owner: int64 ``(windows,)``: the question of each window.
        bounds: int64 ``(windows, 2)``: its first and its last token in the context, the last one not included.
        lengths: int64 ``(windows, 2)``: the number of context and question tokens of each.
        usable: bool ``(windows,)``: False for windows that have a part of an answer, or one that is too long, but no
            complete one; nothing can be learned from them.
    """

    def __init__(self, questions: Sequence[Question], tokenizer: Tokenizer, config: SpanDataConfig):
        self.questions, self.config = questions, config
        self._contexts = _encode([one.context for one in questions], tokenizer)
        self._asked = _encode([one.question for one in questions], tokenizer)
        bounds = [divide(len(self._contexts[one.context].tokens), config) for one in questions]
        counts = [len(of_one) for of_one in bounds]
        self.first = np.cumsum([0, *counts])
        self.owner = np.repeat(np.arange(len(questions)), counts)
        self.bounds = np.array([pair for of_one in bounds for pair in of_one], dtype=np.int64).reshape(-1, 2)
        self.usable = np.ones(len(self.bounds), dtype=bool)
        asked = np.array([len(self._question(one).tokens) for one in questions], dtype=np.int64)
        self.lengths = np.stack([self.bounds[:, 1] - self.bounds[:, 0], asked[self.owner]], 1)
        self._features: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._golds: dict[int, list[Span]] = {}
        self._place_answers()

    def __len__(self) -> int:
        return len(self.bounds)

    def rows(self, questions: Sequence[int]) -> list[int]:
        """The windows of these questions."""
        return [row for one in questions for row in range(self.first[one], self.first[one + 1])]

    def batch(self, rows: Sequence[int], device: torch.device) -> tuple[Tensor, ...]:
        """The tensors that `regard.models.span.SpanReader` takes for these windows."""
        contexts, asked = zip(*(self.numbers(row) for row in rows), strict=True)
        ours, theirs = zip(*(self._matches(row) for row in rows), strict=True)
        made = (*pad(contexts, PAD), *pad(asked, PAD), pad(ours, 0)[0], pad(theirs, 0)[0])
        return tuple(tensor.to(device) for tensor in made)

    def targets(self, rows: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
        """The places of the correct logits of each window, int64 ``(B, n)``, and which of them are not padding."""
        longest = self.config.longest
        places = [[1 + at * longest + more for at, more in self._golds.get(row, ())] or [0] for row in rows]
        index, counts = pad(places, 0, device)
        return index, torch.arange(index.shape[1], device=device) < counts[:, None]

    def span(self, row: int, place: int) -> Span:
        """Where the span of a logit is in the context, in characters, without white space at its ends."""
        at, more = divmod(place - 1, self.config.longest)
        context, text = self._window(row), self.questions[self.owner[row]].context
        start, end = int(context.starts[at]), int(context.ends[min(at + more, len(context.ends) - 1)])
        part = text[start:end]
        if not part.strip():
            return start, end
        return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())

    def tokens_in(self, row: int, span: Span) -> np.ndarray:
        """Which tokens of a window have a part of a span of characters, bool ``(n,)``."""
        context = self._window(row)
        inside: np.ndarray = (context.ends > span[0]) & (context.starts < span[1])
        return inside

    def covers(self, row: int, span: Span) -> bool:
        """Whether a window has all of a span of characters."""
        context = self._window(row)
        return bool(context.starts[0] <= span[0] and span[1] <= context.ends[-1])

    def numbers(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of a window and of its question."""
        return self._window(row).tokens, self._question(self.questions[self.owner[row]]).tokens

    def _question(self, question: Question) -> Encoded:
        return Encoded(*(part[: self.config.max_question] for part in self._asked[question.question]))

    def _window(self, row: int) -> Encoded:
        start, end = self.bounds[row]
        return Encoded(*(part[start:end] for part in self._contexts[self.questions[self.owner[row]].context]))

    def _matches(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """The match feature of each token of a window and of its question."""
        if row not in self._features:
            question = self.questions[self.owner[row]]
            context, asked = self._window(row), self._question(question)
            text = question.context[context.starts[0] : context.ends[-1]]
            ours, theirs = match_features(text, question.question[asked.starts[0] : asked.ends[-1]])
            self._features[row] = _by_token(ours, context), _by_token(theirs, asked)
        return self._features[row]

    def _place_answers(self) -> None:
        for row, owner in enumerate(self.owner.tolist()):
            context = self._window(row)
            for start, end in self.questions[owner].answers:
                first = int(np.searchsorted(context.ends, start, side="right"))
                last = int(np.searchsorted(context.starts, end, side="left")) - 1
                if last < first:
                    continue  # it is in another window
                complete = context.starts[first] <= start and context.ends[last] >= end
                if complete and last - first < self.config.longest:
                    self._golds.setdefault(row, []).append((first, last - first))
                else:
                    self.usable[row] = False
        self.usable[list(self._golds)] = True


def divide(count: int, config: SpanDataConfig) -> list[tuple[int, int]]:
    """The windows of a context of ``count`` tokens: the first token of each, and its end.

    >>> divide(10, SpanDataConfig(window=6, overlap=2))
    [(0, 6), (4, 10)]
    """
    step = config.window - config.overlap
    starts = range(0, max(1, count - config.overlap), step)
    return [(start, min(count, start + config.window)) for start in starts]


def _encode(texts: Sequence[str], tokenizer: Tokenizer) -> dict[str, Encoded]:
    """The tokens of each different text."""
    different = list(dict.fromkeys(texts))
    encoded = {}
    for at in range(0, len(different), _ENCODED):
        part = different[at : at + _ENCODED]
        for text, (tokens, places) in zip(part, tokenizer.encode_places(part), strict=True):
            starts, ends = np.array(places, dtype=np.int32).reshape(-1, 2).T
            encoded[text] = Encoded(np.array(tokens, dtype=np.int32), starts, ends)
    return encoded


def _by_token(features: np.ndarray, text: Encoded) -> np.ndarray:
    """The largest of the features of each token's characters; that of a character in several tokens counts for each."""
    starts = np.minimum(text.starts - text.starts[0], len(features) - 1)
    return np.maximum.reduceat(features, starts).astype(np.uint8)
