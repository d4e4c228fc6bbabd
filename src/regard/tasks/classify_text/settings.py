"""Settings of text classification; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regard.tasks.families.classify.settings import ClassifyTrainConfig, classify_verb
from regard.tasks.inputs.text_settings import LabelledTextsConfig, LabelledTextsOptions
from regard.tasks.spec import Demo, NoOptions, TaskSpec
from regard.training.ranges import at_most, not_negative, positive, share


@dataclass(frozen=True)
class ModelConfig:
    """The classifier: embeddings of words, an encoder, and attention over the words."""

    kind: Literal["cnn", "gru", "transformer"] = "cnn"
    """cnn: convolutions over 3, 4 and 5 words (Kim 2014); gru: a bidirectional GRU; transformer: self-attention."""
    attention: Literal["additive", "none"] = "additive"
    """additive: learned queries attend to the words (Bahdanau et al. 2015), beside the maximum over the words; none:
    the mean over the words in place of the attention, as a baseline."""
    dim: int = 128
    """Width of the embeddings."""
    width: int = 128
    """cnn: channels of each of the three convolutions; gru: width of the states of both directions together;
    transformer: width of the layers."""
    layers: int = 2
    """transformer only. Number of layers."""
    heads: int = 4
    """Number of heads of the attention."""
    window: int = 256
    """Longer texts are read in windows of this many words, and attention weighs the windows (Yang et al. 2016)."""
    vocabulary: int = 30_000
    """Number of words that have an embedding; those that occur once are left out."""
    buckets: int = 30_000
    """Number of embeddings for parts of words of 3 to 5 characters, which unknown words have too (Bojanowski et al.
    2017); 0: none."""
    dropout: float = 0.5
    """Dropout probability on the embeddings and on the features of the text."""
    word_dropout: float = 0.1
    """The probability that a word is hidden in training."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        wrong = (
            positive("model", self, "dim", "width", "layers", "heads", "window", "vocabulary")
            or not_negative("model", self, "buckets")
            or at_most("model", self, 100_000, "dim", "width", "layers", "heads", "window")
            or at_most("model", self, 10_000_000, "vocabulary", "buckets")
            or share("model", self, "dropout", "word_dropout")
        )
        if wrong is not None:
            return wrong
        out = 3 * self.width if self.kind == "cnn" else self.width
        if out % self.heads or out % 2:
            of = "3 · model.width" if self.kind == "cnn" else "model.width"
            return f"model.heads: {of}, {out}, must be even and a multiple of it, got {self.heads}"
        return None


@dataclass(frozen=True)
class ClassifyTextTrainConfig(ClassifyTrainConfig):
    """Settings of training."""

    learning_rate: float = 2e-3
    """Peak learning rate, reached after the warm-up."""
    weight_decay: float = 0.05
    """Decoupled weight decay, multiplied by the learning rate."""


@dataclass(frozen=True)
class ClassifyTextConfig:
    """All settings of text classification."""

    data: LabelledTextsConfig = field(default_factory=LabelledTextsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: ClassifyTextTrainConfig = field(default_factory=ClassifyTextTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return self.data.problem() or self.model.problem() or self.train.problem()


def demo_settings() -> ClassifyTextConfig:
    """Settings that train in a minute or two on two cores."""
    return ClassifyTextConfig(
        model=ModelConfig(dim=48, width=32, buckets=2000), train=ClassifyTextTrainConfig(epochs=12, batch=64)
    )


def tiny_settings() -> ClassifyTextConfig:
    """Settings that train in seconds."""
    return ClassifyTextConfig(
        data=LabelledTextsConfig(builtin_texts=60),
        model=ModelConfig(dim=8, width=4, buckets=50),
        train=ClassifyTextTrainConfig(steps=3, batch=16),
    )


CLASSIFY_TEXT = TaskSpec(
    name="classify-text",
    summary="Train a text classifier with attention over the words",
    settings=ClassifyTextConfig,
    verb=classify_verb("text", "Text to classify.", many=False),
    evaluation=LabelledTextsOptions,
    evaluated="the run's validation texts",
    looking=NoOptions,
    look_input="Text to classify.",
    demo=Demo(
        folder="runs/demo-classify-text",
        summary="Train a small network with attention on requests about five topics, evaluate it, and draw which words "
        "decided.",
        example='regard look {run} "Is March 3 the right ticket, or should I ask about April 5?"',
        settings=demo_settings,
        tiny=tiny_settings,
        scored="the validation set (each text has one word that decides its class)",
    ),
    pages=True,
    code="regard.tasks.classify_text.task:ClassifyText",
)
