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
from regard.errors import UserError, require
from regard.tasks.translate.data import PairList, Rows, Text, drop_long, encode
from regard.tasks.translate.predictor import Translator, build
from regard.tasks.translate.settings import TranslateConfig
from regard.training.defaults import known
from regard.training.metric import Metric
from regard.training.validation import Part

_TRANSLATED = 1000
"""Maximum number of validation pairs that are translated for a text metric; the loss is over all pairs."""


class TranslateTask:
    """Translation for the training loop: see `regard.training.trainable.Trainable`."""

    metrics = (
        Metric("loss", unit="nats per target token", how="cross-entropy, EOS included, without label smoothing"),
        Metric("bleu", higher_is_better=True, how="sacreBLEU, 0 to 100, greedy decoding"),
        Metric("chrf", higher_is_better=True, how="chrF of sacreBLEU, 0 to 100, greedy decoding"),
        Metric("exact", higher_is_better=True, unit="%", how="translations that equal the reference, greedy decoding"),
    )

    def __init__(self, config: TranslateConfig, source: Tokenizer, target: Tokenizer, train: Rows, valid: PairList):
        torch.manual_seed(config.train.seed)
        self.config, self.train, self.valid = config, train, valid
        self.model = build(config, source, target)
        self.source, self.target = source, target
        self._valid_rows = encode(valid, source, target)
        self._lengths = train.lengths

    @classmethod
    def of_run(cls, run: Path, config: TranslateConfig, text: Text, notify: Callable[[str], None]) -> TranslateTask:
        """The task of a run's folder, over ``text``. Raises UserError: its tokenizers cannot be read."""
        source, target = (Tokenizer.load(run / f"{side}.tokenizer.json") for side in ("source", "target"))
        rows = drop_long(encode(text.train, source, target), config.data.max_length, notify)
        tokenizer = bleu_tokenizer([reference for _, reference in text.valid[:_TRANSLATED]])
        if config.train.metric != "loss" and tokenizer != "13a":
            notify(f"validation: BLEU with sacreBLEU's tokenizer {tokenizer}, since the references have no spaces")
        return cls(config, source, target, rows, text.valid)

    @property
    def described(self) -> str:
        """See `regard.tasks.running.Task`."""
        return f"{len(self.train.source):,} pairs"

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """See `regard.training.trainable.Trainable`."""
        return batches(self._lengths, tokens=known(self.config.train.tokens), seed=self.config.train.seed, epoch=epoch)

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.training.trainable.Trainable`."""
        return _loss(model, self.train, rows, self.device, self.config.train.label_smoothing)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.output_bias.device

    @property
    def validation_count(self) -> int:
        """See `regard.training.trainable.Trainable`."""
        return len(self.valid)

    def evaluate(self, part: Part) -> dict[str, float]:
        """See `regard.training.trainable.Trainable`; text metrics (greedy decoding) if train.metric is one of them."""
        translated = part.first(_TRANSLATED) if self.config.train.metric != "loss" else None
        figures = {"loss": mean_loss(self.model, self._valid_rows, self.device, part)}
        if translated is not None:
            translator = Translator(self.model, self.source, self.target)
            sources = [self.valid[row][0] for row in translated.rows]
            translations = translator.translate(sources, beam=1, tick=translated.tick)
            texts = translated.gather([translation.text for translation in translations])
            scores = text_scores(texts, [self.valid[row][1] for row in translated.every])
            figures |= {name: score for name, (score, _) in scores.items()}
        return figures


def mean_loss(model: nn.Module, rows: Rows, device: torch.device, part: Part | None = None) -> float:
    """Cross-entropy in nats per target token, EOS included, without label smoothing, over ``part`` (None: all)."""
    part = part or Part.complete(len(rows.source))
    total, tokens = 0.0, 0
    lengths = rows.lengths.tolist()
    order = sorted(part.rows, key=lambda i: lengths[i])
    with torch.no_grad():
        for batch in part.over(fill(order, lengths, 8192)):
            loss, count = _loss(model, rows, batch, device, 0.0)
            total, tokens = total + float(loss), tokens + count
    total, targets = part.sum(total, tokens)
    return total / max(1, targets)


def text_scores(
    texts: Sequence[str], references: Sequence[str], tokenize: str | None = None
) -> dict[str, tuple[float, str]]:
    """``bleu`` and ``chrf`` (0 to 100) and ``exact`` (per cent), each with a signature of how it was computed.

    BLEU and chrF are those of sacreBLEU on plain text (Post 2018, arXiv:1804.08771).

    Args:
        texts: the translations.
        references: a reference for each.
        tokenize: one of sacreBLEU's tokenizers for BLEU; None: `bleu_tokenizer` chooses one.

    Raises:
        UserError: there is no such tokenizer, or a package or model that it needs is missing.
    """
    metrics: Any = require("sacrebleu.metrics", "text", "scoring translations")
    tokenizer = tokenize or bleu_tokenizer(references)
    if tokenizer not in metrics.BLEU.TOKENIZERS:
        raise UserError(f"--tokenize: expected one of {', '.join(metrics.BLEU.TOKENIZERS)}, got {tokenizer!r}")
    scores = {}
    try:
        bleu = metrics.BLEU(tokenize=tokenizer)
        words = max((len(bleu.tokenizer(reference).split()) for reference in references), default=0)
        score = float(bleu.corpus_score(list(texts), [list(references)]).score)
    except (Exception, SystemExit) as error:  # the tokenizer needs a package or a model that is missing
        reason = " ".join(str(error).split()) or repr(error)
        raise UserError(
            f"--tokenize: {tokenizer} cannot be used ({reason}); "
            "pip install 'sacrebleu[ja,ko]' sentencepiece, or use char"
        ) from error
    note = "" if words >= 4 else "; no reference has four words, so BLEU is meaningless: see chrf and exact"
    scores["bleu"] = (score, str(bleu.get_signature()) + note)
    chrf = metrics.CHRF()
    scores["chrf"] = (float(chrf.corpus_score(list(texts), [list(references)]).score), str(chrf.get_signature()))
    same = sum(text == reference for text, reference in zip(texts, references, strict=True))
    scores["exact"] = (100.0 * same / max(1, len(texts)), "per cent of translations that equal the reference")
    return scores


def bleu_tokenizer(references: Sequence[str]) -> str:
    """The tokenizer of sacreBLEU that suits these references.

    If more than half of the letters are of a language without spaces between words: ``zh`` for Chinese, and ``char``
    for Japanese, Thai, Lao, Khmer, Burmese and Tibetan. Otherwise sacreBLEU's default, ``13a``.
    """
    letters = [ord(letter) for text in references for letter in text if letter.isalpha()]
    han = sum(0x3400 <= code <= 0x9FFF or 0x20000 <= code <= 0x3FFFF for code in letters)
    kana = sum(0x3040 <= code <= 0x30FF for code in letters)
    others = sum(0xE00 <= code <= 0x109F or 0x1780 <= code <= 0x17FF for code in letters)
    if 2 * (han + kana + others) <= len(letters):
        return "13a"
    return "zh" if han > 10 * kana and han > others else "char"


def _loss(model: nn.Module, data: Rows, rows: list[int], device: torch.device, smoothing: float) -> tuple[Tensor, int]:
    source, lengths = pad([data.source[i] for i in rows], PAD, device)
    target, target_lengths = pad([[BOS, *data.target[i]] for i in rows], PAD, device)
    return model(source, lengths, target, target_lengths, smoothing), sum(len(data.target[i]) for i in rows)
