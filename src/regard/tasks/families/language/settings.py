"""Settings and options that tasks of language models share; imports no torch.

A task's settings are a subclass of `LanguageConfig`, in which it replaces sections by subclasses of those here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regard.training.config import TrainConfig
from regard.training.ranges import at_least, at_most, enough_tokens, positive, share


@dataclass(frozen=True)
class DocumentsConfig:
    """Which text to train on."""

    train: str | None = None
    """Text to train on: a text file (one document), JSONL or Parquet (one document per record), plain or .gz/.xz; a
    folder of these; the output of WikiExtractor on a Wikipedia dump; or a Hugging Face dataset as "hf:NAME". By
    default, built-in text."""
    valid: str | None = None
    """Text to validate on, in the same formats; by default, the last tenth of the documents, or of the text if there
    are fewer than ten documents, is set aside."""
    column: str = "text"
    """Name of the column or field of a record that has the text."""


@dataclass(frozen=True)
class TokenizerConfig:
    """How text is split into tokens."""

    kind: Literal["byte", "char"] = "byte"
    """byte: byte-level BPE (byte-pair encoding), which has no unknown tokens; char: each character is a token."""
    size: int | None = None
    """byte only. Vocabulary size in tokens; by default 300 to 4000, depending on the amount of text."""


@dataclass(frozen=True)
class ModelConfig:
    """The language model: a decoder-only Transformer, or an LSTM that attends to its past states."""

    kind: Literal["transformer", "lstm"] = "transformer"
    """transformer: a decoder-only Transformer; lstm: a recurrent model, for comparison."""
    attention: bool = True
    """lstm only. Whether the model attends to its past states."""
    context: int | None = None
    """Context length: the number of tokens of a training sequence, and how far back attention reaches; by default 8 to
    256, depending on the amount of text."""
    dim: int | None = None
    """Number of features of every layer; by default 128 or 256, depending on the amount of text."""
    layers: int | None = None
    """Number of layers; by default 2 to 6, depending on the amount of text."""
    heads: int = 4
    """transformer only. Number of heads of each attention; model.dim must be a multiple of it."""
    key_heads: int | None = None
    """transformer only. Number of heads of keys and values, a divisor of model.heads (grouped-query attention); by
    default model.heads."""
    hidden: int | None = None
    """transformer only. Number of hidden features of the feed-forward sublayers; by default 8/3 · model.dim if they are
    gated, otherwise 4 · model.dim."""
    gated: bool = True
    """transformer only. Gated feed-forward sublayers (SwiGLU) instead of plain ones (GELU)."""
    positions: Literal["rotary", "learned"] = "rotary"
    """transformer only. rotary: rotary embeddings of queries and keys (RoPE); learned: a learned vector for each
    position is added to the embedding."""
    dropout: float = 0.1
    """Dropout probability: on embeddings, the output of each sublayer, attention weights and hidden features
    (transformer), or on embeddings, between the layers and on the output (lstm)."""


@dataclass(frozen=True)
class LanguageTrainConfig(TrainConfig):
    """Settings of training."""

    batch_measure = "tokens"
    tokens: int | None = None
    """Size of a batch in tokens, summed over all processes; by default 256 to 4096, depending on the amount of text."""
    learning_rate: float = 1e-3
    """Peak learning rate, reached after the warm-up."""
    weight_decay: float = 0.1
    """Decoupled weight decay, multiplied by the learning rate."""
    metric: Literal["loss", "bits_per_byte"] = "loss"
    """Validation metric that selects the best checkpoint and decides when to stop early."""


@dataclass(frozen=True)
class LanguageConfig:
    """All settings of a language model."""

    data: DocumentsConfig = field(default_factory=DocumentsConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: LanguageTrainConfig = field(default_factory=LanguageTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        model = self.model
        sizes = ("context", "dim", "layers", "heads", "key_heads", "hidden")
        wrong = (
            enough_tokens(self.tokenizer, "size")
            or positive("model", model, *sizes)
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
                    return f"model.heads: does not divide the default model.dim, got {model.heads}; set --model.dim too"
            elif model.dim % model.heads or (even and model.dim // model.heads % 2):
                multiple = "an even multiple" if even else "a multiple"
                return f"model.dim: must be {multiple} of model.heads, {model.heads}, got {model.dim}"
            if model.key_heads is not None and model.heads % model.key_heads:
                return f"model.key_heads: must divide model.heads, {model.heads}, got {model.key_heads}"
        if self.train.tokens is not None and model.context is not None and self.train.tokens < model.context:
            return f"train.tokens: must be at least model.context, {model.context}, got {self.train.tokens}"
        return self.train.problem()


@dataclass(frozen=True)
class SamplingOptions:
    """Options of a command that samples text."""

    tokens: int = 200
    """Maximum number of tokens to generate."""
    temperature: float = 0.8
    """Sampling temperature: below 1 makes probable tokens more probable, above 1 less; 0 always takes the most probable
    token (greedy decoding)."""
    top_k: int | None = None
    """Sample only from this many of the most probable tokens, such as 50; by default from all."""
    top_p: float | None = None
    """Nucleus sampling: sample only from the fewest tokens whose probabilities sum to at least this, such as 0.9; by
    default from all."""
    penalty: float = 1.0
    """Repetition penalty: above 1, such as 1.2, makes tokens that have already occurred less probable; 1 is no
    penalty."""
    stop: tuple[str, ...] = ()
    """Stop before this text is generated; may be given several times."""
    seed: int | None = None
    """Random seed; the same seed gives the same text. By default, a new one each time."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        if self.top_p is not None and not 0 < self.top_p <= 1:
            return f"--top-p: must be above 0 and at most 1, got {self.top_p}"
        if self.penalty <= 0:
            return f"--penalty: must be above 0, got {self.penalty}"
        if "" in self.stop:
            return "--stop: got an empty text, which would stop immediately"
        return (
            at_least("tokens", self.tokens, 1)
            or at_least("temperature", self.temperature, 0)
            or at_least("top-k", self.top_k, 1)
        )


@dataclass(frozen=True)
class LookOptions:
    """Options of ``regard look`` for a language model."""

    layer: int = -1
    """Number of the layer, counted from 0; by default the last layer."""
    head: int | None = None
    """Number of the head, counted from 0; by default the mean of all heads."""
