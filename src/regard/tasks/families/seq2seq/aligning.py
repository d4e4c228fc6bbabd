"""Links between the words of a text and its translation, from the attention of a translation model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from regard.attend import Look
from regard.attribution.vectors import gram, squared_norms
from regard.data.padding import pad
from regard.data.tokenizer import BOS, EOS, PAD
from regard.errors import UserError
from regard.explain.alignment import Alignment
from regard.explain.links import Links, Symmetrization, symmetrized
from regard.models.transformer import TransformerTranslator
from regard.nn import MultiHeadAttention
from regard.tasks.families.seq2seq.text import TextPredictor
from regard.watch import looking

_BATCH = 64
"""The number of pairs that are read together."""

Pair = tuple[str, str]
"""A text and its translation."""


@dataclass(frozen=True)
class Aligner:
    """Links each word of a translation to the word of its source with the largest weight.

    The weights of the pieces of a word are joined: summed over those of a source word, averaged over those of a target
    word. Special tokens get no link.

    Attributes:
        predictor: a trained model from text to text.
        layer: number of a decoder layer of a Transformer, from 0; None: the last but one.
        head: number of a head, from 0; None: the mean over all.
        next_step: read the weights one step later, when the word is the decoder's input and not its output: in a
            Transformer these are often closer to an alignment (Chen et al. 2020, arXiv:2004.14837).
        norms: in place of a Transformer's weights, the norms of what they add to the target (Kobayashi et al. 2020,
            arXiv:2004.10102): of one head ``‖a_ij v_j W‖``, of all ``‖Σ_h a_ij^h v_j^h W^h‖``.

    Raises:
        UserError: there is no such layer or head.
    """

    predictor: TextPredictor[Any]
    layer: int | None = None
    head: int | None = None
    next_step: bool = False
    norms: bool = False

    def __post_init__(self) -> None:
        model = self.predictor.model
        if not isinstance(model, TransformerTranslator):
            for name, value in (("layer", self.layer), ("head", self.head), ("norms", self.norms or None)):
                if value is not None:
                    raise UserError(f"--{name}: only for a Transformer, and this run is recurrent, with one attention")
            return
        for name, value, count in (("layer", self.layer, len(model.decoder)), ("head", self.head, model.heads)):
            if value is not None and not 0 <= value < count:
                raise UserError(f"--{name}: expected a number from 0 to {count - 1}, got {value}")

    def links(self, pairs: Sequence[Pair]) -> list[Links]:
        """The links of each pair of a batch. Raises UserError: the model has no attention."""
        return [alignment.words().links() for alignment in self.alignments(pairs)]

    def alignments(self, pairs: Sequence[Pair]) -> list[Alignment]:
        """The alignment of each pair, by pieces, those of the target without EOS."""
        source, target = self.predictor.source, self.predictor.target
        sources = [[*source.encode(text.strip()), EOS] for text, _ in pairs]
        targets = [[*target.encode(text.strip()), EOS] for _, text in pairs]
        if isinstance(self.predictor.model, TransformerTranslator):
            weights = self._of_layer(self.predictor.model, sources, targets)
        else:
            weights = self.predictor.weights(sources, targets)
        results = []
        for one, other, rows in zip(sources, targets, weights, strict=True):
            own = rows[1:] if self.next_step else rows[:-1]
            results.append(Alignment(tuple(source.pieces(one)), tuple(target.pieces(other[:-1])), own))
        return results

    def _of_layer(
        self, model: TransformerTranslator, sources: list[list[int]], targets: list[list[int]]
    ) -> list[np.ndarray]:
        """The weights ``(tokens, source length)`` of each pair, of all steps at once."""
        number = max(0, len(model.decoder) - 2) if self.layer is None else self.layer
        cross = model.decoder[number].cross
        assert isinstance(cross, MultiHeadAttention)
        heads = slice(None) if self.head is None else slice(self.head, self.head + 1)
        with torch.inference_mode():
            with looking(cross, Look(rows=slice(None)), inputs=self.norms) as seen:
                read, written = (pad(some, PAD, model.device) for some in (sources, [[BOS, *one] for one in targets]))
                model.eval()(*read, *written)
            view = seen["", 0]
            weights = view.rows[:, heads]
            if self.norms:
                assert view.plan is not None
                values = view.plan.value
                projection = cross.output.weight.T.unflatten(0, (cross.heads, -1))
                squares = squared_norms(weights, gram(values[:, heads], projection[heads]))
                rows = squares.clamp(min=0).sqrt().float().cpu().numpy()
            else:
                rows = weights.mean(1).float().cpu().numpy()
        sizes = [(len(target), len(source)) for target, source in zip(targets, sources, strict=True)]
        return [each[:length, :width] for each, (length, width) in zip(rows, sizes, strict=True)]


def linked(
    pairs: Iterable[Pair], forward: Aligner, backward: Aligner | None = None, combine: Symmetrization = "grow-diag"
) -> Iterator[Links]:
    """The links of each pair, in order; ``pairs`` may be endless.

    Args:
        pairs: texts and their translations.
        forward: of a model that translates so.
        backward: of a model of the other direction, whose links are combined with those of ``forward``.
        combine: how; see `regard.explain.links.symmetrized`.

    Raises:
        UserError: a model has no attention.
    """
    stream = iter(pairs)
    while batch := list(islice(stream, _BATCH)):
        links = forward.links(batch)
        if backward is not None:
            turned = backward.links([(target, source) for source, target in batch])
            others = [frozenset((source, target) for target, source in one) for one in turned]
            links = [symmetrized(one, other, combine) for one, other in zip(links, others, strict=True)]
        yield from links
