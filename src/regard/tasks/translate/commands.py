"""The commands of translation: train, resume, translate, evaluate, look, export, demo."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from regard.data import cldr
from regard.data.lines import check_unicode, one_line
from regard.errors import UserError
from regard.explain import terminal
from regard.explain.draw import save_picture
from regard.explain.page import save_page
from regard.files import write_text
from regard.tasks.exporting import Exportable
from regard.tasks.running import Training, say
from regard.tasks.translate import data
from regard.tasks.translate.config import (
    DataConfig,
    ModelConfig,
    TokenizerConfig,
    TranslateConfig,
    TranslateTrainConfig,
)
from regard.tasks.translate.defaults import defaults
from regard.tasks.translate.export import exportable
from regard.tasks.translate.model import Translation, Translator, load
from regard.tasks.translate.task import TranslateTask, mean_loss, text_scores
from regard.train import run as runs

TASK = "translate"

EVALUATE_OPTIONS = frozenset({"beam", "on_bad_line", "output", "tokenize"})
LOOK_OPTIONS = frozenset({"target", "beam", "html"})
"""The command-line options that `evaluate` and `look` accept."""

Settings = Callable[[Path], TranslateConfig]
"""Reads the configuration of a run's folder."""


def _fill(config: TranslateConfig, text: data.Text, folder: Path) -> None:
    data.save_tokenizers(folder, *data.train_tokenizers(text.train, config.tokenizer))


_TRAINING = Training(
    name=TASK,
    unit="tokens",
    read=lambda config, notify: data.read(config.data, config.train.seed, notify),
    fingerprint=data.fingerprint,
    defaults=defaults,
    fill=_fill,
    task=lambda config, run, text, notify: TranslateTask.of_run(run, config, text, notify),
    samples=lambda config, run, text: load(run, config).samples(text.valid),
)
train, resume = _TRAINING.train, _TRAINING.resume


def translate(
    run: Path, settings: Settings, texts: Sequence[str], *, beam: int, checkpoint: str
) -> Iterator[Translation]:
    """Translate ``texts`` in their order."""
    return _load(run, settings, checkpoint).translate(texts, beam=beam)


def look(
    run: Path, settings: Settings, text: str, *, checkpoint: str, target: str | None = None, beam: int = 5
) -> Translation:
    """Translate ``text``, or score the translation ``target`` that is given, and return it with its alignment."""
    check_unicode("text", text)
    translator = _load(run, settings, checkpoint)
    if target is not None:
        return Translation(text, target, 0.0, translator.align(text, target))
    translation = next(translator.translate([text], beam=beam))
    if translation.alignment is None:
        # Either the model has no attention, which align reports, or the text is empty: then EOS alone is aligned.
        return replace(translation, alignment=translator.align(text, translation.text))
    return translation


def evaluate(
    run: Path,
    settings: Settings,
    path: str | None,
    *,
    checkpoint: str,
    beam: int = 5,
    on_bad_line: str | None = None,
    output: Path | None = None,
    tokenize: str | None = None,
) -> dict[str, tuple[float, str]]:
    """Scores on a file of parallel text, or on the built-in corpus's test split, each with how it was computed.

    Raises:
        UserError: the text cannot be used, or none is named for a run that was trained on the user's own.
    """
    config = settings(run)
    translator = _load(run, settings, checkpoint)
    if path is not None:
        reading = config.data if on_bad_line is None else replace(config.data, on_bad_line=on_bad_line)  # type: ignore[arg-type]
        pairs = data.read_pairs(path, reading, say)
    elif config.data.train is None:
        pairs = cldr.corpus(1000, seed=config.train.seed, split="test")
    else:
        raise UserError("--data: name the parallel text to evaluate on")
    return _scores(translator, pairs, beam, output, tokenize)


