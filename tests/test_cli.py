"""The command line: a small run from training to use, and one line for every error of a user."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Result, run_command
from regard.data.cldr import examples
from regard.settings import read
from regard.tasks.translate.settings import TRANSLATE, TranslateConfig, demo_settings
from regard.training.run import alone
from shown_documents import read_page
from torchrun import by_processes

COLOURS = {"red": "rouge", "blue": "bleu", "green": "vert", "white": "blanc", "black": "noir"}
THINGS = {"cat": "chat", "dog": "chien", "bird": "oiseau", "book": "livre", "car": "camion"}
PAIRS = [(f"a {c} {t}", f"un {THINGS[t]} {COLOURS[c]}") for c in COLOURS for t in THINGS]
SMALL = [
    "--model.dim", "32", "--model.embedding", "16", "--model.dropout", "0", "--tokenizer.source-size", "300",
    "--tokenizer.target-size", "300", "--train.learning-rate", "0.02", "--train.warmup", "10", "--train.tokens", "300",
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "train.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS))
    return path


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "colours"
    settings = [
        "--data.train",
        corpus,
        "--data.valid",
        corpus,
        *SMALL,
        "--train.epochs",
        100,
        "--train.metric",
        "exact",
    ]
    assert run_command("train", "translate", folder, *settings) == 0
    return folder


def test_a_run_has_its_configuration_and_these_files(run: Path, corpus: Path) -> None:
    config = read(run / "config.yaml", TranslateConfig)
    assert (config.model.dim, config.data.train, config.train.epochs) == (32, str(corpus), 100)
    assert sorted(path.name for path in run.iterdir()) == [
        "best.json", "checkpoints", "config.yaml", "curves.png", "data.json", "last.json", "lock", "metrics.jsonl",
        "report.md", "run.json", "source.tokenizer.json", "target.tokenizer.json",
    ]  # fmt: skip


def test_a_run_ends_with_a_report(run: Path) -> None:
    report = (run / "report.md").read_text()
    assert "| step | epoch | loss | bleu | chrf | exact |" in report
    assert "| a red cat | un chat rouge | un chat rouge |" in report
    assert "tokens per second" in report
    assert "dim: 32" in report
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_eval_scores_the_trained_model(run: Path, corpus: Path, regard: Callable[..., Result], tmp_path: Path) -> None:
    result = regard("eval", run, "--data", corpus, "--json", "--beam", 2, "--output", tmp_path / "out.txt")
    scores = json.loads(result.out)
    assert scores["exact"]["score"] == 100.0
    assert scores["chrf"]["score"] == pytest.approx(100.0)
    assert all("version:" in scores[name]["how"] for name in ("bleu", "chrf"))
    assert (tmp_path / "out.txt").read_text().splitlines() == [target for _, target in PAIRS]
    assert "chrf" in regard("eval", run, "--data", corpus).out


def test_translate_reads_an_argument_a_file_and_standard_input(
    run: Path, regard: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert regard("translate", run, "a red cat").out == "un chat rouge\n"
    (tmp_path / "in.txt").write_text("a blue dog\n\na green book\n")
    result = regard("translate", run, "--file", tmp_path / "in.txt", "--beam", 1)
    assert result.out == "un chien bleu\n\nun livre vert\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "in.txt").read_bytes())))
    assert regard("translate", run).out == "un chien bleu\n\nun livre vert\n"


def test_an_empty_input_gives_an_empty_output(
    run: Path, regard: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert regard("translate", run, "--output", tmp_path / "out.txt") == Result(0, "", "")
    assert (tmp_path / "out.txt").read_bytes() == b""


@pytest.mark.parametrize("text", ["", " ", "\n", "\u3000"])
def test_a_blank_text_gives_an_empty_line(
    text: str, run: Path, regard: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{text.strip()}\n".encode())))
    assert regard("translate", run, text) == Result(0, "\n", "")
    assert regard("translate", run).out == "\n"
    result = regard("look", run, text, "--out", tmp_path / "a.png")
    assert (result.status, result.err) == (2, "regard: text: is empty; expected text\n")
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\f", "\v", "\x1c"])
def test_only_newlines_separate_the_lines_of_input_and_output(
    separator: str, run: Path, regard: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"\ufeffa red cat\n\na{separator}dog\r\n".encode())))
    assert regard("translate", run, "--beam", 1, "--output", tmp_path / "out.txt").out == ""
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert (lines[:2], len(lines)) == (["un chat rouge", ""], 3)


def test_look_writes_images_and_pages(
    run: Path, regard: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = regard("look", run, "a red cat")
    assert "un chat rouge" in result.out
    assert (tmp_path / "alignment.png").read_bytes().startswith(b"\x89PNG")
    regard("look", run, "a red cat", "--target", "un chien noir", "--out", "a.svg", "--html", "a.html")
    assert "<title>a red cat</title>" in (tmp_path / "a.html").read_text()
    assert "<svg" in (tmp_path / "a.svg").read_text()
    regard("look", run, "a red cat", "--target", "un chien noir", "--html", "both.html", "--beside", run)
    layers = read_page(tmp_path / "both.html")["layers"]
    assert [layer["name"] for layer in layers] == [str(run), f"{run}, last checkpoint"]
    assert layers[0]["shape"] == layers[1]["shape"]
    result = regard("translate", run, "a red cat", "--look", "b.png")
    assert (result.out, (tmp_path / "b.png").exists()) == ("un chat rouge\n", True)


def _run_of_task(path: Path, task: str) -> Path:
    (path / "other").mkdir()
    (path / "other" / "run.json").write_text(json.dumps({"task": task}))
    return path / "other"


def _broken(path: Path, run: Path, name: str, content: bytes | None) -> Path:
    shutil.copytree(run, path / "broken")
    for file in (path / "broken").rglob(name):
        file.unlink() if content is None else file.write_bytes(content)
    return path / "broken"


TRAIN = ["train", "translate"]
Make = Callable[[Path, Path, Path], list[object]]


def _using(name: str, content: bytes | None) -> Make:
    """Translate with a run whose files called ``name`` have another content, or are missing."""
    return lambda p, run, c: ["translate", _broken(p, run, name, content), "a red cat"]


MISTAKES: list[tuple[str, Make, str]] = [
    ("unknown flag", lambda p, run, c: [*TRAIN, "--model.dims", 3], "Did you mean --model.dim?"),
    ("unknown command", lambda p, run, c: ["trian"], 'Did you mean "train"?'),
    ("wrong type", lambda p, run, c: [*TRAIN, "--model.dim", "big"], "--model.dim: expected a whole number, got big"),
    ("wrong choice", lambda p, run, c: [*TRAIN, "--model.attention", "x"], 'Choose from: "additive", '),
    ("odd width", lambda p, run, c: [*TRAIN, "--model.dim", 33], "model.dim: must be even"),
    ("out of range", lambda p, run, c: [*TRAIN, "--train.epochs", 0], "train.epochs: must be above 0, got 0"),
    ("no data", lambda p, run, c: [*TRAIN, "--data.train", p / "x.tsv"], "x.tsv: no such file"),
    ("empty data", lambda p, run, c: [*TRAIN, "--data.train", _write(p / "e.tsv")], "the file is empty"),
    ("one side longer", lambda p, run, c: [*TRAIN, "--data.train", f"{c},{_write(p / 'f', 'a')}"], "aligned files"),
    ("no config", lambda p, run, c: [*TRAIN, "--config", p / "c.yaml"], "c.yaml: cannot be read"),
    ("bad config", lambda p, run, c: [*TRAIN, "--config", _write(p / "c.yaml", "model: {dims: 3}")], "model.dim?"),
    ("folder has a run", lambda p, run, c: [*TRAIN, run, "--data.train", c], "has a run already"),
    ("run is a file", lambda p, run, c: [*TRAIN, c, "--data.train", c], "is a file"),
    (
        "resume with settings",
        lambda p, run, c: [*TRAIN, run, "--resume", "--model.dim", 8],
        "cannot change with --resume",
    ),
    ("resume a missing run", lambda p, run, c: [*TRAIN, p / "none", "--resume"], "there is no such run"),
    (
        "resume without a folder",
        lambda p, run, c: [*TRAIN, "--resume"],
        "run: name the folder of the run to resume",
    ),
    ("no run", lambda p, run, c: ["translate", p / "none", "x"], "there is no such run"),
    ("not a run", lambda p, run, c: ["translate", p, "x"], "not the folder of a run"),
    ("another task's run", lambda p, run, c: ["translate", _run_of_task(p, "classify"), "x"], "of the task 'classify'"),
    ("corrupt weights", _using("model.safetensors", b"x" * 99), "not a readable safetensors file"),
    ("missing weights", _using("model.safetensors", None), "no such file"),
    ("corrupt tokenizer", _using("source.tokenizer.json", b"{"), "has changed since the run began"),
    ("corrupt config", _using("config.yaml", b"model: 3"), "config.yaml: model: expected settings below it"),
    ("other config", _using("config.yaml", b"model: {dim: 64, embedding: 8}"), "does not fit config.yaml"),
    ("missing setting", _using("config.yaml", b"model: {dim: 64}"), "a setting of the run is missing"),
    ("corrupt pointer", _using("best.json", b""), "not readable as JSON"),
    ("missing pointer", _using("best.json", None), "has no best checkpoint"),
    ("no file", lambda p, run, c: ["translate", run, "--file", p / "x.txt"], "x.txt: no such file"),
    ("not UTF-8", lambda p, run, c: ["translate", run, "--file", _write(p / "x.txt", b"\xff")], "line 1 is not UTF-8"),
    ("argument not UTF-8", lambda p, run, c: ["translate", run, "a \udcff"], "text: is not UTF-8"),
    ("look not UTF-8", lambda p, run, c: ["look", run, "a \udcff"], "text: is not UTF-8"),
    ("target not UTF-8", lambda p, run, c: ["look", run, "a", "--target", "\udcff"], "--target: is not UTF-8"),
    (
        "output into a missing folder",
        lambda p, run, c: ["translate", run, "x", "--output", p / "no" / "x"],
        "cannot be written",
    ),
    ("text and file", lambda p, run, c: ["translate", run, "x", "--file", c], "not both"),
    ("beam of 0", lambda p, run, c: ["translate", run, "x", "--beam", 0], "--beam: must be at least 1, got 0"),
    ("image format", lambda p, run, c: ["look", run, "a red cat", "--out", p / "a.gif"], ".png or .svg"),
    (
        "image into a missing folder",
        lambda p, run, c: ["look", run, "a", "--out", p / "no" / "a.png"],
        "cannot be written",
    ),
    ("page format", lambda p, run, c: ["look", run, "a red cat", "--html", p / "a.png"], "--html: expected"),
    ("beside without a page", lambda p, run, c: ["look", run, "a", "--beside", run], "--beside: is for a page"),
    (
        "beside no run",
        lambda p, run, c: ["look", run, "a", "--html", p / "a.html", "--beside", p],
        "not the folder of a run",
    ),
    ("nothing to score", lambda p, run, c: ["eval", run], "--data: name the parallel text"),
    ("bad lines", lambda p, run, c: ["eval", run, "--data", _write(p / "x.tsv", "a\tb\nc\n")], "line 2: no tab"),
]


def _write(path: Path, content: str | bytes = "") -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("name", "make", "text"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_errors_are_one_line(
    name: str, make: Make, text: str,
    tmp_path: Path, run: Path, corpus: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    result = regard(*make(tmp_path, run, corpus))
    assert result.status == 2
    assert text in result.err
    assert result.err.startswith("regard: ")
    assert result.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_bad_lines_are_skipped_on_request(tmp_path: Path, run: Path, regard: Callable[..., Result]) -> None:
    path = _write(tmp_path / "x.tsv", "a red cat\tun chat rouge\nnothing\n")
    result = regard("eval", run, "--data", path, "--data.on-bad-line", "skip", "--json")
    assert json.loads(result.out)["sentences"]["score"] == 1
    assert "1 of 2 lines left out: line 2: no tab ('nothing')" in result.err


def test_look_refuses_a_model_without_attention(
    tmp_path: Path, corpus: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["plain", "--data.train", corpus, *SMALL, "--model.attention", "none", "--train.epochs", 1]
    result = regard("train", "translate", *arguments)
    assert result.status == 0
    assert result.err.count("set aside 1 of 25 pairs for validation") == 1
    assert regard("translate", "plain", "a red cat").status == 0
    result = regard("look", "plain", "a red cat")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "no attention to look at" in result.err


def test_only_one_process_trains_in_a_run_at_a_time(run: Path, regard: Callable[..., Result]) -> None:
    with alone(run):
        result = regard("train", "translate", run, "--resume")
    assert result.status == 2
    assert "another process is training in this folder" in result.err
    assert regard("train", "translate", run, "--resume").status == 0


def test_torchrun_trains_with_several_processes(tmp_path: Path, corpus: Path) -> None:
    command = ["-m", "regard", *TRAIN, "--data.train", corpus, *SMALL, "--train.epochs", "2"]
    result = by_processes(2, *command, tmp_path / "two")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("trained ") == 1
    assert result.stderr.count("parameters · ") == 1
    assert (tmp_path / "two" / "best.json").exists()
    result = by_processes(2, *command, cwd=tmp_path)
    assert result.returncode != 0
    assert "run: name the folder that all processes share" in result.stderr


def test_the_demo_runs_twice_in_the_same_folder(
    tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = demo_settings()
    small = replace(
        config,
        data=replace(config.data, builtin_pairs=200),
        model=replace(config.model, embedding=8, dim=8),
        train=replace(config.train, epochs=1),
    )
    demo = replace(TRANSLATE.demo, settings=lambda: small)
    monkeypatch.setattr("regard.tasks.table.TASKS", (replace(TRANSLATE, demo=demo),))
    for _ in range(2):
        result = regard("demo", "translate", tmp_path / "demo")
        assert result.status == 0
        assert "exact" in result.out
        assert all(text in result.out for text in examples())
        assert "←" in result.out
        assert (tmp_path / "demo" / "alignment.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "demo" / "alignment.html").exists()
    assert json.loads(regard("eval", tmp_path / "demo", "--json", "--beam", 1).out)["sentences"]["score"] == 1000


def test_columns_can_be_numbers_in_a_file_and_in_flags(
    tmp_path: Path, corpus: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = _write(tmp_path / "c.yaml", f"data: {{train: {corpus}, source: 2}}\ntrain: {{epochs: 1}}")
    result = regard("train", "translate", "back", "--config", settings, "--data.target", 1, *SMALL)
    assert result.status == 0
    config = read(tmp_path / "back" / "config.yaml", TranslateConfig)
    assert (str(config.data.source), str(config.data.target)) == ("2", "1")
    vocabulary = (tmp_path / "back" / "source.tokenizer.json").read_text()
    assert "rouge" in vocabulary


def test_a_printed_configuration_can_be_read(tmp_path: Path, regard: Callable[..., Result]) -> None:
    result = regard("train", "translate", "--print-config", "--model.dim", 64, "--train.learning-rate", "3e-4")
    path = _write(tmp_path / "c.yaml", result.out)
    config = read(path, TranslateConfig)
    assert (config.model.dim, config.train.learning_rate) == (64, 3e-4)
    assert "# Number of features: of the decoder's state" in result.out


def test_backends_prints_what_each_backend_runs(regard: Callable[..., Result]) -> None:
    result = regard("backends")
    assert result.status == 0
    assert "reference  plain PyTorch" in result.out
    assert "PyTorch's kernel has softmax only" in " ".join(result.out.split())
    assert regard("backends", "--device", "toaster").status == 2


def test_help_is_fast_and_names_the_demo() -> None:
    began = time.perf_counter()
    result = subprocess.run([sys.executable, "-m", "regard", "--help"], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    assert "regard demo translate" in result.stdout
    assert seconds < 5  # it would be slower if it imported torch


@pytest.mark.parametrize("command", [["train", "translate"], ["translate"], ["eval"], ["look"], ["demo", "translate"]])
def test_every_command_has_help(command: list[str], regard: Callable[..., Result]) -> None:
    result = regard(*command, "--help")
    assert result.status == 0
    assert "Usage: regard " + " ".join(command) in result.out


def test_a_killed_and_resumed_run_has_the_same_weights_at_the_end(
    tmp_path: Path, corpus: Path, regard: Callable[..., Result]
) -> None:
    arguments = ["--data.train", corpus, "--data.valid", corpus, *SMALL, "--train.epochs", 4, "--train.save-every", 2]
    regard("train", "translate", tmp_path / "uninterrupted", *arguments)
    process = subprocess.Popen(
        [sys.executable, "-m", "regard", "train", "translate", str(tmp_path / "killed"), *map(str, arguments)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while not (tmp_path / "killed" / "last.json").exists() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert regard("train", "translate", tmp_path / "killed", "--resume").status == 0
    uninterrupted, killed = (
        (folder / "checkpoints" / json.loads((folder / "last.json").read_text())["checkpoint"] / "model.safetensors")
        for folder in (tmp_path / "uninterrupted", tmp_path / "killed")
    )
    assert uninterrupted.read_bytes() == killed.read_bytes()
