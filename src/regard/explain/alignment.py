"""Alignments: the attention of each piece of a translation to the pieces of its source."""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from typing import Any

import numpy as np

from regard.errors import require
from regard.explain.documents import document
from regard.explain.links import Links
from regard.viewer.document import Axis, Document

WORD = "▁"
"""The mark before a piece that begins a word (Kudo and Richardson 2018, arXiv:1808.06226)."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """The attention of one sentence pair.

    Attributes:
        source: pieces of the source.
        target: pieces of the target.
        weights: ``(len(target), len(source))``, floating point: row i has the weights of target piece i.

    Raises:
        ValueError: ``weights`` has another shape or type.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: np.ndarray

    def __post_init__(self) -> None:
        if not isinstance(self.weights, np.ndarray) or not np.issubdtype(self.weights.dtype, np.floating):
            kind = getattr(self.weights, "dtype", type(self.weights).__name__)
            raise ValueError(f"weights: expected a floating-point NumPy array, got {kind}")
        if self.weights.shape != (len(self.target), len(self.source)):
            raise ValueError(
                f"weights: expected shape ({len(self.target)}, {len(self.source)}), a row for each target piece and a "
                f"column for each source piece, got {self.weights.shape}"
            )

    def words(self) -> Alignment:
        """The same by words: weights summed over a source word's pieces, averaged over a target word's.

        The sum of each row stays the same. Special tokens such as ``<eos>`` are words of their own. In scripts without
        spaces between words, such as Chinese, Japanese and Thai, Unicode's rules (UAX 29) define the words: mostly
        single characters. A piece in several words counts for each by its share of characters.
        """
        (source, gather), (target, shares) = _words(self.source), _words(self.target)
        spread = shares.T / shares.sum(0)[:, None]
        return Alignment(source, target, spread @ self.weights @ gather)

    def characters(self) -> Alignment:
        """The same with complete characters: pieces such as ``⟨d7⟩`` and ``⟨a9⟩``, the bytes of ``ש``, are joined.

        A piece with the end of one character and the start of the next counts for each by its share of bytes.
        """
        source, target, (weights,) = self._by_characters([self.weights])
        return Alignment(source, target, weights)

    def document(
        self,
        title: str,
        layers: Mapping[str, np.ndarray] | None = None,
        notes: Sequence[str] = (),
        *,
        group: str = "",
    ) -> Document:
        """What the viewer shows: pieces as of `characters`, and the words that they belong to.

        Args:
            title: a line above all.
            layers: other weights by name, ``(target, source)`` or ``(heads, target, source)``, in place of ``weights``.
            notes: sentences below the title.
            group: a name for all layers, if they are of the same kind.
        """
        layers = {"attention": self.weights} if layers is None else layers
        source, target, parts = self._by_characters(layers.values())
        keys = pieces_axis(source)
        queries = keys if target == source else pieces_axis(target)
        return document(title, queries, keys, dict(zip(layers, parts, strict=True)), notes, group=group)

    def _by_characters(
        self, weights: Iterable[np.ndarray]
    ) -> tuple[tuple[str, ...], tuple[str, ...], list[np.ndarray]]:
        (source, gather), (target, shares) = (
            _sides(_characters(side), len(side)) for side in (self.source, self.target)
        )
        spread = shares.T / shares.sum(0)[:, None]
        return source, target, [spread @ one @ gather for one in weights]

    def links(self) -> Links:
        """(source, target) of the largest weight of each target piece; special tokens are not counted.

        >>> weights = np.array([[0.3, 0.1, 0.6], [0.1, 0.8, 0.1]])
        >>> sorted(Alignment(("red", "house", "<eos>"), ("maison", "rouge"), weights).links())
        [(0, 0), (1, 1)]
        """
        sources = [at for at, piece in enumerate(self.source) if not is_sign(piece)]
        targets = [at for at, piece in enumerate(self.target) if not is_sign(piece)]
        if not sources:
            return frozenset()
        best = self.weights[np.ix_(targets, sources)].argmax(1)
        return frozenset((int(source), target) for target, source in enumerate(best))

    def crossings(self) -> int:
        """The number of pairs of links that are in opposite orders on the two sides."""
        return sum((a[1] - b[1]) * (a[0] - b[0]) < 0 for a, b in combinations(self.links(), 2))

    def entropy(self) -> np.ndarray:
        """The entropy of each row, in nats, ``(len(target),)``."""
        logs = np.log(self.weights, out=np.zeros_like(self.weights), where=self.weights > 0)
        return np.asarray(-(self.weights * logs).sum(1))

    def to_json(self) -> str:
        """As JSON text, with all digits of the weights: ``{"source": [...], "target": [...], "weights": [[...]]}``."""
        kept = {"source": self.source, "target": self.target, "weights": self.weights.tolist()}
        return json.dumps(kept, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Alignment:
        """The alignment that ``to_json`` wrote; its weights come back in double precision.

        Raises:
            ValueError: ``text`` is not a JSON object, lacks a field, or the weights' shape does not fit.
        """
        kept = json.loads(text)
        for field in ("source", "target", "weights"):
            if not isinstance(kept, dict) or not isinstance(kept.get(field), list):
                raise ValueError(f"{field}: expected a list under this name in the JSON object, got none")
        source, target = tuple(kept["source"]), tuple(kept["target"])
        weights = np.array(kept["weights"], dtype=np.float64)
        # Without target pieces, JSON does not have the number of columns.
        return Alignment(source, target, weights if target else weights.reshape(-1, len(source)))


def pieces_axis(pieces: tuple[str, ...]) -> Axis:
    """Pieces of a text without the marks of words, as an axis of the viewer; a mark alone is a space.

    In scripts without spaces, words that share a piece are one.

    >>> pieces_axis(("▁Fri", "day", "▁5", "<eos>"))
    Axis(labels=('Fri', 'day', '5', '<eos>'), words=(0, 0, 1, 2), right_to_left=False, unit='token', pictures=(), \
places=(), seconds=())
    """
    owners = [set(np.flatnonzero(row)) for row in _words(pieces)[1]]
    words = list(accumulate(int(not one & other) for one, other in zip([set(), *owners], owners, strict=False)))
    labels = tuple(piece.removeprefix(WORD) or " " for piece in pieces)
    return Axis(labels, tuple(word - 1 for word in words), is_right_to_left(pieces))


def is_sign(piece: str) -> bool:
    """Whether a piece is a special token such as ``<eos>``."""
    return len(piece) > 2 and piece[0] == "<" and piece[-1] == ">" and piece[1:-1].isalpha()


def is_right_to_left(pieces: Sequence[str]) -> bool:
    """Whether most letters are of Hebrew, Arabic or another script that is read from the right, without special tokens.

    >>> is_right_to_left(["שלום", "Python", "<eos>"]), is_right_to_left(["peace", "שלום"])
    (False, False)
    >>> is_right_to_left(["שלום", "עולם", "Python"])
    True
    """
    kinds = [unicodedata.bidirectional(letter) for piece in pieces if not is_sign(piece) for letter in piece]
    return sum(kind in ("R", "AL") for kind in kinds) > kinds.count("L")


Part = tuple[str, dict[int, float]]
"""A word or character, and the share of each piece that belongs to it."""


def _words(pieces: tuple[str, ...]) -> tuple[tuple[str, ...], np.ndarray]:
    """The words, and the share of each piece in each word, ``(pieces, words)``."""
    words: list[tuple[str, list[Part]]] = []
    for text, shares in _characters(pieces):
        part = (text.removeprefix(WORD), shares)
        if words and not text.startswith(WORD) and not is_sign(text) and not is_sign(words[-1][0]):
            words[-1] = (words[-1][0] + part[0], [*words[-1][1], part])
        else:
            words.append((part[0], [part]))
    return _sides([word for text, parts in words for word in _split(text, parts)], len(pieces))


def _split(text: str, parts: list[Part]) -> list[Part]:
    """The words of a text without spaces, each with the shares of its pieces."""
    if not _UNSPACED.search(text):
        return [(text, _sum(shares for _, shares in parts))]
    # The pieces of each character, and the share of each that is in it.
    owners = [{at: share / len(part) for at, share in shares.items()} for part, shares in parts for _ in part]
    # A piece that is only the mark of a word belongs to the first character.
    owners[0] = _sum([owners[0], *(shares for part, shares in parts if not part)])
    regex: Any = require("regex", "text", "finding words in a script without spaces")
    words, start = list[Part](), 0
    for word in filter(None, regex.split(r"(?w)\b", text, flags=regex.V1)):
        words.append((word, _sum(owners[start : start + len(word)])))
        start += len(word)
    return words


def _sum(shares: Iterable[dict[int, float]]) -> dict[int, float]:
    total: dict[int, float] = {}
    for one in shares:
        for at, share in one.items():
            total[at] = total.get(at, 0.0) + share
    return total


def _characters(pieces: tuple[str, ...]) -> list[Part]:
    """The pieces, in which each character that is spread over several of them is joined, with the shares of these."""
    parts: list[Part] = []
    at = 0
    while at < len(pieces):
        end = _chain(pieces, at) if _BYTE.search(pieces[at]) else None
        parts += [(pieces[at], {at: 1.0})] if end is None else _cut(pieces, at, end)
        at = end or at + 1
    return parts


def _chain(pieces: tuple[str, ...], start: int) -> int | None:
    """The end of the pieces from ``start`` on that share characters; None if their bytes are not text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(start, len(pieces)):
        try:
            decoder.decode(_bytes(pieces[at]))
        except UnicodeDecodeError:
            return None
        if not decoder.getstate()[0]:
            return at + 1
    return None


def _cut(pieces: tuple[str, ...], start: int, end: int) -> list[Part]:
    """The pieces of a chain, cut at the start of each character that is spread over several pieces."""
    raw = [_bytes(piece) for piece in pieces[start:end]]
    owners = [at for at, content in enumerate(raw, start) for _ in content]
    parts: list[tuple[str, list[int]]] = []
    place = 0
    for character in b"".join(raw).decode():
        own = owners[place : place + len(character.encode())]
        place += len(own)
        if parts and (parts[-1][0] == WORD or len({*parts[-1][1], *own}) == 1):
            parts[-1] = (parts[-1][0] + character, parts[-1][1] + own)
        else:
            parts.append((character, own))
    return [(text, {at: own.count(at) / len(raw[at - start]) for at in own}) for text, own in parts]


def _bytes(piece: str) -> bytes:
    """UTF-8 of a piece, in which ``⟨d7⟩`` is a byte."""
    return b"".join(
        bytes([int(part, 16)]) if at % 2 else part.encode("utf-8", "surrogatepass")
        for at, part in enumerate(_BYTE.split(piece))
    )


def _sides(parts: list[Part], count: int) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the parts, and the share of each of ``count`` pieces in each part, ``(pieces, parts)``."""
    shares = np.zeros((count, len(parts)))
    for place, (_, own) in enumerate(parts):
        for at, share in own.items():
            shares[at, place] = share
    return tuple(text for text, _ in parts), shares


_BYTE = re.compile("⟨([0-9a-f]{2})⟩")
"""A byte that is only a part of a character, as `regard.data.tokenizer` writes it."""

UNSPACED = "\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
"""Letters of scripts without spaces between words, as ranges of a regular expression: Thai to Burmese, Khmer, kana,
Chinese."""

_UNSPACED = re.compile(f"[{UNSPACED}]")
