"""The classes of a sound, with the weight of each moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regard.explain.timeline import Timeline
from regard.tasks.families.classify.attended import Attended


@dataclass(frozen=True)
class ClassifiedSound(Attended[Timeline]):
    """The classes of a sound file, and the weight of each moment: see `Attended`."""

    unit = "sound"
    parts = "moments"
    key = "seconds"

    def names(self, first: Timeline) -> list[float]:
        """The first second of each moment."""
        seconds: list[float] = (first.step * np.arange(len(first.weights))).round(6).tolist()
        return seconds
