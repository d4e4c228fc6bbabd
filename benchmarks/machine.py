"""Describes the machine on which a benchmark ran."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def machine() -> str:
    """The processor, the number of threads, the instruction set and the version of PyTorch, in one line."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.split(":")[1].strip()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{model}, {torch.get_num_threads()} threads, {capability}, torch {torch.__version__}"
