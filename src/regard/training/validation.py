"""Validation over several processes: each one's part of the validation set, with progress, and ended by a signal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch

from regard.training.distributed import World

T = TypeVar("T")
Batch = TypeVar("Batch", bound=Sequence[object])


class Stopped(Exception):
    """A signal has ended a validation before its end, in all processes."""


class _Monitor:
    """Counts the examples that are done, and notices the signal that ends the validation."""

    def __init__(self, world: World, stopping: Callable[[], bool], show: Callable[[float], None]):
        self.world, self.stopping, self.show = world, stopping, show
        self.done, self.total = 0, 0

    def tick(self, count: int) -> None:
        self.done += count
        self.show(min(1.0, self.done / max(1, self.total)))
        if self.stopping():
            self.agree()

    def agree(self) -> None:
        """Raise `Stopped` in all processes if one of them got a signal; called before their common operations.

        A process that gets a signal calls it in place of its next common operation, so all calls meet.
        """
        if self.world.sum(float(self.stopping()))[0]:
            raise Stopped


class Part:
    """This process's part of the validation examples, as a task's ``evaluate`` gets it.

    A task computes its sums over `rows`, in batches that it takes from `batches` or `over`, so that progress is shown
    and a signal ends the validation. Then it adds them up over all processes by `sum`, and collects lists by `gather`.

    Args:
        every: the indices of the examples to validate, of all processes.
        world: this process and their number.
        stopping: whether this process got a signal.
        show: called with the share that is done, 0 to 1.

    Attributes:
        every: as above.
        rows: the examples of this process: every n-th one of n processes, possibly none.

    Example:
        >>> part = Part.complete(5)
        >>> [list(batch) for batch in part.batches(2)]
        [[0, 1], [2, 3], [4]]
        >>> part.sum(7.5, len(part.rows))
        [7.5, 5.0]
    """

    def __init__(
        self,
        every: Sequence[int],
        world: World,
        *,
        stopping: Callable[[], bool] = lambda: False,
        show: Callable[[float], None] = lambda share: None,
    ):
        self._start(every, _Monitor(world, stopping, show))

    def _start(self, every: Sequence[int], monitor: _Monitor) -> None:
        world = monitor.world
        self.every, self.rows, self._monitor = every, every[world.rank :: world.size], monitor
        monitor.total += len(self.rows)

    @classmethod
    def complete(cls, count: int) -> Part:
        """All of ``count`` examples, in this process, without progress; for uses outside of training."""
        return cls(range(count), World(0, 1, torch.device("cpu")))

    def first(self, count: int) -> Part:
        """The part of the first ``count`` examples of ``every``, to compute something expensive for them only."""
        part = Part.__new__(Part)
        part._start(self.every[:count], self._monitor)
        return part

    def batches(self, size: int) -> Iterator[Sequence[int]]:
        """`rows` in batches of ``size``, see `over`."""
        return self.over(self.rows[at : at + size] for at in range(0, len(self.rows), size))

    def over(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """These batches of examples; each counts as done when the next one is taken. Raises `Stopped` on a signal."""
        for batch in batches:
            yield batch
            self.tick(len(batch))

    def tick(self, count: int = 0) -> None:
        """Count examples as done. Raises `Stopped` on a signal; call it every second or so where a batch takes longer.

        Either take batches from `over`, or call this.
        """
        self._monitor.tick(count)

    def sum(self, *numbers: float) -> list[float]:
        """Each number summed over all processes."""
        self._monitor.agree()
        return self._monitor.world.sum(*map(float, numbers))

    def gather(self, values: Sequence[T]) -> list[T]:
        """The values of all processes, one for each example, in the order of ``every``; ``values``: those of `rows`."""
        self._monitor.agree()
        parts = self._monitor.world.gather(list(values))
        return [parts[place % len(parts)][place // len(parts)] for place in range(len(self.every))]

    def finish(self, figures: dict[str, float]) -> dict[str, float]:
        """The metrics of the first process, by which all processes go. Raises `Stopped`: a signal came before."""
        self._monitor.agree()
        return self._monitor.world.gather(figures)[0]


def examples(count: int, limit: int | None, seed: int) -> Sequence[int]:
    """The examples to validate: all of ``count``, or a fixed random sample of ``limit``, in order."""
    if limit is None or limit >= count:
        return range(count)
    return sorted(np.random.default_rng([seed, count]).choice(count, limit, replace=False).tolist())
