"""Recommendation: how `regard.tasks.running` trains, scores and shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from regard.data import shop
from regard.data.neighbours import Neighbours
from regard.errors import UserError
from regard.models.sequential import SequentialModel
from regard.tasks.families.rank.evaluation import scores_of
from regard.tasks.families.rank.histories import (
    Cases,
    HistorySets,
    fingerprint,
    known_cases,
    load_catalogue,
    read_file,
    read_sets,
    save_catalogue,
)
from regard.tasks.families.rank.predictor import Recommender
from regard.tasks.families.rank.trainable import RecommendTrainable
from regard.tasks.recommend.settings import RecommendConfig
from regard.tasks.results import Scores
from regard.tasks.task import Notify, Task, check_fitting
from regard.training import checkpoint as checkpoints
from regard.training.defaults import bounded, epochs, known
from regard.training.fingerprint import Fingerprint, check_validation

_NEIGHBOURS = "neighbours.safetensors"
_FULL_LOSS = 5000
"""The largest number of items for which the loss is over all of them by default."""
_BATCHES_PER_EPOCH = 32


class Recommend(Task[RecommendConfig, HistorySets, Recommender]):
    """See `regard.tasks.task.Task`."""

    unit = "choices"

    def read(self, config: RecommendConfig, notify: Notify) -> HistorySets:
        """See `Task`."""
        return read_sets(config.data, config.train.seed, notify)

    def fingerprint(self, sets: HistorySets) -> Fingerprint:
        """See `Task`."""
        return fingerprint(sets)

    def defaults(self, config: RecommendConfig, sets: HistorySets) -> Mapping[str, object]:
        """Settings by the numbers of choices and items, and by the lengths of histories."""
        histories = sets.divided.histories
        lengths = sets.divided.ends - histories.bounds[:-1]
        count = int(lengths.sum())
        tokens = config.train.tokens or bounded(count / _BATCHES_PER_EPOCH, 512, 8192)
        return {
            "model.dim": 32 if count < 20_000 else 64 if count < 1_000_000 else 128,
            "model.length": bounded(np.quantile(lengths, 0.95), 10, 200),
            "train.loss": "full" if len(histories.names) <= _FULL_LOSS else "sampled",
            "train.tokens": tokens,
            "train.epochs": epochs(400 + 12 * math.sqrt(count), count / tokens),
        }

    def prepare(self, config: RecommendConfig, sets: HistorySets, folder: Path, notify: Notify) -> None:
        """Write the items and their neighbours."""
        save_catalogue(folder, sets)
        Neighbours.of(sets.divided.histories, sets.divided.ends).save(folder / _NEIGHBOURS)

    def untrained(self, config: RecommendConfig, run: Path) -> Recommender:
        """A new model with random weights, with the items of a run's folder."""
        catalogue, model = load_catalogue(run), config.model
        words = offsets = None
        if model.titles and catalogue.words:
            words, offsets = (torch.from_numpy(part) for part in catalogue.bag(catalogue.titles))
        made = SequentialModel(
            len(catalogue), dim=known(model.dim), layers=model.layers, heads=model.heads, length=known(model.length),
            words=words, offsets=offsets, vocabulary=len(catalogue.words), attention=model.attention,
            positions=model.positions, gated=model.gated, dropout=model.dropout,
            item_dropout=model.item_dropout if words is not None else 0.0,
        )  # fmt: skip
        neighbours = Neighbours.load(run / _NEIGHBOURS)
        return Recommender(made, catalogue, neighbours, model.blend, config.data.repeats == "keep")

    def trainable(self, config: RecommendConfig, run: Path, sets: HistorySets, notify: Notify) -> RecommendTrainable:
        """See `Task`."""
        torch.manual_seed(config.train.seed)
        return RecommendTrainable(self.untrained(config, run), sets, config.train)

    def predictor(self, config: RecommendConfig, run: Path, checkpoint: str) -> Recommender:
        """See `Task`."""
        recommender = self.untrained(config, run)
        checkpoints.fill(recommender.model, run, checkpoint)
        recommender.model.eval()
        return recommender

    def joined(self, predictors: Mapping[Path, Recommender]) -> Recommender:
        """See `Task`: a recommender with the mean of their probabilities."""
        check_fitting({folder: _fitting(one) for folder, one in predictors.items()})
        first, *others = predictors.values()
        return replace(first, others=tuple(one.model for one in others))

    def evaluate(
        self,
        recommender: Recommender,
        config: RecommendConfig,
        run: Path,
        path: str | None,
        notify: Notify,
        *,
        protocol: str = "full",
        blend: float | None = None,
    ) -> Scores:
        """HR, NDCG, MRR and coverage; those of the neighbours; for the built-in shop also the best possible.

        Raises:
            UserError: the histories cannot be used, or the run's own have changed since training.
        """
        cases = self._cases(recommender, config, run, path, notify)
        if blend is not None:
            recommender = replace(recommender, blend=blend)
        return scores_of(recommender, cases, sampled=protocol != "full")

    def samples(self, recommender: Recommender, config: RecommendConfig, sets: HistorySets) -> Sequence[str]:
        """A table of histories with what is recommended and what was chosen."""
        rows = np.arange(len(sets.valid))[:: max(1, len(sets.valid) // 5)][:5].tolist()
        before, label = sets.valid.before(rows), recommender.catalogue.label
        table = [("history", "recommended", "chosen"), ("---",) * 3]
        for history, scores, row in zip(before, recommender.scores(before), rows, strict=True):
            best = recommender.best("", history, scores, 3, exclude_seen=not recommender.repeats)
            target = int(sets.valid.targets[row])
            history_text = ", ".join(label(at) for at in history[-6:] if at >= 0)
            chosen = label(target) if target >= 0 else "(unknown)"
            table.append((history_text, ", ".join(one.label for one in best.candidates), chosen))
        return [f"| {' | '.join(cell.replace('|', '¦') for cell in row)} |" for row in table]

    def example(self, config: RecommendConfig) -> str:
        """See `Task`."""
        return '"item,item,item"'

    def inputs(self, config: RecommendConfig, folder: Path) -> list[str]:
        """Three histories of customers of the built-in shop who are not in the training data."""
        histories = shop.customers(3, config.train.seed + 1).histories
        parts = zip(histories.bounds[:-1], histories.bounds[1:], strict=True)
        return [",".join(histories.names[at] for at in histories.items[start:end]) for start, end in parts]

    def finish_demo(self, recommender: Recommender, config: RecommendConfig, run: Path, console: Console) -> str:
        """Recommend for the example inputs, and draw the attention of the first."""
        for number, item in enumerate(self.inputs(config, run)):
            shown = recommender.look(item)
            shown.show(console)
            console.print()
            if number == 0:
                shown.save(run / "history.png")
        return f"history    {run / 'history.png'}"

    def _cases(
        self, recommender: Recommender, config: RecommendConfig, run: Path, path: str | None, notify: Notify
    ) -> Cases:
        if path is not None:
            return known_cases(read_file(path, config.data, notify), recommender.catalogue.names, path, notify)
        sets = self.read(config, notify)
        check_validation(run, fingerprint(sets))
        if config.data.split == "none" and config.data.valid is None:
            raise UserError(f"{run}: was trained on everything; name other histories to score on with --data")
        return sets.test if len(sets.test) else sets.valid


def _fitting(recommender: Recommender) -> dict[str, object]:
    """What recommenders that are used together need to have the same of, by a name for messages."""
    near = recommender.neighbours
    return {
        "items": recommender.catalogue,
        "training histories": (near.others.tobytes(), near.weights.tobytes()),
        "settings of data.repeats": recommender.repeats,
        "settings of model.blend": recommender.blend,
        "settings of model.length": recommender.model.length,
    }
