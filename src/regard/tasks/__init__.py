"""Tasks for which models with attention are trained. A table names the module of each task's commands."""

from __future__ import annotations

import importlib
from typing import Any

TASKS = {
    "translate": "regard.tasks.translate.commands",
    "generate": "regard.tasks.generate.commands",
    "image": "regard.tasks.image.commands",
}
"""Task → the module with its commands: ``train``, ``resume``, ``evaluate``, ``look``, ``demo`` and others."""


def commands(task: str) -> Any:
    """The module of a task's commands, imported on the first call. Raises KeyError: there is no such task."""
    return importlib.import_module(TASKS[task])
