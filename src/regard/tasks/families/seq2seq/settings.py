"""Settings and options that tasks from text to text share; imports no torch.

A task's settings are a subclass of `PairTaskConfig` or `TextToTextConfig`, in which it replaces sections by subclasses
of those here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from regard.training.config import TrainConfig
from regard.training.ranges import at_least, at_most, enough_tokens, positive, share


@dataclass(frozen=True)
class PairsConfig:
    """Which pairs of source and target texts to train on."""

    train: str | None = None
    """Pairs to train on: TSV, CSV, JSONL or Parquet, plain or .gz/.xz; two files with one text per line as "a,b"; or a
    Hugging Face dataset as "hf:NAME". By default, built-in pairs."""
    valid: str | None = None
    """Pairs to validate on, in the same formats; by default, a part of the training pairs is set aside."""
    source: str | int | None = None
    """Column with the source texts: its name, or its number counted from 1; by default the first column, or the one
    that the header names."""
    target: str | int | None = None
    """Column with the target texts, likewise; by default the second column, or the one that the header names."""
    on_bad_line: Literal["error", "skip"] = "error"
    """What to do with lines that cannot be used, such as those with a missing column. error: name them and stop; skip:
    name them and leave them out."""
    max_length: int = 256
    """Maximum length of a text in tokens; training pairs with a longer side are left out, and their number is
    printed."""


@dataclass(frozen=True)
class SplitConfig:
    """How text is split into tokens; each way of splitting it adds its settings."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return None


@dataclass(frozen=True)
class TokenizerConfig(SplitConfig):
    """How text is split into tokens."""

    kind: Literal["byte", "word"] = "byte"
    """byte: byte-level BPE (byte-pair encoding), which has no unknown tokens; word: BPE within words, in which
    characters that are not in the training text are unknown."""
    source_size: int | None = None
    """Vocabulary size of the source in tokens; by default 300 to 8000, depending on the amount of text."""
    target_size: int | None = None
    """Vocabulary size of the target, likewise."""

    def problem(self) -> str | None:
        """See `SplitConfig`."""
        sizes = ("source_size", "target_size")
        return enough_tokens(self, *sizes) or at_most("tokenizer", self, 1_000_000, *sizes)


