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
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

Call = Callable[[], Any]
"""The work of one side; it returns what is compared with the other sides, as a tensor or an array of any library."""

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
        build: ``module:function``, which returns the `Call` for a number of threads and the arguments of a case.
        most: the largest number of threads.
    """

    def __init__(self, name: str, build: str, most: int):
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, build), daemon=True)
        before = {key: os.environ.get(key) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        os.environ.update(dict.fromkeys(before, str(most)))
        self._process.start()  # the child reads the variables when it imports its libraries
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
        other.close()

    def forget(self) -> None:
        """Free the calls of the last case."""
        self._ask("forget", 0, ())

    def prepare(self, threads: int, *case: Any) -> np.ndarray:
        """Build the call of a case, and return its output. Raises UnavailableError: the peer cannot do it."""
        output: np.ndarray = self._ask("prepare", threads, case)
        return output

    def times(self, threads: int, seconds: float) -> list[float]:
        """The seconds of each call in about so many seconds, at least one. The first does not count if it is short:
        it finds the caches cold."""
        measured: list[float] = self._ask("time", threads, seconds)
        return measured

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, which may stand still and then does not see SIGTERM."""
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


def alternating(calls: Sequence[tuple[Side, int]], seconds: float, rounds: int) -> list[Timing]:
    """Time the prepared calls of sides and their numbers of threads in rounds, each for ``seconds`` in a round."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for (side, threads), measured in zip(calls, times, strict=True):
            measured += side.times(threads, seconds)
    return [Timing(statistics.median(each), _spread(each)) for each in times]


def _spread(times: Sequence[float]) -> float:
    deciles = statistics.quantiles(times, n=10)
    return (deciles[-1] - deciles[0]) / statistics.median(times)


def _serve(connection: Connection, build: str) -> None:
    """Answer requests until the parent is gone."""
    ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
    calls: dict[int, Call] = {}
    while True:
        kind, threads, argument = connection.recv()
        answer: Any = None
        try:
            if kind == "forget":
                calls.clear()
                gc.collect()
            elif kind == "prepare":
                module, name = build.split(":")
                function = getattr(importlib.import_module(module), name)
                _set_threads(threads)
                calls[threads] = function(threads, *argument)
                answer = _array(calls[threads]())
            else:
                _set_threads(threads)
                answer = _timed(calls[threads], argument)
        except ImportError as error:
            answer = UnavailableError(f"not installed ({error.name})")
        except UnavailableError as error:
            answer = error
        connection.send(answer)


def _set_threads(threads: int) -> None:
    """Of PyTorch, if it is used here; other libraries are told when a call is built."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _array(output: Any) -> np.ndarray:
    """An output as float32, or as the integers that it is."""
    if hasattr(output, "is_floating_point") and output.is_floating_point():
        output = output.float()
    array = np.asarray(output.numpy() if hasattr(output, "numpy") else output)
    return array if array.dtype.kind in "iu" else array.astype(np.float32)


def _timed(call: Call, seconds: float) -> list[float]:
    times: list[float] = []
    began = time.perf_counter()
    while not times or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times[1:] or times
