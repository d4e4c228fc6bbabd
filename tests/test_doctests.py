"""The examples in docstrings run and print what they show, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import regard
import regard.decode
import regard.nn
import regard.onnx
import regard.views

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_NOT_PYTHON = {"regard.__main__", "regard.kernels.cpu.libregard_cpu"}
MODULES = sorted({module.name for module in pkgutil.walk_packages(regard.__path__, "regard.")} - _NOT_PYTHON)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_show(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert results.failed == 0


_WITHOUT = {
    "LayerView": "a part of a ModelView, which shows it",
    "STATISTICS": "a value",
    "Words": "the result of a method that ModelView shows",
    "draw_alignment": "makes an image",
    "draw_entropy": "makes an image",
    "draw_grid": "makes an image",
    "draw_map": "makes an image",
    "draw_on_image": "makes an image",
    "draw_on_sound": "makes an image",
    "draw_received": "makes an image",
    "draw_row": "makes an image",
    "State": "a type: any nesting of tensors",
    "StepFunction": "a type of function, shown by the functions that take one",
    "attend": "a module",
    "nn": "a module",
    "views": "a module",
}
"""Public names without an example, and why."""

PUBLIC: dict[str, tuple[ModuleType, list[str]]] = {
    "regard": (regard, regard.__all__),
    "regard.attend": (regard.attend, ["Boolean", "Choice", "Norms", "Pooled", "Sinks", "Top"]),
    "regard.nn": (regard.nn, regard.nn.__all__),
    "regard.views": (regard.views, regard.views.__all__),
    "regard.onnx": (regard.onnx, ["Outputs", "attention"]),
    "regard.decode": (regard.decode, regard.decode.__all__),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_an_example(name: str) -> None:
    module, names = PUBLIC[name]
    finder = doctest.DocTestFinder(recurse=False)
    names = [name for name in names if name not in _WITHOUT]
    assert [name for name in names if not any(test.examples for test in finder.find(getattr(module, name), name))] == []
