"""Translation: how `regard.tasks.running` trains, scores and shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console

from regard.data import cldr
from regard.tasks.families.seq2seq import evaluation
from regard.tasks.families.seq2seq.data import PairData, PairList
from regard.tasks.families.seq2seq.defaults import by_size
from regard.tasks.families.seq2seq.predictor import Search
from regard.tasks.families.seq2seq.results import save_alignments
from regard.tasks.families.seq2seq.scores import bleu_and_chrf, bleu_tokenizer, exact
from regard.tasks.families.seq2seq.task import TextToText
from regard.tasks.families.seq2seq.trainable import DECODED, LOSS, Seq2SeqTrainable
from regard.tasks.results import Score, Scores
from regard.tasks.task import Notify
from regard.tasks.translate.predictor import Translator
from regard.tasks.translate.settings import TranslateConfig
from regard.training.metric import Metric


class Translate(TextToText[TranslateConfig, Translator]):
    """See `regard.tasks.families.seq2seq.task.TextToText`."""

    metrics = (
        LOSS,
        Metric("bleu", higher_is_better=True, how="sacreBLEU, 0 to 100, greedy decoding"),
        Metric("chrf", higher_is_better=True, how="chrF of sacreBLEU, 0 to 100, greedy decoding"),
        Metric("exact", higher_is_better=True, unit="%", how="translations that equal the reference, greedy decoding"),
    )
    predictor_type = Translator
    builtin_pairs = "the built-in English-French corpus, made from the Unicode CLDR"
    data_name = "parallel text"

    def builtin(self, config: TranslateConfig, split: Literal["train", "valid", "test"]) -> PairList:
        """The pairs of the built-in corpus."""
        count = config.data.builtin_pairs if split == "train" else 1000
        return cldr.corpus(count, seed=config.train.seed, split=split)

    def text_scores(self, texts: Sequence[str], pairs: PairList) -> Mapping[str, float]:
        """BLEU, chrF and exact match."""
        return {name: score.value for name, score in scores(texts, pairs).items()}

    def defaults(self, config: TranslateConfig, pairs: PairData) -> Mapping[str, object]:
        """Settings by the number of pairs and the amount of text.

        The number of steps grows with the square root of the number of pairs, from 1,000 for the smallest data to 2,600
        for 30,000 pairs, as many as those of Multi30k needed (benchmarks/results/multi30k.txt); benchmarks/defaults.py
        measures the result.
        """
        count = len(pairs.train)
        dim = 128 if count < 1000 else 256 if count < 100_000 else 512
        return by_size(config, pairs.train, dim=dim, steps=1000.0 + 9 * math.sqrt(count))

    def trainable(self, config: TranslateConfig, run: Path, pairs: PairData, notify: Notify) -> Seq2SeqTrainable:
        """See `Task`."""
        trained = super().trainable(config, run, pairs, notify)
        tokenizer = bleu_tokenizer([reference for _, reference in pairs.valid[:DECODED]])
        if config.train.metric != "loss" and tokenizer != "13a":
            notify(f"validation: BLEU with sacreBLEU's tokenizer {tokenizer}, since the references have no spaces")
        return trained

    def evaluate(
        self,
        translator: Translator,
        config: TranslateConfig,
        run: Path,
        path: str | None,
        notify: Notify,
        *,
        beam: int = 5,
        on_bad_line: str | None = None,
        output: Path | None = None,
        tokenize: str | None = None,
    ) -> Scores:
        """Scores on parallel text; ``output`` is a file for the translations.

        Raises:
            UserError: the text cannot be used, or none is named for a run that was trained on the user's own.
        """
        pairs = self.evaluation_pairs(config, path, on_bad_line, notify)
        texts, others = evaluation.outputs(translator, pairs, Search(beam), path=output, unit="sentences")
        return scores(texts, pairs, tokenize) | others

    def inputs(self, config: TranslateConfig, folder: Path) -> list[str]:
        """Three sentences of the test split."""
        return cldr.examples()

    def finish_demo(self, translator: Translator, config: TranslateConfig, run: Path, console: Console) -> str:
        """Translate three sentences of the test split, and draw their alignments."""
        translations = list(translator.outputs(self.inputs(config, run)))
        for translation in translations:
            translation.show(console)
            console.print()
        return save_alignments(translations, run)


def scores(texts: Sequence[str], pairs: PairList, tokenize: str | None = None) -> Scores:
    """BLEU, chrF and exact match of translations; ``tokenize``: see `bleu_and_chrf`."""
    references = [reference for _, reference in pairs]
    same = Score(exact(texts, references), "per cent of translations that equal the reference")
    return bleu_and_chrf(texts, references, tokenize) | {"exact": same}
