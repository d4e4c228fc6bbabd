"""Settings of training; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from regard.train.ranges import at_most, not_negative, positive, share

_MAX_EPOCHS = 1_000_000


@dataclass(frozen=True)
class TrainConfig:
    """How to train; each task adds the size of a batch."""

    batch_measure: ClassVar[str]
    """The name of the setting for the size of a batch."""

    epochs: int | None = None
    """Passes over the training data; by default as many as the size of the data asks for."""
    steps: int | None = None
    """Stop after this many steps, if the epochs do not end first."""
    minutes: float | None = None
    """Stop after this many minutes, validations included, if the epochs do not end first. The learning rate then
    follows the clock, so two runs are no longer bitwise equal."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: Muon (Jordan et al. 2024) for the matrices of the hidden layers, which takes more time per step and fewer
    epochs, and AdamW for the other weights."""
    learning_rate: float = 2e-3
    """Peak learning rate, reached after the warm-up."""
    schedule: Literal["cosine", "linear", "constant", "inverse-sqrt"] = "cosine"
    """Learning rate after the warm-up: falling to zero along a cosine or a line over the whole training; constant; or
    proportional to 1/√step, as in the Transformer paper."""
    warmup: int | None = None
    """Steps of the warm-up, over which the learning rate rises linearly from zero; by default the first twentieth of
    the training, at most 200 steps."""
    accumulate: int = 1
    """Batches whose gradients are accumulated for one step: a larger batch in the same memory."""
    weight_decay: float = 0.01
    """Decoupled weight decay, multiplied by the learning rate."""
    clip: float = 1.0
    """Maximum norm of the gradient; a larger gradient is scaled down to it."""
    label_smoothing: float = 0.0
    """Label smoothing: the share of the target's probability that is spread over all tokens."""
    ema: float = 0.0
    """Decay of an exponential moving average of the weights, such as 0.999, which is then validated and used; 0: no
    average."""
    average: int = 0
    """At the end, validate the mean of the weights of this many last validations, and keep it if it is better; 0: do
    not."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: matrix products in bfloat16 (autocast), which is much faster on CPUs with AMX or BF16 instructions."""
    metric: str = "loss"
    """Validation metric that selects the best checkpoint and decides when to stop early."""
    evaluate_every: int | None = None
    """Steps between validations; by default once per epoch."""
    patience: int | None = None
    """Early stopping: stop after this many validations without improvement; by default never."""
    save_every: int = 200
    """Steps between checkpoints; one is also written at each validation and on Ctrl-C."""
    seed: int = 0
    """Seed of the initial weights, the order of the data and dropout: the same seed gives the same run."""
    tensorboard: bool = False
    """Also log for TensorBoard, in the run's folder."""
    fsdp: bool = False
    """With several processes: shard the weights and the optimizer state (FSDP2) instead of replicating them (DDP)."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            positive(
                "train", self, "epochs", "steps", "minutes", self.batch_measure, "learning_rate", "accumulate", "clip",
                "save_every", "evaluate_every", "patience",
            )
            or at_most("train", self, _MAX_EPOCHS, "epochs")
            or not_negative("train", self, "warmup", "weight_decay", "seed", "average")
            or share("train", self, "label_smoothing", "ema")
        )  # fmt: skip
