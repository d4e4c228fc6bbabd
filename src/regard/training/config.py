"""Settings of training; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from regard.training.ranges import at_most, not_negative, positive, share

_MAX_EPOCHS = 1_000_000


@dataclass(frozen=True)
class TrainConfig:
    """Settings of training that all tasks share; each task adds the size of a batch."""

    batch_measure: ClassVar[str]
    """The name of the setting for the size of a batch."""

    epochs: int | None = None
    """Number of epochs, which are passes over the training data; by default chosen by the size of the data."""
    steps: int | None = None
    """Maximum number of training steps; training stops at the end of the epochs if that comes first."""
    minutes: float | None = None
    """Maximum duration of training in minutes, validations included. The learning rate then follows the clock, so two
    runs are no longer bitwise equal."""
    init: str | None = None
    """Folder of another run: its best weights are the initial ones where name and shape are equal; by default, initial
    weights are random."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw: AdamW for all weights; muon: Muon (Jordan et al. 2024) for the matrices of the hidden layers, which takes
    longer per step and needs fewer epochs, and AdamW for the other weights."""
    learning_rate: float = 2e-3
    """Peak learning rate, reached after the warm-up."""
    schedule: Literal["cosine", "linear", "constant", "inverse-sqrt"] = "cosine"
    """How the learning rate changes after the warm-up. cosine, linear: falls to zero at the end of training, along a
    cosine or a line; constant: does not change; inverse-sqrt: proportional to 1/√step, as in Vaswani et al. 2017."""
    warmup: int | None = None
    """Number of warm-up steps, over which the learning rate rises linearly from zero; by default a twentieth of the
    training, at most 200 steps."""
    accumulate: int = 1
    """Number of batches whose gradients are accumulated for one step, as for a larger batch in the same memory."""
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
    """From 2: after training, average the weights of this many last validations, validate the average, and make it the
    best checkpoint if its metric is better; 0: no average."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Data type of matrix products; bfloat16 (autocast) is faster on GPUs and on CPUs with AMX or BF16 instructions."""
    compile: bool = False
    """Compile the model for training steps with torch.compile, which needs a C++ compiler and takes a minute or more at
    the start. Dropout then draws other numbers than without it."""
    metric: str = "loss"
    """Validation metric that selects the best checkpoint and decides when to stop early."""
    evaluate_every: int | None = None
    """Number of steps between validations; by default once per epoch."""
    validate_on: int | None = None
    """Number of validation examples to validate on, a random sample that is the same each time; by default all."""
    patience: int | None = None
    """Early stopping: stop after this many validations without improvement; by default never."""
    save_every: int = 200
    """Number of steps between checkpoints; one is also written at each validation and on Ctrl-C."""
    seed: int = 0
    """Random seed of the initial weights, the order of the data and dropout: the same seed gives the same run."""
    tensorboard: bool = False
    """Also write logs for TensorBoard to the run's folder."""
    fsdp: bool = False
    """With several processes: shard the weights and the optimizer state (FSDP2) instead of replicating them (DDP)."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            positive(
                "train", self, "epochs", "steps", "minutes", self.batch_measure, "learning_rate", "accumulate", "clip",
                "save_every", "evaluate_every", "validate_on", "patience",
            )
            or at_most("train", self, _MAX_EPOCHS, "epochs")
            or not_negative("train", self, "warmup", "weight_decay", "seed", "average")
            or share("train", self, "label_smoothing", "ema")
        )  # fmt: skip
