"""``regard serve`` under load: ``python benchmarks/serving.py RUN``.

10,000 requests, 50 at a time over as many connections, beside a server that computes each alone, and beside requests
that wait for each other. Every response is compared with that for the same input before. The memory of the server's
process is measured after 1,000 requests and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import machine

from regard.tasks.running import load, settings_of
from regard.tasks.table import spec_of
from regard.training.run import kind

Address = tuple[str, int]


@dataclass
class Outcome:
    """What became of some requests.

    Attributes:
        seconds: from the first to the last.
        latencies: of each, in seconds.
        answers: status and body of each.
        lost: the number of those without a response.
    """

    seconds: float
    latencies: np.ndarray
    answers: list[tuple[int, str]]
    lost: int


@contextmanager
def server(run: Path, *options: str) -> Iterator[tuple[int, Address]]:
    """The number of the server's process, and its host and port."""
    call = [sys.executable, "-m", "regard", "serve", str(run), "--port", "0", *options]
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("serving at "))
        try:
            yield process.pid, ("127.0.0.1", int(line.rstrip().rpartition(":")[2]))
        finally:
            process.terminate()
            process.stderr.read()


def bodies(run: Path) -> list[bytes]:
    """Requests with the built-in inputs of the run's task, and with parts of them, which are shorter."""
    spec = spec_of(kind(run))
    if spec.served.media:
        raise SystemExit(f"{run}: expected a run of a task with texts, such as translate, got {spec.name}")
    with tempfile.TemporaryDirectory() as folder:
        inputs = spec.load().inputs(settings_of(run), Path(folder))
    names = spec.served.parts or ("input",)
    parts = [item.split("\t") if spec.served.parts else [item] for item in inputs]
    if not spec.served.parts and spec.name != "recommend":
        words = [item.split(" ") for item in inputs]
        parts += [[" ".join(some[:end])] for some in words for end in range(1, len(some))]
    return [json.dumps(dict(zip(names, some, strict=True)), ensure_ascii=False).encode() for some in parts]


async def _client(address: Address, path: str, todo: Iterator[tuple[int, bytes]], outcome: Outcome) -> None:
    reader, writer = await asyncio.open_connection(*address)
    for number, body in todo:
        begun = time.perf_counter()
        head = f"POST {path} HTTP/1.1\r\nhost: {address[0]}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        try:
            first = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", first)[1])  # type: ignore[index]
            content = await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            outcome.lost += 1
            reader, writer = await asyncio.open_connection(*address)
            continue
        outcome.latencies[number] = time.perf_counter() - begun
        outcome.answers[number] = int(first.split()[1]), content.decode()
    writer.close()
    await writer.wait_closed()


def ask(address: Address, path: str, requests: Sequence[bytes], count: int, together: int) -> Outcome:
    """Send ``count`` requests, so many at a time."""
    outcome = Outcome(0.0, np.zeros(count), [(0, "")] * count, 0)
    todo = iter([(number, requests[number % len(requests)]) for number in range(count)])

    async def every() -> None:
        await asyncio.gather(*(_client(address, path, todo, outcome) for _ in range(together)))

    begun = time.perf_counter()
    asyncio.run(every())
    outcome.seconds = time.perf_counter() - begun
    return outcome


def resident(process: int) -> float:
    """The memory of a process in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def text_of(answer: tuple[int, str]) -> object:
    """A response without its numbers, which are rounded otherwise in batches of another size."""
    return answer[0], re.sub(r"-?\d+\.\d+(e-?\d+)?", "#", answer[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--together", type=int, default=50)
    parser.add_argument("--note", default="", help="a line about the machine, such as what else ran on it")
    chosen = parser.parse_args()
    requests = bodies(chosen.run)
    print(f"{machine()}\n{chosen.note or 'nothing else ran on the machine'}\n")
    path = f"/api/runs/{chosen.run.resolve().name}/predict"
    parameters = sum(one.numel() for one in load(chosen.run).model.parameters())  # type: ignore[attr-defined]
    print(f"{kind(chosen.run)}, {parameters:,} parameters, {len(requests)} different inputs\n")
    print(f"{'':42}{'requests':>9}{'lost':>6}{'other':>7}{'/ s':>8}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}  MB")
    expected: dict[bytes, object] = {}
    rows = (
        (f"{chosen.together} at a time, batches of 10", (), chosen.requests, chosen.together),
        (f"{chosen.together} at a time, each alone", ("--batch", "1"), chosen.requests, chosen.together),
        ("one after the other", ("--delay", "0"), chosen.requests // 10, 1),
    )
    for name, options, count, together in rows:
        with server(chosen.run, *options) as (process, address):
            if not expected:
                alone = ask(address, path, requests, len(requests), 1)
                expected = dict(zip(requests, map(text_of, alone.answers), strict=True))
            ask(address, path, requests, 1000, together)
            before = resident(process)
            outcome = ask(address, path, requests, count, together)
            after = resident(process)
        other = sum(
            text_of(answer) != expected[requests[number % len(requests)]]
            for number, answer in enumerate(outcome.answers)
        )
        times = "".join(f"{1000 * np.percentile(outcome.latencies, share):8.1f}" for share in (50, 95, 99, 100))
        print(
            f"{name:42}{count:9,}{outcome.lost:6}{other:7}{count / outcome.seconds:8.1f}{times}  "
            f"{before:.0f} → {after:.0f}",
            flush=True,
        )
    print(
        "\nlost: requests without a response; other: responses with another status or text than for the same input "
        "alone;\np50 to max: milliseconds from the request to its response; MB: memory of the server after 1,000 "
        "requests and at the end"
    )


if __name__ == "__main__":
    main()
