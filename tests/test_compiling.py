"""Training with a compiled model: the same losses and gradients, one graph for all lengths, exact resumption."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from job import Reverse
from regard.errors import UserError
from regard.tasks.table import spec_of
from regard.training import defaults
from regard.training.compiling import compile_model
from regard.training.config import TrainConfig
from regard.training.distributed import World
from regard.training.gradient import share_of_loss
from regard.training.interrupt import Interrupted
from regard.training.log import Log
from regard.training.loop import fit
from regard.training.metric import Metric
from regard.training.progress import Progress
from regard.training.validation import Part
from stopping import assert_same, interrupting
from torchrun import by_processes

JOB = Path(__file__).parent / "job.py"
ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def _reset() -> None:
    torch.compiler.reset()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are traced, and run by PyTorch's operations, which takes seconds instead of a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def _task(name: str, folder: Path, **model: Any) -> Any:
    """The built-in task ``name`` without dropout."""
    spec = spec_of(name)
    tiny = spec.demo.tiny()
    settings = replace(tiny, model=replace(tiny.model, dropout=0.0, **model))
    code: Any = spec.load()
    data = code.read(settings, lambda line: None)
    settings, _ = defaults.fill(settings, code.defaults(settings, data))
    code.prepare(settings, data, folder, lambda line: None)
    torch.manual_seed(0)
    return code.trainable(settings, folder, data, lambda line: None)


def _gradients(task: Any, rows: list[int]) -> list[Tensor]:
    """The loss of a batch and the gradients of all parameters."""
    loss, _ = share_of_loss(task)(task.model, rows, ALONE)
    task.model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    grads = (parameter.grad for parameter in task.model.parameters())
    return [loss.detach(), *(grad.clone() for grad in grads if grad is not None)]


def _compile(task: Any) -> float:
    return compile_model(task.model, task.model, share_of_loss(task), task.batches, ALONE, bfloat16=False)


def _only_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that the graphs do not fit is an error."""
    stance: Callable[[str], Any] = torch.compiler.set_stance
    monkeypatch.setattr(torch.compiler, "set_stance", lambda _: stance("fail_on_recompile"))


TASKS: dict[str, dict[str, Any]] = {
    "translate": {"kind": "transformer"},
    "generate": {},
    "classify-text": {"kind": "transformer", "word_dropout": 0.0},
}


def _compare(task: Any) -> int:
    """Compare batches of the first two epochs with and without graphs; returns their number."""
    some = [rows for epoch in range(2) for rows in task.batches(epoch)[:5]]
    expected = [_gradients(task, rows) for rows in some]
    _compile(task)
    for rows, one in zip(some, expected, strict=True):
        torch.testing.assert_close(_gradients(task, rows), one, rtol=1e-3, atol=1e-4)
    return len(some)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long) for name in TASKS])
def test_the_loss_and_the_gradients_are_those_without_graphs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only_graphs(monkeypatch)
    assert _compare(_task(name, tmp_path, **TASKS[name])) > 4


@pytest.mark.long
@pytest.mark.parametrize("name", TASKS)
def test_inductor_gives_the_loss_and_the_gradients(name: str, tmp_path: Path) -> None:
    assert _compare(_task(name, tmp_path, **TASKS[name])) > 4


class Lines(nn.Module):
    """A layer with batch normalization and dropout, for lines of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.dropout = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(self.layer(x).mean(1))).square().sum()


class OfLines:
    """A task of ``Lines``; ``lengths`` are those of its batches."""

    metrics = (Metric("loss"),)
    validation_count = 1

    def __init__(self, model: nn.Module, *lengths: int):
        self.model, self.lengths = model, lengths

    def batches(self, epoch: int) -> list[list[int]]:
        return [[length] * 6 for length in self.lengths]

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        random = torch.Generator().manual_seed(rows[0])
        loss: Tensor = model(torch.randn(len(rows), rows[0], 3, generator=random))
        return loss, len(rows)

    def evaluate(self, part: Part) -> dict[str, float]:
        return {"loss": float(self.loss(self.model, [4])[0])}


class Steps(nn.Module):
    """A loop over the second dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), 3)
        for one in x.unbind(1):
            state = torch.tanh(self.layer(state) + one)
        return state.sum()


