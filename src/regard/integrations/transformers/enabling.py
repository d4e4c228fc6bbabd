"""Makes regard known to transformers, and tells whether a model calls it."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from regard.errors import UserError, require
from regard.integrations.transformers.calls import Tally, attend
from regard.integrations.transformers.visibility import visible

NAME = "regard"
"""The name of the attention, as in ``attn_implementation="regard"``."""

_OLDEST = (5, 15)


def enable() -> None:
    """Make ``attn_implementation="regard"`` known to transformers, with the masks for it.

    It may be called again. A model then runs forward and backward, and generates, with `regard.attention`: the same
    outputs as with ``"eager"`` up to rounding, in linear memory. If a model passes an argument to its attention that
    regard does not know, that is a TypeError with its name.

    Raises:
        UserError: transformers is not installed, or too old.
    """
    transformers = _library()
    transformers.AttentionInterface.register(NAME, attend)
    transformers.AttentionMaskInterface.register(NAME, visible)


def disable() -> None:
    """Undo `enable`: the name is unknown again. Give models that use it another attention first.

    Raises:
        UserError: transformers is not installed, or too old.
    """
    transformers = _library()
    for interface in (transformers.AttentionInterface, transformers.AttentionMaskInterface):
        interface._global_mapping.pop(NAME, None)


def use(model: Any) -> Any:
    """Give a model regard's attention, and warn after its first forward pass if it made no call of it.

    About 90 families, such as Bloom and Falcon, accept any name and run their own code.

    Args:
        model: a ``PreTrainedModel``. It is changed.

    Returns:
        The model.

    Raises:
        UserError: transformers is not installed, or too old.
        ValueError: the model does not accept another attention.
    """
    enable()
    model.set_attn_implementation(NAME)
    before, handles = list[int](), list[Any]()

    def begin(module: nn.Module, arguments: Any) -> None:
        before.append(Tally.calls)

    def end(module: nn.Module, arguments: Any, output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        for handle in handles:
            handle.remove()
        if before and Tally.calls == before[0]:
            warnings.warn(
                f"{type(model).__name__} made no call of its attention function: its class has an attention of its "
                "own, which regard can neither replace nor look into",
                stacklevel=2,
            )

    handles += [model.register_forward_pre_hook(begin), model.register_forward_hook(end)]
    return model


def _library() -> Any:
    transformers = require("transformers", "hf", "the attention of Hugging Face's models")
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    if version < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise UserError(
            f"transformers {transformers.__version__}: needs {oldest} or newer; pip install -U transformers"
        )
    return transformers
