"""What each piece of a translation attended to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import combinations

import numpy as np

WORD = "▁"
"""The mark before a piece that begins a word (Kudo and Richardson 2018, arXiv:1808.06226)."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """The attention of one sentence pair.

    Attributes:
        source: pieces of the source.
        target: pieces of the target.
        weights: ``(len(target), len(source))``, floating point: row i is what target piece i attended to.

    Raises:
        ValueError: ``weights`` has another shape or type.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: np.ndarray

    def __post_init__(self) -> None:
        if not isinstance(self.weights, np.ndarray) or not np.issubdtype(self.weights.dtype, np.floating):
            kind = getattr(self.weights, "dtype", type(self.weights).__name__)
            raise ValueError(f"weights: expected a floating-point NumPy array, got {kind}")
        if self.weights.shape != (len(self.target), len(self.source)):
            raise ValueError(
                f"weights: expected shape ({len(self.target)}, {len(self.source)}), a row for each target piece and a "
                f"column for each source piece, got {self.weights.shape}"
            )

    def words(self) -> Alignment:
        """The same by words: weights summed over a source word's pieces, averaged over a target word's.

        So each row still sums to what it did. Signs such as ``<eos>`` stay by themselves.
        """
        source, target = _words(self.source), _words(self.target)
        gather = np.zeros((len(self.source), len(source)))
        spread = np.zeros((len(target), len(self.target)))
        for word, (_, pieces) in enumerate(source):
            gather[pieces, word] = 1.0
        for word, (_, pieces) in enumerate(target):
            spread[word, pieces] = 1.0 / len(pieces)
        names = [tuple(name for name, _ in side) for side in (source, target)]
        return Alignment(names[0], names[1], spread @ self.weights @ gather)

    def links(self) -> list[tuple[int, int]]:
        """The source piece that each target piece attended to most, as (target, source), without signs' rows."""
        best = self.weights.argmax(1) if len(self.source) else []
        return [(i, int(j)) for i, j in enumerate(best) if not is_sign(self.target[i])]

    def crossings(self) -> int:
        """How many pairs of links stand in opposite orders on the two sides."""
        return sum((a[1] - b[1]) * (a[0] - b[0]) < 0 for a, b in combinations(self.links(), 2))

    def entropy(self) -> np.ndarray:
        """How spread each row is, in nats, ``(len(target),)``."""
        logs = np.log(self.weights, out=np.zeros_like(self.weights), where=self.weights > 0)
        return np.asarray(-(self.weights * logs).sum(1))

    def to_json(self) -> str:
        """As JSON text, every digit of the weights kept: ``{"source": [...], "target": [...], "weights": [[...]]}``."""
        kept = {"source": self.source, "target": self.target, "weights": self.weights.tolist()}
        return json.dumps(kept, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Alignment:
        """The alignment that ``to_json`` wrote; its weights come back in double precision.

        Raises:
            ValueError: ``text`` is no JSON object, lacks a field, or the weights' shape does not fit.
        """
        kept = json.loads(text)
        for field in ("source", "target", "weights"):
            if not isinstance(kept, dict) or not isinstance(kept.get(field), list):
                raise ValueError(f"{field}: expected a list under this name in the JSON object, got none")
        source, target = tuple(kept["source"]), tuple(kept["target"])
        weights = np.array(kept["weights"], dtype=np.float64)
        # Without target pieces JSON cannot tell how many columns there were.
        return Alignment(source, target, weights if target else weights.reshape(-1, len(source)))


def is_sign(piece: str) -> bool:
    """Whether a piece is a sign such as ``<eos>`` rather than text."""
    return len(piece) > 2 and piece[0] == "<" and piece[-1] == ">" and piece[1:-1].isalpha()


def _words(pieces: tuple[str, ...]) -> list[tuple[str, list[int]]]:
    """Each word with the numbers of its pieces."""
    found: list[tuple[str, list[int]]] = []
    for at, piece in enumerate(pieces):
        if found and not piece.startswith(WORD) and not is_sign(piece) and not is_sign(found[-1][0]):
            found[-1] = (found[-1][0] + piece, [*found[-1][1], at])
        else:
            found.append((piece.removeprefix(WORD), [at]))
    return found
