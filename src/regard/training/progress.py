"""How far a training run has come."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Progress:
    """The progress of training; saved with each checkpoint.

    Attributes:
        epoch: the epoch, from 0.
        index: the index of the next batch in the epoch.
        step: steps taken.
        best: the value of ``train.metric`` at the best validation.
        best_loss: the loss at the best validation.
        waited: validations since the best one.
        seconds: the time of all steps.
        compiling: the time in which the model was compiled, in seconds.
        spent: the time of all steps, validations and of compiling, in seconds.
        tokens: tokens trained on.
        finished: whether training has ended before its last epoch.
        warm: the factor that the warm-up has reached, below which the factor of a lengthened run does not fall.
        figures: the metrics of the last validation.
        recent: the names of the checkpoints to average.
        validation_due: whether a signal ended the validation after the last step, which is then done again.
    """

    epoch: int = 0
    index: int = 0
    step: int = 0
    best: float | None = None
    best_loss: float = 0.0
    waited: int = 0
    seconds: float = 0.0
    compiling: float = 0.0
    spent: float = 0.0
    tokens: int = 0
    finished: bool = False
    warm: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    recent: list[str] = field(default_factory=list)
    validation_due: bool = False
