"""Steps of decoding in one call of the C++ library, through all layers of a Transformer.

In Python, a step of a small model takes longer than its products: each layer makes dozens of calls. Here its weights
are packed once and a step is one call. Keys are never moved: a table says which row of the cache each key of a beam is
in.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.kernels.cpu import step as native
from regard.kernels.cpu.call import DTYPES
from regard.kernels.memory import is_plain
from regard.models.packed_decoder import Decoder, Stack, decoder_of
from regard.nn import KVCache

_SURPLUS = 128
"""With a window, the number of keys beyond it for which there is memory, so that keys are rarely moved."""


class _Cache:
    """Keys and values of all rows, ``(layers, 2, slots, key heads, room, width)``, and the call that writes them."""

    def __init__(self, decoder: Decoder, slots: int, room: int, window: int | None = None):
        self.decoder, self.window, self.steps = decoder, window, 0
        shape = (decoder.count, 2, slots, decoder.key_heads, room, decoder.width)
        self.memory = torch.empty(shape, dtype=decoder.dtype)
        self.call = native.Call(model=ctypes.addressof(decoder.model), window=window or 0)

    @property
    def slots(self) -> int:
        return self.memory.shape[2]

    @property
    def room(self) -> int:
        """The number of keys for which there is memory."""
        return self.memory.shape[4]

    def grow(self, slots: int, room: int, written: int) -> None:
        """Take more memory; the first ``written`` keys are kept."""
        layers, two, had, heads, _, width = self.memory.shape
        memory = self.memory.new_empty(layers, two, max(had, slots), heads, max(self.room, room), width)
        memory[:, :, :had, :, :written] = self.memory[..., :written, :]
        self.memory = memory

    def keep(self, first: int, written: int) -> None:
        """Move the keys from ``first`` to before ``written`` to the front."""
        self.memory[..., : written - first, :] = self.memory[..., first:written, :].clone()


class NativeState:
    """The state between steps: the cache, and for each row where its keys are. Made by `begin` and `resume`.

    As with every state, decoders only select rows of it. A state continues once: its cache is written in place.

    Attributes:
        position: the number of tokens so far, which is the position of the next one.
    """

    def __init__(
        self, cache: _Cache, slots: Tensor, rows: Tensor, written: int, position: int, sources: Tensor | None = None
    ):
        self._cache, self._slots, self._rows, self._written, self._sources = cache, slots, rows, written, sources
        self.position, self._steps = position, cache.steps

    def select(self, rows: Tensor) -> NativeState:
        """Some of its rows; keys and values stay where they are."""
        slots, own = self._slots.index_select(0, rows), self._rows.index_select(0, rows)
        return NativeState(self._cache, slots, own, self._written, self.position, self._sources)

    def step(
        self, tokens: Tensor, vectors: Tensor | None = None, *, logits: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """The logits ``(rows, tokens)``, or the features ``(rows, dim)``, and the attention to the memory.

        Args:
            tokens: int64 ``(rows,)``.
            vectors: the embeddings of the tokens, ``(rows, dim)``; None: those of the packed model.
            logits: whether the output layer is applied.

        Raises:
            IndexError: a token has no embedding.
            ValueError: another step followed the one that made this state; or a position has no vector.
        """
        cache, decoder, rows = self._cache, self._cache.decoder, len(tokens)
        if self._steps != cache.steps:
            raise ValueError("state: has been continued; a state of the C++ library continues only once")
        if self.position >= decoder.model.places:
            decoder.reach(self.position + 1)
        if self._written >= cache.room or rows > cache.slots:
            self._make_room(rows)
        result = torch.empty(rows, decoder.tokens if logits else decoder.dim)
        weights = None if self._sources is None else torch.empty(rows, self._sources.shape[-2])
        tokens, embedding = tokens.contiguous(), decoder.embedding
        if vectors is not None:
            tokens, embedding = torch.arange(rows), vectors.contiguous()
        call = cache.call
        call.rows, call.tokens, call.row, call.slot = (
            rows,
            tokens.data_ptr(),
            self._rows.data_ptr(),
            self._slots.data_ptr(),
        )
        call.embedding, call.embedding_dtype = embedding.data_ptr(), DTYPES[embedding.dtype]
        call.embeddings = len(embedding)
        call.cache, call.slots, call.room = cache.memory.data_ptr(), cache.slots, cache.room
        call.logits, call.features = (result.data_ptr(), 0) if logits else (0, result.data_ptr())
        call.weights, call.weights_width = (0, 0) if weights is None else (weights.data_ptr(), weights.shape[1])
        native.run(call)
        cache.steps += 1
        self._written, self.position, self._steps = self._written + 1, self.position + 1, cache.steps
        return result, weights

    def _make_room(self, rows: int) -> None:
        cache, window = self._cache, self._cache.window
        if window is not None and self._written >= cache.room and cache.room >= window + _SURPLUS:
            first = self._written - (window - 1)
            cache.keep(first, self._written)
            self._slots = self._slots.roll(-first, 1)
            self._rows[:, 0] -= first
            self._rows[:, 2] = 0
            self._written = window - 1
        needed = cache.room if self._written < cache.room else 2 * cache.room
        cache.grow(rows, needed, self._written)
        self._slots = F.pad(self._slots, (0, cache.room - self._slots.shape[1]))


def begin(stack: Stack, memories: Sequence[tuple[Tensor, Tensor]], lengths: Tensor, room: int) -> NativeState | None:
    """The state before the first token, one row for each source; None: the step is left to Python.

    Args:
        stack: the model.
        memories: keys and values ``(B, heads, Ls, width)`` of each layer's attention to the memory.
        lengths: int64 ``(B,)``, of the sources.
        room: the number of keys for which a cache has memory at first.
    """
    decoder = decoder_of(stack)
    if decoder is None or not decoder.cross or not is_plain(lengths, *(part for one in memories for part in one)):
        return None
    sources = torch.stack([part.to(decoder.dtype) for memory in memories for part in memory], 1)
    batch, length = sources.shape[0], sources.shape[3]
    rows = torch.zeros(batch, len(native.ROW), dtype=torch.int64)
    rows[:, 3] = sources.data_ptr() + torch.arange(batch) * (sources.stride(0) * sources.itemsize)
    rows[:, 4], rows[:, 5] = lengths.clamp(0, length), length
    slots = torch.zeros(batch, room, dtype=torch.int32)
    return NativeState(_Cache(decoder, batch, room), slots, rows, 0, 0, sources)


def begin_after(stack: Stack, tokens: Tensor, caches: Sequence[KVCache]) -> tuple[Tensor, NativeState] | None:
    """The logits ``(rows, tokens)`` after prompts, and the state there; None: they are left to Python.

    Args:
        stack: the model.
        tokens: int64 ``(rows, n)``, the prompts.
        caches: of the layers, which say how much memory is wanted.
    """
    first, (rows, count) = caches[0], tokens.shape
    if first.position or count > (first.window or count) or not is_plain(tokens):
        return None
    decoder = decoder_of(stack)
    if decoder is None or decoder.cross:
        return None
    if decoder.model.places < count:
        decoder.reach(count)
    x = F.embedding(tokens, decoder.embedding).float() * stack.scale
    x = (x if stack.positions is None else stack.positions(x)).contiguous()
    cache = _Cache(decoder, rows, max(first.capacity, count + 1), first.window)
    logits, ends = torch.empty(rows, decoder.tokens), torch.arange(1, count + 1)
    native.run_together(
        native.EncodeCall(
            ctypes.addressof(decoder.model), rows, count, ends.data_ptr(), True, x.data_ptr(), cache.memory.data_ptr(),
            cache.slots, cache.room, logits.data_ptr(),
        )
    )  # fmt: skip
    return logits, _continued(cache, rows, count, count)


def resume(stack: Stack, caches: Sequence[KVCache], rows: int) -> NativeState | None:
    """The state of ``rows`` sequences after the keys and values in ``caches``, one for each layer; None: the step is
    left to Python."""
    decoder = decoder_of(stack)
    if decoder is None or decoder.cross:
        return None
    contents = [cache.contents() for cache in caches]
    parts = [part for one in contents if one is not None for part in one]
    position, window, written = caches[0].position, caches[0].window, len(caches[0])
    if position and len(parts) != 2 * decoder.count:
        return None
    cache = _Cache(decoder, rows, max(caches[0].capacity, written + 1), window)
    if parts:
        cache.memory.flatten(0, 1)[..., :written, :] = torch.stack(parts)
    return _continued(cache, rows, written, position)


def _continued(cache: _Cache, rows: int, written: int, position: int) -> NativeState:
    """The state of ``rows`` sequences whose keys are in the cache, each in a slot of its own."""
    slots = torch.arange(rows, dtype=torch.int32)[:, None].repeat(1, cache.room)
    of_rows = torch.zeros(rows, len(native.ROW), dtype=torch.int64)
    of_rows[:, 0], of_rows[:, 1] = written, position
    return NativeState(cache, slots, of_rows, written, position)
