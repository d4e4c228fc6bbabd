"""An observer of all calls of `attention`, such as `regard.looking`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from regard.attend.look import Look
    from regard.attend.view import View


class Watcher(Protocol):
    """Sees each call of `attention`."""

    def look(self) -> Look | None:
        """What to report about the next call; None: nothing."""
        ...

    def record(self, view: View, output: Tensor) -> None:
        """Take the view of the call, and its output with its graph."""
        ...


class Watching:
    """The watcher of this process.

    Attributes:
        current: None: there is none, or it does not see the calls that are made now.
    """

    current: Watcher | None = None
