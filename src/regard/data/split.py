"""Sets a part of the data aside for validation, and counts validation examples that are trained on."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from regard.data.corpus import PIECE, Documents, is_boundary
from regard.data.stratify import first_equal
from regard.errors import UserError

_BLOCK = 1 << 22


def by_group(groups: np.ndarray, *, share: float, most: int, seed: int) -> np.ndarray:
    """Set groups of examples aside at random, so that no group is on both sides.

    Args:
        groups: int ``(n,)``, the number of each example's group, from 0, without gaps.
        share: of the groups, from 0 to 1; at least one group is set aside.
        most: the maximum number of groups to set aside.
        seed: of the choice.

    Returns:
        bool ``(n,)``, True for the examples that are set aside.

    >>> by_group(np.array([0, 0, 1, 2]), share=0.3, most=9, seed=0)
    array([False, False,  True, False])
    """
    count = int(groups.max()) + 1
    return np.isin(groups, random.Random(seed).sample(range(count), min(most, max(1, round(share * count)))))


def by_class(labels: np.ndarray, *, share: float, seed: int, keys: Sequence[Hashable] | None = None) -> np.ndarray:
    """Set the same share of each class aside at random, and equal examples together; see `by_group`.

    Args:
        labels: int ``(n,)``, the class of each example; of equal examples, that of the first counts.
        share: of each class, from 0 to 1; at least one example is set aside.
        seed: of the choice.
        keys: equal for equal examples; None: all differ.

    Returns:
        bool ``(n,)``, True for the examples that are set aside. A class whose examples are all equal keeps none for
        training: check for it.

    >>> by_class(np.array([0, 0, 0, 1, 1]), share=0.3, seed=0)
    array([False, False,  True, False,  True])
    """
    firsts = first_equal(range(len(labels)) if keys is None else keys)
    distinct = firsts == np.arange(len(labels))
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero((labels == label) & distinct)
        held_out[generator.permutation(members)[: max(1, round(share * len(members)))]] = True
    of_all: np.ndarray = held_out[firsts]
    return of_all


def last_part(documents: Documents, *, share: float) -> tuple[Documents, Documents, str]:
    """Set the end of a text aside: the last documents if there are ten or more, otherwise the end of the last one.

    Returns:
        What is left, what is set aside, and a description of it.

    Raises:
        UserError: the last document is too short to be divided.
    """
    if len(documents) >= 10:
        count = max(1, round(share * len(documents)))
        return documents[:-count], documents[-count:], f"the last {count:,} of {len(documents):,} documents"
    cut, characters = _cut(documents, share)
    ends = np.append(documents.ends[:-1], cut)
    return (
        Documents(documents.data, documents.starts, ends, documents.digest),
        Documents(documents.data, np.array([cut]), documents.ends[-1:], documents.digest),
        f"the last {characters:,} characters",
    )


def equal_texts(texts: Documents) -> np.ndarray:
    """A group for each text, the same for equal texts: int ``(n,)``, from 0, for `by_group`.

    The groups are in the order of the texts, or of their digests where the texts are large.
    """
    if texts.large:
        places = zip(texts.starts.tolist(), texts.ends.tolist(), strict=True)
        contents = (texts.data[start:end].data for start, end in places)
        digests = b"".join(hashlib.blake2b(content, digest_size=8).digest() for content in contents)
        return np.unique(np.frombuffer(digests, dtype=np.uint64), return_inverse=True)[1]
    number = {text: at for at, text in enumerate(sorted(set(texts)))}
    return np.array([number[text] for text in texts])


def repeated(train: Iterable[Hashable], valid: Sequence[Hashable]) -> int:
    """The number of validation examples that are training examples too.

    >>> repeated("abc", "cbbx")
    3
    """
    wanted = set(valid)
    shared = {example for example in train if example in wanted}
    return sum(example in shared for example in valid)


def notice(part: str) -> str:
    """The message that ``part`` of the data is set aside.

    >>> notice("2 of 10 pairs")
    'set aside 2 of 10 pairs for validation (name your own with --data.valid)'
    """
    return f"set aside {part} for validation (name your own with --data.valid)"


def shared_notice(count: int, total: int, unit: str) -> str:
    """The message that validation data are also training data.

    >>> shared_notice(2, 10, "pairs")
    '2 of the 10 validation pairs are also training pairs, so the validation metrics will be too optimistic'
    """
    return (
        f"{count:,} of the {total:,} validation {unit} are also training {unit}, so the validation metrics will be too "
        "optimistic"
    )


def _cut(documents: Documents, share: float) -> tuple[int, int]:
    """Where the last ``share`` of the last document begins, in bytes of ``documents.data``, and its characters.

    Raises:
        UserError: the document is too short to be divided.
    """
    start, end = int(documents.starts[-1]), int(documents.ends[-1])
    blocks = [documents.data[at : min(end, at + _BLOCK)] for at in range(start, end, _BLOCK)]
    counts = [int(np.count_nonzero(_begins_character(block))) for block in blocks]
    before = round((1 - share) * sum(counts)) - 1  # the last character of the part that is left
    if before >= 0:
        ends = np.cumsum(counts)
        number = int(np.searchsorted(ends, before, side="right"))
        place = np.flatnonzero(_begins_character(blocks[number]))[before - (ends[number] - counts[number])]
        at = start + number * _BLOCK + int(place)
        text = documents.text(at, min(end, at + PIECE))
        for length in range(1, len(text)):
            if is_boundary(text, length):
                return at + len(text[:length].encode()), sum(counts) - before - length
    raise UserError(
        "data.train: has too little text to set a part aside for validation; name your own with --data.valid"
    )


def _begins_character(block: np.ndarray) -> np.ndarray:
    """Which bytes of UTF-8 are the first of a character."""
    begins: np.ndarray = (block & 0xC0) != 0x80
    return begins
