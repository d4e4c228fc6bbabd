"""Work in other processes and threads: on all cores, with the results in order; and so that Ctrl-C need not wait."""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, TypeVar, cast

from regard.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4
"""The number of items that a process has received and not answered; with fewer, a process that writes to a slow disk
would keep the others waiting."""

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    # glibc keeps freed memory for the next item; returning it takes a tenth of the time of decoding images.
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
}

_START = "import sys; sys.path[:] = {path!r}; from regard.data.workers import serve; serve({file})"


def in_processes(make: Callable[[], Callable[[Item], Result]], items: Iterable[Item]) -> Generator[Result]:
    """The results of a function for each item, in order, computed by one process per core.

    The processes are new Python processes, which do not share the caller's threads and do not run its main module. They
    end when the caller ends, in whatever way. With a single core, the function is called in this process.

    Args:
        make: called once in each process, returns the function. ``make``, the items and the results are pickled.
        items: as many of them are read ahead as the processes can work on.

    Raises:
        UserError: a process was killed.
        Exception: what the function raises for an item.

    >>> from functools import partial
    >>> list(in_processes(partial(partial, pow, 2), range(5)))
    [1, 2, 4, 8, 16]
    """
    count = cores()
    if count == 1:
        yield from map(make(), items)
        return
    with ExitStack() as stack:
        processes = [stack.enter_context(_Process(make)) for _ in range(count)]
        sent = received = 0
        for item in items:
            if sent - received == AHEAD * count:
                yield processes[received % count].receive()
                received += 1
            processes[sent % count].send(item)
            sent += 1
        while received < sent:
            yield processes[received % count].receive()
            received += 1


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
    """``function`` of each item, in order, computed by one thread per core, which are at most some items ahead.

    Warnings are not shown: which filters are in force is not known in a thread.

    >>> list(in_threads(abs, [-1, 2]))
    [1, 2]
    """
    threads = cores()
    pending = deque[Future[Result]]()
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 4 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def interruptible(function: Callable[[], Result]) -> Result:
    """The result of ``function``, which runs in another thread, so that a signal ends the wait for it immediately.

    It is for a long call into a library, in which Python does not handle signals. After a signal, the call continues
    until it returns or the process ends; its result is not used.

    Raises:
        Exception: what the function raises.

    >>> interruptible(lambda: 1 + 1)
    2
    """
    done: Future[Result] = Future()

    def run() -> None:
        try:
            done.set_result(function())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)  # a daemon, so that the end of the process does not wait for it
    thread.start()
    while thread.is_alive():
        thread.join(0.2)  # with a time limit: the signal may arrive in the other thread, and does not end this wait
    return done.result()


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Process:
    """A context with a process that answers each item that is sent to it."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]):
        self._connection, other = Pipe()
        with other:
            command = _START.format(path=sys.path, file=other.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-c", command],
                stdin=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env={**os.environ, **_ENVIRONMENT},
                start_new_session=True,  # Ctrl-C on the terminal is for the caller, which ends this process
            )
        self.send(make)

    def send(self, item: Any) -> None:
        try:
            self._connection.send(item)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._killed() from error

    def receive(self) -> Any:
        try:
            result, error = self._connection.recv()
        except (EOFError, ConnectionResetError) as error:
            raise self._killed() from error
        if error is not None:
            raise error
        return result

    def _killed(self) -> UserError:
        status = self._process.wait()
        return UserError(
            f"a worker process ended unexpectedly (exit status {status}); if memory ran out, end other programs, or "
            "allow fewer cores: taskset -c 0 regard …"
        )

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()


def serve(file: int) -> None:
    """Answer the items that arrive at a file descriptor: what a process of `in_processes` runs."""
    connection: Connection[Any, Any] = Connection(file)
    arrived = queue.Queue[Any]()
    # Items are received while the function works, so that the caller does not wait in `send`.
    threading.Thread(target=_receive, args=(connection, arrived), daemon=True).start()
    function: Any = None
    answer: tuple[Any, Exception | None]
    while True:
        item = arrived.get()
        try:
            if function is None:
                function = item()
                continue
            answer = function(item), None
        except Exception as error:
            answer = None, _sendable(error)
        try:
            connection.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)


def _receive(connection: Connection[Any, Any], arrived: queue.Queue[Any]) -> None:
    while True:
        try:
            arrived.put(connection.recv())
        except (EOFError, ConnectionResetError):
            os._exit(0)  # the caller has ended
        except Exception:  # an item that cannot be unpickled; without an end, the caller would wait for its result
            traceback.print_exc()
            os._exit(1)


def _sendable(error: Exception) -> Exception:
    """``error``, or its description if it cannot be pickled."""
    try:
        return cast(Exception, pickle.loads(pickle.dumps(error)))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
