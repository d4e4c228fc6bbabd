"""A task that tests add to the table: whether a number is even. It shows what a new task needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from regard.errors import UserError
from regard.tasks.exporting import Exportable
from regard.tasks.results import Failure, Score, Scores
from regard.tasks.spec import Demo, NoOptions, TaskSpec, Verb
from regard.tasks.task import Notify, Predictor, Task
from regard.training import checkpoint
from regard.training.config import TrainConfig
from regard.training.defaults import known
from regard.training.fingerprint import Fingerprint
from regard.training.metric import Metric
from regard.training.ranges import positive
from regard.training.validation import Part
from regard.viewer.document import Axis, Document, Layer

BITS = 6


@dataclass(frozen=True)
class DataConfig:
    """The numbers to train on."""

    train: str | None = None
    """Unused: the numbers are built in."""
    valid: str | None = None
    """Unused."""
    count: int = 48
    """How many numbers."""


@dataclass(frozen=True)
class ToyTrainConfig(TrainConfig):
    """Settings of training."""

    batch_measure = "batch"
    batch: int | None = 8
    """Size of a batch."""
    metric: str = "error"
    """The metric that selects the best checkpoint."""


@dataclass(frozen=True)
class ToyConfig:
    """All settings."""

    data: DataConfig = field(default_factory=DataConfig)
    train: ToyTrainConfig = field(default_factory=ToyTrainConfig)

    def problem(self) -> str | None:
        """The first setting that is out of range."""
        return positive("data", self.data, "count") or self.train.problem()


@dataclass(frozen=True)
class Parity:
    """Whether a number is even."""

    number: int
    even: bool
    weights: tuple[float, ...]

    def line(self) -> str:
        return f"{self.number}\t{'even' if self.even else 'odd'}"

    def show(self, console: Console) -> None:
        console.print(self.line())

    def save(self, path: str | Path) -> None:
        Path(path).write_bytes(b"\x89PNG")

    def document(self) -> Document:
        axes = [Axis(["even"]), Axis([f"bit {at}" for at in range(BITS)])]
        return Document(
            str(self.number), axes, [Layer("weights", (1, 1, BITS), 0, 1, {"rows": torch.tensor([[self.weights]])})]
        )

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        return {"number": str(self.number), "even": self.even, **({"weights": self.weights} if attention else {})}


def bits(numbers: Sequence[int]) -> Tensor:
    """The bits of numbers as features, ``(len(numbers), BITS)``."""
    return torch.tensor([[float(number >> at & 1) for at in range(BITS)] for number in numbers])


class Model(nn.Sequential):
    """One linear layer."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(BITS, 2))


class ParityPredictor(Predictor):
    """A trained model."""

    def __init__(self, model: Model):
        self.model = model.eval()

    def predict(self, inputs: Iterable[str]) -> Iterator[Parity | Failure]:
        for text in inputs:
            if not text.isdecimal():
                yield Failure(text, f"number: expected a whole number, got {text!r}")
                continue
            yield self.look(text)

    def look(self, item: str) -> Parity:
        with torch.inference_mode():
            even = bool(self.model(bits([int(item)]))[0].argmax())
        weights: list[float] = next(self.model.parameters())[1].tolist()
        return Parity(int(item), even, tuple(weights))

    def exportable(self) -> Exportable:
        return Exportable(self.model, {"bits": ("batch", BITS)}, lambda sizes: (torch.ones(sizes["batch"], BITS),))