def _scores(
    translator: Translator, pairs: data.Pairs, beam: int, output: Path | None, tokenize: str | None = None
) -> dict[str, tuple[float, str]]:
    began = time.perf_counter()
    sources = [source for source, _ in pairs]
    texts = [translation.text for translation in translator.translate(sources, beam=beam)]
    seconds = time.perf_counter() - began
    if output is not None:
        write_translations(texts, output)
    scores = text_scores(texts, [target for _, target in pairs], tokenize)
    rows = data.encode(pairs, translator.source, translator.target)
    loss = mean_loss(translator.model, rows, translator.model.output_bias.device)
    scores["loss"] = (loss, "cross-entropy in nats per target token, EOS included")
    scores["sentences"] = (float(len(pairs)), f"beam {beam}, {len(pairs) / seconds:,.0f} sentences per second")
    return scores


def write_translations(texts: Sequence[str], path: Path) -> None:
    """Write translations, one per line; line breaks within a translation become spaces.

    Raises:
        UserError: the file cannot be written.
    """
    write_text(path, "".join(f"{one_line(text)}\n" for text in texts))


def export(run: Path, settings: Settings, *, checkpoint: str) -> Exportable:
    """The model that `regard export` writes to a file."""
    return exportable(_load(run, settings, checkpoint))


def draw(translation: Translation, path: Path) -> None:
    """Draw a translation's alignment: a page if the path ends in .html, otherwise an image."""
    if translation.alignment is None:
        raise UserError("look: this run has no attention to look at (it was trained with --model.attention none)")
    if path.suffix.lower() in (".html", ".htm"):
        save_page([translation.alignment], path, title=translation.source)
    else:
        save_picture(translation.alignment.words(), path)


def show(translation: Translation, console: Console) -> None:
    """Print a translation and its alignment."""
    for text in (translation.source, translation.text):
        console.print(terminal.isolated(text), style="bold", highlight=False, markup=False)
    if translation.alignment is not None:
        console.print(terminal.render(translation.alignment.words(), console.width))


def demo_config() -> TranslateConfig:
    """Settings that train in two minutes on two cores."""
    return TranslateConfig(
        data=DataConfig(builtin_pairs=28_000),
        tokenizer=TokenizerConfig(kind="byte", source_size=1500, target_size=1500),
        model=ModelConfig(embedding=96, dim=192, dropout=0.05),
        train=TranslateTrainConfig(epochs=2, tokens=2048, learning_rate=1e-2, warmup=60, label_smoothing=0.05),
    )


def demo(run: Path, written: Callable[[TranslateConfig], str]) -> dict[str, tuple[float, str]]:
    """Train on the built-in corpus, score the test split, translate three of its sentences, and draw an alignment."""
    config, console = demo_config(), Console()
    train(config, run, written)
    translator = load(run, config)
    console.print("\n[bold]On the test split[/bold] (greedy decoding; none of its sentences is in the training data)")
    scores = _scores(translator, cldr.corpus(1000, seed=config.train.seed, split="test"), 1, None)
    show_scores(scores, console)
    console.print()
    translations = list(translator.translate(cldr.examples(), beam=5))
    for translation in translations:
        show(translation, console)
        console.print()
    draw(max(translations, key=_crossings), run / "alignment.png")
    alignments = [translation.alignment for translation in translations if translation.alignment is not None]
    save_page(alignments, run / "alignment.html", title="regard")
    return scores


def use_line(run: Path, config: TranslateConfig) -> str:
    """A command that uses the trained run."""
    return f'regard translate {shlex.quote(str(run))} "your text"'


def drawn_line(run: Path) -> str:
    """The line that names the files that the demo drew."""
    return f"alignment  {run / 'alignment.png'}   (interactive page: {run / 'alignment.html'})"


def show_scores(scores: dict[str, tuple[float, str]], console: Console) -> None:
    """Print scores, one per line."""
    for name, (score, how) in scores.items():
        text = f"{score:.0f}" if name == "sentences" else f"{score:.4f}" if name == "loss" else f"{score:.2f}"
        console.print(f"  {name:10}{text:>9}  [dim]{_plain(how)}[/dim]", highlight=False, soft_wrap=True)


def _crossings(translation: Translation) -> int:
    return translation.alignment.words().crossings() if translation.alignment is not None else -1


def _load(run: Path, settings: Settings, checkpoint: str) -> Translator:
    runs.check(run, TASK)
    return load(run, settings(run), checkpoint)


def _plain(text: str) -> str:
    """``text`` escaped, so that rich prints its brackets."""
    return text.replace("[", r"\[")
