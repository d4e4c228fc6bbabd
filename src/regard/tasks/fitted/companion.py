"""A model that is fitted at once beside a network, and has a share of what both predict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Generic, Protocol, Self, TypeVar


class Fitted(Protocol):
    """A model that is fitted at once, not in steps."""

    file: ClassVar[str]
    """The name of its file in the folder of a run, without the ending."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises UserError: the file is missing or damaged."""

    def save(self, path: Path) -> None:
        """Write to a safetensors file."""

    def describe(self) -> str:
        """What it is, and its size, in one line."""


Model = TypeVar("Model", bound=Fitted)


@dataclass(frozen=True)
class Companion(Generic[Model]):
    """A model that has a share of what a predictor predicts.

    It is fitted twice: to the training examples before the network is trained, for all scores on the examples that were
    set aside for validation; and to both when training ends, for new inputs.

    Attributes:
        model: the one that is used.
        held_out: the one that was fitted to the training examples alone.
        share: of the mean with the network, above 0 and below 1.
    """

    model: Model
    held_out: Model
    share: float

    @classmethod
    def load(cls, kind: type[Model], run: Path, share: float) -> Companion[Model] | None:
        """The companion in the folder of a run, for new inputs; None: its share is 0.

        Raises:
            UserError: a file is missing or damaged.
        """
        if not share:
            return None
        held_out, complete = kind.load(_file(run, kind)), _file(run, kind, complete=True)
        return cls(kind.load(complete) if complete.exists() else held_out, held_out, share)

    @property
    def described(self) -> str:
        """What it is, for a message that something is without it."""
        return f"the model that was fitted beside the network, whose share is {self.share:g}"

    @property
    def for_held_out(self) -> Companion[Model]:
        """The same for scores on the examples that were set aside for validation."""
        return replace(self, model=self.held_out)


def save_companion(model: Fitted, run: Path, *, complete: bool) -> None:
    """Write a model to the folder of a run; ``complete``: it was fitted to the validation examples, too."""
    model.save(_file(run, type(model), complete=complete))


def _file(run: Path, kind: type[Fitted], *, complete: bool = False) -> Path:
    return run / f"{kind.file}{'-complete' if complete else ''}.safetensors"
