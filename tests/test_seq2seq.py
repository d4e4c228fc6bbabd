"""What a task from text to text gets from its family, shown with a task and a model that repeat their input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from regard.data.tokenizer import BOS, EOS
from regard.decode import Step
from regard.errors import UserError
from regard.models.encoder_decoder import EncoderDecoder
from regard.tasks.families.seq2seq import evaluation
from regard.tasks.families.seq2seq.data import PairData, PairList
from regard.tasks.families.seq2seq.defaults import by_size
from regard.tasks.families.seq2seq.predictor import Search
from regard.tasks.families.seq2seq.results import TextOutput, save_alignments
from regard.tasks.families.seq2seq.scores import exact
from regard.tasks.families.seq2seq.settings import PairsConfig, Seq2SeqTrainConfig, TextToTextConfig, TokenizerConfig
from regard.tasks.families.seq2seq.task import TextToText
from regard.tasks.families.seq2seq.text import TextPredictor
from regard.tasks.families.seq2seq.trainable import LOSS
from regard.tasks.results import Failure, Scores
from regard.tasks.task import Notify
from regard.training.metric import Metric
from regard.training.validation import Part

TEXTS = ["b a", "", "a", "c b a c", "b", "a a a a a a"]


class Repeater(EncoderDecoder):
    """Writes its source again, and attends to the token that it writes."""

    def __init__(self, vocabulary: int, longest: int | None = None):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0))
        self.vocabulary, self.longest, self.batches = vocabulary, longest, list[int]()

    def start(self, source: Tensor, lengths: Tensor) -> Any:
        self.batches.append(len(source))
        return source, torch.zeros_like(lengths)

    def step(self, tokens: Tensor, state: Any) -> Step:
        source, at = state
        at = at.clamp(max=source.shape[1] - 1)  # a beam may go on after the end
        weights = nn.functional.one_hot(at, source.shape[1]).float()
        following = source.gather(1, at[:, None])[:, 0]
        return Step(self.scale * nn.functional.one_hot(following, self.vocabulary), (source, at + 1), weights)

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor, smoothing: float) -> Any:
        assert target[:, 0].eq(BOS).all()
        assert target.gather(1, target_lengths[:, None] - 1).eq(EOS).all()
        return self.scale * (target_lengths - 1).sum()


@dataclass(frozen=True)
class Repetition(TextOutput):
    name = "repetition"


@dataclass(frozen=True)
class RepeatPredictor(TextPredictor[Repetition]):
    task = "repeat"
    output_type = Repetition
    first_parts = (1, 2)


@dataclass(frozen=True)
class RepeatTrainConfig(Seq2SeqTrainConfig):
    metric: Literal["loss", "exact"] = "exact"


@dataclass(frozen=True)
class RepeatConfig(TextToTextConfig):
    tokenizer: TokenizerConfig = field(default_factory=lambda: TokenizerConfig(source_size=300, target_size=300))
    train: RepeatTrainConfig = field(default_factory=lambda: RepeatTrainConfig(tokens=16))


class Repeat(TextToText[RepeatConfig, RepeatPredictor]):
    """A task with another model."""

    metrics = (LOSS, Metric("exact", higher_is_better=True))
    predictor_type = RepeatPredictor
    builtin_pairs = "letters"
    data_name = "letters"

    def build(self, config: RepeatConfig, source_size: int, target_size: int) -> Repeater:
        return Repeater(source_size)

    def builtin(self, config: RepeatConfig, split: Literal["train", "valid", "test"]) -> PairList:
        return [(text, text) for text in TEXTS if text]

    def text_scores(self, texts: Sequence[str], pairs: PairList) -> Mapping[str, float]:
        return {"exact": exact(texts, [reference for _, reference in pairs])}

    def defaults(self, config: RepeatConfig, pairs: PairData) -> Mapping[str, object]:
        return by_size(config, pairs.train, dim=64, steps=100)

    def evaluate(
        self, predictor: RepeatPredictor, config: RepeatConfig, run: Path, path: str | None, notify: Notify
    ) -> Scores:
        pairs = self.evaluation_pairs(config, path, None, notify)
        return evaluation.outputs(predictor, pairs, Search(1), path=run / "out.txt", unit="texts")[1]

    def inputs(self, config: RepeatConfig, folder: Path) -> list[str]:
        return TEXTS

    def finish_demo(self, predictor: RepeatPredictor, config: RepeatConfig, run: Path, console: Console) -> str:
        return save_alignments(list(predictor.outputs(self.inputs(config, run))), run)


@pytest.fixture
def printed() -> list[str]:
    return []


@pytest.fixture
def pairs(printed: list[str]) -> PairData:
    return Repeat().read(RepeatConfig(), printed.append)


@pytest.fixture
def predictor(pairs: PairData, tmp_path: Path) -> RepeatPredictor:
    Repeat().prepare(RepeatConfig(), pairs, tmp_path, lambda line: None)
    return Repeat().untrained(RepeatConfig(), tmp_path)


def test_built_in_pairs_are_read_and_named(pairs: PairData, printed: list[str]) -> None:
    assert list(pairs.train) == [(text, text) for text in TEXTS if text]
    assert printed == ["no --data.train: training on letters"]
    with pytest.raises(UserError, match=r"data\.valid: needs --data\.train"):
        Repeat().read(RepeatConfig(data=PairsConfig(valid="a.tsv")), printed.append)


@pytest.mark.parametrize("beam", [1, 3])
def test_outputs_are_in_order_and_have_alignments(beam: int, predictor: RepeatPredictor) -> None:
    outputs = list(predictor.predict(TEXTS, beam=beam))
    assert [output.to_dict()["repetition"] for output in outputs] == TEXTS
    assert outputs[3].alignment.weights.argmax(1).tolist() == list(range(len(outputs[3].alignment.source)))
    assert (outputs[1].alignment, outputs[1].score) == (None, 0.0)
    assert [output.text for output in predictor.outputs(TEXTS, Search(beam))] == TEXTS


def test_inputs_are_read_in_growing_parts(predictor: RepeatPredictor) -> None:
    read: list[str] = []

    def inputs() -> Iterator[str]:
        for text in TEXTS:
            read.append(text)
            yield text

    results, counts = predictor.predict(inputs()), []
    for _ in range(4):
        next(results)
        counts.append(len(read))
    assert counts == [1, 3, 3, 6]


def test_an_input_that_is_too_long_is_a_failure_and_the_others_are_predicted(predictor: RepeatPredictor) -> None:
    limited, texts = (
        replace(predictor, model=Repeater(len(predictor.source), longest=9)),
        ["b a", "", "uvwxyzuvwxyz", "c"],
    )
    results = list(limited.predict(texts))
    assert [isinstance(result, Failure) for result in results] == [False, False, True, False]
    assert [result.line() for result in results] == ["b a", "", "", "c"]
    with pytest.raises(UserError, match=r"text: has \d+ tokens, and this run has learned positions for at most 9;"):
        list(limited.outputs(texts))


def test_a_given_output_is_aligned(predictor: RepeatPredictor) -> None:
    shown = predictor.look("a b", target="a b")
    assert (shown.text, type(shown)) == ("a b", Repetition)
    assert shown.alignment.source == shown.alignment.target


@pytest.mark.parametrize(("text", "target", "name"), [(" ", None, "text"), ("a", "", "--target")])
def test_an_empty_text_cannot_be_looked_into(
    text: str, target: str | None, name: str, predictor: RepeatPredictor
) -> None:
    with pytest.raises(UserError, match=f"{name}: is empty; expected text"):
        predictor.look(text, target=target)


def test_samples_are_a_table(predictor: RepeatPredictor) -> None:
    table = predictor.samples([("a", "A|B"), ("b\nc", "B")])
    assert table == [
        "| source | repetition | reference |",
        "| --- | --- | --- |",
        "| a | a | A¦B |",
        "| b c | b c | B |",
    ]


def test_validation_decodes_only_for_text_metrics(pairs: PairData, predictor: RepeatPredictor, tmp_path: Path) -> None:
    config = RepeatConfig()
    trained = Repeat().trainable(config, tmp_path, pairs, lambda line: None)
    assert trained.described == "5 pairs"
    assert sorted(row for batch in trained.batches(0) for row in batch) == [0, 1, 2, 3, 4]
    assert trained.evaluate(Part.complete(5)) == {"loss": pytest.approx(5.0), "exact": 100.0}
    loss, count = trained.loss(trained.model, [0, 1])
    assert loss.item() == pytest.approx(5.0 * count)
    plain = replace(config, train=replace(config.train, metric="loss"))
    assert Repeat().trainable(plain, tmp_path, pairs, lambda line: None).evaluate(Part.complete(5)).keys() == {"loss"}


def test_evaluation_writes_the_outputs(predictor: RepeatPredictor, tmp_path: Path) -> None:
    scores = Repeat().evaluate(predictor, RepeatConfig(), tmp_path, None, lambda line: None)
    assert list(scores) == ["loss", "texts"]
    assert "texts per second" in scores["texts"].how
    assert (tmp_path / "out.txt").read_text().splitlines() == [text for text in TEXTS if text]
    with pytest.raises(UserError, match="--data: name the letters to evaluate on"):
        Repeat().evaluation_pairs(RepeatConfig(data=PairsConfig(train="a.tsv")), None, None, lambda line: None)


def test_alignments_are_drawn(predictor: RepeatPredictor, tmp_path: Path) -> None:
    line = Repeat().finish_demo(predictor, RepeatConfig(), tmp_path, Console())
    assert all(
        str(tmp_path / name) in line and (tmp_path / name).stat().st_size
        for name in ("alignment.png", "alignment.html")
    )
