"""Outputs that agree with samples: agreement of texts, the choice of a candidate, and the first sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import Result
from regard.errors import UserError
from regard.tasks.families.seq2seq.consensus import agreement
from regard.tasks.families.seq2seq.copying_settings import CopyModelConfig, CopySearchOptions
from regard.tasks.running import load, train
from regard.tasks.summarize.settings import DataConfig, SummarizeConfig, SummarizeTrainConfig

TEXT = "Item 9 is sent to Paris. Nothing else is known."


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A summarizer of texts whose summary is one of two, of which nothing in the text tells which."""
    folder = tmp_path_factory.mktemp("consensus")
    texts = [(f"Item {at} is sent to Paris.", "Sent to Paris" if at % 3 else "By train at noon") for at in range(300)]
    (folder / "train.tsv").write_text("".join(f"{one}\t{other}\n" for one, other in texts))
    config = SummarizeConfig(
        data=DataConfig(train=str(folder / "train.tsv")),
        model=CopyModelConfig(dim=32, dropout=0.0),
        train=SummarizeTrainConfig(steps=100, tokens=600, epochs=40, label_smoothing=0.0, warmup=10),
    )
    train("summarize", config, folder / "run")
    return folder / "run"


def test_agreement_is_one_with_equal_texts_and_weighted() -> None:
    words = ["a", "Red", "cat"]
    assert agreement(words, [["A", "red", "cat"]], [0.2]) == pytest.approx(1.0)
    assert agreement(words, [words, ["dogs"]], [3.0, 1.0]) == pytest.approx(0.75)
    assert agreement([], [words], [1.0]) == 0.0
    # One word and no pair in common: F1 of words 2/6, of pairs 0.
    assert agreement(["the", "big", "cat"], [words], [1.0]) == pytest.approx(1 / 6)


def test_the_summary_of_most_samples_is_chosen(run: Path) -> None:
    predictor: Any = load(run)
    summary = next(predictor.predict([TEXT], samples=32))
    assert summary.text == "Sent to Paris"
    beam = next(predictor.predict([TEXT]))
    assert summary.score == pytest.approx(beam.score, abs=1e-4)
    assert [one.word for one in summary.origins()] == ["Sent", "to", "Paris"]


def test_the_same_text_has_the_same_output_in_any_batch(run: Path) -> None:
    predictor: Any = load(run)
    texts = [f"Item {at} is sent to Paris." for at in range(400, 405)]
    torch.manual_seed(3)
    together = [one.text for one in predictor.predict(texts, samples=3, beam=1)]
    assert together == [next(predictor.predict([text], samples=3, beam=1)).text for text in texts]


def test_an_unsure_model_takes_the_first_sentence(run: Path) -> None:
    predictor: Any = load(run)
    summary = next(predictor.predict([TEXT], samples=8, lead_below=1.0))
    assert summary.text == "Item 9 is sent to Paris."
    assert summary.score < next(predictor.predict([TEXT])).score
    assert len(summary.alignment.target) == len(summary.shares) == 8  # the words, the full stop and EOS


def test_the_command_takes_samples(run: Path, regard: Callable[..., Result]) -> None:
    row = json.loads(regard("summarize", run, TEXT, "--samples", 8, "--lead-below", 1, "--json").out)
    assert row["summary"] == "Item 9 is sent to Paris."
    scores = regard("eval", run, "--data", run.parent / "train.tsv", "--samples", 2, "--beam", 1)
    assert "rouge1" in scores.out
    wrong = regard("summarize", run, TEXT, "--lead-below", 0.5)
    assert (wrong.status, "only with --samples" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": -1}, "samples: must be from 0 to 1,000, got -1"),
        ({"samples": 2, "lead_below": 1.5}, "lead_below: must be from 0 to 1, got 1.5"),
        ({"lead_below": 0.2}, "lead_below: only with --samples, such as 16"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    assert CopySearchOptions(**options).problem() == message


def test_an_untrained_model_without_words_to_write_has_an_output(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("".join(f"one {at}\ttwo {at}\n" for at in range(9)))
    config = SummarizeConfig(
        data=DataConfig(train=str(tmp_path / "a.tsv")),
        model=CopyModelConfig(dim=16, copy=False, similar=2),
        train=SummarizeTrainConfig(steps=1, tokens=600),
    )
    train("summarize", config, tmp_path / "run")
    predictor: Any = load(tmp_path / "run")
    outputs = list(predictor.predict(["one 77 and more", ""], samples=4, lead_below=1.0))
    assert outputs[1].text == ""
    assert not any("<unk>" in one.text for one in outputs)
    with pytest.raises(UserError, match="text: is empty"):
        predictor.look("", samples=4)
