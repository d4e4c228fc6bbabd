"""A cache of past keys and values, for decoding step by step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from regard.attend import Boolean, Causal, Mask, Window
from regard.kernels.products import KEYS


class Step(NamedTuple):
    """The keys and values that a step attends to.

    Attributes:
        key: ``(B, Hk, n, E)``: the cached keys, the new ones last.
        value: ``(B, Hk, n, Ev)``.
        mask: the keys that each of the new queries sees; None: a single query sees all.
    """

    key: Tensor
    value: Tensor
    mask: Mask | None


class KVCache:
    """Keys and values kept between steps, in memory that is allocated at the start or grows by doubling.

    A step with the cache gives the result of the full causal pass at its positions; with softmax weights, in float64 on
    a CPU, bit by bit. With a window, only the last keys are kept, up to 127 more than a query sees, so that memory is
    constant.

    If keys or values require a gradient, it flows through the cache to earlier steps. Each step then creates a new
    tensor of all keys, because a tensor that the backward pass needs must not be written to. Without a gradient
    (``torch.no_grad()``, ``torch.inference_mode()``) a step copies only its own keys. A cache may be filled in
    inference mode and used outside of it.

    Sequences of different lengths are padded before or after the prompt: see ``real`` of `append`.

    >>> cache = KVCache()
    >>> step = cache.append(torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, 8))
    >>> step = cache.append(torch.zeros(1, 2, 1, 8), torch.zeros(1, 2, 1, 8))
    >>> step.key.shape
    torch.Size([1, 2, 4, 8])

    Args:
        length: the number of keys for which memory is allocated at first.
        window: the number of keys that a query sees, including its own; None: all.
        grow: whether to allocate more memory when needed (by doubling: O(1) copies per step on average); False: that is
            an error. With a window, at most ``window + 127`` keys and those of a step are needed.

    Raises:
        ValueError: ``length`` or ``window`` is not positive.
    """

    def __init__(self, length: int = 256, *, window: int | None = None, grow: bool = True):
        if length < 1:
            raise ValueError(f"length: must be positive, got {length}")
        if window is not None and window < 1:
            raise ValueError(f"window: must be positive, got {window}")
        self.window, self.grow = window, grow
        self._room, self._first, self._end, self._seen = length, 0, 0, 0
        self._key: Tensor | None = None
        self._value: Tensor | None = None
        self._real: Tensor | None = None  # boolean (B, len(self)); None: nothing was ever padded
        self._count: Tensor | None = None  # int64 (B,): the real keys so far, dropped ones included

    def __len__(self) -> int:
        """The number of cached keys."""
        return self._end - self._first

    @property
    def position(self) -> int:
        """The position of the next key: the number of all keys so far, including dropped ones."""
        return self._seen

    @property
    def capacity(self) -> int:
        """The number of keys for which memory is allocated."""
        return self._room

    def contents(self) -> tuple[Tensor, Tensor] | None:
        """The cached keys and values, ``(B, Hk, n, E)`` and ``(B, Hk, n, Ev)``; None: none, or padded ones."""
        if self._key is None or self._value is None or self._real is not None:
            return None
        inside = slice(self._first, self._end)
        return self._key[:, :, inside], self._value[:, :, inside]

    def positions(self, steps: int, real: Tensor | None = None) -> Tensor | None:
        """The positions of the next ``steps`` keys in their sequences, int64 ``(B, steps)``, without padding.

        None if there is no padding: they are then ``position``, ``position + 1``, … in every sequence. The
        position of a padded key has no meaning. ``real`` is as in `append`.
        """
        if real is None and self._count is None:
            return None
        if real is None:
            assert self._count is not None
            return self._count[:, None] + torch.arange(steps, device=self._count.device)
        before = self._seen if self._count is None else self._count[:, None]
        return (real.cumsum(1) + (before - 1)).clamp(min=0)

    def append(self, key: Tensor, value: Tensor, real: Tensor | None = None) -> Step:
        """Add the keys and values of a step, and return all that its queries attend to.

        Args:
            key: ``(B, Hk, n, E)``, of the positions from `position` on.
            value: ``(B, Hk, n, Ev)``.
            real: boolean ``(B, n)``: False is padding, which no query of this or a later step sees; None: all are real.
                A window counts padding too.

        Raises:
            TypeError: ``real`` is not boolean.
            ValueError: they do not fit each other or the cached ones; the cache is full and may not grow.
        """
        self._check(key, value, real)
        steps = key.shape[2]
        if self.window is not None:
            # The first of the new queries sees window − 1 old keys. Only full tiles are dropped, so that the others
            # keep their positions in the products, and a step is bitwise equal to the full pass.
            surplus = len(self) - (self.window - 1)
            self._first += max(0, surplus // KEYS * KEYS)
        kept = len(self)
        if self._in_graph(key, value):
            self._join(key, value, steps)
        else:
            self._write(key, value, steps)
        self._seen += steps
        self._pad(key, real, steps, kept)
        assert self._key is not None
        assert self._value is not None
        inside = slice(self._first, self._end)
        return Step(self._key[:, :, inside], self._value[:, :, inside], self._mask(steps))

    def select(self, rows: Tensor) -> KVCache:
        """A new cache with the batch entries ``rows`` (int64, repeats allowed), for beam search."""
        other = KVCache(self._room, window=self.window, grow=self.grow)
        other._first, other._end, other._seen = self._first, self._end, self._seen
        if self._key is not None and self._value is not None:
            other._key, other._value = self._key.index_select(0, rows), self._value.index_select(0, rows)
        if self._real is not None and self._count is not None:
            other._real, other._count = self._real.index_select(0, rows), self._count.index_select(0, rows)
        return other

    def _in_graph(self, key: Tensor, value: Tensor) -> bool:
        """Whether a gradient flows through this step."""
        tensors = (key, value, self._key, self._value)
        return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)

    def _join(self, key: Tensor, value: Tensor, steps: int) -> None:
        """Join the cached keys and values and the new ones in new tensors, as part of the graph."""
        self._make_room(steps)
        kept = slice(self._first, self._end)
        self._key = key if self._key is None else torch.cat([self._key[:, :, kept], key], 2)
        self._value = value if self._value is None else torch.cat([self._value[:, :, kept], value], 2)
        self._first, self._end = 0, self._key.shape[2]

    def _write(self, key: Tensor, value: Tensor, steps: int) -> None:
        """Write the new keys and values into memory in place, so that no step copies the past."""
        self._reserve(key, value, steps)
        assert self._key is not None
        assert self._value is not None
        end = self._end + steps
        self._key[:, :, self._end : end].copy_(key)
        self._value[:, :, self._end : end].copy_(value)
        self._end = end

    def _pad(self, key: Tensor, real: Tensor | None, steps: int, kept: int) -> None:
        """Store which of the new keys are padding, after those of the ``kept`` ones."""
        if real is None and self._real is None:
            return
        batch = key.shape[0]
        new = torch.ones(batch, steps, dtype=torch.bool, device=key.device) if real is None else real
        if self._real is None or self._count is None:
            self._real = torch.ones(batch, kept, dtype=torch.bool, device=key.device)
            self._count = torch.full((batch,), self._seen - steps, device=key.device)
        self._real = torch.cat([self._real[:, self._real.shape[1] - kept :], new], 1)
        self._count = self._count + new.sum(1)

    def _mask(self, steps: int) -> Mask | None:
        mask: Mask | None = Causal() if self.window is None else Window(self.window - 1, 0)
        if steps == 1 and (self.window is None or len(self) <= self.window):
            mask = None
        if self._real is None:
            return mask
        real = Boolean(self._real[:, None, None])
        return real if mask is None else mask & real

    def _check(self, key: Tensor, value: Tensor, real: Tensor | None) -> None:
        if real is not None and real.dtype is not torch.bool:
            raise TypeError(f"real: must be a boolean tensor, got {real.dtype}")
        if real is not None and tuple(real.shape) != (key.shape[0], key.shape[2]):
            raise ValueError(f"real: must have shape {(key.shape[0], key.shape[2])}, got {tuple(real.shape)}")
        if key.dim() != 4 or value.dim() != 4 or key.shape[:3] != value.shape[:3]:
            raise ValueError(
                "key and value: expected (B, Hk, n, E) and (B, Hk, n, Ev), "
                f"got {tuple(key.shape)} and {tuple(value.shape)}"
            )
        for name, new, old in (("key", key, self._key), ("value", value, self._value)):
            if old is None:
                continue
            if new.shape[:2] != old.shape[:2] or new.shape[3] != old.shape[3]:
                kept = (*old.shape[:2], "n", old.shape[3])
                raise ValueError(f"{name}: the cache holds ({', '.join(map(str, kept))}), got {tuple(new.shape)}")
            if new.dtype != old.dtype or new.device != old.device:
                had, got = f"{old.dtype} on {old.device}", f"{new.dtype} on {new.device}"
                raise ValueError(f"{name}: the cache holds {had}, got {got}")

    def _reserve(self, key: Tensor, value: Tensor, steps: int) -> None:
        """Make sure of memory for ``steps`` more keys; if it is new, the cached keys are moved to its front."""
        if self._key is not None and self._end + steps <= self._key.shape[2] and _may_write(self._key):
            return
        self._make_room(steps)
        self._key = self._moved(self._key, key)
        self._value = self._moved(self._value, value)
        self._first, self._end = 0, len(self)

    def _make_room(self, steps: int) -> None:
        """Make room for ``steps`` more keys. Raises ValueError: there is none, and the cache may not grow."""
        need = len(self) + steps
        if need > self._room:
            if not self.grow and self._key is not None:
                raise ValueError(f"key: the cache has room for {self._room} keys and may not grow, {need} are needed")
            if not self.grow:
                raise ValueError(f"key: {steps} keys do not fit into a cache of {self._room} that may not grow")
            self._room = max(need, 2 * self._room)
        elif self.window is not None and self._key is not None and 2 * len(self) > self._room and self.grow:
            # Otherwise a full buffer would be moved again at every step.
            self._room = 2 * self._room

    def _moved(self, old: Tensor | None, like: Tensor) -> Tensor:
        fresh = torch.empty(*like.shape[:2], self._room, like.shape[3], dtype=like.dtype, device=like.device)
        if old is not None:
            fresh[:, :, : len(self)] = old[:, :, self._first : self._end]
        return fresh


def _may_write(memory: Tensor) -> bool:
    """Whether it is not part of a graph, and was not created in an inference mode that has ended."""
    if memory.requires_grad:
        return False
    # A compiled graph cannot query inference mode, and is not traced through its end.
    return torch.compiler.is_compiling() or not memory.is_inference() or torch.is_inference_mode_enabled()
