"""Batches, loss and validation of matching images and texts, for `regard.training.loop.fit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.data.word_features import words_of
from regard.models.matching import Pairs
from regard.tasks.families.rank.captioned_sets import CaptionedSets
from regard.tasks.families.rank.contrast import contrastive, contrastive_of_all, of_hard_pairs, siblings, similar
from regard.tasks.families.rank.matcher import TOGETHER, Matcher
from regard.tasks.families.rank.matching_evaluation import similarities
from regard.tasks.families.rank.matching_settings import MatchTrainConfig
from regard.tasks.families.rank.scores import matching_places, mean_recall
from regard.training.defaults import known
from regard.training.metric import Metric
from regard.training.validation import Part


class MatchTrainable:
    """See `regard.training.trainable.BatchTrainable`.

    Which captions of an image are used is a pure function of seed, epoch and image.

    Args:
        matcher: has the model that is trained, as it is used after training.
        sets: the images with captions.
        predicted: the words that are predicted from an image.
        config: the settings of training.
        augment: changes images ``(n, 3, size, size)`` at random.
    """

    metrics = (
        Metric("loss", unit="nats per image", how="contrastive loss among all validation images"),
        Metric("recall", higher_is_better=True, unit="%",
               how="mean of R@1, R@5 and R@10 in both directions, before the attention of the words ranks again"),
    )  # fmt: skip

    def __init__(
        self,
        matcher: Matcher,
        sets: CaptionedSets,
        predicted: Sequence[str],
        config: MatchTrainConfig,
        augment: Callable[[Tensor], Tensor],
    ):
        self.matcher, self.sets, self.config, self.augment = matcher, sets, config, augment
        self.model = matcher.model
        self.each = min(config.captions, max(map(len, sets.train.texts)))
        self._words = [[words_of(text) for text in texts] for texts in sets.train.texts]
        self._epoch = 0
        numbers: dict[str, int] = {}
        self._numbers = [[numbers.setdefault(text, len(numbers)) for text in texts] for texts in sets.train.texts]
        self._predicted = {word: at for at, word in enumerate(predicted)}

    @property
    def described(self) -> str:
        """See `regard.tasks.task.TaskTrainable`."""
        return f"{len(self.sets.train):,} images with {self.sets.train.captions:,} captions"

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """See `regard.training.trainable.Learnable`."""
        self._epoch = epoch
        random, size = np.random.default_rng([self.config.seed, epoch]), known(self.config.batch)
        order = random.permutation(len(self.sets.train))
        batches = [order[at : at + size].tolist() for at in range(0, len(order), size)]
        # The loss of a small last batch has few wrong pairs.
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) < size // 2 else batches

    def features(self, model: nn.Module, rows: list[int]) -> Tensor:
        """See `regard.training.trainable.BatchTrainable`: all parts of `Pairs` of each image, in one row."""
        chosen = [self.chosen(row) for row in rows]
        texts = [self._words[row][at] for row, numbers in zip(rows, chosen, strict=True) for at in numbers]
        words, features = self.matcher.word_tensors(texts)
        images = self.augment(self.matcher.image_tensor(self.sets.train.pixels[rows]))
        pairs = model(images, words.unflatten(0, (len(rows), self.each)), features, self.said(rows))
        parts = [part for part in pairs if part is not None]
        if pairs.queries is not None:
            # In another process, captions may be longer.
            parts[4:6] = (F.pad(part, (0, 0, 0, self.matcher.longest - part.shape[1])) for part in parts[4:6])
        return torch.cat([part.reshape(len(rows), -1).float() for part in parts], 1)

    def batch_loss(self, features: Tensor, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.training.trainable.BatchTrainable`; an image counts as a token."""
        pairs = self._parts(features)
        numbers = [[self._numbers[row][at] for at in self.chosen(row)] for row in rows]
        right = siblings(torch.tensor(numbers, device=features.device))
        similarity = similar(pairs)
        loss = contrastive(similarity, right) + self.config.predict * pairs.words.mean()
        if pairs.keys is not None:
            loss = loss + of_hard_pairs(pairs, similarity, right, hard=self.config.hard)
        return loss * len(rows), len(rows)

    def chosen(self, row: int) -> list[int]:
        """The numbers of the captions of an image that are used in this epoch; the first ones again if it has fewer."""
        random = np.random.default_rng([self.config.seed, self._epoch, row, 1])
        order: list[int] = random.permutation(len(self._words[row])).tolist()
        return (order * self.each)[: self.each]

    def said(self, rows: list[int]) -> Tensor:
        """The share of each predicted word in all captions of each image, ``(len(rows), words)``; 0 if it has none."""
        counts = np.zeros((len(rows), len(self._predicted)), dtype=np.float32)
        for row, own in zip(counts, rows, strict=True):
            for text in self._words[own]:
                for word in {word.lower() for word in text}:
                    if word in self._predicted:
                        row[self._predicted[word]] += 1
        counts /= np.maximum(counts.sum(1, keepdims=True), 1)
        return torch.from_numpy(counts).to(self.model.device)

    def _parts(self, features: Tensor) -> Pairs:
        """`Pairs` from one row for each image; see `features`."""
        dim = self.model.image_vector.out_features
        shapes: list[tuple[int, ...]] = [(dim,), (self.each, dim)]
        if self.model.attends:
            places, words = len(self.model.position), self.matcher.longest
            shapes += [(places, dim), (places, dim), (words, dim), (words, dim)]
        sizes = [int(np.prod(shape)) for shape in shapes]
        *parts, words_lost = features.split([*sizes, 1], 1)
        tensors: list[Any] = [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]
        images, texts, keys, values, queries, expected = tensors + [None] * (6 - len(tensors))
        return Pairs(images, texts, keys, values, queries, expected, words_lost[:, 0])

    @property
    def validation_count(self) -> int:
        """See `regard.training.trainable.Learnable`."""
        return len(self.sets.valid)

    def evaluate(self, part: Part) -> dict[str, float]:
        """See `regard.training.trainable.Learnable`."""
        valid, images, texts = self.sets.valid, list[np.ndarray](), list[np.ndarray]()
        for rows in part.batches(TOGETHER):
            images.extend(self.matcher.image_vectors(valid.pixels[list(rows)]))
            texts.extend(self.matcher.text_vectors(valid.texts[row]) for row in rows)
        every = [valid.texts[row] for row in part.every]
        owners = np.repeat(np.arange(len(every)), [len(own) for own in every])
        gathered = part.gather(texts)
        all_images = torch.from_numpy(np.stack(part.gather(images)))
        all_texts = torch.from_numpy(np.concatenate(gathered))
        firsts = torch.from_numpy(np.stack([own[0] for own in gathered]))
        numbers: dict[str, int] = {}
        first_numbers = torch.tensor([numbers.setdefault(own[0], len(numbers)) for own in every])
        of_images, of_texts = partial(similarities, all_images, all_texts), partial(similarities, all_texts, all_images)
        places = matching_places(of_images, of_texts, owners, len(every))
        return {"loss": contrastive_of_all(all_images, firsts, first_numbers), "recall": mean_recall(places)}
