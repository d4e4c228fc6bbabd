"""``regard backends``: what this machine runs attention on, and which backend typical calls go to."""

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
    """Print the backends, then a table of typical calls: the backend that runs each, and why those before it refuse.

    Args:
        device: a device of torch.
        dtype: the name of a dtype of torch.
        console: where to print.
    """
    console.print(f"torch {torch.__version__}, {_machine(device)}", highlight=False)
    for each in backends.BACKENDS:
        console.print(f"  [bold]{each.name}[/bold]  {each.what}", highlight=False)
    if (pinned := backends.pinned()) is not None:
        console.print(f"  {pinned[1]} pins {pinned[0]}", highlight=False)
    table = Table(title=f"a call in {dtype} on {device} runs on", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("call", "backend", "because"):
        table.add_column(name, overflow="fold", header_style="dim")
    for name, plan in _calls(device, getattr(torch, dtype)).items():
        reasons = {each.name: each.refuse(plan) for each in backends.BACKENDS}
        chosen = next(name for name, reason in reasons.items() if reason is None)
        table.add_row(name, chosen, "; ".join(reason for reason in reasons.values() if reason is not None))
    console.print(table, highlight=False)


class YourScore(Score):
    """Stands for a user's subclass; nothing of it is computed."""


def _calls(device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Plans of typical calls, nothing of which is computed."""

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
    found = {}
    for name, chosen in options.items():
        key = chosen.pop("key", query)
        found[name] = lower(query, key, key, **chosen)[0]
    return found


def _machine(device: str) -> str:
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    if device == "cpu":
        threads = torch.get_num_threads()
        return f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}, {threads} threads"
    return device
