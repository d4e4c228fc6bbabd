"""Labelled texts from a user's files: tables, lines with a label before the text, fastText's format, folders."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from regard.data.columns import Column, Layout
from regard.data.file_trees import is_archive
from regard.data.label_cells import (
    MARK,
    BadLabels,
    divided,
    divided_or_unlabelled,
    labels_of,
    marked_labels,
    one_label,
    one_marked_label,
)
from regard.data.labelled import Labelled, number_classes, number_labels
from regard.data.lines import bare_suffix, check_file, read_lines
from regard.data.reading import Reading
from regard.data.records import JSON_ENDINGS
from regard.data.text_trees import read_text_tree
from regard.data.word_features import split_words, words_of
from regard.errors import UserError

_TABLES = (".csv", *JSON_ENDINGS, ".parquet")
_TEXT = ("sentence", "content", "question", "message", "review", "document", "body", "title", "tweet", "comment")
_LABEL = ("class", "category", "target", "sentiment", "intent", "topic", "y")
_LABELS = ("labels", "classes", "categories", "targets", "topics", "tags", "genres", "emotions")
_FIRST_LINES = 1000
"""The number of lines among which one has to have fastText's mark."""


@dataclass(frozen=True, kw_only=True)
class Texts(Labelled):
    """Texts.

    Attributes:
        texts: in Unicode's composed form (NFC).
        deciding: where the word that decides the class is in each text, if that is known: its number among the words,
            int ``(n,)``; with several labels, that of each label, ``(n, classes)``, −1 for those that a text has not.
    """

    unit = "text"

    texts: tuple[str, ...]
    deciding: np.ndarray | None = None

    @cached_property
    def words(self) -> tuple[list[str], ...]:
        """The words of each text."""
        return tuple(map(words_of, self.texts))

    def content(self, mask: np.ndarray) -> Mapping[str, Any]:
        """See `Labelled`."""
        texts = tuple(itertools.compress(self.texts, mask))
        return {"texts": texts, "deciding": None if self.deciding is None else self.deciding[mask]}


def read_texts(
    path: str,
    *,
    names: tuple[str, ...] | None = None,
    several: bool = False,
    text_column: str | None = None,
    label_column: str | None = None,
    on_bad_line: Literal["error", "skip"] = "error",
    part: Literal["train", "valid"] | None = None,
) -> Texts:
    """Read texts, each with one class, or with any number of labels.

    Args:
        path: a table with a column for the text and one for the class (`.tsv`, `.csv`, `.jsonl`, `.parquet`; all but
            Parquet also with `.gz` or `.xz`); lines with a class, a tab or a space, and the text; fastText's lines,
            ``__label__CLASS text``; a folder with a folder of text files for each class, or a tar or zip archive of it;
            or ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset.
        names: the known classes; another class is an error. None: the classes of the data.
        several: whether a text can have several labels, or none: see `regard.data.label_cells`.
        text_column: the column of the text, by name or, in files of lines, by number from 1; None: chosen by its name.
        label_column: the column of the class, likewise.
        on_bad_line: what to do with lines that cannot be used.
        part: the folder to read of data that are divided into folders such as train and valid.

    Raises:
        UserError: the data cannot be read, it is unclear which column is which, a class is unknown, or there is no
            usable text.
    """
    place = Path(path)
    if place.is_dir() or (place.is_file() and is_archive(place)):
        tree = read_text_tree(place, part=part, on_bad=on_bad_line, keep_empty=names is not None)
        labels = [(label,) for label in tree.labels] if several else tree.labels
        return _texts(path, tree.texts, labels, names, several, tree.notes, tree.parts)
    layout = _layout(path, text_column, label_column, several)
    reading = Reading(
        path, layout, on_bad_line, check=_check(layout.split in (divided, divided_or_unlabelled), several, names)
    )
    rows = list(reading)
    notes = [reading.first()]
    if (notice := reading.notice()) is not None:
        notes.append(notice)
    prefix = f"{path}: "
    notes = [note.removeprefix(prefix) for note in notes]
    return _texts(path, [text for text, _ in rows], [label for _, label in rows], names, several, notes)


def _texts(
    path: str,
    texts: Sequence[str],
    labels: Sequence[Any],
    names: tuple[str, ...] | None,
    several: bool,
    notes: Sequence[str],
    parts: frozenset[str] = frozenset(),
) -> Texts:
    numbers, known = (number_labels if several else number_classes)(labels, names, path)
    if not known:
        raise UserError(f"{path}: no text has a label; check which column is the label (--data.label-column)")
    return Texts(texts=tuple(texts), labels=numbers, names=known, keys=keys_of(texts), notes=tuple(notes), parts=parts)


def keys_of(texts: Sequence[str]) -> tuple[bytes, ...]:
    """A digest of each text."""
    return tuple(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts)


def _layout(path: str, text: str | None, label: str | None, several: bool) -> Layout:
    usual = (*_LABELS, *_LABEL) if several else _LABEL
    columns = (
        Column("text", "data.text_column", text, number=2, usual=_TEXT),
        Column(
            "label", "data.label_column", label, number=1, usual=usual, kind="labels", feature="ClassLabel",
            blank=several,
        ),
    )  # fmt: skip
    endings: tuple[str, ...] = (".tsv", ".txt")
    split: Callable[[str], list[str]] | None = None
    undivided = ""
    if not path.startswith("hf:"):
        check_file(Path(path))
        suffix = bare_suffix(Path(path))
        if suffix not in _TABLES:
            endings = (suffix,)
            split = _splitting(Path(path), several)
            undivided = f"no {MARK} at its beginning" if split is divided else "no space"
    return Layout(columns, "text", endings=endings, split=split, undivided=undivided)


def _splitting(path: Path, several: bool) -> Callable[[str], list[str]] | None:
    """How lines are divided into the class and the text; None: by tabs, as in the first line."""
    lines = [line for line in itertools.islice(read_lines(path), _FIRST_LINES) if line]
    if any(line.startswith(MARK) for line in lines):
        return divided_or_unlabelled if several else divided
    return None if lines and "\t" in lines[0] else lambda line: line.split(" ", 1)


def _check(
    marked: bool, several: bool, names: tuple[str, ...] | None
) -> Callable[[tuple[Any, ...]], tuple[Any, ...] | str]:
    """The check of a row, which has a text and the cell of its labels; ``marked``: in fastText's format."""
    read_one, read_several = (one_marked_label, marked_labels) if marked else (one_label, labels_of)
    known = None if names is None else frozenset(names)

    def check(values: tuple[Any, ...]) -> tuple[Any, ...] | str:
        text, cell = values
        if not split_words(text):
            return "no word in the text"
        try:
            labels = read_several(cell) if several else (read_one(cell),)
        except BadLabels as error:
            return str(error)
        strange = [] if known is None else [label for label in labels if label not in known]
        if strange:
            return f"has the {'label' if several else 'class'} {strange[0]!r}, which is not in the training data"
        return text, labels if several else labels[0]

    return check
