"""The limits of a server."""

from __future__ import annotations

from dataclasses import dataclass

MOST = {"beam": 32, "tokens": 2000, "top": 1000}
"""The largest values of options that a result's time or size grows with; the smallest is 1."""

WHOLE = 2**31 - 1
"""The largest absolute value of any other whole number."""

LISTED = 16
"""The largest number of texts of an option that is a list, such as the texts that end a continuation."""


@dataclass(frozen=True)
class Limits:
    """What requests may have, and how many wait.

    Attributes:
        megabytes: of a request's body.
        characters: of a text.
        seconds: for a body to arrive, and again for its result.
        waiting: requests that wait for the model; with more of them, a request is refused.
        batch: requests that are computed together.
        delay: how long the first request of a batch waits for others, in seconds.
    """

    megabytes: float = 20.0
    characters: int = 20_000
    seconds: float = 30.0
    waiting: int = 100
    batch: int = 10
    delay: float = 0.01

    @property
    def bytes(self) -> int:
        """The largest body."""
        return round(self.megabytes * 1e6)

    def problem(self) -> str | None:
        """The error message for the first limit that is out of range; None if there is none."""
        for name in ("megabytes", "characters", "seconds", "waiting", "batch"):
            if not getattr(self, name) > 0:
                return f"--{name}: must be above 0, got {getattr(self, name)}"
        if not 0 <= self.delay <= self.seconds:
            return f"--delay: must be from 0 to --seconds, {self.seconds:g}, got {self.delay}"
        return None
