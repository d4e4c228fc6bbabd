"""Text generation: its built-in text, its demo, and the settings that follow the amount of text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from regard.tasks.counting import bytes_of, count_tokens
from regard.tasks.families.language.data import Text
from regard.tasks.families.language.predictor import LanguagePredictor
from regard.tasks.families.language.task import LanguageTask, continued
from regard.tasks.generate.settings import GenerateConfig
from regard.training.defaults import bounded, epochs

_BATCHES_PER_EPOCH = 16


@dataclass(frozen=True)
class Writer(LanguagePredictor):
    """A trained language model with its tokenizer, which continues prompts."""

    task = "generate"


class Generate(LanguageTask[GenerateConfig]):
    """See `regard.tasks.families.language.task.LanguageTask`."""

    predictor_type = Writer
    builtin_text = "the built-in text, Python's language reference"
    prompt = "The value of the expression"

    def builtin(self) -> list[str]:
        """Python's language reference."""
        return reference()

    def defaults(self, config: GenerateConfig, text: Text) -> Mapping[str, object]:
        """Vocabulary size, context, model size, batch size and epochs by the amount of text.

        The number of steps grows with the square root of the number of tokens, from 300 for the smallest texts;
        benchmarks/defaults.py measures the result.
        """
        vocabulary = config.tokenizer.size or bounded(bytes_of(text.train) / 100, 300, 4000)
        tokens = count_tokens(text.train, kind=config.tokenizer.kind, size=vocabulary)
        context = config.model.context or bounded(tokens / 8, 8, 256)
        rows = max(1, round(bounded(tokens / _BATCHES_PER_EPOCH, 256, 4096) / context))
        batch = config.train.tokens or rows * context
        dim, layers = (128, 2) if tokens < 30_000 else (256, 4) if tokens < 300_000 else (256, 6)
        return {
            "tokenizer.size": vocabulary,
            "model.context": min(context, batch),
            "model.dim": dim,
            "model.layers": layers,
            "train.tokens": batch,
            "train.epochs": epochs(max(300.0, 2 * math.sqrt(tokens)), tokens / batch),
        }

    def inputs(self, config: GenerateConfig, folder: Path) -> list[str]:
        """Beginnings of texts like the built-in one."""
        return [self.prompt, "A class definition"]

    def finish_demo(self, writer: LanguagePredictor, config: GenerateConfig, run: Path, console: Console) -> str:
        """Generate a text, and draw one head."""
        console.print(f"{continued(writer, self.prompt)}\n", highlight=False, markup=False)
        writer.look(f"{self.prompt} is the value of the", layer=1, head=0).save(run / "head.png")
        return f"attention  {run / 'head.png'}"


def reference() -> list[str]:
    """Python's language reference, one document per topic, from the module that ``help()`` reads."""
    from pydoc_data.topics import topics

    return [topics[name] for name in sorted(topics)]
