"""A loss over all examples of a batch: two processes have the gradient of one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stopping import tensors
from torchrun import by_processes

JOB = Path(__file__).parent / "contrastive_job.py"


@pytest.mark.parametrize("accumulate", [pytest.param(1, marks=pytest.mark.long), 2])
def test_two_processes_have_the_weights_of_one(tmp_path: Path, accumulate: int) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, count in zip(folders, (1, 2), strict=True):
        folder.mkdir()
        result = by_processes(count, JOB, folder, accumulate)
        assert result.returncode == 0, result.stderr
    one, two = (tensors(folder) for folder in folders)
    for name in ("layer.weight", "layer.bias", "scale"):
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5)
