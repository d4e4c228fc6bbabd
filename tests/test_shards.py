"""Checkpoints of sharded training: a file for each process, and the same tensors when they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from job import Reverse
from regard.errors import UserError
from regard.training import checkpoint, shards
from stopping import assert_same, tensors
from torchrun import by_processes

JOB = Path(__file__).parent / "job.py"


def test_files_of_rows_are_joined(tmp_path: Path) -> None:
    full = {"a": torch.arange(10.0).view(5, 2), "b": torch.tensor(3.0)}
    parts = [{"a": full["a"][:3], "b": full["b"]}, {"a": full["a"][3:]}]
    for number, (part, first) in enumerate(zip(parts, (0, 3), strict=True)):
        path = tmp_path / f"model-0000{number}-of-00002.safetensors"
        save_file(part, path, metadata={"first_rows": json.dumps(dict.fromkeys(part, first))})
    with shards.opened(shards.paths(tmp_path, "model")) as opened:
        joined = opened.everything()
        filled = torch.zeros(5, 2)
        opened.fill("a", filled)
    assert joined.keys() == full.keys()
    assert all(torch.equal(joined[key], full[key]) for key in full)
    assert torch.equal(filled, full["a"])
    path.unlink()
    assert not shards.paths(tmp_path, "model")


def test_each_process_writes_its_rows_and_resumes_bitwise(tmp_path: Path) -> None:
    complete, stopped = tmp_path / "complete", tmp_path / "stopped"
    settings: dict[str, Any] = {"fsdp": True, "schedule": "constant", "ema": 0.5, "optimizer": "muon", "save_every": 3}
    for folder, lengths in ((complete, (2,)), (stopped, (1, 2))):
        folder.mkdir()
        for epochs in lengths:
            result = by_processes(2, JOB, folder, json.dumps({**settings, "epochs": epochs}))
            assert result.returncode == 0, result.stderr[-2000:]
    assert_same(complete, stopped)
    assert all(torch.equal(tensors(complete, "training")[k], t) for k, t in tensors(stopped, "training").items())

    last = complete / "checkpoints" / json.loads((complete / "last.json").read_text())["checkpoint"]
    files = [last / f"model-0000{rank}-of-00002.safetensors" for rank in range(2)]
    assert sorted(last.glob("model*")) == files
    full = tensors(complete)
    for path in files:
        with safe_open(path, "pt") as file:
            assert all(2 * file.get_tensor(key).shape[0] <= full[key].shape[0] + 1 for key in file.keys())  # noqa: SIM118

    model = Reverse().model
    checkpoint.fill(model, complete, "last")
    assert all(torch.equal(full[name], weight) for name, weight in model.state_dict().items())
    files[1].unlink()
    with pytest.raises(UserError, match="the checkpoint is not complete"):
        checkpoint.fill(model, complete, "last")


@pytest.mark.long
def test_each_process_reads_only_its_rows_for_the_mean_of_checkpoints(tmp_path: Path) -> None:
    script = tmp_path / "without_full_tensors.py"
    script.write_text(f"""
import sys
sys.path.insert(0, {str(JOB.parent)!r})
import job
from regard.training.shards import Shards

del Shards.full
job.main()
""")
    folder = tmp_path / "run"
    folder.mkdir()
    settings = {"average": 3, "epochs": 6, "learning_rate": 0.05, "schedule": "constant", "dropout": 0.0, "fsdp": True}
    result = by_processes(2, script, folder, json.dumps(settings))
    assert result.returncode == 0, result.stderr[-2000:]
    name = json.loads((folder / "best.json").read_text())["checkpoint"]
    assert name.startswith("mean-")
    files = [f"model-0000{rank}-of-00002.safetensors" for rank in range(2)]
    assert sorted(path.name for path in (folder / "checkpoints" / name).glob("model*")) == files
    recent = checkpoint.load_state(folder, "best")["progress"]["recent"]
    averaged = [tensors(folder, which=one) for one in recent]
    for key, mean in tensors(folder, which="best").items():
        assert torch.equal(mean, torch.stack([one[key].double() for one in averaged]).mean(0).float())
