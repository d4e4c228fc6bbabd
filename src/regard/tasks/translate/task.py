"""Translation: how `regard.tasks.running` trains, scores and shows it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from regard.data import cldr
from regard.data.lines import one_line
from regard.errors import UserError
from regard.explain.page import save_page
from regard.files import write_text
from regard.tasks.results import Score, Scores
from regard.tasks.task import Notify, Task
from regard.tasks.translate import data
from regard.tasks.translate.defaults import defaults
from regard.tasks.translate.predictor import Translation, Translator, load
from regard.tasks.translate.settings import TranslateConfig
from regard.tasks.translate.trainable import TranslateTask, mean_loss, text_scores
from regard.training.fingerprint import Fingerprint


class Translate(Task[TranslateConfig, data.Text, Translator]):
    """See `regard.tasks.task.Task`."""

    unit = "tokens"

    def read(self, config: TranslateConfig, notify: Notify) -> data.Text:
        """See `Task`."""
        return data.read(config.data, config.train.seed, notify)

    def fingerprint(self, text: data.Text) -> Fingerprint:
        """See `Task`."""
        return data.fingerprint(text)

    def defaults(self, config: TranslateConfig, text: data.Text) -> Mapping[str, object]:
        """See `Task`."""
        return defaults(config, text)

    def prepare(self, config: TranslateConfig, text: data.Text, folder: Path, notify: Notify) -> None:
        """Train the tokenizers."""
        data.save_tokenizers(folder, *data.train_tokenizers(text.train, config.tokenizer, notify))

    def trainable(self, config: TranslateConfig, run: Path, text: data.Text, notify: Notify) -> TranslateTask:
        """See `Task`."""
        return TranslateTask.of_run(run, config, text, notify)

    def predictor(self, config: TranslateConfig, run: Path, checkpoint: str) -> Translator:
        """See `Task`."""
        return load(run, config, checkpoint)

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
        pairs: data.PairList
        if path is not None:
            reading: Any = {} if on_bad_line is None else {"on_bad_line": on_bad_line}
            pairs = data.read_pairs(path, replace(config.data, **reading), notify)
        elif config.data.train is None:
            pairs = cldr.corpus(1000, seed=config.train.seed, split="test")
        else:
            raise UserError("--data: name the parallel text to evaluate on")
        began = time.perf_counter()
        texts = [one.text for one in translator.translate([source for source, _ in pairs], beam=beam)]
        seconds = time.perf_counter() - began
        if output is not None:
            write_translations(texts, output)
        scored = text_scores(texts, [target for _, target in pairs], tokenize)
        scores = {name: Score(*score) for name, score in scored.items()}
        rows = data.encode(pairs, translator.source, translator.target)
        loss = mean_loss(translator.model, rows, translator.model.output_bias.device)
        scores["loss"] = Score(loss, "cross-entropy in nats per target token, EOS included", 4)
        speed = f"beam {beam}, {len(pairs) / seconds:,.0f} sentences per second"
        scores["sentences"] = Score(float(len(pairs)), speed, 0)
        return scores

    def samples(self, translator: Translator, config: TranslateConfig, text: data.Text) -> Sequence[str]:
        """A table of translations."""
        return translator.samples(text.valid)

    def example(self, config: TranslateConfig) -> str:
        """See `Task`."""
        return '"your text"'

    def inputs(self, config: TranslateConfig, folder: Path) -> list[str]:
        """Three sentences of the test split."""
        return cldr.examples()

    def finish_demo(self, translator: Translator, config: TranslateConfig, run: Path, console: Console) -> str:
        """Translate three sentences of the test split, and draw the alignment in which most words cross."""
        translations = list(translator.translate(self.inputs(config, run), beam=5))
        for translation in translations:
            translation.show(console)
            console.print()
        max(translations, key=_crossings).save(run / "alignment.png")
        alignments = [translation.alignment for translation in translations if translation.alignment is not None]
        save_page(alignments, run / "alignment.html", title="regard")
        return f"alignment  {run / 'alignment.png'}   (interactive page: {run / 'alignment.html'})"


def write_translations(texts: Sequence[str], path: Path) -> None:
    """Write translations, one per line; line breaks within a translation become spaces.

    Raises:
        UserError: the file cannot be written.
    """
    write_text(path, "".join(f"{one_line(text)}\n" for text in texts))


def _crossings(translation: Translation) -> int:
    return translation.alignment.words().crossings() if translation.alignment is not None else -1
