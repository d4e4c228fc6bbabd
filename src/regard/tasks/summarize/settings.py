"""Settings of summarization; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regard.tasks.families.seq2seq.copying_settings import (
    CopyEvaluationOptions,
    CopyLookOptions,
    CopyModelConfig,
    CopySearchOptions,
    WordsConfig,
)
from regard.tasks.families.seq2seq.settings import PairsConfig, PairTaskConfig, Seq2SeqTrainConfig, TransformerConfig
from regard.tasks.spec import Demo, TaskSpec, Verb
from regard.training.pretrain_config import PretrainConfig
from regard.training.ranges import at_most, positive


@dataclass(frozen=True)
class DataConfig(PairsConfig):
    """Which texts to train on, with a summary of each."""

    train: str | None = None
    """Texts with summaries to train on: TSV, CSV, JSONL or Parquet, plain or .gz/.xz; two files with one text per line
    as "texts.txt,summaries.txt"; a folder of .subject files; or a Hugging Face dataset as "hf:NAME". A text with
    several summaries is in several rows, or has a list of them in JSONL or Parquet. By default, docstrings of the
    installed Python."""
    max_length: int = 400
    """Number of words of a text that are read, in training and in use; the rest of it is not."""
    max_summary: int = 100
    """Maximum length of a summary in words; longer training summaries are left out, and their number is printed."""
    builtin_pairs: int = 10_000
    """Maximum number of docstrings to train on."""


@dataclass(frozen=True)
class SummarizeTrainConfig(Seq2SeqTrainConfig):
    """Settings of training."""

    metric: Literal["loss", "rouge1", "rouge2", "rougeL"] = "loss"
    """Validation metric that selects the best checkpoint and decides when to stop early. All but loss summarize up to
    1000 validation texts, which takes longer."""


@dataclass(frozen=True)
class SummarizeConfig(PairTaskConfig):
    """All settings of summarization."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: WordsConfig = field(default_factory=WordsConfig)
    model: CopyModelConfig = field(default_factory=CopyModelConfig)
    train: SummarizeTrainConfig = field(default_factory=SummarizeTrainConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            positive("data", self.data, "max_summary", "builtin_pairs")
            or at_most("data", self.data, 1_000_000, "max_summary", "builtin_pairs")
            or super().problem()
            or self.pretrain.problem(self.train)
        )


def demo_settings() -> SummarizeConfig:
    """Settings that train in two minutes on two cores: a small Transformer, which learns to copy in fewer seconds than
    the recurrent model, and small batches, so that there are about a thousand steps."""
    return SummarizeConfig(
        data=DataConfig(max_length=40, max_summary=30),
        tokenizer=WordsConfig(size=3000),
        model=CopyModelConfig(kind="transformer", dim=128, dropout=0.1),
        transformer=TransformerConfig(encoder_layers=1, decoder_layers=1, hidden=256),
        train=SummarizeTrainConfig(epochs=2, minutes=2.0, tokens=900, label_smoothing=0.0, warmup=50),
    )


def tiny_settings() -> SummarizeConfig:
    """Settings that train in seconds."""
    return SummarizeConfig(
        data=DataConfig(max_length=30, max_summary=25, builtin_pairs=60),
        model=CopyModelConfig(kind="transformer", dim=16, coverage=0.5, similar=1),
        transformer=TransformerConfig(encoder_layers=1, decoder_layers=1, heads=2, hidden=16),
        train=SummarizeTrainConfig(steps=3, tokens=512),
    )


SUMMARIZE = TaskSpec(
    name="summarize",
    summary="Train a summarizer, which copies names and numbers, on texts with short texts about them",
    settings=SummarizeConfig,
    verb=Verb(
        name="summarize",
        summary="Summarize a text, or each line of a file or of standard input",
        input="Text to summarize.",
        unit="text",
        options=CopySearchOptions,
        packs=True,
        draws=True,
    ),
    evaluation=CopyEvaluationOptions,
    evaluated="the test split of the built-in docstrings",
    looking=CopyLookOptions,
    look_input="Text to summarize.",
    demo=Demo(
        folder="runs/demo-summarize",
        summary="Train a summarizer that writes the first line of a docstring for the rest of it, on the docstrings of "
        "the installed Python, evaluate it, and show which words it copied, and from where.",
        example='regard look {run} "Copy file (source, target): If target is a folder, the file is copied into it."',
        settings=demo_settings,
        tiny=tiny_settings,
        scored="the test split (greedy decoding; no module of it is in the training data)",
        options={"beam": 1},
    ),
    code="regard.tasks.summarize.task:Summarize",
)
