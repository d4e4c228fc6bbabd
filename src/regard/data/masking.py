"""Masks words of a text, which a model then restores: Devlin et al. 2019 (arXiv:1810.04805)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from regard.data.tokenizer import SIGNS, WORD
from regard.explain.alignment import UNSPACED

SHARE = 0.15
"""The share of the words of a text that are to be restored, at least one word."""

_HIDDEN, _CHANGED = 0.8, 0.1
"""The shares of these words that are hidden, and that are replaced by others; the rest stays as it is."""

_UNSPACED = re.compile(f"[{UNSPACED}]")


class Masked(NamedTuple):
    """A text with masked words: ``tokens`` ``(n,)`` to read, and at ``places`` ``(k,)`` the ``targets`` ``(k,)``."""

    tokens: np.ndarray
    places: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True, eq=False)
class Masking:
    """How texts are masked.

    Attributes:
        hidden: the token in place of hidden ones.
        targets: int64 ``(tokens,)``: what is to be restored for each token, a number from 0; -1: it is never masked.
        begins: bool ``(tokens,)``: which tokens begin a word, since words are masked as a whole; None: all do.

    >>> masking = Masking(hidden=0, targets=np.array([-1, 0, 1, 2]))
    >>> masked = masking.mask(np.array([3, 1, 2, 3]), np.random.default_rng(0))
    >>> masked.tokens, masked.places, masked.targets
    (array([3, 1, 2, 0]), array([3]), array([2]))
    """

    hidden: int
    targets: np.ndarray
    begins: np.ndarray | None = None

    def mask(self, tokens: np.ndarray, random: np.random.Generator) -> Masked:
        """Mask words of a text of which at least one token can be restored: see `usable`."""
        usable = self.targets[tokens] >= 0
        words = np.arange(len(tokens)) if self.begins is None else np.cumsum(self.begins[tokens])
        maskable = np.unique(words[usable])
        chosen = random.choice(maskable, max(1, round(SHARE * len(maskable))), replace=False)
        draws = np.full(int(words[-1]) + 1, np.inf)  # for each word how it is masked; inf: not at all
        draws[chosen] = random.random(len(chosen))
        draw = np.where(usable, draws[words], np.inf)
        places = np.flatnonzero(np.isfinite(draw))
        read = tokens.copy()
        read[draw < _HIDDEN] = self.hidden
        changed = (draw >= _HIDDEN) & (draw < _HIDDEN + _CHANGED)
        others = np.flatnonzero(self.targets >= 0)
        read[changed] = others[random.integers(0, len(others), int(changed.sum()))]
        return Masked(read, places, self.targets[tokens[places]])

    def usable(self, tokens: np.ndarray) -> bool:
        """Whether a token of a text can be restored."""
        return bool((self.targets[tokens] >= 0).any())


def begins_word(pieces: Sequence[str]) -> np.ndarray:
    """Which pieces of a tokenizer begin a word, bool ``(n,)``; `Tokenizer.pieces` gives them in readable form.

    Letters and digits continue a word; in scripts without spaces between words, each piece is a word.

    >>> begins_word(["▁un", "do", "!", "▁", "a"])
    array([ True, False,  True,  True, False])
    """
    continues = [piece[:1].isalnum() and piece not in SIGNS and not _UNSPACED.match(piece) for piece in pieces]
    begins: np.ndarray = ~np.array(continues) | np.array([piece.startswith(WORD) for piece in pieces])
    return begins
