"""The C++ kernels compared with PyTorch's SDPA and FlexAttention, the package entmax, x-transformers and plain PyTorch.

    python benchmarks/kernels.py [--quick] [--seconds 3] [--write]

It takes some minutes; ``--quick`` leaves out the longest sequences. Both sides of a row run in the same process, in
turn, and medians are compared. A ratio is the peer's time divided by ours; the targets were set on another machine.
``--write`` also writes the table to ``benchmarks/results`` as text and CSV, with a plot of time and memory against
length; the files are named after the instruction set of the kernels.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import resource
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Iterator
from pathlib import Path

import torch
from kernel_rows import BF16, F32, Row, all_rows, both, normal
from machine import machine
from torch.nn.functional import scaled_dot_product_attention as sdpa

from regard import Causal, Look, attention
from regard.kernels.cpu import library

RESULTS = Path(__file__).parent / "results"


def timed(row: Row, seconds: float) -> tuple[float, float, float]:
    """The median times of ours and theirs in milliseconds, and the spread of ours, (p90 − p10) / median."""
    for call in (row.ours, row.theirs):
        call()
    times: tuple[list[float], list[float]] = ([], [])
    began = time.perf_counter()
    while len(times[0]) < 5 or (time.perf_counter() - began < seconds and len(times[0]) < 200):
        for call, milliseconds in zip((row.ours, row.theirs), times, strict=True):
            start = time.perf_counter()
            call()
            milliseconds.append((time.perf_counter() - start) * 1e3)
    deciles = statistics.quantiles(times[0], n=10)
    ours, theirs = (statistics.median(milliseconds) for milliseconds in times)
    return ours, theirs, (deciles[-1] - deciles[0]) / ours


def formatted(row: Row, ours: float, theirs: float, spread: float, limit: dict[str, float]) -> tuple[str, list[object]]:
    """The row's line in the table, and its entry in the CSV."""
    dtype, ratio, bound = str(row.dtype)[6:], theirs / ours, ""
    minimum = max(row.operations / limit[dtype], row.bytes / limit["copy"]) / 1e6
    share = f"{minimum / ours:.0%}" if minimum else ""
    if row.operations and ours > minimum:  # kernels that use tiles (AMX) can be faster than the vector registers' limit
        bound = f"{theirs / minimum:.1f}"
    mark = " " if ratio >= row.target else "·"
    figures = f"{ours:>9.3f} {theirs:>9.3f} {ratio:>6.2f} {row.target:>6.1f}{mark}  {spread:>5.0%}  {share:>5}"
    entry = [row.name, row.peer, dtype, f"{ours:.4f}", f"{theirs:.4f}", f"{ratio:.3f}", row.target, share, bound]
    return f"{row.name:<62} {row.peer:<7} {dtype:<9} {figures}  {bound:>5}", entry


def limits() -> dict[str, float]:
    """The machine's peak: GFLOP/s of all threads on vector registers by dtype, and GB/s of a copy in memory."""
    assert library.library is not None
    assert library.level is not None
    index, peaks = library.NAMES.index(library.level), {}
    for name, number in (("float32", 0), ("bfloat16", 2)):
        rates = []
        for _ in range(5):
            began = time.perf_counter()
            done = library.library.regard_peak(index, number, 5_000_000)
            rates.append(done / (time.perf_counter() - began) / 1e9)
        peaks[name] = max(rates) * torch.get_num_threads()
    one, two = torch.ones(1 << 26), torch.empty(1 << 26)
    rates = []
    for _ in range(5):
        began = time.perf_counter()
        two.copy_(one)
        rates.append(2 * one.numel() * 4 / (time.perf_counter() - began) / 1e9)
    return peaks | {"copy": max(rates)}


def look_line(dtype: torch.dtype) -> str:
    """The extra time of a `Look` with all statistics, relative to the forward pass, at length 4,096."""
    q, k, v = (normal(1, 8, 4096, 64, dtype=dtype) for _ in range(3))
    look = Look(lse=True, entropy=True, received=True, reach=True, top=5, map=(32, 32), norms=True)
    row = Row("", "", dtype, lambda: attention(q, k, v, look=look), lambda: attention(q, k, v), 0)
    seen, alone, _ = timed(row, 6)
    target = 1.2 if dtype is F32 else 1.5
    extra = (seen - alone) / alone
    return f"all look statistics, 8 × 64, L 4096, {str(dtype)[6:]}: extra / forward = {extra:.2f} (at most {target})"


def small_lines() -> Iterator[str]:
    """The time of a call with one query and one key, nearly all of which is overhead outside of the kernel."""
    for grad in (False, True):
        q, k, v = (normal(1, 4, 1, 64, dtype=F32, grad=grad) for _ in range(3))
        for name, ours, theirs in (
            ("", lambda q=q, k=k, v=v: attention(q, k, v), lambda q=q, k=k, v=v: sdpa(q, k, v)),
            (
                ", causal",
                lambda q=q, k=k, v=v: attention(q, k, v, mask=Causal()),
                lambda q=q, k=k, v=v: sdpa(q, k, v, is_causal=True),
            ),
        ):
            calls = (both(lambda *_, f=f: f(), q, k, v) if grad else f for f in (ours, theirs))
            one, other = (min(timeit.repeat(call, number=100, repeat=100)) * 1e4 for call in calls)
            work = "forward + backward" if grad else "forward"
            yield f"one query and one key, 4 × 64, {work}{name}: {one:.1f} µs, SDPA {other:.1f} µs (forward: below 15)"


