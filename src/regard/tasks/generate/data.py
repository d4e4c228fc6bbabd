"""Reads documents, joins them to one long stream of tokens, and cuts windows out of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from regard.data.documents import read_documents
from regard.data.lines import compose
from regard.data.tokenizer import EOS, Tokenizer
from regard.errors import UserError
from regard.tasks.counting import bytes_of
from regard.tasks.generate.config import DataConfig
from regard.train.fingerprint import Fingerprint

_SET_ASIDE = 0.1


@dataclass(frozen=True)
class Text:
    """Training and validation documents.

    Attributes:
        train: in Unicode's composed form (NFC), which tokenizers expect.
        valid: likewise.
        valid_bytes: the size of the validation documents in UTF-8 as the user wrote them, composed or not. Bits per
            byte are over these bytes, so that they are comparable with those of models that do not compose text.
    """

    train: list[str]
    valid: list[str]
    valid_bytes: int

    @classmethod
    def of(cls, train: Iterable[str], valid: Sequence[str]) -> Text:
        """From documents as the user wrote them."""
        return cls([compose(text) for text in train], [compose(text) for text in valid], bytes_of(valid))


def read(config: DataConfig, notify: Callable[[str], None]) -> Text:
    """The text that a configuration names; messages about it go to ``notify``. Raises UserError: it cannot be used."""
    if config.train is None:
        if config.valid is not None:
            raise UserError("data.valid: needs --data.train, since the built-in text has a validation part already")
        notify("no --data.train: training on the built-in text, Python's language reference")
        return set_aside(reference(), lambda line: None)
    train = read_documents(config.train, column=config.column, notify=notify)
    if config.valid is not None:
        text = Text.of(train, read_documents(config.valid, column=config.column, notify=notify))
        known = set(text.train)
        shared = sum(document in known for document in text.valid)
        if shared:
            notify(f"data.valid: {shared:,} of its {len(text.valid):,} documents are in the training text too")
        return text
    return set_aside(train, notify)


def fingerprint(text: Text) -> Fingerprint:
    """The fingerprint of the documents."""
    return Fingerprint.of(
        "documents", ((document,) for document in text.train), ((document,) for document in text.valid)
    )


def reference() -> list[str]:
    """Python's language reference, one document per topic, from the module that ``help()`` reads."""
    from pydoc_data.topics import topics

    return [topics[name] for name in sorted(topics)]


def set_aside(documents: list[str], notify: Callable[[str], None]) -> Text:
    """Set aside the last tenth for validation: of the documents if there are ten or more, otherwise of the last one.

    Raises:
        UserError: the last document is too short to be divided.
    """
    if len(documents) >= 10:
        count = max(1, round(_SET_ASIDE * len(documents)))
        notify(
            f"set aside the last {count:,} of {len(documents):,} documents for validation "
            "(name your own with --data.valid)"
        )
        return Text.of(documents[:-count], documents[-count:])
    last = documents[-1]
    cut = round((1 - _SET_ASIDE) * len(last))
    while 0 < cut < len(last) and not _is_boundary(last, cut):
        cut += 1
    if not 0 < cut < len(last):
        raise UserError(
            "data.train: has too little text to set a part aside for validation; name your own with --data.valid"
        )
    notify(f"set aside the last {len(last) - cut:,} characters for validation (name your own with --data.valid)")
    return Text.of([*documents[:-1], last[:cut]], [last[cut:]])


def _is_boundary(text: str, at: int) -> bool:
    """Whether a cut at ``at`` divides no character into parts, such as a letter and its accent."""
    before, after = text[at - 1], text[at]
    return unicodedata.combining(after) == 0 and compose(before + after) == compose(before) + compose(after)


@dataclass(frozen=True)
class Stream:
    """Documents as one stream of tokens, with EOS at the end of each.

    Attributes:
        tokens: int64 ``(n,)``.
        documents: int64 ``(n,)``, the number of the document of each token; None: there is only one document.
        size: the bytes of the text in UTF-8, as the user wrote it.
    """

    tokens: np.ndarray
    documents: np.ndarray | None
    size: int

    @classmethod
    def of(cls, texts: Sequence[str], tokenizer: Tokenizer, size: int | None = None) -> Stream:
        """The stream of ``texts``; ``size`` is their size in bytes, by default counted."""
        rows = [[*row, EOS] for row in tokenizer.encode_batch(texts)]
        numbers = np.repeat(np.arange(len(rows)), [len(row) for row in rows]) if len(rows) > 1 else None
        tokens = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
        return cls(tokens, numbers, bytes_of(texts) if size is None else size)

    def windows(self, starts: Sequence[int], length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
        """Tokens, the token after each, and documents, each ``(len(starts), length)``; ``documents`` may be None."""
        at = np.asarray(starts)[:, None] + np.arange(length)
        parts = (self.tokens[at], self.tokens[at + 1], None if self.documents is None else self.documents[at])
        tokens, targets, documents = (None if part is None else torch.from_numpy(part).to(device) for part in parts)
        assert tokens is not None
        assert targets is not None
        return tokens, targets, documents


def batches(stream: Stream, *, context: int, tokens: int, seed: int, epoch: int) -> list[list[int]]:
    """Start positions of the windows of each batch, shuffled: one pass over the stream, with another offset each epoch.

    The first token of a window is only an input, so windows overlap by one token. The first token of a document is
    predicted from the EOS of the document before it.
    """
    random = np.random.default_rng([seed, epoch])
    last = len(stream.tokens) - 1 - context
    if last < 0:
        return []
    offset = int(random.integers(0, min(context, last + 1)))
    starts = random.permutation(np.arange(offset, last + 1, context))
    rows = max(1, tokens // context)
    return [starts[at : at + rows].tolist() for at in range(0, len(starts), rows)]
