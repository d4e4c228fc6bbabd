"""The training loop: killed and interrupted runs, several processes, full disks, broken checkpoints, best weights."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from job import run
from regard.errors import UserError
from regard.training import checkpoint
from regard.training.config import TrainConfig
from regard.training.distributed import World
from regard.training.interrupt import Interrupted
from regard.training.log import Log
from regard.training.loop import fit
from regard.training.metric import Metric
from regard.training.progress import Progress
from regard.training.schedule import schedule_factor, warmup_factor
from regard.training.state import seed_random_states
from regard.training.validation import Part
from stopping import assert_same, interrupting, tensors
from torchrun import by_processes

JOB = Path(__file__).parent / "job.py"


def _start(folder: Path, settings: dict[str, Any], **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(JOB), str(folder), json.dumps(settings)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, **options)


def _saved_step(folder: Path) -> int:
    try:
        return int(json.loads((folder / "last.json").read_text())["step"])
    except FileNotFoundError:
        return 0


def test_a_killed_run_resumes_bitwise(tmp_path: Path) -> None:
    settings = {"epochs": 10, "save_every": 4}
    complete, killed = tmp_path / "complete", tmp_path / "killed"
    complete.mkdir()
    killed.mkdir()
    assert _start(complete, settings).wait() == 0
    for step in (5, 50):
        process = _start(killed, settings)
        while _saved_step(killed) < step:
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(random.Random(step).uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < _saved_step(killed) < _saved_step(complete)
    assert _start(killed, settings).wait() == 0
    assert_same(complete, killed)
    validations = [
        [line for line in (f / "metrics.jsonl").read_text().splitlines() if "valid" in line] for f in (complete, killed)
    ]
    assert validations[0] == validations[1]


@pytest.mark.parametrize(
    "options",
    [{}, {"ema": 0.9, "accumulate": 2, "average": 2}, {"optimizer": "muon", "kind": "transformer"}],
    ids=["plain", "averages", "muon"],
)
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)], ids=str)
def test_an_interrupt_saves_and_resumes_bitwise(tmp_path: Path, number: int, options: dict[str, Any]) -> None:
    complete, stopped = tmp_path / "complete", tmp_path / "stopped"
    complete.mkdir()
    stopped.mkdir()
    run(complete, epochs=3, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("job.Log", interrupting(7, number))
        with pytest.raises(Interrupted) as stop:
            run(stopped, epochs=3, save_every=100, **options)
    assert stop.value.step == _saved_step(stopped) == 7
    run(stopped, epochs=3, resume=True, **options)
    assert_same(complete, stopped)
    if "ema" in options:
        assert all(
            torch.equal(tensor, tensors(stopped, "training")[name])
            for name, tensor in tensors(complete, "training").items()
        )


_MUON, _ACCUMULATED = {"optimizer": "muon", "kind": "transformer"}, {"accumulate": 3, "epochs": 6}


@pytest.mark.parametrize(
    ("shard", "options"),
    [
        pytest.param(False, {}, marks=pytest.mark.long, id="DDP"),
        pytest.param(True, {}, id="FSDP2"),
        pytest.param(False, _ACCUMULATED, marks=pytest.mark.long, id="DDP, accumulated"),
        pytest.param(True, _ACCUMULATED, marks=pytest.mark.long, id="FSDP2, accumulated"),
        pytest.param(False, _MUON, marks=pytest.mark.long, id="DDP, muon"),
        pytest.param(True, _MUON, marks=pytest.mark.long, id="FSDP2, muon"),
    ],
)
def test_two_processes_have_the_loss_of_one(tmp_path: Path, shard: bool, options: dict[str, Any]) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    settings = json.dumps({"dropout": 0.0, "epochs": 2, "fsdp": shard, **options})
    for folder, count in zip(folders, (1, 2), strict=True):
        folder.mkdir()
        result = by_processes(count, JOB, folder, settings)
        assert result.returncode == 0, result.stderr
    one, two = ([json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()] for f in folders)
    assert len(one) == len(two) > 2
    for first, second in zip(one, two, strict=True):
        for name in {"loss", "valid_loss", "norm"} & first.keys():
            assert second[name] == pytest.approx(first[name], rel=2e-3)


def test_gradients_are_reduced_once_for_all_accumulated_batches(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\n"
        "from torch import nn\n"
        "from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook\n"
        "from regard.training.distributed import world\n"
        "from regard.training.gradient import add_gradients\n"
        "def loss(model, rows, world=None):\n"
        "    rows = rows if world is None else rows[world.rank :: world.size]\n"
        "    x = torch.tensor(rows, dtype=torch.float64)[:, None]\n"
        "    return ((model(x) - 1) ** 2).sum(), len(rows)\n"
        "batches = [[1, 2, 3], [4, 4], [5, 6]]\n"
        "torch.manual_seed(0)\n"
        "with world() as process:\n"
        "    for shard in (False, True):\n"
        "        one = nn.Linear(1, 1, dtype=torch.float64)\n"
        "        nn.init.ones_(one.weight)\n"
        "        loss(one, [1, 2, 3, 4, 4, 5, 6])[0].backward()\n"
        "        model = nn.Linear(1, 1, dtype=torch.float64)\n"
        "        model.load_state_dict(one.state_dict())\n"
        "        model, calls = process.wrap(model, shard), []\n"
        "        if not shard:\n"
        "            hook = lambda group, bucket: calls.append(1) or allreduce_hook(group, bucket)\n"
        "            model.register_comm_hook(None, hook)\n"
        "        for _ in range(2):\n"
        "            model.zero_grad()\n"
        "            add_gradients(loss, model, batches, process, bfloat16=False)\n"
        "        assert len(calls) == (0 if shard else 2), calls\n"
        "        for ours, theirs in zip(model.parameters(), one.parameters()):\n"
        "            full = ours.grad.full_tensor() if shard else ours.grad\n"
        "            torch.testing.assert_close(full * process.size, theirs.grad)\n"
    )
    result = by_processes(2, script)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="threads are read from /proc")
@pytest.mark.parametrize("kept", [False, True])
def test_the_threads_of_a_process_group_end_unless_a_model_keeps_it(tmp_path: Path, kept: bool) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom torch import nn\nfrom regard.training.distributed import world\n"
        "names = lambda: [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]\n"
        "def train(process):\n"
        "    process.wrap(nn.Linear(2, 2), shard=False)\n"
        "    process.sum(1, 2)\n"
        "    assert 'pt_gloo_runloop' in names()\n"
        "with world() as process:\n"
        "    train(process)\n"
        f"    model = process.wrap(nn.Linear(2, 2), shard=False) if {kept} else None\n"
        f"assert ('pt_gloo_runloop' in names()) is {kept}\n"
    )
    result = by_processes(2, script)
    assert result.returncode == 0, result.stderr


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, epochs=1)
    before = tensors(tmp_path)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(UserError, match=r"cannot write the checkpoint: No space left on device.*are kept"):
        run(tmp_path, epochs=2, resume=True)
    after = tensors(tmp_path)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not list(tmp_path.rglob("*.tmp"))


def test_broken_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no last checkpoint"):
        checkpoint.load_state(tmp_path, "last")
    run(tmp_path, epochs=1)
    path = next(tmp_path.rglob("model.safetensors"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        run(tmp_path, epochs=2, resume=True)
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        checkpoint.load_tensors(tmp_path, "last", "model")
    (tmp_path / "last.json").write_text('{"checkpoint": "../../etc"}')
    with pytest.raises(UserError, match="names no checkpoint"):
        checkpoint.load_state(tmp_path, "last")
    (tmp_path / "last.json").write_text("nonsense")
    with pytest.raises(UserError, match="not readable as JSON"):
        checkpoint.load_state(tmp_path, "last")


def test_patience_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    progress, _ = run(tmp_path, epochs=30, learning_rate=0.5, patience=2, clip=100.0)
    assert progress.finished
    figures = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["valid_loss"] for row in figures if "valid_loss" in row]
    assert len(losses) < 30
    assert min(losses) == losses[-3] == progress.best
    assert _saved_step(tmp_path) != json.loads((tmp_path / "best.json").read_text())["step"]


def test_a_loss_that_is_not_finite_ends_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"try a smaller --train\.learning-rate"):
        run(tmp_path, epochs=30, learning_rate=1e30, warmup=0)


@pytest.mark.parametrize("shard", [pytest.param(False, marks=pytest.mark.long), True], ids=["DDP", "FSDP2"])
@pytest.mark.parametrize("counts", [(2, 1), pytest.param((1, 2), marks=pytest.mark.long)], ids=["2 to 1", "1 to 2"])
def test_a_run_resumes_with_another_number_of_processes(tmp_path: Path, counts: tuple[int, int], shard: bool) -> None:
    complete, changed = tmp_path / "complete", tmp_path / "changed"
    settings: dict[str, Any] = {"dropout": 0.0, "fsdp": shard, "schedule": "constant", "ema": 0.5}
    complete.mkdir()
    run(complete, epochs=3, **settings)
    changed.mkdir()
    errors = []
    for count, epochs in zip(counts, (1, 3), strict=True):
        result = by_processes(count, JOB, changed, json.dumps({**settings, "epochs": epochs}))
        assert result.returncode == 0, result.stderr
        errors.append(result.stderr)
    assert "not bit for bit" not in errors[0]
    numbers = {(2, 1): "1 process, the checkpoint is of 2", (1, 2): "2 processes, the checkpoint is of 1"}
    assert f"resuming with {numbers[counts]}: from here on, the run is not bit for bit" in errors[1]
    for name in ("model", "training"):
        for key, tensor in tensors(complete, name).items():
            torch.testing.assert_close(tensors(changed, name)[key], tensor, rtol=2e-2, atol=2e-3)


def test_additional_processes_draw_random_states_from_seed_and_step() -> None:
    drawn = []
    for numbers in ((0, 7, 1), (0, 7, 1), (0, 8, 1), (0, 7, 2)):
        seed_random_states(*numbers)
        drawn.append((random.random(), np.random.rand(), torch.rand(()).item()))
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


class Fixed:
    """A task with a model of one weight, and fixed batches and validation losses."""

    metrics: tuple[Metric, ...] = (Metric("loss"),)
    validation_count = 1

    def __init__(self, batches: list[list[int]], losses: list[float]):
        self.model: Any = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.model.weight, 2.0)
        self.rows, self.losses = batches, losses

    def batches(self, epoch: int) -> list[list[int]]:
        return self.rows

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[torch.Tensor, int]:
        x = torch.tensor(rows, dtype=torch.float32)[:, None]
        return ((model(x) - 1) ** 2).sum(), len(rows)

    def evaluate(self, part: Part) -> dict[str, float]:
        return {"loss": self.losses.pop(0)}


def _fit(folder: Path, task: Fixed, **settings: Any) -> Progress:
    config = TrainConfig(**{"warmup": 0, "weight_decay": 0.0, "learning_rate": 0.1, **settings})  # type: ignore[arg-type]
    folder.mkdir()
    return fit(task, config, folder, World(0, 1, torch.device("cpu")), log=Log(None))


def test_accumulated_batches_are_one_batch(tmp_path: Path) -> None:
    one = Fixed([[1, 2, 3, 4, 5], [6]], [0.0])
    several = Fixed([[1], [2, 3], [4, 5], [6]], [0.0])
    assert _fit(tmp_path / "one", one, epochs=1, schedule="constant").step == 2
    assert _fit(tmp_path / "several", several, epochs=1, accumulate=3, schedule="constant").step == 2
    torch.testing.assert_close(one.model.weight, several.model.weight)


def test_the_moving_average_is_validated_and_kept(tmp_path: Path) -> None:
    validated = []

    class Recording(Fixed):
        def evaluate(self, part: Part) -> dict[str, float]:
            validated.append(self.model.weight.item())
            return super().evaluate(part)

    task = Recording([[1], [2], [3]], [1.0])
    weights = [2.0]

    class RecordingLog(Log):
        def step(self, *arguments: object, **figures: Any) -> None:
            weights.append(task.model.weight.item())

    folder = tmp_path / "run"
    folder.mkdir()
    config = TrainConfig(epochs=1, warmup=0, learning_rate=0.1, weight_decay=0.0, ema=0.25)
    fit(task, config, folder, World(0, 1, torch.device("cpu")), log=RecordingLog(None))
    mean = 2.0
    for step, weight in enumerate(weights[1:], 1):
        decay = min(0.25, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * weight
    assert validated == [pytest.approx(mean, abs=1e-6)]
    assert tensors(folder)["weight"].item() == validated[0]
    assert tensors(folder, "training")["weight"].item() == task.model.weight.item() == weights[-1]


@pytest.mark.parametrize("better", [True, False])
def test_the_mean_of_the_last_weights_is_kept_if_it_is_better(tmp_path: Path, better: bool) -> None:
    task = Fixed([[1], [2]], [5.0, 4.0, 3.0, 1.0 if better else 3.5])
    progress = _fit(tmp_path / "run", task, epochs=3, average=2)
    best = json.loads((tmp_path / "run" / "best.json").read_text())["checkpoint"]
    kept = {name: checkpoint.load_tensors(tmp_path / "run", name, "model")["weight"] for name in progress.recent}
    assert list(kept) == ["step-0000004", "step-0000006"]
    assert best == ("mean-0000006" if better else "step-0000006")
    expected = sum(kept.values()) / 2 if better else kept["step-0000006"]
    torch.testing.assert_close(checkpoint.load_tensors(tmp_path / "run", "best", "model")["weight"], expected)
    assert torch.equal(task.model.weight, kept["step-0000006"])
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == sorted({*kept, best})


def test_of_equal_metrics_the_lower_loss_is_the_best(tmp_path: Path) -> None:
    class EqualAccuracy(Fixed):
        metrics = (Metric("loss"), Metric("accuracy", higher_is_better=True))

        def evaluate(self, part: Part) -> dict[str, float]:
            return {"accuracy": 90.0, **super().evaluate(part)}

    progress = _fit(tmp_path / "run", EqualAccuracy([[1], [2]], [3.0, 1.0, 2.0]), epochs=3, metric="accuracy")
    assert (progress.best, progress.best_loss) == (90.0, 1.0)
    assert json.loads((tmp_path / "run" / "best.json").read_text())["step"] == 4


def test_a_budget_of_minutes_ends_training(tmp_path: Path) -> None:
    rates = []

    class RecordingLog(Log):
        def step(self, *arguments: object, rate: float, **figures: Any) -> None:
            rates.append(rate)
            time.sleep(0.001)

    task = Fixed([[1], [2]], [1.0] * 10_000)
    (tmp_path / "run").mkdir()
    config = TrainConfig(epochs=100_000, minutes=0.005, warmup=0)
    progress = fit(task, config, tmp_path / "run", World(0, 1, torch.device("cpu")), log=RecordingLog(None))
    assert progress.finished
    assert 0.3 <= progress.spent < 5
    assert rates[0] > rates[-1]
    assert rates[-1] < 0.1 * rates[0]


def test_a_number_of_steps_ends_training(tmp_path: Path) -> None:
    progress = _fit(tmp_path / "run", Fixed([[1], [2], [3]], [1.0] * 9), epochs=9, steps=7)
    assert (progress.step, progress.epoch, progress.index, progress.finished) == (7, 2, 1, True)


def test_the_learning_rate_follows_the_schedule() -> None:
    assert [warmup_factor(step, 0.0, 4) for step in (0, 3, 99)] == [0.25, 1.0, 1.0]
    assert warmup_factor(0, 0.0, 0) == 1.0
    assert schedule_factor(99, 0.5, 4, "cosine") == pytest.approx(0.5)
    assert schedule_factor(99, 1.0, 0, "cosine") == pytest.approx(0.0)
    assert schedule_factor(99, 0.25, 4, "linear") == pytest.approx(0.75)
    assert schedule_factor(99, 0.25, 4, "constant") == 1.0
    assert schedule_factor(99, 0.25, 25, "inverse-sqrt") == pytest.approx(0.5)
    assert schedule_factor(24, 0.0, 25, "inverse-sqrt") == 1.0


def test_figures_are_written_for_tensorboard(tmp_path: Path) -> None:
    log = Log(tmp_path, tensorboard=True)
    with log:
        log.evaluation(1, 0, {"loss": 2.0}, better=True, stopped=False)
    assert list((tmp_path / "tensorboard").iterdir())
