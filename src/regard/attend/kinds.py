"""Which kinds of tensors an argument may be: those that `regard.attention` cannot compute with are refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from operator import attrgetter

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from regard.kernels.memory import is_memory, is_watched, no_numbers
from regard.kernels.plan import Plan


def check(**arguments: object) -> None:
    """Refuse tensors of a kind that has no dense numbers, also if they are inside the values of ``arguments``.

    Lazily negated and conjugated tensors, zero tensors, those of torch.func's transforms and subclasses that follow
    PyTorch's operations are accepted: PyTorch's dispatcher materializes them, or handles each operation.

    Raises:
        TypeError: one is sparse, nested, quantized, a DTensor or a MaskedTensor, or a FakeTensor among real tensors.
    """
    if torch.compiler.is_compiling() or all(map(_is_memory, arguments.values())):
        return
    real: bool | None = None
    for name, tensor in _tensors(arguments):
        fake = not is_memory(tensor)
        if fake:
            reason = no_numbers(tensor)
            if reason is not None:
                raise TypeError(f"{name} is {reason}")
            fake = isinstance(tensor, FakeTensor)
        real = not fake if real is None else real
        if fake is real and not is_watched():
            kinds = ("a FakeTensor", "real") if fake else ("real", "a FakeTensor")
            raise TypeError(f"{name} is {kinds[0]}, query is {kinds[1]}: all tensors of a call must be of one kind")


_ARGUMENTS = {
    "vector": "score", "bias": "bias", "relative": "bias",
    "start": "mask", "end": "mask", "visible": "mask", "layout": "mask",
    "sink": "normalizer", "numbers": "normalizer", "prior_mean": "normalizer",
}  # fmt: skip
"""Field of a plan → the argument that it comes from."""

_lowered = attrgetter(*_ARGUMENTS)


def check_lowered(plan: Plan) -> None:
    """Refuse tensors that a user's own score, bias, mask or normalizer returned, as `check` refuses arguments.

    Raises:
        TypeError: see `check`.
        ValueError: a tensor is on another device than query.
    """
    if torch.compiler.is_compiling():
        return
    tensors = _lowered(plan)
    if all(tensor is None or is_memory(tensor) for tensor in tensors):
        return
    for name, tensor in zip(_ARGUMENTS.values(), tensors, strict=True):
        if tensor is not None:
            check(query=plan.query, **{name: tensor})
            if tensor.device != plan.query.device:
                raise ValueError(f"{name}: is on {tensor.device}, query on {plan.query.device}")


def _is_memory(value: object) -> bool:
    """Whether all tensors of ``value`` are plain memory. Called on every call, so it must be fast."""
    if value is None:
        return True
    if isinstance(value, Tensor):
        return is_memory(value)
    return not hasattr(value, "__dataclass_fields__") or all(map(_is_memory, value.__dict__.values()))


def _tensors(arguments: dict[str, object]) -> Iterator[tuple[str, Tensor]]:
    """Each tensor of the arguments and of the dataclasses among them, and its name in an error."""
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            yield f"{name}:", value
        elif value is not None and is_dataclass(value):
            yield from _within(f"{name}:", value)


def _within(prefix: str, value: object) -> Iterator[tuple[str, Tensor]]:
    for name, field in vars(value).items():
        if isinstance(field, Tensor):
            kind = type(value).__name__
            yield prefix if kind == "Boolean" else f"{prefix} {kind}.{name}", field
        elif field is not None and is_dataclass(field):
            yield from _within(prefix, field)
