"""The classes of a clip, with the weight of each frame, and of each place of a frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regard.explain.film import Film
from regard.tasks.families.classify.attended import Attended


@dataclass(frozen=True)
class ClassifiedClip(Attended[Film]):
    """The classes of a clip, and the weight of each frame: see `Attended`."""

    unit = "clip"
    parts = "frames"
    key = "frames"

    def names(self, first: Film) -> list[int]:
        """The number of each frame, from 1."""
        return list(range(1, len(first.places) + 1))

    def weights(self) -> Mapping[str, Any]:
        """Each frame and its weight, and those of its joints or patches, ``(frames, places)``."""
        places = {name: one.places.tolist() for name, one in self.attended}
        if not self.attended:
            return {}
        return {**super().weights(), "places": places if self.labels else places[self.attended[0][0]]}
