"""Initial weights from another run: those of its best checkpoint whose name and shape are those of the new model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from regard.errors import UserError
from regard.training import checkpoint
from regard.training import run as runs

Notify = Callable[[str], None]

_NAMED = 3
"""Weights that a line names."""


def check_initial(run: str | None) -> None:
    """Check ``train.init``. Raises UserError: it is not the folder of a run with a best checkpoint."""
    if run is None:
        return
    try:
        runs.check(Path(run))
        checkpoint.load_state(Path(run), "best")
    except UserError as error:
        raise UserError(f"train.init: {error}") from error


def load_initial(model: nn.Module, source: Path, run: Path, notify: Notify) -> None:
    """Copy the weights of the best checkpoint of ``source`` into ``model``, where name and shape are equal.

    Args:
        model: the model of the new run, before it is wrapped for several processes.
        source: the folder of the other run.
        run: the folder of the new run.
        notify: gets lines that say which weights were copied and which were not.

    Raises:
        UserError: the checkpoint cannot be read, or none of its weights fits.
    """
    if not copy_weights(model, checkpoint.load_tensors(source, "best", "model"), str(source), notify):
        raise UserError(
            f"train.init: no weight of {source} has the name and shape of one of this model's; "
            "use a run with the same model settings"
        )
    different = [
        path.name
        for path in sorted(source.glob("*tokenizer.json"))
        if (run / path.name).exists() and (run / path.name).read_bytes() != path.read_bytes()
    ]
    if different:
        notify(f"{_list(different)} of the two runs differ: copied rows of embeddings belong to other tokens")


def copy_weights(model: nn.Module, theirs: Mapping[str, Tensor], origin: str, notify: Notify) -> int:
    """Copy the weights ``theirs`` into ``model``, where name and shape are equal; returns the number of tensors.

    Unless it is 0, ``notify`` gets lines that say which weights were copied from ``origin`` and which were not.
    """
    ours = model.state_dict()
    copied = {name for name, weight in theirs.items() if name in ours and ours[name].shape == weight.shape}
    if not copied:
        return 0
    with torch.no_grad():
        for name in copied:
            ours[name].copy_(theirs[name])
    numbers = sum(ours[name].numel() for name in copied)
    total = sum(weight.numel() for weight in ours.values())
    notify(f"initial weights from {origin}: {len(copied):,} of {len(ours):,} tensors, {numbers:,} of {total:,} numbers")
    other_shape = [
        f"{name} {tuple(theirs[name].shape)} → {tuple(weight.shape)}"
        for name, weight in ours.items()
        if name in theirs and name not in copied
    ]
    for reason, names in (
        ("not copied, of another shape", other_shape),
        ("not copied, only in this model", [name for name in ours if name not in theirs]),
        ("not copied, only in the other run", [name for name in theirs if name not in ours]),
    ):
        if names:
            notify(f"{reason}: {_list(names)}")
    return len(copied)


def _list(names: Sequence[str]) -> str:
    """The first names, and the number of the others."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
