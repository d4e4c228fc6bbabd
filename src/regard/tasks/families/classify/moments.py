"""The classes of a sound, with the weight of each moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from regard.errors import UserError
from regard.explain.timeline import Timeline
from regard.tasks.families.classify.labeller import Classified


@dataclass(frozen=True)
class ClassifiedSound(Classified):
    """The classes of a sound file.

    Attributes:
        timelines: the weight of each moment, for the most probable class, or, with several labels, for each that
            applies, or the most probable one if none does; empty: the model has no attention.
    """

    unit = "sound"

    timelines: tuple[tuple[str, Timeline], ...]

    def show(self, console: Console) -> None:
        """Print the most probable classes, and the weights over time."""
        super().show(console)
        for name, timeline in self.timelines:
            if self.labels is not None:
                console.print(f"moments for {name}:", highlight=False, markup=False)
            timeline.show(console)

    def save(self, path: str | Path) -> None:
        """Draw the weights below the features. Raises UserError: the model has none."""
        if not self.timelines:
            raise UserError("look: this model has no attention (train with --model.attention additive)")
        name, timeline = self.timelines[0]
        timeline.save(Path(path), title=f"{name}, {dict(self.classes)[name]:.0%}")

    def weights(self) -> Mapping[str, Any]:
        """The first second of each moment, and its weight; with several labels, its weights for each of them."""
        if not self.timelines:
            return {}
        first = self.timelines[0][1]
        by_label = {name: timeline.weights.tolist() for name, timeline in self.timelines}
        seconds = (first.step * np.arange(len(first.weights))).round(6).tolist()
        return {"seconds": seconds, "weights": first.weights.tolist() if self.labels is None else by_label}
