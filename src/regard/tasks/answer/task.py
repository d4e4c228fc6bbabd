"""Question answering: how `regard.tasks.running` trains, scores and shows it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from regard.data import facts
from regard.data.corpus import Documents
from regard.data.encoding import train_tokenizer
from regard.data.lines import one_line
from regard.data.matching import LONGEST
from regard.data.questions import Question, QuestionColumns
from regard.data.tokenizer import Tokenizer
from regard.files import write_text
from regard.models.span import SpanReader
from regard.tasks.answer.settings import AnswerConfig
from regard.tasks.counting import bytes_of, count_tokens
from regard.tasks.families.span import data
from regard.tasks.families.span.data import QuestionSets
from regard.tasks.families.span.predictor import Answerer
from regard.tasks.families.span.scores import scores
from regard.tasks.families.span.trainable import SpanTrainable
from regard.tasks.families.span.windows import Windows
from regard.tasks.results import Score, Scores
from regard.tasks.task import Notify, Task, own_data
from regard.training import checkpoint as checkpoints
from regard.training.defaults import bounded, epochs, known
from regard.training.fingerprint import Fingerprint, check_validation

_TOKENIZER = "tokenizer.json"
_BATCHES_PER_EPOCH = 64
_HELD_OUT = 0.1
_MOST_HELD_OUT = 500
"""The numbers of built-in questions for validation and for testing: this share of the training questions, at most."""


class AnswerQuestions(Task[AnswerConfig, QuestionSets, Answerer]):
    """See `regard.tasks.task.Task`."""

    unit = "windows"

    def read(self, config: AnswerConfig, notify: Notify) -> QuestionSets:
        """The user's questions, or the built-in ones."""
        settings, seed = config.data, config.train.seed
        described = "the built-in questions about territories, made from the Unicode CLDR"
        path = own_data(
            settings.train, settings.valid, described, "the built-in questions have a validation set", notify
        )
        if path is not None:
            return data.read(path, settings, _columns(config), seed, notify)
        train = facts.questions(settings.builtin_questions, seed=seed, split="train")
        return QuestionSets(train, _held_out(config, "valid"))

    def fingerprint(self, sets: QuestionSets) -> Fingerprint:
        """See `Task`."""
        return data.fingerprint(sets)

    def defaults(self, config: AnswerConfig, sets: QuestionSets) -> Mapping[str, object]:
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

    def prepare(self, config: AnswerConfig, sets: QuestionSets, folder: Path, notify: Notify) -> None:
        """Train the tokenizer."""
        texts = _texts(sets.train)
        tokenizer = train_tokenizer(texts, config.tokenizer.kind, known(config.tokenizer.size), notify)
        tokenizer.save(folder / _TOKENIZER)

    def untrained(self, config: AnswerConfig, run: Path) -> Answerer:
        """A new model with random weights, and the tokenizer of a run's folder."""
        tokenizer, settings = Tokenizer.load(run / _TOKENIZER), config.model
        model = SpanReader(
            len(tokenizer), matches=LONGEST + 1 if settings.matches else 0, dim=known(settings.dim),
            kind=settings.kind, layers=settings.layers, attention=settings.attention == "both", heads=settings.heads,
            longest=config.data.max_answer, dropout=settings.dropout,
        )  # fmt: skip
        return Answerer(model, tokenizer, config.data)

    def trainable(self, config: AnswerConfig, run: Path, sets: QuestionSets, notify: Notify) -> SpanTrainable:
        """See `Task`."""
        torch.manual_seed(config.train.seed)
        answerer = self.untrained(config, run)
        train, valid = (Windows(part, answerer.tokenizer, config.data) for part in sets)
        return SpanTrainable(answerer.model, train, valid, config.train, notify)

    def predictor(self, config: AnswerConfig, run: Path, checkpoint: str) -> Answerer:
        """See `Task`."""
        answerer = self.untrained(config, run)
        checkpoints.fill(answerer.model, run, checkpoint)
        answerer.model.eval()
        return answerer

    def evaluate(
        self,
        answerer: Answerer,
        config: AnswerConfig,
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

    def samples(self, answerer: Answerer, config: AnswerConfig, sets: QuestionSets) -> Sequence[str]:
        """A table of questions with their answers."""
        questions = sets.valid[:: max(1, len(sets.valid) // 5)][:5]
        rows = [("question", "answer", "correct"), ("---",) * 3]
        for one, answer in zip(questions, answerer.answers(questions), strict=True):
            rows.append((one.question, answer.text or "(none)", " / ".join(one.texts) or "(none)"))
        return [f"| {' | '.join(one_line(cell).replace('|', '¦') for cell in row)} |" for row in rows]

    def example(self, config: AnswerConfig) -> str:
        """See `Task`."""
        return '"your question?" --context FILE'

    def inputs(self, config: AnswerConfig, folder: Path) -> list[str]:
        """Three questions of the test split with their contexts."""
        return [f"{one.question}\t{one.context}" for one in facts.examples()]

    def finish_demo(self, answerer: Answerer, config: AnswerConfig, run: Path, console: Console) -> str:
        """Answer three questions of the test split, and draw the attention of the first."""
        examples = facts.examples()
        for one, answer in zip(examples, answerer.answers(examples), strict=True):
            shown = answerer.aligned(one, answer)
            shown.show(console)
            console.print()
            if one is examples[0]:
                write_text(run / "passage.txt", one.context + "\n")
                shown.save(run / "alignment.png")
                shown.save(run / "alignment.html")
        return f"alignment  {run / 'alignment.png'}   (interactive page: {run / 'alignment.html'})"

    def _questions(
        self, config: AnswerConfig, run: Path, path: str | None, on_bad_line: str | None, notify: Notify
    ) -> Sequence[Question]:
        if path is not None:
            reading: Any = {} if on_bad_line is None else {"on_bad_line": on_bad_line}
            return data.read_lines(path, replace(config.data, **reading), _columns(config), notify)
        if config.data.train is None:
            return _held_out(config, "test")
        sets = self.read(config, notify)
        check_validation(run, data.fingerprint(sets))
        return sets.valid


def evidence_scores(answerer: Answerer, questions: Sequence[Question]) -> Scores:
    """The attention of questions on the sentence that decides and on the answer, each beside its share of the text."""
    known_place = [(one, one.evidence) for one in questions if one.evidence is not None]
    windows = Windows([one for one, _ in known_place], answerer.tokenizer, answerer.config)
    shares = []
    for at, (question, evidence) in enumerate(known_place):
        row = next((row for row in windows.rows([at]) if windows.covers(row, evidence)), None)
        if row is not None:
            weights = answerer.weights(windows, row).mean(0)
            for span in (evidence, question.answers[0]):
                inside = windows.tokens_in(row, span)
                shares += [weights[inside].sum(), inside.mean()]
    sentence, by_chance, answer, by_chance_too = 100 * np.array(shares).reshape(-1, 4).mean(0)
    how = "per cent of the question's attention that is on {}; {:.1f} is its share of the text"
    return {
        "on_sentence": Score(float(sentence), how.format("the sentence that decides", by_chance), 1),
        "on_answer": Score(float(answer), how.format("the answer", by_chance_too), 1),
    }


def _held_out(config: AnswerConfig, split: facts.Split) -> list[Question]:
    count = bounded(_HELD_OUT * config.data.builtin_questions, 10, _MOST_HELD_OUT)
    return facts.questions(count, split=split)


def _columns(config: AnswerConfig) -> QuestionColumns:
    settings = config.data
    return QuestionColumns(
        settings.context, settings.question, settings.answer, settings.start, settings.no_answer
    )  # fmt: skip


def _texts(questions: Sequence[Question]) -> Documents:
    """All different contexts and questions."""
    return Documents.of(dict.fromkeys(text for one in questions for text in (one.context, one.question)))