class Trained:
    """What the loop trains."""

    metrics = (Metric("error", unit="%", how="numbers whose parity is wrong"), Metric("loss"))

    def __init__(self, config: ToyConfig, data: Sequence[int]):
        torch.manual_seed(config.train.seed)
        self.config, self.numbers, self.model = config, data, Model()

    @property
    def described(self) -> str:
        return f"{len(self.numbers)} numbers"

    @property
    def validation_count(self) -> int:
        return len(self.numbers)

    def batches(self, epoch: int) -> list[list[int]]:
        size = known(self.config.train.batch)
        return [list(range(at, min(at + size, len(self.numbers)))) for at in range(0, len(self.numbers), size)]

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        numbers = [self.numbers[row] for row in rows]
        labels = torch.tensor([1 - number % 2 for number in numbers])
        return nn.functional.cross_entropy(model(bits(numbers)), labels, reduction="sum"), len(rows)

    def evaluate(self, part: Part) -> dict[str, float]:
        loss, wrong = 0.0, 0.0
        for rows in part.batches(16):
            numbers = [self.numbers[row] for row in rows]
            loss += float(self.loss(self.model, list(rows))[0])
            guesses = self.model(bits(numbers)).argmax(-1).tolist()
            wrong += sum(guess == number % 2 for guess, number in zip(guesses, numbers, strict=True))
        loss, wrong, count = part.sum(loss, wrong, len(part.rows))
        return {"loss": loss / count, "error": 100 * wrong / count}


class ParityTask(Task[ToyConfig, Sequence[int], ParityPredictor]):
    """The task."""

    unit = "numbers"

    def read(self, config: ToyConfig, notify: Notify) -> Sequence[int]:
        if config.data.train is not None:
            raise UserError("data.train: the numbers are built in")
        return range(config.data.count)

    def fingerprint(self, data: Sequence[int]) -> Fingerprint:
        rows = [(str(number),) for number in data]
        return Fingerprint.of("numbers", rows, rows)

    def defaults(self, config: ToyConfig, data: Sequence[int]) -> Mapping[str, object]:
        return {"train.epochs": 30}

    def prepare(self, config: ToyConfig, data: Sequence[int], folder: Path, notify: Notify) -> None:
        (folder / "bits.json").write_text(str(BITS))

    def trainable(self, config: ToyConfig, run: Path, data: Sequence[int], notify: Notify) -> Trained:
        return Trained(config, data)

    def predictor(self, config: ToyConfig, run: Path, which: str) -> ParityPredictor:
        model = Model()
        checkpoint.fill(model, run, which)
        return ParityPredictor(model)

    def evaluate(
        self, predictor: ParityPredictor, config: ToyConfig, run: Path, path: str | None, notify: Notify
    ) -> Scores:
        numbers = range(config.data.count)
        right = [result.to_dict()["even"] == (n % 2 == 0) for n, result in
                 zip(numbers, predictor.predict(map(str, numbers)), strict=True)]  # fmt: skip
        return {"accuracy": Score(100 * sum(right) / len(right), "per cent of the numbers")}

    def samples(self, predictor: ParityPredictor, config: ToyConfig, data: Sequence[int]) -> Sequence[str]:
        return [next(iter(predictor.predict(["3"]))).line()]

    def example(self, config: ToyConfig) -> str:
        return "3"

    def inputs(self, config: ToyConfig, folder: Path) -> list[str]:
        return ["3", "4", "7"]

    def finish_demo(self, predictor: ParityPredictor, config: ToyConfig, run: Path, console: Console) -> str:
        predictor.look("3").show(console)
        return "nothing drawn"


TOY = TaskSpec(
    name="parity",
    summary="Train a model that tells even numbers from odd ones",
    settings=ToyConfig,
    verb=Verb("parity", "Print whether a number is even", "A whole number.", "number", many=True, draws=True),
    evaluation=NoOptions,
    evaluated="the built-in numbers",
    looking=NoOptions,
    look_input="A whole number.",
    demo=Demo(
        folder="runs/parity", summary="Train on the numbers from 0 to 47.", example="regard parity {run} 12",
        settings=ToyConfig, tiny=lambda: ToyConfig(train=ToyTrainConfig(steps=3)), scored="the built-in numbers",
    ),
    code="toy:ParityTask",
)  # fmt: skip
