"""Settings of labelled texts, and of a model that reads the words of texts; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.data.fold import fold_problem
from regard.training.ranges import at_least, at_most, not_negative, positive, share


@dataclass(frozen=True)
class LabelledTextsConfig:
    """Which texts to train on."""

    train: str | None = None
    """Texts to train on: a table with a column for the text and one for the class (.tsv, .csv, .jsonl, .parquet); lines
    with a class, a tab or a space, and the text; fastText's lines; a folder with a folder of text files per class, or a
    tar or zip archive of it; or a Hugging Face dataset as "hf:NAME". By default, built-in requests about five
    topics."""
    labels: Literal["single", "multi"] = "single"
    """single: a text has exactly one class; multi: any number of labels or none, separated by |, a comma or a semicolon
    in a table, as a list in JSON and Parquet, or as several __label__NAME."""
    valid: str | None = None
    """Texts to validate on, in the same formats; by default, a tenth of each class, which is set aside. Equal texts are
    set aside together."""
    fold: str | None = None
    """K/N: validate on the K-th of N folds of the training texts, which have the same share of each class. The same
    train.seed gives the same folds."""
    text_column: str | None = None
    """Column of the text: its name, or in files without a header its number from 1; by default detected."""
    label_column: str | None = None
    """Column of the class, likewise."""
    on_bad_line: Literal["error", "skip"] = "error"
    """What to do with lines or files without a class or a text, or that are not UTF-8, and with validation texts of a
    class that is not in the training data. error: name the first ones and stop; skip: leave them out and print their
    number."""
    builtin_texts: int = 3000
    """Number of built-in texts, if no training texts are given."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        few = at_least("data.builtin_texts", self.builtin_texts, 50)
        return few or at_most("data", self, 200_000, "builtin_texts") or fold_problem(self.fold, self.valid)


@dataclass(frozen=True)
class LabelledTextsOptions:
    """Options of ``regard eval`` for labelled texts."""

    on_bad_line: Literal["error", "skip"] | None = None
    """Stop at a line that cannot be used, or skip it; by default as in training."""
    text_column: str | None = None
    """Column of the text; by default as in training."""
    label_column: str | None = None
    """Column of the class; by default as in training."""


@dataclass(frozen=True)
class TextModelConfig:
    """The classifier: embeddings of words, an encoder, and attention over the words."""

    kind: Literal["cnn", "gru", "transformer"] = "cnn"
    """cnn: convolutions over 3, 4 and 5 words (Kim 2014); gru: a bidirectional GRU; transformer: self-attention."""
    attention: Literal["additive", "none"] = "additive"
    """additive: learned queries attend to the words (Bahdanau et al. 2015), beside the maximum over the words; none:
    the mean over the words in place of the attention, as a baseline."""
    dim: int = 128
    """Width of the embeddings."""
    width: int = 128
    """cnn: channels of each of the three convolutions; gru: width of the states of both directions together;
    transformer: width of the layers."""
    layers: int = 2
    """transformer only. Number of layers."""
    heads: int = 4
    """Number of heads of the attention."""
    window: int = 256
    """Longer texts are read in windows of this many words, and attention weighs the windows (Yang et al. 2016)."""
    vocabulary: int = 30_000
    """Number of words that have an embedding; those that occur once are left out."""
    buckets: int = 30_000
    """Number of embeddings for parts of words of 3 to 5 characters, which unknown words have too (Bojanowski et al.
    2017); 0: none."""
    dropout: float = 0.5
    """Dropout probability on the embeddings and on the features of the text."""
    word_dropout: float = 0.1
    """The probability that a word is hidden in training."""
    ngrams: float = 0.0
    """Share of the probability that a linear model gives, which is fitted to the words, pairs of words, parts of words
    and shapes of words of the training texts at once; it helps with a few thousand short texts. 0: there is none."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        wrong = (
            positive("model", self, "dim", "width", "layers", "heads", "window", "vocabulary")
            or not_negative("model", self, "buckets")
            or at_most("model", self, 100_000, "dim", "width", "layers", "heads", "window")
            or at_most("model", self, 10_000_000, "vocabulary", "buckets")
            or share("model", self, "dropout", "word_dropout", "ngrams")
        )
        if wrong is not None:
            return wrong
        out = 3 * self.width if self.kind == "cnn" else self.width
        if out % self.heads or out % 2:
            of = "3 · model.width" if self.kind == "cnn" else "model.width"
            return f"model.heads: {of}, {out}, must be even and a multiple of it, got {self.heads}"
        return None
