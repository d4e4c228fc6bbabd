"""The server against its OpenAPI document, with requests that schemathesis makes up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("schemathesis")

import torch

from regard import looking
from regard.tasks import table
from regard.tasks.running import train
from regard.views import STATISTICS, ModelView
from server_running import command

EXAMPLES = os.environ.get("REGARD_EXAMPLES", "20")


@pytest.mark.long
def test_every_request_gets_a_response_that_the_document_describes(tmp_path: Path) -> None:
    names = ("translate", "classify-text", "answer", "classify-image", "match")
    for name in names:
        train(name, table.spec_of(name).demo.tiny(), tmp_path / name)
    layer = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with looking(layer, STATISTICS, inputs=True) as seen:
        layer(*[torch.randn(1, 5, 8)] * 3)
    ModelView(seen).save(tmp_path / "view.safetensors", inputs=True)
    paths = [tmp_path / name for name in (*names, "view.safetensors")]
    with command(paths, "--characters", "50", "--delay", "0") as (_, (host, port)):
        call = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "run", f"http://{host}:{port}/openapi.json", "--no-color",
                "--max-examples", EXAMPLES,
                # A body of bytes that is no image, or a text without a word, has the right type, and is refused.
                "--exclude-checks", "positive_data_acceptance",
            ],
            capture_output=True, text=True, cwd=tmp_path, timeout=1800, check=False,
        )  # fmt: skip
    assert call.returncode == 0, call.stdout
    assert "Selected: 27/27" in call.stdout
