"""The common parts of layers: parameters that can be initialized again, and checks of inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from regard.kernels.memory import is_memory, no_numbers

Device = torch.device | str | int | None
"""The device of a layer's parameters; None: PyTorch's default device."""


class Layer(nn.Module):
    """A module whose parameters can be initialized again, as those of PyTorch's modules can.

    It can therefore be built on the meta device, sharded (FSDP2), given memory by ``to_empty`` and initialized last. A
    subclass creates its child modules first and calls `_reset_own` at the end of ``__init__``, so that a seed gives the
    same numbers in both cases.
    """

    def reset_parameters(self) -> None:
        """Initialize all parameters again, with those of child modules, from the distributions of a new layer."""
        for child in self.children():
            reset(child)
        self._reset_own()

    def _reset_own(self) -> None:
        """Initialize the parameters of the layer itself, without those of child modules."""


def reset(module: nn.Module) -> None:
    """Call ``reset_parameters`` of ``module``, or of the modules in it if it has none."""
    own = getattr(module, "reset_parameters", None)
    if own is not None:
        own()
        return
    for child in module.children():
        reset(child)


def assign(parameter: Tensor, value: Tensor) -> None:
    """Copy ``value`` into ``parameter``, which may be sharded over several processes."""
    if hasattr(parameter, "device_mesh"):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(parameter, DTensor)
        value = distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
    with torch.no_grad():
        parameter.copy_(value)


class Projection(nn.Linear):
    """``nn.Linear`` initialized as Glorot and Bengio 2010, with a bias of zeros, for the projections of attention."""

    def reset_parameters(self) -> None:
        """See `Layer.reset_parameters`."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class GateProjection(nn.Linear):
    """Several matrices ``(width, in_features)`` in one, each initialized as a separate `Projection`.

    Args:
        in_features: of all matrices.
        width: the output width of each matrix.
        gates: the number of matrices.
        device: see `torch.nn.Linear`.
        dtype: likewise.
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        gates: int,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        self.width = width
        super().__init__(in_features, gates * width, device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """See `Layer.reset_parameters`."""
        bound = math.sqrt(6 / (self.in_features + self.width))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)


def check_kind(name: str, tensor: Tensor) -> None:
    """Refuse what is not a tensor, and kinds of tensors that the layers do not support.

    Raises:
        TypeError: it is not a tensor, or a nested, sparse or quantized one, a DTensor or a MaskedTensor; or
            `torch.fx.symbolic_trace` traces into the layer, whose code depends on the number of dimensions.
    """
    if isinstance(tensor, Proxy):
        raise TypeError(
            f"{name}: torch.fx.symbolic_trace cannot trace into a layer of regard; use a torch.fx.Tracer whose "
            "is_leaf_module is true for it, or torch.export"
        )
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    if torch.compiler.is_compiling() or is_memory(tensor):
        return
    if (reason := no_numbers(tensor)) is not None:
        raise TypeError(f"{name}: is {reason}")


def check_shape(name: str, tensor: Tensor, *shapes: str) -> None:
    """Refuse a tensor that has none of the ``shapes``, such as ``"B L width"``.

    Raises:
        TypeError: see `check_kind`.
        ValueError: it has another number of dimensions.
    """
    check_kind(name, tensor)
    rank = tensor.dim()
    for shape in shapes:
        if rank == shape.count(" ") + 1:
            return
    expected = " or ".join(f"({', '.join(shape.split())}{'' if ' ' in shape else ','})" for shape in shapes)
    raise ValueError(f"{name}: expected {expected}, got shape {tuple(tensor.shape)}")


def check_sequences(query: Tensor, **others: Tensor | None) -> None:
    """Refuse a ``query`` that is neither ``(B, Lq, width)`` nor ``(Lq, width)``, and others of another rank.

    Raises:
        TypeError: see `check_kind`.
        ValueError: the number of dimensions is wrong, or not that of ``query``.
    """
    check_shape("query", query, "B Lq width", "Lq width")
    for name, tensor in others.items():
        if tensor is not None:
            check_kind(name, tensor)
            if tensor.dim() != query.dim():
                raise ValueError(f"{name}: must have query's {query.dim()} dimensions, got shape {tuple(tensor.shape)}")
