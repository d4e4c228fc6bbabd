"""Defaults that depend on the size of the data, changes on resume, and numbers and arguments that are refused."""

from __future__ import annotations

import json
import math
import re
import shlex
import signal
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from PIL import Image

from conftest import Result
from job import run as run_job
from regard.cli.main import main
from regard.data.tokenizer import Tokenizer
from regard.errors import UserError
from regard.settings import read
from regard.tasks import counting
from regard.tasks.counting import count_tokens
from regard.tasks.families.language.data import set_aside
from regard.tasks.families.language.trainable import LanguageTrainable
from regard.tasks.families.seq2seq.data import PairData
from regard.tasks.generate.settings import GenerateConfig
from regard.tasks.generate.task import Generate, reference
from regard.tasks.table import TASKS
from regard.tasks.translate.settings import TranslateConfig
from regard.tasks.translate.task import Translate
from regard.training.config import TrainConfig
from regard.training.defaults import fill, known
from regard.training.progress import Progress
from regard.training.resume import MAY_CHANGE, changed
from regard.training.schedule import warmup_factor

SIZES = (40, 260, 3000, 30_000)


def test_defaults_replace_only_settings_that_are_not_set() -> None:
    config = GenerateConfig(train=GenerateConfig().train.__class__(epochs=3))
    filled, chosen = fill(config, {"train.epochs": 50, "model.context": 32})
    assert (filled.train.epochs, filled.model.context, chosen) == (3, 32, {"model.context": 32})
    with pytest.raises(UserError, match="a setting of the run is missing"):
        known(config.model.context)


@pytest.mark.parametrize("size", SIZES)
def test_default_epochs_of_parallel_text_give_enough_steps(size: int, tmp_path: Path) -> None:
    pairs = [(f"the number {n} of the list", f"le numéro {n} de la liste") for n in range(size)]
    text, code = PairData.of(pairs, pairs[:1]), Translate()
    chosen: dict[str, Any] = dict(code.defaults(TranslateConfig(), text))
    config = TranslateConfig(**_sections(TranslateConfig, chosen))
    assert config.problem() is None
    assert 256 <= chosen["train.tokens"] <= 4096
    code.prepare(config, text, tmp_path, lambda line: None)
    batches = code.trainable(config, tmp_path, text, lambda line: None).batches(0)
    steps = 1000 + 9 * math.sqrt(size)
    assert 0.8 * steps <= chosen["train.epochs"] * len(batches) <= 1.5 * steps  # padding adds batches


