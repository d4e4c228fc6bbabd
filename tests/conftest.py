"""What all tests share."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# The tests' tensors are tiny: a second thread only waits, and on a busy machine spins. Child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from regard.kernels.cpu import library


@pytest.fixture(params=library.levels)
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of this machine that the C++ kernels are built for, in use."""
    with library.use_level(request.param):
        yield request.param


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what a backend refuses by design: a mechanism whose formula is a Python function, on another backend."""
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    if getattr(parameters.get("case"), "reference", False) and parameters.get("backend", "reference") != "reference":
        pytest.skip("only the reference backend runs it")


@dataclass
class Result:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture
def regard(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs a command line in this process."""
    from regard.cli.main import main

    def call(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return Result(int(end.value.code or 0), told.out, told.err)

    return call
