"""`Tokens`: the labels of queries or keys, and the words that they are pieces of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

_STARTS = ("▁", "Ġ", "Ċ")
"""Marks of SentencePiece and of byte-level encodings before a piece that begins a word."""
_CONTINUES, _ENDS = "##", "</w>"
"""The mark of WordPiece before a piece that continues a word, and that of CLIP's encoding after one that ends it."""
_SPECIAL = re.compile(r"<(?!0x)[^<>]+>|\[[A-Z]+[0-9]*\]")
"""Special tokens, such as ``<s>`` and ``[CLS]``; ``<0x0A>`` is a byte of the text."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of a sequence.

    Attributes:
        texts: what is shown for each.
        words: the number of the word that each belongs to, from 0, never decreasing, without gaps.

    Raises:
        ValueError: the numbers of words are not such, or there are not as many as tokens.

    Example:
        >>> tokens = Tokens.of(["[CLS]", "un", "##seen", "cats"])
        >>> tokens.texts, tokens.words, tokens.word_texts
        (('[CLS]', 'un', 'seen', 'cats'), (0, 1, 1, 2), ('[CLS]', 'unseen', 'cats'))
    """

    texts: tuple[str, ...]
    words: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.words) != len(self.texts):
            raise ValueError(f"words: expected a number for each of {len(self.texts)} tokens, got {len(self.words)}")
        steps = zip((-1, *self.words), self.words, strict=False)
        if not all(after - before in (0, 1) for before, after in steps) or self.words[:1] not in ((), (0,)):
            raise ValueError("words: expected numbers from 0 that grow by 0 or 1 from token to token")

    @classmethod
    def of(cls, pieces: Sequence[str], texts: Sequence[str] | None = None) -> Tokens:
        """Tokens from the pieces of a tokenizer; their marks say where words begin.

        The marks are those of WordPiece (``##ing``), SentencePiece (``▁the``), byte-level encodings (``Ġthe``) and CLIP
        (``the</w>``). Pieces without any mark are words of their own, as are special tokens such as ``[SEP]``.

        Args:
            pieces: as of ``tokenizer.convert_ids_to_tokens``.
            texts: what is shown for each; by default the pieces without their marks.
        """
        words = tuple(accumulate([0, *map(int, _starts(pieces)[1:])])) if pieces else ()
        return cls(tuple(texts if texts is not None else map(_shown, pieces)), words)

    @classmethod
    def positions(cls, count: int, first: int = 0) -> Tokens:
        """Numbers, for a sequence whose tokens are not known."""
        return cls(tuple(map(str, range(first, first + count))), tuple(range(count)))

    def __len__(self) -> int:
        return len(self.texts)

    def part(self, start: int, end: int) -> Tokens:
        """The tokens from ``start`` to ``end``."""
        words = self.words[start:end]
        return Tokens(self.texts[start:end], tuple(word - words[0] for word in words))

    @property
    def word_texts(self) -> tuple[str, ...]:
        """The words: the texts of their pieces, joined."""
        parts: list[list[str]] = [[] for _ in range(self.words[-1] + 1)] if self.words else []
        for text, word in zip(self.texts, self.words, strict=True):
            parts[word].append(text)
        return tuple("".join(part).strip() or "".join(part) for part in parts)

    def summed(self, weights: Tensor) -> Tensor:
        """Weights ``(…, tokens)`` summed over the pieces of each word, ``(…, words)``."""
        at = torch.tensor(self.words, dtype=torch.int64, device=weights.device)
        words = self.words[-1] + 1 if self.words else 0
        return weights.new_zeros(*weights.shape[:-1], words).index_add(-1, at, weights)


def _starts(pieces: Sequence[str]) -> list[bool]:
    """Which pieces begin a word."""
    special = [_SPECIAL.fullmatch(piece) is not None for piece in pieces]
    after_special = [False, *special[:-1]]
    if any(piece.startswith(_STARTS) for piece in pieces):
        own = [piece.startswith(_STARTS) for piece in pieces]
    elif any(piece.endswith(_ENDS) for piece in pieces):
        own = [True, *(piece.endswith(_ENDS) for piece in pieces[:-1])]
    else:
        own = [not piece.startswith(_CONTINUES) for piece in pieces]
    return [a or b or c for a, b, c in zip(own, special, after_special, strict=True)]


def _shown(piece: str) -> str:
    for mark in (*_STARTS, _CONTINUES):
        if len(piece) > len(mark):
            piece = piece.removeprefix(mark)
    return piece.removesuffix(_ENDS)
