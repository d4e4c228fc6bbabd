"""Summaries: what is copied and from where, lengths, references, settings, and learning with and without copying."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from conftest import Result
from regard.data.tokenizer import BOS, UNK
from regard.data.words import LONG, MEDIUM, SHORT
from regard.errors import UserError
from regard.tasks.families.seq2seq.copying_settings import CopyModelConfig, WordsConfig
from regard.tasks.families.seq2seq.data import PairData
from regard.tasks.families.seq2seq.settings import TransformerConfig
from regard.tasks.running import evaluate, load, train
from regard.tasks.summarize.settings import DataConfig, SummarizeConfig, SummarizeTrainConfig
from regard.tasks.summarize.task import Summarize

LENGTHS = ("short", "medium", "long")

NAMES = [
    f"{first}{second}" for first in ("Zor", "Bim", "Lax", "Dun", "Kev") for second in ("ka", "lo", "mi", "pa", "tu")
]
"""Names of which those of the test texts are in no training text."""


def _pairs(count: int, start: int = 0) -> list[tuple[str, str]]:
    """Pairs with names that occur only once, as they end in a number that begins with ``start``."""
    pairs = []
    for at in range(start, start + count):
        one, other = f"{NAMES[at % 20]}{at}", f"{NAMES[at * 7 % 20]}x{at}"
        pairs.append((f"Yesterday {one} met {other} in the town.", f"{other} was met."))
    return pairs


def _write(path: Path, pairs: list[tuple[str, str]]) -> str:
    path.write_text("".join(f"{one}\t{other}\n" for one, other in pairs))
    return str(path)


def _config(path: str | None, **model: Any) -> SummarizeConfig:
    return SummarizeConfig(
        data=DataConfig(train=path),
        model=CopyModelConfig(**{"dim": 32, "dropout": 0.0, **model}),
        train=SummarizeTrainConfig(steps=150, tokens=600, epochs=40, label_smoothing=0.0, warmup=10),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("summarize")
    train("summarize", _config(_write(folder / "train.tsv", _pairs(400))), folder / "run")
    _write(folder / "test.tsv", _pairs(40, start=1000))
    return folder


def test_names_that_were_never_seen_are_copied_whole(trained: Path) -> None:
    scores = evaluate(trained / "run", str(trained / "test.tsv"))
    assert scores["rougeL"].value > 95
    assert 15 < scores["copied"].value < 60  # the name, and not "was met."
    assert scores["place"].value > 80
    assert "40 words; by chance" in scores["place"].how
    predictor: Any = load(trained / "run")
    summary = predictor.look("Yesterday Ann met O'Neil-7.250 in the town.")
    assert summary.text == "O'Neil-7.250 was met."
    origin = summary.origins()
    assert [(one.word, one.copied) for one in origin] == [
        ("O'Neil-7.250", True), ("was", False), ("met", False), (".", False)
    ]  # fmt: skip
    assert origin[0].place == 3
    assert summary.to_dict()["words"][0] == {"word": "O'Neil-7.250", "copied": pytest.approx(1.0), "from": 3}


def test_look_prints_the_origin_of_each_word(trained: Path, tmp_path: Path) -> None:
    predictor = load(trained / "run")
    summary = predictor.look("Yesterday Ann met Bob9 in the town.", target="Ann was strange.")
    console = Console(file=io.StringIO(), width=80)
    summary.show(console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[:2] == ["Yesterday Ann met Bob9 in the town.", "Ann was strange."]
    assert "Ann  copied   100%  from piece 2: Yesterday Ann met Bob9 in the" in lines[2]
    assert lines[4].strip().startswith("<unk>  written")
    for name in ("a.png", "a.html", "a.svg"):
        summary.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size
    with pytest.raises(UserError, match="text: is empty; expected text"):
        predictor.look("")


def test_results_have_the_origins(trained: Path, regard: Callable[..., Result]) -> None:
    result = regard("summarize", trained / "run", "Yesterday Ann met Bob9 in the town.", "--json", "--beam", 1)
    row = json.loads(result.out)
    assert (row["summary"], row["words"][0]["word"]) == ("Bob9 was met.", "Bob9")


def test_several_summaries_of_a_text_are_references(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "several.jsonl"
    source, target = _pairs(1, start=2000)[0]
    path.write_text(json.dumps({"text": source, "summary": ["nothing alike", target]}))
    scores = evaluate(trained / "run", str(path), output=tmp_path / "out.txt")
    assert scores["rouge1"].value == pytest.approx(100.0)
    assert "the largest of 2.0 references" in scores["rouge1"].how
    assert (tmp_path / "out.txt").read_text() == f"{target}\n"


def test_a_long_text_is_read_to_the_limit(trained: Path) -> None:
    predictor: Any = replace(load(trained / "run"), max_length=4)  # type: ignore[type-var]
    article = predictor.read("Yesterday Ann met Bob in the town.")
    assert len(article) == 5
    assert list(article.extra.values()) == ["Ann", "Bob"]
    assert next(predictor.predict(["Yesterday Ann met Bob in the town. " * 50])).alignment.source[-2:] == (
        "▁Bob",
        "<eos>",
    )


@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_without_copying_unknown_words_are_never_written(kind: Any, tmp_path: Path) -> None:
    config = _config(_write(tmp_path / "a.tsv", _pairs(60)), kind=kind, copy=False)
    transformer = TransformerConfig(encoder_layers=1, decoder_layers=1, heads=2, hidden=32)
    config = replace(config, transformer=transformer) if kind == "transformer" else config
    train("summarize", replace(config, train=replace(config.train, steps=20)), tmp_path / "run")
    predictor: Any = load(tmp_path / "run")
    summary = predictor.look("Yesterday Ann met Bob9 in the town.")
    assert (summary.shares, summary.origins()) == (None, [])
    assert summary.alignment.weights.shape == (len(summary.alignment.target), 9)
    assert "<unk>" not in summary.text
    assert UNK in predictor.rows(_pairs(1, start=3000)).source.tokens
    assert "copied" not in evaluate(tmp_path / "run", str(tmp_path / "a.tsv"), beam=1)


def test_a_fixed_context_has_no_place_to_look_at(tmp_path: Path) -> None:
    config = _config(_write(tmp_path / "a.tsv", _pairs(60)), attention="none", copy=False)
    train("summarize", replace(config, train=replace(config.train, steps=3)), tmp_path / "run")
    assert not {"copied", "place"} & set(evaluate(tmp_path / "run", str(tmp_path / "a.tsv"), beam=1))
    with pytest.raises(UserError, match="no attention to look at"):
        load(tmp_path / "run").look("a b")


def test_every_second_training_summary_begins_with_its_length(tmp_path: Path) -> None:
    task, config = Summarize(), _config(None)
    config = replace(config, tokenizer=WordsConfig(size=200), model=replace(config.model, embedding=16))
    pairs = PairData.of([(f"text {at}", "word " * (at // 4 + 1)) for at in range(24)], [("a", "b")])
    task.prepare(config, pairs, tmp_path, lambda line: None)
    messages: list[str] = []
    predictor = replace(task.untrained(config, tmp_path), max_target=5)
    rows = task.training_rows(predictor, config, pairs, messages.append)
    assert messages == ["left out 4 of 24 training summaries, which are longer than 5 words (--data.max-summary)"]
    assert rows.first.tolist() == [BOS, SHORT] * 4 + [BOS, MEDIUM] * 2 + [BOS, LONG] * 4
    (_, _, target, _), _ = rows.batch([1, 2], torch.device("cpu"))
    assert target[:, 0].tolist() == [SHORT, BOS]
    with pytest.raises(UserError, match=r"data\.max_summary: all 24 training summaries are longer than 0 words"):
        task.training_rows(replace(predictor, max_target=0), config, pairs, messages.append)


def _of_length(at: int, length: int) -> tuple[str, str]:
    """A text of which nothing tells the length of the summary, and its summary: 0 short, 1 medium, 2 long."""
    one, other = f"{NAMES[at % 20]}{at}", f"{NAMES[at * 7 % 20]}x{at}"
    summary = (f"{other} left.", f"{other} left the town.", f"{other} and {one} left in the evening.")
    return f"Yesterday {one} met {other} in the town.", summary[length]


@pytest.fixture(scope="module")
def lengths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lengths")
    # Not in turn: each length must occur both with and without its token, which every second summary begins with.
    pairs = [_of_length(at, at // 2 % 3) for at in range(600)]
    config = _config(_write(folder / "train.tsv", pairs))
    train("summarize", replace(config, train=replace(config.train, steps=250)), folder / "run")
    return folder


@pytest.mark.parametrize(("at", "length"), list(enumerate(LENGTHS)))
def test_a_wanted_length_is_written(at: int, length: str, lengths: Path) -> None:
    predictor: Any = load(lengths / "run")
    pairs = [_of_length(number, at) for number in range(1000, 1040)]
    summaries = list(predictor.predict([text for text, _ in pairs], length=length, beam=1))
    words = [len(summary.text.split()) for summary in summaries]
    assert np.mean(np.array(words) == (2, 4, 7)[at]) > 0.9
    assert np.mean([summary.text == short for summary, (_, short) in zip(summaries, pairs, strict=True)]) > 0.8
    assert predictor.look(pairs[0][0], length=length).text == next(predictor.predict([pairs[0][0]], length=length)).text


def test_a_wanted_length_is_scored(lengths: Path) -> None:
    test = _write(lengths / "test.tsv", [_of_length(number, 2) for number in range(1000, 1040)])
    scores = {length: evaluate(lengths / "run", test, length=length, beam=1)["rougeL"].value for length in LENGTHS}
    assert scores["long"] > 90 > 80 > scores["medium"] > scores["short"]


def test_the_command_takes_a_length(lengths: Path, regard: Callable[..., Result]) -> None:
    text = _of_length(1000, 0)[0]
    results = [regard("summarize", lengths / "run", text, "--length", length) for length in LENGTHS]
    assert [len(result.out.split()) for result in results] == [2, 4, 7]
    wrong = regard("summarize", lengths / "run", text, "--length", "tiny")
    assert (wrong.status, "short" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": {"attention": "none"}}, "model.attention: none has no attention to copy with; set --model.no-copy"),
        ({"model": {"copy": False, "coverage": 1.0}}, "model.coverage: only for a model that copies"),
        ({"model": {"coverage": -1.0}}, "model.coverage: must not be below 0"),
        ({"tokenizer": {"size": 20}}, "tokenizer.size: must be at least 100, got 20"),
        ({"tokenizer": {"kind": "byte"}}, "unknown setting tokenizer.kind"),
        ({"data": {"max_summary": 0}}, "data.max_summary: must be above 0"),
        ({"data": {"builtin_pairs": 0}}, "data.builtin_pairs: must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        train("summarize", settings, tmp_path / "run")
