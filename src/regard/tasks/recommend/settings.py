"""Settings of recommendation; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field

from regard.tasks.families.rank.history_settings import HistoriesConfig
from regard.tasks.families.rank.settings import (
    EvaluateOptions,
    LookOptions,
    RecommendOptions,
    RecommendTrainConfig,
    SequentialConfig,
)
from regard.tasks.spec import Demo, Served, TaskSpec, Verb


@dataclass(frozen=True)
class RecommendConfig:
    """All settings of recommendation."""

    data: HistoriesConfig = field(default_factory=HistoriesConfig)
    model: SequentialConfig = field(default_factory=SequentialConfig)
    train: RecommendTrainConfig = field(default_factory=RecommendTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return self.data.problem() or self.model.problem() or self.train.problem()


def demo_settings() -> RecommendConfig:
    """Settings that train in two minutes on two cores."""
    return RecommendConfig(
        data=HistoriesConfig(builtin_users=6000),
        model=SequentialConfig(dim=64, layers=1, positions="rotary", dropout=0.05, item_dropout=0.05),
        train=RecommendTrainConfig(epochs=18, tokens=512, learning_rate=5e-3, validate_on=500),
    )


def tiny_settings() -> RecommendConfig:
    """Settings that train in seconds."""
    return RecommendConfig(
        data=HistoriesConfig(builtin_users=60),
        model=SequentialConfig(dim=8, layers=1),
        train=RecommendTrainConfig(steps=3, tokens=512),
    )


RECOMMEND = TaskSpec(
    name="recommend",
    summary="Train a model that recommends the next item of a history, with or without attention",
    settings=RecommendConfig,
    verb=Verb(
        name="recommend",
        summary="Recommend items for a history, or for each history of a file or of standard input",
        input="Items of the history in the order of time, separated by commas, or as a JSON list.",
        unit="history",
        options=RecommendOptions,
        draws=True,
        named_input="history",
    ),
    evaluation=EvaluateOptions,
    evaluated="the last item of each user, which is not trained on",
    looking=LookOptions,
    look_input="Items of the history in the order of time, separated by commas, or as a JSON list.",
    demo=Demo(
        folder="runs/demo-recommend",
        summary="Train a small model on the customers of a generated shop, evaluate it beside the best possible, and "
        "draw which past choices it attends to.",
        example='regard recommend {run} --history "amber 1,green tea,amber 2,blue paint,brie cheese" --exclude-seen',
        settings=demo_settings,
        tiny=tiny_settings,
        scored="the last choice of each customer",
    ),
    code="regard.tasks.recommend.task:Recommend",
    served=Served(without=("history", "items")),
)
