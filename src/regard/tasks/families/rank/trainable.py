"""Batches, loss and validation of recommendation, for `regard.training.loop.fit`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from regard.data.batching import batches
from regard.errors import UserError
from regard.tasks.families.rank.histories import HistorySets
from regard.tasks.families.rank.predictor import Recommender
from regard.tasks.families.rank.scores import CUTOFF, hit_rate, ndcg, ranks, reciprocal
from regard.tasks.families.rank.settings import RecommendTrainConfig
from regard.training.defaults import known
from regard.training.metric import Metric
from regard.training.validation import Part

_TOGETHER = 128
"""The number of choices that are ranked together."""

_AMONG = "the item among all others"
METRICS = (
    Metric("loss", unit="nats per choice", how="cross-entropy over all items"),
    Metric("hr10", higher_is_better=True, how=f"share of choices with {_AMONG} in the first ten"),
    Metric("ndcg10", higher_is_better=True, how=f"NDCG at 10 of {_AMONG}"),
    Metric("mrr", higher_is_better=True, how=f"mean reciprocal rank of {_AMONG}"),
)


class RecommendTrainable:
    """See `regard.training.trainable.Trainable`.

    A history that is longer than the model reads is divided into windows, so that all of it is learned. Beginnings and
    negatives are pure functions of seed, epoch and history.

    Args:
        recommender: has the model that is trained, as it is used after training.
        sets: the histories.
        config: the settings of training.

    Raises:
        UserError: no user has two items to train on.
    """

    metrics = METRICS

    def __init__(self, recommender: Recommender, sets: HistorySets, config: RecommendTrainConfig):
        self.recommender, self.sets, self.config = recommender, sets, config
        self.model = recommender.model
        self._items = sets.divided.histories.items
        self._spans = _windows(sets.divided.histories.bounds[:-1], sets.divided.ends, self.model.length)
        if config.prefixes == "every":
            self._spans = _beginnings(self._spans)
        if not len(self._spans):
            raise UserError("data.train: no user has two items to train on")
        self._epoch_spans, self._epoch = self._spans, 0

    @property
    def described(self) -> str:
        """See `regard.tasks.task.TaskTrainable`."""
        histories = self.sets.divided.histories
        return f"{len(histories):,} histories of {len(histories.names):,} items in {len(self._spans):,} windows"

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """See `regard.training.trainable.Trainable`."""
        self._epoch, self._epoch_spans = epoch, self._spans
        if self.config.prefixes == "random":
            random = np.random.default_rng([self.config.seed, epoch, 1])
            start, end = self._spans.T
            self._epoch_spans = np.stack([start, random.integers(start + 2, end + 1)], 1)
        lengths = self._epoch_spans[:, 1] - self._epoch_spans[:, 0] - 1
        sides = np.stack([lengths, np.zeros_like(lengths)], 1)
        return batches(sides, tokens=known(self.config.tokens), seed=self.config.seed, epoch=epoch)

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.training.trainable.Trainable`; a choice counts as a token."""
        device, spans = self.model.device, self._epoch_spans[rows]
        lengths = spans[:, 1] - spans[:, 0] - 1
        places = np.arange(lengths.max())[None]
        inside = places < lengths[:, None]
        at = np.where(inside, spans[:, :1] + places, 0)
        items, wanted = self._items[at], np.where(inside, self._items[at + 1], -1)
        if self.config.prefixes == "every":
            wanted[places < lengths[:, None] - 1] = -1
        negatives = None
        if self.config.loss == "sampled":
            size, count = self.model.size, self.config.negatives
            seeds = ([self.config.seed, self._epoch, row] for row in rows)
            drawn = np.stack([np.random.default_rng(seed).integers(0, size, count) for seed in seeds])
            negatives = torch.from_numpy(drawn).to(device)
        tensors = (torch.from_numpy(array).to(device) for array in (items, lengths, wanted))
        loss = model(*tensors, negatives, self.config.label_smoothing)
        return loss, int((wanted >= 0).sum())

    @property
    def validation_count(self) -> int:
        """See `regard.training.trainable.Trainable`."""
        return len(self.sets.valid)

    def evaluate(self, part: Part) -> dict[str, float]:
        """See `regard.training.trainable.Trainable`."""
        total, known_targets, places = 0.0, 0, list[np.ndarray]()
        tables = self.recommender.tables()
        for rows in part.batches(_TOGETHER):
            before, targets = self.sets.valid.before(rows), self.sets.valid.targets[list(rows)]
            scores = self.recommender.scores(before, tables)
            has = targets >= 0
            total -= float(scores[np.flatnonzero(has), targets[has]].sum())
            known_targets += int(has.sum())
            places.append(ranks(self.recommender.competing(scores, before), targets))
        own = np.concatenate([*places, np.empty(0, np.int64)])
        measured = [measure(own) * len(own) if len(own) else 0.0 for measure in _MEASURES]
        total, count, every, *sums = part.sum(total, known_targets, len(own), *measured)
        names = ("hr10", "ndcg10", "mrr")
        return {"loss": total / max(1, count)} | {n: one / max(1, every) for n, one in zip(names, sums, strict=True)}


_MEASURES = (lambda places: hit_rate(places, CUTOFF), lambda places: ndcg(places, CUTOFF), reciprocal)


def _windows(starts: np.ndarray, ends: np.ndarray, length: int) -> np.ndarray:
    """Where each window begins and ends, int64 ``(n, 2)``; a window shares its first item with the one before it."""
    spans = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        while end - start > 1:
            spans.append((max(start, end - length - 1), end))
            end = spans[-1][0] + 1
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def _beginnings(spans: np.ndarray) -> np.ndarray:
    """Every beginning of at least two items of each window, int64 ``(n, 2)``."""
    counts = spans[:, 1] - spans[:, 0] - 1
    first = np.repeat(spans[:, 0], counts)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([first, first + 2 + number], 1)
