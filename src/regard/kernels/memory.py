"""Which tensors are plain memory, so that a kernel can read them and Python can look at their numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.parameter import is_lazy

_keys = torch._C._dispatch_keys


def _dense(device: str) -> list[torch._C.DispatchKeySet]:
    """The dispatch keys of dense tensors, made outside of inference mode and in it."""
    with torch.inference_mode():
        inside = torch.empty(0, device=device)
    with torch.inference_mode(False):
        return [_keys(torch.empty(0, device=device)), _keys(inside)]


_PLAIN = _dense("cpu")


def is_memory(tensor: Tensor) -> bool:
    """Whether the value of ``tensor`` is what its memory on the CPU holds.

    It is not for a tensor that is lazily negated or conjugated, zero without memory, sparse, nested, quantized, on
    meta, wrapped by a transform of torch.func or ``is_grads_batched``, or of a subclass. All of these but subclasses
    show in the keys by which PyTorch dispatches.
    """
    kind = type(tensor)
    if kind is not Tensor and kind is not Parameter:
        return False
    keys = _keys(tensor)
    return keys in _PLAIN


def is_watched() -> bool:
    """Whether something wants to see each operation: a compiler, or a mode such as that of FakeTensor."""
    return torch.compiler.is_compiling() or bool(torch._C._len_torch_dispatch_stack())


def is_plain(*tensors: Tensor | None) -> bool:
    """Whether the numbers of all ``tensors`` can be read here and now; None counts as readable."""
    if is_watched():
        return False
    return all(tensor is None or is_memory(tensor) for tensor in tensors)


_REFUSED = {
    "torch.distributed.tensor.DTensor": "a DTensor: call attention on each process's own part (to_local, local_map)",
    "torch.masked.maskedtensor.core.MaskedTensor": "a MaskedTensor: give its data (get_data), and its mask as mask=",
}
"""Subclasses by the name of their class, so that nothing is imported to ask."""


def no_numbers(tensor: Tensor) -> str | None:
    """Why attention cannot compute with ``tensor``, and what to give instead; None: it can."""
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
