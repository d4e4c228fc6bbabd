"""``regard backends``: the backends of this machine, and which one computes typical calls."""

from __future__ import annotations

import platform
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from regard.attend import (
    Additive,
    ALiBi,
    Causal,
    Dot,
    Dropout,
    Lengths,
    Score,
    Softcap,
    Softmax,
    Sparsemax,
    Window,
)  # fmt: skip
from regard.attend.attention import lower
from regard.kernels import backends

_HEADS, _LENGTH, _WIDTH = 4, 16, 8


def show(device: str, dtype: str, console: Console) -> None:
    """Print the backends, then a table of typical calls: the backend that computes each, and why others refuse it.

    Args:
        device: a PyTorch device.
        dtype: the name of a PyTorch dtype.
        console: where to print.
    """
    console.print(f"torch {torch.__version__}, {_machine(device)}", highlight=False)
    for backend in backends.BACKENDS:
        console.print(f"  [bold]{backend.name}[/bold]  {backend.what}", highlight=False)
    if (pinned := backends.pinned()) is not None:
        console.print(f"  {pinned[1]} selects {pinned[0]}", highlight=False)
    table = Table(title=f"typical calls in {dtype} on {device}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("call", "backend", "why not the others"):
        table.add_column(name, overflow="fold", header_style="dim")
    for name, plan in _calls(device, getattr(torch, dtype)).items():
        reasons = {backend.name: backend.refuse(plan) for backend in backends.BACKENDS}
        chosen = next(name for name, reason in reasons.items() if reason is None)
        table.add_row(name, chosen, "; ".join(reason for reason in reasons.values() if reason is not None))
    console.print(table, highlight=False)


class YourScore(Score):
    """An example of a user's subclass; it is only planned, not computed."""


def _calls(device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Plans of typical calls by name; they are only planned, not computed."""

    def tensor(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, device=device, dtype=dtype)

    query = tensor(1, _HEADS, _LENGTH, _WIDTH)
    grouped = tensor(1, _HEADS // 2, _LENGTH, _WIDTH)
    lengths = torch.tensor([_LENGTH], device=device)
    options: dict[str, dict[str, Any]] = {
        "Dot, Softmax": {},
        "… Causal": {"mask": Causal()},
        "… Window": {"mask": Window(7, 0)},
        "… Lengths": {"mask": Lengths(lengths)},
        "… grouped queries": {"key": grouped},
        "… a bias": {"bias": tensor(_LENGTH, _LENGTH)},
        "… a bias with gradient": {"bias": tensor(_LENGTH, _LENGTH).requires_grad_()},
        "… ALiBi": {"bias": ALiBi()},
        "… Dropout": {"normalizer": Dropout(Softmax(), 0.1)},
        "Softcap": {"score": Softcap(Dot(), 30.0)},
        "Additive": {"score": Additive(tensor(_WIDTH))},
        "Sparsemax": {"normalizer": Sparsemax()},
        "a score of your own": {"score": YourScore()},
    }
    plans = {}
    for name, arguments in options.items():
        key = arguments.pop("key", query)
        plans[name] = lower(query, key, key, **arguments)[0]
    return plans


def _machine(device: str) -> str:
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    if device == "cpu":
        threads = torch.get_num_threads()
        return f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}, {threads} threads"
    return device
