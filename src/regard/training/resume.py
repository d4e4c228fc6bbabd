"""The settings that may change when a run is resumed."""

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
"""Setting under ``train`` that may change with ``--resume`` → the effect of the change. No other setting may."""


def changed(before: Config, wanted: Config, default: Config) -> Config:
    """The run's configuration ``before``, with the settings in which ``wanted`` differs from ``default``.

    Raises:
        UserError: a setting that may not change is set.
    """
    config: Any = before
    for section in fields(before):  # type: ignore[arg-type]
        wanted_section, default_section = getattr(wanted, section.name), getattr(default, section.name)
        for setting in fields(wanted_section):
            value = getattr(wanted_section, setting.name)
            if value == getattr(default_section, setting.name):
                continue
            if section.name != "train" or setting.name not in MAY_CHANGE:
                flags = ", ".join(f"--train.{name.replace('_', '-')}" for name in MAY_CHANGE)
                name = f"{section.name}.{setting.name}".replace("_", "-")
                raise UserError(f"--{name}: cannot change with --resume; only {flags} can")
            config = replace(config, train=replace(config.train, **{setting.name: value}))
    return config  # type: ignore[no-any-return]
