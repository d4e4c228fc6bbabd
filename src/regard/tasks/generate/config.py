"""What can be set about training a language model; free of torch, so that the command line can show it at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regard.train.config import TrainConfig
from regard.train.ranges import at_most, positive, share


@dataclass(frozen=True)
class DataConfig:
    """What to learn to write."""

    train: str | None = None
    """Text to train on: a text file (one document), JSONL or Parquet (one document a record), plain or .gz/.xz; a
    folder of these; an extract of a Wikipedia dump; a Hugging Face dataset as "hf:NAME". Without it, the English text
    of Python's own reference."""
    valid: str | None = None
    """Text to validate on; without it, the last tenth of the documents, or of the one document's text."""
    column: str = "text"
    """Where a record has its text."""


@dataclass(frozen=True)
class TokenizerConfig:
    """How text is cut into tokens."""

    kind: Literal["byte", "char"] = "byte"
    """byte: byte-level BPE, nothing is ever unknown; char: single characters."""
    size: int | None = None
    """Vocabulary size (byte); by default 300 to 4000, by the amount of text."""


@dataclass(frozen=True)
class ModelConfig:
    """The language model: a Transformer's decoder, or an LSTM that attends to its past states."""

    kind: Literal["transformer", "lstm"] = "transformer"
    """transformer: attention in every layer; lstm: recurrent, to stand beside it."""
    attention: bool = True
    """Of an lstm: whether it looks back at its past states."""
    context: int | None = None
    """Tokens of one row of training, and how far back a token sees; by default 8 to 256, by the amount of text."""
    dim: int | None = None
    """Width of the features; by default 128 or 256, by the amount of text."""
    layers: int | None = None
    """Number of layers; by default 2 to 6, by the amount of text."""
    heads: int = 4
    """Of a transformer: heads of each attention; dim must be a multiple of them."""
    key_heads: int | None = None
    """Of a transformer: heads of keys and values, a divisor of heads (grouped queries); without it, as many."""
    hidden: int | None = None
    """Of a transformer: width within the feed-forward parts; without it, 4 · dim, or gated 8/3 · dim."""
    gated: bool = True
    """Of a transformer: gated feed-forward parts (SwiGLU) in place of plain ones (GELU)."""
    positions: Literal["rotary", "learned"] = "rotary"
    """Of a transformer: queries and keys turned by their positions, or a learned vector a position."""
    dropout: float = 0.1
    """Dropout on embeddings, on what each part adds, on weights and hidden features."""


@dataclass(frozen=True)
class GenerateTrainConfig(TrainConfig):
    """How to train."""

    batch_measure = "tokens"
    tokens: int | None = None
    """Tokens of one batch, over all processes; by default 256 to 4096, by the amount of text."""
    learning_rate: float = 1e-3
    """Highest learning rate, reached after the warm-up."""
    weight_decay: float = 0.1
    """Decoupled weight decay, in learning rates."""
    metric: Literal["loss", "bits_per_byte"] = "loss"
    """Validation figure that decides which checkpoint is the best, and when to stop early."""


@dataclass(frozen=True)
class GenerateConfig:
    """Train a language model on running text."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: GenerateTrainConfig = field(default_factory=GenerateTrainConfig)

    def problem(self) -> str | None:
        """The first setting that is out of range, as a sentence; None if all are well."""
        model = self.model
        if self.tokenizer.size is not None and self.tokenizer.size < 300:
            return f"tokenizer.size: must be at least 300 (bytes and signs alone are 260), got {self.tokenizer.size}"
        sizes = ("context", "dim", "layers", "heads", "key_heads", "hidden")
        wrong = (
            positive("model", model, *sizes)
            or at_most("model", model, 1_000_000, "context", "dim", "hidden")
            or at_most("model", model, 1000, "layers", "heads", "key_heads")
            or at_most("tokenizer", self.tokenizer, 1_000_000, "size")
            or share("model", model, "dropout")
        )
        if wrong is not None:
            return wrong
        if model.kind == "transformer":
            even = model.positions == "rotary"
            if model.dim is None:
                if 128 % (2 * model.heads):
                    return f"model.heads: {model.heads} heads need --model.dim"
            elif model.dim % model.heads or (even and model.dim // model.heads % 2):
                kind = "an even" if even else "a"
                return f"model.dim: must be {kind} multiple of model.heads, {model.heads}, got {model.dim}"
            if model.key_heads is not None and model.heads % model.key_heads:
                return f"model.key_heads: must divide model.heads, {model.heads}, got {model.key_heads}"
        if self.train.tokens is not None and model.context is not None and self.train.tokens < model.context:
            return f"train.tokens: must be at least model.context, {model.context}, got {self.train.tokens}"
        return self.train.problem()
