"""Reads documents with the viewer's JavaScript in node."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.viewer.document import Document
from regard.viewer.page import bundled

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


class Numbers(NamedTuple):
    """An answer of a source; ``values`` is two-dimensional for maps and tiles, and empty for null."""

    how: str
    values: Tensor
    milliseconds: float


def asked(document: Document, folder: Path, *requests: list[Any]) -> tuple[dict[str, Any], list[Numbers]]:
    """What ``openDocument`` of ``static/file.js`` says of a document, and its answers to calls of its methods."""
    assert NODE is not None
    (folder / "document").write_bytes(document.to_bytes())
    (folder / "file.mjs").write_text(f"{bundled('file.js')}\nexport {{ openDocument }};")
    script = Path(__file__).parent / "web" / "asked.mjs"
    command = [NODE, str(script), str(folder / "file.mjs"), str(folder / "document"), json.dumps(requests)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr
    meta, *answers = json.loads(done.stdout)
    return meta, [_numbers(answer) for answer in answers]


def _numbers(answer: dict[str, Any]) -> Numbers:
    bytes_ = base64.b64decode(answer["values"] or "")
    values = torch.from_numpy(np.frombuffer(bytes_, "<f4").copy())
    if "rows" in answer:
        values = values.view(answer["rows"], answer["columns"])
    return Numbers(answer.get("how", ""), values, answer["milliseconds"])
