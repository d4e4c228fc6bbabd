"""Settings and options of detection; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regard.training.config import TrainConfig
from regard.training.ranges import at_most, not_negative, positive, share

_LARGEST = 4096


@dataclass(frozen=True)
class BoxesConfig:
    """Which images with boxes to train on."""

    train: str | None = None
    """Images with boxes to train on: annotations of COCO (.json), JSON lines (.jsonl), or a folder with Pascal VOC's
    .xml files. By default, generated scenes of shapes and digits."""
    valid: str | None = None
    """Images with boxes to validate on, in the same formats; by default, a tenth of the training images, at random."""
    images: str | None = None
    """Folder of the images; by default beside the annotations, in the folder above, or in a folder images or
    JPEGImages there."""
    size: int = 64
    """Height and width in pixels to which the images are scaled, a multiple of 16; their longer side fits, and the rest
    is filled with grey."""
    builtin_scenes: int = 6000
    """Number of generated scenes, without --data.train."""
    on_bad: Literal["error", "skip"] = "error"
    """What to do with images that are damaged or missing, or have a box that is empty, negative or outside. error: name
    the first and stop; skip: leave them out and print their number."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        if self.size < 32 or self.size % 16:
            return f"data.size: must be a multiple of 16, at least 32, got {self.size}"
        if self.builtin_scenes < 20:
            return f"data.builtin_scenes: must be at least 20, got {self.builtin_scenes}"
        return at_most("data", self, _LARGEST, "size") or at_most("data", self, 10**6, "builtin_scenes")


@dataclass(frozen=True)
class BoxAugmentConfig:
    """Augmentation: random changes of a training image, which its boxes follow."""

    flip: bool = True
    """Mirror left and right with probability 0.5; turn it off for digits and letters."""
    zoom: float = 0.3
    """Enlarge or shrink by up to this share, and shift; an object of which less than half is left does not count."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return share("augment", self, "zoom")


@dataclass(frozen=True)
class DetectorConfig:
    """The detector: convolutions, an encoder over the places of the image, and a decoder whose queries are anchors."""

    width: int = 96
    """Number of features, a multiple of 8 and of the heads."""
    halvings: int | None = None
    """How often the convolutions halve the image; by default until 16 places a side are left, or 1 place in 16
    pixels."""
    blocks: int = 1
    """Number of residual convolutions after each halving but the first."""
    encoder_layers: int = 1
    """Number of Transformer layers over the places."""
    decoder_layers: int = 2
    """Number of Transformer layers of the queries."""
    heads: int = 4
    """Number of heads of each attention."""
    queries: int | None = None
    """Number of queries, the largest number of objects that can be found in an image; by default by the training
    images."""
    attention: Literal["cross", "none"] = "cross"
    """cross: queries attend to the places of the image; none: each gets the features at the centre of its anchor
    instead, to compare."""
    dropout: float = 0.0
    """Dropout probability on the output of each sublayer."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        names = ("width", "halvings", "blocks", "decoder_layers", "heads", "queries")
        wrong = (
            positive("model", self, *names)
            or not_negative("model", self, "encoder_layers")
            or at_most("model", self, 4096, "width", "queries")
            or at_most("model", self, 100, "blocks", "encoder_layers", "decoder_layers", "heads")
            or at_most("model", self, 4, "halvings")
            or share("model", self, "dropout")
        )
        if wrong is None and (self.width % 8 or self.width % self.heads):
            return f"model.width: must be a multiple of 8 and of model.heads, {self.heads}, got {self.width}"
        return wrong


@dataclass(frozen=True)
class BoxesTrainConfig(TrainConfig):
    """Settings of training."""

    batch_measure = "batch"
    batch: int | None = None
    """Size of a batch in images, summed over all processes; by default 4 to 32, depending on the number of images."""
    learning_rate: float = 2e-3
    """Peak learning rate, reached after the warm-up."""
    weight_decay: float = 0.05
    """Decoupled weight decay, multiplied by the learning rate."""
    metric: Literal["loss", "map50", "map"] = "map50"
    """Validation metric that selects the best checkpoint and decides when to stop early."""
    noised: int = 3
    """How many times the known boxes, with noise, are further queries in training (DN-DETR)."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return TrainConfig.problem(self) or positive("train", self, "noised") or at_most("train", self, 20, "noised")


@dataclass(frozen=True)
class DetectOptions:
    """Options of ``regard detect``."""

    threshold: float = 0.3
    """Smallest score of a box, from 0 to 1."""
    out: Path | None = None
    """Folder into which each image is drawn with its boxes, as a PNG file; it is created."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return None if 0 <= self.threshold <= 1 else f"threshold: must be from 0 to 1, got {self.threshold}"


@dataclass(frozen=True)
class BoxesOptions:
    """Options of ``regard eval``."""

    images: str | None = None
    """Folder of the images of --data; by default as for training."""
    on_bad: Literal["error", "skip"] | None = None
    """Stop at an image that cannot be used, or skip it; by default as in training."""


@dataclass(frozen=True)
class LookOptions:
    """Options of ``regard look``."""

    threshold: float = 0.3
    """Smallest score of a box, from 0 to 1."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return DetectOptions(self.threshold).problem()
