"""The command line as a new user meets it: a whole small run, and every mistake told in one line."""

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

from conftest import Result
from regard.cli.config import read
from regard.cli.main import main
from regard.data.cldr import examples
from regard.tasks.translate.commands import demo_config
from regard.tasks.translate.config import TranslateConfig
from regard.train.run import alone
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
    arguments = ["train", "translate", folder, "--data.train", corpus, "--data.valid", corpus, *SMALL]
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in [*arguments, "--train.epochs", 100, "--train.metric", "exact"]])
    assert not end.value.code
    return folder


def test_a_run_keeps_its_whole_configuration(run: Path, corpus: Path) -> None:
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
    assert "tokens a second" in report
    assert "dim: 32" in report
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_it_learnt_and_scores(run: Path, corpus: Path, regard: Callable[..., Result], tmp_path: Path) -> None:
    told = regard("eval", run, "--data", corpus, "--json", "--beam", 2, "--output", tmp_path / "out.txt")
    scores = json.loads(told.out)
    assert scores["exact"]["score"] == 100.0
    assert scores["chrf"]["score"] == pytest.approx(100.0)
    assert all("version:" in scores[name]["how"] for name in ("bleu", "chrf"))
    assert (tmp_path / "out.txt").read_text().splitlines() == [target for _, target in PAIRS]
    assert "chrf" in regard("eval", run, "--data", corpus).out


def test_translating_text_files_and_standard_input(
    run: Path, regard: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert regard("translate", run, "a red cat").out == "un chat rouge\n"
    (tmp_path / "in.txt").write_text("a blue dog\n\na green book\n")
    assert (
        regard("translate", run, "--file", tmp_path / "in.txt", "--beam", 1).out == "un chien bleu\n\nun livre vert\n"
    )
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "in.txt").read_bytes())))
    assert regard("translate", run).out == "un chien bleu\n\nun livre vert\n"


def test_an_empty_input_gives_nothing(
    run: Path, regard: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert regard("translate", run, "--output", tmp_path / "out.txt") == Result(0, "", "")
    assert (tmp_path / "out.txt").read_bytes() == b""


@pytest.mark.parametrize("text", ["", " ", "\n", "\u3000"])
def test_a_blank_text_is_an_empty_line(
    text: str, run: Path, regard: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{text.strip()}\n".encode())))
    assert regard("translate", run, text) == Result(0, "\n", "")
    assert regard("translate", run).out == "\n"
    told = regard("look", run, text, "--out", tmp_path / "a.png")
    assert (told.status, told.err) == (0, "")
    assert "<eos>" in told.out


@pytest.mark.parametrize("mark", ["\u2028", "\u0085", "\f", "\v", "\x1c"])
def test_one_line_in_is_one_line_out(
    mark: str, run: Path, regard: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"\ufeffa red cat\n\na{mark}dog\r\n".encode())))
    assert regard("translate", run, "--beam", 1, "--output", tmp_path / "out.txt").out == ""
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert (lines[:2], len(lines)) == (["un chat rouge", ""], 3)


