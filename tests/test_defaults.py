"""Defaults that follow the size of the data, what may change when a run is resumed, and numbers no setting can have."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from conftest import Told
from regard.cli.app import KINDS
from regard.cli.config import read
from regard.errors import UserError
from regard.tasks.generate import data as text_data
from regard.tasks.generate.config import GenerateConfig
from regard.tasks.generate.defaults import defaults as text_defaults
from regard.tasks.translate.config import TranslateConfig
from regard.tasks.translate.data import Text
from regard.tasks.translate.defaults import defaults as pair_defaults
from regard.train.config import TrainConfig
from regard.train.defaults import fill, known, warmup_share
from regard.train.resume import changed
from regard.train.schedule import rate

SIZES = (40, 260, 3000, 30_000)


def test_only_what_is_not_set_is_chosen() -> None:
    config = GenerateConfig(train=GenerateConfig().train.__class__(epochs=3))
    filled, chosen = fill(config, {"train.epochs": 50, "model.context": 32})
    assert (filled.train.epochs, filled.model.context, chosen) == (3, 32, {"model.context": 32})
    with pytest.raises(UserError, match="a setting of the run is missing"):
        known(config.model.context)


@pytest.mark.parametrize("size", SIZES)
def test_small_parallel_text_takes_many_small_steps(size: int) -> None:
    pairs = [(f"the number {n} of the list", f"le numéro {n} de la liste") for n in range(size)]
    chosen: dict[str, Any] = pair_defaults(TranslateConfig(), Text(pairs, pairs[:1]))
    tokens = sum(len((a + b).encode()) for a, b in pairs) / 3
    steps = chosen["train.epochs"] * tokens / chosen["train.tokens"]
    assert 1000 <= steps <= 6000
    assert 256 <= chosen["train.tokens"] <= 4096
    assert TranslateConfig(**_sections(TranslateConfig, chosen)).problem() is None


@pytest.mark.parametrize("size", [600, 840, 10_000, 1_000_000])
def test_a_text_trains_with_the_context_that_it_allows(size: int) -> None:
    text = text_data.set_aside(["the fox jumps over the lazy dog. " * (size // 33)], lambda line: None)
    chosen: dict[str, Any] = text_defaults(GenerateConfig(), text)
    assert 8 <= chosen["model.context"] <= 256
    assert chosen["model.context"] <= size / 8
    assert GenerateConfig(**_sections(GenerateConfig, chosen)).problem() is None


def _sections(kind: type, chosen: dict[str, Any]) -> dict[str, Any]:
    filled, _ = fill(kind(), chosen)
    return {field.name: getattr(filled, field.name) for field in fields(kind)}


def test_the_default_warm_up_is_a_twentieth_of_the_training_and_at_most_200_steps() -> None:
    assert warmup_share(0, 0.0) == 1 / 200
    assert warmup_share(5, 0.05) == 1.0  # a run of some 120 steps
    assert warmup_share(199, 0.001) == 1.0  # a run of 200,000
    assert rate(9, 0.025, highest=1.0, warmup=None, schedule="constant") == 0.5
    assert TrainConfig().warmup is None


def test_a_tiny_text_trains_by_defaults_and_the_run_keeps_what_was_chosen(
    tmp_path: Path, regard: Callable[..., Told]
) -> None:
    (tmp_path / "tiny.txt").write_text("the quick brown fox jumps over the lazy dog. " * 18)
    run = tmp_path / "a run"
    command = ["train", "generate", run, "--data.train", tmp_path / "tiny.txt"]
    told = regard(*command, "--model.context", 5000)
    assert told.status == 2
    assert "model.context: must be below" in told.err
    assert not run.exists()  # a failed start does not block the mended command
    told = regard(*command, "--train.epochs", 2)
    assert told.status == 0, told.err
    assert "chosen by the size of the data: --tokenizer.size 300 --model.context" in told.err
    assert f"regard generate {shlex.quote(str(run))} " in told.out
    config = read(run / "config.yaml", GenerateConfig)
    assert config.model.context is not None
    assert config.train.epochs == 2
    steps = json.loads((run / "last.json").read_text())["step"]
    assert regard("train", "generate", run, "--resume", "--train.epochs", 4).status == 0
    assert read(run / "config.yaml", GenerateConfig).train.epochs == 4
    assert json.loads((run / "last.json").read_text())["step"] == 2 * steps


def test_what_may_change_on_resume() -> None:
    before = TranslateConfig()
    kind = type(before.train)
    longer = changed(before, TranslateConfig(train=kind(epochs=300, patience=3)), TranslateConfig())
    assert (longer.train.epochs, longer.train.patience) == (300, 3)
    with pytest.raises(UserError, match=r"--train.learning-rate: belongs to the run.*--train.epochs"):
        changed(before, TranslateConfig(train=kind(learning_rate=0.1)), TranslateConfig())


def _numbers() -> Iterator[tuple[str, str, bool]]:
    """Task, flag and whether it is real, of every setting that is a number."""
    for task, kind in KINDS.items():
        for section, hint in get_type_hints(kind).items():
            for name, inner in get_type_hints(hint).items() if is_dataclass(hint) else ():
                options = set(get_args(inner) or (inner,))
                if options & {int, float} and str not in options:
                    yield task, f"--{section}.{name}".replace("_", "-"), float in options


@pytest.mark.parametrize(("task", "flag", "real"), list(_numbers()), ids=lambda value: str(value))
def test_numbers_that_no_setting_can_have(task: str, flag: str, real: bool, regard: Callable[..., Told]) -> None:
    for value in ("nan", "inf", "-inf") if real else ("3.5", "nan", "9" * 20):
        told = regard("train", task, f"{flag}={value}", "--print-config")
        assert told.status == 2
        assert told.err.startswith(f"regard: {flag}: ")
        assert told.err.count("\n") == 1


def test_a_key_given_twice_in_a_file(tmp_path: Path, regard: Callable[..., Told]) -> None:
    (tmp_path / "twice.yaml").write_text("train:\n  epochs: 3\nmodel: {}\ntrain:\n  steps: 4\n")
    told = regard("train", "translate", "--config", tmp_path / "twice.yaml", "--print-config")
    assert told.status == 2
    assert "line 4: train is given twice" in told.err


@pytest.mark.parametrize("task", KINDS)
def test_a_file_without_its_flag(task: str, tmp_path: Path, regard: Callable[..., Told]) -> None:
    told = regard("train", task, tmp_path / "run", "my data.tsv")
    assert (told.status, told.err) == (
        2, "regard: 'my data.tsv': not expected here; to train on it, write --data.train 'my data.tsv'\n"
    )  # fmt: skip
