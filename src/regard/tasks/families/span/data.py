"""Questions of a run: read from the user's files, with a part for validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from regard.data import split
from regard.data.questions import Question, QuestionColumns, read_questions
from regard.errors import UserError
from regard.tasks.families.span.settings import SpanDataConfig
from regard.training.fingerprint import Fingerprint

_SET_ASIDE = 0.1
_MOST_SET_ASIDE = 1000


class QuestionSets(NamedTuple):
    """Training and validation questions."""

    train: Sequence[Question]
    valid: Sequence[Question]


def read(path: str, config: SpanDataConfig, seed: int, notify: Callable[[str], None]) -> QuestionSets:
    """The questions at ``path``, and those for validation; messages about them go to ``notify``.

    Raises:
        UserError: a file cannot be used, or no training question has an answer.
    """
    train = read_lines(path, config, notify)
    if not any(one.answers for one in train):
        raise UserError(f"{path}: none of its {len(train):,} questions has an answer; name its column: --data.answer")
    if config.valid is None:
        return set_aside(train, seed, notify)
    valid = read_lines(config.valid, config, notify)
    both = split.repeated(
        [(one.context, one.question) for one in train], [(one.context, one.question) for one in valid]
    )
    if both:
        notify(split.shared_notice(both, len(valid), "questions"))
    return QuestionSets(train, valid)


def read_lines(path: str, config: SpanDataConfig, notify: Callable[[str], None]) -> list[Question]:
    """The questions at ``path``. Raises UserError: they cannot be used."""
    columns = QuestionColumns(config.context, config.question, config.answer, config.start, config.no_answer)
    questions, lines = read_questions(path, columns, config.on_bad_line)
    for line in lines:
        notify(line)
    return questions


def set_aside(questions: Sequence[Question], seed: int, notify: Callable[[str], None]) -> QuestionSets:
    """Set the questions about a part of the contexts aside. Raises UserError: there are fewer than two contexts."""
    numbers: dict[str, int] = {}
    groups = np.array([numbers.setdefault(one.context, len(numbers)) for one in questions])
    if len(numbers) < 2:
        raise UserError("data.train: needs questions about at least two contexts, one of them for validation")
    held_out = split.by_group(groups, share=_SET_ASIDE, most=_MOST_SET_ASIDE, seed=seed)
    kept = [one for one, held in zip(questions, held_out, strict=True) if not held]
    aside = [one for one, held in zip(questions, held_out, strict=True) if held]
    contexts = len({one.context for one in aside})
    notify(split.notice(f"the {len(aside):,} questions about {contexts:,} of {len(numbers):,} contexts"))
    return QuestionSets(kept, aside)


def fingerprint(sets: QuestionSets) -> Fingerprint:
    """The fingerprint of the questions."""
    return Fingerprint.of("questions", _rows(sets.train), _rows(sets.valid))


def _rows(questions: Sequence[Question]) -> Iterator[tuple[str, ...]]:
    return ((one.context, one.question, str(one.answers)) for one in questions)
