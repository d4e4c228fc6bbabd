"""Words: text cut into words, numbers and punctuation, with a vocabulary that each source extends by its own words."""

from __future__ import annotations

import functools
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.data.lines import compose
from regard.data.tokenizer import EOS, SIGNS, UNK, WORD
from regard.data.word_features import shape
from regard.errors import UserError, require
from regard.explain.alignment import UNSPACED
from regard.files import write_text

JOIN, SPACE, SHORT, MEDIUM, LONG = range(len(SIGNS), len(SIGNS) + 5)
"""No space, and a space, where `spaced` expects the opposite; and what the decoder starts with for an output of a
wanted length. Their numbers follow those of `regard.data.tokenizer`."""

SIMILAR = ("<far>", "<near>", "<close>", "<closest>")
"""What ends the target of a similar source that is read before a source; the last one is for the most similar."""

NAMES = (*SIGNS, "<join>", "<space>", "<short>", "<medium>", "<long>", *SIMILAR)
"""The names of the special tokens, by number. In a text, such a name is several words: ``<``, ``pad``, ``>``."""

_UNSPACED = UNSPACED + "\u3000-\u303f\uff00-\uffef"
"""Letters and punctuation of scripts without spaces between words: each is a word."""

SHAPES, SPELLINGS = 16, 256
"""Words outside of a vocabulary have ``SHAPES · SPELLINGS`` numbers, by a hash of the shape and one of the spelling."""

_CLOSING = frozenset(",.;:!?)]}%…")
_OPENING = frozenset("([{")


@functools.cache
def _pattern() -> Any:
    regex: Any = require("regex", "text", "cutting text into words")
    letter = rf"[[\p{{L}}\p{{M}}\p{{N}}_]--[{_UNSPACED}]]"
    # Names, numbers, times, addresses and dotted paths are one word each, so that they are copied as a whole.
    return regex.compile(
        rf"[{_UNSPACED}]\p{{M}}*"
        rf"|\w+://[^\s<>\"]*[\w/]"
        rf"|\p{{N}}{{1,3}}(?:,\p{{N}}{{3}})+(?:\.\p{{N}}+)?(?!{letter})"
        rf"|{letter}+(?:(?:[.'’@&/-]|(?<=\p{{N}}):(?=\p{{N}})){letter}+)*"
        rf"|\S",
        flags=regex.V1,
    )


@functools.cache
def _unspaced() -> Any:
    regex: Any = require("regex", "text", "cutting text into words")
    return regex.compile(rf"[{_UNSPACED}]")


@functools.lru_cache(1 << 16)
def _is_unspaced(word: str) -> bool:
    return bool(_unspaced().match(word))


def spaced(left: str, right: str) -> bool:
    """Whether a space is expected between two words.

    >>> spaced("one", "two"), spaced("one", ","), spaced("(", "one"), spaced("東", "京")
    (True, False, False, False)
    """
    if right in _CLOSING or left in _OPENING:
        return False
    return left.isascii() or right.isascii() or not (_is_unspaced(left) or _is_unspaced(right))


def split(text: str) -> list[str]:
    """The words of a text, with ``<join>`` and ``<space>`` where the spacing is not as expected.

    `join` returns the text, with each stretch of white space as one space.

    >>> split("Pay $1,250.50 to A. O'Neil (see os.path).")
    ['Pay', '$', '<join>', '1,250.50', 'to', 'A', '.', "O'Neil", '(', 'see', 'os.path', ')', '.']
    """
    words: list[str] = []
    before, end = "", 0
    for match in _pattern().finditer(text):
        word = match[0]
        if before:
            gap = match.start() > end
            if gap is not spaced(before, word):
                words.append(NAMES[SPACE if gap else JOIN])
        words.append(word)
        before, end = word, match.end()
    return words


def join(words: Iterable[str]) -> str:
    """The text of words; see `split`. Other special tokens are left out.

    >>> join(["f", "<join>", "(", "x", ")", ",", "g"])
    'f(x), g'
    """
    text, before, gap = "", "", None
    for word in words:
        if word in _SPACING:
            gap = _SPACING[word]
            continue
        if word in _SPECIAL:
            continue
        if before and (spaced(before, word) if gap is None else gap):
            text += " "
        text += word
        before, gap = word, None
    return text


_NONE: Mapping[int, str] = {}
_SPECIAL = frozenset(NAMES)
_SPACING = {NAMES[SPACE]: True, NAMES[JOIN]: False}


