"""Copies of models for inference on a CPU, whose linear layers read packed weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.kernels.packed import Kind, PackedWeight, pack, why_not

_SMALLEST = 1 << 16
"""The smallest weight that is packed, in numbers: with fewer, most of the time is spent in Python."""

Model = TypeVar("Model", bound=nn.Module)


class _Weight(Tensor):
    """A weight that `torch.nn.functional.linear` reads packed; anything else reads the tensor itself.

    So a weight that is also an embedding, or used without a module, needs no other model.
    """

    kind: Kind
    packed: PackedWeight | None

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and not kwargs and isinstance(args[1], _Weight):
            x, weight, *bias = args
            if torch.is_grad_enabled():
                raise ValueError("linear: packed weights are for inference: use torch.no_grad()")
            return weight.pack().linear(x, *bias)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    def pack(self) -> PackedWeight:
        """The packed weight, packed at the first call."""
        if self.packed is None:
            with torch._C.DisableTorchFunctionSubclass():
                self.packed = pack(self.as_subclass(Tensor), self.kind)
        return self.packed


def packed_linears(model: Model, kind: Kind = "float32") -> Model:
    """A copy of ``model`` in evaluation mode whose linear layers read weights that are packed once.

    A product of a few rows, such as in decoding, then takes a fraction of the time, and one of many rows, as in an
    encoder, up to a tenth less; see `regard.kernels.packed.pack`.
    The weights of `torch.nn.Linear` and `torch.nn.Embedding` with 65,536 or more numbers are packed at the first call
    of `torch.nn.functional.linear` with them; the model's own weights stay, and are shared with ``model``.
    `packed_bytes` says how much memory was added.

    Args:
        model: on a CPU.
        kind: how the numbers are stored; with ``"float32"``, outputs differ by rounding only.

    Raises:
        ValueError: a weight cannot be packed. In a call of the copy: gradients are enabled.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.Linear(512, 2))
        >>> with torch.no_grad():
        ...     packed_linears(model, "int8")(torch.randn(5, 256)).shape
        torch.Size([5, 2])
    """
    memo: dict[int, Any] = {}
    _keep_freed_memory()
    for weight in _weights(model):
        reason = why_not(weight)
        if reason:
            raise ValueError(f"packed_linears: a weight cannot be packed: {reason}")
        own = weight.detach().as_subclass(_Weight)
        own.kind, own.packed = kind, None
        own._is_param = True  # what makes a tensor a parameter for modules
        memo[id(weight)] = own
    return copy.deepcopy(model, memo).eval()


def _keep_freed_memory() -> None:
    """Let glibc keep up to 62 MiB of freed memory for the next allocation, as after any large tensor was freed.

    Otherwise the outputs of a layer are given back to the system and come back page by page, each filled with zeros: a
    twentieth of the time of an encoder. The tensor's memory is never touched.
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


def own_memory(weight: Tensor) -> Tensor:
    """A weight of a packed copy as an ordinary tensor, which is the model's own; any other tensor as it is."""
    if not isinstance(weight, _Weight):
        return weight
    with torch._C.DisableTorchFunctionSubclass():
        return weight.as_subclass(Tensor)


def packed_bytes(model: nn.Module) -> int:
    """The memory of the packed weights of ``model`` that were used so far, in bytes.

    Example:
        >>> model = packed_linears(torch.nn.Sequential(torch.nn.Linear(256, 512)), "int8")
        >>> packed_bytes(model)  # a weight is packed at its first use
        0
        >>> with torch.no_grad():
        ...     y = model(torch.randn(5, 256))
        ...
        >>> packed_bytes(model) >= 256 * 512  # one byte for each number, and the scales
        True
    """
    weights = {id(one): one for one in model.parameters() if isinstance(one, _Weight)}
    return sum(one.packed.bytes for one in weights.values() if one.packed is not None)


def _weights(model: nn.Module) -> Iterable[Tensor]:
    """The weights to pack, each once."""
    layers = (layer for layer in model.modules() if isinstance(layer, (nn.Linear, nn.Embedding)))
    large = {id(layer.weight): layer.weight for layer in layers if layer.weight.numel() >= _SMALLEST}
    return large.values()
