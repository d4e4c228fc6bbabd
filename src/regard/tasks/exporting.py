"""Exports a trained model to one file that runs without regard, and checks the file against the model."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
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
"""Sizes of the dynamic dimensions: for tracing the model, and for each check of the file."""

_TOLERANCE = 1e-4
"""Maximum difference of the logits, relative to the largest of them; rounding gives a hundredth of it."""


def recurrent(kind: str, option: str = "kind") -> UserError:
    """The error for recurrent models; ``kind``: the kind of model to train instead, by the setting ``option``."""
    return UserError(
        "export: a recurrent model cannot be exported, because its loop over the input would be traced for one length "
        f"only; train with --model.{option} {kind}"
    )


def several_models(mean_of: str = "probabilities") -> UserError:
    """The error for runs that are used together, by the mean of ``mean_of``."""
    return UserError(f"export: a file has one model; export each run, and take the mean of their {mean_of}")


@dataclass(frozen=True)
class Exportable:
    """A model to export, with its inputs.

    Attributes:
        module: takes the inputs in their order and returns logits, or a tuple of ``outputs``.
        inputs: input → its shape, in which a name stands for a dynamic size.
        sample: makes example inputs from the sizes by name.
        limits: name of a size → its maximum; sizes that are not in it are unlimited.
        notes: what users of the file need to know; stored in it as JSON.
        minimums: name of a size → its minimum, which ``sample`` keeps; others can be 1.
        outputs: the names of the outputs.
        missing: what has a share of the run's results and is not in the module, for a message; empty: nothing.
    """

    module: nn.Module
    inputs: Mapping[str, tuple[str | int, ...]]
    sample: Callable[[Mapping[str, int]], tuple[Tensor, ...]]
    limits: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    minimums: Mapping[str, int] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("logits",)
    missing: str = ""

    def examples(self, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Example inputs of these sizes."""
        return self.sample(self.named(sizes))

    def named(self, sizes: tuple[int, ...]) -> dict[str, int]:
        """Sizes by name, in the order in which the names first occur, each at most its limit."""
        named = zip(self.dynamic, sizes, strict=False)  # there may be more sizes than names
        return {name: min(size, self.limits.get(name, size)) for name, size in named}

    @property
    def dynamic(self) -> list[str]:
        """The names of the dynamic sizes."""
        return list(dict.fromkeys(size for shape in self.inputs.values() for size in shape if isinstance(size, str)))


def export(exportable: Exportable, path: Path, form: Format) -> tuple[float, int]:
    """Write a model to ``path``, completely or not at all.

    Returns:
        The largest difference of its logits from the model's, over all sizes that are checked, and its size in bytes.

    Raises:
        UserError: the path does not end as the format requires, its folder or a package is missing, or the logits of
            the file differ from those of the model.
    """
    if path.suffix != SUFFIXES[form]:
        raise UserError(f"out: a file of the format {form} must end in {SUFFIXES[form]}, got {path}")
    if not path.parent.is_dir():
        raise UserError(f"out: there is no folder {path.parent}")
    exportable.module.cpu().eval()
    difference = 0.0

    def write(temporary: Path) -> None:
        nonlocal difference
        # The reference backend has plain operations only, so that the file needs no kernels of regard.
        with torch.no_grad(), use_backend("reference"), _quiet():
            (_write_onnx if form == "onnx" else _write_torch)(exportable, temporary)
            difference = _check(exportable, _onnx_runner(temporary) if form == "onnx" else _torch_runner(temporary))

    size = write_whole(path, write)
    return difference, size


def _traced(exportable: Exportable) -> torch.export.ExportedProgram:
    dims = {
        name: torch.export.Dim(name, min=exportable.minimums.get(name, 1), max=exportable.limits.get(name))
        for name in exportable.dynamic
    }
    shapes = tuple(
        {axis: dims[size] for axis, size in enumerate(shape) if isinstance(size, str)}
        for shape in exportable.inputs.values()
    )
    return torch.export.export(exportable.module, exportable.examples(_TRACED), dynamic_shapes=shapes)


def _write_torch(exportable: Exportable, path: Path) -> None:
    with path.open("wb") as file:  # torch opens no path that is not UTF-8
        notes = json.dumps(dict(exportable.notes))
        torch.export.save(_traced(exportable), file, extra_files={"regard.json": notes})


def _write_onnx(exportable: Exportable, path: Path) -> None:
    for module in ("onnxscript", "onnxruntime"):
        require(module, "onnx", "the format onnx")
    program: Any = torch.onnx.export(
        _traced(exportable),
        dynamo=True,
        verbose=False,
        input_names=list(exportable.inputs),
        output_names=list(exportable.outputs),
    )
    program.rename_axes(_axes(exportable, program.model.graph.inputs))  # torch calls them s32, s7, …
    program.model.metadata_props["regard"] = json.dumps(dict(exportable.notes))
    program.save(path, external_data=False)


def _axes(exportable: Exportable, inputs: Any) -> dict[str, str]:
    """The exporter's name of each dynamic size → our name."""
    return {
        axis.value: size
        for tensor, shape in zip(inputs, exportable.inputs.values(), strict=True)
        for axis, size in zip(tensor.shape, shape, strict=True)
        if isinstance(size, str)
    }


def _torch_runner(path: Path) -> Callable[..., Any]:
    with path.open("rb") as file:
        return torch.export.load(file).module()


def _onnx_runner(path: Path) -> Callable[..., Any]:
    runtime = require("onnxruntime", "onnx", "the format onnx")
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
        return tuple(map(torch.from_numpy, outputs))

    return run


def _check(exportable: Exportable, run: Callable[..., Any]) -> float:
    """The largest difference of the outputs of ``run``. Raises UserError: it is more than rounding."""
    largest = 0.0
    for sizes in _CHECKED:
        inputs = exportable.examples(sizes)
        expected, actual = _all(exportable.module(*inputs)), _all(run(*inputs))
        for name, one, other in zip(exportable.outputs, expected, actual, strict=True):
            difference = float((one - other).abs().max()) if one.shape == other.shape else float("inf")
            if not difference <= _TOLERANCE * max(1.0, float(one.abs().max())):
                raise UserError(
                    f"export: the file's {name} differ from the model's by {difference:.2g} at sizes "
                    f"{exportable.named(sizes)}; the file is not written"
                )
            largest = max(largest, difference)
    return largest


def _all(outputs: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return (outputs,) if isinstance(outputs, Tensor) else outputs


@contextmanager
def _quiet() -> Iterator[None]:
    """A context without the exporter's messages about packages that are not needed here."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
