"""Settings of image classification; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regard.train.config import TrainConfig
from regard.train.ranges import at_most, not_negative, positive, share


@dataclass(frozen=True)
class DataConfig:
    """What to train on."""

    train: str | None = None
    """Images to train on: a folder with a folder per class, a tar or zip of that, CIFAR-10's binary files, Parquet, or
    a Hugging Face dataset as "hf:NAME". Without it, the handwritten digits of scikit-learn."""
    valid: str | None = None
    """Images to validate on; without it, those of a folder val or valid beside the folder train, or a tenth of each
    class that is set aside."""
    size: int = 32
    """Side of the images in pixels: each is cut to its middle square and scaled."""
    image_column: str | None = None
    """Of Parquet and Hugging Face datasets, the column with the image; guessed unless given."""
    label_column: str | None = None
    """Of Parquet and Hugging Face datasets, the column with the class; guessed unless given."""
    on_bad: Literal["error", "skip"] = "error"
    """What to do with images that are damaged, empty or of a format that is not read: stop at the first, or leave them
    out and say so. skip also leaves out the folder of a class without an image."""


@dataclass(frozen=True)
class AugmentConfig:
    """How each training image is changed each time it is used."""

    crop: int = 4
    """Shift by up to this many pixels in each direction; 0: no shift."""
    flip: bool = True
    """Mirror left and right with probability one half."""
    cutout: int = 8
    """Blank a random square with sides of this many pixels (DeVries and Taylor 2017); 0: none."""
    mixup: float = 0.0
    """Mix two images and their classes in a ratio drawn from Beta(mixup, mixup) (Zhang et al. 2018); 0: no mixing."""


@dataclass(frozen=True)
class ModelConfig:
    """The classifier: a residual network with or without attention, or a compact Transformer."""

    kind: Literal["resnet", "vit"] = "resnet"
    """resnet: convolutions; vit: a Transformer over patches."""
    attention: Literal["none", "se", "cbam", "self", "query"] = "none"
    """Of a resnet. se: a gate on the channels of every block; cbam: gates on channels and places; self: self-attention
    over the places of the second stage; query: a query made of the mean of the last features attends over them."""
    width: int = 32
    """Of a resnet: channels of the first stage; of a vit: a quarter of the width of its features."""
    blocks: int = 2
    """Of a resnet: residual blocks in each of the three stages; of a vit: half the number of layers."""
    heads: int = 4
    """Of a vit: attention heads."""
    dropout: float = 0.1
    """Of a vit: dropout on the output of each sublayer and on attention weights."""
    mirror: bool = False
    """After training, average the logits of each image and of its mirror image: twice the time, and often slightly more
    accurate."""


@dataclass(frozen=True)
class ImageTrainConfig(TrainConfig):
    """How to train."""

    batch_measure = "batch"
    batch: int | None = None
    """Images per batch, over all processes; by default 8 to 128, by the number of images."""
    learning_rate: float = 3e-3
    """Peak learning rate, reached after the warm-up."""
    weight_decay: float = 0.05
    """Decoupled weight decay, multiplied by the learning rate."""
    label_smoothing: float = 0.1
    """Label smoothing: the share of the target's probability that is spread over all classes."""
    metric: Literal["loss", "accuracy"] = "accuracy"
    """Validation metric that selects the best checkpoint and decides when to stop early."""


@dataclass(frozen=True)
class ImageConfig:
    """Train a classifier of images."""

    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: ImageTrainConfig = field(default_factory=ImageTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        data, augment, model = self.data, self.augment, self.model
        smallest = 16 if model.kind == "resnet" else 8  # a resnet's last stage halves it three times
        if data.size < smallest or data.size % 4:
            return f"data.size: must be a multiple of 4, at least {smallest}, got {data.size}"
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
            return f"model.width: must be even for the attention 'self', got {model.width}"
        return self.train.problem()
