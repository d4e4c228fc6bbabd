"""The stream of tokens of some documents, and the windows that are cut out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from regard.data.batching import Batches
from regard.data.corpus import Documents
from regard.data.encoding import tokenize
from regard.data.tokenizer import Tokenizer


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
