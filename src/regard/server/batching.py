"""A bounded queue in front of a model: requests of similar length are computed together."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from regard.server.limits import Limits


class Full(Exception):
    """The queue is full.

    Args:
        seconds: when there may be room again.
    """

    def __init__(self, seconds: int):
        super().__init__()
        self.seconds = seconds


@dataclass(eq=False)
class Job:
    """A request that waits.

    Attributes:
        key: jobs with an equal key can be computed together; None: this one is computed alone.
        size: the length of its input, such as characters or bytes.
        content: what is computed.
        future: its result; cancelled when nobody waits for it any more.
        arrived: the time of the loop.
    """

    key: Hashable
    size: int
    content: Any
    future: asyncio.Future[Any]
    arrived: float = field(default=0.0)


class Batches:
    """A queue and the thread that computes what is in it.

    Args:
        compute: returns the result of each job of a batch, or an exception, in order; it is called in one thread, so
            that models need not be safe for several.
        limits: of the server.
        seen: is called with the number of jobs of each batch.
    """

    def __init__(self, compute: Callable[[Sequence[Job]], Sequence[Any]], limits: Limits, seen: Callable[[int], None]):
        self.limits, self._compute, self._seen = limits, compute, seen
        self._waiting: list[Job] = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, "model")
        self._seconds = 0.1
        """The time of a batch, a moving average."""

    @property
    def waiting(self) -> int:
        """The number of jobs that wait."""
        return len(self._waiting)

    async def result(self, key: Hashable, size: int, content: Any) -> Any:
        """The result of a job; if the caller is cancelled before it is begun, it is not computed.

        Raises:
            Full: too many wait.
            TimeoutError: it took too long.
        """
        if len(self._waiting) >= self.limits.waiting:
            batches = len(self._waiting) / self.limits.batch
            raise Full(min(60, max(1, math.ceil(batches * self._seconds))))
        loop = asyncio.get_running_loop()
        job = Job(key, size, content, loop.create_future(), loop.time())
        self._waiting.append(job)
        self._arrived.set()
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await job.future
        finally:
            job.future.cancel()
            if job in self._waiting:
                self._waiting.remove(job)

    async def run(self) -> None:
        """Compute until `close` is called and nothing waits."""
        loop = asyncio.get_running_loop()
        while self._waiting or not self._closing:
            self._arrived.clear()
            if not self._waiting:
                await self._arrived.wait()
                continue
            first = self._waiting[0]
            left = first.arrived + self.limits.delay - loop.time()
            if left > 0 and not self._closing and len(self._similar(first)) < self._most(first):
                await self._any(left)
                continue
            batch = sorted(self._similar(first)[: self._most(first)], key=lambda job: job.size)
            for job in batch:
                self._waiting.remove(job)
            self._seen(len(batch))
            begun = loop.time()
            results = await loop.run_in_executor(self._thread, self._compute, batch)
            self._seconds += 0.2 * (loop.time() - begun - self._seconds)
            for job, result in zip(batch, results, strict=True):
                if job.future.done():
                    continue
                if isinstance(result, Exception):
                    job.future.set_exception(result)
                else:
                    job.future.set_result(result)
        self._thread.shutdown()

    def close(self) -> None:
        """Let `run` end when nothing waits any more."""
        self._closing = True
        self._arrived.set()

    def _most(self, first: Job) -> int:
        return 1 if first.key is None else self.limits.batch

    def _similar(self, first: Job) -> list[Job]:
        """Jobs that can be computed with ``first``: itself, then others, the ones of the most similar length first."""
        others = [job for job in self._waiting if job is not first and job.key == first.key and first.key is not None]
        return [first, *sorted(others, key=lambda job: abs(job.size - first.size))]

    async def _any(self, seconds: float) -> None:
        """Wait for a job, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            pass
