"""The masks of transformers as regard's: intervals of keys for each query, read from the functions that define them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from regard.attend import Boolean, Causal, Documents, Lengths, Mask, Prefix, Window


@dataclass(frozen=True, eq=False)
class Visibility:
    """A mask in place of the tensor that transformers passes from its mask function to its attention function.

    transformers takes it for a mask that is ready, because it has four dimensions.

    Attributes:
        mask: None: every query sees every key.
    """

    mask: Mask | None
    ndim: ClassVar[int] = 4


class _UnknownError(Exception):
    """A function of which it is not known what it makes visible."""


def visible(
    *,
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any] | None = None,
    attention_mask: Tensor | Visibility | None = None,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    **others: Any,
) -> Visibility | Tensor:
    """The mask function of transformers' ``AttentionMaskInterface``.

    Causal masks, windows, chunks, packed sequences and padding become intervals, in memory that is linear in the
    lengths. If the function is not known, or a graph is compiled, the result is the boolean tensor ``(B, 1, Lq, Lk)``
    of ``"sdpa"``.

    Args:
        batch_size: B.
        q_length: Lq.
        kv_length: Lk.
        q_offset: the position of the first query.
        kv_offset: the position of the first key.
        mask_function: whether a query sees a key, by their positions.
        attention_mask: boolean ``(B, n)``, which positions are no padding; or what this function returned before.
        use_vmap: whether the function was written by a user, so that it works on one pair of positions only.
        device: of the tensors.
        others: what other implementations need.
    """
    if isinstance(attention_mask, Visibility):
        return attention_mask
    from transformers import masking_utils

    function = mask_function or masking_utils.causal_mask_function
    if not torch.compiler.is_compiling():
        first = int(q_offset)
        places = _Places(first, kv_offset, q_length, kv_length, batch_size, torch.device(device))
        try:
            mask = places.read(function)
        except _UnknownError:
            pass
        else:
            padding = masking_utils.prepare_padding_mask(attention_mask, kv_length, kv_offset)
            if padding is not None:
                mask = _both(mask, _real(padding[:, kv_offset : kv_offset + kv_length]))
            return Visibility(mask)
    dense = masking_utils.sdpa_mask(
        batch_size, q_length, kv_length, q_offset, kv_offset, function, attention_mask,
        allow_is_causal_skip=False, use_vmap=use_vmap, device=device,
    )  # fmt: skip
    assert isinstance(dense, Tensor)
    return dense


@dataclass(frozen=True)
class _Places:
    """The positions of queries and keys, for which functions are read."""

    first_query: int
    first_key: int
    queries: int
    keys: int
    batch: int
    device: torch.device

    @property
    def shift(self) -> int:
        """Query i is at key i + shift."""
        return self.first_query - self.first_key

    def read(self, function: Callable[..., Any]) -> Mask | None:
        """The mask that a function of transformers defines; None: everything is visible.

        Raises:
            _UnknownError: it is another one.
        """
        from transformers import masking_utils

        if function is masking_utils.causal_mask_function:
            return Causal(self.shift)
        if function is masking_utils.bidirectional_mask_function:
            return None
        name, values = function.__qualname__.partition(".")[0], _enclosed(function)
        if function.__module__ != masking_utils.__name__:
            raise _UnknownError(name)
        if name == "and_masks":
            return self._all(values["mask_functions"])
        if name == "sliding_window_overlay":
            return Window(values["sliding_window"] - 1, None, self.shift)
        if name == "sliding_window_bidirectional_overlay":
            return Window(values["sliding_window"], values["sliding_window"], self.shift)
        if name == "chunked_overlay":
            return self._chunks(values["chunk_size"], values["left_padding"])
        if name == "packed_sequence_mask_function":
            return Documents(values["packed_sequence_mask"].expand(self.batch, -1))
        raise _UnknownError(name)

    def _all(self, functions: tuple[Callable[..., Any], ...]) -> Mask | None:
        names = [function.__qualname__.partition(".")[0] for function in functions]
        mask: Mask | None = None
        for name, function in zip(names, functions, strict=True):
            if name == "remap_positions_for_packed_sequence" and "packed_sequence_mask_function" in names:
                # Within a document, positions from its start differ from those in the sequence by a constant.
                function = _by_difference(_enclosed(function)["mask_function"])
            mask = _both(mask, self.read(function))
        return mask

    def _chunks(self, size: int, left_padding: Tensor) -> Documents:
        def chunk(first: int, count: int) -> Tensor:
            at = torch.arange(first, first + count, device=self.device) - left_padding[:, None].to(self.device)
            return torch.div(at, size, rounding_mode="floor")

        return Documents(chunk(self.first_key, self.keys), chunk(self.first_query, self.queries))


def _by_difference(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, if only the difference of two positions matters to it. Raises _UnknownError: it is another one."""
    from transformers import masking_utils

    name = function.__qualname__.partition(".")[0]
    if name == "and_masks" and function.__module__ == masking_utils.__name__:
        for part in _enclosed(function)["mask_functions"]:
            _by_difference(part)
        return function
    plain = (masking_utils.causal_mask_function, masking_utils.bidirectional_mask_function)
    if function in plain or name in ("sliding_window_overlay", "sliding_window_bidirectional_overlay"):
        return function
    raise _UnknownError(name)


def _enclosed(function: Callable[..., Any]) -> dict[str, Any]:
    """The variables of the function that made this one, by name."""
    cells = getattr(function, "__closure__", None) or ()
    return dict(zip(function.__code__.co_freevars, (cell.cell_contents for cell in cells), strict=True))


def _both(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return one if other is None else other
    return one & other


def _real(keys: Tensor) -> Mask | None:
    """The keys that are no padding, boolean ``(B, Lk)``; None: all."""
    if bool(keys.all()):
        return None
    count, first = keys.sum(1), keys.int().argmax(1)
    at = torch.arange(keys.shape[1], device=keys.device)
    between = (at >= first[:, None]) & (at < (first + count)[:, None])
    if torch.equal(between, keys):
        return ~Prefix(first) & Lengths(first + count)
    return Boolean(keys[:, None, None])
