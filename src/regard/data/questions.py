"""Questions about contexts, with the places of their answers, from SQuAD's JSON or from tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from regard.data.columns import Column, Layout
from regard.data.lines import bare_suffix, compose, is_unicode, read_blocks
from regard.data.reading import Reading, Values
from regard.data.records import Records
from regard.errors import UserError

_NEAR = 50
"""The largest distance, in characters, between the given start of an answer and the place where it is."""

_EDGE = 5
"""The number of letters at each end of an answer that must agree with the context, where start and end are given."""

_PAIR = re.compile(r"\W*(\d+)\D+(\d+)\W*")

Span = tuple[int, int]
"""Start and end of a part of a text, in characters."""


@dataclass(frozen=True)
class Question:
    """A question about a context.

    Attributes:
        context: the text that may have the answer.
        question: the question.
        answers: where the correct answers are in the context; empty: the context has no answer.
        evidence: the sentence that has the answer, for data in which it is known.

    >>> Question("Bern is in Switzerland.", "Where is Bern?", ((11, 22),)).texts
    ('Switzerland',)
    """

    context: str
    question: str
    answers: tuple[Span, ...]
    evidence: Span | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The correct answers."""
        return tuple([self.context[start:end] for start, end in self.answers])


@dataclass(frozen=True)
class QuestionColumns:
    """The columns of a table of questions, where their names are not usual ones.

    Attributes:
        context: the column of the contexts: its name, or its number from 1.
        question: of the questions.
        answer: of the answers.
        start: of the places of the answers, in characters from 0.
        no_answer: the answer of questions without an answer, in addition to an empty one.
    """

    context: str | int | None = None
    question: str | int | None = None
    answer: str | int | None = None
    start: str | int | None = None
    no_answer: str | None = None


class _BadAnswer(Exception):
    """An answer cannot be used; its text says why."""


@dataclass
class _Checker:
    """Makes questions of rows, and counts the answers whose start was corrected."""

    columns: QuestionColumns
    corrected: int = 0
    contexts: dict[str, str] = field(default_factory=dict)

    def __call__(self, values: Values) -> Values | str:
        """The question of a row, or why it cannot be used."""
        context, question, answer, start = values
        if not context.strip():
            return "empty context"
        try:
            spans = sorted({self._place(context, *one) for one in self._answers(answer, start, context)})
        except _BadAnswer as error:
            return str(error)
        composed = self.contexts.setdefault(context, compose(context))
        if composed != context:
            spans = [(len(compose(context[:one])), len(compose(context[:end]))) for one, end in spans]
        return (Question(composed, question, tuple(spans)),)

    def _answers(self, answer: Any, start: Any, context: str) -> Iterator[tuple[str, Any]]:
        """The text of each answer, and its place as it is given."""
        if isinstance(answer, dict):  # the datasets library has a list of texts and a list of places
            texts, starts = answer.get("text", ()), answer.get("answer_start", ())
            if isinstance(texts, str):
                texts, starts = [texts], [starts]
            if len(texts) != len(starts):
                raise _BadAnswer(f"{len(texts)} answers, but {len(starts)} places of answers")
            answer = [{"text": text, "answer_start": at} for text, at in zip(texts, starts, strict=True)]
        if not isinstance(answer, list):
            answer = [{"text": answer, "answer_start": start}]
        for one in answer:
            text, at = (one.get("text"), one.get("answer_start")) if isinstance(one, dict) else (one, None)
            if text is None or text in ("", self.columns.no_answer):
                continue
            if not isinstance(text, str) or not is_unicode(text):
                raise _BadAnswer(f"expected an answer that is text, got {type(text).__name__}")
            if at is None or at == "":
                yield from ((text.strip(), place) for place in _occurrences(context, text.strip()))
            else:
                yield text, at

    def _place(self, context: str, text: str, start: Any) -> Span:
        """Where an answer is. Raises _BadAnswer: it is not there."""
        pair = _pair(start)
        if pair is not None:
            return _checked(context, text, *pair)
        try:
            at = int(start)
        except (TypeError, ValueError):
            raise _BadAnswer(f"expected a start that is a whole number, got {start!r}") from None
        at, text = at + len(text) - len(text.lstrip()), text.strip()
        if at < 0 or not context.startswith(text, at):
            places = _occurrences(context, text)
            near = [place for place in places if abs(place - at) <= _NEAR]
            if len(near) != 1:
                count = "none" if not near else "more than one"
                raise _BadAnswer(
                    f"the answer {text!r} is not at character {at} of the context, and {count} is within {_NEAR} "
                    "characters of it"
                )
            at = near[0]
            self.corrected += 1
        return at, at + len(text)


