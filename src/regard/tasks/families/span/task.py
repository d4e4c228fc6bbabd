"""What tasks with spans do in the same way, for `regard.tasks.running`."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch

from regard.data.corpus import Documents
from regard.data.encoding import tokenize, train_tokenizer
from regard.data.lines import one_line
from regard.data.masking import begins_word
from regard.data.matching import FEATURES
from regard.data.questions import Question
from regard.data.tokenizer import SIGNS, Tokenizer
from regard.files import write_text
from regard.models.span import SpanReader
from regard.tasks.counting import bytes_of, count_tokens
from regard.tasks.families.span import data
from regard.tasks.families.span.data import QuestionSets
from regard.tasks.families.span.evidence import evidence_scores
from regard.tasks.families.span.predictor import Answerer
from regard.tasks.families.span.scores import scores
from regard.tasks.families.span.settings import SpanConfig
from regard.tasks.families.span.trainable import SpanTrainable
from regard.tasks.families.span.windows import Windows
from regard.tasks.fitted.companion import Companion, save_companion
from regard.tasks.fitted.spans import SpanClassifier
from regard.tasks.pretraining import light, masked_tokens, unlabelled
from regard.tasks.results import Score, Scores
from regard.tasks.task import Notify, Task, own_data
from regard.training import checkpoint as checkpoints
from regard.training.defaults import bounded, epochs, known
from regard.training.fingerprint import Fingerprint, check_validation
from regard.training.masked import MaskedTexts

_TOKENIZER = "tokenizer.json"
_BATCHES_PER_EPOCH = 64

Config = TypeVar("Config", bound=SpanConfig)


class SpanTask(Task[Config, QuestionSets, Answerer], Generic[Config]):
    """A task that answers questions by spans of their contexts; see `regard.tasks.task.Task`.

    A task implements `builtin`, `inputs` and `finish_demo`.

    Attributes:
        builtin_questions: what the built-in questions are, for a message.
    """

    unit = "windows"
    builtin_questions: ClassVar[str]

    @abstractmethod
    def builtin(self, config: Config, split: Literal["train", "valid", "test"]) -> Sequence[Question]:
        """The built-in questions, for a run without data of the user."""

    def read(self, config: Config, notify: Notify) -> QuestionSets:
        """The user's questions, or the built-in ones."""
        validation = "the built-in questions have a validation set"
        path = own_data(config.data.train, config.data.valid, self.builtin_questions, validation, notify)
        if path is not None:
            return data.read(path, config.data, config.train.seed, notify)
        return QuestionSets(self.builtin(config, "train"), self.builtin(config, "valid"))

    def fingerprint(self, sets: QuestionSets) -> Fingerprint:
        """See `Task`."""
        return data.fingerprint(sets)

    def defaults(self, config: Config, sets: QuestionSets) -> Mapping[str, object]:
        """Settings by the number of questions and the amount of text."""
        texts = _texts(sets.train)
        size = config.tokenizer.size or bounded(bytes_of(texts) / 100, 300, 8000)
        repeated = sum(len(one.context) + len(one.question) for one in sets.train) / sum(map(len, texts))
        tokens = repeated * count_tokens(texts, kind=config.tokenizer.kind, size=size)
        batch = config.train.tokens or bounded(tokens / _BATCHES_PER_EPOCH, 1024, 8192)
        count = len(sets.train)
        return {
            "tokenizer.size": size,
            "model.dim": 96 if count < 5000 else 128 if count < 20_000 else 192,
            "train.tokens": batch,
            "train.epochs": epochs(600.0 + 12 * math.sqrt(count), tokens / batch),
        }

    def prepare(self, config: Config, sets: QuestionSets, folder: Path, notify: Notify) -> None:
        """Train the tokenizer, and fit the linear model."""
        texts = _texts(sets.train)
        tokenizer = train_tokenizer(texts, config.tokenizer.kind, known(config.tokenizer.size), notify)
        tokenizer.save(folder / _TOKENIZER)
        if config.model.linear:
            linear = SpanClassifier.fit(sets.train)
            save_companion(linear, folder, complete=False)
            notify(linear.describe())

    def finish(self, config: Config, run: Path, sets: QuestionSets, notify: Notify) -> None:
        """Fit the linear model once more, to the questions that were set aside, too, for new questions."""
        if config.model.linear and config.data.train is not None and config.data.valid is None:
            linear = SpanClassifier.fit([*sets.train, *sets.valid])
            save_companion(linear, run, complete=True)
            notify(f"{linear.describe()}, for new questions")

    def untrained(self, config: Config, run: Path) -> Answerer:
        """A new model with random weights, and the tokenizer of a run's folder."""
        tokenizer, settings = Tokenizer.load(run / _TOKENIZER), config.model
        model = SpanReader(
            len(tokenizer), matches=FEATURES if settings.matches else 0, dim=known(settings.dim),
            kind=settings.kind, layers=settings.layers, attention=settings.attention == "both", heads=settings.heads,
            longest=config.data.longest, dropout=settings.dropout, word_dropout=settings.word_dropout,
        )  # fmt: skip
        companion = Companion.load(SpanClassifier, run, settings.linear)
        return Answerer(model, tokenizer, config.data, companion)

    def trainable(self, config: Config, run: Path, sets: QuestionSets, notify: Notify) -> SpanTrainable:
        """See `Task`."""
        torch.manual_seed(config.train.seed)
        answerer = self.untrained(config, run).for_held_out
        train, valid = (Windows(part, answerer.tokenizer, config.data) for part in sets)
        return SpanTrainable(answerer.model, train, valid, config.train, notify, answerer.companion)

    def pretraining(self, config: Config, run: Path, sets: QuestionSets, notify: Notify) -> MaskedTexts:
        """See `Task`; on contexts and questions."""
        texts = unlabelled(config.pretrain, _texts(sets.train), _texts(sets.valid), notify)
        answerer = self.untrained(light(config), run)
        tokenizer, size = answerer.tokenizer, len(answerer.tokenizer)
        tokens = [row[:-1] for row in tokenize(Documents.of(texts), tokenizer)]  # without EOS
        return masked_tokens(
            answerer.model.token_encoder(), tokens, config.pretrain, size=size, special=len(SIGNS),
            begins=begins_word(tokenizer.pieces(range(size))), window=config.data.window, seed=config.train.seed,
            unit="tokens",
        )  # fmt: skip

    def predictor(self, config: Config, run: Path, checkpoint: str) -> Answerer:
        """See `Task`."""
        answerer = self.untrained(config, run)
        checkpoints.fill(answerer.model, run, checkpoint)
        answerer.model.eval()
        return answerer

    def joined(self, predictors: Mapping[Path, Answerer]) -> Answerer:
        """See `Task`: an answerer with the mean of their log-odds."""
        first, *others = predictors.values()
        return replace(first, others=tuple(others))

    def evaluate(
        self,
        answerer: Answerer,
        config: Config,
        run: Path,
        path: str | None,
        notify: Notify,
        *,
        threshold: float | None = None,
        on_bad_line: str | None = None,
        output: Path | None = None,
    ) -> Scores:
        """SQuAD's scores, and for built-in questions the attention on the sentence that decides.

        Raises:
            UserError: the questions cannot be used, or the run's own have changed since training.
        """
        questions = self._questions(config, run, path, on_bad_line, notify)
        answerer = answerer.for_held_out if path is None else answerer
        began = time.perf_counter()
        answers = answerer.answers(questions, threshold=threshold)
        speed = f"{len(questions) / (time.perf_counter() - began):,.0f} questions per second"
        texts = [answer.text for answer in answers]
        if output is not None:
            write_text(output, "".join(f"{one_line(text)}\n" for text in texts))
        result = scores(texts, [one.texts for one in questions])
        if config.model.attention != "none" and any(one.evidence for one in questions):
            result |= evidence_scores(answerer, questions)
        return result | {"questions": Score(float(len(questions)), speed, 0)}

    def samples(self, answerer: Answerer, config: Config, sets: QuestionSets) -> Sequence[str]:
        """A table of questions with their answers."""
        questions = sets.valid[:: max(1, len(sets.valid) // 5)][:5]
        rows = [("question", "answer", "correct"), ("---",) * 3]
        for one, answer in zip(questions, answerer.for_held_out.answers(questions), strict=True):
            rows.append((one.question, answer.text or "(none)", " / ".join(one.texts) or "(none)"))
        return [f"| {' | '.join(one_line(cell).replace('|', '¦') for cell in row)} |" for row in rows]

    def example(self, config: Config) -> str:
        """See `Task`."""
        return '"your question?" --context FILE'

    def _questions(
        self, config: Config, run: Path, path: str | None, on_bad_line: str | None, notify: Notify
    ) -> Sequence[Question]:
        if path is not None:
            reading: Any = {} if on_bad_line is None else {"on_bad_line": on_bad_line}
            return data.read_lines(path, replace(config.data, **reading), notify)
        if config.data.train is None:
            return self.builtin(config, "test")
        sets = self.read(config, notify)
        check_validation(run, data.fingerprint(sets))
        return sets.valid


def _texts(questions: Sequence[Question]) -> Documents:
    """All different contexts and questions."""
    return Documents.of(dict.fromkeys(text for one in questions for text in (one.context, one.question)))
