"""What a task provides to the training loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from regard.training.metric import Metric
from regard.training.validation import Part


class Learnable(Protocol):
    """The model, the batches and the validation of a task; `Trainable` and `BatchTrainable` add the loss."""

    @property
    def model(self) -> nn.Module:
        """The model, before it is wrapped for several processes."""
        ...

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that `evaluate` returns, or may return; one of them is ``loss``."""
        ...

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """The batches of an epoch as indices of training examples: a pure function of the epoch."""
        ...

    @property
    def validation_count(self) -> int:
        """The number of validation examples, whose indices are counted from 0."""
        ...

    def evaluate(self, part: Part) -> dict[str, float]:
        """The values of `metrics` by name, with ``loss`` and ``train.metric``, over ``part.every``.

        It computes its sums over ``part.rows``, the examples of this process, and adds them up by ``part.sum``. It is
        called in evaluation mode, without gradients.
        """
        ...


class Trainable(Learnable, Protocol):
    """A task whose loss is a sum over examples."""

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """The summed loss of these examples, and the number of tokens it is summed over."""
        ...


@runtime_checkable
class BatchTrainable(Learnable, Protocol):
    """A task whose loss depends on all examples of a batch together, such as a contrastive loss.

    With several processes, each computes the features of its share of the batch, and the loss of all of them.
    """

    def features(self, model: nn.Module, rows: list[int]) -> Tensor:
        """What the loss needs of these examples, ``(len(rows), …)``, computed by ``model``."""
        ...

    def batch_loss(self, features: Tensor, rows: list[int]) -> tuple[Tensor, int]:
        """The loss of a complete batch, and the number of tokens or examples by which it is divided.

        With FSDP2, it must not use parameters of the model, which are complete only while the model is called.

        Args:
            features: of all ``rows``, in their order.
            rows: the examples of the batch.
        """
        ...
