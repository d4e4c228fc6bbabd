"""Settings of models that rank the next items of histories, and options of their commands; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regard.training.config import TrainConfig
from regard.training.ranges import at_least, at_most, positive, share


@dataclass(frozen=True)
class RankOptions:
    """Options of a command that ranks candidates."""

    top: int = 10
    """Number of candidates to print, the best ones first."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return at_least("top", self.top, 1)


@dataclass(frozen=True)
class RecommendOptions(RankOptions):
    """Options of ``regard recommend``."""

    history: str | None = None
    """The items of a history in the order of time, separated by commas, or as a JSON list; the same as the argument."""
    exclude_seen: bool = False
    """Recommend no item of the history."""
    skip_unknown: bool = False
    """Pass over items of a history that the model does not know, instead of an error."""
    items: Path | None = None
    """Table with titles of items, as data.titles; new ones are ranked by their titles."""
    blend: float | None = None
    """Share of the neighbours' probability; by default as in training."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return super().problem() or _wrong_blend(self.blend)


@dataclass(frozen=True)
class LookOptions:
    """Options of ``regard look`` for recommendation."""

    skip_unknown: bool = False
    """Pass over items of the history that the model does not know, instead of an error."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of ``regard eval`` for recommendation."""

    protocol: Literal["full", "sampled-99"] = "full"
    """full: rank all items; sampled-99: rank the right item and 99 random ones, as some papers do; the scores of both
    cannot be compared."""
    blend: float | None = None
    """Share of the neighbours' probability; by default as in training."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return _wrong_blend(self.blend)


def _wrong_blend(blend: float | None) -> str | None:
    if blend is not None and not 0 <= blend < 1:
        return f"--blend: must be at least 0 and below 1, got {blend}"
    return None


@dataclass(frozen=True)
class SequentialConfig:
    """The model: a causal Transformer over the items of a history (SASRec)."""

    attention: Literal["self", "none"] = "self"
    """self: each item attends to those before it; none: the mean of those before it in place of the attention, as a
    baseline."""
    dim: int | None = None
    """Width of the features; by default 32 to 128, depending on the number of choices."""
    layers: int = 2
    """Number of layers."""
    heads: int = 2
    """Number of heads of the attention; model.dim must be a multiple of it."""
    length: int | None = None
    """Number of items of a history that the model reads, the last ones; by default 10 to 200, so that nearly all
    histories fit."""
    positions: Literal["learned", "rotary"] = "learned"
    """learned: a vector for each place, counted from the end of the history; rotary: rotated queries and keys."""
    gated: bool = True
    """Gated feed-forward layers (SwiGLU) instead of GELU."""
    dropout: float = 0.2
    """Dropout probability: on embeddings, on the outputs of the sublayers, on attention weights and hidden features."""
    titles: bool = True
    """Whether the words of titles are a part of the embeddings of items that have titles."""
    item_dropout: float = 0.1
    """The probability that an item with a title has in training only the vectors of its words, so that the model learns
    to rank new items by their titles."""
    blend: float = 0.0
    """Share of the neighbours' probability in the result, from 0 to below 1: items that were often chosen near those of
    the history. 0: the model's alone."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        wrong = (
            positive("model", self, "dim", "layers", "heads", "length")
            or at_most("model", self, 100_000, "dim", "length")
            or at_most("model", self, 1000, "layers", "heads")
            or share("model", self, "dropout", "item_dropout", "blend")
        )
        if wrong is None and (self.dim or 32) % (2 * self.heads):
            return f"model.dim: must be a multiple of twice model.heads, {2 * self.heads}, got {self.dim or 32}"
        return wrong


@dataclass(frozen=True)
class RecommendTrainConfig(TrainConfig):
    """Settings of training."""

    batch_measure = "tokens"
    tokens: int | None = None
    """Size of a batch: its items, padding included, summed over all processes; by default 512 to 8192, depending on the
    number of choices."""
    loss: Literal["full", "sampled"] | None = None
    """full: cross-entropy over all items; sampled: over the next item and train.negatives random ones; by default full
    up to 5,000 items."""
    negatives: int = 256
    """Number of random items of the sampled loss, for each history."""
    prefixes: Literal["none", "random", "every"] = "none"
    """none: train on complete histories; random: in each epoch, on a random beginning of each; every: on every
    beginning, of which the last item is to be predicted, which takes longer."""
    learning_rate: float = 1e-3
    """Peak learning rate, reached after the warm-up."""
    metric: Literal["loss", "hr10", "ndcg10", "mrr"] = "ndcg10"
    """Validation metric that selects the best checkpoint and decides when to stop early."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        if self.loss == "sampled" and self.label_smoothing:
            return "train.label_smoothing: only for --train.loss full"
        return (
            super().problem() or positive("train", self, "negatives") or at_most("train", self, 1_000_000, "negatives")
        )
