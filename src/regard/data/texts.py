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
from regard.data.labelled import Labelled, number_classes
from regard.data.lines import bare_suffix, check_file, read_lines
from regard.data.reading import Reading
from regard.data.records import JSON_ENDINGS
from regard.data.text_trees import read_text_tree
from regard.data.word_features import split_words, words_of

_MARK = "__label__"
_TABLES = (".csv", *JSON_ENDINGS, ".parquet")
_TEXT = ("sentence", "content", "question", "message", "review", "document", "body", "title", "tweet", "comment")
_LABEL = ("class", "category", "target", "sentiment", "intent", "topic", "y")


@dataclass(frozen=True, kw_only=True)
class Texts(Labelled):
    """Texts.

    Attributes:
        texts: in Unicode's composed form (NFC).
        deciding: where the word that decides the class is in each text, if that is known: its number among the words.
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
    text_column: str | None = None,
    label_column: str | None = None,
    on_bad_line: Literal["error", "skip"] = "error",
    part: Literal["train", "valid"] | None = None,
) -> Texts:
    """Read texts, each with one class.

    Args:
        path: a table with a column for the text and one for the class (`.tsv`, `.csv`, `.jsonl`, `.parquet`; all but
            Parquet also with `.gz` or `.xz`); lines with a class, a tab or a space, and the text; fastText's lines,
            ``__label__CLASS text``; a folder with a folder of text files for each class, or a tar or zip archive of it;
            or ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset.
        names: the known classes; another class is an error. None: the classes of the data.
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
        return _texts(path, tree.texts, tree.labels, names, tree.notes, tree.parts)
    layout = _layout(path, text_column, label_column)
    reading = Reading(path, layout, on_bad_line, check=_one_class if layout.split is _fasttext else _check)
    rows = list(reading)
    notes = [reading.first()]
    if (notice := reading.notice()) is not None:
        notes.append(notice)
    prefix = f"{path}: "
    notes = [note.removeprefix(prefix) for note in notes]
    return _texts(path, [text for text, _ in rows], [label for _, label in rows], names, notes)


def _texts(
    path: str,
    texts: Sequence[str],
    labels: Sequence[str],
    names: tuple[str, ...] | None,
    notes: Sequence[str],
    parts: frozenset[str] = frozenset(),
) -> Texts:
    numbers, known = number_classes(labels, names, path)
    return Texts(texts=tuple(texts), labels=numbers, names=known, keys=keys_of(texts), notes=tuple(notes), parts=parts)


def keys_of(texts: Sequence[str]) -> tuple[bytes, ...]:
    """A digest of each text."""
    return tuple(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts)


def _layout(path: str, text: str | None, label: str | None) -> Layout:
    columns = (
        Column("text", "data.text_column", text, number=2, usual=_TEXT),
        Column("label", "data.label_column", label, number=1, usual=_LABEL, kind="label", feature="ClassLabel"),
    )
    endings: tuple[str, ...] = (".tsv", ".txt")
    split: Callable[[str], list[str]] | None = None
    undivided = ""
    if not path.startswith("hf:"):
        check_file(Path(path))
        suffix = bare_suffix(Path(path))
        if suffix not in _TABLES:
            endings = (suffix,)
            split = _splitting(Path(path))
            undivided = f"no {_MARK} at its beginning" if split is _fasttext else "no space"
    return Layout(columns, "text", endings=endings, split=split, undivided=undivided)


def _splitting(path: Path) -> Callable[[str], list[str]] | None:
    """How lines are divided into the class and the text; None: by tabs, as in the first line."""
    first = next((line for line in read_lines(path) if line), "") or ""
    if first.startswith(_MARK):
        return _fasttext
    return None if "\t" in first else lambda line: line.split(" ", 1)


def _fasttext(line: str) -> list[str]:
    """The classes and the text of a line such as ``__label__good It works.``; a single field if it has no class."""
    words = line.split(" ")
    labels = list(itertools.takewhile(lambda word: word.startswith(_MARK), words))
    if not labels:
        return [line]
    return [" ".join(label.removeprefix(_MARK) for label in labels), " ".join(words[len(labels) :])]


def _check(values: tuple[Any, ...]) -> tuple[Any, ...] | str:
    return values if split_words(values[0]) else "no word in the text"


def _one_class(values: tuple[Any, ...]) -> tuple[Any, ...] | str:
    return "several classes" if " " in values[1] else _check(values)