MEMORY = """
import json, sys, torch
from regard import *
from regard import attention
length, name, dtype = int(sys.argv[1]), sys.argv[2], getattr(torch, sys.argv[3])
torch.manual_seed(0)
q, k, v = (torch.randn(1, 1, length, 64, dtype=dtype, requires_grad=True) for _ in range(3))
options = {"softmax": {}, "causal, ALiBi": {"mask": Causal(), "bias": ALiBi()},
           "sparsemax": {"normalizer": Sparsemax()}, "entmax 1.5": {"normalizer": Entmax(1.5)},
           "dropout": {"normalizer": Dropout(Softmax(), 0.1)}, "sigmoid": {"normalizer": Sigmoid()},
           "straight-through": {"normalizer": Hard("straight-through")},
           "variational": {"normalizer": Variational(0.3)}, "additive": {"score": Additive(torch.ones(64))}}[name]
small = [t[:, :, :64].detach().requires_grad_() for t in (q, k, v)]
output = attention(*small, **options)
output.backward(torch.ones_like(output))  # what PyTorch imports in the first backward pass, some 34 MiB, is not counted
def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) / 1024
open("/proc/self/clear_refs", "w").write("5")  # resets VmHWM, the peak
before = status("VmRSS")
output = attention(q, k, v, **options)
output.backward(torch.ones_like(output))
print(json.dumps(status("VmHWM") - before))
"""


def memory(length: int, name: str, dtype: torch.dtype = F32) -> float:
    """MiB that forward and backward of one head take at their peak, without inputs, output and gradients."""
    run = [sys.executable, "-c", MEMORY, str(length), name, str(dtype)[6:]]
    peak = json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    return peak - 5 * length * 64 * dtype.itemsize / 2**20  # the output and the gradients of output, q, k and v


def memory_lines() -> Iterator[str]:
    """The memory of each kind of mechanism at length 32,768."""
    title = "memory beyond inputs, output and gradients, one head × 64, L 32768"
    names = (
        "softmax",
        "causal, ALiBi",
        "dropout",
        "sigmoid",
        "sparsemax",
        "entmax 1.5",
        "straight-through",
        "variational",
    )
    for name in names:
        kinds = "; ".join(f"{str(dtype)[6:]} {memory(32768, name, dtype):.0f} MiB" for dtype in (F32, BF16))
        yield f"{title}, {name}: {kinds} (at most 64)"


def draw(path: Path) -> None:
    """Plot time and memory against length, ours and PyTorch's."""
    import matplotlib.pyplot as plt

    lengths = [256, 512, 1024, 2048, 4096, 8192]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for dtype, style in ((F32, "-"), (BF16, "--")):
        lines: dict[str, list[float]] = {"regard": [], "SDPA": []}
        for length in lengths:
            inputs = [normal(1, 8, length, 64, dtype=dtype, grad=True) for _ in range(3)]
            ours, theirs, _ = timed(Row("", "", dtype, both(attention, *inputs), both(sdpa, *inputs), 0), 1)
            lines["regard"].append(ours)
            lines["SDPA"].append(theirs)
        for (name, line), colour in zip(lines.items(), ("#08519c", "#d94801"), strict=True):
            left.loglog(lengths, line, style, color=colour, marker="o", label=f"{name}, {str(dtype)[6:]}")
    left.set(xlabel="length", ylabel="ms", title="time: forward + backward, 8 heads × 64")
    left.legend(fontsize=8)
    long = [1024, 4096, 16384, 32768]
    for name, colour in (("softmax", "#08519c"), ("sparsemax", "#6baed6"), ("additive", "#31a354")):
        measured = long if name != "additive" else long[:-2]
        right.semilogx(measured, [memory(n, name) for n in measured], color=colour, marker="o", label=name)
    right.set(
        xlabel="length", ylabel="MiB", title="memory beyond inputs, output and gradients, one head × 64", ylim=(0, None)
    )
    right.legend(fontsize=8)
    for axes, ticks in ((left, lengths), (right, long)):
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8)
        axes.minorticks_off()
        axes.title.set_fontsize(10)
    figure.suptitle(f"{machine()}; level {library.level}", fontsize=9)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave out lengths of 8,192")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds for which a row is measured")
    parser.add_argument("--write", action="store_true", help="also write the table, its CSV and the plot to results/")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say(f"{machine()}; kernels' level: {library.level}")
    limit = limits()
    say(
        f"limits: {limit['float32']:.0f} GFLOP/s float32 and {limit['bfloat16']:.0f} bfloat16 on vector registers, "
        f"copy {limit['copy']:.0f} GB/s"
    )
    say(
        f"{'work':<62} {'peer':<7} {'dtype':<9} {'ours ms':>9} {'peer ms':>9} {'ratio':>6} {'target':>6}  spread  share"
        "  bound"
    )
    table = []
    for row in all_rows(arguments.quick):
        line, entry = formatted(row, *timed(row, arguments.seconds), limit)
        say(line)
        table.append(entry)
        gc.collect()
    for line in small_lines():
        say(line)
    for dtype in (F32, BF16):
        say(look_line(dtype))
    for line in memory_lines():
        say(line)
    say(
        "· below its target. share: the speed relative to the limits above, that of products on vector registers or, "
        "in decoding, of a copy; tiles (AMX) can be faster. bound: the ratio of a kernel that reaches the limit"
    )
    if arguments.write:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"kernels-{library.level}"
        path.with_suffix(".txt").write_text("\n".join(lines) + "\n")
        with path.with_suffix(".csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["work", "peer", "dtype", "ours_ms", "peer_ms", "ratio", "target", "share", "bound"])
            writer.writerows(table)
        draw(path.with_suffix(".png"))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
