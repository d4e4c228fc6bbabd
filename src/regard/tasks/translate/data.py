"""Reads parallel text and turns it into tokens."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from regard.data import cldr
from regard.data.parallel import read_parallel
from regard.data.tokenizer import EOS, Tokenizer
from regard.errors import UserError
from regard.tasks.translate.settings import DataConfig, TokenizerConfig
from regard.training.defaults import known
from regard.training.fingerprint import Fingerprint

Pairs = list[tuple[str, str]]

_SET_ASIDE = 0.02
_MOST_SET_ASIDE = 2000


@dataclass(frozen=True)
class Text:
    """Training and validation pairs."""

    train: Pairs
    valid: Pairs


def read(config: DataConfig, seed: int, notify: Callable[[str], None]) -> Text:
    """The text that a configuration names; messages about it go to ``notify``. Raises UserError: it cannot be used."""
    if config.train is None:
        if config.valid is not None:
            raise UserError("data.valid: needs --data.train, since the built-in corpus has a validation set already")
        notify("no --data.train: training on the built-in English-French corpus, made from the Unicode CLDR")
        return Text(
            cldr.corpus(config.builtin_pairs, seed=seed, split="train"), cldr.corpus(1000, seed=seed, split="valid")
        )
    train = read_pairs(config.train, config, notify)
    if config.valid is not None:
        valid, known = read_pairs(config.valid, config, notify), set(train)
        shared = sum(pair in known for pair in valid)
        if shared:
            notify(f"data.valid: {shared:,} of its {len(valid):,} pairs are in the training text too")
        return Text(train, valid)
    return set_aside(train, seed, notify)


def read_pairs(path: str, config: DataConfig, notify: Callable[[str], None]) -> Pairs:
    """The pairs of one file. Raises UserError: it cannot be used."""
    source, target = (None if column is None else str(column) for column in (config.source, config.target))
    text = read_parallel(path, source=source, target=target, on_bad_line=config.on_bad_line)
    for line in (text.notice(), text.first()):
        if line is not None:
            notify(line)
    return text.pairs


def set_aside(pairs: Pairs, seed: int, notify: Callable[[str], None]) -> Text:
    """Set a part of the pairs aside for validation; pairs with the same source stay together.

    Raises:
        UserError: there are fewer than two different source sides.
    """
    sources = sorted({source for source, _ in pairs})
    if len(sources) < 2:
        raise UserError("data.train: needs at least two different source sentences, one of them for validation")
    count = min(_MOST_SET_ASIDE, max(1, round(_SET_ASIDE * len(sources))))
    held = set(random.Random(seed).sample(sources, count))
    valid = [pair for pair in pairs if pair[0] in held]
    notify(f"set aside {len(valid):,} of {len(pairs):,} pairs for validation (name your own with --data.valid)")
    return Text([pair for pair in pairs if pair[0] not in held], valid)


def fingerprint(text: Text) -> Fingerprint:
    """The fingerprint of the pairs."""
    return Fingerprint.of("pairs", text.train, text.valid)


def train_tokenizers(pairs: Pairs, config: TokenizerConfig) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of source and target, trained on ``pairs``."""
    return (
        Tokenizer.train((source for source, _ in pairs), kind=config.kind, size=known(config.source_size)),
        Tokenizer.train((target for _, target in pairs), kind=config.kind, size=known(config.target_size)),
    )


def save_tokenizers(folder: Path, source: Tokenizer, target: Tokenizer) -> None:
    """Write both to a run's folder, for `regard.tasks.translate.predictor.load`."""
    source.save(folder / "source.tokenizer.json")
    target.save(folder / "target.tokenizer.json")


@dataclass(frozen=True)
class Rows:
    """Pairs as tokens; each side ends with EOS."""

    source: list[list[int]]
    target: list[list[int]]

    @property
    def lengths(self) -> list[tuple[int, int]]:
        """Source and target length of each pair."""
        return [(len(source), len(target)) for source, target in zip(self.source, self.target, strict=True)]


def encode(pairs: Sequence[tuple[str, str]], source: Tokenizer, target: Tokenizer) -> Rows:
    """Pairs as tokens."""
    return Rows(
        [row + [EOS] for row in source.encode_batch([s for s, _ in pairs])],
        [row + [EOS] for row in target.encode_batch([t for _, t in pairs])],
    )


def drop_long(rows: Rows, longest: int, notify: Callable[[str], None]) -> Rows:
    """``rows`` without pairs that have a side longer than ``longest`` tokens. Raises UserError: none is left."""
    kept = [i for i, pair in enumerate(rows.lengths) if max(pair) <= longest]
    if not kept:
        raise UserError(f"data.max_length: all {len(rows.source):,} training pairs are longer than {longest} tokens")
    if len(kept) < len(rows.source):
        notify(
            f"left out {len(rows.source) - len(kept):,} training pairs longer than {longest} tokens (--data.max-length)"
        )
    return Rows([rows.source[i] for i in kept], [rows.target[i] for i in kept])
