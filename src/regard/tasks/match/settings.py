"""Settings of matching images and texts; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field

from regard.tasks.families.rank.captioned_settings import CaptionedAugmentConfig, CaptionedConfig, CaptionedOptions
from regard.tasks.families.rank.matching_settings import LookOptions, MatchingConfig, MatchOptions, MatchTrainConfig
from regard.tasks.spec import Demo, Served, TaskSpec, Upload, Verb


@dataclass(frozen=True)
class MatchConfig:
    """All settings of matching images and texts."""

    data: CaptionedConfig = field(default_factory=CaptionedConfig)
    augment: CaptionedAugmentConfig = field(default_factory=CaptionedAugmentConfig)
    model: MatchingConfig = field(default_factory=MatchingConfig)
    train: MatchTrainConfig = field(default_factory=MatchTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            self.data.problem() or self.augment.problem(self.data.size) or self.model.problem() or self.train.problem()
        )


def demo_settings() -> MatchConfig:
    """Settings that train in two minutes on two cores."""
    return MatchConfig(
        data=CaptionedConfig(builtin_scenes=4000),
        augment=CaptionedAugmentConfig(crop=2),
        model=MatchingConfig(width=16, text_width=64, text_layers=1, dim=64, buckets=0, dropout=0.0, word_dropout=0.0),
        train=MatchTrainConfig(epochs=8, batch=64, optimizer="muon", learning_rate=1e-2),
    )


def tiny_settings() -> MatchConfig:
    """Settings that train in seconds."""
    return MatchConfig(
        data=CaptionedConfig(builtin_scenes=60, size=32),
        model=MatchingConfig(width=4, text_width=16, text_layers=1, dim=8, buckets=50),
        train=MatchTrainConfig(steps=3, batch=16),
    )


MATCH = TaskSpec(
    name="match",
    summary="Train a model that matches images and texts, and searches one for the other",
    settings=MatchConfig,
    verb=Verb(
        name="match",
        summary="Search images for a text, or texts for an image",
        input="Text to search for; with --texts or --labels, image files.",
        unit="text",
        options=MatchOptions,
        many_with=("texts", "labels"),
        named_input="image",
    ),
    evaluation=CaptionedOptions,
    evaluated="the run's validation images",
    looking=LookOptions,
    look_input="Text whose words are shown on an image.",
    demo=Demo(
        folder="runs/demo-match",
        summary="Train a small model on generated scenes of shapes and digits, search them, and draw where each word "
        "of a caption looks.",
        example='regard match {run} "a red circle above a blue three" --among {run}/scenes',
        settings=demo_settings,
        tiny=tiny_settings,
        scored="scenes that are set aside",
    ),
    code="regard.tasks.match.task:Match",
    served=Served(uploads={"image": Upload("image/*", ("labels", "texts"))}, texts=("texts",), without=("among",)),
)
