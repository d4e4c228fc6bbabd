"""Each package of regard imports only packages below it, and optional packages are imported where they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import regard
from regard.attend import biases, masks, normalizers, scores
from regard.tasks.table import TASKS

LAYERS = (
    "errors", "files", "settings", "kernels", "attend", "watch", "onnx", "integrations", "nn", "attribution", "viewer",
    "explain", "views", "models", "decode", "data", "pretrained", "training", "tasks", "server", "cli",
)  # fmt: skip
"""The packages of regard, from the lowest layer to the highest."""

EXCEPTIONS = {("models", "decode")}
"""Imports from a higher layer: a model implements the step interface that decoding defines."""

SOURCE = Path(regard.__file__).parent


def _imports(path: Path) -> set[str]:
    """The packages of regard that a file imports, at the top or inside of functions."""
    packages = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.ImportFrom) and node.module == "regard":
            names = [f"regard.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        packages |= {name.split(".")[1] for name in names if name.startswith("regard.")}
    return packages & set(LAYERS)


def _files() -> list[Path]:
    return sorted(
        path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.name.removesuffix(".py") in LAYERS
    )


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_packages_import_only_from_lower_layers(path: Path) -> None:
    layer = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert layer in LAYERS
    higher = {name for name in _imports(path) if LAYERS.index(name) > LAYERS.index(layer)}
    assert not {name for name in higher if (layer, name) not in EXCEPTIONS}


@pytest.mark.parametrize("path", sorted((SOURCE / "tasks").rglob("*.py")), ids=lambda path: path.name)
def test_shared_parts_of_tasks_import_no_task(path: Path) -> None:
    """A task's folder imports no other task, nor do its shared parts and the modules of ``tasks`` itself."""
    tasks = {spec.code.split(".")[2] for spec in TASKS}
    parts = path.relative_to(SOURCE / "tasks").parts
    shared = {"fitted", "families", "inputs"}
    allowed = {"fitted": {"fitted"}, "families": {"families", "fitted"}, "inputs": {"inputs"}}.get(
        parts[0], {*shared, parts[0]}
    )
    modules = {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
    used = {module.split(".")[2] for module in modules if module and module.startswith("regard.tasks.")}
    if parts != ("table.py",):
        assert not used & (tasks | shared) - (allowed if len(parts) > 1 else set())


OPTIONAL = (
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
    "transformers",
    "tensorboard",
    "pandas",
    "fastapi",
    "starlette",
    "uvicorn",
    "prometheus_client",
)


def _loaded(statement: str) -> set[str]:
    """The names of all packages that are loaded after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_regard_loads_no_optional_package() -> None:
    modules = [".".join(("regard", *path.relative_to(SOURCE).with_suffix("").parts)) for path in _files()]
    assert not _loaded("import " + ", ".join(name.removesuffix(".__init__") for name in modules)) & set(OPTIONAL)


@pytest.mark.parametrize("module", ["regard", "regard.cli.main", "regard.tasks.table"])
def test_the_command_line_does_not_import_torch_to_parse(module: str) -> None:
    assert not _loaded(f"import {module}") & {"torch", "numpy"}


def test_loading_a_run_does_not_import_sharded_tensors() -> None:
    """PyTorch imports sympy with ``torch.distributed.tensor``, which takes half a second."""
    assert "sympy" not in _loaded("import regard.tasks.running, regard.training.loop, regard.server.app")


def test_public_names_are_the_mechanisms_and_a_few_others() -> None:
    mechanisms = [name for module in (scores, biases, masks, normalizers) for name in module.__all__]
    others = [
        "Look",
        "Mask",
        "View",
        "attend",
        "attention",
        "explain_choice",
        "load",
        "looking",
        "nn",
        "train",
        "use_backend",
        "views",
    ]
    assert regard.__all__ == sorted([*mechanisms, *others])
    assert all(getattr(regard, name) is not None for name in regard.__all__)
    with pytest.raises(AttributeError, match="attenton"):
        _ = regard.attenton