def test_looking(run: Path, regard: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = regard("look", run, "a red cat")
    assert "un chat rouge" in told.out
    assert (tmp_path / "alignment.png").read_bytes().startswith(b"\x89PNG")
    regard("look", run, "a red cat", "--target", "un chien noir", "--out", "a.svg", "--html", "a.html")
    assert "chien" in (tmp_path / "a.html").read_text()
    assert "<svg" in (tmp_path / "a.svg").read_text()
    told = regard("translate", run, "a red cat", "--look", "b.png")
    assert (told.out, (tmp_path / "b.png").exists()) == ("un chat rouge\n", True)


def _folder(path: Path, task: str) -> Path:
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
    """Translate with a run of which the files called ``name`` are replaced, or removed."""
    return lambda p, run, c: ["translate", _broken(p, run, name, content), "a red cat"]


MISTAKES: list[tuple[str, Make, str]] = [
    ("unknown flag", lambda p, run, c: [*TRAIN, "--model.dims", 3], "Did you mean --model.dim?"),
    ("unknown command", lambda p, run, c: ["trian"], "train"),
    ("wrong type", lambda p, run, c: [*TRAIN, "--model.dim", "big"], "--model.dim"),
    ("wrong choice", lambda p, run, c: [*TRAIN, "--model.attention", "x"], "additive"),
    ("odd width", lambda p, run, c: [*TRAIN, "--model.dim", 33], "model.dim: must be even"),
    ("out of range", lambda p, run, c: [*TRAIN, "--train.epochs", 0], "train.epochs: must be above 0, got 0"),
    ("no data", lambda p, run, c: [*TRAIN, "--data.train", p / "x.tsv"], "x.tsv: no such file"),
    ("empty data", lambda p, run, c: [*TRAIN, "--data.train", _touch(p / "e.tsv")], "the file is empty"),
    ("one side longer", lambda p, run, c: [*TRAIN, "--data.train", f"{c},{_touch(p / 'f', 'a')}"], "aligned files"),
    ("no config", lambda p, run, c: [*TRAIN, "--config", p / "c.yaml"], "c.yaml: cannot be read"),
    ("bad config", lambda p, run, c: [*TRAIN, "--config", _touch(p / "c.yaml", "model: {dims: 3}")], "model.dim?"),
    ("run is taken", lambda p, run, c: [*TRAIN, run, "--data.train", c], "holds a run already"),
    ("run is a file", lambda p, run, c: [*TRAIN, c, "--data.train", c], "is a file"),
    (
        "resume with settings",
        lambda p, run, c: [*TRAIN, run, "--resume", "--model.dim", 8],
        "belongs to the run and cannot change",
    ),
    ("resume nothing", lambda p, run, c: [*TRAIN, p / "none", "--resume"], "no such run folder"),
    ("resume what", lambda p, run, c: [*TRAIN, "--resume"], "run: name the folder of the run to go on with"),
    ("no run", lambda p, run, c: ["translate", p / "none", "x"], "no such run folder"),
    ("not a run", lambda p, run, c: ["translate", p, "x"], "not the folder of a run"),
    ("another task's run", lambda p, run, c: ["translate", _folder(p, "classify"), "x"], "of the task 'classify'"),
    ("corrupt weights", _using("model.safetensors", b"x" * 99), "not a readable safetensors file"),
    ("missing weights", _using("model.safetensors", None), "no such file"),
    ("corrupt tokenizer", _using("source.tokenizer.json", b"{"), "has changed since the run began"),
    ("corrupt config", _using("config.yaml", b"model: 3"), "config.yaml: model: expected settings below it"),
    ("other config", _using("config.yaml", b"model: {dim: 64, embedding: 8}"), "does not fit config.yaml"),
    ("missing setting", _using("config.yaml", b"model: {dim: 64}"), "a setting of the run is missing"),
    ("corrupt pointer", _using("best.json", b""), "not readable as JSON"),
    ("missing pointer", _using("best.json", None), "has no best checkpoint"),
    ("no file", lambda p, run, c: ["translate", run, "--file", p / "x.txt"], "x.txt: no such file"),
    ("not UTF-8", lambda p, run, c: ["translate", run, "--file", _touch(p / "x.txt", b"\xff")], "line 1 is not UTF-8"),
    ("argument not UTF-8", lambda p, run, c: ["translate", run, "a \udcff"], "text: is not UTF-8"),
    ("look not UTF-8", lambda p, run, c: ["look", run, "a \udcff"], "text: is not UTF-8"),
    ("target not UTF-8", lambda p, run, c: ["look", run, "a", "--target", "\udcff"], "--target: is not UTF-8"),
    ("output's folder", lambda p, run, c: ["translate", run, "x", "--output", p / "no" / "x"], "cannot be written"),
    ("text and file", lambda p, run, c: ["translate", run, "x", "--file", c], "not both"),
    ("beam", lambda p, run, c: ["translate", run, "x", "--beam", 0], "--beam: must be at least 1, got 0"),
    ("picture's ending", lambda p, run, c: ["look", run, "a red cat", "--out", p / "a.gif"], ".png or .svg"),
    ("picture's folder", lambda p, run, c: ["look", run, "a cat", "--out", p / "no" / "a.png"], "cannot be written"),
    ("page's ending", lambda p, run, c: ["look", run, "a red cat", "--html", p / "a.png"], "--html: expected"),
    ("nothing to score", lambda p, run, c: ["eval", run], "--data: name the parallel text"),
    ("bad lines", lambda p, run, c: ["eval", run, "--data", _touch(p / "x.tsv", "a\tb\nc\n")], "line 2: no tab"),
]


def _touch(path: Path, content: str | bytes = "") -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("name", "make", "text"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_mistakes_are_told_in_one_line(
    name: str, make: Make, text: str,
    tmp_path: Path, run: Path, corpus: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    told = regard(*make(tmp_path, run, corpus))
    assert told.status == 2
    assert text in told.err
    assert told.err.startswith("regard: ")
    assert told.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_bad_lines_are_skipped_where_asked(tmp_path: Path, run: Path, regard: Callable[..., Result]) -> None:
    path = _touch(tmp_path / "x.tsv", "a red cat\tun chat rouge\nnothing\n")
    told = regard("eval", run, "--data", path, "--data.on-bad-line", "skip", "--json")
    assert json.loads(told.out)["sentences"]["score"] == 1
    assert "1 of 2 lines left out: line 2: no tab ('nothing')" in told.err


def test_without_attention_there_is_nothing_to_look_at(
    tmp_path: Path, corpus: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["plain", "--data.train", corpus, *SMALL, "--model.attention", "none", "--train.epochs", 1]
    told = regard("train", "translate", *arguments)
    assert told.status == 0
    assert told.err.count("set aside 1 of 25 pairs for validation") == 1
    assert regard("translate", "plain", "a red cat").status == 0
    told = regard("look", "plain", "a red cat")
    assert (told.status, told.err.count("\n")) == (2, 1)
    assert "no attention to look at" in told.err


def test_one_process_at_a_time_trains_in_a_run(run: Path, regard: Callable[..., Result]) -> None:
    with alone(run):
        told = regard("train", "translate", run, "--resume")
    assert told.status == 2
    assert "another process is training in this folder" in told.err
    assert regard("train", "translate", run, "--resume").status == 0


def test_torchrun_trains_with_several_processes(tmp_path: Path, corpus: Path) -> None:
    command = ["-m", "regard", *TRAIN, "--data.train", corpus, *SMALL, "--train.epochs", "2"]
    told = by_processes(2, *command, tmp_path / "two")
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("trained ") == 1
    assert told.stderr.count("parameters · ") == 1
    assert (tmp_path / "two" / "best.json").exists()
    told = by_processes(2, *command, cwd=tmp_path)
    assert told.returncode != 0
    assert "run: name the folder that all processes share" in told.stderr


def test_the_demo_runs_whole_and_again(
    tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = demo_config()
    small = replace(
        whole,
        data=replace(whole.data, builtin_pairs=200),
        model=replace(whole.model, embedding=8, dim=8),
        train=replace(whole.train, epochs=1),
    )
    monkeypatch.setattr("regard.tasks.translate.commands.demo_config", lambda: small)
    for _ in range(2):
        told = regard("demo", "translate", tmp_path / "demo")
        assert told.status == 0
        assert "exact" in told.out
        assert all(text in told.out for text in examples())
        assert "←" in told.out
        assert (tmp_path / "demo" / "alignment.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "demo" / "alignment.html").exists()
    assert json.loads(regard("eval", tmp_path / "demo", "--json", "--beam", 1).out)["sentences"]["score"] == 1000


def test_columns_by_number_in_a_file_and_as_flags(
    tmp_path: Path, corpus: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = _touch(tmp_path / "c.yaml", f"data: {{train: {corpus}, source: 2}}\ntrain: {{epochs: 1}}")
    told = regard("train", "translate", "back", "--config", settings, "--data.target", 1, *SMALL)
    assert told.status == 0
    config = read(tmp_path / "back" / "config.yaml", TranslateConfig)
    assert (str(config.data.source), str(config.data.target)) == ("2", "1")
    vocabulary = (tmp_path / "back" / "source.tokenizer.json").read_text()
    assert "rouge" in vocabulary


def test_print_config_reads_back(tmp_path: Path, regard: Callable[..., Result]) -> None:
    told = regard("train", "translate", "--print-config", "--model.dim", 64, "--train.learning-rate", "3e-4")
    path = _touch(tmp_path / "c.yaml", told.out)
    config = read(path, TranslateConfig)
    assert (config.model.dim, config.train.learning_rate) == (64, 3e-4)
    assert "# Width: of a gru's decoder" in told.out


def test_backends_tells_who_runs_what(regard: Callable[..., Result]) -> None:
    told = regard("backends")
    assert told.status == 0
    assert "reference  plain PyTorch" in told.out
    assert "PyTorch's kernel has softmax only" in " ".join(told.out.split())
    assert regard("backends", "--device", "toaster").status == 2


def test_help_is_quick_and_teaches() -> None:
    began = time.perf_counter()
    told = subprocess.run([sys.executable, "-m", "regard", "--help"], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    assert "regard demo translate" in told.stdout
    assert seconds < 5  # a broken lazy import of torch; the figure itself is measured in benchmarks


@pytest.mark.parametrize("command", [["train", "translate"], ["translate"], ["eval"], ["look"], ["demo", "translate"]])
def test_every_command_has_help(command: list[str], regard: Callable[..., Result]) -> None:
    told = regard(*command, "--help")
    assert told.status == 0
    assert "Usage: regard " + " ".join(command) in told.out


def test_a_resumed_command_line_run_ends_where_it_would_have(
    tmp_path: Path, corpus: Path, regard: Callable[..., Result]
) -> None:
    arguments = ["--data.train", corpus, "--data.valid", corpus, *SMALL, "--train.epochs", 4, "--train.save-every", 2]
    regard("train", "translate", tmp_path / "whole", *arguments)
    process = subprocess.Popen(
        [sys.executable, "-m", "regard", "train", "translate", str(tmp_path / "cut"), *map(str, arguments)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while not (tmp_path / "cut" / "last.json").exists() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    told = regard("train", "translate", tmp_path / "cut", "--resume")
    assert told.status == 0
    whole, cut = (
        (folder / "checkpoints" / json.loads((folder / "last.json").read_text())["checkpoint"] / "model.safetensors")
        for folder in (tmp_path / "whole", tmp_path / "cut")
    )
    assert whole.read_bytes() == cut.read_bytes()
