"""Reads the viewer's documents back."""

from __future__ import annotations

import json
import struct
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
