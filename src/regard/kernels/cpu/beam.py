"""The largest logits of each row, and a step of beam search: see ``native/best_tokens.h`` and ``native/beam.cpp``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from struct import Struct, unpack_from

import torch
from torch import Tensor

from regard.kernels.cpu import library
from regard.kernels.cpu.call import LEVELS, run
from regard.kernels.memory import is_plain

_BEST, _EXTENSION, _ENDED = Struct("10q"), Struct("11q"), Struct("qdq")
_NO_MEMORY = -2


@cache
def _library() -> ctypes.CDLL:
    loaded = library.library
    assert loaded is not None
    loaded.regard_best.restype, loaded.regard_extend.restype = ctypes.c_char_p, ctypes.c_int64
    for function in (loaded.regard_best, loaded.regard_extend):
        function.argtypes = [ctypes.c_char_p]
    return loaded


def can(logits: Tensor) -> bool:
    """Whether the kernels can read ``logits``."""
    return logits.dtype is torch.float32 and library.level is not None and is_plain(logits) and logits.stride(1) == 1


def best(logits: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The ``count`` largest numbers of each row, their tokens, and the row's log-sum-exp.

    They are in descending order; of equal ones, that of the lowest token comes first. The log-sum-exp is NaN if a
    number is NaN or +∞.
    """
    rows = logits.shape[0]
    values, sums = torch.empty(rows, count, device="cpu"), torch.empty(rows, device="cpu")
    tokens = torch.empty(rows, count, dtype=torch.int64, device="cpu")
    run(_library().regard_best, _packed(logits, count, values.data_ptr(), tokens.data_ptr(), sums.data_ptr()))
    return values, tokens, sums


def extend(
    scores: Tensor, logits: Tensor, beam: int, eos: int, normalized: bool
) -> tuple[list[tuple[int, float, int]], Tensor, Tensor, Tensor, Sequence[float]] | None:
    """The fields of `regard.decode.candidates.Extended`. None: the logits of a live row are not a distribution.

    ``scores`` is contiguous; the rest as in `regard.decode.candidates.extend`.
    """
    sentences, width = scores.shape
    count = min(beam, logits.shape[1] - 1) + 1
    live = min(beam, width * count)
    live_scores = torch.empty(sentences, live, device="cpu")
    integers = torch.empty(2, sentences, live, dtype=torch.int64, device="cpu")
    rows, tokens = integers[0], integers[1]
    read = ctypes.create_string_buffer(sentences * (8 + beam * _ENDED.size))
    ended = 8 * sentences
    number = _library().regard_extend(
        _packed(logits, count, 0, 0, 0)
        + _EXTENSION.pack(
            sentences, beam, eos, normalized, scores.data_ptr(), live_scores.data_ptr(), rows.data_ptr(),
            tokens.data_ptr(), live, ctypes.addressof(read), ctypes.addressof(read) + ended,
        )
    )  # fmt: skip
    if number == _NO_MEMORY:
        raise MemoryError("regard's C++ kernels: out of memory")
    if number < 0:
        return None
    ends = list(_ENDED.iter_unpack(read.raw[ended : ended + number * _ENDED.size])) if number else []
    return ends, live_scores, rows, tokens, unpack_from(f"{sentences}d", read)


def _packed(logits: Tensor, count: int, values: int, tokens: int, sums: int) -> bytes:
    assert library.level is not None
    rows, vocabulary = logits.shape
    return _BEST.pack(
        logits.data_ptr(), logits.stride(0), rows, vocabulary, count, values, tokens, sums, torch.get_num_threads(),
        LEVELS[library.level],
    )  # fmt: skip
