"""Settings of image classification; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regard.tasks.spec import Demo, NoOptions, TaskSpec, Verb
from regard.training.config import TrainConfig
from regard.training.ranges import at_least, at_most, not_negative, positive, share


@dataclass(frozen=True)
class DataConfig:
    """Which images to train on."""

    train: str | None = None
    """Images to train on: a folder with a subfolder per class, a tar or zip archive of it, CIFAR-10's binary files,
    Parquet, or a Hugging Face dataset as "hf:NAME". By default, the handwritten digits of scikit-learn."""
    valid: str | None = None
    """Images to validate on, in the same formats; by default, those of a folder val or valid beside the folder train,
    or else a tenth of each class, which is set aside."""
    size: int = 32
    """Height and width of the images in pixels, a multiple of 4: each image is cropped to its middle square and
    resized."""
    image_column: str | None = None
    """Parquet and Hugging Face datasets only. Name of the column with the image; by default detected."""
    label_column: str | None = None
    """Parquet and Hugging Face datasets only. Name of the column with the class; by default detected."""
    on_bad: Literal["error", "skip"] = "error"
    """What to do with images that are damaged, empty or of an unknown format. error: name the first and stop; skip:
    leave them out and print their number. skip also leaves out class folders without images."""


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation: random changes of a training image each time it is used."""

    crop: int = 4
    """Shift by a random number of pixels, at most this many in each direction; 0: no shift."""
    flip: bool = True
    """Mirror left and right with probability 0.5; turn it off for digits and letters."""
    cutout: int = 8
    """Blank a random square with sides of this many pixels (DeVries and Taylor 2017); 0: none."""
    mixup: float = 0.0
    """Mix two images and their classes in a ratio drawn from Beta(mixup, mixup), often with 0.2 (Zhang et al. 2018); 0:
    no mixing."""


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
class ClassifyImageTrainConfig(TrainConfig):
    """Settings of training."""

    batch_measure = "batch"
    batch: int | None = None
    """Size of a batch in images, summed over all processes; by default 8 to 128, depending on the number of images."""
    learning_rate: float = 3e-3
    """Peak learning rate, reached after the warm-up."""
    weight_decay: float = 0.05
    """Decoupled weight decay, multiplied by the learning rate."""
    label_smoothing: float = 0.1
    """Label smoothing: the share of the target's probability that is spread over all classes."""
    metric: Literal["loss", "accuracy"] = "accuracy"
    """Validation metric that selects the best checkpoint and decides when to stop early."""


@dataclass(frozen=True)
class ClassifyImageConfig:
    """All settings of image classification."""

    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: ClassifyImageTrainConfig = field(default_factory=ClassifyImageTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        data, augment, model = self.data, self.augment, self.model
        minimum = 16 if model.kind == "resnet" else 8  # a resnet's last stage halves it three times
        if data.size < minimum or data.size % 4:
            return f"data.size: must be a multiple of 4, at least {minimum}, got {data.size}"
        wrong = (
            not_negative("augment", augment, "crop", "cutout", "mixup")
            or positive("model", model, "width", "blocks", "heads")
            or at_most("data", data, 10_000, "size")
            or at_most("augment", augment, 10_000, "crop", "cutout")
            or at_most("model", model, 1_000_000, "width")
            or at_most("model", model, 1000, "blocks", "heads")
            or share("model", model, "dropout")
        )
        if wrong is not None:
            return wrong
        if augment.crop >= data.size:
            return f"augment.crop: must be below data.size, {data.size}, got {augment.crop}"
        if model.kind == "vit" and 4 * model.width % model.heads:
            return f"model.heads: must divide 4 · model.width, {4 * model.width}, got {model.heads}"
        if model.kind == "vit" and model.attention != "none":
            return "model.attention: only for --model.kind resnet; a vit has attention in every layer"
        if model.attention == "self" and model.width % 2:
            return f"model.width: must be even for --model.attention self, got {model.width}"
        return self.train.problem()


@dataclass(frozen=True)
class ClassifyOptions:
    """Options of ``regard classify``."""

    top: int = 3
    """Number of classes to print for each input."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return at_least("top", self.top, 1)


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of ``regard eval`` for an image classifier."""

    on_bad: Literal["error", "skip"] | None = None
    """Stop at an image that cannot be used, or skip it; by default as in training."""
    image_column: str | None = None
    """The column of a table that has the image; by default as in training."""
    label_column: str | None = None
    """The column of a table that has the class; by default as in training."""


def demo_settings() -> ClassifyImageConfig:
    """Settings that train in a minute or two on two cores."""
    return ClassifyImageConfig(
        data=DataConfig(size=32),
        augment=AugmentConfig(crop=4, flip=False, cutout=8),
        model=ModelConfig(attention="query", width=8, blocks=1),
        train=ClassifyImageTrainConfig(epochs=20, batch=64),
    )


def tiny_settings() -> ClassifyImageConfig:
    """Settings that train in seconds."""
    return ClassifyImageConfig(
        data=DataConfig(size=16),
        model=ModelConfig(attention="query", width=4, blocks=1),
        train=ClassifyImageTrainConfig(steps=3, batch=16),
    )


CLASSIFY_IMAGE = TaskSpec(
    name="classify-image",
    summary="Train an image classifier, with or without attention",
    settings=ClassifyImageConfig,
    verb=Verb(
        name="classify",
        summary="Print the most probable classes of each image, with their probabilities",
        input="Image files of any size; colour, greyscale or with transparency.",
        unit="image",
        options=ClassifyOptions,
        many=True,
        draws=True,
    ),
    evaluation=EvaluateOptions,
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
    pages=False,
    code="regard.tasks.classify_image.task:ClassifyImage",
)
