"""What every task does: one contract over the table of tasks. A task that is added gets these tests by its record."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import math
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import Mock

import pytest
from rich.console import Console

from conftest import Result
from regard.errors import UserError
from regard.settings import read
from regard.tasks import table
from regard.tasks.running import evaluate, load, resume, settings_of, train
from regard.tasks.spec import TaskSpec
from shown_documents import read_document
from stopping import assert_same, interrupting
from toy import TOY, ParityPredictor, ToyConfig, ToyTrainConfig

each_task = pytest.mark.parametrize("spec", table.TASKS, ids=lambda spec: spec.name)


class Trained(NamedTuple):
    """A trained run of each task, with inputs for it."""

    spec: TaskSpec
    run: Path
    inputs: list[str]


@pytest.fixture(scope="module", params=table.TASKS, ids=lambda spec: spec.name)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    spec, folder = request.param, tmp_path_factory.mktemp("contract")
    train(spec.name, spec.demo.tiny(), folder / "run")
    return Trained(spec, folder / "run", spec.load().inputs(spec.demo.tiny(), folder))


def _steady(spec: TaskSpec) -> dict[str, Any]:
    """Options with which the same input always has the same result."""
    return {"seed": 0} if "seed" in _names(spec.verb.options) else {}


def _showing(spec: TaskSpec) -> dict[str, Any]:
    """Options with which a model that has hardly learned anything has something to show."""
    return {"threshold": 0.0} if "threshold" in _names(spec.looking) else {}


def _names(options: type) -> set[str]:
    return {field.name for field in dataclasses.fields(options)}


def _plain(results: Any) -> list[dict[str, Any]]:
    return [result.to_dict() for result in results]


def test_a_run_has_its_settings_and_a_report(trained: Trained) -> None:
    config = settings_of(trained.run)
    assert config.train.epochs is not None
    assert isinstance(config, trained.spec.settings)
    assert trained.spec.name in (trained.run / "report.md").read_text()


def test_an_interrupted_and_resumed_run_ends_with_the_same_weights(trained: Trained, tmp_path: Path) -> None:
    from regard.training.interrupt import Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regard.tasks.running.Log", interrupting(1, signal.SIGINT))
        with pytest.raises(Interrupted):
            train(trained.spec.name, trained.spec.demo.tiny(), tmp_path / "run")
    resume(tmp_path / "run")
    assert_same(trained.run, tmp_path / "run")


def test_scores_are_finite_and_say_how_they_were_computed(trained: Trained) -> None:
    scores = evaluate(trained.run, **trained.spec.demo.options)
    assert scores
    assert all(math.isfinite(score.value) and score.how for score in scores.values())


def test_results_come_in_order_and_as_soon_as_they_are_known(trained: Trained) -> None:
    read: list[int] = []

    def inputs() -> Iterator[str]:
        for at in range(12):
            read.append(at)
            yield trained.inputs[at % len(trained.inputs)]

    predictor = load(trained.run)
    options = _steady(trained.spec)
    first = next(iter(predictor.predict(inputs(), **options)))
    assert len(read) < 12
    results = _plain(predictor.predict(inputs(), **options))
    assert results[0] == first.to_dict()
    given = [next(iter(result.values())) for result in results]
    # An input of several fields, such as a question and its context, has the one that names it first.
    assert given == [trained.inputs[at % len(trained.inputs)].split("\t")[0] for at in range(12)]


def _assert_close(one: Any, other: Any) -> None:
    """Equal, but for the rounding of numbers."""
    if isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-6)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            _assert_close(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            _assert_close(a, b)
    else:
        assert one == other


def test_the_options_of_the_commands_are_the_arguments_of_the_methods(trained: Trained) -> None:
    spec, code, predictor = trained.spec, trained.spec.load(), type(load(trained.run))
    for options, method in (
        (spec.verb.options, predictor.predict),
        (spec.evaluation, code.evaluate),
        (spec.looking, predictor.look),
    ):
        parameters = inspect.signature(method).parameters.values()
        named = {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
        assert named == {field.name for field in dataclasses.fields(options)}


def test_look_prints_draws_and_is_json(trained: Trained, tmp_path: Path) -> None:
    shown = load(trained.run).look(trained.inputs[0], **_showing(trained.spec))
    console = Console(file=io.StringIO(), width=100)
    shown.show(console)
    assert console.file.getvalue().strip()  # type: ignore[attr-defined]
    shown.save(tmp_path / "look.png")
    assert (tmp_path / "look.png").read_bytes().startswith(b"\x89PNG")
    plain, full = json.dumps(shown.to_dict()), json.dumps(shown.to_dict(attention=True))
    assert len(plain) < len(full)


def test_a_look_is_a_document_of_the_viewer(trained: Trained) -> None:
    shown = load(trained.run).look(trained.inputs[0], **_showing(trained.spec)).document()
    content = read_document(shown.to_bytes())
    assert content["title"] == shown.title
    assert [layer["name"] for layer in content["layers"]] == [layer.name for layer in shown.layers]
    for layer in shown.layers:
        rows = layer.tensors["rows"]
        assert rows.shape == layer.shape
        assert rows.min() >= 0
        assert rows.sum(-1).max() < 1.001
    urls = [url for axis in shown.axes for url in axis.pictures]
    assert all(url.startswith("data:image/") for url in urls)


def test_a_look_is_written_as_a_page(trained: Trained, regard: Callable[..., Result], tmp_path: Path) -> None:
    options = [part for name, value in _showing(trained.spec).items() for part in (f"--{name}", value)]
    result = regard("look", trained.run, trained.inputs[0], "--html", tmp_path / "look.html", *options)
    assert result.status == 0, result.err
    assert (tmp_path / "look.html").read_text().startswith("<!doctype html>")


def test_a_model_is_exported(trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    difference, size = load(trained.run).export(tmp_path / "model.onnx")
    assert difference < 1e-3
    assert size == (tmp_path / "model.onnx").stat().st_size


def test_standard_input_a_file_and_arguments_give_the_same_lines(
    trained: Trained, regard: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verb, lines = trained.spec.verb, "".join(f"{text}\n" for text in trained.inputs)
    options = [part for name, value in _steady(trained.spec).items() for part in (f"--{name}", value)]
    (tmp_path / "in.txt").write_text(lines)
    from_file = regard(verb.name, trained.run, "--file", tmp_path / "in.txt", *options)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    from_stdin = regard(verb.name, trained.run, *options)
    assert from_file == from_stdin
    assert from_file.status == 0
    assert from_file.out.count("\n") == len(trained.inputs)
    as_json = regard(verb.name, trained.run, "--file", tmp_path / "in.txt", "--json", *options)
    expected = _plain(load(trained.run).predict(trained.inputs, **_steady(trained.spec)))
    _assert_close([json.loads(line) for line in as_json.out.splitlines()], expected)
    written = regard(verb.name, trained.run, "--file", tmp_path / "in.txt", "--output", tmp_path / "out.txt", *options)
    assert (written.out, (tmp_path / "out.txt").read_text()) == ("", from_file.out)


@pytest.mark.parametrize(
    ("content", "message"), [(b"\xff\xfe\n", "UTF-16"), (b"a\n\xff\n", "line 2 is not UTF-8"), (None, "no such file")]
)
def test_a_bad_file_gives_a_one_line_error(
    content: bytes | None, message: str, trained: Trained, regard: Callable[..., Result], tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "in.txt").write_bytes(content)
    verb = trained.spec.verb
    options = [part for name, value in _steady(trained.spec).items() for part in (f"--{name}", value)]
    result = regard(verb.name, trained.run, "--file", tmp_path / "in.txt", *options)
    assert result.status == 2
    assert message in result.err.splitlines()[-1]


def test_help_offers_only_the_options_of_the_run(trained: Trained, regard: Callable[..., Result]) -> None:
    assert "--html" in regard("look", trained.run, "--help").out
    for command, own in (("eval", trained.spec.evaluation), ("look", trained.spec.looking)):
        shown = regard(command, trained.run, "--help").out
        for other in table.TASKS:
            options = other.evaluation if command == "eval" else other.looking
            for field in dataclasses.fields(options):
                flag = f"--{field.name.replace('_', '-')}"
                offered = re.search(rf"{flag}\b(?!-)", shown) is not None
                assert offered is (field.name in {f.name for f in dataclasses.fields(own)})


@each_task
def test_a_task_is_documented_and_in_the_help(spec: TaskSpec, regard: Callable[..., Result]) -> None:
    for command in ("train", "demo"):
        assert spec.name in regard(command, "--help").out
    assert spec.verb.name in regard("--help").out
    docs = Path(__file__).parents[1] / "docs"
    assert any(f"regard train {spec.name}" in page.read_text() for page in docs.glob("*.md"))


@each_task
def test_settings_out_of_range_are_refused_in_python_too(spec: TaskSpec, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.epochs: must be above 0, got 0"):
        train(spec.name, {"train": {"epochs": 0}}, tmp_path / "run")
    with pytest.raises(UserError, match=r"settings: unknown setting train\.epoch; did you mean"):
        train(spec.name, {"train": {"epoch": 3}}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> TaskSpec:
    """A task that is added to the table, and nowhere else."""
    monkeypatch.setattr(table, "TASKS", (*table.TASKS, TOY))
    return TOY


def test_a_new_task_needs_its_files_and_a_line_in_the_table(
    toy: TaskSpec, tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    assert "parity" in regard("train", "--help").out
    assert "--data.count" in regard("train", "parity", "--help").out
    trained = regard("train", "parity", run, "--train.learning-rate", 0.3)
    assert trained.status == 0, trained.err
    assert f"use it:  regard parity {run} 3" in trained.out
    # The metric of the best checkpoint, an error, is better if it is lower.
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    errors = [row["valid_error"] for row in rows if "valid_error" in row]
    assert errors[0] > errors[-1] == min(errors)
    assert regard("parity", run, 3, 4, 12).out == "3\todd\n4\teven\n12\teven\n"
    result = regard("parity", run, 3, "x", 4, "--json")
    assert [json.loads(line).get("even") for line in result.out.splitlines()] == [False, None, True]
    assert (result.status, result.err) == (1, "regard: number: expected a whole number, got 'x'\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"3\n\n4\n")))
    assert regard("parity", run).out == "3\todd\n\n4\teven\n"
    assert "accuracy" in regard("eval", run).out
    assert regard("look", run, 3, "--out", tmp_path / "a.png", "--json").status == 0
    assert regard("demo", "parity", tmp_path / "demo").status == 0
    exportable = Mock(side_effect=ParityPredictor.exportable)
    monkeypatch.setattr(ParityPredictor, "exportable", lambda self: exportable(self))
    assert regard("export", run, "--format", "torch-export").status == 0
    assert exportable.call_count == 1
    read_settings = Mock(side_effect=read)
    monkeypatch.setattr("regard.tasks.running.read", read_settings)
    longer = ToyConfig(train=ToyTrainConfig(epochs=31))
    assert resume(run, longer).epoch == 31
    assert read_settings.call_count == 1
    assert settings_of(run).train.epochs == 31


def test_a_closed_pipe_is_no_error(trained: Trained) -> None:
    spec, run = trained.spec, trained.run
    lines = "".join(f"{trained.inputs[at % len(trained.inputs)]}\n" for at in range(300))
    command = f"{sys.executable} -m regard {spec.verb.name} {run} 2>&1 >&3 | cat >&2"
    call = subprocess.run(
        ["bash", "-c", f"{{ {command}; }} 3>&1 | head -n 1"], input=lines, capture_output=True, text=True, check=True,
        timeout=300,
    )  # fmt: skip
    assert call.stdout.count("\n") == 1
    assert call.stderr == ""
