"""A trained model with its items, which recommends what comes next in a history."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from regard.data.catalogue import Catalogue
from regard.data.history_files import read_titles
from regard.data.lines import compose, one_line
from regard.data.neighbours import Neighbours
from regard.data.padding import pad
from regard.errors import UserError
from regard.explain.documents import by_query
from regard.explain.marked import MarkedText
from regard.explain.save import save
from regard.models.sequential import SequentialModel
from regard.tasks.exporting import Exportable, several_models
from regard.tasks.families.rank.results import Candidate, Ranked
from regard.tasks.groups import doubling, groups
from regard.tasks.results import Failure
from regard.tasks.task import Predictor
from regard.viewer.document import Axis, Document

_TOGETHER = 64
"""The largest number of histories that are read together."""
_NO_ATTENTION = "look: this run has no attention to look at (it was trained with --model.attention none)"
_LEAST = 1e-12
"""The probability of an item that has none, so that its logarithm is a number."""


@dataclass(frozen=True)
class Recommendation(Ranked):
    """Recommended items; with the attention if it was requested.

    Attributes:
        items: the names of the items of the history that the model read.
        attention: the history, with the weight of each item; None: not known.
    """

    items: tuple[str, ...] = ()
    attention: MarkedText | None = None

    def show(self, console: Console) -> None:
        """Print the history, shaded by the attention, and the recommended items."""
        if self.attention is not None:
            self.attention.show(console)
        for one in self.candidates:
            console.print(f"{one.score:7.2%}  {one.label}", highlight=False, markup=False)

    def save(self, path: str | Path) -> None:
        """Draw the history, shaded by the attention. Raises UserError: there is none, or the file cannot be written."""
        save(path, self.document, partial(self._history().save, title=self._title))

    def document(self) -> Document:
        """What the viewer shows: the history, to which its last item attended. Raises UserError: see `save`."""
        keys = self._history().keys()
        (axis, _), *_ = keys.values()
        return by_query(self._title, Axis((f"after {axis.labels[-1]}",), unit="item"), [keys])

    @property
    def _title(self) -> str:
        return f"→ {', '.join(one.label for one in self.candidates[:3])}"

    def _history(self) -> MarkedText:
        if self.attention is None:
            raise UserError(_NO_ATTENTION)
        return self.attention

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """The history and the recommended items; with ``attention``, also the weight of each item that was read."""
        result: dict[str, Any] = {"history": self.input, "items": [one.to_dict() for one in self.candidates]}
        if attention and self.attention is not None:
            result["attention"] = {"items": list(self.items), "weights": self.attention.weights.tolist()}
        return result


@dataclass(frozen=True)
class Recommender(Predictor):
    """A trained model with its items, or several of the same items.

    Attributes:
        model: the model.
        catalogue: the items it knows, and new ones after them.
        neighbours: of the items in the training histories.
        blend: the share of the neighbours' probability.
        repeats: whether an item can be chosen again, so that items of the history compete in scores.
        others: other trained models. Probabilities, before those of the neighbours are mixed in, and the attention are
            then means over all of them (Lakshminarayanan et al. 2017, arXiv:1612.01474).
    """

    model: SequentialModel
    catalogue: Catalogue
    neighbours: Neighbours
    blend: float = 0.0
    repeats: bool = False
    others: tuple[SequentialModel, ...] = ()

    @property
    def models(self) -> tuple[SequentialModel, ...]:
        """The model and the others."""
        return self.model, *self.others

    @property
    def attends(self) -> bool:
        """Whether all models have attention."""
        return all(model.attends for model in self.models)

    def predict(
        self,
        inputs: Iterable[str],
        *,
        history: str | None = None,
        top: int = 10,
        exclude_seen: bool = False,
        skip_unknown: bool = False,
        items: Path | None = None,
        blend: float | None = None,
    ) -> Iterator[Recommendation | Failure]:
        """The best next items of each history, in order.

        Args:
            inputs: histories: items in the order of time, separated by commas, or as a JSON list. One that cannot be
                used gives a `Failure`.
            history: a history in place of ``inputs``.
            top: the number of items to recommend.
            exclude_seen: recommend no item of the history.
            skip_unknown: pass over unknown items, instead of a failure.
            items: a table with titles of items; new ones are ranked by their titles.
            blend: the share of the neighbours' probability; None: the model's.

        Raises:
            UserError: the table cannot be used, or the model has no titles.
        """
        chosen = self if blend is None else replace(self, blend=blend)
        chosen = chosen if items is None else chosen.with_items(items)
        tables = chosen.tables()
        for group in groups(inputs if history is None else [history], doubling(_TOGETHER)):
            read = [chosen.parsed(item, skip_unknown=skip_unknown) for item in group]
            usable = [one for one in read if isinstance(one, np.ndarray)]
            scores = iter(chosen.scores(usable, tables) if usable else ())
            for item, one in zip(group, read, strict=True):
                yield one if isinstance(one, Failure) else chosen.best(item, one, next(scores), top, exclude_seen)

    def look(self, item: str, *, skip_unknown: bool = False) -> Recommendation:
        """Recommendations with the attention of the last item; ``skip_unknown`` as in `predict`.

        Raises:
            UserError: the history cannot be used, or a model has no attention.
        """
        if not self.attends:
            raise UserError(_NO_ATTENTION)
        history = self.parsed(item, skip_unknown=skip_unknown)
        if isinstance(history, Failure):
            raise UserError(history.error)
        result = self.best(item, history, self.scores([history])[0], 10, exclude_seen=not self.repeats)
        seen = history[-self.model.length :]
        labels = [one_line(self.catalogue.label(at)) for at in seen]
        starts = np.cumsum([0, *(len(label) + 3 for label in labels)])
        spans = [(int(start), int(start) + len(label)) for start, label in zip(starts, labels, strict=False)]
        marked = MarkedText(" · ".join(labels), spans, self.weights([history])[0], unit="item")
        return replace(result, items=tuple(self.catalogue.names[at] for at in seen), attention=marked)

    def parsed(self, item: str, *, skip_unknown: bool = False) -> np.ndarray | Failure:
        """The numbers of the items of an input; a Failure if it cannot be used."""
        try:
            names = json.loads(item) if item.lstrip().startswith("[") else item.split(",")
        except (ValueError, RecursionError) as error:
            return Failure(item, f"history: not a JSON list ({error}), got {item!r}")
        names = [compose(str(name).strip()) for name in names]
        names = [name for name in names if name]
        if not names:
            return Failure(item, f"history: expected items separated by commas, got {item!r}")
        unknown = [name for name in names if name not in self.catalogue.numbers]
        known = [self.catalogue.numbers[name] for name in names if name in self.catalogue.numbers]
        if unknown and not (skip_unknown and known):
            near = self.catalogue.near(unknown[0])
            hint = f"did you mean {near!r}?" if near else f"it knows {len(self.catalogue):,} items"
            more = "" if skip_unknown else "; --skip-unknown passes over unknown items"
            return Failure(item, f"history: the model does not know the item {unknown[0]!r}; {hint}{more}")
        return np.array(known, dtype=np.int64)

    def with_items(self, path: Path) -> Recommender:
        """The recommender with the new items of a table of titles. Raises UserError: it cannot be used."""
        if any(model.titles is None for model in self.models):
            raise UserError("--items: this model has no titles; train it with --data.titles")
        return replace(self, catalogue=self.catalogue.extended(read_titles(str(path))[0]))

    @torch.inference_mode()
    def tables(self) -> list[Tensor]:
        """The embeddings of all items, new ones included, ``(items, dim)``, of each model."""
        new = self.catalogue.titles[self.model.size :]
        bag = [torch.from_numpy(part).to(self.model.device) for part in self.catalogue.bag(new)] if new else []
        return [model.table(*bag) for model in self.models]

    @torch.inference_mode()
    def scores(self, histories: Sequence[np.ndarray], tables: Sequence[Tensor] | None = None) -> np.ndarray:
        """The log-probability of each item as the next one, float32 ``(n, items)``.

        An item number of −1 is passed over; a history without any known item makes all items equal.
        """
        known = [history[history >= 0][-self.model.length :] for history in histories]
        items, lengths = self._padded(known)
        every = zip(self.models, self.tables() if tables is None else tables, strict=True)
        logits = [model.scores(items, lengths.clamp(min=1), table).float() for model, table in every]
        mean = torch.stack([one.log_softmax(-1) for one in logits]).logsumexp(0) - math.log(len(logits))
        scores: np.ndarray = mean.cpu().numpy()
        scores[[not len(history) for history in known]] = -np.log(scores.shape[1])
        if self.blend:
            near = self.neighbours.scores(histories)
            near = np.pad(near, ((0, 0), (0, scores.shape[1] - near.shape[1])))
            near /= np.maximum(near.sum(1, keepdims=True), _LEAST)
            scores = np.log((1 - self.blend) * np.exp(scores) + self.blend * near + _LEAST)
        return scores

    def competing(self, scores: np.ndarray, histories: Sequence[np.ndarray]) -> np.ndarray:
        """``scores`` with −∞ for items of the history, unless items can be chosen again."""
        return scores if self.repeats else without_history(scores, histories)

    def weights(self, histories: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The weights of the last item of each history over those that the model read; see `SequentialModel.look`."""
        known = [history[-self.model.length :] for history in histories]
        items, lengths = self._padded(known)
        with torch.inference_mode():
            every = [model.look(items, lengths, table) for model, table in zip(self.models, self.tables(), strict=True)]
            rows = torch.stack(every).mean(0).cpu().numpy()
        return [row[: len(history)] for row, history in zip(rows, known, strict=True)]

    def best(self, item: str, history: np.ndarray, scores: np.ndarray, top: int, exclude_seen: bool) -> Recommendation:
        """The items with the highest scores."""
        scores = scores.copy()
        if exclude_seen:
            scores[history] = -np.inf
        order = np.argsort(-scores, kind="stable")[:top]
        names, titles = self.catalogue.names, self.catalogue.titles
        chosen = tuple(
            Candidate(names[at], float(np.exp(scores[at])), titles[at] if titles[at] != names[at] else "")
            for at in order
            if scores[at] > -np.inf
        )
        return Recommendation(item, chosen)

    def exportable(self) -> Exportable:
        """See `regard.tasks.task.Predictor`; the scores are without the neighbours.

        Raises:
            UserError: these are several models.
        """
        if self.others:
            raise several_models()
        size = self.model.size

        def sample(sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
            lengths = torch.full((sizes["batch"],), sizes["length"])
            lengths[1:] = (lengths[1:] + 1) // 2
            return torch.randint(0, size, (sizes["batch"], sizes["length"])), lengths

        notes = {
            "task": "recommend",
            "items": "items.json",
            "use": "numbers of items, padded on the right, and lengths",
        }
        inputs: dict[str, tuple[str | int, ...]] = {"items": ("batch", "length"), "lengths": ("batch",)}
        missing = f"the neighbours, whose share is {self.blend:g} (--model.blend)" if self.blend else ""
        limits = {"length": self.model.length}
        return Exportable(_Scores(self.model), inputs, sample, limits, notes, missing=missing)

    def _padded(self, histories: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        rows = [history if len(history) else np.zeros(1, np.int64) for history in histories]
        return pad([row.tolist() for row in rows], 0, self.model.device)


def without_history(scores: np.ndarray, histories: Sequence[np.ndarray]) -> np.ndarray:
    """``scores`` ``(n, items)`` with −∞ for the items of each history."""
    scores = scores.copy()
    for row, history in zip(scores, histories, strict=True):
        row[history[history >= 0]] = -np.inf
    return scores


class _Scores(nn.Module):
    """The model as it is exported."""

    def __init__(self, model: SequentialModel):
        super().__init__()
        self.model = model

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        return self.model.scores(items, lengths)