def read_questions(
    path: str, columns: QuestionColumns | None = None, on_bad_line: Literal["error", "skip"] = "error"
) -> tuple[list[Question], list[str]]:
    """Read questions.

    An answer whose start is wrong is taken from where its text is, if it is once within 50 characters of it. Without a
    start, each place of its text in the context counts as correct. A start can also be a pair of start and end, which
    then decide: of the text, only the first and the last letters must agree.

    Args:
        path: SQuAD's JSON (``.json``, version 1 or 2) or a folder of such files; a table in ``.csv``, ``.tsv``,
            ``.jsonl`` or ``.parquet``; all but Parquet also with ``.gz`` or ``.xz``; or
            ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset.
        columns: the columns of a table; by default those with usual names, or the first to fourth.
        on_bad_line: what to do with questions that cannot be used, such as those whose answer is not in the context.

    Returns:
        The questions, in Unicode's composed form (NFC), and lines that describe what was read.

    Raises:
        UserError: a file is missing or of unknown format, a column is missing, there is no usable question, or, with
            ``on_bad_line="error"``, one cannot be used.
    """
    columns, questions, lines = columns or QuestionColumns(), list[Question](), list[str]()
    corrected = 0
    for name in _files(path):
        checker = _Checker(columns)
        reading = Reading(name, _layout(columns), on_bad_line, check=checker)
        questions += [question for (question,) in reading]
        lines += filter(None, [reading.notice()])
        corrected += checker.corrected
    if corrected:
        lines.append(f"{path}: corrected the start of {corrected:,} answers, which are within {_NEAR} characters of it")
    return questions, [*lines, _description(path, questions)]


def _description(path: str, questions: Sequence[Question]) -> str:
    contexts, first = len({one.context for one in questions}), questions[0]
    without = sum(not one.answers for one in questions)
    answer = repr(first.texts[0]) if first.answers else "no answer"
    return (
        f"{path}: {len(questions):,} questions about {contexts:,} contexts, {without:,} of them without an answer; "
        f"the first {first.question!r} → {answer}"
    )


def _layout(columns: QuestionColumns) -> Layout:
    usual = {
        "context": ("passage", "paragraph", "document", "review"),
        "question": ("query",),
        "answer": ("answers", "answer text"),
        "start": ("answer start", "answer_start"),
    }
    kinds: dict[str, Any] = {"context": "raw", "answer": "any", "start": "any"}
    made = [
        Column(
            name, f"data.{name}", getattr(columns, name), number, usual[name], kinds.get(name, "text"),
            required=number < 3,
        )
        for number, name in enumerate(usual, 1)
    ]  # fmt: skip
    return Layout(tuple(made), "question", json=_squad)


def _files(path: str) -> list[str]:
    """The files of a path: those of a folder with SQuAD's JSON, in the order of their names."""
    if path.startswith("hf:") or not Path(path).is_dir():
        return [path]
    files = sorted(file for file in Path(path).iterdir() if bare_suffix(file) == ".json")
    if not files:
        raise UserError(f"{path}: a folder without .json files; name a file, or a folder of SQuAD's JSON files")
    return [str(file) for file in files]


def _squad(path: Path) -> Records:
    """The questions of a file in SQuAD's format as records. Raises UserError: it is not in that format."""
    try:
        content = json.loads("".join(read_blocks(path)))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    records = []
    try:
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                for one in paragraph["qas"]:
                    answers = [] if one.get("is_impossible") else one.get("answers", [])
                    records.append({"context": paragraph["context"], "question": one["question"], "answers": answers})
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: expected SQuAD's format, {{'data': [{{'paragraphs': [{{'context': …, 'qas': […]}}]}}]}}; "
            f"after {len(records):,} questions: {type(error).__name__} {error}"
        ) from error
    return Records(str(path), lambda names: iter(records), ("context", "question", "answers"))


def _pair(start: Any) -> Span | None:
    """Start and end, where the place of an answer has both."""
    if isinstance(start, str):
        numbers = _PAIR.fullmatch(start)
        return (int(numbers[1]), int(numbers[2])) if numbers else None
    if isinstance(start, list | tuple) and len(start) == 2 and all(isinstance(one, int) for one in start):
        return start[0], start[1]
    return None


def _checked(context: str, text: str, start: int, end: int) -> Span:
    """The span without white space at its ends. Raises _BadAnswer: it is not in the context, or has another text."""
    part = context[start:end]
    ours, theirs = _letters(part), _letters(text)
    # The text may be a shorter form of the span, as where several parts of it were marked.
    if not part.strip() or ours[:_EDGE] != theirs[:_EDGE] or ours[-_EDGE:] != theirs[-_EDGE:]:
        raise _BadAnswer(f"the answer {text!r} is not at characters {start} to {end} of the context")
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())


def _letters(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum())


def _occurrences(context: str, text: str) -> list[int]:
    """Where ``text`` is in the context. Raises _BadAnswer: nowhere."""
    places, at = [], context.find(text)
    while at >= 0:
        places.append(at)
        at = context.find(text, at + 1)
    if not places:
        raise _BadAnswer(f"the answer {text!r} is not in the context")
    return places