@pytest.mark.usefixtures("traced")
def test_compiling_changes_nothing_that_training_starts_from() -> None:
    task = OfLines(Lines(), 5, 9, 7)
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    state = torch.get_rng_state()
    assert _compile(task) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.model.state_dict().items())
    assert all(parameter.grad is None for parameter in task.model.parameters())


@pytest.mark.usefixtures("traced")
def test_a_batch_that_no_graph_fits_runs_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    task = OfLines(Lines(), 5, 9, 7)
    plain = task.model.forward
    _compile(task)
    other = torch.randn(4, 5, 3)  # all batches have six lines
    torch.manual_seed(1)
    loss = task.model(other)
    torch.manual_seed(1)
    torch.testing.assert_close(loss, plain(other))
    _only_graphs(monkeypatch)
    task.model(torch.randn(6, 11, 3))
    with pytest.raises(RuntimeError, match="Detected recompile"):
        task.model(other)


@pytest.mark.parametrize("transformer", [False, pytest.param(True, marks=pytest.mark.long)])
def test_an_interrupted_run_resumes_bitwise(tmp_path: Path, transformer: bool, request: pytest.FixtureRequest) -> None:
    if not transformer:
        request.getfixturevalue("traced")
    config = TrainConfig(epochs=2, warmup=2, save_every=100, compile=True)

    def trained(folder: Path, log: type[Log], resume: bool = False) -> Progress:
        torch.manual_seed(0)
        torch.compiler.reset()
        task: Any = Reverse(kind="small") if transformer else OfLines(Lines(), *range(5, 14))
        folder.mkdir(exist_ok=True)
        return fit(task, config, folder, ALONE, log=log(folder), resume=resume)

    complete, stopped = tmp_path / "complete", tmp_path / "stopped"
    progress = trained(complete, Log)
    assert 0 < progress.compiling < progress.spent - progress.seconds
    with pytest.raises(Interrupted):
        trained(stopped, interrupting(11, signal.SIGINT))
    trained(stopped, Log, resume=True)
    assert_same(complete, stopped)


@pytest.mark.long
@pytest.mark.parametrize("shard", [False, True], ids=["DDP", "FSDP2"])
def test_two_processes_have_the_loss_of_one_without_graphs(tmp_path: Path, shard: bool) -> None:
    lines = []
    for count, compiled in ((1, False), (2, True)):
        folder = tmp_path / f"{count}"
        folder.mkdir()
        settings = {"dropout": 0.0, "epochs": 2, "kind": "small", "compile": compiled, "fsdp": shard and compiled}
        result = by_processes(count, JOB, folder, json.dumps(settings))
        assert result.returncode == 0, result.stderr
        lines.append([json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()])
    assert len(lines[0]) == len(lines[1]) > 2
    for first, second in zip(*lines, strict=True):
        for name in {"loss", "valid_loss", "norm"} & first.keys():
            assert second[name] == pytest.approx(first[name], rel=2e-3)


@pytest.mark.usefixtures("traced")
def test_a_model_that_fits_one_length_only_is_refused() -> None:
    task = OfLines(Steps(), 5, 9, 7)
    with pytest.raises(UserError, match=r"train.compile: .* batches of all sizes; train without --train.compile"):
        _compile(task)
    assert torch.isfinite(task.loss(task.model, [4])[0])


def test_without_a_compiler_it_is_refused() -> None:
    from torch._inductor import config

    refused = pytest.raises(UserError, match=r"train.compile: torch.compile failed \(.*\); train without")
    with config.patch({"cpp.cxx": ("/nowhere/c++",), "force_disable_caches": True}), refused as error:
        _compile(OfLines(Lines(), 5, 9, 7))
    assert "\n" not in str(error.value)
