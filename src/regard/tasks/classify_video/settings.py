"""Settings of video classification; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field

from regard.tasks.families.classify.settings import ClassifyTrainConfig, classify_verb
from regard.tasks.inputs.clip_settings import (
    ClipAugmentConfig,
    ClipModelConfig,
    LabelledClipsConfig,
    LabelledClipsOptions,
)
from regard.tasks.spec import Demo, NoOptions, Served, TaskSpec


@dataclass(frozen=True)
class ClassifyVideoTrainConfig(ClassifyTrainConfig):
    """Settings of training."""

    learning_rate: float = 3e-3
    """Peak learning rate, reached after the warm-up."""
    weight_decay: float = 0.05
    """Decoupled weight decay, multiplied by the learning rate."""


@dataclass(frozen=True)
class ClassifyVideoConfig:
    """All settings of video classification."""

    data: LabelledClipsConfig = field(default_factory=LabelledClipsConfig)
    augment: ClipAugmentConfig = field(default_factory=ClipAugmentConfig)
    model: ClipModelConfig = field(default_factory=ClipModelConfig)
    train: ClassifyVideoTrainConfig = field(default_factory=ClassifyVideoTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        wrong = self.data.problem() or self.augment.problem() or self.model.problem() or self.train.problem()
        if wrong is None and self.model.kernel and self.data.kind != "poses":
            return f"model.kernel: needs poses, and data.kind is {self.data.kind}; use 0"
        if wrong is None and self.data.train is None:
            if self.data.labels == "multi":
                return "data.labels: the built-in clips have one class each; name a table with --data.train"
            if self.data.kind == "poses" and self.data.dims != 2:
                return f"data.dims: the built-in clips have 2 coordinates, got {self.data.dims}"
        return wrong


def demo_settings() -> ClassifyVideoConfig:
    """Settings that train in a minute or two on two cores."""
    return ClassifyVideoConfig(
        data=LabelledClipsConfig(builtin_clips=800),
        model=ClipModelConfig(width=32),
        train=ClassifyVideoTrainConfig(epochs=12, batch=32),
    )


def tiny_settings() -> ClassifyVideoConfig:
    """Settings that train in seconds."""
    return ClassifyVideoConfig(
        data=LabelledClipsConfig(builtin_clips=60),
        model=ClipModelConfig(width=8, heads=2),
        train=ClassifyVideoTrainConfig(steps=3, batch=16),
    )


CLASSIFY_VIDEO = TaskSpec(
    name="classify-video",
    summary="Train a classifier of clips, with attention over time and joints or patches",
    settings=ClassifyVideoConfig,
    verb=classify_verb("clip", "Files with the poses or frames of a clip, or folders with a file for each frame."),
    evaluation=LabelledClipsOptions,
    evaluated="the run's validation clips",
    looking=NoOptions,
    look_input="File with the poses or frames of a clip, or folder with a file for each frame.",
    demo=Demo(
        folder="runs/demo-classify-video",
        summary="Train a small network with attention on stick figures that do one of six things, evaluate it, and "
        "draw which moment and which joints decided.",
        example="regard look {run} {run}/clip.jsonl",
        settings=demo_settings,
        tiny=tiny_settings,
        scored="the validation set (each figure stands, and for a while does what its class is)",
    ),
    code="regard.tasks.classify_video.task:ClassifyVideo",
    served=Served(media="video/*,image/*,.json,.jsonl,.npy,.npz"),
)
