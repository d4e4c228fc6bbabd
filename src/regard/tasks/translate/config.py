"""What can be set about training a translator; free of torch, so that the command line can show it at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regard.train.config import TrainConfig


@dataclass(frozen=True)
class DataConfig:
    """What to translate from and to."""

    train: str | None = None
    """Parallel text to train on: TSV, CSV, JSONL or Parquet, plain or .gz/.xz; two aligned files as "a.en,a.fr"; a
    Hugging Face dataset as "hf:NAME". Without it, the built-in English-French corpus."""
    valid: str | None = None
    """Parallel text to validate on; without it, a part of the training text is set aside."""
    source: str | int | None = None
    """Column of the source side: its name, or its number from 1."""
    target: str | int | None = None
    """Column of the target side: its name, or its number from 1."""
    on_bad_line: Literal["error", "skip"] = "error"
    """What to do with lines that cannot be used: say which and stop, or say which and leave them out."""
    builtin_pairs: int = 30_000
    """How many pairs of the built-in corpus to train on."""
    max_length: int = 256
    """Longest side in tokens; longer training pairs are left out, and counted."""


@dataclass(frozen=True)
class TokenizerConfig:
    """How text is cut into tokens."""

    kind: Literal["byte", "word"] = "byte"
    """byte: byte-level BPE, nothing is ever unknown; word: BPE within words, characters not seen become unknown."""
    source_size: int = 8000
    """Most tokens of the source language."""
    target_size: int = 8000
    """Most tokens of the target language."""


@dataclass(frozen=True)
class ModelConfig:
    """The translator: a GRU encoder, and a GRU decoder with attention and input feeding."""

    attention: Literal["additive", "dot", "general", "concat", "none"] = "additive"
    """Score of the attention: Bahdanau's additive, or Luong's dot, general, concat; none: one fixed context."""
    embedding: int = 256
    """Width of the embeddings."""
    dim: int = 512
    """Width of the decoder's state and of the encoder's memory (half of it from each direction)."""
    dropout: float = 0.3
    """Dropout on embeddings, memory and output."""


@dataclass(frozen=True)
class TranslateConfig:
    """Train a translator on parallel text."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def problem(self) -> str | None:
        """The first setting that is out of range, as a sentence; None if all are well."""
        for name, value in (("data.builtin_pairs", self.data.builtin_pairs), ("data.max_length", self.data.max_length),
                            ("model.embedding", self.model.embedding)):  # fmt: skip
            if value < 1:
                return f"{name}: must be above 0, got {value}"
        for name, size in (("source_size", self.tokenizer.source_size), ("target_size", self.tokenizer.target_size)):
            if size < 300:
                return f"tokenizer.{name}: must be at least 300 (bytes and signs alone are 260), got {size}"
        if self.model.dim < 2 or self.model.dim % 2:
            return (
                f"model.dim: must be even, since each direction of the encoder gives half of it, got {self.model.dim}"
            )
        if not 0 <= self.model.dropout < 1:
            return f"model.dropout: must be at least 0 and below 1, got {self.model.dropout}"
        return self.train.problem()
