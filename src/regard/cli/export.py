"""``regard export``: a run as one file that other programs run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from regard.cli.app import Checkpoint, app, settings_of
from regard.tasks import commands


@app.command
def export(
    run: Path,
    out: Path | None = None,
    /,
    *,
    form: Annotated[Literal["onnx", "torch-export"], Parameter(name="--format")] = "onnx",
    checkpoint: Checkpoint = "best",
) -> None:
    """Write a trained model as one file that runs without regard, and check that it gives the same logits.

    Inputs may have any batch size and, where the model's positions allow it, any length. A recurrent model cannot be
    exported.

    Args:
        run: Folder of a trained run.
        out: File to write; model.onnx or model.pt2 in the run's folder unless given.
        form: onnx: for onnxruntime and others, needs regard[onnx]; torch-export: for torch.export.load.
        checkpoint: Which checkpoint to use.
    """
    from regard.tasks.exporting import SUFFIXES
    from regard.tasks.exporting import export as write
    from regard.train.run import check, kind

    check(run)
    name = kind(run)
    what = commands(name).export(run, settings_of(name), checkpoint=checkpoint)
    path = out or run / f"model{SUFFIXES[form]}"
    difference, size = write(what, path, form)
    print(f"{path}  {size / 1e6:,.1f} MB")
    for given, shape in what.inputs.items():
        print(f"  {given:16}({', '.join(str(size) for size in shape)})")
    print(f"checked at other sizes: logits differ by {difference:.1e} at most")
