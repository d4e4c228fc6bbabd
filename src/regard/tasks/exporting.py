"""A trained model as one file that runs without regard, checked against the model that it was made of."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from regard.attend import use_backend
from regard.errors import UserError, require
from regard.files import write_whole

Format = Literal["onnx", "torch-export"]

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch-export": ".pt2"}

_TRACED, _CHECKED = (3, 5, 7), ((1, 1, 1), (4, 9, 6))
"""Sizes of the dimensions that are left open: while the model is recorded, and in the checks of the file."""

_TOLERANCE = 1e-4
"""Largest difference of the logits, against the largest of them; rounding is a hundredth of it."""


RECURRENT = (
    "export: a recurrent model's loop over the text would be written out for one length of text; "
    "--model.kind transformer has none"
)
"""Why some models cannot be exported."""


@dataclass(frozen=True)
class Exportable:
    """A model, and what it takes.

    Attributes:
        module: takes the inputs in their order, and gives logits.
        inputs: of each input its shape; a name is a size that is left open.
        sample: makes inputs of given sizes, by name.
        most: largest size of a name; any, where it is not there.
        notes: what the user of the file has to know; kept in it as JSON.
    """

    module: nn.Module
    inputs: Mapping[str, tuple[str | int, ...]]
    sample: Callable[[Mapping[str, int]], tuple[Tensor, ...]]
    most: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def tried(self, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Inputs of these sizes."""
        return self.sample(self.named(sizes))

    def named(self, sizes: tuple[int, ...]) -> dict[str, int]:
        """Sizes by name, in the order in which names first come, and none above its largest."""
        named = zip(self.open, sizes, strict=False)  # there are more sizes than names
        return {name: min(size, self.most.get(name, size)) for name, size in named}

    @property
    def open(self) -> list[str]:
        """The names of the sizes that are left open."""
        return list(dict.fromkeys(size for shape in self.inputs.values() for size in shape if isinstance(size, str)))


def export(what: Exportable, path: Path, form: Format) -> tuple[float, int]:
    """Write ``what`` to ``path``, all or nothing.

    Returns:
        The largest difference to the model's own logits, over the sizes that were tried, and the file's size in bytes.

    Raises:
        UserError: the path has another ending or its folder is missing, a package is missing, or the file does not give
            what the model gives.
    """
    if path.suffix != SUFFIXES[form]:
        raise UserError(f"out: the format {form} has files that end in {SUFFIXES[form]}, got {path}")
    if not path.parent.is_dir():
        raise UserError(f"out: there is no folder {path.parent}")
    what.module.cpu().eval()
    difference = 0.0

    def write(temporary: Path) -> None:
        nonlocal difference
        # Plain operations alone: who opens the file need not have our kernels.
        with torch.no_grad(), use_backend("reference"), _quiet():
            (_write_onnx if form == "onnx" else _write_torch)(what, temporary)
            difference = _check(what, _onnx_runner(temporary) if form == "onnx" else _torch_runner(temporary))

    size = write_whole(path, write)
    return difference, size


def _recorded(what: Exportable) -> torch.export.ExportedProgram:
    dims = {name: torch.export.Dim(name, min=1, max=what.most.get(name)) for name in what.open}
    shapes = tuple({at: dims[s] for at, s in enumerate(shape) if isinstance(s, str)} for shape in what.inputs.values())
    return torch.export.export(what.module, what.tried(_TRACED), dynamic_shapes=shapes)


def _write_torch(what: Exportable, path: Path) -> None:
    with path.open("wb") as file:  # torch opens no path that is not UTF-8
        torch.export.save(_recorded(what), file, extra_files={"regard.json": json.dumps(dict(what.notes))})


def _write_onnx(what: Exportable, path: Path) -> None:
    for module in ("onnxscript", "onnxruntime"):
        require(module, "onnx", "the format onnx")
    program: Any = torch.onnx.export(
        _recorded(what), dynamo=True, verbose=False, input_names=list(what.inputs), output_names=["logits"]
    )
    program.rename_axes(_axes(what, program.model.graph.inputs))  # torch calls them s32, s7, …
    program.model.metadata_props["regard"] = json.dumps(dict(what.notes))
    program.save(path, external_data=False)


def _axes(what: Exportable, inputs: Any) -> dict[str, str]:
    """Our names of the sizes that are left open, by the exporter's."""
    return {
        axis.value: size
        for given, shape in zip(inputs, what.inputs.values(), strict=True)
        for axis, size in zip(given.shape, shape, strict=True)
        if isinstance(size, str)
    }


def _torch_runner(path: Path) -> Callable[..., Tensor]:
    with path.open("rb") as file:
        module = torch.export.load(file).module()

    def run(*inputs: Tensor) -> Tensor:
        logits: Tensor = module(*inputs)
        return logits

    return run


def _onnx_runner(path: Path) -> Callable[..., Tensor]:
    runtime = require("onnxruntime", "onnx", "the format onnx")
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(*inputs: Tensor) -> Tensor:
        found = session.run(None, {name: one.numpy() for name, one in zip(names, inputs, strict=True)})
        return torch.from_numpy(found[0])

    return run


def _check(what: Exportable, run: Callable[..., Tensor]) -> float:
    """The largest difference of the logits. Raises UserError: it is more than rounding."""
    largest = 0.0
    for sizes in _CHECKED:
        inputs = what.tried(sizes)
        wanted, found = what.module(*inputs), run(*inputs)
        difference = float((wanted - found).abs().max()) if wanted.shape == found.shape else float("inf")
        if not difference <= _TOLERANCE * max(1.0, float(wanted.abs().max())):
            raise UserError(
                f"export: the file's logits differ from the model's by {difference:.2g} at sizes {what.named(sizes)}; "
                "it was not kept"
            )
        largest = max(largest, difference)
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages that are not needed here."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