@dataclass(frozen=True)
class ModelConfig:
    """The model: a recurrent encoder and decoder (GRU) with attention, or a Transformer."""

    kind: Literal["gru", "transformer"] = "gru"
    """gru: a recurrent encoder and decoder with one attention between them; transformer: a Transformer (with the
    settings --transformer.…)."""
    attention: Literal["additive", "dot", "general", "concat", "none"] = "additive"
    """gru only. Score of the attention: additive (Bahdanau et al. 2015); dot, general or concat (Luong et al. 2015);
    none: no attention, only the encoder's final state as a fixed context."""
    embedding: int | None = None
    """gru only. Number of features of an embedding; by default half of model.dim."""
    dim: int | None = None
    """Number of features: of the decoder's state and of the encoder's output, half of it from each direction (gru), or
    of every layer (transformer). By default 128 to 512, depending on the number of pairs."""
    dropout: float = 0.3
    """Dropout probability: on the embeddings and the outputs of encoder and decoder (gru), or on the embeddings and the
    output of each sublayer (transformer)."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        if self.dim is not None and (self.dim < 2 or self.dim % 2):
            return f"model.dim: must be even, since each direction of the encoder gives half of it, got {self.dim}"
        return (
            at_most("model", self, 1_000_000, "embedding", "dim")
            or positive("model", self, "embedding")
            or share("model", self, "dropout")
        )


@dataclass(frozen=True)
class TransformerConfig:
    """Settings of --model.kind transformer, in addition to model.dim and model.dropout."""

    encoder_layers: int = 3
    """Number of encoder layers, which read the source."""
    decoder_layers: int = 3
    """Number of decoder layers, which write the target."""
    heads: int = 4
    """Number of heads of each attention; model.dim must be a multiple of it."""
    hidden: int = 1024
    """Number of hidden features of the feed-forward sublayers; often 4 times model.dim."""
    order: Literal["pre", "post"] = "pre"
    """Layer normalization before each sublayer (pre), which trains more easily, or after it (post), as in Vaswani et
    al. 2017."""
    positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    """How the model knows the positions of tokens: sinusoidal or learned vectors that are added to the embeddings, or
    rotary embeddings of queries and keys (RoPE)."""
    attention_dropout: float = 0.0
    """Dropout probability on attention weights and on the hidden features of the feed-forward sublayers."""

    def problem(self, model: ModelConfig) -> str | None:
        """The error message for the first setting that is out of range or does not fit ``model``."""
        wrong = (
            at_most("transformer", self, 1_000_000, "hidden")
            or at_most("transformer", self, 1000, "encoder_layers", "decoder_layers", "heads")
            or share("transformer", self, "attention_dropout")
        )
        if wrong is not None:
            return wrong
        if model.kind != "transformer":
            changed = [setting.name for setting in fields(self) if getattr(self, setting.name) != setting.default]
            return f"transformer.{changed[0]}: needs --model.kind transformer" if changed else None
        for name in ("attention", "embedding"):
            if getattr(model, name) != getattr(ModelConfig(), name):
                return f"model.{name}: only for --model.kind gru; for a transformer, see the settings --transformer.…"
        not_positive = positive("transformer", self, "encoder_layers", "decoder_layers", "heads", "hidden")
        if not_positive is not None:
            return not_positive
        if model.dim is None:
            if 128 % self.heads:
                return (
                    f"transformer.heads: does not divide the default model.dim, got {self.heads}; set --model.dim too"
                )
            return None
        if model.dim % self.heads or (self.positions == "rotary" and model.dim // self.heads % 2):
            multiple = "an even multiple" if self.positions == "rotary" else "a multiple"
            return f"model.dim: must be {multiple} of transformer.heads, {self.heads}, got {model.dim}"
        return None


@dataclass(frozen=True)
class Seq2SeqTrainConfig(TrainConfig):
    """Settings of training."""

    batch_measure = "tokens"
    tokens: int | None = None
    """Size of a batch: its source and target tokens, padding included, summed over all processes; by default 256 to
    4096, depending on the amount of text."""
    optimizer: Literal["adamw", "muon"] = "muon"
    """muon: Muon (Jordan et al. 2024) for the matrices of the hidden layers, AdamW for the rest; it needs fewer
    steps. adamw: AdamW for all weights, for which 2e-3 is a good --train.learning-rate."""
    learning_rate: float = 1e-2
    """Peak learning rate, reached after the warm-up."""
    label_smoothing: float = 0.1
    """Label smoothing: the share of the target's probability that is spread over all tokens."""


@dataclass(frozen=True)
class PairTaskConfig:
    """All settings of a task from text to text, which splits text in some way."""

    data: PairsConfig = field(default_factory=PairsConfig)
    tokenizer: SplitConfig = field(default_factory=SplitConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    train: Seq2SeqTrainConfig = field(default_factory=Seq2SeqTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            positive("data", self.data, "max_length")
            or at_most("data", self.data, 1_000_000, "max_length")
            or self.tokenizer.problem()
            or self.model.problem()
            or self.transformer.problem(self.model)
            or self.train.problem()
        )


@dataclass(frozen=True)
class TextToTextConfig(PairTaskConfig):
    """All settings of a task from text to text with a byte-pair encoding of each side."""

    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)


@dataclass(frozen=True)
class DecodingOptions:
    """Options of decoding."""

    beam: int = 5
    """Beam size: how many candidates the beam search keeps at each step. A larger beam is slower and often slightly
    better; 1 is greedy decoding."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return at_least("beam", self.beam, 1)


@dataclass(frozen=True)
class EvaluationOptions(DecodingOptions):
    """Options of ``regard eval``."""

    beam: int = 5
    """Beam size; 1 is greedy decoding."""
    on_bad_line: Literal["error", "skip"] | None = None
    """Stop at lines that cannot be used, or skip them; by default as in training."""
    output: Path | None = None
    """Also write the outputs to this file, one per line."""


@dataclass(frozen=True)
class LookOptions(DecodingOptions):
    """Options of ``regard look``."""

    target: str | None = None
    """Show the attention for this output instead of the model's own."""
    beam: int = 5
    """Beam size; 1 is greedy decoding."""
