"""Checkpoints that survive a kill at any moment: written under a temporary name, flushed to disk, then renamed.

A checkpoint is a folder ``checkpoints/step-000123`` with ``model.safetensors``, ``optimizer.safetensors`` and
``state.json``. With FSDP2, each process writes files with its own rows (`shards`). ``last.json`` and ``best.json`` in
the run's folder name the last and the best one. A folder gets its final name only when all its files are on the disk,
and these two files change only after that.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from regard.errors import UserError
from regard.files import flush, write_text
from regard.training import shards
from regard.training.distributed import World

Which = str
"""``"last"``, ``"best"``, or the name of a checkpoint."""


def name_of(step: int) -> str:
    """The name of the checkpoint after ``step`` steps."""
    return f"step-{step:07d}"


def save(
    run: Path,
    name: str,
    tensors: dict[str, dict[str, Tensor]],
    state: dict[str, Any],
    which: list[Which],
    kept: Sequence[str] = (),
) -> None:
    """Write a checkpoint and make it the last or the best one; others that are neither are removed.

    Args:
        run: the run's folder.
        name: of the checkpoint; an existing one of that name is kept as it is.
        tensors: file name without suffix → tensors by name.
        state: anything that JSON can represent.
        which: what it becomes: ``"last"``, ``"best"`` or both.
        kept: names of other checkpoints to keep.

    Raises:
        UserError: the disk is full or not writable; the checkpoints before it are unchanged.
    """
    writing = _Writing(run, name)
    if not writing.exists():
        writing.begin()
        with writing.reported():
            for file, content in tensors.items():
                save_file(
                    {key: t.detach().cpu().contiguous() for key, t in content.items()},
                    writing.temporary / f"{file}.safetensors",
                )
    writing.finish(state, which, kept)


def save_sharded(
    run: Path,
    name: str,
    tensors: dict[str, dict[str, Tensor]],
    state: dict[str, Any],
    which: list[Which],
    kept: Sequence[str],
    world: World,
) -> None:
    """As `save`, with sharded tensors, of which each process writes its own rows; called by all processes."""
    writing = _Writing(run, name)
    if not world.gather(writing.exists())[0]:
        world.first_does(writing.begin)

        def write() -> None:
            with writing.reported():
                for file, content in tensors.items():
                    shards.write(writing.temporary, file, content, world.rank, world.size)

        world.all_do(write)
    world.first_does(lambda: writing.finish(state, which, kept))


class _Writing:
    """The steps of writing a checkpoint: `begin`, its files into ``temporary``, and `finish`."""

    def __init__(self, run: Path, name: str):
        self.run, self.name = run, name
        self.folder = run / "checkpoints" / name
        self.temporary = self.folder.with_name(name + ".tmp")

    def exists(self) -> bool:
        return (self.folder / "state.json").exists()

    def begin(self) -> None:
        with self.reported():
            shutil.rmtree(self.temporary, ignore_errors=True)
            self.temporary.mkdir(parents=True)

    def finish(self, state: dict[str, Any], which: list[Which], kept: Sequence[str]) -> None:
        with self.reported():
            if not self.exists():
                (self.temporary / "state.json").write_text(json.dumps(state))
                for path in [*self.temporary.iterdir(), self.temporary]:
                    flush(path)
                self.temporary.rename(self.folder)
                flush(self.folder.parent)
            for pointer in which:
                content = {"checkpoint": self.name, "step": state["progress"]["step"]}
                write_json(self.run / f"{pointer}.json", content)
        _prune(self.run, kept)

    @contextmanager
    def reported(self) -> Iterator[None]:
        """A context in which an error of the disk is a UserError, and removes the temporary folder."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            shutil.rmtree(self.temporary, ignore_errors=True)
            reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[-1]
            raise UserError(
                f"{self.folder}: cannot write the checkpoint: {reason}; the checkpoints before it are kept"
            ) from error


def load_state(run: Path, which: Which) -> dict[str, Any]:
    """The JSON state of a checkpoint. Raises UserError: it does not exist or cannot be read."""
    return read_json(_folder(run, which) / "state.json")


def load_tensors(run: Path, which: Which, name: str) -> dict[str, Tensor]:
    """The tensors of ``name`` in a checkpoint, complete. Raises UserError: it does not exist or cannot be read."""
    with opened(run, which, name) as tensors:
        return tensors.everything()


@contextmanager
def opened(run: Path, which: Which, name: str) -> Iterator[shards.Shards]:
    """A context with the tensors of ``name`` in a checkpoint, of one file or of a file for each process.

    Raises:
        UserError: it does not exist or cannot be read.
    """
    folder = _folder(run, which)
    files = shards.paths(folder, name)
    path = files[0] if len(files) == 1 else folder / f"{name}.safetensors"
    if not files:
        raise UserError(f"{path}: no such file; the checkpoint is not complete")
    with ExitStack() as stack:
        try:
            tensors = stack.enter_context(shards.opened(files))
        except (OSError, ValueError, SafetensorError) as error:
            raise UserError(f"{path}: not a readable safetensors file ({error}); {_hint(run, which)}") from error
        yield tensors


def fill(model: nn.Module, run: Path, which: Which) -> None:
    """Load the weights of a checkpoint into ``model``, and move it to the GPU if there is one.

    Raises:
        UserError: the checkpoint does not exist or is of another model.
    """
    weights = load_tensors(run, which, "model")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"{run}: the {which} checkpoint does not fit config.yaml: {reason}") from error
    model.to("cuda" if torch.cuda.is_available() else "cpu")


def exists(run: Path, which: Which = "last") -> bool:
    """Whether the run has such a checkpoint."""
    return (run / f"{which}.json").exists()


def write_json(path: Path, content: object) -> None:
    """Write JSON, flushed to the disk. Raises UserError: the file cannot be written."""
    write_text(path, json.dumps(content, indent=1))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file. Raises UserError: the file is missing or holds something else."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _folder(run: Path, which: Which) -> Path:
    if (run / "checkpoints" / which / "state.json").exists():
        return run / "checkpoints" / which
    if not exists(run, which):
        raise UserError(
            f"{run}: has no {which} checkpoint; training has not reached its first one, or this is not a run"
        )
    name = read_json(run / f"{which}.json").get("checkpoint")
    if not isinstance(name, str) or Path(name).name != name:
        raise UserError(f"{run / which}.json: names no checkpoint, got {name!r}")
    return run / "checkpoints" / name


def _hint(run: Path, which: Which) -> str:
    other = "last" if which == "best" else "best"
    return f"try --checkpoint {other}" if exists(run, other) else "train again"


def _prune(run: Path, kept: Sequence[str]) -> None:
    keep = set(kept) | {
        read_json(path).get("checkpoint") for path in (run / "last.json", run / "best.json") if path.exists()
    }
    for folder in (run / "checkpoints").iterdir():
        if folder.name not in keep:
            shutil.rmtree(folder, ignore_errors=True)
