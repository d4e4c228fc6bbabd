"""Settings that tasks with spans share; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regard.training.config import TrainConfig
from regard.training.pretrain_config import PretrainConfig
from regard.training.ranges import at_most, enough_tokens, positive, share


@dataclass(frozen=True)
class SpanDataConfig:
    """Which questions to train on, and how long texts are divided."""

    train: str | None = None
    """Questions to train on: SQuAD's JSON (version 1 or 2) or a folder of such files; CSV, TSV, JSONL or Parquet with
    columns for context, question, answer and start of the answer; all but Parquet also .gz/.xz; or a Hugging Face
    dataset as "hf:NAME". By default, built-in questions."""
    valid: str | None = None
    """Questions to validate on, in the same formats; by default, those about a tenth of the contexts are set aside."""
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
    on_bad_line: Literal["error", "skip"] = "error"
    """What to do with questions that cannot be used, such as those whose answer is not in the context. error: name them
    and stop; skip: name them and leave them out."""
    window: int = 256
    """Length of a window in tokens; the model reads a longer context in windows that overlap."""
    overlap: int = 128
    """Number of tokens that a window shares with the next one, so that an answer at the end of one is in the other."""
    max_question: int = 64
    """Maximum length of a question in tokens; of a longer one, the model reads the beginning."""
    max_answer: int = 30
    """Maximum length of an answer in tokens, at most data.window; the model gives none that is longer, and training
    questions that have only longer ones are left out."""

    @property
    def longest(self) -> int:
        """Maximum length of an answer in tokens, which is that of a window if `max_answer` is larger."""
        return min(self.max_answer, self.window)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        sizes = ("window", "max_question", "max_answer")
        wrong = positive("data", self, *sizes) or at_most("data", self, 100_000, *sizes)
        if wrong is None and not 0 <= self.overlap < self.window:
            return f"data.overlap: must be at least 0 and below data.window, {self.window}, got {self.overlap}"
        return wrong


@dataclass(frozen=True)
class TokenizerConfig:
    """How text is split into tokens."""

    kind: Literal["byte", "char"] = "byte"
    """byte: byte-level BPE (byte-pair encoding); char: single characters, for languages without spaces between
    words."""
    size: int | None = None
    """Vocabulary size of byte-level BPE in tokens; by default 300 to 8000, depending on the amount of text."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return enough_tokens(self, "size") or at_most("tokenizer", self, 1_000_000, "size")


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
    share, and whether its word is in both."""
    dim: int | None = None
    """Number of features of every layer; by default 96 to 192, depending on the number of questions."""
    layers: int = 4
    """conv only. Number of convolutions of each encoder."""
    heads: int = 4
    """Number of heads of the self-attention; model.dim must be a multiple of it."""
    dropout: float = 0.2
    """Dropout probability: on embeddings, the encoders' outputs and the result of the self-attention."""
    word_dropout: float = 0.0
    """The probability that a token is hidden in training, wherever it is in the question and its context, so that the
    model learns to recognize names that it does not know by what is around them and by where they match."""
    linear: float = 0.0
    """The share of a linear model in the mean of its log-odds and the network's. It is fitted before the network is
    trained, to words, their neighbours and their distances from words of the question; for languages with spaces
    between words."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        wrong = (
            positive("model", self, "dim", "layers", "heads")
            or at_most("model", self, 1_000_000, "dim")
            or at_most("model", self, 1000, "layers", "heads")
            or share("model", self, "dropout", "word_dropout", "linear")
        )
        if wrong is not None:
            return wrong
        if (self.dim or 96) % self.heads or (self.dim or 96) % 2:
            return f"model.dim: must be even and a multiple of model.heads, {self.heads}, got {self.dim or 96}"
        if self.kind == "gru" and self.layers != ModelConfig().layers:
            return "model.layers: only for --model.kind conv"
        return None


@dataclass(frozen=True)
class SpanTrainConfig(TrainConfig):
    """Settings of training."""

    batch_measure = "tokens"
    tokens: int | None = None
    """Size of a batch: its context and question tokens, padding included, summed over all processes; by default 1024 to
    8192, depending on the amount of text."""
    label_smoothing: float = 0.0
    """Label smoothing: the share of the target's probability that is spread over all spans."""
    metric: Literal["loss", "f1", "exact", "character_f1"] = "f1"
    """Validation metric that selects the best checkpoint and the threshold for no answer, and decides when to stop
    early. loss: the threshold has the best F1; f1: of words, as SQuAD computes it; exact: the percentage of answers
    that equal a correct one; character_f1: F1 of characters, for languages without spaces between words."""


@dataclass(frozen=True)
class SpanConfig:
    """All settings of a task with spans; a task adds its own."""

    data: SpanDataConfig = field(default_factory=SpanDataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: SpanTrainConfig = field(default_factory=SpanTrainConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            self.data.problem()
            or self.tokenizer.problem()
            or self.model.problem()
            or self.train.problem()
            or self.pretrain.problem(self.train)
        )
