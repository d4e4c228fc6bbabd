"""Labelled texts in a folder of text files for each class, or in an archive of it."""

from __future__ import annotations

import gzip
import lzma
import zlib
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from regard.data.class_trees import Item, Kind, read_tree
from regard.data.file_trees import BadItem, open_tree
from regard.data.lines import bare_suffix, compose
from regard.errors import UserError

_ENDINGS = (".txt", ".text", ".md", ".rst")
_OPEN = {".gz": gzip.decompress, ".xz": lzma.decompress}
_SHOWN = 3


class TextTree(NamedTuple):
    """Texts, the name of the class of each, what was left out and why, and the parts that the data are divided into."""

    texts: list[str]
    labels: list[str]
    notes: tuple[str, ...]
    parts: frozenset[str]


def read_text_tree(path: Path, *, part: str | None, on_bad: Literal["error", "skip"], keep_empty: bool) -> TextTree:
    """The texts of the files ``.txt``, ``.md`` or ``.rst``, also ``.gz`` and ``.xz``, one for each file.

    Args:
        path: a folder or an archive; see `regard.data.class_trees.read_tree`.
        part: likewise.
        on_bad: what to do with files that have no text or are not UTF-8.
        keep_empty: whether folders without a text are left out, instead of refused.

    Raises:
        UserError: see `read_tree`; there is no text, or a file is bad and that is an error.
    """
    source = read_tree(open_tree(path), str(path), _TEXTS, part=part, keep_empty=keep_empty or on_bad == "skip")
    tree, bad, count = TextTree([], [], source.notes, source.parts), list[str](), 0
    for item in source.items:
        try:
            text = _text(item)
        except BadItem as error:
            count += 1
            bad = [*bad, f"{item.origin}: {error}"][:_SHOWN]
            if on_bad == "error":
                raise UserError(
                    f"{path}: not a usable text: {bad[0]}; correct it, or leave such files out with "
                    "--data.on-bad-line skip"
                ) from error
        else:
            tree.texts.append(text)
            tree.labels.append(item.label)
    if not tree.texts:
        raise UserError("; ".join((f"{path}: no texts in it", *source.notes, *bad)))
    if bad:
        tree = tree._replace(notes=(*source.notes, f"left out {count:,} of {count + len(tree.texts):,}: {bad[0]}"))
    return tree


def _examine(name: str, head: bytes) -> bool:
    return bare_suffix(Path(name)) in _ENDINGS


_TEXTS = Kind("text", 0, _examine)


def _text(item: Item) -> str:
    """The text of a file. Raises BadItem: it cannot be read, is not UTF-8 or has no text."""
    content = item.load()
    assert isinstance(content, bytes)
    try:
        unpack = _OPEN.get(PurePosixPath(item.origin.lower()).suffix)
        text = (unpack(content) if unpack else content).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadItem("not UTF-8") from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise BadItem(f"cannot be unpacked ({error})") from error
    if not text:
        raise BadItem("no text in it")
    return compose(text)
