"""Counts the bytes of texts, and their tokens before the run's tokenizer is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice

from regard.data.corpus import Documents
from regard.data.tokenizer import Kind, Tokenizer

_PIECE = 5_000
_SAMPLE = 1_000_000
"""Characters of one piece of text, and of all pieces that are counted; they are spread evenly over all texts."""


def bytes_of(texts: Sequence[str]) -> int:
    """The bytes of ``texts`` in UTF-8; those of large documents as the user wrote them, composed or not."""
    return texts.size if isinstance(texts, Documents) and texts.large else sum(len(text.encode()) for text in texts)


def count_tokens(texts: Sequence[str], *, kind: Kind, size: int) -> float:
    """The number of tokens of ``texts``, with an EOS each, for a tokenizer of vocabulary ``size`` trained on them.

    Up to a million characters, the number is exact. For longer text, a tokenizer is trained on a sample of that length,
    and its number of tokens per byte is used.

    >>> count_tokens(["ab ab ab"], kind="char", size=300)
    9.0
    """
    sample = _sample(texts)
    tokens = sum(map(len, Tokenizer.train(sample, kind=kind, size=size).encode_batch(sample)))
    return len(texts) + tokens * (bytes_of(texts) / max(1, bytes_of(sample)))


def _sample(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, Documents) and texts.large:
        return texts.sample(_SAMPLE, _PIECE)
    every = math.ceil(sum(map(len, texts)) / _SAMPLE)
    if every <= 1:
        return list(texts)
    pieces = (text[at : at + _PIECE] for text in texts for at in range(0, len(text), _PIECE))
    return list(islice(pieces, 0, None, every))
