"""The rows of `everyday.py`: what is timed, on which sides, and a line for each number of threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from everyday_sides import Side, Timing, UnavailableError, alternating

THREADS = (1, 2)
HEADER = (
    f"{'work':<46} {'dtype':<8} {'threads':>7} {'ours ms':>9} {'spread':>6} {'limit ms':>9} {'share':>5} "
    f"{'steps/s':>7}  peers: ms (ratio)"
)


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        title: what is computed.
        dtype: of weights and inputs.
        arguments: of the functions that build the call of each side, after the number of threads.
        bytes: bytes of weights and caches that a part of a call must read.
        operations: floating-point operations of the matrix products of a part.
        tolerance: the largest difference to another side's output, relative to the largest number; 0: both are tokens,
            and must be equal.
        seconds: for which each side is timed in a round.
        rounds: the number of rounds.
        parts: the number of parts of a call, which follow each other, such as steps of decoding.
    """

    title: str
    dtype: str
    arguments: tuple[Any, ...]
    bytes: float = 0
    operations: float = 0
    tolerance: float = 0
    seconds: float = 0.3
    rounds: int = 5
    parts: int = 1


@dataclass(frozen=True)
class Subject:
    """Rows with the same sides; ``ours`` and the values of ``peers`` are ``module:function``, as `Side` takes them."""

    cases: Callable[[], Iterator[Case]]
    ours: str
    peers: Mapping[str, str]


def lines(subject: Subject, chosen: Callable[[str], bool]) -> Iterator[str]:
    """The lines of the cases whose titles are chosen."""
    cases = [case for case in subject.cases() if chosen(f"{case.title}, {case.dtype}")]
    if not cases:
        return
    with ExitStack() as stack:
        names = {"regard": subject.ours, **subject.peers}
        sides = {name: stack.enter_context(Side(name, build, max(THREADS))) for name, build in names.items()}
        limit = stack.enter_context(Side("limit", "everyday_limits:least", max(THREADS)))
        for case in cases:
            yield from _lines_of(case, subject, sides, limit)


def _lines_of(case: Case, subject: Subject, sides: Mapping[str, Side], limit: Side) -> Iterator[str]:
    """The lines of a case, one for each number of threads."""
    outputs, missing = _prepared(sides, case)
    calls = [(sides[name], threads) for name, threads in outputs]
    timings = dict(zip(outputs, alternating(calls, case.seconds, case.rounds), strict=True))
    least = math.inf
    for threads in THREADS:
        least = min(least, float(limit.prepare(threads, case.dtype, case.bytes, case.operations)))
        peers = [_cell(name, threads, timings, outputs, missing, case) for name in subject.peers]
        yield _line(case, threads, timings["regard", threads], case.parts * least, peers)


def _prepared(
    sides: Mapping[str, Side], case: Case
) -> tuple[dict[tuple[str, int], np.ndarray], dict[tuple[str, int], str]]:
    """The output of each side with each number of threads, or why there is none."""
    outputs, missing = {}, {}
    for name, side in sides.items():
        side.forget()
        for threads in THREADS:
            try:
                outputs[name, threads] = side.prepare(threads, *case.arguments)
            except UnavailableError as error:
                missing[name, threads] = str(error)
    return outputs, missing


def _line(case: Case, threads: int, ours: Timing, least: float, peers: Sequence[str]) -> str:
    figures = f"{1e3 * ours.seconds:>9.4f} {ours.spread:>6.0%} {1e3 * least:>9.4f} {least / ours.seconds:>5.0%}"
    figures += f" {case.parts / ours.seconds:>7.0f}" if case.parts > 1 else " " * 8
    return f"{case.title:<46} {case.dtype:<8} {threads:>7} {figures}  {'; '.join(peers)}"


def _cell(
    name: str,
    threads: int,
    timings: Mapping[tuple[str, int], Timing],
    outputs: Mapping[tuple[str, int], np.ndarray],
    missing: Mapping[tuple[str, int], str],
    case: Case,
) -> str:
    """A peer's time, at the number of threads up to ``threads`` that is best for it, relative to ours."""
    if (name, threads) in missing:
        return f"{name}: {missing[name, threads]}"
    counts = [count for count in THREADS if count <= threads and (name, count) in timings]
    theirs = min(timings[name, count].seconds for count in counts)
    ratio = theirs / timings["regard", threads].seconds
    different = _different(outputs["regard", threads], outputs[name, threads], case.tolerance)
    mark = "·" if ratio < 1 else ""
    return f"{name} {1e3 * theirs:.4f} ({ratio:.2f}{mark}){different}"


def _different(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> str:
    """What differs, as a remark; empty if the outputs are the same."""
    if ours.shape != theirs.shape:
        return f", OTHER SHAPE {theirs.shape}, ours {ours.shape}"
    if not tolerance:
        same = int((ours == theirs).all(-1).sum())
        rows = ours.size // ours.shape[-1]
        return "" if same == rows else f", {same} of {rows} THE SAME"
    error = float(np.abs(ours - theirs).max() / np.abs(ours).max())
    return "" if error <= tolerance else f", DIFFERS BY {error:.1e}"
