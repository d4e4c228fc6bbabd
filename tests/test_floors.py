"""The house: each floor imports only what is below it, and optional packages load late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import regard
from regard.attend import biases, masks, normalizers, scores

FLOORS = (
    "errors", "files", "kernels", "attend", "onnx", "nn", "explain", "models", "decode", "data", "train", "tasks",
    "cli",
)  # fmt: skip
"""From the ground up. `models` takes the types of `decode`; see BESIDE."""

BESIDE = {("models", "decode")}
"""A model implements the step interface that decoding defines."""

SOURCE = Path(regard.__file__).parent


def _imports(path: Path) -> set[str]:
    """The floors that a file imports, at any depth in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.ImportFrom) and node.module == "regard":
            names = [f"regard.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("regard.")}
    return found & set(FLOORS)


def _files() -> list[Path]:
    return sorted(
        path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.name.removesuffix(".py") in FLOORS
    )


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_floors_import_downwards_only(path: Path) -> None:
    floor = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert floor in FLOORS
    above = {name for name in _imports(path) if FLOORS.index(name) > FLOORS.index(floor)}
    assert not {name for name in above if (floor, name) not in BESIDE}


LATE = (
    "matplotlib",
    "PIL",
    "sklearn",
    "scipy",
    "tokenizers",
    "sacrebleu",
    "regex",
    "babel",
    "pyarrow",
    "datasets",
    "tensorboard",
    "pandas",
)


def _loaded(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_optional_packages_load_late() -> None:
    modules = [".".join(("regard", *path.relative_to(SOURCE).with_suffix("").parts)) for path in _files()]
    assert not _loaded("import " + ", ".join(name.removesuffix(".__init__") for name in modules)) & set(LATE)


@pytest.mark.parametrize("module", ["regard", "regard.cli.main", "regard.tasks.translate.config"])
def test_the_command_line_parses_without_torch(module: str) -> None:
    assert not _loaded(f"import {module}") & {"torch", "numpy"}


def test_public_names() -> None:
    mechanisms = [name for module in (scores, biases, masks, normalizers) for name in module.__all__]
    others = ["Look", "Mask", "View", "attend", "attention", "explain_choice", "nn", "use_backend"]
    assert regard.__all__ == sorted([*mechanisms, *others])
    assert all(getattr(regard, name) is not None for name in regard.__all__)
    with pytest.raises(AttributeError, match="attenton"):
        _ = regard.attenton