class Vocabulary:
    """Words and their numbers; the words of a source that are not in it get numbers from ``len(vocabulary)`` on.

    This is the extended vocabulary of See et al. 2017 (arXiv:1704.04368), with which a model writes any word of its
    source. Different from the paper's, such a number is from a hash of the word, so that a word usually has the same
    number in all texts and can have an embedding. Two words can have the same hash: in a source, the second one gets
    the next number that is free, so a number has a meaning only together with the words of its source.

    >>> vocabulary = Vocabulary.train(["the cat", "the cat and the dog"])
    >>> numbers, extra = vocabulary.source("the dog saw Rex")
    >>> list(extra.values()), vocabulary.words(vocabulary.target("Rex saw the Cat", extra), extra)
    (['dog', 'saw', 'Rex'], ['Rex', 'saw', 'the', '<unk>', '<eos>'])
    """

    def __init__(self, words: Sequence[str]):
        self._words = [*NAMES, *words]
        self._numbers = {word: number for number, word in enumerate(self._words)}

    @classmethod
    def train(cls, texts: Iterable[str], size: int = 10_000, min_frequency: int = 2) -> Vocabulary:
        """The words that are in most of the texts, at most ``size`` with the special tokens, without those that are in
        fewer than ``min_frequency``: a name of a single text is to be copied, however often it occurs there."""
        counts = Counter(itertools.chain.from_iterable(set(split(text)) for text in texts))
        ordered = sorted((-count, word) for word, count in counts.items() if count >= min_frequency)
        return cls([word for _, word in ordered if word not in _SPECIAL][: max(0, size - len(NAMES))])

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what `save` wrote. Raises UserError: the file is missing or not a vocabulary."""
        try:
            words = json.loads(path.read_text(encoding="utf-8"))["words"]
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise ValueError("its words are not a list of texts")
        except FileNotFoundError as error:
            raise UserError(f"{path}: no such file") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a vocabulary ({error})") from error
        return cls(words)

    def save(self, path: Path) -> None:
        """Write as JSON. Raises UserError: the file cannot be written."""
        write_text(path, json.dumps({"words": self._words[len(NAMES) :]}, ensure_ascii=False, indent=0))

    def __len__(self) -> int:
        return len(self._words)

    def source(
        self, text: str, limit: int | None = None, before: Sequence[str] = ()
    ) -> tuple[list[int], dict[int, str]]:
        """The numbers of a source's first ``limit`` words, and EOS; and its words that are not in the vocabulary.

        ``before``: further words, and special tokens by their names, that are read before those of the text.
        """
        extra: dict[int, str] = {}
        others: dict[str, int] = {}
        numbers = []
        for word in [*before, *split(compose(text))[:limit]]:
            number = self._numbers.get(word) or others.get(word)
            if number is None:
                number = self._free(word, extra)
                if number != UNK:
                    extra[number], others[word] = word, number
            numbers.append(number)
        return [*numbers, EOS], extra

    def _free(self, word: str, taken: Container[int]) -> int:
        """The number of a word that is not in the vocabulary: the first free one from its hash on; UNK: none is."""
        start, count = outside(word), SHAPES * SPELLINGS
        numbers = (len(self) + (start + step) % count for step in range(count))
        return next((number for number in numbers if number not in taken), UNK)

    def target(self, text: str, extra: Mapping[int, str] = _NONE) -> list[int]:
        """The numbers of a target, and EOS; words that are neither in the vocabulary nor in ``extra`` are unknown."""
        own = {word: number for number, word in extra.items()}
        return [*(self._numbers.get(word) or own.get(word, UNK) for word in split(compose(text))), EOS]

    def words(self, numbers: Iterable[int], extra: Mapping[int, str]) -> list[str]:
        """The words with these numbers; ``extra``: the second result of `source`."""
        return [self._words[number] if number < len(self) else extra[number] for number in numbers]


@functools.lru_cache(1 << 16)
def outside(word: str) -> int:
    """A hash of a word, below ``SHAPES · SPELLINGS``: words of the same shape, such as two years, are neighbours.

    >>> outside("1999") // SPELLINGS == outside("2026") // SPELLINGS
    True
    """
    spelling = zlib.crc32(word.lower().encode()) % SPELLINGS
    return zlib.crc32(f"shape {shape(word)}".encode()) % SHAPES * SPELLINGS + spelling


def pieces(words: Sequence[str]) -> list[str]:
    """The words as pieces of an alignment, with ``▁`` before each that follows a space.

    >>> pieces(["f", "<join>", "(", "x", ")", "is", "<eos>"])
    ['▁f', '', '(', 'x', ')', '▁is', '<eos>']
    """
    shown, before, gap = [], "", None
    for word in words:
        if word in _SPACING:
            gap = _SPACING[word]
            shown.append(WORD if gap else "")
        elif word in _SPECIAL:
            shown.append(word)
        else:
            marked = gap is None and (not before or spaced(before, word))
            shown.append(WORD + word if marked else word)
            before, gap = word, None
    return shown


def unknown(size: int) -> Callable[[Sequence[int]], list[int]]:
    """A function that replaces the numbers of words outside of a vocabulary of ``size`` words by UNK.

    >>> unknown(10)([2, 9, 10])
    [2, 9, 3]
    """
    return lambda numbers: [number if number < size else UNK for number in numbers]
