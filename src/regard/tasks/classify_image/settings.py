"""Settings of image classification; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regard.tasks.families.classify.settings import ClassifyTrainConfig, classify_verb
from regard.tasks.inputs.image_settings import AugmentConfig, LabelledImagesConfig, LabelledImagesOptions
from regard.tasks.spec import Demo, NoOptions, Served, TaskSpec
from regard.training.ranges import at_most, positive, share


@dataclass(frozen=True)
class ModelConfig:
    """The classifier: a residual network with or without attention, or a compact vision Transformer."""

    kind: Literal["resnet", "vit"] = "resnet"
    """resnet: a residual network of convolutions; vit: a vision Transformer over patches of the image."""
    attention: Literal["none", "se", "cbam", "self", "query"] = "none"
    """resnet only. se: a gate on the channels in every block (Hu et al. 2018); cbam: gates on channels and places (Woo
    et al. 2018); self: self-attention over the places after the second stage; query: the mean of the last features, as
    a query, attends over the places. All but none and se can be drawn over the image."""
    width: int = 32
    """Number of channels of the first stage (resnet), or a quarter of the number of features (vit)."""
    blocks: int = 2
    """Number of residual blocks in each of the three stages (resnet), or half the number of layers (vit)."""
    heads: int = 4
    """vit only. Number of heads of each attention."""
    dropout: float = 0.1
    """vit only. Dropout probability on the output of each sublayer and on attention weights."""
    mirror: bool = False
    """When the trained model is used, average the logits of each image and its mirror image: twice the time, and often
    slightly more accurate."""


@dataclass(frozen=True)
class ClassifyImageTrainConfig(ClassifyTrainConfig):
    """Settings of training."""

    batch: int | None = None
    """Size of a batch in images, summed over all processes; by default 8 to 128, depending on the number of images."""
    learning_rate: float = 3e-3
    """Peak learning rate, reached after the warm-up."""
    weight_decay: float = 0.05
    """Decoupled weight decay, multiplied by the learning rate."""


@dataclass(frozen=True)
class ClassifyImageConfig:
    """All settings of image classification."""

    data: LabelledImagesConfig = field(default_factory=LabelledImagesConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: ClassifyImageTrainConfig = field(default_factory=ClassifyImageTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        data, model = self.data, self.model
        minimum = 16 if model.kind == "resnet" else 8  # a resnet's last stage halves it three times
        wrong = (
            data.problem(minimum)
            or self.augment.problem(data.size)
            or positive("model", model, "width", "blocks", "heads")
            or at_most("model", model, 1_000_000, "width")
            or at_most("model", model, 1000, "blocks", "heads")
            or share("model", model, "dropout")
        )
        if wrong is not None:
            return wrong
        if model.kind == "vit" and 4 * model.width % model.heads:
            return f"model.heads: must divide 4 · model.width, {4 * model.width}, got {model.heads}"
        if model.kind == "vit" and model.attention != "none":
            return "model.attention: only for --model.kind resnet; a vit has attention in every layer"
        if model.attention == "self" and model.width % 2:
            return f"model.width: must be even for --model.attention self, got {model.width}"
        return self.train.problem()


def demo_settings() -> ClassifyImageConfig:
    """Settings that train in a minute or two on two cores."""
    return ClassifyImageConfig(
        data=LabelledImagesConfig(size=32),
        augment=AugmentConfig(crop=4, flip=False, cutout=8),
        model=ModelConfig(attention="query", width=8, blocks=1),
        train=ClassifyImageTrainConfig(epochs=20, batch=64),
    )


def tiny_settings() -> ClassifyImageConfig:
    """Settings that train in seconds."""
    return ClassifyImageConfig(
        data=LabelledImagesConfig(size=16),
        model=ModelConfig(attention="query", width=4, blocks=1),
        train=ClassifyImageTrainConfig(steps=3, batch=16),
    )


CLASSIFY_IMAGE = TaskSpec(
    name="classify-image",
    summary="Train an image classifier, with or without attention",
    settings=ClassifyImageConfig,
    verb=classify_verb("image", "Image files of any size; colour, greyscale or with transparency."),
    evaluation=LabelledImagesOptions,
    evaluated="the run's validation images",
    looking=NoOptions,
    look_input="Image file.",
    demo=Demo(
        folder="runs/demo-classify-image",
        summary="Train a small network with attention on handwritten digits, evaluate it and draw its attention over "
        "a digit.",
        example="regard classify {run} {run}/digit.png --look where.png",
        settings=demo_settings,
        tiny=tiny_settings,
        scored="the validation set",
    ),
    code="regard.tasks.classify_image.task:ClassifyImage",
    served=Served(media="image/*"),
)
