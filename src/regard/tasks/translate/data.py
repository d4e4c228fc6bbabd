"""Reads parallel text and turns it into tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from regard.data import cldr, split
from regard.data.corpus import facts
from regard.data.encoding import Tokens, tokenize, train_tokenizer
from regard.data.pairs import Pairs
from regard.data.parallel import open_parallel
from regard.data.tokenizer import Tokenizer
from regard.errors import UserError
from regard.tasks.translate.settings import DataConfig, TokenizerConfig
from regard.training.defaults import known
from regard.training.fingerprint import Fingerprint, Part

_SET_ASIDE = 0.02
_MOST_SET_ASIDE = 2000


PairList = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Text:
    """Training and validation pairs."""

    train: Pairs
    valid: PairList

    @classmethod
    def of(cls, train: Iterable[tuple[str, str]], valid: PairList) -> Text:
        """From pairs in memory."""
        return cls(Pairs.of(train), valid)


def read(config: DataConfig, seed: int, notify: Callable[[str], None]) -> Text:
    """The text that a configuration names; messages about it go to ``notify``. Raises UserError: it cannot be used."""
    if config.train is None:
        if config.valid is not None:
            raise UserError("data.valid: needs --data.train, since the built-in corpus has a validation set already")
        notify("no --data.train: training on the built-in English-French corpus, made from the Unicode CLDR")
        return Text.of(
            cldr.corpus(config.builtin_pairs, seed=seed, split="train"), cldr.corpus(1000, seed=seed, split="valid")
        )
    train = read_pairs(config.train, config, notify)
    if config.valid is not None:
        valid = read_pairs(config.valid, config, notify)
        shared = _shared(train, valid)
        if shared:
            notify(f"data.valid: {shared:,} of its {len(valid):,} pairs are in the training text too")
        return Text(train, valid)
    return set_aside(train, seed, notify)


def read_pairs(path: str, config: DataConfig, notify: Callable[[str], None]) -> Pairs:
    """The pairs of one file. Raises UserError: it cannot be used."""
    pairs, reading = open_parallel(path, source=config.source, target=config.target, on_bad_line=config.on_bad_line)
    for line in (reading.notice(), reading.first()):
        if line is not None:
            notify(line)
    return pairs


def _shared(train: Pairs, valid: Pairs) -> int:
    """The number of validation pairs that are training pairs too."""
    documents = (train.source, train.target, valid.source, valid.target)
    return int(facts("shared", lambda: {"count": split.repeated(train, list(valid))}, documents)["count"])


def set_aside(pairs: Pairs, seed: int, notify: Callable[[str], None]) -> Text:
    """Set a part of the pairs aside for validation; pairs with the same source stay together.

    Raises:
        UserError: there are fewer than two different source sides.
    """

    def compute() -> dict[str, list[int]]:
        groups = split.equal_texts(pairs.source)
        if not groups.any():
            raise UserError("data.train: needs at least two different source sentences, one of them for validation")
        held_out = split.by_group(groups, share=_SET_ASIDE, most=_MOST_SET_ASIDE, seed=seed)
        return {"rows": np.flatnonzero(held_out).tolist()}

    rows = facts("set-aside", compute, (pairs.source, pairs.target), seed)["rows"]
    notify(split.notice(f"{len(rows):,} of {len(pairs):,} pairs"))
    kept = np.ones(len(pairs), dtype=bool)
    kept[rows] = False
    return Text(pairs.select(kept), [pairs[row] for row in rows])


def fingerprint(text: Text) -> Fingerprint:
    """The fingerprint of the pairs."""
    documents = (text.train.source, text.train.target)
    train = facts("part", lambda: asdict(Part.of(text.train)), documents)
    return Fingerprint("pairs", Part(**train), Part.of(text.valid))


def train_tokenizers(
    pairs: Pairs, config: TokenizerConfig, notify: Callable[[str], None] = lambda line: None
) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of source and target, trained on ``pairs``."""
    return (
        train_tokenizer(pairs.source, config.kind, known(config.source_size), notify),
        train_tokenizer(pairs.target, config.kind, known(config.target_size), notify),
    )


def save_tokenizers(folder: Path, source: Tokenizer, target: Tokenizer) -> None:
    """Write both to a run's folder, for `regard.tasks.translate.predictor.load`."""
    source.save(folder / "source.tokenizer.json")
    target.save(folder / "target.tokenizer.json")


@dataclass(frozen=True)
class Rows:
    """Pairs as tokens; each side ends with EOS."""

    source: Tokens
    target: Tokens

    @property
    def lengths(self) -> np.ndarray:
        """Source and target length of each pair: ``(pairs, 2)``."""
        return np.stack((self.source.lengths, self.target.lengths), 1)


def encode(pairs: PairList, source: Tokenizer, target: Tokenizer) -> Rows:
    """Pairs as tokens."""
    pairs = pairs if isinstance(pairs, Pairs) else Pairs.of(pairs)
    return Rows(tokenize(pairs.source, source), tokenize(pairs.target, target))


def drop_long(rows: Rows, longest: int, notify: Callable[[str], None]) -> Rows:
    """``rows`` without pairs that have a side longer than ``longest`` tokens. Raises UserError: none is left."""
    kept = np.flatnonzero(rows.lengths.max(1) <= longest)
    if not len(kept):
        raise UserError(f"data.max_length: all {len(rows.source):,} training pairs are longer than {longest} tokens")
    if len(kept) < len(rows.source):
        notify(
            f"left out {len(rows.source) - len(kept):,} training pairs longer than {longest} tokens (--data.max-length)"
        )
    return Rows(rows.source.select(kept), rows.target.select(kept))
