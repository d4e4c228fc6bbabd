"""Sides of a comparison, each in a process of its own that stands still while another one is timed.

A library's threads wait for their next task in a loop that takes a whole core. In one process, or in several that
run, the threads of one library would slow down those of another. Here every library has the processor for itself, with
the waiting that its authors chose.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

Call = Callable[[], Any]
"""The work of one side; it returns what is compared with the other sides, as a tensor or an array of any library."""

_ROUNDS = 7
_PARENT_DIED = 1  # PR_SET_PDEATHSIG


class UnavailableError(Exception):
    """A peer that is not installed, or that cannot do this work; the text says why."""


@dataclass(frozen=True)
class Timing:
    """The calls of one side.

    Attributes:
        seconds: the median of a call.
        spread: (p90 − p10) / median.
    """

    seconds: float
    spread: float


class Side:
    """A library in a process of its own.

    Args:
        name: as it is shown.
        build: ``module:function``, which returns the `Call` for the arguments of a case.
        threads: the number of threads.
    """

    def __init__(self, name: str, build: str, threads: int):
        self.name, self.threads = name, threads
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, build, threads), daemon=True)
        before = {key: os.environ.get(key) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        os.environ.update(dict.fromkeys(before, str(threads)))
        self._process.start()  # the child reads the variables when it imports its libraries
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
        other.close()

    def prepare(self, *case: Any) -> np.ndarray:
        """Build the call of a case, and return its output. Raises UnavailableError: the peer cannot do it."""
        output: np.ndarray = self._ask("prepare", case)
        return output

    def times(self, seconds: float) -> list[float]:
        """The seconds of each call in about so many seconds, at least one, after one that does not count."""
        measured: list[float] = self._ask("time", seconds)
        return measured

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()

    def _ask(self, *request: Any) -> Any:
        """Let the process go on until it has answered."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)
        self._connection.send(request)
        answer = self._connection.recv()
        os.kill(self._process.pid, signal.SIGSTOP)
        if isinstance(answer, Exception):
            raise answer
        return answer


def alternating(sides: Sequence[Side], seconds: float) -> list[Timing]:
    """Time the prepared calls of all sides in rounds, each for ``seconds`` in a round."""
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(_ROUNDS):
        for side, measured in zip(sides, times, strict=True):
            measured += side.times(seconds)
    return [Timing(statistics.median(each), _spread(each)) for each in times]


def _spread(times: Sequence[float]) -> float:
    deciles = statistics.quantiles(times, n=10)
    return (deciles[-1] - deciles[0]) / statistics.median(times)


def _serve(connection: Connection, build: str, threads: int) -> None:
    """Answer requests until the parent is gone."""
    ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
    module, name = build.split(":")
    call: Call | None = None
    while True:
        kind, argument = connection.recv()
        try:
            if kind == "prepare":
                call = None
                gc.collect()
                call = getattr(importlib.import_module(module), name)(threads, *argument)
                assert call is not None
                answer: Any = _array(call())
            else:
                assert call is not None
                answer = _timed(call, argument)
        except ImportError as error:
            answer = UnavailableError(f"not installed ({error.name})")
        except UnavailableError as error:
            answer = error
        connection.send(answer)


def _array(output: Any) -> np.ndarray:
    """An output as float32, or as the integers that it is."""
    if hasattr(output, "is_floating_point") and output.is_floating_point():
        output = output.float()
    array = np.asarray(output.numpy() if hasattr(output, "numpy") else output)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _timed(call: Call, seconds: float) -> list[float]:
    call()
    times: list[float] = []
    began = time.perf_counter()
    while not times or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times
