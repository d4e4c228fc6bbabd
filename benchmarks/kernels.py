"""The C++ kernels beside what people use today, in one process, in turn: medians, spread, and the machine's limits.

Run ``python benchmarks/kernels.py`` (some minutes; ``--quick`` leaves out the longest). It prints a table and, with
``--write``, keeps it under ``benchmarks/results`` as text, CSV and a picture of time and memory against length, named
after the kernels' level. A ratio is the peer's time over ours; the target is that of the project's issue 4, which was
written on another machine.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from entmax import entmax15, sparsemax
from machine import machine
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention as sdpa
from x_transformers.attend import Attend

from regard import (
    Additive,
    ALiBi,
    Causal,
    Dot,
    Entmax,
    Look,
    Softcap,
    Sparsemax,
    TopK,
    Window,
    attention,
)
from regard.kernels.cpu import library

F32, BF16 = torch.float32, torch.bfloat16
RESULTS = Path(__file__).parent / "results"


@dataclass
class Row:
    """One line of the table: ours and a peer, what is computed, and the ratio hoped for."""

    name: str
    peer: str
    dtype: torch.dtype
    ours: Callable[[], object]
    theirs: Callable[[], object]
    target: float
    operations: float = 0


def normal(*shape: int, dtype: torch.dtype, grad: bool = False) -> Tensor:
    return torch.randn(shape, dtype=dtype, requires_grad=grad)


def both(call: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], object]:
    """Forward and backward."""
    grad = torch.randn_like(call(*inputs))
    return lambda: torch.autograd.grad(call(*inputs), inputs, grad)


def softmax_rows(quick: bool) -> Iterator[Row]:
    lengths = (512, 2048) if quick else (512, 2048, 8192)
    for dtype in (F32, BF16):
        low = dtype is F32
        for width, targets in ((64, (2.2, 4.0)), (128, (2.0, 3.5))):
            for length in lengths:
                q, k, v = (normal(1, 8, length, width, dtype=dtype) for _ in range(3))
                yield Row(
                    f"softmax forward, 8 × {width}, L {length}", "SDPA", dtype,
                    lambda q=q, k=k, v=v: attention(q, k, v), lambda q=q, k=k, v=v: sdpa(q, k, v),
                    targets[not low], 4 * 8 * length**2 * width,
                )  # fmt: skip
        for length in lengths:
            q, k, v = (normal(1, 8, length, 64, dtype=dtype) for _ in range(3))
            yield Row(
                f"causal forward, 8 × 64, L {length}", "SDPA", dtype,
                lambda q=q, k=k, v=v: attention(q, k, v, mask=Causal()),
                lambda q=q, k=k, v=v: sdpa(q, k, v, is_causal=True), 2.4 if low else 4.2,
            )  # fmt: skip
        for heads, length in [(8, length) for length in lengths] + [(1, 4096)]:
            inputs = [normal(1, heads, length, 64, dtype=dtype, grad=True) for _ in range(3)]
            target = ((2.1, 2.6) if heads == 8 else (2.2, 2.7))[not low]
            name = f"forward + backward, {heads} × 64, L {length}"
            yield Row(name, "SDPA", dtype, both(attention, *inputs), both(sdpa, *inputs), target)
        inputs = [normal(64, 8, 32, 64, dtype=dtype, grad=True) for _ in range(3)]
        target = 1.5 if low else 4.0
        name = "forward + backward, batch 64, 8 × 64, L 32"
        yield Row(name, "SDPA", dtype, both(attention, *inputs), both(sdpa, *inputs), target)
        for batch in (1, 8):
            q = normal(batch, 8, 1, 64, dtype=dtype)
            k, v = (normal(batch, 2, 8192, 64, dtype=dtype) for _ in range(2))
            yield Row(
                f"decode, batch {batch}, 8 query and 2 key heads, cache 8192", "SDPA", dtype,
                lambda q=q, k=k, v=v: attention(q, k, v), lambda q=q, k=k, v=v: sdpa(q, k, v, enable_gqa=True),
                2.5 if low else 10.0,
            )  # fmt: skip


def flex_rows(quick: bool) -> Iterator[Row]:
    flex = torch.compile(flex_attention)
    slopes = torch.tensor([2.0 ** -(i + 1) for i in range(8)])

    def capped(score: Tensor, b: Any, h: Any, i: Any, j: Any) -> Tensor:
        return 20.0 * torch.tanh(score / 20.0)

    def alibi(score: Tensor, b: Any, h: Any, i: Any, j: Any) -> Tensor:
        return score - slopes[h] * (i - j).abs()

    length = 2048
    for dtype in (F32, BF16):
        target = 3.0 if dtype is F32 else 5.0
        q, k, v = (normal(1, 8, length, 64, dtype=dtype) for _ in range(3))
        few = [t[:, :2].contiguous() for t in (k, v)]
        yield Row(
            f"softcap forward, 8 × 64, L {length}", "Flex", dtype,
            lambda q=q, k=k, v=v: attention(q, k, v, score=Softcap(Dot(), 20.0)),
            lambda q=q, k=k, v=v: flex(q, k, v, score_mod=capped), target,
        )  # fmt: skip
        yield Row(
            f"ALiBi forward, 8 × 64, L {length}", "Flex", dtype,
            lambda q=q, k=k, v=v: attention(q, k, v, bias=ALiBi(slopes)),
            lambda q=q, k=k, v=v: flex(q, k, v, score_mod=alibi), target,
        )  # fmt: skip
        yield Row(
            f"grouped queries forward, 8 and 2 × 64, L {length}", "Flex", dtype,
            lambda q=q, few=few: attention(q, *few), lambda q=q, few=few: flex(q, *few, enable_gqa=True), target,
        )  # fmt: skip
        if quick:
            continue
        size = 8192
        q, k, v = (normal(1, 8, size, 64, dtype=dtype) for _ in range(3))

        def near(b: Any, h: Any, i: Any, j: Any) -> Any:
            return (j <= i) & (j > i - 256)

        mask = torch.ones(size, size, dtype=torch.bool).tril() & ~torch.ones(size, size, dtype=torch.bool).tril(-256)
        blocks = create_block_mask(near, None, None, size, size, device="cpu")
        ours = lambda q=q, k=k, v=v: attention(q, k, v, mask=Window(255, 0))  # noqa: E731
        name = f"causal window 256 forward, 8 × 64, L {size}"
        yield Row(name, "SDPA", dtype, ours, lambda q=q, k=k, v=v, m=mask: sdpa(q, k, v, m), 10.0)
        yield Row(
            name, "Flex", dtype, ours, lambda q=q, k=k, v=v, m=blocks: flex(q, k, v, block_mask=m),
            2.5 if dtype is F32 else 4.0,
        )  # fmt: skip


def other_rows(quick: bool) -> Iterator[Row]:
    for dtype in (F32, BF16):
        length = 1024
        q, k, v = (normal(1, 8, length, 64, dtype=dtype, grad=True) for _ in range(3))
        bias = normal(1, 8, length, length, dtype=dtype, grad=True)
        yield Row(
            f"bias with gradient, forward + backward, 8 × 64, L {length}", "SDPA", dtype,
            both(lambda q, k, v, bias: attention(q, k, v, bias=bias), q, k, v, bias), both(sdpa, q, k, v, bias),
            4.0 if dtype is F32 else 5.0,
        )  # fmt: skip
        q, k = (normal(1, 1, 512, 128, dtype=dtype, grad=True) for _ in range(2))
        v, w = normal(1, 1, 512, 64, dtype=dtype, grad=True), normal(128, dtype=dtype, grad=True)

        def plain(q: Tensor, k: Tensor, v: Tensor, w: Tensor) -> Tensor:
            return torch.softmax(torch.tanh(q[..., :, None, :] + k[..., None, :, :]) @ w, -1) @ v

        def ours(q: Tensor, k: Tensor, v: Tensor, w: Tensor) -> Tensor:
            return attention(q, k, v, score=Additive(w))

        still = [t.detach() for t in (q, k, v, w)]
        name = "additive, E 128, L 512 × 512"
        yield Row(f"{name}, forward", "plain", dtype, lambda s=still: ours(*s), lambda s=still: plain(*s), 4.0)
        yield Row(f"{name}, forward + backward", "plain", dtype, both(ours, q, k, v, w), both(plain, q, k, v, w), 4.0)
        inputs = [normal(1, 8, 2048, 64, dtype=dtype, grad=True) for _ in range(3)]
        for name, normalizer, function in (
            ("sparsemax", Sparsemax(), sparsemax),
            ("entmax 1.5", Entmax(1.5), entmax15),
        ):

            def by_package(q: Tensor, k: Tensor, v: Tensor, function: Any = function) -> Tensor:
                return function(q @ k.mT * 64**-0.5, -1) @ v

            yield Row(
                f"{name}, forward + backward, 8 × 64, L 2048", "entmax", dtype,
                both(lambda q, k, v, n=normalizer: attention(q, k, v, normalizer=n), *inputs),
                both(by_package, *inputs), 8.0,
            )  # fmt: skip


def other_library_rows(quick: bool) -> Iterator[Row]:
    """What x-transformers has of the mechanisms, over the whole matrix of weights."""
    for dtype in (F32, BF16):
        q, k, v = (normal(1, 8, 2048, 64, dtype=dtype) for _ in range(3))
        for name, theirs, options in (
            ("softcap", Attend(softclamp_logits=True, logit_softclamp_value=20.0), {"score": Softcap(Dot(), 20.0)}),
            ("top-k of 32", Attend(sparse_topk=32), {"normalizer": TopK(32)}),
        ):
            yield Row(
                f"{name} forward, 8 × 64, L 2048", "x-tf", dtype,
                lambda q=q, k=k, v=v, o=options: attention(q, k, v, **o),
                lambda q=q, k=k, v=v, a=theirs: a(q, k, v), 0.0,
            )  # fmt: skip


def timed(row: Row, seconds: float) -> tuple[float, float, float]:
    """The medians of ours and theirs in milliseconds, in turn, and the spread of ours, (p90 − p10) / median."""
    for call in (row.ours, row.theirs):
        call()
    found: tuple[list[float], list[float]] = ([], [])
    began = time.perf_counter()
    while len(found[0]) < 5 or (time.perf_counter() - began < seconds and len(found[0]) < 200):
        for call, mine in zip((row.ours, row.theirs), found, strict=True):
            at = time.perf_counter()
            call()
            mine.append((time.perf_counter() - at) * 1e3)
    deciles = statistics.quantiles(found[0], n=10)
    ours, theirs = (statistics.median(mine) for mine in found)
    return ours, theirs, (deciles[-1] - deciles[0]) / ours


def limits() -> dict[str, float]:
    """Products and sums a second, in 10⁹, of all threads on registers alone, and bytes copied, in 10⁹."""
    assert library.library is not None
    assert library.level is not None
    index, found = library.NAMES.index(library.level), {}
    for name, number in (("float32", 0), ("bfloat16", 2)):
        rates = []
        for _ in range(5):
            began = time.perf_counter()
            done = library.library.regard_peak(index, number, 5_000_000)
            rates.append(done / (time.perf_counter() - began) / 1e9)
        found[name] = max(rates) * torch.get_num_threads()
    one, two = torch.ones(1 << 26), torch.empty(1 << 26)
    rates = []
    for _ in range(5):
        began = time.perf_counter()
        two.copy_(one)
        rates.append(2 * one.numel() * 4 / (time.perf_counter() - began) / 1e9)
    return found | {"copy": max(rates)}


def look_line(dtype: torch.dtype) -> str:
    """What all statistics at once cost over a forward, at length 4,096."""
    q, k, v = (normal(1, 8, 4096, 64, dtype=dtype) for _ in range(3))
    look = Look(lse=True, entropy=True, received=True, reach=True, top=5, map=(32, 32), norms=True)
    row = Row("", "", dtype, lambda: attention(q, k, v, look=look), lambda: attention(q, k, v), 0)
    seen, alone, _ = timed(row, 6)
    target = 1.2 if dtype is F32 else 1.5
    extra = (seen - alone) / alone
    return f"all look statistics, 8 × 64, L 4096, {str(dtype)[6:]}: extra / forward = {extra:.2f} (at most {target})"


MEMORY = """
import json, sys, torch
from regard import *
from regard import attention
length, name, side = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.manual_seed(0)
q, k, v = (torch.randn(1, 1, length, 64, requires_grad=True) for _ in range(3))
options = {"softmax": {}, "causal, ALiBi": {"mask": Causal(), "bias": ALiBi()},
           "sparsemax": {"normalizer": Sparsemax()}, "additive": {"score": Additive(torch.ones(64))}}[name]
