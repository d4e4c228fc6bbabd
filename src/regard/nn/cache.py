"""Keys and values of the past, for decoding step by step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from regard.attend import Causal, Mask, Window
from regard.kernels.products import KEYS


@dataclass(frozen=True)
class Step:
    """What a step attends to.

    Attributes:
        key: ``(B, Hk, n, E)``: the keys kept, the new ones last.
        value: ``(B, Hk, n, Ev)``.
        mask: who of the new queries sees which of them; None: a single one sees all.
    """

    key: Tensor
    value: Tensor
    mask: Mask | None


class KVCache:
    """Keys and values kept between steps, in memory that is there from the start or grows by doubling.

    A step with the cache gives what the full causal pass gives at its positions; with softmax weights, in float64 on a
    CPU, to the bit. Within a window only the last keys are kept, up to 127 more than a
    query sees, so memory is constant, whatever the length.

    Args:
        length: how many keys there is room for at first.
        window: how many keys a query sees, itself included; None: all.
        grow: whether to make more room when it is needed (doubling, so that a step costs O(1) copies on average); else
            that is an error. With a window, ``window + 127`` and a step are ever needed.

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

    def __len__(self) -> int:
        """How many keys are kept."""
        return self._end - self._first

    @property
    def position(self) -> int:
        """The position of the next key: how many there have been, dropped ones included."""
        return self._seen

    @property
    def capacity(self) -> int:
        """How many keys there is room for now."""
        return self._room

    def append(self, key: Tensor, value: Tensor) -> Step:
        """Keep the keys and values of a step, and give what its queries attend to.

        Args:
            key: ``(B, Hk, n, E)``, of the positions from `position` on.
            value: ``(B, Hk, n, Ev)``.

        Raises:
            ValueError: they do not fit each other or what is kept; there is no room and the cache may not grow.
        """
        self._check(key, value)
        steps = key.shape[2]
        if self.window is not None:
            # The first of the new queries still sees window − 1 old keys. Only whole tiles are dropped, so that the
            # others stay at their places in the products, and a step gives the bits of the full pass.
            surplus = len(self) - (self.window - 1)
            self._first += max(0, surplus // KEYS * KEYS)
        self._reserve(key, value, steps)
        assert self._key is not None
        assert self._value is not None
        end = self._end + steps
        # Into memory in place: no step copies the past. It is outside the gradient.
        self._key[:, :, self._end : end].copy_(key.detach())
        self._value[:, :, self._end : end].copy_(value.detach())
        self._end, self._seen = end, self._seen + steps
        kept = slice(self._first, end)
        mask: Mask | None = Causal() if self.window is None else Window(self.window - 1, 0)
        if steps == 1 and (self.window is None or len(self) <= self.window):
            mask = None
        return Step(self._key[:, :, kept], self._value[:, :, kept], mask)

    def select(self, rows: Tensor) -> KVCache:
        """A cache of its own with the batch entries ``rows`` (int64, repeats allowed), as beam search needs it."""
        other = KVCache(self._room, window=self.window, grow=self.grow)
        other._first, other._end, other._seen = self._first, self._end, self._seen
        if self._key is not None and self._value is not None:
            other._key, other._value = self._key.index_select(0, rows), self._value.index_select(0, rows)
        return other

    def _check(self, key: Tensor, value: Tensor) -> None:
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
        """Make room for ``steps`` more, moving what is kept to the front of it."""
        if self._key is not None and self._end + steps <= self._room:
            return
        need = len(self) + steps
        if need > self._room:
            if not self.grow and self._key is not None:
                raise ValueError(f"key: the cache has room for {self._room} keys and may not grow, {need} are needed")
            if not self.grow:
                raise ValueError(f"key: {steps} keys do not fit into a cache of {self._room} that may not grow")
            self._room = max(need, 2 * self._room)
        elif self.window is not None and self._key is not None and 2 * len(self) > self._room and self.grow:
            # Else a full buffer would be moved again at every step.
            self._room = 2 * self._room
        self._key = self._moved(self._key, key)
        self._value = self._moved(self._value, value)
        self._first, self._end = 0, len(self)

    def _moved(self, old: Tensor | None, like: Tensor) -> Tensor:
        fresh = like.new_empty(*like.shape[:2], self._room, like.shape[3])
        if old is not None:
            fresh[:, :, : len(self)] = old[:, :, self._first : self._end]
        return fresh
