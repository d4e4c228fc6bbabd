"""The C++ kernels when the system refuses threads or memory: fewer threads, or an error without a leak."""

from __future__ import annotations

import pytest

from regard.kernels.cpu import library
from threads import linux, script

pytestmark = [pytest.mark.skipif(library.level is None, reason=library.why_none), linux]

START = """
import os, resource, sys, threading, torch
from regard import Causal, Look, Sparsemax, attention
from regard.kernels.cpu import units

MIB = 1 << 20

def size():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

def limit(bytes):
    resource.setrlimit(resource.RLIMIT_AS, (size() + bytes, resource.RLIM_INFINITY))

def no_limit():
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

def in_child(run):
    # After a fork, OpenMP's threads do not exist, and the library starts its own.
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            run()
            sys.stdout.flush()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""

NO_THREADS = """
q, k = torch.randn(1, 1, 400, 64), torch.randn(1, 1, 300, 64).requires_grad_()

def call():
    output = attention(q, k, k)
    return output.detach(), *torch.autograd.grad(output.sum(), k)

expected = call()

def run():
    torch.set_num_threads(5)
    limit(2 * MIB)
    try:
        threading.Thread(target=print).start()
    except RuntimeError as error:
        print(error)
    result = call()
    no_limit()
    assert torch.equal(result[0], expected[0])
    torch.testing.assert_close(result[1], expected[1])
    print("right")

in_child(run)
"""


def test_fewer_threads_are_used_if_none_can_start() -> None:
    assert script(START + NO_THREADS) == "can't start new thread\nright\n"


NO_MEMORY = """
small = torch.randn(1, 2, 40, 8)
expected = attention(small, small, small)
q, k, twice = torch.randn(1, 1, 4, 8), torch.randn(1, 1, 1 << 20, 8), torch.randn(1, 1, 1 << 21, 8)
wide, keys = torch.randn(1, 1, 65, 64), torch.randn(1, 1, 1 << 17, 64).requires_grad_()
output = attention(wide, keys, keys)
grad = torch.ones_like(output)
calls = {
    "sparsemax": (lambda: attention(q, k, k, normalizer=Sparsemax()), range(1, 80, 20)),
    # Twice as many keys, so that each of two threads needs more than the memory that it keeps for its next call.
    "look": (lambda: attention(q, twice, twice, look=Look(received=True)), range(1, 80, 10)),
    # For two threads only, between which it is divided.
    "backward": (lambda: torch.autograd.grad(output, keys, grad, retain_graph=True), range(62, 142, 8)),
}

def attempts(call, limits):
    messages = set()
    for mib in limits:
        limit(mib * MIB)
        try:
            call()
        except MemoryError as error:
            messages.add(str(error))
        except RuntimeError as error:  # in an allocation of PyTorch
            assert "can't allocate memory" in str(error)
        no_limit()
        assert torch.equal(attention(small, small, small), expected)
    return messages

def run():
    for threads in (1, 2):
        torch.set_num_threads(threads)
        attention(small, small, small)
        for name, (call, limits) in list(calls.items())[: threads + 1]:
            messages = attempts(call, limits)
            before = size()
            messages |= attempts(call, limits)
            # Each thread keeps up to 4 MiB for its next call.
            print(threads, name, *messages, size() - before <= 4 * threads * MIB)

if sys.argv[1] == "forked":
    in_child(run)
else:
    run()
"""


@pytest.mark.parametrize("process", ["forked", "first"])
def test_a_failed_allocation_is_an_error_without_a_leak(process: str) -> None:
    """With OpenMP's threads and with the library's own. As the limit rises, later and later allocations fail."""
    # With this threshold, freed memory is returned to the system immediately, and sizes can be compared.
    lines = script(START + NO_MEMORY, process, MALLOC_MMAP_THRESHOLD_="65536").splitlines()
    assert lines == [
        f"{name} regard's C++ kernels: out of memory True"
        for name in ("1 sparsemax", "1 look", "2 sparsemax", "2 look", "2 backward")
    ]
