"""What can be set about training; free of torch, so that the command line can show it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from regard.train.ranges import not_negative, positive, share


@dataclass(frozen=True)
class TrainConfig:
    """How to train; each task adds how large a batch is."""

    batch_measure: ClassVar[str]
    """The name of that setting."""

    epochs: int = 20
    """Passes over the training data; the learning rate falls over them."""
    steps: int | None = None
    """Stop after so many steps, if the epochs are not over before; the learning rate falls over them."""
    minutes: float | None = None
    """Stop after so many minutes, validations included, if the epochs are not over before; the learning rate falls by
    the clock then, so that two runs are no longer equal to the bit."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: steps of the hidden layers' matrices are made orthogonal, which takes more time a step and fewer passes
    (Jordan et al. 2024); the other weights by AdamW."""
    learning_rate: float = 2e-3
    """Highest learning rate, reached after the warm-up."""
    schedule: Literal["cosine", "linear", "constant", "inverse-sqrt"] = "cosine"
    """How the learning rate goes on after the warm-up: a cosine or a line to zero; as it is; or with one over the root
    of the step, as the Transformer's paper has it."""
    warmup: int = 200
    """Steps over which the learning rate rises from zero."""
    accumulate: int = 1
    """Batches whose gradients are added up for one step: a larger batch in the same memory."""
    weight_decay: float = 0.01
    """Decoupled weight decay, in learning rates."""
    clip: float = 1.0
    """Largest norm of the gradient; larger ones are scaled down."""
    label_smoothing: float = 0.0
    """Share of the target's probability that is spread over all tokens."""
    ema: float = 0.0
    """Decay of a moving average of the weights, such as 0.999, which is then what is validated and used; 0: none."""
    average: int = 0
    """At the end, try the mean of the weights of the last so many validations, and keep it if it is better; 0: no."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: matrix products in half precision (autocast); on CPUs with AMX or BF16 instructions much faster."""
    metric: str = "loss"
    """Validation figure that decides which checkpoint is the best, and when to stop early."""
    evaluate_every: int | None = None
    """Steps between validations; without it, once an epoch."""
    patience: int | None = None
    """Stop after this many validations without a better figure; without it, never early."""
    save_every: int = 200
    """Steps between checkpoints; one is also made at each validation, and on Ctrl-C."""
    seed: int = 0
    """Seed of the weights, the order of the data and dropout: the same seed gives the same run."""
    tensorboard: bool = False
    """Also log for TensorBoard, in the run's folder."""
    fsdp: bool = False
    """With several processes: shard weights and optimizer (FSDP2) instead of copying them (DDP)."""

    def problem(self) -> str | None:
        """The first setting that is out of range, as a sentence; None if all are well."""
        return (
            positive(
                "train", self, "epochs", "steps", "minutes", self.batch_measure, "learning_rate", "accumulate", "clip",
                "save_every", "evaluate_every", "patience",
            )
            or not_negative("train", self, "warmup", "weight_decay", "seed", "average")
            or share("train", self, "label_smoothing", "ema")
        )  # fmt: skip
