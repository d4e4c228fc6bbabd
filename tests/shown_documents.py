"""Reads the viewer's documents back."""

from __future__ import annotations

import base64
import gzip
import json
import re
import struct
from pathlib import Path
from typing import Any

from safetensors.torch import load


def read_document(content: bytes) -> dict[str, Any]:
    """The description in a document's bytes, in which each layer has its tensors."""
    (size,) = struct.unpack("<Q", content[:8])
    described: dict[str, Any] = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["regard"])
    tensors = load(content)
    for at, layer in enumerate(described["layers"]):
        names = (name for name in tensors if name.startswith(f"{at}."))
        layer["tensors"] = {name.partition(".")[2]: tensors[name] for name in names}
    return described


def read_page(path: Path) -> dict[str, Any]:
    """The same of a page."""
    data = re.search(r'id="document">([^<]*)<', path.read_text())
    assert data is not None
    return read_document(gzip.decompress(base64.b64decode(data[1])))
