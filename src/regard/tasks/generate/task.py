"""Text generation: how `regard.tasks.running` trains, scores and shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from regard.data.corpus import Documents
from regard.data.documents import open_documents
from regard.data.encoding import train_tokenizer
from regard.tasks.generate import data
from regard.tasks.generate.data import Stream, Text
from regard.tasks.generate.defaults import defaults
from regard.tasks.generate.predictor import Writer, load
from regard.tasks.generate.settings import GenerateConfig
from regard.tasks.generate.trainable import GenerateTask, scores
from regard.tasks.results import Score, Scores
from regard.tasks.task import Notify, Task
from regard.training.defaults import known
from regard.training.fingerprint import Fingerprint, check_validation

PROMPT = "The value of the expression"
"""The prompt of the demo, and of reports of runs on the built-in text."""


class Generate(Task[GenerateConfig, Text, Writer]):
    """See `regard.tasks.task.Task`."""

    unit = "tokens"

    def read(self, config: GenerateConfig, notify: Notify) -> Text:
        """See `Task`."""
        return data.read(config.data, notify)

    def fingerprint(self, text: Text) -> Fingerprint:
        """See `Task`."""
        return data.fingerprint(text)

    def defaults(self, config: GenerateConfig, text: Text) -> Mapping[str, object]:
        """See `Task`."""
        return defaults(config, text)

    def prepare(self, config: GenerateConfig, text: Text, folder: Path, notify: Notify) -> None:
        """Train the tokenizer."""
        settings = config.tokenizer
        tokenizer = train_tokenizer(text.train, settings.kind, known(settings.size), notify)
        tokenizer.save(folder / "tokenizer.json")

    def trainable(self, config: GenerateConfig, run: Path, text: Text, notify: Notify) -> GenerateTask:
        """See `Task`."""
        return GenerateTask.of_run(run, config, text)

    def predictor(self, config: GenerateConfig, run: Path, checkpoint: str) -> Writer:
        """See `Task`."""
        return load(run, config, checkpoint)

    def evaluate(self, writer: Writer, config: GenerateConfig, run: Path, path: str | None, notify: Notify) -> Scores:
        """Scores on a text, or on the run's own validation text.

        Raises:
            UserError: the text cannot be used, or the run's own has changed since training.
        """
        if path is None:
            text = data.read(config.data, notify)
            check_validation(run, data.fingerprint(text))
        else:
            text = Text(Documents.of([]), open_documents(path, column=config.data.column, notify=notify))
        stream = Stream.of(text.valid, writer.tokenizer)
        metrics = scores(writer.model, stream, min(writer.context, len(stream.tokens) - 1))
        which = "" if path is not None else ", on the validation text"
        windows = f"{len(stream.tokens):,} tokens in consecutive windows of {writer.context}"
        bits = f"over the {stream.size:,} UTF-8 bytes of the text as written; tokens are of its composed form (NFC)"
        return {
            "loss": Score(metrics["loss"], f"cross-entropy in nats per token{which}: {windows}", 4),
            "perplexity": Score(math.exp(metrics["loss"]), "exp(loss), per token", 4),
            "bits_per_byte": Score(metrics["bits_per_byte"], bits, 4),
        }

    def samples(self, writer: Writer, config: GenerateConfig, text: Text) -> Sequence[str]:
        """A continuation of the beginning of the validation text."""
        prompt = PROMPT if config.data.train is None else " ".join(next(text.valid.pieces(0)).split(" ")[:5])
        return [f"> {line}" for line in _continued(writer, prompt).splitlines()]

    def example(self, config: GenerateConfig) -> str:
        """See `Task`."""
        return '"how your text begins"'

    def inputs(self, config: GenerateConfig, folder: Path) -> list[str]:
        """Beginnings of texts like the built-in one."""
        return [PROMPT, "A class definition"]

    def finish_demo(self, writer: Writer, config: GenerateConfig, run: Path, console: Console) -> str:
        """Generate a text, and draw one head."""
        console.print(f"{_continued(writer, PROMPT)}\n", highlight=False, markup=False)
        writer.look(f"{PROMPT} is the value of the", layer=1, head=0).save(run / "head.png")
        return f"attention  {run / 'head.png'}"


def _continued(writer: Writer, prompt: str) -> str:
    return next(writer.predict([prompt], temperature=0.7, top_k=50, seed=0, tokens=120)).text
