"""Settings of labelled clips, of their augmentation, and of a model of clips; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.data.fold import fold_problem
from regard.training.ranges import at_least, at_most, not_negative, positive, share


@dataclass(frozen=True)
class LabelledClipsConfig:
    """Which clips to train on."""

    train: str | None = None
    """Clips to train on: a folder with a subfolder per class, a tar or zip archive of it, a table of paths and labels
    (.csv, .tsv, .jsonl, .parquet), or a Hugging Face dataset as "hf:NAME". A clip is a file or a folder with a file for
    each frame: JSON of OpenPose, COCO or MediaPipe, JSON lines, .npy or .npz with poses; images, GIF, WebP or video
    files with frames. A table in JSONL can have the poses themselves. By default, generated clips."""
    kind: Literal["poses", "frames"] = "poses"
    """poses: the joints of a person in each frame; frames: the frames themselves."""
    labels: Literal["single", "multi"] = "single"
    """single: a clip has exactly one class; multi, for tables: any number of labels or none, separated by |, a comma or
    a semicolon, or as a list in JSON and Parquet."""
    valid: str | None = None
    """Clips to validate on, in the same formats; by default, those of a folder val or valid beside the folder train, or
    else a tenth of each class, which is set aside."""
    fold: str | None = None
    """K/N: validate on the K-th of N folds of the training clips, which have the same share of each class. The same
    train.seed gives the same folds."""
    skeleton: Literal["auto", "coco", "openpose", "body25", "mediapipe", "jhmdb", "none"] = "auto"
    """Poses only. The order of the joints, which is needed for mirroring and for drawing: COCO's 17, OpenPose's 18 or
    25, MediaPipe's 33, or JHMDB's 15. auto: the one with the number of joints of the clips; none: another."""
    dims: Literal[2, 3] = 2
    """Poses only. Coordinates of a joint that are used: 2, x and y; 3, also z."""
    size: int = 32
    """Frames only. Height and width in pixels, a multiple of 8: each frame is cropped to its middle square and
    resized."""
    every: int = 1
    """Use each n-th frame, for clips with many frames per second."""
    longest: int = 1000
    """Of clips with more frames, only the first ones are used."""
    window: int = 64
    """Frames that the model gets at a time. A longer clip is divided into windows, which overlap by half; training uses
    one of them at random, and the result is the mean over all."""
    clip_column: str | None = None
    """Tables only. Column of the path of the clip, or of its poses: its name, or in files without a header its number
    from 1; by default detected."""
    label_column: str | None = None
    """Tables only. Column of the label, likewise."""
    on_bad: Literal["error", "skip"] = "error"
    """What to do with clips that are damaged, empty, of an unknown format, or without a person. error: name the first
    and stop; skip: leave them out and print their number."""
    builtin_clips: int = 1000
    """Number of built-in clips, if no training clips are given."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        wrong = at_least("data.size", self.size, 16) or at_most("data", self, 1024, "size")
        if wrong is not None:
            return wrong
        if self.size % 8:
            return f"data.size: must be a multiple of 8, got {self.size}"
        if self.train is None and self.kind == "frames" and self.size % 32:
            return f"data.size: must be a multiple of 32 for the built-in frames, got {self.size}"
        return (
            positive("data", self, "every", "longest")
            or at_least("data.window", self.window, 4)
            or at_most("data", self, 100_000, "every", "longest", "window")
            or at_least("data.builtin_clips", self.builtin_clips, 50)
            or at_most("data", self, 100_000, "builtin_clips")
            or fold_problem(self.fold, self.valid)
        )


@dataclass(frozen=True)
class LabelledClipsOptions:
    """Options of ``regard eval`` for labelled clips."""

    on_bad: Literal["error", "skip"] | None = None
    """Stop at a clip that cannot be used, or skip it; by default as in training."""
    clip_column: str | None = None
    """The column of a table that has the clip; by default as in training."""
    label_column: str | None = None
    """The column of a table that has the label; by default as in training."""


@dataclass(frozen=True)
class ClipAugmentConfig:
    """Augmentation: random changes of a training clip each time it is used."""

    mirror: bool = True
    """Mirror left and right with probability 0.5, and swap the joints of the two sides; only for joints with names.
    The built-in frames, whose class is a direction, are not mirrored."""
    speed: float = 0.2
    """Play faster or slower by at most this share; 0: as it is."""
    shift: float = 3.0
    """Begin later or earlier by a random number of at most this many frames; 0: no shift."""
    crop: int = 2
    """Frames only. Shift all frames by a random number of pixels, at most this many in each direction; 0: none."""
    rotate: float = 10.0
    """Poses only. Turn by a random angle of at most this many degrees; 0: none."""
    stretch: float = 0.1
    """Poses only. Change width and height by at most this share; 0: as they are."""
    noise: float = 0.05
    """Poses only. Move each joint at random by at most this share of the size of the body, as a standard deviation; 0:
    none."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            not_negative("augment", self, "shift", "crop", "rotate", "noise")
            or at_most("augment", self, 15, "crop")
            or at_most("augment", self, 1000, "shift")
            or at_most("augment", self, 180, "rotate")
            or at_most("augment", self, 10, "noise")
            or share("augment", self, "speed", "stretch")
        )


@dataclass(frozen=True)
class ClipModelConfig:
    """The classifier: convolutions over time for each joint or patch, and attention over all of them."""

    attention: Literal["additive", "none"] = "additive"
    """additive: a learned query attends to the joints or patches of all moments (Bahdanau et al. 2015); none: the mean
    over them, as a baseline."""
    width: int = 64
    """Width of the vectors of joints or patches."""
    heads: int = 4
    """Number of heads of the attention."""
    dropout: float = 0.3
    """Dropout probability on the vectors of joints or patches, and of the clip."""
    kernel: float = 0.0
    """Poses only. Share of the probability that a kernel classifier gives, which is fitted in seconds to statistics of
    whole training clips; it helps with a few hundred clips. 0: there is none."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        wrong = (
            positive("model", self, "width", "heads")
            or at_most("model", self, 10_000, "width", "heads")
            or share("model", self, "dropout", "kernel")
        )
        if wrong is None and self.width % self.heads:
            return f"model.heads: must divide model.width, {self.width}, got {self.heads}"
        return wrong
