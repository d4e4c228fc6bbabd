"""Question answering: how `regard.tasks.running` trains, scores and shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from regard.data import facts
from regard.data.questions import Question
from regard.files import write_text
from regard.tasks.answer.settings import AnswerConfig
from regard.tasks.families.span.predictor import Answerer
from regard.tasks.families.span.task import SpanTask
from regard.training.defaults import bounded

_HELD_OUT = 0.1
_MOST_HELD_OUT = 500
"""The numbers of built-in questions for validation and for testing: this share of the training questions, at most."""


class AnswerQuestions(SpanTask[AnswerConfig]):
    """See `regard.tasks.families.span.task.SpanTask`."""

    builtin_questions = "the built-in questions about territories, made from the Unicode CLDR"

    def builtin(self, config: AnswerConfig, split: facts.Split) -> Sequence[Question]:
        """See `SpanTask`."""
        count = config.data.builtin_questions
        if split == "train":
            return facts.questions(count, seed=config.train.seed, split="train")
        return facts.questions(bounded(_HELD_OUT * count, 10, _MOST_HELD_OUT), split=split)

    def inputs(self, config: AnswerConfig, folder: Path) -> list[str]:
        """Three questions of the test split with their contexts."""
        return [f"{one.question}\t{one.context}" for one in facts.examples()]

    def finish_demo(self, answerer: Answerer, config: AnswerConfig, run: Path, console: Console) -> str:
        """Answer three questions of the test split, and draw the attention of the first."""
        examples = facts.examples()
        for one, answer in zip(examples, answerer.answers(examples), strict=True):
            shown = answerer.aligned(one, answer)
            shown.show(console)
            console.print()
            if one is examples[0]:
                write_text(run / "passage.txt", one.context + "\n")
                shown.save(run / "alignment.png")
                shown.save(run / "alignment.html")
        return f"alignment  {run / 'alignment.png'}   (interactive page: {run / 'alignment.html'})"
