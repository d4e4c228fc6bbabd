"""Settings of text classification; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field

from regard.tasks.families.classify.settings import ClassifyTrainConfig, classify_verb
from regard.tasks.inputs.text_settings import LabelledTextsConfig, LabelledTextsOptions, TextModelConfig
from regard.tasks.spec import Demo, NoOptions, TaskSpec
from regard.training.pretrain_config import PretrainConfig


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
    model: TextModelConfig = field(default_factory=TextModelConfig)
    train: ClassifyTextTrainConfig = field(default_factory=ClassifyTextTrainConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return self.data.problem() or self.model.problem() or self.train.problem() or self.pretrain.problem(self.train)


def demo_settings() -> ClassifyTextConfig:
    """Settings that train in a minute or two on two cores."""
    return ClassifyTextConfig(
        model=TextModelConfig(dim=48, width=32, buckets=2000), train=ClassifyTextTrainConfig(epochs=12, batch=64)
    )


def tiny_settings() -> ClassifyTextConfig:
    """Settings that train in seconds."""
    return ClassifyTextConfig(
        data=LabelledTextsConfig(builtin_texts=60),
        model=TextModelConfig(dim=8, width=4, buckets=50),
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
    code="regard.tasks.classify_text.task:ClassifyText",
)
