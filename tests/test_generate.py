"""`regard train generate`, and the commands that use its runs: generate, eval and look."""

from __future__ import annotations

import io
import json
import math
import signal
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

from conftest import Result, run_command
from regard import load
from regard.settings import read
from regard.tasks.families.language.sampling import Sampling
from regard.tasks.generate.settings import GenerateConfig, demo_settings
from regard.tasks.generate.task import Generate
from stopping import assert_same, interrupting

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 60
SMALL = [
    "--tokenizer.kind", "char", "--model.context", 24, "--model.dim", 32, "--model.layers", 2, "--model.heads", 2,
    "--train.tokens", 240, "--train.learning-rate", 0.01, "--train.warmup", 5,
]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "fox.txt"
    path.write_text(TEXT)
    return path


def _train(folder: Path, text: Path, *settings: object) -> Path:
    with redirect_stdout(io.StringIO()):
        assert run_command("train", "generate", folder, "--data.train", text, *SMALL, *settings) == 0
    return folder


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(tmp_path_factory.mktemp("runs") / "fox", text, "--model.dropout", 0, "--train.epochs", 20)


def test_a_trained_model_continues_its_training_text(run: Path, regard: Callable[..., Result]) -> None:
    assert regard("generate", run, "the quick", "--temperature", 0, "--tokens", 35).out == TEXT[:44] + "\n"
    first, second = (regard("generate", run, "the lazy", "--seed", 5).out for _ in range(2))
    assert first == second
    assert first.startswith("the lazy dog.")


def test_a_stop_text_ends_generation(run: Path, regard: Callable[..., Result]) -> None:
    options = ["--temperature", 0, "--stop", "jumps", "--stop", "over the"]
    assert regard("generate", run, "the quick", *options).out == "the quick brown fox \n"


def test_generation_beyond_the_context(text: Path, run: Path, tmp_path: Path, regard: Callable[..., Result]) -> None:
    assert regard("generate", run, TEXT[:44], "--temperature", 0, "--tokens", 90).out == TEXT[:134] + "\n"
    learned = _train(
        tmp_path / "learned", text, "--model.dropout", 0, "--train.epochs", 20, "--model.positions", "learned"
    )
    assert regard("generate", learned, TEXT[:44], "--temperature", 0, "--tokens", 90).out == TEXT[:134] + "\n"


def test_eval_prints_loss_perplexity_and_bits_per_byte(run: Path, text: Path, regard: Callable[..., Result]) -> None:
    scores = json.loads(regard("eval", run, "--json").out)
    assert scores["loss"]["score"] < 0.5
    assert scores["perplexity"]["score"] == pytest.approx(math.exp(scores["loss"]["score"]))
    scores = json.loads(regard("eval", run, "--data", text, "--json").out)
    # As many tokens are scored as the text has bytes: EOS is, and the first character is not.
    assert scores["bits_per_byte"]["score"] == pytest.approx(scores["loss"]["score"] / math.log(2), rel=1e-6)
    assert "bits_per_byte" in regard("eval", run).out


def test_look_writes_an_image_and_a_page(run: Path, regard: Callable[..., Result], tmp_path: Path) -> None:
    result = regard(
        "look", run, "the fox", "--layer", 0, "--head", 1, "--out", tmp_path / "h.png", "--html", tmp_path / "h.html"
    )
    assert result.status == 0
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")
    assert "<html" in (tmp_path / "h.html").read_text()
    shown = load(run).look("the fox").document()
    assert shown.title == "the fox"
    assert [layer.name for layer in shown.layers] == [f"layer {at}" for at in range(len(shown.layers))]
    rows = shown.layers[-1].tensors["rows"]
    assert len(rows) > 1
    torch.testing.assert_close(rows.sum(-1), torch.ones(rows.shape[:2]))
    torch.testing.assert_close(rows.triu(1), torch.zeros_like(rows))


@pytest.mark.parametrize("prompt", ["", " ", "\n", "\u3000", "\x00"])
def test_blank_and_empty_prompts(prompt: str, run: Path, regard: Callable[..., Result], tmp_path: Path) -> None:
    result = regard("generate", run, prompt, "--seed", 1, "--tokens", 5)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(prompt)
    assert len(result.out) > len(prompt) + 1
    result = regard("look", run, prompt, "--out", tmp_path / "a.png")
    assert (result.status, result.err.count("\n")) == ((2, 1) if prompt == "" else (0, 0))
    assert ("expected 1 to 24 tokens (model.context), got 0" in result.err) is (prompt == "")


def test_a_run_has_its_configuration_and_a_report(run: Path) -> None:
    assert read(run / "config.yaml", GenerateConfig).model.dim == 32
    report = (run / "report.md").read_text()
    assert "bits_per_byte" in report
    assert "> the quick brown fox jumps over the lazy dog.\n" in report


