"""What the command line does for text generation."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from regard.data.documents import read_documents
from regard.data.lines import check_unicode
from regard.data.tokenizer import Tokenizer
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
"""Which of the command line's options `evaluate` and `look` have a meaning for."""

PROMPT = "The value of the expression"
"""What the demo and reports go on with, if the text is the built-in one."""

Settings = Callable[[Path], GenerateConfig]
"""Reads the configuration of a run's folder."""


def _fill(config: GenerateConfig, text: data.Text, folder: Path) -> None:
    tokenizer = Tokenizer.train(text.train, kind=config.tokenizer.kind, size=known(config.tokenizer.size))
    tokenizer.save(folder / "tokenizer.json")


def _samples(config: GenerateConfig, run: Path, text: data.Text) -> list[str]:
    prompt = PROMPT if config.data.train is None else " ".join(text.valid[0].split(" ")[:5])
    return [f"> {line}" for line in _continued(load(run, config), prompt).splitlines()]


_TRAINING = Training(
    name=TASK,
    unit="tokens",
    read=lambda config, tell: data.read(config.data, tell),
    fingerprint=data.fingerprint,
    defaults=defaults,
    fill=_fill,
    task=lambda config, run, text, tell: GenerateTask.of_run(run, config, text),
    samples=_samples,
)
train, resume = _TRAINING.train, _TRAINING.resume


def generate(
    run: Path, settings: Settings, prompt: str, how: Sampling, *, tokens: int, stop: Sequence[str], checkpoint: str
) -> Iterator[str]:
    """Go on with ``prompt``, piece by piece."""
    runs.check(run, TASK)
    return load(run, settings(run), checkpoint).write(prompt, how, tokens=tokens, stop=stop)


def evaluate(run: Path, settings: Settings, path: str | None, *, checkpoint: str) -> dict[str, tuple[float, str]]:
    """Scores on a text, or on the run's own validation text, each with how it was computed."""
    runs.check(run, TASK)
    config = settings(run)
    writer = load(run, config, checkpoint)
    given = path is not None
    text = Text.of([], read_documents(path, column=config.data.column, tell=say)) if path else _own(run, config)
    stream = Stream.of(text.valid, writer.tokenizer, text.valid_bytes)
    found = scores(writer.model, stream, min(writer.context, len(stream.tokens) - 1))
    how = f"{len(stream.tokens):,} tokens, each once, in windows of {writer.context} that begin without a past"
    return {
        "loss": (found["loss"], f"nats a token{'' if given else ', on the validation text'}; {how}"),
        "perplexity": (math.exp(found["loss"]), "exp(loss), a token"),
        "bits_per_byte": (
            found["bits_per_byte"],
            f"over the {stream.size:,} bytes of UTF-8 of the text as it is written; tokens are of its composed form",
        ),
    }


def _own(run: Path, config: GenerateConfig) -> Text:
    """The run's text, whose validation part is as it was in training."""
    text = data.read(config.data, say)
    check_validation(run, data.fingerprint(text))
    return text


def look(
    run: Path, settings: Settings, text: str, *, checkpoint: str, layer: int = -1, head: int | None = None
) -> Alignment:
    """What each token of ``text`` attends to, in one layer's head or the mean of its heads."""
    check_unicode("text", text)
    runs.check(run, TASK)
    return load(run, settings(run), checkpoint).attended(text, layer, head)


def export(run: Path, settings: Settings, *, checkpoint: str) -> Exportable:
    """What `regard export` writes into a file."""
    runs.check(run, TASK)
    return exportable(load(run, settings(run), checkpoint))


def draw(found: Alignment, path: Path) -> None:
    """Draw what was attended to: a page where the ending is .html, else a picture."""
    if path.suffix.lower() in (".html", ".htm"):
        save_page([found], path, title="regard")
    else:
        save_picture(found, path)


def show(found: Alignment, console: Console) -> None:
    """Print what was attended to."""
    console.print(terminal.render(found, console.width))


def show_scores(found: dict[str, tuple[float, str]], console: Console) -> None:
    """Print scores, one a line."""
    for name, (score, how) in found.items():
        console.print(f"  {name:14}{score:>9.4f}  [dim]{how}[/dim]", highlight=False, soft_wrap=True)


def demo_config() -> GenerateConfig:
    """Small enough to be trained in a few minutes on two cores."""
    return GenerateConfig(
        tokenizer=TokenizerConfig(size=2000),
        model=ModelConfig(context=128, dim=192, layers=4, heads=4, key_heads=2, dropout=0.1),
        train=GenerateTrainConfig(epochs=12, tokens=2048, learning_rate=2e-3, warmup=100),
    )


def demo(run: Path, written: Callable[[GenerateConfig], str]) -> dict[str, tuple[float, str]]:
    """Train on Python's reference, score its validation part, write, draw one head."""
    config, console = demo_config(), Console()
    train(config, run, written)
    console.print("\n[bold]On the validation part[/bold] (no topic of it was trained on)")
    found = evaluate(run, lambda folder: config, None, checkpoint="best")
    show_scores(found, console)
    writer = load(run, config)
    console.print(f"\n{_continued(writer, PROMPT)}\n", highlight=False, markup=False)
    draw(writer.attended(f"{PROMPT} is the value of the", 1, 0), run / "head.png")
    return found


def use_line(run: Path, config: GenerateConfig) -> str:
    """How to go on with a trained run."""
    return f'regard generate {shlex.quote(str(run))} "how your text begins"'


def drawn_line(run: Path) -> str:
    """What the demo drew."""
    return f"one head   {run / 'head.png'}"


def _continued(writer: Writer, prompt: str) -> str:
    return prompt + "".join(writer.write(prompt, Sampling(temperature=0.7, top_k=50, seed=0), tokens=120))
