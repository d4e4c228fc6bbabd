"""Pretraining on masked words, for `regard.training.loop.fit`."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.data import split
from regard.data.batching import Batches, batches, fill
from regard.data.masking import Masked, Masking
from regard.errors import UserError
from regard.models.masked import MaskedModel, TokenEncoder
from regard.training.metric import Metric
from regard.training.pretrain_config import PretrainConfig
from regard.training.validation import Part

_HELD_OUT = 0.02
_MOST_HELD_OUT = 2000
"""The texts that are set aside to measure what is restored: this share of them, at most."""

_TRAIN, _VALID = range(2)

Inputs = Callable[[Sequence[np.ndarray]], tuple[Tensor, ...]]
"""Makes the tensors that an encoder takes from texts as tokens."""


class MaskedTexts:
    """Texts whose masked words a model restores: see `regard.training.trainable.Trainable`.

    Which words are masked is a pure function of the seed, the epoch and the text, so that it does not depend on the
    number of processes, nor on whether a run was resumed.

    Args:
        encoder: what is pretrained.
        texts: the tokens of each text, int ``(n,)``; equal texts are set aside together.
        masking: how they are masked.
        inputs: makes the encoder's inputs.
        config: the settings of pretraining.
        window: the largest number of tokens that are read together; longer texts are divided.
        seed: of the masks, the order and the texts that are set aside.
        first: see `regard.models.masked.MaskedModel`.
        unit: what is masked, in the plural: ``"words"``.

    Raises:
        UserError: there are fewer than two different texts with a word that can be restored.
    """

    def __init__(
        self,
        encoder: TokenEncoder,
        texts: Sequence[np.ndarray],
        masking: Masking,
        inputs: Inputs,
        config: PretrainConfig,
        *,
        window: int,
        seed: int,
        first: int = 0,
        unit: str = "words",
    ):
        self.config, self.unit = config, unit
        self._masking, self._inputs, self._seed = masking, inputs, seed
        numbers: dict[bytes, int] = {}
        groups: list[int] = []
        parts: list[np.ndarray] = []
        for text in texts:
            usable = [part for part in _divided(text, window) if masking.usable(part)]
            if usable:
                groups += [numbers.setdefault(text.tobytes(), len(numbers))] * len(usable)
                parts += usable
        if len(numbers) < 2:
            raise UserError(
                f"pretrain: needs at least two different texts with {unit} of the vocabulary, got {len(numbers)}"
            )
        held_out = split.by_group(np.array(groups), share=_HELD_OUT, most=_MOST_HELD_OUT, seed=seed)
        self.train = list(itertools.compress(parts, ~held_out))
        self.valid = list(itertools.compress(parts, held_out))
        self.held_out = len(set(itertools.compress(groups, held_out)))
        counts = np.zeros(int(masking.targets.max()) + 1, dtype=np.int64)
        for part in self.train:
            targets = masking.targets[part]
            counts += np.bincount(targets[targets >= 0], minlength=len(counts))
        self.model = MaskedModel(encoder, torch.from_numpy(counts), first)
        self._frequent = int(counts.argmax())
        self._lengths = np.array([(len(part), 0) for part in self.train])
        self.metrics = (
            Metric("loss", unit=f"nats per masked {unit[:-1]}", how="cross-entropy"),
            Metric("accuracy", higher_is_better=True, unit="%", how=f"masked {unit} that are restored"),
            Metric("most_frequent", unit="%", how=f"the accuracy of always guessing the most frequent of the {unit}"),
        )

    @property
    def digest(self) -> str:
        """Identifies the texts."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (*self.train, *self.valid):
            digest.update(part.tobytes())
            digest.update(b"\n")
        return digest.hexdigest()

    def batches(self, epoch: int) -> Batches:
        """See `regard.training.trainable.Trainable`; the numbers of texts in epoch e begin at e times their count."""
        order = batches(self._lengths, tokens=self.config.tokens, seed=self._seed, epoch=epoch)
        return Batches(order.values + epoch * len(self.train), order.starts, order.ends)

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.training.trainable.Trainable`; a masked word counts as a token."""
        texts = [self._masked(self.train[row % len(self.train)], _TRAIN, row) for row in rows]
        inputs, places, targets = self._tensors(texts)
        return model(inputs, *places, targets), len(targets)

    @property
    def validation_count(self) -> int:
        """See `regard.training.trainable.Trainable`."""
        return len(self.valid)

    def evaluate(self, part: Part) -> dict[str, float]:
        """See `regard.training.trainable.Trainable`."""
        loss, right, frequent, count = 0.0, 0, 0, 0
        lengths = [(len(text), 0) for text in self.valid]
        order = sorted(part.rows, key=lambda row: lengths[row])
        for rows in part.over(fill(order, lengths, self.config.tokens)):
            inputs, places, targets = self._tensors([self._masked(self.valid[row], _VALID, row) for row in rows])
            logits = self.model.logits(inputs, *places)
            loss += float(F.cross_entropy(logits, targets, reduction="sum"))
            right += int((logits.argmax(-1) == targets).sum())
            frequent += int((targets == self._frequent).sum())
            count += len(targets)
        total, *shares, masked = part.sum(loss, right, frequent, count)
        accuracy, by_frequency = (100 * share / masked for share in shares)
        return {"loss": total / masked, "accuracy": accuracy, "most_frequent": by_frequency}

    def _masked(self, text: np.ndarray, part: int, row: int) -> Masked:
        return self._masking.mask(text, np.random.default_rng([self._seed, part, row]))

    def _tensors(self, texts: Sequence[Masked]) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor], Tensor]:
        """The inputs of the encoder, the text and the place of each masked token, and the tokens to restore."""
        rows = np.repeat(np.arange(len(texts)), [len(text.places) for text in texts])
        places, targets = (np.concatenate(parts) for parts in zip(*(text[1:] for text in texts), strict=True))
        device = self.model.bias.device
        row, place, target = (torch.from_numpy(part.astype(np.int64)).to(device) for part in (rows, places, targets))
        inputs = tuple(tensor.to(device) for tensor in self._inputs([text.tokens for text in texts]))
        return inputs, (row, place), target


def _divided(text: np.ndarray, window: int) -> list[np.ndarray]:
    return [text[at : at + window] for at in range(0, len(text), window)]
