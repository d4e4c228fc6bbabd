"""Pretraining on masked words: what is masked and learned, how it is stopped and resumed, and what is carried over."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Result
from regard.data.masking import Masking, begins_word
from regard.data.plain import read_plain
from regard.data.word_features import Features
from regard.errors import UserError
from regard.models.text import TextClassifier
from regard.settings import from_dict
from regard.tasks.classify_text.settings import ClassifyTextConfig
from regard.tasks.classify_text.task import ClassifyText
from regard.tasks.families.classify.labeller import load_classes
from regard.tasks.inputs.masked_words import masked_words
from regard.tasks.pretraining import unlabelled
from regard.tasks.running import resume, train
from regard.training.config import TrainConfig
from regard.training.distributed import World
from regard.training.gradient import add_gradients, share_of_loss
from regard.training.interrupt import Interrupted
from regard.training.masked import MaskedTexts
from regard.training.pretrain_config import PretrainConfig
from regard.training.pretraining import pretrain
from stopping import assert_same, interrupting, tensors
from torchrun import by_processes

KINDS = ("cnn", "gru", "transformer")
TINY: dict[str, Any] = {
    "data": {"builtin_texts": 60},
    "model": {"kind": "transformer", "dim": 8, "width": 8, "heads": 2, "layers": 1, "buckets": 50},
    "train": {"steps": 2, "batch": 16},
    "pretrain": {"steps": 4, "tokens": 200},
}
WORDS = ("red", "green", "blue", "owl", "cat", "dog")


def test_a_seventh_of_the_words_is_masked_in_three_ways() -> None:
    masking = Masking(hidden=0, targets=np.arange(-2, 500))
    tokens = np.random.default_rng(1).integers(0, 502, 20_000)
    masked = masking.mask(tokens, np.random.default_rng(0))
    assert len(masked.places) == round(0.15 * (tokens >= 2).sum())
    assert (tokens[masked.places] >= 2).all()
    assert (masked.targets == tokens[masked.places] - 2).all()
    read = masked.tokens[masked.places]
    assert (read == 0).mean() == pytest.approx(0.8, abs=0.02)
    assert (read == tokens[masked.places]).mean() == pytest.approx(0.1, abs=0.02)
    assert (read != 1).all()
    others = np.delete(np.arange(len(tokens)), masked.places)
    assert (masked.tokens[others] == tokens[others]).all()


def test_a_short_text_has_one_masked_word_and_words_are_masked_as_a_whole() -> None:
    begins = begins_word(["<pad>", "▁un", "do", "ing", "▁it", "!", "▁", "東", "京"])
    assert begins.tolist() == [True, True, False, False, True, True, True, True, True]
    masking = Masking(hidden=0, targets=np.arange(-1, 8), begins=begins)
    seen = set()
    for seed in range(30):
        masked = masking.mask(np.array([1, 2, 3, 4]), np.random.default_rng(seed))
        seen.add(tuple(masked.places.tolist()))
        hidden = masked.tokens[masked.places] == 0
        assert hidden.all() or not hidden.any()
    assert seen == {(0, 1, 2), (3,)}


def _texts(kind: Any = "transformer", **settings: Any) -> MaskedTexts:
    """Texts in which each word is determined by the one before it."""
    random = np.random.default_rng(0)
    starts = random.integers(0, len(WORDS), 300)
    lengths = random.integers(3, 9, 300)
    texts = [" ".join(WORDS[(start + at) % len(WORDS)] for at in range(length))
             for start, length in zip(starts, lengths, strict=True)]  # fmt: skip
    torch.manual_seed(0)
    features = Features(WORDS, 40)
    model = TextClassifier(features.count, 2, kind=kind, dim=16, width=16, heads=2, layers=1, dropout=0.0)
    model.word_dropout = 0.0
    config = PretrainConfig(**{"tokens": 400, "steps": 120, "learning_rate": 0.02, **settings})
    return masked_words(model, features, texts, config, window=6, seed=0)


def _pretrain(task: MaskedTexts, folder: Path) -> list[dict[str, float]]:
    """The metrics of each validation."""
    world = World(0, 1, torch.device("cpu"))
    pretrain(task, TrainConfig(), folder, world, lambda line: None, resume=False)
    lines = (folder / "pretraining" / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if "valid_loss" in line]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_encoder_learns_to_restore_words(kind: str, tmp_path: Path) -> None:
    last = _pretrain(_texts(kind), tmp_path)[-1]
    assert last["valid_accuracy"] > 60 > 2 * last["valid_most_frequent"]
    assert last["valid_loss"] < 1.2 < np.log(len(WORDS))


def test_a_time_ends_pretraining(tmp_path: Path) -> None:
    validations = _pretrain(_texts(minutes=0.01, steps=0), tmp_path)
    assert 0 < validations[-1]["step"] < 2000


def test_masks_do_not_depend_on_the_number_of_processes() -> None:
    task = _texts()
    rows = list(task.batches(3)[0])
    assert rows == list(_texts().batches(3)[0])
    assert min(rows) >= 3 * len(task.train)
    whole, count = task.loss(task.model, rows)
    parts = [task.loss(task.model, rows[at::2]) for at in range(2)]
    assert sum(number for _, number in parts) == count
    torch.testing.assert_close(sum(loss for loss, _ in parts), whole)
    assert not torch.equal(task.loss(task.model, [row - len(task.train) for row in rows])[0], whole)


def test_padding_rows_and_hidden_features_stay_as_they_are() -> None:
    task = _texts()
    add_gradients(share_of_loss(task), task.model, [list(range(20))], World(0, 1, torch.device("cpu")), bfloat16=True)
    gradient = task.model.encoder.embeddings.grad
    assert gradient is not None
    assert not gradient[0].any()
    assert all(parameter.grad is not None for parameter in task.model.parameters())


OTHERS: dict[str, dict[str, Any]] = {
    "answer": {"data": {"builtin_questions": 40}, "tokenizer": {"size": 400}},
    "summarize": {"data": {"builtin_pairs": 60, "max_length": 30, "max_summary": 25}, "tokenizer": {"size": 400}},
}
STILL = {"steps": 1, "tokens": 256, "learning_rate": 1e-30, "weight_decay": 0.0}
"""Settings with which the training changes nothing."""


@pytest.mark.parametrize(
    ("task", "kind"),
    [("answer", "conv"), ("answer", "gru"), ("summarize", "gru"), ("summarize", "transformer")],
)
def test_the_encoders_of_other_tasks_are_pretrained(task: str, kind: str, tmp_path: Path) -> None:
    model = {"kind": kind, "dim": 16}
    config = {**OTHERS[task], "model": model, "train": STILL, "pretrain": {"steps": 3, "tokens": 256}}
    if kind == "transformer":
        config["transformer"] = {"encoder_layers": 1, "decoder_layers": 1, "heads": 2, "hidden": 16}
    train(task, config, tmp_path / "run")
    ours, pretrained = tensors(tmp_path / "run"), tensors(tmp_path / "run" / "pretraining", which="best")
    carried = {name.removeprefix("encoder."): name for name in pretrained if name.startswith("encoder.")}
    assert carried.keys() < ours.keys()
    assert any("embedding" in name for name in carried)
    assert all(torch.equal(ours[name], pretrained[other]) for name, other in carried.items())
    lines = (tmp_path / "run" / "pretraining" / "metrics.jsonl").read_text().splitlines()
    assert "valid_accuracy" in json.loads(lines[-1])


def test_too_few_texts_are_refused() -> None:
    features = Features(WORDS, 0)
    model = TextClassifier(features.count, 2, dim=8, width=8)
    with pytest.raises(UserError, match="at least two different texts with words of the vocabulary, got 1"):
        masked_words(model, features, ["red cat", "red cat", "x"], PretrainConfig(), window=6, seed=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained") / "run"
    train("classify-text", TINY, folder)
    return folder


def test_the_run_reports_what_was_pretrained(run: Path) -> None:
    report = (run / "report.md").read_text()
    assert "## Pretraining\n\nIt restores " in report
    assert "% of the masked words of " in report
    assert "4 steps" in report


def test_the_training_begins_with_the_pretrained_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = {**TINY, "train": {**TINY["train"], "learning_rate": 1e-30, "weight_decay": 0.0}}
    train("classify-text", still, tmp_path / "run")
    ours, pretrained = tensors(tmp_path / "run"), tensors(tmp_path / "run" / "pretraining", which="best")
    carried = {name.removeprefix("encoder."): name for name in pretrained if name.startswith("encoder.")}
    assert {"embedding.weight", "encoder.project.weight", "encoder.norm.bias"} <= carried.keys() <= ours.keys()
    assert all(torch.equal(ours[name], pretrained[other]) for name, other in carried.items())
    printed = capsys.readouterr().err
    assert "pretraining: restores " in printed
    assert f"initial weights from the pretraining: {len(carried)} of {len(ours)} tensors" in printed
    assert "not copied, only in this model: pool." in printed.replace("seed, query, ", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_pretraining_is_resumed_exactly(
    run: Path, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("regard.training.pretraining.Log", interrupting(2, number))
        with pytest.raises(Interrupted):
            train("classify-text", TINY, tmp_path / "run")
    assert not (tmp_path / "run" / "last.json").exists()
    resume(tmp_path / "run")
    assert_same(run / "pretraining", tmp_path / "run" / "pretraining")
    assert_same(run, tmp_path / "run")


def test_a_training_that_was_interrupted_after_its_pretraining_is_resumed_exactly(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("regard.tasks.running.Log", interrupting(1, signal.SIGINT))
        with pytest.raises(Interrupted):
            train("classify-text", TINY, tmp_path / "run")
    before = (tmp_path / "run" / "pretraining" / "last.json").stat().st_mtime_ns
    resume(tmp_path / "run")
    assert (tmp_path / "run" / "pretraining" / "last.json").stat().st_mtime_ns == before
    assert_same(run, tmp_path / "run")


def test_other_texts_are_noticed_when_pretraining_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "more.txt").write_text("Is my ticket still valid?\n\nAnd the ticket of my friend?\n")
    config = {**TINY, "pretrain": {**TINY["pretrain"], "data": str(tmp_path / "more.txt")}}
    with monkeypatch.context() as patch:
        patch.setattr("regard.training.pretraining.Log", interrupting(2, signal.SIGINT))
        with pytest.raises(Interrupted):
            train("classify-text", config, tmp_path / "run")
    (tmp_path / "more.txt").write_text("Is my ticket not valid?\n")
    with pytest.raises(UserError, match="the texts of its pretraining have changed"):
        resume(tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "content", "column"),
    [
        ("a.txt", "One, two\n\nthree\n", None),
        ("a.tsv", "id\ttext\n1\tOne, two\n2\t\n3\tthree\n", None),
        ("a.csv", 'body,n\n"One, two",1\nthree,2\n', None),
        ("a.csv", 'x,n\n"One, two",1\nthree,2\n', "x"),
        ("a.tsv", "good\tOne, two\nbad\tthree\n", 2),
        ("a.jsonl", '{"text": "One, two"}\n{"text": "three"}\n', None),
    ],
)
def test_texts_are_read_from_lines_and_columns(
    name: str, content: str, column: str | int | None, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    texts, notes = read_plain(str(tmp_path / name), column)
    assert texts == ["One, two", "three"]
    assert notes[0].startswith(str(tmp_path / name))


def test_validation_texts_and_repeats_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("new\nheld out\ntrain\nnew\n")
    config, notes = PretrainConfig(steps=1, data=str(tmp_path / "a.txt")), list[str]()
    assert unlabelled(config, ["train", "other"], ["held out"], notes.append) == ["train", "other", "new"]
    assert notes[-1].endswith("1 texts are left out, since they are validation texts")


def test_words_of_more_texts_follow_those_of_the_training_texts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the okapi sleeps\nthe zebra sleeps\na zebra\n")
    task, vocabularies = ClassifyText(), []
    for more in ({}, {"steps": 1, "data": str(tmp_path / "a.txt")}):
        config = from_dict(ClassifyTextConfig, {"data": TINY["data"], "pretrain": more}, "settings")
        task.prepare(config, task.read(config, lambda line: None), tmp_path, lambda line: None)
        vocabularies.append(load_classes(tmp_path, "vocabulary")[1]["vocabulary"])
    without, with_more = vocabularies
    assert with_more[: len(without)] == without
    assert set(with_more[len(without) :]) == {"sleeps", "zebra"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minutes": -1}, "pretrain.minutes: must not be below 0, got -1"),
        ({"steps": 1, "tokens": 0}, "pretrain.tokens: must be above 0, got 0"),
        ({"data": "a.txt"}, "pretrain.data: needs --pretrain.minutes or --pretrain.steps"),
        ({"steps": 1, "column": 2}, "pretrain.column: is a column of --pretrain.data"),
        ({"steps": 1}, "train.init: gives initial weights, as does the pretraining"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: dict[str, Any], message: str) -> None:
    config = from_dict(ClassifyTextConfig, {"pretrain": settings}, "settings")
    if "init" in message:
        config = replace(config, train=replace(config.train, init="runs/other"))
    assert message in (config.problem() or "")


def test_the_command_cannot_change_pretraining_on_resume(run: Path, regard: Callable[..., Result]) -> None:
    result = regard("train", "classify-text", run, "--resume", "--pretrain.minutes", 3)
    assert result.status == 2
    assert "--pretrain.minutes: cannot change with --resume" in result.err


@pytest.mark.long
def test_two_processes_pretrain_as_one(tmp_path: Path) -> None:
    options = [
        "--model.kind", "transformer", "--model.dim", "8", "--model.width", "8", "--model.heads", "2",
        "--model.buckets", "50", "--model.dropout", "0", "--model.word-dropout", "0", "--data.builtin-texts", "60",
        "--train.steps", "12", "--pretrain.steps", "22", "--pretrain.tokens", "200",
    ]  # fmt: skip
    metrics = []
    for count in (1, 2):
        result = by_processes(count, "-m", "regard", "train", "classify-text", tmp_path / f"run{count}", *options)
        assert result.returncode == 0, result.stderr[-2000:]
        lines = [(tmp_path / f"run{count}" / name / "metrics.jsonl").read_text() for name in ("pretraining", ".")]
        metrics.append([json.loads(line) for line in "".join(lines).splitlines()])
    one, two = metrics
    assert len(one) == len(two) > 4
    for first, second in zip(one, two, strict=True):
        for name in {"loss", "valid_loss", "norm"} & first.keys():
            assert second[name] == pytest.approx(first[name], rel=2e-3)
