"""Defaults that follow the size of the data, what may change when a run is resumed, and numbers no setting can have."""

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
from regard.cli.app import KINDS
from regard.cli.config import read
from regard.cli.main import main
from regard.data.tokenizer import Tokenizer
from regard.errors import UserError
from regard.tasks import counting
from regard.tasks.counting import count_tokens
from regard.tasks.generate import data as text_data
from regard.tasks.generate.config import GenerateConfig
from regard.tasks.generate.defaults import defaults as text_defaults
from regard.tasks.generate.task import GenerateTask
from regard.tasks.running import Training
from regard.tasks.translate.config import TranslateConfig
from regard.tasks.translate.data import Text, save_tokenizers, train_tokenizers
from regard.tasks.translate.defaults import defaults as pair_defaults
from regard.tasks.translate.task import TranslateTask
from regard.train.config import TrainConfig
from regard.train.defaults import fill, known
from regard.train.loop import Progress
from regard.train.resume import MAY_CHANGE, changed
from regard.train.schedule import warmup_factor

SIZES = (40, 260, 3000, 30_000)


def test_only_what_is_not_set_is_chosen() -> None:
    config = GenerateConfig(train=GenerateConfig().train.__class__(epochs=3))
    filled, chosen = fill(config, {"train.epochs": 50, "model.context": 32})
    assert (filled.train.epochs, filled.model.context, chosen) == (3, 32, {"model.context": 32})
    with pytest.raises(UserError, match="a setting of the run is missing"):
        known(config.model.context)


@pytest.mark.parametrize("size", SIZES)
def test_small_parallel_text_takes_many_small_steps(size: int, tmp_path: Path) -> None:
    pairs = [(f"the number {n} of the list", f"le numéro {n} de la liste") for n in range(size)]
    text = Text(pairs, pairs[:1])
    chosen: dict[str, Any] = pair_defaults(TranslateConfig(), text)
    config = TranslateConfig(**_sections(TranslateConfig, chosen))
    assert config.problem() is None
    assert 256 <= chosen["train.tokens"] <= 4096
    save_tokenizers(tmp_path, *train_tokenizers(pairs, config.tokenizer))
    batches = TranslateTask.of_run(tmp_path, config, text, lambda line: None).batches(0)
    wanted = 1000 + 9 * math.sqrt(size)
    assert 0.8 * wanted <= chosen["train.epochs"] * len(batches) <= 1.5 * wanted  # padding makes more batches


