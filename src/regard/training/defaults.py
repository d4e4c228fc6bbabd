"""Settings that are None until the data are read, and are then chosen by the size of the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from regard.errors import UserError

Config = TypeVar("Config")


def fill(config: Config, values: Mapping[str, object]) -> tuple[Config, dict[str, object]]:
    """``config`` with those of ``values`` (``{"train.epochs": 20}``) whose setting is None; and these alone."""
    chosen = {}
    changed: Any = config
    for name, value in values.items():
        section, setting = name.split(".")
        if getattr(getattr(changed, section), setting) is None:
            changed = replace(changed, **{section: replace(getattr(changed, section), **{setting: value})})
            chosen[name] = value
    return changed, chosen


def describe(chosen: Mapping[str, object]) -> str:
    """The line that says what was chosen, as the flags that would set the same."""
    flags = (f"--{name.replace('_', '-')} {value}" for name, value in chosen.items())
    return f"chosen by the size of the data: {' '.join(flags)}"


def known(value: int | None) -> int:
    """A setting that `fill` has filled in. Raises UserError: somebody took it out of the run's file."""
    if value is None:
        raise UserError("config.yaml: a setting of the run is missing; restore the file as training wrote it")
    return value


def bounded(value: float, low: int, high: int) -> int:
    """``value`` as a whole number from ``low`` to ``high``."""
    return min(high, max(low, round(value)))


def epochs(steps: float, per_epoch: float) -> int:
    """Epochs that take about ``steps`` steps."""
    return max(1, math.ceil(steps / max(1.0, per_epoch)))
