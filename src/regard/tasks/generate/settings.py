"""Settings of text generation; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field

from regard.tasks.families.language.settings import (
    DocumentsConfig,
    LanguageConfig,
    LanguageTrainConfig,
    LookOptions,
    ModelConfig,
    SamplingOptions,
    TokenizerConfig,
)
from regard.tasks.spec import Demo, NoOptions, TaskSpec, Verb


@dataclass(frozen=True)
class DataConfig(DocumentsConfig):
    """Which text to train on."""

    train: str | None = None
    """Text to train on: a text file (one document), JSONL or Parquet (one document per record), plain or .gz/.xz; a
    folder of these; the output of WikiExtractor on a Wikipedia dump; or a Hugging Face dataset as "hf:NAME". By
    default, the English text of Python's language reference."""


@dataclass(frozen=True)
class GenerateConfig(LanguageConfig):
    """All settings of text generation."""

    data: DataConfig = field(default_factory=DataConfig)


def demo_settings() -> GenerateConfig:
    """Settings that train in a few minutes on two cores."""
    return GenerateConfig(
        tokenizer=TokenizerConfig(size=2000),
        model=ModelConfig(context=128, dim=192, layers=4, heads=4, key_heads=2, dropout=0.1),
        train=LanguageTrainConfig(epochs=12, tokens=2048, learning_rate=2e-3, warmup=100),
    )


def tiny_settings() -> GenerateConfig:
    """Settings that train in seconds."""
    return GenerateConfig(
        tokenizer=TokenizerConfig(size=300),
        model=ModelConfig(context=32, dim=16, layers=1, heads=2),
        train=LanguageTrainConfig(steps=3, tokens=64),
    )


GENERATE = TaskSpec(
    name="generate",
    summary="Train a language model on plain text",
    settings=GenerateConfig,
    verb=Verb(
        name="generate",
        summary="Generate text that continues a prompt; for one prompt, it is printed token by token",
        input='Text to continue; "" begins a new document.',
        unit="prompt",
        options=SamplingOptions,
        packs=True,
    ),
    evaluation=NoOptions,
    evaluated="the run's validation text",
    looking=LookOptions,
    look_input="Text.",
    demo=Demo(
        folder="runs/demo-generate",
        summary="Train a language model on Python's language reference, evaluate it, generate a text and draw one "
        "attention head.",
        example='regard generate {run} "A class definition"',
        settings=demo_settings,
        tiny=tiny_settings,
        scored="the validation part (none of its topics is in the training data)",
    ),
    code="regard.tasks.generate.task:Generate",
)
