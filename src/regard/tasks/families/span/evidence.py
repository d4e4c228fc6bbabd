"""The attention of questions on the sentence that decides and on the answer, for questions whose place is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regard.data.questions import Question, Span
from regard.tasks.families.span.predictor import Answerer
from regard.tasks.families.span.windows import Windows
from regard.tasks.results import Score, Scores


def evidence_scores(answerer: Answerer, questions: Sequence[Question]) -> Scores:
    """The attention on the sentence that decides and on the answer, each beside its share of the text."""
    known_place = [(one, one.evidence) for one in questions if one.evidence is not None]
    shares = np.concatenate([_shares(one, known_place) for one in answerer.every])
    sentence, by_chance, answer, by_chance_too = 100 * shares.mean(0)
    how = "per cent of the question's attention that is on {}; {:.1f} is its share of the text"
    return {
        "on_sentence": Score(float(sentence), how.format("the sentence that decides", by_chance), 1),
        "on_answer": Score(float(answer), how.format("the answer", by_chance_too), 1),
    }


def _shares(answerer: Answerer, known_place: Sequence[tuple[Question, Span]]) -> np.ndarray:
    """The attention of a model on the sentence that decides and on the answer, each with its share, ``(n, 4)``."""
    windows = Windows([one for one, _ in known_place], answerer.tokenizer, answerer.config)
    shares = []
    for at, (question, evidence) in enumerate(known_place):
        row = next((row for row in windows.rows([at]) if windows.covers(row, evidence)), None)
        if row is not None:
            weights = answerer.weights(windows, row).mean(0)
            for span in (evidence, question.answers[0]):
                inside = windows.tokens_in(row, span)
                shares += [weights[inside].sum(), inside.mean()]
    return np.array(shares).reshape(-1, 4)
