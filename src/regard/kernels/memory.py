"""Which tensors are ordinary memory, so that a kernel can read them and Python can use their values."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.parameter import is_lazy

_keys = torch._C._dispatch_keys


def _dense(device: str) -> list[torch._C.DispatchKeySet]:
    """The dispatch keys of dense tensors, created outside of inference mode and inside it."""
    with torch.inference_mode():
        inside = torch.empty(0, device=device)
    with torch.inference_mode(False):
        return [_keys(torch.empty(0, device=device)), _keys(inside)]


_PLAIN = _dense("cpu")


def is_memory(tensor: Tensor) -> bool:
    """Whether the value of ``tensor`` is stored in its memory on the CPU.

    It is not if the tensor is lazily negated or conjugated, a zero tensor without memory, sparse, nested, quantized, on
    the meta device, wrapped by a transform of torch.func or ``is_grads_batched``, or of a subclass. All of these except
    subclasses have other dispatch keys.
    """
    kind = type(tensor)
    if kind is not Tensor and kind is not Parameter:
        return False
    keys = _keys(tensor)
    return keys in _PLAIN


def is_watched() -> bool:
    """Whether a compiler or a mode (such as FakeTensor's) records every operation."""
    return torch.compiler.is_compiling() or bool(torch._C._len_torch_dispatch_stack())


def is_plain(*tensors: Tensor | None) -> bool:
    """Whether the values of all ``tensors`` can be read now; None counts as readable."""
    if is_watched():
        return False
    return all(tensor is None or is_memory(tensor) for tensor in tensors)


_REFUSED = {
    "torch.distributed.tensor.DTensor": "a DTensor: call attention on each process's own part (to_local, local_map)",
    "torch.masked.maskedtensor.core.MaskedTensor": "a MaskedTensor: give its data (get_data), and its mask as mask=",
}
"""Subclasses by the name of their class, so that the check imports nothing."""


def no_numbers(tensor: Tensor) -> str | None:
    """Why attention cannot compute with ``tensor``, and what to pass instead; None if it can."""
    if is_lazy(tensor):
        return "uninitialized: call its lazy module once first"
    if tensor.is_nested:
        return "nested: pad it and give mask=Lengths(…), or pack it into one sequence and give mask=Documents(…)"
    if tensor.layout is not torch.strided:
        return f"sparse ({tensor.layout}): give a dense tensor (to_dense)"
    if tensor.is_quantized:
        return "quantized: give its numbers (dequantize)"
    for kind in type(tensor).__mro__:
        for name, reason in _REFUSED.items():
            module, _, own = name.rpartition(".")
            if kind.__name__ == own and kind.__module__.startswith(module):
                return reason
    return None
