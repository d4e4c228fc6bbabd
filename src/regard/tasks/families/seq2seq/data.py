"""Pairs of source and target texts: read from the user's files, with a part for validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

import numpy as np

from regard.data import split
from regard.data.corpus import facts
from regard.data.pairs import Pairs
from regard.data.parallel import open_parallel
from regard.errors import UserError
from regard.tasks.families.seq2seq.settings import PairsConfig
from regard.training.fingerprint import Fingerprint, Part

_SET_ASIDE = 0.02
_MOST_SET_ASIDE = 2000


PairList = Sequence[tuple[str, str]]


class Reader(Protocol):
    """Reads the pairs of a file, and describes what was read; see `regard.data.parallel.open_parallel`."""

    def __call__(
        self, path: str, *, source: str | int | None, target: str | int | None, on_bad_line: Literal["error", "skip"]
    ) -> tuple[Pairs, list[str]]:
        """The pairs, and lines about them. Raises UserError: the file cannot be used."""
        ...


@dataclass(frozen=True)
class PairData:
    """Training and validation pairs."""

    train: Pairs
    valid: PairList

    @classmethod
    def of(cls, train: Iterable[tuple[str, str]], valid: PairList) -> PairData:
        """From pairs in memory."""
        return cls(Pairs.of(train), valid)


def read(
    path: str, config: PairsConfig, seed: int, notify: Callable[[str], None], reader: Reader = open_parallel
) -> PairData:
    """The pairs of the user's file ``path``, and those for validation; messages about them go to ``notify``.

    Raises:
        UserError: a file cannot be used.
    """
    train = read_pairs(path, config, notify, reader)
    if config.valid is not None:
        valid = read_pairs(config.valid, config, notify, reader)
        shared = _shared(train, valid)
        if shared:
            notify(split.shared_notice(shared, len(valid), "pairs"))
        return PairData(train, valid)
    return set_aside(train, seed, notify)


def read_pairs(path: str, config: PairsConfig, notify: Callable[[str], None], reader: Reader = open_parallel) -> Pairs:
    """The pairs of one file. Raises UserError: it cannot be used."""
    pairs, lines = reader(path, source=config.source, target=config.target, on_bad_line=config.on_bad_line)
    for line in lines:
        notify(line)
    return pairs


def references(pairs: PairList) -> dict[str, list[str]]:
    """The targets of each different source, in order.

    >>> references([("one", "a"), ("two", "b"), ("one", "c")])
    {'one': ['a', 'c'], 'two': ['b']}
    """
    by_source: dict[str, list[str]] = {}
    for source, target in pairs:
        by_source.setdefault(source, []).append(target)
    return by_source


def _shared(train: Pairs, valid: Pairs) -> int:
    """The number of validation pairs that are training pairs too."""
    documents = (train.source, train.target, valid.source, valid.target)
    return int(facts("shared", lambda: {"count": split.repeated(train, list(valid))}, documents)["count"])


def set_aside(pairs: Pairs, seed: int, notify: Callable[[str], None]) -> PairData:
    """Set a part of the pairs aside for validation; pairs with the same source stay together.

    Raises:
        UserError: there are fewer than two different source sides.
    """

    def compute() -> dict[str, list[int]]:
        groups = split.equal_texts(pairs.source)
        if not groups.any():
            raise UserError("data.train: needs at least two different source texts, one of them for validation")
        held_out = split.by_group(groups, share=_SET_ASIDE, most=_MOST_SET_ASIDE, seed=seed)
        return {"rows": np.flatnonzero(held_out).tolist()}

    rows = facts("set-aside", compute, (pairs.source, pairs.target), seed)["rows"]
    notify(split.notice(f"{len(rows):,} of {len(pairs):,} pairs"))
    kept = np.ones(len(pairs), dtype=bool)
    kept[rows] = False
    return PairData(pairs.select(kept), [pairs[row] for row in rows])


def fingerprint(text: PairData) -> Fingerprint:
    """The fingerprint of the pairs."""
    documents = (text.train.source, text.train.target)
    train = facts("part", lambda: asdict(Part.of(text.train)), documents)
    return Fingerprint("pairs", Part(**train), Part.of(text.valid))
