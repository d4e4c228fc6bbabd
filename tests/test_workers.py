"""Work in processes: in order, with the errors of the function, and without processes that are left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice

import pytest

from children import children, wait_for_end
from regard.data import workers
from regard.data.workers import AHEAD, in_processes, interruptible
from regard.errors import UserError


@pytest.fixture(autouse=True, params=(1, 2, 5))
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(workers, "cores", lambda: request.param)
    return int(request.param)


def test_results_are_in_the_order_of_the_items() -> None:
    power = partial(partial, pow, 3)
    assert list(in_processes(power, range(40))) == [3**number for number in range(40)]
    assert list(in_processes(power, [])) == []


def test_items_are_read_only_as_far_ahead_as_the_processes_work() -> None:
    read = []

    def items() -> Iterator[int]:
        for number in count():
            read.append(number)
            yield number

    results = in_processes(partial(partial, pow, 2), items())
    assert list(islice(results, 5)) == [1, 2, 4, 8, 16]
    results.close()  # type: ignore[attr-defined]
    assert len(read) <= 5 + AHEAD * 5


def test_large_items_and_results_do_not_block_each_other() -> None:
    items = [bytes([number]) * 3_000_000 for number in range(12)]
    assert list(in_processes(partial(partial, bytes.upper), items)) == items


@pytest.mark.parametrize(("make", "items", "error"), [
    (partial(partial, int), ["1", "x", "2"], ValueError),
    (partial(int, "x"), ["1"], ValueError),
])  # fmt: skip
def test_errors_of_the_function_are_raised(
    make: Callable[[], Callable[[str], int]], items: list[str], error: type[Exception]
) -> None:
    before = children()
    with pytest.raises(error, match="invalid literal"):
        list(in_processes(make, items))
    assert children() == before


def test_no_process_is_left_when_the_results_are_not_all_read() -> None:
    before = children()
    results = in_processes(partial(partial, abs), count())
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert children() == before


def test_a_killed_process_is_an_error(cores: int) -> None:
    if cores == 1:
        pytest.skip("a single core works in this process")
    before = children()
    results = in_processes(partial(partial, abs), count())
    next(results)
    for process in children() - before:
        os.kill(int(process), signal.SIGKILL)
    with pytest.raises(UserError, match=r"a worker process ended unexpectedly \(exit status -9\)"):
        list(results)
    assert children() == before


def test_a_signal_ends_the_wait_for_a_call() -> None:
    signalled = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    began = time.monotonic()
    signalled.start()
    with pytest.raises(KeyboardInterrupt):
        interruptible(partial(time.sleep, 60))
    assert time.monotonic() - began < 30


def test_errors_of_the_call_are_raised() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        interruptible(partial(int, "x"))


_CALLER = """
import itertools, os
from functools import partial
from regard.data import workers
workers.cores = lambda: 2
for result in workers.in_processes(partial(partial, abs), itertools.count()):
    if result == 0:
        print(open("/proc/self/task/%d/children" % os.getpid()).read(), flush=True)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_processes_end_with_the_caller(sent: signal.Signals, cores: int) -> None:
    if cores != 2:
        pytest.skip("the same for any number")
    command = [sys.executable, "-c", _CALLER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        processes = caller.stdout.readline().split()
        caller.send_signal(sent)
        caller.communicate(timeout=20)
    assert len(processes) == 2
    wait_for_end(processes, 20)
