"""Settings of translation; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regard.tasks.families.seq2seq.settings import (
    DecodingOptions,
    EvaluationOptions,
    LookOptions,
    ModelConfig,
    PairsConfig,
    Seq2SeqTrainConfig,
    TextToTextConfig,
    TokenizerConfig,
    TransformerConfig,
)
from regard.tasks.spec import Demo, TaskSpec, Verb
from regard.training.ranges import at_most, positive


@dataclass(frozen=True)
class DataConfig(PairsConfig):
    """Which parallel text to train on."""

    train: str | None = None
    """Parallel text to train on: TSV, CSV, JSONL or Parquet, plain or .gz/.xz; two files with one sentence per line as
    "a.en,a.fr"; or a Hugging Face dataset as "hf:NAME". By default, the built-in English-French corpus."""
    builtin_pairs: int = 30_000
    """Number of sentence pairs of the built-in corpus to train on."""


@dataclass(frozen=True)
class TranslateTrainConfig(Seq2SeqTrainConfig):
    """Settings of training."""

    metric: Literal["loss", "bleu", "chrf", "exact"] = "loss"
    """Validation metric that selects the best checkpoint and decides when to stop early. exact: the percentage of
    translations that equal the reference. All but loss translate up to 1000 validation pairs, which takes longer."""


@dataclass(frozen=True)
class TranslateConfig(TextToTextConfig):
    """All settings of translation."""

    data: DataConfig = field(default_factory=DataConfig)
    train: TranslateTrainConfig = field(default_factory=TranslateTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            positive("data", self.data, "builtin_pairs")
            or at_most("data", self.data, 1_000_000, "builtin_pairs")
            or super().problem()
        )


@dataclass(frozen=True)
class TranslateOptions(DecodingOptions):
    """Options of ``regard translate``."""


@dataclass(frozen=True)
class EvaluateOptions(EvaluationOptions):
    """Options of ``regard eval`` for a translator."""

    tokenize: str | None = None
    """sacreBLEU's tokenizer for BLEU, such as 13a, intl, zh, ja-mecab, ko-mecab or flores200; by default zh or char for
    languages without spaces between words, otherwise 13a."""


def demo_settings() -> TranslateConfig:
    """Settings that train in two minutes on two cores."""
    return TranslateConfig(
        data=DataConfig(builtin_pairs=20_000),
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
        packs=True,
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
    code="regard.tasks.translate.task:Translate",
)
