"""Tasks: what people train attention for, each one command. The table names where each one's commands are."""

from __future__ import annotations

import importlib
from typing import Any

TASKS = {
    "translate": "regard.tasks.translate.commands",
    "generate": "regard.tasks.generate.commands",
    "image": "regard.tasks.image.commands",
}
"""Task → the module with its commands: ``train``, ``resume``, ``evaluate``, ``look``, ``demo`` and its own."""


def commands(task: str) -> Any:
    """The module of a task's commands, imported when it is needed. Raises KeyError: no such task."""
    return importlib.import_module(TASKS[task])
