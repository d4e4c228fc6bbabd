"""``regard export``: a trained model as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from regard.cli.options import Checkpoint


def add_command(app: App) -> None:
    """Add ``regard export``."""
    app.command(_export, name="export")


def _export(
    run: Path,
    out: Path | None = None,
    /,
    *,
    form: Annotated[Literal["onnx", "torch-export"], Parameter(name="--format")] = "onnx",
    checkpoint: Checkpoint = "best",
) -> None:
    """Export a trained model to one file that runs without regard, and check that it computes the same logits.

    The exported model takes any batch size, and any length that the model's positions allow. Recurrent models (GRU,
    LSTM) cannot be exported.

    Args:
        run: Folder of a trained run.
        out: File to write; by default model.onnx or model.pt2 in the run's folder.
        form: onnx: for ONNX Runtime and other programs (needs pip install "regard[onnx]"); torch-export: for PyTorch's
            torch.export.load.
        checkpoint: Checkpoint to use: the one with the best validation metric, or the last one.
    """
    from regard.tasks.exporting import SUFFIXES, export
    from regard.tasks.running import load

    exportable = load(run, checkpoint).exportable()
    path = out or run / f"model{SUFFIXES[form]}"
    difference, size = export(exportable, path, form)
    print(f"{path}  {size / 1e6:,.1f} MB")
    for name, shape in exportable.inputs.items():
        print(f"  {name:16}({', '.join(str(size) for size in shape)})")
    if exportable.missing:
        print(f"the network alone: the file is without {exportable.missing}")
    print(f"checked at other sizes: logits differ by at most {difference:.1e}")
