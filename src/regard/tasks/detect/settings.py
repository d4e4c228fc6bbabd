"""Settings of detection; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field

from regard.tasks.families.boxes.settings import (
    BoxAugmentConfig,
    BoxesConfig,
    BoxesOptions,
    BoxesTrainConfig,
    DetectOptions,
    DetectorConfig,
    LookOptions,
)
from regard.tasks.spec import Demo, Served, TaskSpec, Verb


@dataclass(frozen=True)
class DetectConfig:
    """All settings of detection."""

    data: BoxesConfig = field(default_factory=BoxesConfig)
    augment: BoxAugmentConfig = field(default_factory=BoxAugmentConfig)
    model: DetectorConfig = field(default_factory=DetectorConfig)
    train: BoxesTrainConfig = field(default_factory=BoxesTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return self.data.problem() or self.augment.problem() or self.model.problem() or self.train.problem()


def demo_settings() -> DetectConfig:
    """Settings that train in two minutes on two cores."""
    return DetectConfig(
        data=BoxesConfig(builtin_scenes=5000),
        augment=BoxAugmentConfig(flip=False, zoom=0.0),
        model=DetectorConfig(width=64, queries=20),
        train=BoxesTrainConfig(epochs=4, batch=16, validate_on=200),
    )


def tiny_settings() -> DetectConfig:
    """Settings that train in seconds."""
    return DetectConfig(
        data=BoxesConfig(builtin_scenes=24),
        model=DetectorConfig(width=16, queries=6, decoder_layers=1),
        train=BoxesTrainConfig(steps=3, batch=8),
    )


DETECT = TaskSpec(
    name="detect",
    summary="Train a detector that finds objects in images: boxes with classes",
    settings=DetectConfig,
    verb=Verb(
        name="detect",
        summary="Find the objects of each image: boxes with classes and scores",
        input="Image files of any size; colour, greyscale or with transparency.",
        unit="image",
        options=DetectOptions,
        many=True,
        draws=True,
    ),
    evaluation=BoxesOptions,
    evaluated="the run's validation images, or new generated scenes",
    looking=LookOptions,
    look_input="Image file.",
    demo=Demo(
        folder="runs/demo-detect",
        summary="Train a small detector on generated scenes of shapes and digits, evaluate it and draw what the query "
        "of each box attends to.",
        example="regard detect {run} {run}/scene.png --look where.png",
        settings=demo_settings,
        tiny=tiny_settings,
        scored="500 scenes that were not trained on",
    ),
    code="regard.tasks.detect.task:Detect",
    served=Served(media="image/*", without=("out",)),
)
