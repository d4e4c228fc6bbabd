"""regard: attention that you can look into.

The public names load on first use, so that ``import regard`` (and with it the command line's ``--help``) does not wait
for torch.
"""

# ruff: noqa: F405 - type checkers get the public names from a star import, so that they are listed only once
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regard import attend, nn, views
    from regard.attend import *  # noqa: F403 - the names in __all__ below
    from regard.tasks.running import load, train
    from regard.watch import looking

__version__ = "0.1.0"

__all__ = [
    "ALiBi",
    "Additive",
    "Bias",
    "Bilinear",
    "BlockSparse",
    "Causal",
    "Cosine",
    "Distance",
    "Documents",
    "Dot",
    "Dropout",
    "Entmax",
    "Hard",
    "Lengths",
    "Look",
    "Mask",
    "Normalizer",
    "Prefix",
    "RelativeBias",
    "Score",
    "Sigmoid",
    "Softcap",
    "Softmax",
    "Sparsemax",
    "TopK",
    "Variational",
    "View",
    "Window",
    "attend",
    "attention",
    "explain_choice",
    "load",
    "looking",
    "nn",
    "train",
    "use_backend",
    "views",
]

_ELSEWHERE = {"load": "regard.tasks.running", "looking": "regard.watch", "train": "regard.tasks.running"}
"""The modules of public names that are not in `regard.attend`."""


def __getattr__(name: str) -> object:
    if name in ("attend", "nn", "views"):
        return importlib.import_module(f"regard.{name}")
    if name in __all__:
        # Stored, so that later look-ups do not call this function.
        module = _ELSEWHERE.get(name, "regard.attend")
        public = globals()[name] = getattr(importlib.import_module(module), name)
        return public
    raise AttributeError(f"module 'regard' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