@pytest.mark.parametrize("kind", ["byte", "word", "char"])
def test_tokens_are_counted_exactly_up_to_the_sample_and_closely_above(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = text_data.reference()[:60]
    exact = sum(len(row) + 1 for row in Tokenizer.train(texts, kind=kind, size=600).encode_batch(texts))
    assert count_tokens(texts, kind=kind, size=600) == exact
    monkeypatch.setattr(counting, "_SAMPLE", sum(map(len, texts)) // 4)
    assert count_tokens(texts, kind=kind, size=600) == pytest.approx(exact, rel=0.05)


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
    assert warmup_factor(0, 0.0, None) == 1 / 200
    assert warmup_factor(5, 0.05, None) == 1.0  # a run of some 120 steps
    assert warmup_factor(199, 0.001, None) == 1.0  # a run of 200,000
    assert warmup_factor(9, 0.025, None) == 0.5
    assert TrainConfig().warmup is None


def test_a_run_that_is_lengthened_does_not_warm_up_again(tmp_path: Path) -> None:
    run_job(tmp_path, epochs=3, warmup=None, schedule="constant")
    run_job(tmp_path, epochs=300, steps=40, warmup=None, schedule="constant", resume=True)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    rates = {line["step"]: line["rate"] for line in lines if "rate" in line}
    assert rates[10] == rates[20] == rates[40] == TrainConfig().learning_rate


@pytest.mark.parametrize("error", [RuntimeError("of a kernel"), MemoryError(), KeyboardInterrupt()], ids=repr)
def test_a_run_that_did_not_start_does_not_block_the_same_command(
    error: BaseException, tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    (tmp_path / "tiny.txt").write_text("the quick brown fox jumps over the lazy dog. " * 18)
    run = tmp_path / "run"
    command = ["train", "generate", run, "--data.train", tmp_path / "tiny.txt", "--train.steps", 2]
    with monkeypatch.context() as patch:
        patch.setattr(GenerateTask, "loss", fail)
        if isinstance(error, MemoryError):
            told = regard(*command)
            assert told.err.endswith(
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
    for name in ("regard.tasks.generate.task.build", "regard.data.tokenizer.Tokenizer.save"):
        with monkeypatch.context() as patch:
            patch.setattr(name, terminate)
            assert regard("train", "generate", runs / "run", "--data.train", tmp_path / "tiny.txt").status == 143
        assert not list(runs.glob("*"))
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_validation_loss_that_is_no_number_stops_training(
    tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.txt").write_text("the quick brown fox jumps over the lazy dog. " * 18)
    monkeypatch.setattr(GenerateTask, "evaluate", lambda self: {"loss": math.nan, "bits_per_byte": math.nan})
    told = regard("train", "generate", tmp_path / "run", "--data.train", tmp_path / "tiny.txt", "--train.steps", 2)
    assert told.err.endswith(
        "regard: training: the validation loss is nan at step 1; try a smaller --train.learning-rate\n"
    )


def test_a_tiny_text_trains_by_defaults_and_the_run_keeps_what_was_chosen(
    tmp_path: Path, regard: Callable[..., Result]
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


def test_the_page_on_training_lists_what_may_change_on_resume() -> None:
    page = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `--train\.([a-z-]+)` \| (.+) \|$", page, re.MULTILINE))
    assert rows == {name.replace("_", "-"): effect for name, effect in MAY_CHANGE.items()}


def _numbers() -> Iterator[tuple[str, str, bool]]:
    """Task, flag and whether it is real, of every setting that is a number."""
    for task, kind in KINDS.items():
        for section, hint in get_type_hints(kind).items():
            for name, inner in get_type_hints(hint).items() if is_dataclass(hint) else ():
                options = set(get_args(inner) or (inner,))
                if options & {int, float} and str not in options:
                    yield task, f"--{section}.{name}".replace("_", "-"), float in options


@pytest.mark.parametrize(("task", "flag", "real"), list(_numbers()), ids=lambda value: str(value))
def test_numbers_that_no_setting_can_have(task: str, flag: str, real: bool, regard: Callable[..., Result]) -> None:
    for value in ("nan", "inf", "-inf") if real else ("3.5", "nan", "9" * 20):
        told = regard("train", task, f"{flag}={value}", "--print-config")
        assert told.status == 2
        assert told.err.startswith(f"regard: {flag}: ")
        assert told.err.count("\n") == 1


UNLIMITED = {
    "steps", "minutes", "learning-rate", "warmup", "accumulate", "weight-decay", "clip", "average", "evaluate-every",
    "patience", "save-every", "seed", "tokens", "batch", "mixup",
}  # fmt: skip
"""Settings under which a large number means "as much as there is", "never", or is at least no more work."""


@pytest.mark.parametrize(
    ("task", "flag"), [(t, f) for t, f, _ in _numbers() if f.split(".")[1] not in UNLIMITED], ids=str
)
def test_numbers_that_no_machine_can_train_with(task: str, flag: str, regard: Callable[..., Result]) -> None:
    told = regard("train", task, f"{flag}={10**12}", "--print-config")
    assert told.status == 2
    assert told.err.startswith(f"regard: {flag[2:].replace('-', '_')}: must be at ")


def test_a_key_given_twice_in_a_file(tmp_path: Path, regard: Callable[..., Result]) -> None:
    (tmp_path / "twice.yaml").write_text("train:\n  epochs: 3\nmodel: {}\ntrain:\n  steps: 4\n")
    told = regard("train", "translate", "--config", tmp_path / "twice.yaml", "--print-config")
    assert told.status == 2
    assert "line 4: train is given twice" in told.err


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        *((f"train {task} RUN 'my data'", "to train on it, write --data.train 'my data'") for task in KINDS),
        ("eval RUN test.tsv", "to score on it, write --data test.tsv"),
        ("translate RUN a b c", "a text of several words needs quotation marks"),
        ("look RUN a b", "a text of several words needs quotation marks"),
        ("generate RUN a b", "a prompt of several words needs quotation marks"),
        ("export RUN model.onnx more", "see regard export --help"),
        ("demo image RUN more", "see regard demo image --help"),
        ("backends more", "see regard backends --help"),
    ],
)
def test_an_argument_too_many_names_what_works(
    command: str, hint: str, tmp_path: Path, regard: Callable[..., Result]
) -> None:
    words = shlex.split(command)
    name = " ".join(words[: 2 if words[0] in ("train", "demo") else 1])
    extra = {"translate": "b c", "look": "b", "generate": "b"}.get(words[0], shlex.quote(words[-1]))
    told = regard(*(tmp_path / "run" if word == "RUN" else word for word in words))
    assert told.status == 2
    assert told.err == f"regard: {extra}: not expected after the arguments of regard {name}; {hint}\n"


def test_a_file_in_place_of_the_folder_of_a_run(tmp_path: Path, regard: Callable[..., Result]) -> None:
    (tmp_path / "my.tsv").write_text("a\tb\n")
    told = regard("train", "translate", tmp_path / "my.tsv")
    assert told.err.endswith(
        f"is a file; name a folder for the run, and the data with --data.train {tmp_path}/my.tsv\n"
    )


@pytest.mark.parametrize(
    ("task", "named"),
    [
        ("translate", "the built-in English-French corpus"),
        ("generate", "the built-in text, Python's language reference"),
        ("image", "the built-in images, the handwritten digits of scikit-learn"),
    ],
)
def test_training_says_that_it_uses_the_built_in_data(
    task: str, named: str, tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Training, "_fit", lambda *arguments, **options: Progress())  # the data alone
    monkeypatch.chdir(tmp_path)
    told = regard("train", task, "run", *(["--data.builtin-pairs", 50] if task == "translate" else []))
    assert told.status == 0
    assert f"no --data.train: training on {named}" in told.err


def _shown(lines: str) -> str:
    """The command of the line "use it:"."""
    return next(line.removeprefix("use it:").strip() for line in lines.splitlines() if line.startswith("use it:"))


@pytest.mark.parametrize("attention", ["none", "query"])
def test_the_printed_line_that_uses_an_image_run_works_as_printed(
    attention: str, tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
        (tmp_path / "colours" / name).mkdir(parents=True)
        for n in range(4):
            Image.new("RGB", (16, 16), (*colour[:1], 10 * n, *colour[2:])).save(f"colours/{name}/{n}.png")
    Image.new("RGB", (16, 16), (200, 0, 0)).save("photo.jpg")
    settings = ["--model.width", 4, "--model.blocks", 1, "--train.steps", 1, "--data.size", 16, "--augment.cutout", 0]
    told = regard("train", "image", "a run", "--data.train", "colours", "--model.attention", attention, *settings)
    assert told.status == 0, told.err
    words = shlex.split(_shown(told.out))
    assert words[:3] == ["regard", "classify", "a run"]
    assert ("--look" in words) == (attention == "query")
    told = regard(*words[1:])
    assert (told.status, told.out.count("\n")) == (0, 1), told.err
    assert (tmp_path / "overlay.png").exists() == (attention == "query")


def test_look_draws_into_a_file_that_is_not_there_yet(
    tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.tsv").write_text("".join(f"number {n}\tnombre {n}\n" for n in range(20)))
    (tmp_path / "alignment.png").write_text("a picture of mine")
    settings = ["--train.steps", 1, "--model.dim", 8, "--model.embedding", 4]
    assert regard("train", "translate", "run", "--data.train", "pairs.tsv", *settings).status == 0
    for free in ("alignment-2.png", "alignment-3.png"):
        told = regard("look", "run", "number 3", "--target", "nombre 3")
        assert told.out.endswith(f"drawn in {free}\n")
        assert (tmp_path / free).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "alignment.png").read_text() == "a picture of mine"
    assert regard("look", "run", "number 3", "--target", "nombre 3", "--out", "alignment.png").status == 0
    assert (tmp_path / "alignment.png").read_bytes().startswith(b"\x89PNG")
