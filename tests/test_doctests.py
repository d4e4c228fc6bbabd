"""The examples in docstrings run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from typing import Any

import pytest

import regard

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_NOT_PYTHON = {"regard.__main__", "regard.kernels.cpu.libregard_cpu"}
MODULES = sorted({module.name for module in pkgutil.walk_packages(regard.__path__, "regard.")} - _NOT_PYTHON)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert results.failed == 0


def test_public_functions_have_an_example() -> None:
    finder = doctest.DocTestFinder(recurse=False)
    shown: list[Any] = [
        regard.attention,
        regard.explain_choice,
        regard.Look,
        regard.Entmax,
        regard.Causal,
        regard.nn.MultiHeadAttention,
    ]
    assert [each.__name__ for each in shown if not any(test.examples for test in finder.find(each))] == []
