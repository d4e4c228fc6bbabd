"""Documents as one flat array of tokens: in memory, or in a mapped file of the cache."""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import IO, Any, NamedTuple

import numpy as np

from regard.data import cache
from regard.data.corpus import PIECE, Documents
from regard.data.progress import progress
from regard.data.slices import Slices
from regard.data.tokenizer import EOS, Kind, Tokenizer
from regard.data.workers import in_processes

_BATCH = 1 << 18
"""Characters that are encoded in one call, during which Ctrl-C waits."""

_KNOWN = 1 << 18
_KNOWN_CHARACTERS = 1 << 24
"""The largest number of words whose tokens are remembered, and of their characters."""

Piece = tuple[str, bool]
"""A piece of a document, and whether it is the last one of it."""

_WORD = re.compile(r"\s*\S+(?:[^\S \n]\s*\S+)*(?:[^\S \n]\s*\Z)?|\s+")
"""A word with the white space before it; no token goes across its ends, see `Documents.pieces`."""


class Encoder:
    """Encodes text as a tokenizer does, several times as fast: most words of a text have occurred in it before.

    Args:
        tokenizer: encodes each new word once.

    >>> encoder = Encoder(Tokenizer.train(["one two two"], kind="char"))
    >>> [row.tolist() for row in encoder.encode(["two", "no one"])]
    [[8, 9, 7], [6, 7, 4, 7, 6, 5]]
    """

    def __init__(self, tokenizer: Tokenizer):
        self.dtype = _dtype(tokenizer)
        self._tokenizer = tokenizer
        self._numbers = _Numbers()
        self._characters = 0
        self._ends = np.zeros(1, dtype=np.int64)
        self._tokens = np.zeros(0, dtype=self.dtype)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of each text, which are those of `Tokenizer.encode_batch`."""
        if len(self._numbers) > _KNOWN or self._characters > _KNOWN_CHARACTERS:
            self._forget()
        words = [_WORD.findall(text) for text in texts]
        counts = [len(row) for row in words]
        lookup = self._numbers.__getitem__
        numbers = np.fromiter(map(lookup, itertools.chain.from_iterable(words)), np.int64, sum(counts))
        self._learn()
        lengths = self._ends[numbers + 1] - self._ends[numbers]
        ends = np.cumsum(np.append(0, lengths))  # of the words, in the tokens of all texts
        places = np.repeat(self._ends[numbers] - ends[:-1], lengths) + np.arange(ends[-1])
        bounds = ends[np.cumsum([0, *counts], dtype=np.int64)].tolist()
        tokens = self._tokens[places]
        return [tokens[start:stop] for start, stop in itertools.pairwise(bounds)]

    def _learn(self) -> None:
        """Encode the words that have occurred for the first time."""
        new = self._numbers.new
        if not new:
            return
        rows = self._tokenizer.encode_batch(new)
        self._characters += sum(map(len, new))
        ends = self._ends[-1] + np.cumsum([len(row) for row in rows])
        self._ends = np.concatenate((self._ends, ends))
        tokens = np.fromiter(itertools.chain.from_iterable(rows), self.dtype)
        self._tokens = np.concatenate((self._tokens, tokens))
        new.clear()

    def _forget(self) -> None:
        self._numbers.clear()
        self._characters, self._ends, self._tokens = 0, self._ends[:1], self._tokens[:0]


def _dtype(tokenizer: Tokenizer) -> np.dtype[Any]:
    """The type of its token numbers."""
    return np.dtype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)


class _Numbers(dict[str, int]):
    """Numbers words in the order in which they are looked up for the first time, and lists the new ones."""

    def __init__(self) -> None:
        self.new: list[str] = []

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        self.new.append(word)
        return number


class Tokens(Slices):
    """The tokens of documents, with EOS at the end of each: ``values`` are uint16 or uint32, a slice is a document."""

    @property
    def tokens(self) -> np.ndarray:
        """The tokens of all documents, uint16 or uint32 ``(n,)``."""
        return self.values

    @classmethod
    def of(cls, tokens: np.ndarray, ends: np.ndarray) -> Tokens:
        """The tokens of documents that follow each other."""
        return cls(tokens, np.append(0, ends[:-1]) if len(ends) else ends, ends)

    @property
    def lengths(self) -> np.ndarray:
        """int64 ``(documents,)``."""
        lengths: np.ndarray = self.ends - self.starts
        return lengths

    def select(self, rows: np.ndarray) -> Tokens:
        """The documents with these numbers."""
        return Tokens(self.values, self.starts[rows], self.ends[rows])


def train_tokenizer(documents: Documents, kind: Kind, size: int, notify: Callable[[str], None]) -> Tokenizer:
    """A tokenizer for ``documents``; that of large ones is kept in the cache.

    The pieces of byte-pair encoding are learned from at most `cache.SMALL` bytes, spread evenly over the documents.
    """
    if not documents.large:
        return Tokenizer.train(documents.all_pieces(), kind=kind, size=size)

    def write(file: IO[bytes]) -> None:
        texts = documents.all_pieces()
        if kind != "char" and documents.size > cache.SMALL:
            notify(f"training the tokenizer on {cache.SMALL / 1e6:.0f} of {documents.size / 1e6:,.0f} MB of text")
            texts = iter(documents.sample(cache.SMALL, PIECE))
        file.write(Tokenizer.train(texts, kind=kind, size=size).text().encode())

    return Tokenizer.load(cache.entry(cache.name("tokenizer", documents.key, kind, size), write))


def tokenize(documents: Documents, tokenizer: Tokenizer) -> Tokens:
    """The tokens of ``documents``; those of large ones are in the cache, and are found there by the next start.

    Raises:
        UserError: the cache cannot be written.

    >>> tokens = tokenize(Documents.of(["ab", "b"]), Tokenizer.train(["ab"], kind="char"))
    >>> tokens.tokens.tolist(), tokens.ends.tolist()
    ([4, 5, 2, 5, 2], [3, 5])
    """
    dtype, batches = _dtype(tokenizer), _batches(_pieces(documents))
    if not documents.large:
        parts = list(_placed(map(_batch_encoder(tokenizer), batches)))
        tokens = np.concatenate([part.tokens for part in parts]) if parts else np.zeros(0, dtype)
        return Tokens.of(tokens, np.array([end for part in parts for end in part.ends], dtype=np.int64))

    def write(file: IO[bytes]) -> None:
        ends, count = array("q"), 0
        with progress("tokenizing", documents.size) as advance:
            for part in _placed(in_processes(partial(_batch_encoder, tokenizer), batches)):
                file.write(part.tokens.data)
                ends.extend(part.ends)
                count += len(part.tokens)
                advance(part.size)
        cache.finish(file, {"ends": np.frombuffer(ends, dtype=np.int64)}, {"count": count})

    with cache.entry(cache.name("tokens", documents.key, tokenizer.text()), write).open("rb") as file:
        content, arrays, notes = cache.load(file)
    return Tokens.of(content[: notes["count"] * dtype.itemsize].view(dtype), arrays["ends"])


class _Part(NamedTuple):
    """The tokens of some pieces of documents.

    Attributes:
        tokens: with EOS at the end of each document.
        ends: where documents end in ``tokens``.
        size: of the pieces, in bytes.
    """

    tokens: np.ndarray
    ends: list[int]
    size: int


def _batch_encoder(tokenizer: Tokenizer) -> Callable[[list[Piece]], _Part]:
    """The function that encodes a batch of pieces."""
    encoder = Encoder(tokenizer)
    eos = np.array([EOS], dtype=encoder.dtype)

    def encode(batch: list[Piece]) -> _Part:
        rows, ends, count = [], [], 0
        for row, (_, last) in zip(encoder.encode([text for text, _ in batch]), batch, strict=True):
            rows.append(row)
            count += len(row)
            if last:
                rows.append(eos)
                count += 1
                ends.append(count)
        return _Part(np.concatenate(rows), ends, sum(len(text.encode()) for text, _ in batch))

    return encode


def _placed(parts: Iterable[_Part]) -> Iterator[_Part]:
    """Parts that follow each other, with the ends counted from the beginning of the first one."""
    count = 0
    for part in parts:
        yield part._replace(ends=[count + end for end in part.ends])
        count += len(part.tokens)


def _pieces(documents: Documents) -> Iterator[Piece]:
    """The pieces of all documents, and whether each is the last one of its document."""
    for index in range(len(documents)):
        before = None
        for piece in documents.pieces(index):
            if before is not None:
                yield before, False
            before = piece
        yield before or "", True


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece[0]) + 1
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
