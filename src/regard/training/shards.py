"""Files with the rows of tensors that one process holds, so that no process needs the complete model to save or resume.

Of n processes, each writes ``NAME-00000-of-0000n.safetensors``, … with its rows of each tensor. The metadata of the
file have the number of the first row of each. A tensor that is not sharded is in the file of the first process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

if TYPE_CHECKING:  # importing it takes half a second
    from torch.distributed.tensor import DTensor

_FIRST_ROWS = "first_rows"


def write(folder: Path, name: str, tensors: Mapping[str, Tensor], rank: int, size: int) -> None:
    """Write this process's rows of ``tensors``, sharded along their first dimension, into its file."""
    rows: dict[str, Tensor] = {}
    first_rows: dict[str, int] = {}
    for key, tensor in tensors.items():
        local, first = local_rows(tensor)
        if local.numel() and (_is_sharded(tensor) or rank == 0):
            rows[key], first_rows[key] = local.detach().cpu().contiguous(), first
    path = folder / f"{name}-{rank:05d}-of-{size:05d}.safetensors"
    save_file(rows, path, metadata={_FIRST_ROWS: json.dumps(first_rows)})


def paths(folder: Path, name: str) -> list[Path]:
    """The files of ``name`` by number: one ``NAME.safetensors``, or those of all processes; empty: not all exist."""
    if (folder / f"{name}.safetensors").exists():
        return [folder / f"{name}.safetensors"]
    files = sorted(folder.glob(f"{name}-*-of-*.safetensors"))
    complete = files and len(files) == int(files[0].stem.rsplit("-", 1)[1])
    return files if complete else []


class Shards:
    """The tensors of several files of rows, read when they are needed; made by `opened`."""

    def __init__(self, files: Sequence[Any]):
        self._parts: dict[str, list[tuple[int, Any]]] = {}
        for file in files:
            first_rows = json.loads((file.metadata() or {}).get(_FIRST_ROWS, "{}"))
            for key in file.keys():  # noqa: SIM118
                self._parts.setdefault(key, []).append((first_rows.get(key, 0), file))

    def full(self, key: str) -> Tensor:
        """A complete tensor."""
        parts = sorted(self._parts[key], key=lambda part: part[0])
        tensors = [file.get_tensor(key) for _, file in parts]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors)

    def everything(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {key: self.full(key) for key in self._parts}

    @torch.no_grad()
    def fill(self, key: str, tensor: Tensor) -> None:
        """Copy a tensor into ``tensor``: into the rows of this process, if it is sharded. Raises KeyError."""
        local, start = local_rows(tensor)
        if not _is_sharded(tensor):
            local.copy_(self.full(key))
            return
        end = start + len(local)
        for first, file in self._parts[key]:
            part = file.get_slice(key)
            low, high = max(start, first), min(end, first + part.get_shape()[0])
            if low < high:
                local[low - start : high - start].copy_(part[low - first : high - first])


@contextmanager
def opened(files: Sequence[Path]) -> Iterator[Shards]:
    """A context with the tensors of these files."""
    with ExitStack() as stack:
        handles = []
        for path in files:
            file = stack.enter_context(path.open("rb"))
            # safetensors reads no path that is not UTF-8.
            handles.append(stack.enter_context(safe_open(f"/dev/fd/{file.fileno()}", "pt")))
        yield Shards(handles)


def local_rows(tensor: Tensor) -> tuple[Tensor, int]:
    """The rows of this process, and the number of the first one."""
    if not _is_sharded(tensor):
        return tensor, 0
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    offsets = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)[1]
    return tensor.to_local(), offsets[0]


def _is_sharded(tensor: Tensor) -> TypeGuard[DTensor]:
    return hasattr(tensor, "device_mesh")
