"""The gradient of a step: scaled and clipped."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from regard.training.gradient import scale_gradients


@pytest.mark.parametrize("most", [0.3, 1000.0])
def test_gradients_are_scaled_and_clipped_as_pytorch_clips_them(most: float) -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    ours.bias.requires_grad_(False)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        one.grad = torch.randn_like(one) if one.requires_grad else None
        other.grad = None if one.grad is None else one.grad / 7
    norm = scale_gradients(list(ours.parameters()), 1 / 7, most, foreach=True)
    assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(theirs.parameters(), most)), rel=1e-6)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    assert ours.bias.grad is None


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_gradients_that_are_not_finite_are_not_hidden(number: float) -> None:
    layer = nn.Linear(2, 1)
    layer.weight.grad, layer.bias.grad = torch.ones(1, 2), torch.tensor([number])
    assert not math.isfinite(scale_gradients(list(layer.parameters()), 1.0, 1.0, foreach=True))
    assert layer.bias.grad.isnan().all()
