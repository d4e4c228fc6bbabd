"""A linear model of answers, fitted in a minute: the weights of hashed features decide about first and last words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.data.arrays import read_arrays, write_arrays
from regard.data.progress import counted
from regard.data.questions import Question, Span
from regard.data.span_features import BUCKETS, Featured, Rarity, featured
from regard.errors import UserError
from regard.models.span import HIDDEN

_LONGEST = 20
"""The largest number of words of an answer."""
_BATCH = 32
_EPOCHS = 4
_RATE = 0.03
_DECAY = 2e-5
"""The weight of the squared weights in the loss."""
_RARE = 4
"""Features of fewer questions are not used."""
_KEPT = 50
"""The number of spans of a question that are kept, the most probable ones."""


@dataclass(frozen=True)
class Ranked:
    """The most probable spans of a context with the logarithms of their probabilities, and that of no answer."""

    spans: tuple[tuple[Span, float], ...]
    absent: float

    @property
    def odds(self) -> dict[Span, float]:
        """The logarithm of the probability of each span, divided by that of no answer."""
        return {span: value - self.absent for span, value in self.spans}


@dataclass(frozen=True)
class _Example:
    """A question in features, and the places of its answers, as often as they were given; 0: no answer."""

    features: Featured
    places: tuple[int, ...]


class SpanClassifier(nn.Module):
    """One softmax over the spans of a context and "no answer", whose scores are sums of the weights of features.

    Args:
        rarity: of words, in the training contexts.

    >>> asked = [("Good food.", "How is the food?", (0, 9)), ("Bad beds, good food.", "How is the food?", (10, 19))]
    >>> questions = [Question(context, question, (span,)) for context, question, span in asked]
    >>> model = SpanClassifier.fit(questions * 8)
    >>> model.ranked([Question("Odd food.", "How is the food?", ())])[0].spans[0][0]
    (0, 8)
    """

    file: ClassVar[str] = "linear"

    def __init__(self, rarity: Rarity):
        super().__init__()
        self.rarity = rarity
        self.weight = nn.Parameter(torch.zeros(BUCKETS))
        self.lengths, self.bias = nn.Parameter(torch.zeros(_LONGEST)), nn.Parameter(torch.zeros(1))

    @classmethod
    def fit(cls, questions: Sequence[Question]) -> SpanClassifier:
        """The model of these questions."""
        model = cls(Rarity.of(dict.fromkeys(one.context for one in questions)))
        examples = model._examples(questions)
        usual = model._usual(examples)
        # At first, having no answer is as probable as having one.
        nn.init.constant_(model.bias, float(np.mean([np.log(len(one.features.starts) * _LONGEST) for one in examples])))
        optimizer = torch.optim.Adagrad(model.parameters(), lr=_RATE)
        order = np.random.default_rng(0)
        with counted("fitting the linear model, questions") as count:
            for batch in (batch for _ in range(_EPOCHS) for batch in _batches(examples, order)):
                with torch.enable_grad():
                    loss = model._loss(batch, usual) + _DECAY * sum(one.square().sum() for one in model.parameters())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                count(len(batch))
        return model

    def describe(self) -> str:
        """What it is, and its size, in one line."""
        return f"linear model: {int((self.weight != 0).sum()):,} features"

    @torch.no_grad()
    def ranked(self, questions: Sequence[Question]) -> list[Ranked]:
        """The most probable spans for each question."""
        results: dict[int, Ranked] = {}
        made = [_Example(featured(one.context, one.question, self.rarity), ()) for one in questions]
        numbers = {id(one): at for at, one in enumerate(made)}
        for batch in _batches(made):
            logs = self._logits(batch).log_softmax(-1)
            values, places = logs[:, 1:].topk(min(_KEPT, logs.shape[1] - 1))
            for at, example in enumerate(batch):
                pairs = zip(places[at].tolist(), values[at].tolist(), strict=True)
                spans = tuple((_span(example.features, place), value) for place, value in pairs if value > HIDDEN / 2)
                results[numbers[id(example)]] = Ranked(spans, float(logs[at, 0]))
        return [results[at] for at in range(len(made))]

    def save(self, path: Path) -> None:
        """Write to a safetensors file."""
        parts = {name: value.numpy() for name, value in self.state_dict().items()}
        write_arrays(path, {**parts, "counts": self.rarity.counts, "contexts": np.array([self.rarity.contexts])})

    @classmethod
    def load(cls, path: Path) -> SpanClassifier:
        """Read what `save` wrote. Raises UserError: the file is missing or damaged."""
        names, what = ("weight", "lengths", "bias"), "a linear model of answers"
        counts, contexts, *values = read_arrays(path, ("counts", "contexts", *names), what)
        model = cls(Rarity(counts, int(contexts[0])))
        try:
            model.load_state_dict(dict(zip(names, map(torch.from_numpy, values), strict=True)))
        except RuntimeError as error:
            raise UserError(f"{path}: is not {what} ({error})") from error
        return model

    def _examples(self, questions: Sequence[Question]) -> list[_Example]:
        """The questions, those with the same context and question together; long answers are left out."""
        places: dict[tuple[str, str], list[Sequence[int]]] = {}
        for one in questions:
            places.setdefault((one.context, one.question), []).extend(one.answers or [()])
        made = []
        for (context, question), spans in places.items():
            features = featured(context, question, self.rarity)
            usable = tuple(place for span in spans if (place := _place(features, span)) is not None)
            if usable and len(features.starts):
                made.append(_Example(features, usable))
        return made

    def _usual(self, examples: Iterable[_Example]) -> Tensor:
        """Which features enough questions have, bool ``(BUCKETS,)``."""
        counts = np.zeros(BUCKETS, dtype=np.int32)
        for one in examples:
            features = one.features
            parts = (features.first, features.last, features.inside, features.absent)
            counts[np.unique(np.concatenate([part.ravel() for part in parts]))] += 1
        counts[0] = 0
        return torch.from_numpy(counts >= _RARE)

    def _logits(self, examples: Sequence[_Example], usual: Tensor | None = None) -> Tensor:
        """The scores of no answer and of all spans, ``(B, 1 + n · longest)``."""
        made = [one.features for one in examples]
        width = max(len(one.starts) for one in made)
        first, last, inside = (
            self._sums(torch.stack([_padded(getattr(one, name), width) for one in made]), usual)
            for name in ("first", "last", "inside")
        )
        most = max(len(one.absent) for one in made)
        absent = self._sums(torch.stack([_padded(one.absent, most) for one in made]), usual) + self.bias
        before = F.pad(inside.cumsum(1), (1, 0))
        ends = torch.arange(width)[:, None] + torch.arange(_LONGEST)
        at = ends.clamp(max=width - 1)
        spans = (first - before[:, :-1])[..., None] + (last + before[:, 1:])[:, at] + self.lengths
        edge = torch.stack([_padded(one.edge, width) for one in made])
        exists = edge[..., None] & edge[:, at] & (ends < width)
        return torch.cat([absent[:, None], spans.masked_fill(~exists, HIDDEN).flatten(1)], 1)

    def _sums(self, features: Tensor, usual: Tensor | None) -> Tensor:
        if usual is not None:
            features = features * usual[features]
        return F.embedding(features, self.weight[:, None], padding_idx=0)[..., 0].sum(-1)

    def _loss(self, examples: Sequence[_Example], usual: Tensor) -> Tensor:
        """The mean negative log-probability of the answers given."""
        logs = self._logits(examples, usual).log_softmax(-1)
        rows = [row for row, one in enumerate(examples) for _ in one.places]
        return -logs[rows, [place for one in examples for place in one.places]].mean()


def _batches(examples: Sequence[_Example], order: np.random.Generator | None = None) -> Iterable[list[_Example]]:
    """Examples of similar lengths together; with ``order``, in a random order."""
    lengths = np.array([len(one.features.starts) for one in examples], dtype=float)
    if order is not None:
        lengths += order.uniform(0, 30, len(lengths))
    parts = [part for part in np.array_split(np.argsort(lengths), -(-len(examples) // _BATCH)) if len(part)]
    numbers = range(len(parts)) if order is None else order.permutation(len(parts)).tolist()
    return ([examples[at] for at in parts[number]] for number in numbers)


def _padded(features: np.ndarray, count: int) -> Tensor:
    widths = ((0, count - len(features)), *((0, 0),) * (features.ndim - 1))
    return torch.from_numpy(np.pad(features, widths))


def _place(features: Featured, span: Sequence[int]) -> int | None:
    """The number of a span of characters among the logits, without punctuation at its edges. An empty one: no answer.

    None: it is too long, or has no words.
    """
    if not span:
        return 0
    first = int(np.searchsorted(features.ends, span[0], side="right"))
    last = int(np.searchsorted(features.starts, span[1], side="left")) - 1
    edges = first + np.flatnonzero(features.edge[first : last + 1])
    if not len(edges) or edges[-1] - edges[0] >= _LONGEST:
        return None
    return 1 + int(edges[0] * _LONGEST + edges[-1] - edges[0])


def _span(features: Featured, place: int) -> Span:
    first, more = divmod(place, _LONGEST)
    return int(features.starts[first]), int(features.ends[first + more])
