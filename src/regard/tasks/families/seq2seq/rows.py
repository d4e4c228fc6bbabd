"""Pairs of texts as tokens, and the tokenizers of both sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from regard.data.encoding import Tokens, tokenize, train_tokenizer
from regard.data.padding import pad
from regard.data.pairs import Pairs
from regard.data.tokenizer import BOS, PAD, Tokenizer
from regard.errors import UserError
from regard.tasks.families.seq2seq.data import PairList
from regard.tasks.families.seq2seq.settings import TokenizerConfig
from regard.training.defaults import known


def train_tokenizers(
    pairs: Pairs, config: TokenizerConfig, notify: Callable[[str], None] = lambda line: None
) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of source and target, trained on ``pairs``."""
    return (
        train_tokenizer(pairs.source, config.kind, known(config.source_size), notify),
        train_tokenizer(pairs.target, config.kind, known(config.target_size), notify),
    )


def save_tokenizers(folder: Path, source: Tokenizer, target: Tokenizer) -> None:
    """Write both to a run's folder, for `load_tokenizers`."""
    source.save(folder / "source.tokenizer.json")
    target.save(folder / "target.tokenizer.json")


def load_tokenizers(folder: Path) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of a run's folder. Raises UserError: a file is missing or damaged."""
    return Tokenizer.load(folder / "source.tokenizer.json"), Tokenizer.load(folder / "target.tokenizer.json")


@dataclass(frozen=True)
class Rows:
    """Pairs as tokens; each side ends with EOS.

    Attributes:
        source: of the sources.
        target: of the targets.
        first: the token with which the decoder starts for each target; None: BOS for all.
    """

    source: Tokens
    target: Tokens
    first: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """Source and target length of each pair: ``(pairs, 2)``."""
        return np.stack((self.source.lengths, self.target.lengths), 1)

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, rows: Sequence[int], device: torch.device) -> tuple[tuple[Tensor, ...], int]:
        """Sources, their lengths, targets after BOS, and their lengths, padded; and the number of target tokens."""
        first = [BOS] * len(rows) if self.first is None else self.first[list(rows)].tolist()
        source = [self.source[row] for row in rows]
        target = [[start, *self.target[row]] for start, row in zip(first, rows, strict=True)]
        return (*pad(source, PAD, device), *pad(target, PAD, device)), sum(map(len, target)) - len(rows)

    def select(self, rows: np.ndarray) -> Rows:
        """The pairs with these numbers."""
        first = None if self.first is None else self.first[rows]
        return Rows(self.source.select(rows), self.target.select(rows), first)


def encode(pairs: PairList, source: Tokenizer, target: Tokenizer) -> Rows:
    """Pairs as tokens."""
    pairs = pairs if isinstance(pairs, Pairs) else Pairs.of(pairs)
    return Rows(tokenize(pairs.source, source), tokenize(pairs.target, target))


def drop_long(rows: Rows, longest: int, notify: Callable[[str], None]) -> Rows:
    """``rows`` without pairs that have a side longer than ``longest`` tokens. Raises UserError: none is left."""
    kept = np.flatnonzero(rows.lengths.max(1) <= longest)
    if not len(kept):
        raise UserError(f"data.max_length: all {len(rows):,} training pairs are longer than {longest} tokens")
    if len(kept) < len(rows):
        count = f"{len(rows) - len(kept):,} of {len(rows):,} training pairs"
        notify(f"left out {count}, which are longer than {longest} tokens (--data.max-length)")
    return rows.select(kept)
