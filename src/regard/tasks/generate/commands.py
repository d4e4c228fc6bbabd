"""The commands of text generation: train, resume, generate, evaluate, look, export, demo."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from regard.data.corpus import Documents
from regard.data.documents import open_documents
from regard.data.lines import check_unicode
from regard.explain import terminal
from regard.explain.alignment import Alignment
from regard.explain.draw import save_picture
from regard.explain.page import save_page
from regard.tasks.exporting import Exportable
from regard.tasks.generate import data
from regard.tasks.generate.config import GenerateConfig, GenerateTrainConfig, ModelConfig, TokenizerConfig
from regard.tasks.generate.data import Stream, Text
from regard.tasks.generate.defaults import defaults
from regard.tasks.generate.export import exportable
from regard.tasks.generate.model import Sampling, Writer, load
from regard.tasks.generate.task import GenerateTask, scores
from regard.tasks.running import Training, say
from regard.train import run as runs
from regard.train.defaults import known
from regard.train.fingerprint import check_validation

TASK = "generate"
EVALUATE_OPTIONS: frozenset[str] = frozenset()
LOOK_OPTIONS = frozenset({"layer", "head", "html"})
"""The command-line options that `evaluate` and `look` accept."""

PROMPT = "The value of the expression"
"""The prompt of the demo, and of reports of runs on the built-in text."""

Settings = Callable[[Path], GenerateConfig]
"""Reads the configuration of a run's folder."""


def _fill(config: GenerateConfig, text: data.Text, folder: Path) -> None:
    settings = config.tokenizer
    tokenizer = data.train_tokenizer(text.train, settings.kind, known(settings.size), say)
    tokenizer.save(folder / "tokenizer.json")


def _samples(config: GenerateConfig, run: Path, text: data.Text) -> list[str]:
    prompt = PROMPT if config.data.train is None else " ".join(next(text.valid.pieces(0)).split(" ")[:5])
    return [f"> {line}" for line in _continued(load(run, config), prompt).splitlines()]


_TRAINING = Training(
    name=TASK,
    unit="tokens",
    read=lambda config, notify: data.read(config.data, notify),
    fingerprint=data.fingerprint,
    defaults=defaults,
    fill=_fill,
    task=lambda config, run, text, notify: GenerateTask.of_run(run, config, text),
    samples=_samples,
)
train, resume = _TRAINING.train, _TRAINING.resume


def generate(
    run: Path, settings: Settings, prompt: str, sampling: Sampling, *, tokens: int, stop: Sequence[str], checkpoint: str
) -> Iterator[str]:
    """The text that continues ``prompt``, in pieces, as they are generated."""
    runs.check(run, TASK)
    return load(run, settings(run), checkpoint).write(prompt, sampling, tokens=tokens, stop=stop)


def evaluate(run: Path, settings: Settings, path: str | None, *, checkpoint: str) -> dict[str, tuple[float, str]]:
    """Scores on a text, or on the run's own validation text, each with how it was computed."""
    runs.check(run, TASK)
    config = settings(run)
    writer = load(run, config, checkpoint)
    text = _own_text(run, config) if path is None else _text(path, config)
    stream = Stream.of(text.valid, writer.tokenizer)
    metrics = scores(writer.model, stream, min(writer.context, len(stream.tokens) - 1))
    which = "" if path is not None else ", on the validation text"
    windows = f"{len(stream.tokens):,} tokens in consecutive windows of {writer.context}"
    return {
        "loss": (metrics["loss"], f"cross-entropy in nats per token{which}: {windows}"),
        "perplexity": (math.exp(metrics["loss"]), "exp(loss), per token"),
        "bits_per_byte": (
            metrics["bits_per_byte"],
            f"over the {stream.size:,} UTF-8 bytes of the text as written; tokens are of its composed form (NFC)",
        ),
    }


def _text(path: str, config: GenerateConfig) -> Text:
    return Text(Documents.of([]), open_documents(path, column=config.data.column, notify=say))


def _own_text(run: Path, config: GenerateConfig) -> Text:
    """The run's own text. Raises UserError: its validation part has changed since training."""
    text = data.read(config.data, say)
    check_validation(run, data.fingerprint(text))
    return text


def look(
    run: Path, settings: Settings, text: str, *, checkpoint: str, layer: int = -1, head: int | None = None
) -> Alignment:
    """The attention of each token of ``text`` over the tokens up to it, in one head of a layer or the mean of all.

    Raises:
        UserError: see `Writer.attended`.
    """
    check_unicode("text", text)
    runs.check(run, TASK)
    return load(run, settings(run), checkpoint).attended(text, layer, head)


def export(run: Path, settings: Settings, *, checkpoint: str) -> Exportable:
    """The model that `regard export` writes to a file."""
    runs.check(run, TASK)
    return exportable(load(run, settings(run), checkpoint))


def draw(alignment: Alignment, path: Path) -> None:
    """Draw the attention: a page if the path ends in .html, otherwise an image."""
    if path.suffix.lower() in (".html", ".htm"):
        save_page([alignment], path, title="regard")
    else:
        save_picture(alignment, path)


def show(alignment: Alignment, console: Console) -> None:
    """Print the attention."""
    console.print(terminal.render(alignment, console.width))


def show_scores(scored: dict[str, tuple[float, str]], console: Console) -> None:
    """Print scores, one per line."""
    for name, (score, how) in scored.items():
        console.print(f"  {name:14}{score:>9.4f}  [dim]{how}[/dim]", highlight=False, soft_wrap=True)


def demo_config() -> GenerateConfig:
    """Settings that train in a few minutes on two cores."""
    return GenerateConfig(
        tokenizer=TokenizerConfig(size=2000),
        model=ModelConfig(context=128, dim=192, layers=4, heads=4, key_heads=2, dropout=0.1),
        train=GenerateTrainConfig(epochs=12, tokens=2048, learning_rate=2e-3, warmup=100),
    )


def demo(run: Path, written: Callable[[GenerateConfig], str]) -> dict[str, tuple[float, str]]:
    """Train on Python's language reference, score its validation part, generate a text, and draw one head."""
    config, console = demo_config(), Console()
    train(config, run, written)
    console.print("\n[bold]On the validation part[/bold] (none of its topics is in the training data)")
    scored = evaluate(run, lambda folder: config, None, checkpoint="best")
    show_scores(scored, console)
    writer = load(run, config)
    console.print(f"\n{_continued(writer, PROMPT)}\n", highlight=False, markup=False)
    draw(writer.attended(f"{PROMPT} is the value of the", 1, 0), run / "head.png")
    return scored


def use_line(run: Path, config: GenerateConfig) -> str:
    """A command that uses the trained run."""
    return f'regard generate {shlex.quote(str(run))} "how your text begins"'


def drawn_line(run: Path) -> str:
    """The line that names the file that the demo drew."""
    return f"attention  {run / 'head.png'}"


def _continued(writer: Writer, prompt: str) -> str:
    return prompt + "".join(writer.write(prompt, Sampling(temperature=0.7, top_k=50, seed=0), tokens=120))
