"""Layers learn to attend to the right key, on a task where it is known: a short run of `benchmarks/copying.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import copying

LONG = ("Variational", "Hard, gumbel", "Hard, straight-through", "Sparsemax")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long if n in LONG else ()) for n in copying.LAYERS])
def test_a_layer_learns_to_copy_the_marked_token(name: str) -> None:
    torch.manual_seed(1)
    copied, weight = copying.scores(copying.train(copying.LAYERS[name](), 600), 2000)
    assert copied >= 0.99
    assert weight >= 0.9
