"""Batches, loss and validation of models that find spans, for `regard.training.loop.fit`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from regard.data.batching import batches
from regard.data.questions import Question
from regard.errors import UserError
from regard.models.span import SpanReader
from regard.tasks.families.span.reading import OVERLAPPING, loss, read, with_linear
from regard.tasks.families.span.scores import MEASURES, Judged, best_threshold, mean
from regard.tasks.families.span.settings import SpanTrainConfig
from regard.tasks.families.span.windows import Windows
from regard.tasks.fitted.companion import Companion
from regard.tasks.fitted.spans import SpanClassifier
from regard.tasks.task import Notify
from regard.training.defaults import known
from regard.training.metric import Metric
from regard.training.validation import Part

_READ = 64
"""The number of questions that are read together in validation."""

METRICS = (
    Metric("loss", unit="nats per window", how="cross-entropy over all spans and no answer"),
    *(
        Metric(name, higher_is_better=True, unit="%", how=f"{how}, with the best threshold for no answer")
        for name, (_, how) in MEASURES.items()
    ),
)


class SpanTrainable:
    """See `regard.training.trainable.Trainable`. A validation also chooses the model's threshold for no answer.

    It is the one with the best mean of the metric that selects the best checkpoint, or of F1 if that is the loss.

    Args:
        model: what is trained.
        train: the training questions.
        valid: the validation questions.
        config: the settings of training.
        notify: gets a message about questions that are left out.
        companion: a linear model that is mixed in when questions are answered; None: there is none.

    Raises:
        UserError: there is no window to train on.
    """

    metrics = METRICS

    def __init__(
        self,
        model: SpanReader,
        train: Windows,
        valid: Windows,
        config: SpanTrainConfig,
        notify: Notify,
        companion: Companion[SpanClassifier] | None = None,
    ):
        self.model, self.train, self.valid, self.config = model, train, valid, config
        self._ranked = None if companion is None else companion.model.ranked(valid.questions)
        self._share = 0.0 if companion is None else companion.share
        self._rows = np.flatnonzero(train.usable)
        learned = set(train.owner[self._rows].tolist())
        longest = train.config.longest
        if not len(self._rows):
            raise UserError(f"data.max_answer: the answers of all training questions have more than {longest} tokens")
        if len(learned) < len(train.questions):
            notify(
                f"left out {len(train.questions) - len(learned):,} of {len(train.questions):,} training questions, "
                f"whose answers have more than {longest} tokens (--data.max-answer)"
            )
        self._lengths = train.lengths[self._rows]

    @property
    def described(self) -> str:
        """See `regard.tasks.task.TaskTrainable`."""
        return f"{len(self.train.questions):,} questions in {len(self._rows):,} windows"

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """See `regard.training.trainable.Trainable`."""
        return batches(self._lengths, tokens=known(self.config.tokens), seed=self.config.seed, epoch=epoch)

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.training.trainable.Trainable`; a window counts as a token."""
        return loss(model, self.train, self._rows[rows].tolist(), self.model.device, self.config.label_smoothing)

    @property
    def validation_count(self) -> int:
        """See `regard.training.trainable.Trainable`."""
        return len(self.valid.questions)

    def evaluate(self, part: Part) -> dict[str, float]:
        """See `regard.training.trainable.Trainable`."""
        judged: list[Judged] = []
        total, count = 0.0, 0
        for rows in part.batches(_READ):
            reading = read(self.model, self.valid, rows, most=1 if self._ranked is None else OVERLAPPING)
            total, count = total + reading.loss, count + reading.count
            odds, questions = reading.odds, [self.valid.questions[row] for row in rows]
            if self._ranked is not None:
                ranked, contexts = [self._ranked[row] for row in rows], [one.context for one in questions]
                odds = with_linear(odds, ranked, self._share, contexts)
            for one, best in zip(questions, (of_one.best(1) for of_one in odds), strict=True):
                judged.append(_judged(one, best.spans[0][0], best.best_share))
        total, windows = part.sum(total, count)
        every = part.gather(judged)
        threshold = best_threshold(every, self.config.metric if self.config.metric in MEASURES else "f1")
        self.model.threshold.fill_(threshold)
        return {"loss": total / max(1, windows), **mean(every, threshold)}


def _judged(question: Question, span: tuple[int, int], share: float) -> Judged:
    return Judged.of(question.context[slice(*span)], share, question.texts)
