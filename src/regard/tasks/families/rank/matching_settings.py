"""Settings of models that match images and texts, and options of their commands; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regard.tasks.families.rank.settings import RankOptions
from regard.training.config import TrainConfig
from regard.training.ranges import at_most, not_negative, positive, share


@dataclass(frozen=True)
class MatchOptions(RankOptions):
    """Options of ``regard match``."""

    among: str | None = None
    """Folder or archive of images to search; by default, the run's validation images. Their vectors are kept in the
    cache."""
    image: str | None = None
    """An image in place of the text, for which the texts of --texts or --labels are ranked."""
    texts: Path | None = None
    """File with a text per line; they are ranked for each image that is given as the input."""
    labels: str | None = None
    """Labels separated by commas, which are ranked likewise; their scores are probabilities."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        if self.texts is not None and self.labels is not None:
            return "--texts: give texts or --labels, not both"
        if self.image is not None and self.texts is None and self.labels is None:
            return "--image: needs --texts FILE or --labels a,b,c, which are ranked for it"
        if self.among is not None and (self.texts is not None or self.labels is not None):
            return "--among: has the images to search for a text; --texts and --labels are ranked for an image"
        return super().problem()


@dataclass(frozen=True)
class LookOptions:
    """Options of ``regard look`` for a matching model."""

    image: Path | None = None
    """The image on which the words of the text are shown; by default, the best one of --among."""
    among: str | None = None
    """Folder or archive of images to search; by default, the run's validation images."""


@dataclass(frozen=True)
class MatchingConfig:
    """The model: an encoder of images, one of texts, and the attention of words to the places of an image."""

    kind: Literal["resnet", "vit"] = "resnet"
    """The image encoder. resnet: a residual network with gates on the channels (Hu et al. 2018); vit: a compact vision
    Transformer."""
    attention: Literal["words", "none"] = "words"
    """words: places and words are pooled by attention, and the words of a text attend to the places of the most similar
    images, which ranks them again; none: the mean over places and words, ranked once, as a baseline."""
    width: int = 32
    """Number of channels of the first stage (resnet), or a quarter of the number of features (vit)."""
    blocks: int = 1
    """Number of residual blocks in each of the three stages (resnet), or half the number of layers (vit)."""
    text: Literal["transformer", "gru"] = "transformer"
    """The text encoder: a Transformer, or a bidirectional GRU."""
    text_width: int = 128
    """Width of the embeddings of words and of the text encoder."""
    text_layers: int = 2
    """transformer only. Number of layers."""
    heads: int = 4
    """Number of heads of each attention but that of the words to the places, which has one."""
    dim: int = 128
    """Width of the vectors that are compared."""
    longest: int = 32
    """Number of words of a text that are read; the rest of a longer one is not used."""
    vocabulary: int = 10_000
    """Number of words that have an embedding; those that occur once are left out."""
    buckets: int = 10_000
    """Number of embeddings for parts of words of 3 to 5 characters, which unknown words have too (Bojanowski et al.
    2017); 0: none."""
    dropout: float = 0.1
    """Dropout probability on the embeddings, on the outputs of the layers and on pooled features."""
    word_dropout: float = 0.1
    """The probability that a word is hidden in training."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        wrong = (
            positive(
                "model", self, "width", "blocks", "text_width", "text_layers", "heads", "dim", "longest", "vocabulary"
            )
            or not_negative("model", self, "buckets")
            or at_most("model", self, 100_000, "width", "blocks", "text_width", "text_layers", "heads", "dim")
            or at_most("model", self, 1000, "longest")
            or at_most("model", self, 10_000_000, "vocabulary", "buckets")
            or share("model", self, "dropout", "word_dropout")
        )
        if wrong is None and (4 * self.width % self.heads or self.text_width % (2 * self.heads)):
            return (
                f"model.heads: must divide 4 · model.width, {4 * self.width}, and half of model.text_width, "
                f"{self.text_width / 2:g}, got {self.heads}"
            )
        return wrong


@dataclass(frozen=True)
class MatchTrainConfig(TrainConfig):
    """Settings of training."""

    batch_measure = "batch"
    batch: int | None = None
    """Size of a batch in images, summed over all processes; by default 16 to 128, depending on the number of images."""
    captions: int = 5
    """Number of captions of an image in a batch, drawn at random if it has more; fewer if no image has as many."""
    learning_rate: float = 2e-3
    """Peak learning rate, reached after the warm-up."""
    weight_decay: float = 0.05
    """Decoupled weight decay, multiplied by the learning rate."""
    predict: float = 0.5
    """Weight of the loss of predicting the words of its captions from an image, beside that of matching; 0: none."""
    hard: int = 8
    """Number of wrong images for a caption, and of wrong captions for an image, on which the attention of the words is
    trained: the most similar ones of the batch."""
    metric: Literal["loss", "recall"] = "recall"
    """Validation metric that selects the best checkpoint and decides when to stop early."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            super().problem()
            or positive("train", self, "captions", "hard")
            or at_most("train", self, 1000, "captions", "hard")
            or not_negative("train", self, "predict")
            or at_most("train", self, 1000, "predict")
        )
