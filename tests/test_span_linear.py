"""The linear model of answers: its probabilities, what it learns, its file, and its mixture with a network."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regard.data.questions import Question
from regard.data.span_features import Rarity, featured
from regard.errors import UserError
from regard.tasks.answer.settings import tiny_settings
from regard.tasks.families.span.odds import Odds
from regard.tasks.families.span.predictor import Answerer
from regard.tasks.families.span.reading import with_linear
from regard.tasks.fitted.spans import Ranked, SpanClassifier
from regard.tasks.running import load, train

TITLES = ("context", "question", "answer")
CONTEXTS = ("Good food. Bad beds!", "The staff was kind, the food odd.")


def _model() -> SpanClassifier:
    torch.manual_seed(0)
    model = SpanClassifier(Rarity.of(CONTEXTS))
    torch.nn.init.normal_(model.weight[1:])  # 0 is padding
    torch.nn.init.normal_(model.lengths)
    torch.nn.init.normal_(model.bias)
    return model


def test_the_probability_of_a_span_is_that_of_the_sums_of_its_features() -> None:
    model = _model()
    question = Question(CONTEXTS[1], "How is the food?", ())
    features = featured(question.context, question.question, model.rarity)
    weight, lengths = model.weight.detach().double().numpy(), model.lengths.detach().double().numpy()
    scores = {}
    for first in range(len(features.starts)):
        for last in range(first, len(features.starts)):
            if not (features.edge[first] and features.edge[last]):
                continue
            inside = weight[features.inside[first : last + 1]].sum()
            edges = weight[features.first[first]].sum() + weight[features.last[last]].sum()
            span = int(features.starts[first]), int(features.ends[last])
            scores[span] = edges + inside + lengths[last - first]
    absent = weight[features.absent].sum() + model.bias.item()
    total = np.logaddexp.reduce([absent, *scores.values()])
    ranked = model.ranked([Question(CONTEXTS[0], "Beds?", ()), question])[1]  # together with a shorter context
    assert ranked.absent == pytest.approx(absent - total, abs=1e-3)
    assert len(ranked.spans) == min(50, len(scores))
    for span, log in ranked.spans:
        assert log == pytest.approx(scores[span] - total, abs=1e-3)


def test_a_mixture_has_the_mean_of_the_log_odds() -> None:
    network = {(0, 4): 2.0, (0, 9): math.log(0.6), (0, 10): math.log(0.4), (5, 9): -2.0}  # (0, 10) has a full stop
    ranked = Ranked((((0, 4), math.log(0.2)), ((5, 9), math.log(0.1))), math.log(0.4))
    (mean,) = with_linear([Odds(network, 0.0)], [ranked], 0.25, ["Good food."])
    theirs = {(0, 4): math.log(0.5), (5, 9): math.log(0.25), (0, 9): math.log(0.25)}  # the last one as the least
    expected = {span: 0.75 * ours + 0.25 * theirs[span] for span, ours in (((0, 4), 2), ((0, 9), 0), ((5, 9), -2))}
    assert mean.spans == pytest.approx(expected)
    assert mean.total == pytest.approx(math.log(sum(map(math.exp, expected.values()))))


def test_questions_asked_several_times_can_have_different_answers() -> None:
    given = (((0, 9),), ((0, 9),), ((0, 9),), ())
    questions = [Question(f"Good food {at}.", "How is it?", spans) for at in range(200) for spans in given]
    ranked = SpanClassifier.fit(questions).ranked(questions[:1])[0]
    assert ranked.spans[0][0] == (0, 9)
    assert ranked.spans[0][1] > ranked.absent


def test_a_run_with_a_linear_model(tmp_path: Path) -> None:
    settings = tiny_settings()
    train("answer", replace(settings, model=replace(settings.model, linear=0.5)), tmp_path / "run")
    answerer, item = load(tmp_path / "run"), "Where is Bern?\tBern is in Switzerland."
    assert isinstance(answerer, Answerer)
    (mixture,) = answerer.predict([item], threshold=0.0)
    (network,) = replace(answerer, companion=None).predict([item], threshold=0.0)
    assert 0 < mixture.absent < 1
    assert mixture.absent != network.absent


def test_new_questions_are_answered_by_what_the_questions_set_aside_tell_too(tmp_path: Path) -> None:
    rows = [(f"Food number {at} was {good}.", "How was it?", good) for at in range(30) for good in ("good", "bad")]
    (tmp_path / "train.tsv").write_text("".join("\t".join(row) + "\n" for row in [TITLES, *rows]))
    settings = tiny_settings()
    model, data = replace(settings.model, linear=0.5), replace(settings.data, train=str(tmp_path / "train.tsv"))
    train("answer", replace(settings, model=model, data=data), tmp_path / "run")
    answerer = load(tmp_path / "run")
    assert isinstance(answerer, Answerer)
    assert answerer.companion is not None
    assert answerer.for_held_out.companion is not None
    assert answerer.companion.model.rarity.contexts == 60
    assert answerer.companion.held_out.rarity.contexts == 54
    assert answerer.for_held_out.companion.model is answerer.companion.held_out


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "linear.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match=r"linear\.safetensors: is not a linear model of answers"):
        SpanClassifier.load(tmp_path / "linear.safetensors")
