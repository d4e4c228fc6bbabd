"""Reads documents, joins them to one long stream of tokens, and cuts windows out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.data import split
from regard.data.batching import Batches
from regard.data.corpus import PIECE, Documents, facts
from regard.data.documents import open_documents
from regard.data.encoding import tokenize
from regard.data.tokenizer import Tokenizer
from regard.errors import UserError
from regard.tasks.generate.settings import DataConfig
from regard.training.fingerprint import Fingerprint, Long, Part, row_digest

_SET_ASIDE = 0.1


@dataclass(frozen=True)
class Text:
    """Training and validation documents."""

    train: Documents
    valid: Documents

    @property
    def valid_bytes(self) -> int:
        """The size of the validation documents in UTF-8 as the user wrote them, composed or not.

        Bits per byte are over these bytes, so that they are comparable with those of models that do not compose text.
        """
        return self.valid.size

    @classmethod
    def of(cls, train: Iterable[str], valid: Iterable[str]) -> Text:
        """From documents as the user wrote them."""
        return cls(Documents.of(train), Documents.of(valid))


def read(config: DataConfig, notify: Callable[[str], None]) -> Text:
    """The text that a configuration names; messages about it go to ``notify``. Raises UserError: it cannot be used."""
    if config.train is None:
        if config.valid is not None:
            raise UserError("data.valid: needs --data.train, since the built-in text has a validation part already")
        notify("no --data.train: training on the built-in text, Python's language reference")
        return set_aside(reference(), lambda line: None)
    train = open_documents(config.train, column=config.column, notify=notify)
    if config.valid is not None:
        text = Text(train, open_documents(config.valid, column=config.column, notify=notify))
        shared = _shared(text)
        if shared:
            notify(f"data.valid: {shared:,} of its {len(text.valid):,} documents are in the training text too")
        return text
    return set_aside(train, notify)


def fingerprint(text: Text) -> Fingerprint:
    """The fingerprint of the documents."""
    return Fingerprint("documents", _part(text.train), _part(text.valid))


def _part(documents: Documents) -> Part:
    def compute() -> dict[str, Any]:
        return asdict(Part.of((row,) for row in _fields(documents)))

    return Part(**facts("part", compute, (documents,)))


def _shared(text: Text) -> int:
    """The number of validation documents that are training documents too."""

    def compute() -> dict[str, Any]:
        train, valid = ((row_digest((field,)) for field in _fields(part)) for part in (text.train, text.valid))
        return {"count": split.repeated(train, list(valid))}

    return int(facts("shared", compute, (text.train, text.valid))["count"])


def _fields(documents: Documents) -> Iterator[str | Long]:
    for index in range(len(documents)):
        if documents.ends[index] - documents.starts[index] <= PIECE:
            yield documents[index]
        else:
            size = sum(len(piece.encode()) for piece in documents.pieces(index))
            yield Long(size, (piece.encode() for piece in documents.pieces(index)))


def reference() -> list[str]:
    """Python's language reference, one document per topic, from the module that ``help()`` reads."""
    from pydoc_data.topics import topics

    return [topics[name] for name in sorted(topics)]


def set_aside(documents: Sequence[str], notify: Callable[[str], None]) -> Text:
    """Set the last tenth aside for validation: see `split.last_part`. Raises UserError: there is too little text."""
    documents = documents if isinstance(documents, Documents) else Documents.of(documents)
    train, valid, part = split.last_part(documents, share=_SET_ASIDE)
    notify(split.notice(part))
    return Text(train, valid)


@dataclass(frozen=True)
class Stream:
    """Documents as one stream of tokens, with EOS at the end of each.

    Attributes:
        tokens: uint16 or uint32 ``(n,)``.
        ends: int64 ``(documents,)``, where each document ends.
        size: the bytes of the text in UTF-8, as the user wrote it.
    """

    tokens: np.ndarray
    ends: np.ndarray
    size: int

    @classmethod
    def of(cls, texts: Sequence[str], tokenizer: Tokenizer) -> Stream:
        """The stream of ``texts``."""
        documents = texts if isinstance(texts, Documents) else Documents.of(texts)
        tokens = tokenize(documents, tokenizer)
        return cls(tokens.tokens, tokens.ends, documents.size)

    def windows(self, starts: Sequence[int], length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
        """Tokens, the token after each, and documents, each ``(len(starts), length)``; ``documents`` may be None."""
        at = np.asarray(starts)[:, None] + np.arange(length)
        tokens, targets = (torch.from_numpy(self.tokens[place].astype(np.int64)).to(device) for place in (at, at + 1))
        if len(self.ends) == 1:
            return tokens, targets, None
        return tokens, targets, torch.from_numpy(np.searchsorted(self.ends, at, side="right")).to(device)


def batches(stream: Stream, *, context: int, tokens: int, seed: int, epoch: int) -> Batches:
    """Start positions of the windows of each batch, shuffled: one pass over the stream, with another offset each epoch.

    The first token of a window is only an input, so windows overlap by one token. The first token of a document is
    predicted from the EOS of the document before it.
    """
    random = np.random.default_rng([seed, epoch])
    last = len(stream.tokens) - 1 - context
    if last < 0:
        return Batches(*np.zeros((3, 0), dtype=np.int64))
    offset = int(random.integers(0, min(context, last + 1)))
    starts = random.permutation(np.arange(offset, last + 1, context))
    rows = max(1, tokens // context)
    places = np.arange(0, len(starts), rows)
    return Batches(starts, places, places + rows)
