"""Training and evaluating a translator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regard.data.batching import batches, fill
from regard.data.padding import pad
from regard.data.tokenizer import BOS, PAD, Tokenizer
from regard.errors import require
from regard.tasks.translate.config import TranslateConfig
from regard.tasks.translate.data import Pairs, Rows, Text, drop_long, encode
from regard.tasks.translate.model import Translator, build

_VALIDATED = 1000
"""Most validation pairs that are decoded for a text metric; the loss is over all."""


class TranslateTask:
    """What the training loop asks of translation: see `regard.train.loop.Trainable`."""

    def __init__(self, config: TranslateConfig, source: Tokenizer, target: Tokenizer, train: Rows, valid: Pairs):
        torch.manual_seed(config.train.seed)
        self.config, self.train, self.valid = config, train, valid
        self.model = build(config, source, target)
        self.source, self.target = source, target
        self._valid_rows = encode(valid, source, target)
        self._lengths = train.lengths

    @classmethod
    def of_run(cls, run: Path, config: TranslateConfig, text: Text, tell: Callable[[str], None]) -> TranslateTask:
        """The task of a run's folder, over ``text``. Raises UserError: its tokenizers cannot be read."""
        source, target = (Tokenizer.load(run / f"{side}.tokenizer.json") for side in ("source", "target"))
        rows = drop_long(encode(text.train, source, target), config.data.max_length, tell)
        return cls(config, source, target, rows, text.valid)

    @property
    def described(self) -> str:
        """See `regard.tasks.running.Task`."""
        return f"{len(self.train.source):,} pairs"

    def batches(self, epoch: int) -> list[list[int]]:
        """See `regard.train.loop.Trainable`."""
        return batches(self._lengths, tokens=self.config.train.tokens, seed=self.config.train.seed, epoch=epoch)

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.train.loop.Trainable`."""
        return _loss(model, self.train, rows, self.device, self.config.train.label_smoothing)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.output_bias.device

    def evaluate(self) -> dict[str, float]:
        """See `regard.train.loop.Trainable`; text metrics, by greedy decoding, only where one decides."""
        figures = {"loss": mean_loss(self.model, self._valid_rows, self.device)}
        if self.config.train.metric != "loss":
            pairs = self.valid[:_VALIDATED]
            found = Translator(self.model, self.source, self.target).translate([s for s, _ in pairs], beam=1)
            scores = text_scores([one.text for one in found], [target for _, target in pairs])
            figures |= {name: score for name, (score, _) in scores.items()}
        return figures


def mean_loss(model: nn.Module, rows: Rows, device: torch.device) -> float:
    """Cross-entropy in nats a target token, the end sign included, without label smoothing."""
    total, tokens = 0.0, 0
    order = sorted(range(len(rows.source)), key=lambda i: rows.lengths[i]) if len(rows.source) else []
    with torch.no_grad():
        for batch in fill(order, rows.lengths, 8192):
            loss, count = _loss(model, rows, batch, device, 0.0)
            total, tokens = total + float(loss), tokens + count
    return total / max(1, tokens)


def text_scores(texts: Sequence[str], references: Sequence[str]) -> dict[str, tuple[float, str]]:
    """``bleu``, ``chrf`` (0 to 100) and ``exact`` (per cent), each with the signature that says how it was computed.

    BLEU and chrF are sacreBLEU's on untokenised text (Post 2018, arXiv:1804.08771).
    """
    metrics: Any = require("sacrebleu.metrics", "text", "scoring translations")
    found = {}
    for name, metric in (("bleu", metrics.BLEU()), ("chrf", metrics.CHRF())):
        score = metric.corpus_score(list(texts), [list(references)]).score
        found[name] = (float(score), str(metric.get_signature()))
    same = sum(text == reference for text, reference in zip(texts, references, strict=True))
    found["exact"] = (
        100.0 * same / max(1, len(texts)),
        "share of translations equal to the reference, character by character",
    )
    return found


def _loss(model: nn.Module, data: Rows, rows: list[int], device: torch.device, smoothing: float) -> tuple[Tensor, int]:
    source, lengths = pad([data.source[i] for i in rows], PAD, device)
    target, target_lengths = pad([[BOS, *data.target[i]] for i in rows], PAD, device)
    return model(source, lengths, target, target_lengths, smoothing), sum(len(data.target[i]) for i in rows)
