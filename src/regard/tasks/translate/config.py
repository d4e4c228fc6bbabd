"""What can be set about training a translator; free of torch, so that the command line can show it at once."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from regard.train.config import TrainConfig
from regard.train.ranges import at_most, positive, share


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
    source_size: int | None = None
    """Vocabulary size of the source language; by default 300 to 8000, by the amount of text."""
    target_size: int | None = None
    """Vocabulary size of the target language; likewise."""


@dataclass(frozen=True)
class ModelConfig:
    """The translator: recurrent, a GRU encoder and a GRU decoder with attention; or a Transformer."""

    kind: Literal["gru", "transformer"] = "gru"
    """gru: recurrent, with one attention; transformer: attention throughout (its settings are under transformer)."""
    attention: Literal["additive", "dot", "general", "concat", "none"] = "additive"
    """Of a gru, the score of its attention: Bahdanau's additive, or Luong's dot, general, concat; none: one fixed
    context."""
    embedding: int | None = None
    """Of a gru, the width of the embeddings; by default half of dim."""
    dim: int | None = None
    """Width: of a gru's decoder and of its memory (half of it from each direction); of a transformer's features. By
    default 128 to 512, by the number of pairs."""
    dropout: float = 0.3
    """Dropout on embeddings, memory and output; in a transformer on embeddings and on what each part adds."""


@dataclass(frozen=True)
class TransformerConfig:
    """Settings of a transformer (--model.kind transformer), beside model.dim and model.dropout."""

    encoder_layers: int = 3
    """Layers that read the source."""
    decoder_layers: int = 3
    """Layers that write the target."""
    heads: int = 4
    """Heads of each attention; model.dim must be a multiple of them."""
    hidden: int = 1024
    """Width within the feed-forward parts."""
    order: Literal["pre", "post"] = "pre"
    """Normalization before each part, which trains more easily, or after it, as in the paper."""
    positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    """How positions are told: added waves, added learned vectors, or turned queries and keys."""
    attention_dropout: float = 0.0
    """Dropout on attention weights and within the feed-forward parts."""


@dataclass(frozen=True)
class TranslateTrainConfig(TrainConfig):
    """How to train."""

    batch_measure = "tokens"
    tokens: int | None = None
    """Source and target tokens of one batch, padding included, over all processes; by default 256 to 4096, by the
    amount of text."""
    label_smoothing: float = 0.1
    """Share of the target's probability that is spread over all tokens."""
    metric: Literal["loss", "bleu", "chrf", "exact"] = "loss"
    """Validation figure that decides which checkpoint is the best, and when to stop early."""


@dataclass(frozen=True)
class TranslateConfig:
    """Train a translator on parallel text."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    train: TranslateTrainConfig = field(default_factory=TranslateTrainConfig)

    def problem(self) -> str | None:
        """The first setting that is out of range, as a sentence; None if all are well."""
        for name, size in (("source_size", self.tokenizer.source_size), ("target_size", self.tokenizer.target_size)):
            if size is not None and size < 300:
                return f"tokenizer.{name}: must be at least 300 (bytes and signs alone are 260), got {size}"
        if self.model.dim is not None and (self.model.dim < 2 or self.model.dim % 2):
            return (
                f"model.dim: must be even, since each direction of the encoder gives half of it, got {self.model.dim}"
            )
        return (
            positive("data", self.data, "builtin_pairs", "max_length")
            or at_most("data", self.data, 1_000_000, "builtin_pairs", "max_length")
            or at_most("tokenizer", self.tokenizer, 1_000_000, "source_size", "target_size")
            or at_most("model", self.model, 1_000_000, "embedding", "dim")
            or at_most("transformer", self.transformer, 1_000_000, "hidden")
            or at_most("transformer", self.transformer, 1000, "encoder_layers", "decoder_layers", "heads")
            or positive("model", self.model, "embedding")
            or share("model", self.model, "dropout")
            or share("transformer", self.transformer, "attention_dropout")
            or self._transformer_problem()
            or self.train.problem()
        )

    def _transformer_problem(self) -> str | None:
        chosen, dim = self.transformer, self.model.dim
        if self.model.kind != "transformer":
            changed = [f.name for f in fields(chosen) if getattr(chosen, f.name) != f.default]
            return f"transformer.{changed[0]}: needs --model.kind transformer" if changed else None
        for name in ("attention", "embedding"):
            if getattr(self.model, name) != getattr(ModelConfig(), name):
                return f"model.{name}: is a gru's; a transformer's settings are under transformer"
        small = positive("transformer", chosen, "encoder_layers", "decoder_layers", "heads", "hidden")
        if small is not None:
            return small
        if dim is None:
            return None if 128 % chosen.heads == 0 else f"transformer.heads: {chosen.heads} heads need --model.dim"
        if dim % chosen.heads or (chosen.positions == "rotary" and dim // chosen.heads % 2):
            even = "an even multiple" if chosen.positions == "rotary" else "a multiple"
            return f"model.dim: must be {even} of transformer.heads, {chosen.heads}, got {dim}"
        return None
