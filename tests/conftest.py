"""Fixtures that several test files use, and one thread for all tests."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The tensors of the tests are too small for a second thread to help. Child processes inherit the setting.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from browser import chromium
from regard.kernels.cpu import library

# A shell's background jobs ignore Ctrl-C, and so would the commands that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as started:
        yield started


@pytest.fixture(params=library.levels)
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once for each instruction set of the C++ kernels that this machine supports."""
    with library.use_level(request.param):
        yield request.param


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a mechanism whose formula is a Python function on all backends but the reference, which refuse it."""
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    if getattr(parameters.get("case"), "reference", False) and parameters.get("backend", "reference") != "reference":
        pytest.skip("only the reference backend runs a formula that is a Python function")


@dataclass
class Result:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture
def regard(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs the command ``regard`` in this process."""

    def call(*arguments: object) -> Result:
        status = run_command(*arguments)
        printed = capsys.readouterr()
        return Result(status, printed.out, printed.err)

    return call


def run_command(*arguments: object) -> int:
    """Run the command ``regard`` in this process: its exit status."""
    from regard.cli.main import main

    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)
