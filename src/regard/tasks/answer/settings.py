"""Settings of question answering; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field

from regard.tasks.families.span.options import AnswerOptions, EvaluateOptions, LookOptions
from regard.tasks.families.span.settings import (
    ModelConfig,
    SpanConfig,
    SpanDataConfig,
    SpanTrainConfig,
    TokenizerConfig,
)
from regard.tasks.spec import Demo, Served, TaskSpec, Verb
from regard.training.ranges import at_most, positive


@dataclass(frozen=True)
class DataConfig(SpanDataConfig):
    """Which questions to train on, and how long texts are divided."""

    builtin_questions: int = 10_000
    """Number of built-in questions to train on."""

    def problem(self) -> str | None:
        """See `SpanDataConfig`."""
        return (
            super().problem()
            or positive("data", self, "builtin_questions")
            or at_most("data", self, 1_000_000, "builtin_questions")
        )


@dataclass(frozen=True)
class AnswerConfig(SpanConfig):
    """All settings of question answering."""

    data: DataConfig = field(default_factory=DataConfig)


def demo_settings() -> AnswerConfig:
    """Settings that train in two minutes on two cores."""
    return AnswerConfig(
        data=DataConfig(builtin_questions=5000, max_answer=20),
        tokenizer=TokenizerConfig(size=1000),  # so that known names are several tokens, too, as unknown ones are
        model=ModelConfig(kind="conv", dim=64, layers=3, dropout=0.1, word_dropout=0.1),
        train=SpanTrainConfig(epochs=3, tokens=2048, learning_rate=4e-3),
    )


def tiny_settings() -> AnswerConfig:
    """Settings that train in seconds."""
    return AnswerConfig(
        data=DataConfig(builtin_questions=60),
        tokenizer=TokenizerConfig(size=1000),
        model=ModelConfig(kind="conv", dim=16, layers=2),
        train=SpanTrainConfig(steps=3, tokens=4096),
    )


ANSWER = TaskSpec(
    name="answer",
    summary="Train a model that finds the answers to questions in texts, with or without attention",
    settings=AnswerConfig,
    verb=Verb(
        name="answer",
        summary="Answer a question about a text, or each question of a file or of standard input",
        input="Question to answer.",
        unit="question",
        options=AnswerOptions,
        draws=True,
    ),
    evaluation=EvaluateOptions,
    evaluated="the test split of the built-in questions, or the run's validation questions",
    looking=LookOptions,
    look_input="Question; without --context, followed by a tab and its context, or in JSON.",
    demo=Demo(
        folder="runs/demo-answer",
        summary="Train a model on questions about languages, currencies and time zones of territories (Unicode CLDR), "
        "evaluate it, and draw the attention of a question over its text.",
        example='regard answer {run} "What is the currency of Palau?" --context {run}/passage.txt',
        settings=demo_settings,
        tiny=tiny_settings,
        scored="the test split (about territories that are not in the training data)",
    ),
    code="regard.tasks.answer.task:AnswerQuestions",
    served=Served(parts=("question", "context"), without=("context",)),
)