small = [t[:, :, :64].detach().requires_grad_() for t in (q, k, v)]
call = (lambda *t: attention(*t, **options)) if side == "ours" else torch.nn.functional.scaled_dot_product_attention
call(*small).sum().backward()
def kept(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) / 1024
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
before = kept("VmRSS")
output = call(q, k, v)
output.backward(torch.ones_like(output))
print(json.dumps(kept("VmHWM") - before))
"""


def memory(length: int, name: str, side: str = "ours") -> float:
    """MiB by which forward and backward of one head raise a process's peak beyond inputs, output and gradients."""
    run = [sys.executable, "-c", MEMORY, str(length), name, side]
    found = json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    return found - 5 * length * 64 * 4 / 2**20  # output, its gradient and three more


def draw(path: Path) -> None:
    """Time and memory against length, ours and PyTorch's, as a picture."""
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
    right.set(xlabel="length", ylabel="MiB", title="memory beyond what goes in and out, one head × 64", ylim=(0, None))
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
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a row is measured")
    parser.add_argument("--write", action="store_true", help="keep the table, its CSV and the picture in results/")
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
    )
    table = []
    for rows in (softmax_rows, flex_rows, other_rows, other_library_rows):
        for row in rows(arguments.quick):
            ours, theirs, spread = timed(row, arguments.seconds)
            dtype = str(row.dtype)[6:]
            share = f"{row.operations / ours / 1e6 / limit[dtype]:.0%}" if row.operations else ""
            ratio = theirs / ours
            mark = " " if ratio >= row.target else "·"
            figures = f"{ours:>9.3f} {theirs:>9.3f} {ratio:>6.2f} {row.target:>6.1f}{mark}  {spread:>5.0%}  {share:>5}"
            say(f"{row.name:<62} {row.peer:<7} {dtype:<9} {figures}")
            table.append([row.name, row.peer, dtype, f"{ours:.4f}", f"{theirs:.4f}", f"{ratio:.3f}", row.target, share])
            gc.collect()
    for dtype in (F32, BF16):
        say(look_line(dtype))
    for name in ("softmax", "causal, ALiBi", "sparsemax"):
        say(
            f"memory beyond inputs, output and gradients, one head × 64, L 32768, {name}: {memory(32768, name):.0f} MiB"
        )
    say("· below its target. share: of the vector registers' limit; tiles (AMX) have a higher one")
    if arguments.write:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"kernels-{library.level}"
        path.with_suffix(".txt").write_text("\n".join(lines) + "\n")
        with path.with_suffix(".csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["work", "peer", "dtype", "ours_ms", "peer_ms", "ratio", "target", "share"])
            writer.writerows(table)
        draw(path.with_suffix(".png"))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
