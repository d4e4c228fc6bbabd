"""Settings of translation; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from regard.tasks.spec import Demo, TaskSpec, Verb
from regard.training.config import TrainConfig
from regard.training.ranges import at_least, at_most, positive, share


@dataclass(frozen=True)
class DataConfig:
    """Which parallel text to train on."""

    train: str | None = None
    """Parallel text to train on: TSV, CSV, JSONL or Parquet, plain or .gz/.xz; two files with one sentence per line as
    "a.en,a.fr"; or a Hugging Face dataset as "hf:NAME". By default, the built-in English-French corpus."""
    valid: str | None = None
    """Parallel text to validate on, in the same formats; by default, a part of the training text is set aside."""
    source: str | int | None = None
    """Column with the source sentences: its name, or its number counted from 1; by default the first column, or the one
    that the header names."""
    target: str | int | None = None
    """Column with the target sentences, likewise; by default the second column, or the one that the header names."""
    on_bad_line: Literal["error", "skip"] = "error"
    """What to do with lines that cannot be used, such as those with a missing column. error: name them and stop; skip:
    name them and leave them out."""
    builtin_pairs: int = 30_000
    """Number of sentence pairs of the built-in corpus to train on."""
    max_length: int = 256
    """Maximum length of a sentence in tokens; training pairs with a longer side are left out, and their number is
    printed."""


@dataclass(frozen=True)
class TokenizerConfig:
    """How text is split into tokens."""

    kind: Literal["byte", "word"] = "byte"
    """byte: byte-level BPE (byte-pair encoding), which has no unknown tokens; word: BPE within words, in which
    characters that are not in the training text are unknown."""
    source_size: int | None = None
    """Vocabulary size of the source language in tokens; by default 300 to 8000, depending on the amount of text."""
    target_size: int | None = None
    """Vocabulary size of the target language, likewise."""


@dataclass(frozen=True)
class ModelConfig:
    """The translator: a recurrent encoder and decoder (GRU) with attention, or a Transformer."""

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


@dataclass(frozen=True)
class TranslateTrainConfig(TrainConfig):
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
    metric: Literal["loss", "bleu", "chrf", "exact"] = "loss"
    """Validation metric that selects the best checkpoint and decides when to stop early. exact: the percentage of
    translations that equal the reference. All but loss translate up to 1000 validation pairs, which takes longer."""


@dataclass(frozen=True)
class TranslateConfig:
    """All settings of translation."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    train: TranslateTrainConfig = field(default_factory=TranslateTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        for name, size in (("source_size", self.tokenizer.source_size), ("target_size", self.tokenizer.target_size)):
            if size is not None and size < 300:
                return f"tokenizer.{name}: must be at least 300 (256 bytes, 4 special tokens and merges), got {size}"
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
        layers, dim = self.transformer, self.model.dim
        if self.model.kind != "transformer":
            changed = [setting.name for setting in fields(layers) if getattr(layers, setting.name) != setting.default]
            return f"transformer.{changed[0]}: needs --model.kind transformer" if changed else None
        for name in ("attention", "embedding"):
            if getattr(self.model, name) != getattr(ModelConfig(), name):
                return f"model.{name}: only for --model.kind gru; for a transformer, see the settings --transformer.…"
        not_positive = positive("transformer", layers, "encoder_layers", "decoder_layers", "heads", "hidden")
        if not_positive is not None:
            return not_positive
        if dim is None:
            if 128 % layers.heads:
                return (
                    f"transformer.heads: does not divide the default model.dim, got {layers.heads}; set --model.dim too"
                )
            return None
        if dim % layers.heads or (layers.positions == "rotary" and dim // layers.heads % 2):
            multiple = "an even multiple" if layers.positions == "rotary" else "a multiple"
            return f"model.dim: must be {multiple} of transformer.heads, {layers.heads}, got {dim}"
        return None


@dataclass(frozen=True)
class TranslateOptions:
    """Options of ``regard translate``."""

    beam: int = 5
    """Beam size: how many candidate translations the beam search keeps at each step. A larger beam is slower and often
    slightly better; 1 is greedy decoding."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return at_least("beam", self.beam, 1)


@dataclass(frozen=True)
class EvaluateOptions(TranslateOptions):
    """Options of ``regard eval`` for a translator."""

    beam: int = 5
    """Beam size; 1 is greedy decoding."""
    on_bad_line: Literal["error", "skip"] | None = None
    """Stop at lines that cannot be used, or skip them; by default as in training."""
    output: Path | None = None
    """Also write the translations to this file, one per line."""
    tokenize: str | None = None
    """sacreBLEU's tokenizer for BLEU, such as 13a, intl, zh, ja-mecab, ko-mecab or flores200; by default zh or char for
    languages without spaces between words, otherwise 13a."""


@dataclass(frozen=True)
class LookOptions(TranslateOptions):
    """Options of ``regard look`` for a translator."""

    target: str | None = None
    """Show the attention for this translation instead of the model's own."""
    beam: int = 5
    """Beam size; 1 is greedy decoding."""


def demo_settings() -> TranslateConfig:
    """Settings that train in two minutes on two cores."""
    return TranslateConfig(
        data=DataConfig(builtin_pairs=28_000),
        tokenizer=TokenizerConfig(kind="byte", source_size=1500, target_size=1500),
        model=ModelConfig(embedding=96, dim=192, dropout=0.05),
        train=TranslateTrainConfig(epochs=2, tokens=2048, learning_rate=1e-2, warmup=60, label_smoothing=0.05),
    )


def tiny_settings() -> TranslateConfig:
    """Settings that train in seconds."""
    return TranslateConfig(
        data=DataConfig(builtin_pairs=60),
        tokenizer=TokenizerConfig(source_size=300, target_size=300),
        model=ModelConfig(kind="transformer", dim=16),
        transformer=TransformerConfig(encoder_layers=1, decoder_layers=1, heads=2, hidden=16),
        train=TranslateTrainConfig(steps=3, tokens=512),
    )


TRANSLATE = TaskSpec(
    name="translate",
    summary="Train a translator with attention on parallel text",
    settings=TranslateConfig,
    verb=Verb(
        name="translate",
        summary="Translate a text, or each line of a file or of standard input",
        input="Text to translate.",
        unit="text",
        options=TranslateOptions,
        draws=True,
    ),
    evaluation=EvaluateOptions,
    evaluated="the test split of the built-in corpus",
    looking=LookOptions,
    look_input="Source text.",
    demo=Demo(
        folder="runs/demo",
        summary="Train a translator from English to French on dates, numbers, units and names (Unicode CLDR), "
        "evaluate it, and draw an alignment.",
        example='regard look {run} "Tuesday, March 3, 2026"',
        settings=demo_settings,
        tiny=tiny_settings,
        scored="the test split (greedy decoding; none of its sentences is in the training data)",
        options={"beam": 1},
    ),
    pages=True,
    code="regard.tasks.translate.task:Translate",
)