@pytest.mark.parametrize("kind", ["byte", "word", "char"])
def test_token_counts_are_exact_for_small_texts_and_within_5_percent_for_larger_ones(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = reference()[:60]
    exact = sum(len(row) + 1 for row in Tokenizer.train(texts, kind=kind, size=600).encode_batch(texts))
    assert count_tokens(texts, kind=kind, size=600) == exact
    monkeypatch.setattr(counting, "_SAMPLE", sum(map(len, texts)) // 4)
    assert count_tokens(texts, kind=kind, size=600) == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("size", [600, 840, 10_000, 1_000_000])
def test_the_default_context_is_at_most_an_eighth_of_the_text(size: int) -> None:
    text = set_aside(["the fox jumps over the lazy dog. " * (size // 33)], lambda line: None)
    chosen: dict[str, Any] = dict(Generate().defaults(GenerateConfig(), text))
    assert 8 <= chosen["model.context"] <= 256
    assert chosen["model.context"] <= size / 8
    assert GenerateConfig(**_sections(GenerateConfig, chosen)).problem() is None


def _sections(kind: type, chosen: dict[str, Any]) -> dict[str, Any]:
    filled, _ = fill(kind(), chosen)
    return {field.name: getattr(filled, field.name) for field in fields(kind)}


def test_the_default_warm_up_is_a_twentieth_of_the_training_and_at_most_200_steps() -> None:
    assert warmup_factor(0, 0.0, None) == 1 / 200
    assert warmup_factor(5, 0.05, None) == 1.0  # a run of about 120 steps
    assert warmup_factor(199, 0.001, None) == 1.0  # a run of 200,000 steps
    assert warmup_factor(9, 0.025, None) == 0.5
    assert TrainConfig().warmup is None


def test_a_run_that_is_extended_has_no_second_warm_up(tmp_path: Path) -> None:
    run_job(tmp_path, epochs=3, warmup=None, schedule="constant")
    run_job(tmp_path, epochs=300, steps=40, warmup=None, schedule="constant", resume=True)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    rates = {line["step"]: line["rate"] for line in lines if "rate" in line}
    assert rates[10] == rates[20] == rates[40] == TrainConfig().learning_rate


@pytest.mark.parametrize("error", [RuntimeError("of a kernel"), MemoryError(), KeyboardInterrupt()], ids=repr)
def test_a_run_that_fails_in_its_first_step_leaves_no_folder(
    error: BaseException, tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    (tmp_path / "tiny.txt").write_text("the quick brown fox jumps over the lazy dog. " * 18)
    run = tmp_path / "run"
    command = ["train", "generate", run, "--data.train", tmp_path / "tiny.txt", "--train.steps", 2]
    with monkeypatch.context() as patch:
        patch.setattr(LanguageTrainable, "loss", fail)
        if isinstance(error, MemoryError):
            result = regard(*command)
            assert result.err.endswith(
                "regard: training: out of memory; try a smaller model, or a smaller --train.tokens\n"
            )
        elif isinstance(error, KeyboardInterrupt):
            assert regard(*command).status == 130
        else:
            with pytest.raises(RuntimeError, match="of a kernel"):
                main(list(map(str, command)))
    assert not run.exists()
    assert regard(*command).status == 0


def test_sigterm_before_the_first_step_leaves_no_run(
    tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminate(*arguments: object) -> None:
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL  # else the signal would end the tests
        signal.raise_signal(signal.SIGTERM)

    (tmp_path / "tiny.txt").write_text("the quick brown fox jumps over the lazy dog. " * 18)
    runs = tmp_path / "runs"
    before = signal.getsignal(signal.SIGTERM)
    for name in ("regard.tasks.families.language.task.build", "regard.data.tokenizer.Tokenizer.save"):
        with monkeypatch.context() as patch:
            patch.setattr(name, terminate)
            assert regard("train", "generate", runs / "run", "--data.train", tmp_path / "tiny.txt").status == 143
        assert not list(runs.glob("*"))
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_validation_loss_of_nan_stops_training(
    tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.txt").write_text("the quick brown fox jumps over the lazy dog. " * 18)
    monkeypatch.setattr(LanguageTrainable, "evaluate", lambda self, part: {"loss": math.nan, "bits_per_byte": math.nan})
    result = regard("train", "generate", tmp_path / "run", "--data.train", tmp_path / "tiny.txt", "--train.steps", 2)
    assert result.err.endswith(
        "regard: training: the validation loss is nan at step 1; try a smaller --train.learning-rate\n"
    )


def test_a_tiny_text_trains_with_defaults_which_the_run_keeps(tmp_path: Path, regard: Callable[..., Result]) -> None:
    (tmp_path / "tiny.txt").write_text("the quick brown fox jumps over the lazy dog. " * 18)
    run = tmp_path / "a run"
    command = ["train", "generate", run, "--data.train", tmp_path / "tiny.txt"]
    result = regard(*command, "--model.context", 5000)
    assert result.status == 2
    assert "model.context: must be below" in result.err
    assert not run.exists()  # the corrected command can use the same folder
    result = regard(*command, "--train.epochs", 2)
    assert result.status == 0, result.err
    assert "chosen by the size of the data: --tokenizer.size 300 --model.context" in result.err
    assert f"regard generate {shlex.quote(str(run))} " in result.out
    config = read(run / "config.yaml", GenerateConfig)
    assert config.model.context is not None
    assert config.train.epochs == 2
    steps = json.loads((run / "last.json").read_text())["step"]
    assert regard("train", "generate", run, "--resume", "--train.epochs", 4).status == 0
    assert read(run / "config.yaml", GenerateConfig).train.epochs == 4
    assert json.loads((run / "last.json").read_text())["step"] == 2 * steps


def test_only_some_settings_may_change_on_resume() -> None:
    before = TranslateConfig()
    kind = type(before.train)
    longer = changed(before, TranslateConfig(train=kind(epochs=300, patience=3)), TranslateConfig())
    assert (longer.train.epochs, longer.train.patience) == (300, 3)
    with pytest.raises(UserError, match=r"--train.learning-rate: cannot change with --resume.*--train.epochs"):
        changed(before, TranslateConfig(train=kind(learning_rate=0.1)), TranslateConfig())


def test_the_training_page_lists_the_settings_that_may_change_on_resume() -> None:
    page = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `--train\.([a-z-]+)` \| (.+) \|$", page, re.MULTILINE))
    assert rows == {name.replace("_", "-"): effect for name, effect in MAY_CHANGE.items()}


def _numbers() -> Iterator[tuple[str, str, bool]]:
    """Task, flag, and whether the type is float, of every setting that is a number."""
    for spec in TASKS:
        for section, hint in get_type_hints(spec.settings).items():
            for name, inner in get_type_hints(hint).items() if is_dataclass(hint) else ():
                options = set(get_args(inner) or (inner,))
                if options & {int, float} and str not in options:
                    yield spec.name, f"--{section}.{name}".replace("_", "-"), float in options


def _first_with_each_setting() -> Iterator[Any]:
    """The rows of `_numbers`: those of a setting that another task before has under the same name are long tests."""
    flags: set[str] = set()
    for task, flag, is_float in _numbers():
        yield pytest.param(task, flag, is_float, marks=pytest.mark.long if flag in flags else ())
        flags.add(flag)


@pytest.mark.parametrize(("task", "flag", "is_float"), list(_first_with_each_setting()), ids=str)
def test_settings_refuse_nan_and_infinity_and_integers_refuse_fractions(
    task: str, flag: str, is_float: bool, regard: Callable[..., Result]
) -> None:
    for value in ("nan", "inf", "-inf") if is_float else ("3.5", "nan", "9" * 20):
        result = regard("train", task, f"{flag}={value}", "--print-config")
        assert result.status == 2
        assert result.err.startswith(f"regard: {flag}: ")
        assert result.err.count("\n") == 1


UNLIMITED = {
    "steps", "minutes", "learning-rate", "warmup", "accumulate", "weight-decay", "clip", "average", "evaluate-every",
    "patience", "save-every", "seed", "tokens", "batch", "mixup", "validate-on", "coverage", "min-rating", "core",
}  # fmt: skip
"""Settings without an upper limit: a large number means "all", "never", or at least no more work per step."""


@pytest.mark.parametrize(
    ("task", "flag"), [(t, f) for t, f, _ in _numbers() if f.split(".")[1] not in UNLIMITED], ids=str
)
def test_settings_that_cost_memory_or_time_refuse_huge_numbers(
    task: str, flag: str, regard: Callable[..., Result]
) -> None:
    result = regard("train", task, f"{flag}={10**12}", "--print-config")
    assert result.status == 2
    assert result.err.startswith(f"regard: {flag[2:].replace('-', '_')}: must be at ")


def test_a_key_that_a_file_has_twice_is_an_error(tmp_path: Path, regard: Callable[..., Result]) -> None:
    (tmp_path / "twice.yaml").write_text("train:\n  epochs: 3\nmodel: {}\ntrain:\n  steps: 4\n")
    result = regard("train", "translate", "--config", tmp_path / "twice.yaml", "--print-config")
    assert result.status == 2
    assert "line 4: train is given twice" in result.err


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        *((f"train {spec.name} RUN 'my data'", "to train on it, write --data.train 'my data'") for spec in TASKS),
        ("eval RUN test.tsv", "to score on it, write --data test.tsv"),
        ("translate RUN a b c", "a text of several words needs quotation marks"),
        ("look RUN a b", "a text of several words needs quotation marks"),
        ("generate RUN a b", "a prompt of several words needs quotation marks"),
        ("export RUN model.onnx more", "see regard export --help"),
        ("demo classify-image RUN more", "see regard demo classify-image --help"),
        ("backends more", "see regard backends --help"),
    ],
)
def test_the_error_for_an_extra_argument_has_a_hint(
    command: str, hint: str, tmp_path: Path, regard: Callable[..., Result]
) -> None:
    words = shlex.split(command)
    name = " ".join(words[: 2 if words[0] in ("train", "demo") else 1])
    extra = {"translate": "b c", "look": "b", "generate": "b"}.get(words[0], shlex.quote(words[-1]))
    result = regard(*(tmp_path / "run" if word == "RUN" else word for word in words))
    assert result.status == 2
    assert result.err == f"regard: {extra}: not expected after the arguments of regard {name}; {hint}\n"


def test_a_file_instead_of_a_run_folder_is_an_error(tmp_path: Path, regard: Callable[..., Result]) -> None:
    (tmp_path / "my.tsv").write_text("a\tb\n")
    result = regard("train", "translate", tmp_path / "my.tsv")
    assert result.err.endswith(
        f"is a file; name a folder for the run, and the data with --data.train {tmp_path}/my.tsv\n"
    )


@pytest.mark.parametrize(
    ("task", "data"),
    [
        ("translate", "the built-in English-French corpus"),
        ("generate", "the built-in text, Python's language reference"),
        ("classify-image", "the built-in images, the handwritten digits of scikit-learn"),
    ],
)
def test_training_says_that_it_uses_the_built_in_data(
    task: str, data: str, tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.tasks.running._fit", lambda *arguments, **options: Progress())  # only reads the data
    monkeypatch.chdir(tmp_path)
    result = regard("train", task, "run", *(["--data.builtin-pairs", 50] if task == "translate" else []))
    assert result.status == 0
    assert f"no --data.train: training on {data}" in result.err


def _suggested_command(output: str) -> str:
    """The command on the line "use it:" at the end of training."""
    return next(line.removeprefix("use it:").strip() for line in output.splitlines() if line.startswith("use it:"))


@pytest.mark.parametrize("attention", ["none", "query"])
def test_the_command_that_image_training_suggests_works(
    attention: str, tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
        (tmp_path / "colours" / name).mkdir(parents=True)
        for n in range(4):
            Image.new("RGB", (16, 16), (*colour[:1], 10 * n, *colour[2:])).save(f"colours/{name}/{n}.png")
    Image.new("RGB", (16, 16), (200, 0, 0)).save("photo.jpg")
    settings = ["--model.width", 4, "--model.blocks", 1, "--train.steps", 1, "--data.size", 16, "--augment.cutout", 0]
    result = regard(
        "train", "classify-image", "a run", "--data.train", "colours", "--model.attention", attention, *settings
    )
    assert result.status == 0, result.err
    words = shlex.split(_suggested_command(result.out))
    assert words[:3] == ["regard", "classify", "a run"]
    assert ("--look" in words) == (attention == "query")
    result = regard(*words[1:])
    assert (result.status, result.out.count("\n")) == (0, 1), result.err
    assert (tmp_path / "overlay.png").exists() == (attention == "query")


def test_look_does_not_overwrite_an_image_unless_it_is_named(
    tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.tsv").write_text("".join(f"number {n}\tnombre {n}\n" for n in range(20)))
    (tmp_path / "alignment.png").write_text("my image")
    settings = ["--train.steps", 1, "--model.dim", 8, "--model.embedding", 4]
    assert regard("train", "translate", "run", "--data.train", "pairs.tsv", *settings).status == 0
    for free in ("alignment-2.png", "alignment-3.png"):
        result = regard("look", "run", "number 3", "--target", "nombre 3")
        assert result.out.endswith(f"drawn in {free}\n")
        assert (tmp_path / free).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "alignment.png").read_text() == "my image"
    assert regard("look", "run", "number 3", "--target", "nombre 3", "--out", "alignment.png").status == 0
    assert (tmp_path / "alignment.png").read_bytes().startswith(b"\x89PNG")
