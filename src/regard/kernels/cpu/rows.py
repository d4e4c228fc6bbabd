"""Operations on the rows of a matrix in one pass over memory, by the C++ kernels: see ``native/rows.h``."""

from __future__ import annotations

import ctypes
from struct import Struct
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from regard.kernels.cpu import library
from regard.kernels.cpu.autograd import directly
from regard.kernels.cpu.call import DTYPES, LEVELS, address, run
from regard.kernels.memory import is_memory, is_watched

_ROWS = Struct("6qd7q")
_GELU, _GELU_BACKWARD, _NORM, _NORM_BACKWARD, _ENTROPY = range(5)

_work = None if library.library is None else library.library.regard_rows
if _work is not None:
    _work.restype, _work.argtypes = ctypes.c_char_p, [ctypes.c_char_p]


def can(x: Tensor, *parameters: Tensor | None) -> bool:
    """Whether the kernels can compute with ``x``, float32 or bfloat16, and ``parameters``, float32."""
    return (
        library.level is not None
        and not is_watched()
        and is_memory(x)
        and (x.dtype is torch.float32 or x.dtype is torch.bfloat16)
        and x.is_contiguous()
        and x.numel() > 0
        and all(
            one is None or (is_memory(one) and one.dtype is torch.float32 and one.is_contiguous()) for one in parameters
        )
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def gelu(x: Tensor) -> Tensor:
    """``x Φ(x)`` (Hendrycks and Gimpel 2016, arXiv:1606.08415), as `torch.nn.functional.gelu`; of any shape."""
    if not can(x):
        return F.gelu(x)
    result: Tensor = _apply_gelu(x)
    return result


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """RMSNorm over the last dimension of ``x`` ``(…, width)``, as `torch.nn.functional.rms_norm`."""
    if x.shape[-1:] != weight.shape or x.dtype is not torch.float32 or not can(x, weight):
        return F.rms_norm(x, weight.shape, weight, epsilon)
    result: Tensor = _apply_norm(x, weight, epsilon)
    return result


def cross_entropy_(logits: Tensor, bias: Tensor, target: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Replace ``logits`` by the gradient of the summed cross-entropy of their softmax. Only if `can` says so.

    Args:
        logits: ``(N, V)``.
        bias: ``(V,)``, added to each row.
        target: int64 ``(N,)``, each in 0 … V − 1.
        smoothing: the share of a target's probability that is spread over all tokens.

    Returns:
        The loss of each row, float64 ``(N,)``, and the gradient of ``bias``.
    """
    losses = torch.empty(len(logits), dtype=torch.float64, device="cpu")
    to_bias = torch.empty_like(bias)
    _call(_ENTROPY, logits, smoothing, logits, bias, target.contiguous(), losses, None, to_bias)
    return losses, to_bias


def _call(kind: int, x: Tensor, number: float, *tensors: Tensor | None) -> None:
    """``number`` and ``tensors`` as in ``rows.h``; the matrix has the shape of ``x``."""
    assert _work is not None
    assert library.level is not None
    width = x.shape[-1] if x.dim() else 1
    addresses = [address(tensor) for tensor in tensors]
    packed = _ROWS.pack(
        kind, x.numel() // width, width, DTYPES[x.dtype], torch.get_num_threads(), LEVELS[library.level],
        number, *addresses, *(0,) * (7 - len(addresses)),
    )  # fmt: skip
    run(_work, packed)


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        result = torch.empty_like(x)
        _call(_GELU, x, 0.0, x, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled() or not can(grad):
            return torch.ops.aten.gelu_backward(grad, x)  # type: ignore[no-any-return]
        result = torch.empty_like(x)
        _call(_GELU_BACKWARD, x, 0.0, x, grad, result)
        return result


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        result, factors = torch.empty_like(x), x.new_empty(x.shape[:-1])
        _call(_NORM, x, epsilon, x, weight, result, factors)
        ctx.save_for_backward(x, weight, factors)
        ctx.epsilon = epsilon
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, factors = ctx.saved_tensors
        if torch.is_grad_enabled() or not can(grad):
            return *_norm_gradients(x, weight, ctx.epsilon, grad), None
        to_x, to_weight = torch.empty_like(x), torch.empty_like(weight)
        _call(_NORM_BACKWARD, x, 0.0, x, weight, grad, to_x, factors, to_weight)
        return to_x, to_weight, None


def _norm_gradients(x: Tensor, weight: Tensor, epsilon: float, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of `rms_norm` by operations that are differentiable and take any kind of tensor."""
    factor = (x.square().mean(-1, keepdim=True) + epsilon).rsqrt()
    unit, weighted = x * factor, grad * weight
    to_x = factor * (weighted - unit * (weighted * unit).mean(-1, keepdim=True))
    return to_x, (grad * unit).sum_to_size(weight.shape)


_apply_gelu, _apply_norm = directly(_Gelu), directly(_Norm)