@pytest.mark.parametrize("options", [[], ["--model.no-attention"]], ids=["attention", "no attention"])
def test_the_recurrent_model(options: list[str], text: Path, tmp_path: Path, regard: Callable[..., Result]) -> None:
    folder = _train(
        tmp_path / "lstm", text, "--model.dropout", 0, "--train.epochs", 12, "--model.kind", "lstm", *options
    )
    assert (
        regard("generate", folder, "the quick", "--temperature", 0, "--tokens", 20).out
        == "the quick brown fox jumps ove\n"
    )
    result = regard("look", folder, "the fox", "--out", tmp_path / "h.png")
    assert ("no attention to look at" in result.err) == bool(options)


def test_resuming_is_exact(text: Path, tmp_path: Path, regard: Callable[..., Result]) -> None:
    settings = ["--train.epochs", 3, "--train.save-every", 4]
    complete, stopped = _train(tmp_path / "complete", text, *settings), tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regard.tasks.running.Log", interrupting(7, signal.SIGINT))
        result = regard("train", "generate", stopped, "--data.train", text, *SMALL, *settings)
    assert (result.status, "stopped after step 7" in result.err) == (130, True)
    assert f"regard train generate {stopped} --resume" in result.err
    report = (stopped / "report.md").read_text()
    assert ("7 steps over" in report, "None yet: training was interrupted" in report) == (True, True)
    assert regard("train", "generate", stopped, "--resume").status == 0
    assert "None yet" not in (stopped / "report.md").read_text()
    assert_same(complete, stopped)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "{run}", "x", "--tokens", 0], "--tokens: must be at least 1, got 0"),
        (["generate", "{run}", "x", "--temperature", -1], "--temperature: must be at least 0, got -1"),
        (["generate", "{run}", "x", "--top-p", 0], "--top-p: must be above 0 and at most 1, got 0"),
        (["generate", "{run}", "x", "--top-k", 0], "--top-k: must be at least 1, got 0"),
        (["generate", "{run}", "x", "--penalty", 0], "--penalty: must be above 0, got 0"),
        (["generate", "{run}", "\udcff"], "prompt: is not UTF-8"),
        (["generate", "{run}", "x", "--stop", "\udcff"], "--stop: is not UTF-8"),
        (["generate", "{run}", "x", "--stop", ""], "--stop: got an empty text"),
        (["translate", "{run}", "x"], "is a run of the task 'generate', not of 'translate'"),
        (["eval", "{run}", "--beam", 2], "Unknown option: --beam."),
        (["look", "{run}", "the", "--target", "x"], "Unknown option: --target."),
        (["look", "{run}", "the", "--layer", 2], "--layer: this model has layers 0 to 1, got 2"),
        (["look", "{run}", "the", "--head", 2], "--head: this model has heads 0 to 1, got 2"),
        (["look", "{run}", "the fox " * 9], "expected 1 to 24 tokens (model.context), got 72"),
        (["train", "generate", "--model.dim", 33, "--model.heads", 2], "model.dim: must be an even multiple"),
        (["train", "generate", "--model.key-heads", 3], "model.key_heads: must divide model.heads, 4, got 3"),
        (["train", "generate", "--train.tokens", 100, "--model.context", 256], "train.tokens: must be at least model"),
        (["train", "generate", "--tokenizer.size", 100], "tokenizer.size: must be at least 300"),
        (["train", "generate", "--model.dropout", 1], "model.dropout: must be at least 0 and below 1, got 1"),
        (["train", "generate", "--model.layers", 0], "model.layers: must be above 0, got 0"),
        (["train", "generate", "{new}", "--data.valid", "x.txt"], "data.valid: needs --data.train"),
        (["train", "generate", "{new}", "--data.train", "nowhere.txt"], "nowhere.txt: no such file"),
    ],
)  # fmt: skip
def test_a_mistake_gives_a_one_line_error(
    arguments: list[object], message: str, run: Path, tmp_path: Path, regard: Callable[..., Result]
) -> None:
    names = {"run": run, "new": tmp_path / "new"}
    result = regard(*(str(argument).format(**names) for argument in arguments))
    assert result.status == 2
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_penalty_gives_more_different_characters_and_top_k_1_is_greedy(run: Path) -> None:
    writer = Generate().predictor(read(run / "config.yaml", GenerateConfig), run, "best")

    def write(sampling: Sampling) -> str:
        return "".join(writer.write("the quick", sampling, tokens=15))

    greedy = write(Sampling(temperature=0))
    assert greedy == " brown fox jump"
    assert len(set(write(Sampling(temperature=0, penalty=50.0)))) > len(set(greedy))
    for seed in (1, 2):
        assert write(Sampling(temperature=5.0, top_k=1, seed=seed)) == greedy


def test_the_demo_is_a_valid_configuration() -> None:
    assert demo_settings().problem() is None
