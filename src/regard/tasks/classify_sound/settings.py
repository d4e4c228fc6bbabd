"""Settings of sound classification; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field

from regard.tasks.families.classify.settings import ClassifyTrainConfig, classify_verb
from regard.tasks.inputs.sound_settings import (
    LabelledSoundsConfig,
    LabelledSoundsOptions,
    SoundAugmentConfig,
    SoundModelConfig,
)
from regard.tasks.spec import Demo, NoOptions, Served, TaskSpec


@dataclass(frozen=True)
class ClassifySoundTrainConfig(ClassifyTrainConfig):
    """Settings of training."""

    learning_rate: float = 3e-3
    """Peak learning rate, reached after the warm-up."""
    weight_decay: float = 0.05
    """Decoupled weight decay, multiplied by the learning rate."""


@dataclass(frozen=True)
class ClassifySoundConfig:
    """All settings of sound classification."""

    data: LabelledSoundsConfig = field(default_factory=LabelledSoundsConfig)
    augment: SoundAugmentConfig = field(default_factory=SoundAugmentConfig)
    model: SoundModelConfig = field(default_factory=SoundModelConfig)
    train: ClassifySoundTrainConfig = field(default_factory=ClassifySoundTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        wrong = (
            self.data.problem() or self.augment.problem() or self.model.problem(self.data.rate) or self.train.problem()
        )
        if wrong is None and self.data.labels == "multi" and self.data.train is None:
            return "data.labels: the built-in sounds have one class each; name a table with --data.train"
        return wrong


def demo_settings() -> ClassifySoundConfig:
    """Settings that train in a minute or two on two cores."""
    return ClassifySoundConfig(
        data=LabelledSoundsConfig(rate=8000, builtin_sounds=1200),
        model=SoundModelConfig(bands=40, width=8),
        augment=SoundAugmentConfig(shift=0.0, speed=0.0),
        train=ClassifySoundTrainConfig(epochs=16, batch=32),
    )


def tiny_settings() -> ClassifySoundConfig:
    """Settings that train in seconds."""
    return ClassifySoundConfig(
        data=LabelledSoundsConfig(rate=4000, builtin_sounds=60),
        model=SoundModelConfig(bands=16, width=2, heads=2),
        train=ClassifySoundTrainConfig(steps=3, batch=16),
    )


CLASSIFY_SOUND = TaskSpec(
    name="classify-sound",
    summary="Train a sound classifier with attention over time",
    settings=ClassifySoundConfig,
    verb=classify_verb("sound", "Sound files of any rate and number of channels, or files of features."),
    evaluation=LabelledSoundsOptions,
    evaluated="the run's validation sounds",
    looking=NoOptions,
    look_input="Sound file, or file of features.",
    demo=Demo(
        folder="runs/demo-classify-sound",
        summary="Train a small network with attention on generated tones of five classes, evaluate it, and draw which "
        "moment decided.",
        example="regard look {run} {run}/sound.wav",
        settings=demo_settings,
        tiny=tiny_settings,
        scored="the validation set (each sound has one gliding tone that decides its class)",
    ),
    code="regard.tasks.classify_sound.task:ClassifySound",
    served=Served(media="audio/*,.npy,.npz,.mfc"),
)
