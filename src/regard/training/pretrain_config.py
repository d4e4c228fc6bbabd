"""Settings of pretraining; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass

from regard.training.config import TrainConfig
from regard.training.ranges import not_negative, positive


@dataclass(frozen=True)
class PretrainConfig:
    """Pretraining before the training, by restoring masked words of texts whose labels are not used (Krishna et al.
    2023, arXiv:2209.14389)."""

    minutes: float = 0.0
    """Duration in minutes, in addition to that of the training; 0: no pretraining, unless pretrain.steps is set."""
    steps: int = 0
    """Maximum number of pretraining steps. With steps alone, two runs are the same; 0: no maximum."""
    data: str | None = None
    """More texts to pretrain on: a text file with one text per line (.txt), or a table with a column of texts (.tsv,
    .csv, .jsonl, .parquet); all but Parquet also .gz/.xz; or a Hugging Face dataset as "hf:NAME". By default, the
    training texts alone."""
    column: str | int | None = None
    """Column of pretrain.data with the texts: its name, or its number counted from 1; by default the one with a usual
    name such as text, or the first."""
    tokens: int = 2048
    """Size of a batch of pretraining in words or pieces of words, padding included, summed over all processes."""
    learning_rate: float = 1e-3
    """Peak learning rate of pretraining (AdamW), reached after a twentieth of it; then it falls to zero."""

    @property
    def wanted(self) -> bool:
        """Whether there is pretraining."""
        return self.minutes > 0 or self.steps > 0

    def problem(self, train: TrainConfig) -> str | None:
        """The error message for the first setting that is out of range; None if there is none.

        Args:
            train: the settings of the training that follows.
        """
        wrong = not_negative("pretrain", self, "minutes", "steps") or positive(
            "pretrain", self, "tokens", "learning_rate"
        )
        if wrong is not None:
            return wrong
        for name in ("data", "column"):
            if getattr(self, name) is not None and not self.wanted:
                return f"pretrain.{name}: needs --pretrain.minutes or --pretrain.steps, which start the pretraining"
        if self.column is not None and self.data is None:
            return "pretrain.column: is a column of --pretrain.data, which is not set"
        if self.wanted and train.init is not None:
            return "train.init: gives initial weights, as does the pretraining; leave out one of them"
        return None
