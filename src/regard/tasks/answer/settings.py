"""Settings of question answering; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from regard.tasks.families.span.settings import SpanDataConfig, SpanTrainConfig
from regard.tasks.spec import Demo, TaskSpec, Verb
from regard.training.ranges import at_least, at_most, enough_tokens, positive, share


@dataclass(frozen=True)
class DataConfig(SpanDataConfig):
    """Which questions to train on, and how long texts are divided."""

    train: str | None = None
    """Questions to train on: SQuAD's JSON (version 1 or 2) or a folder of such files; CSV, TSV, JSONL or Parquet with
    columns for context, question, answer and start of the answer; all but Parquet also .gz/.xz; or a Hugging Face
    dataset as "hf:NAME". By default, built-in questions."""
    context: str | int | None = None
    """Column with the contexts: its name, or its number counted from 1; by default the one with a usual name, or the
    first."""
    question: str | int | None = None
    """Column with the questions, likewise; the second."""
    answer: str | int | None = None
    """Column with the answers, likewise; the third. An empty one: the context has no answer."""
    start: str | int | None = None
    """Column with the places of the answers in the contexts, in characters from 0, likewise; the fourth. It may also
    have pairs of start and end. Without it, each place of an answer's text counts as correct."""
    no_answer: str | None = None
    """Text in the column of answers that stands for no answer, in addition to an empty one."""
    builtin_questions: int = 10_000
    """Number of built-in questions to train on."""


@dataclass(frozen=True)
class TokenizerConfig:
    """How text is split into tokens."""

    kind: Literal["byte", "char"] = "byte"
    """byte: byte-level BPE (byte-pair encoding); char: single characters, for languages without spaces between
    words."""
    size: int | None = None
    """Vocabulary size of byte-level BPE in tokens; by default 300 to 8000, depending on the amount of text."""


@dataclass(frozen=True)
class ModelConfig:
    """The model: encoders of question and context, attention between them both ways, self-attention over the
    context."""

    kind: Literal["gru", "conv"] = "gru"
    """gru: bidirectional GRUs as encoders; conv: residual layers of convolutions, which are faster."""
    attention: Literal["both", "none"] = "both"
    """both: question and context attend to each other, and the context to itself; none: the mean of the encoded
    question in place of all attention."""
    matches: bool = True
    """Whether the model knows of each token the length of the part of the text around it that context and question
    share."""
    dim: int | None = None
    """Number of features of every layer; by default 96 to 192, depending on the number of questions."""
    layers: int = 4
    """conv only. Number of convolutions of each encoder."""
    heads: int = 4
    """Number of heads of the self-attention; model.dim must be a multiple of it."""
    dropout: float = 0.2
    """Dropout probability: on embeddings, the encoders' outputs and the result of the self-attention."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        wrong = (
            positive("model", self, "dim", "layers", "heads")
            or at_most("model", self, 1_000_000, "dim")
            or at_most("model", self, 1000, "layers", "heads")
            or share("model", self, "dropout")
        )
        if wrong is not None:
            return wrong
        if (self.dim or 96) % self.heads or (self.dim or 96) % 2:
            return f"model.dim: must be even and a multiple of model.heads, {self.heads}, got {self.dim or 96}"
        if self.kind == "gru" and self.layers != ModelConfig().layers:
            return "model.layers: only for --model.kind conv"
        return None


@dataclass(frozen=True)
class AnswerConfig:
    """All settings of question answering."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: SpanTrainConfig = field(default_factory=SpanTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            enough_tokens(self.tokenizer, "size")
            or self.data.problem()
            or positive("data", self.data, "builtin_questions")
            or at_most("data", self.data, 1_000_000, "builtin_questions")
            or at_most("tokenizer", self.tokenizer, 1_000_000, "size")
            or self.model.problem()
            or self.train.problem()
        )


def _wrong_threshold(threshold: float | None) -> str | None:
    """The error message for an option ``threshold`` that is out of range."""
    if threshold is not None and not 0 <= threshold <= 1:
        return f"--threshold: must be from 0 to 1, got {threshold}"
    return None


@dataclass(frozen=True)
class LookOptions:
    """Options of ``regard look``."""

    context: Path | None = None
    """Text file with the context, in UTF-8, plain or .gz/.xz; the input is then the question only."""


@dataclass(frozen=True)
class AnswerOptions(LookOptions):
    """Options of ``regard answer``."""

    context: Path | None = None
    """Text file with the context, in UTF-8, plain or .gz/.xz; each input is then a question only. Without it, each
    input has a context: after the question and a tab, or in JSON as {"question": …, "context": …}."""
    top: int = 1
    """Number of answers to print for each question, the most probable ones that do not overlap."""
    threshold: float | None = None
    """Give an answer if the probability that there is one is at least this; by default as chosen on the validation
    data."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return at_least("top", self.top, 1) or _wrong_threshold(self.threshold)


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of ``regard eval`` for question answering."""

    threshold: float | None = None
    """Give an answer if the probability that there is one is at least this; by default as chosen on the validation
    data."""
    on_bad_line: Literal["error", "skip"] | None = None
    """Stop at questions that cannot be used, or skip them; by default as in training."""
    output: Path | None = None
    """Also write the answers to this file, one per line, empty where the model gives none."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return _wrong_threshold(self.threshold)


def demo_settings() -> AnswerConfig:
    """Settings that train in two minutes on two cores."""
    return AnswerConfig(
        data=DataConfig(builtin_questions=3000),
        model=ModelConfig(kind="conv", dim=64, layers=3, dropout=0.1),
        train=SpanTrainConfig(epochs=3, tokens=4096, learning_rate=4e-3),
    )


def tiny_settings() -> AnswerConfig:
    """Settings that train in seconds."""
    return AnswerConfig(
        data=DataConfig(builtin_questions=60),
        tokenizer=TokenizerConfig(size=1000),
        model=ModelConfig(kind="conv", dim=16, layers=2),
        train=SpanTrainConfig(steps=3, tokens=4096),
    )


ANSWER = TaskSpec(
    name="answer",
    summary="Train a model that finds the answers to questions in texts, with or without attention",
    settings=AnswerConfig,
    verb=Verb(
        name="answer",
        summary="Answer a question about a text, or each question of a file or of standard input",
        input="Question to answer.",
        unit="question",
        options=AnswerOptions,
        draws=True,
    ),
    evaluation=EvaluateOptions,
    evaluated="the test split of the built-in questions, or the run's validation questions",
    looking=LookOptions,
    look_input="Question; without --context, followed by a tab and its context, or in JSON.",
    demo=Demo(
        folder="runs/demo-answer",
        summary="Train a model on questions about languages, currencies and time zones of territories (Unicode CLDR), "
        "evaluate it, and draw the attention of a question over its text.",
        example='regard answer {run} "What is the currency of Palau?" --context {run}/passage.txt',
        settings=demo_settings,
        tiny=tiny_settings,
        scored="the test split (about territories that are not in the training data)",
    ),
    pages=True,
    code="regard.tasks.answer.task:AnswerQuestions",
)
