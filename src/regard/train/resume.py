"""What may change when a run is resumed."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from regard.errors import UserError

Config = TypeVar("Config")

MAY_CHANGE = {
    "epochs": "trains longer or shorter; the learning rate follows the new length",
    "steps": "trains longer or shorter; the learning rate follows the new length",
    "minutes": "trains longer or shorter; the learning rate follows the new length",
    "patience": "stops later or earlier when validation no longer improves",
    "evaluate_every": "validates more or less often",
    "save_every": "saves more or less often",
    "tensorboard": "logs for TensorBoard from now on",
}
"""Setting under ``train`` that may change with ``--resume`` → what the change does. All others belong to the run."""


def changed(before: Config, wanted: Config, default: Config) -> Config:
    """The run's configuration ``before`` with what ``wanted`` sets otherwise than ``default``.

    Raises:
        UserError: a setting that may not change is set.
    """
    config: Any = before
    for section in fields(before):  # type: ignore[arg-type]
        given, plain = getattr(wanted, section.name), getattr(default, section.name)
        for setting in fields(given):
            value = getattr(given, setting.name)
            if value == getattr(plain, setting.name):
                continue
            if section.name != "train" or setting.name not in MAY_CHANGE:
                flags = ", ".join(f"--train.{name.replace('_', '-')}" for name in MAY_CHANGE)
                name = f"{section.name}.{setting.name}".replace("_", "-")
                raise UserError(f"--{name}: belongs to the run and cannot change with --resume; {flags} can")
            config = replace(config, train=replace(config.train, **{setting.name: value}))
    return config  # type: ignore[no-any-return]
