"""Arrays that a run keeps in a safetensors file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from regard.errors import UserError
from regard.files import write_whole


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by their names. Raises UserError: the file cannot be written."""
    from safetensors.numpy import save_file

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_whole(path, lambda fresh: save_file(contiguous, fresh))


def read_arrays(path: Path, names: Iterable[str], what: str) -> list[np.ndarray]:
    """The arrays with these names.

    Args:
        path: a file that `write_arrays` wrote.
        names: of the arrays.
        what: what the file is, for the message of an error, such as ``"a file of neighbours"``.

    Raises:
        UserError: the file or an array is missing, or the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
        return [arrays[name] for name in names]
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"{path}: is not {what} ({error})") from error
