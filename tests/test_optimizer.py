"""Muon: which weights it updates, and how."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regard.models.language import TransformerLM
from regard.models.vision import ResNet, ViT
from regard.training.config import TrainConfig
from regard.training.optimizer import Muon, hidden_weights, optimizers, orthogonal


@pytest.mark.parametrize("shape", [(30, 30), (12, 70), (70, 12), (1, 9)])
def test_orthogonal_brings_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    u, s, v = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    result = orthogonal(u @ torch.diag(s.clamp(min=0.02 * float(s.norm()))) @ v)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6
    assert values.max() < 1.3
    # The singular vectors do not change: the result is u times a diagonal matrix times v.
    rotated = u.mT @ result @ v.mT
    torch.testing.assert_close(rotated, torch.diag(rotated.diagonal()), rtol=0, atol=1e-10)
    assert not orthogonal(torch.zeros(shape)).any()


def test_a_step_of_muon_is_as_large_as_one_of_adamw() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(64, 8, 3, 3))
    before = weight.detach().clone()
    optimizer = Muon([weight], lr=0.5, weight_decay=0.1)
    weight.grad = 1e-3 * torch.randn_like(weight)
    optimizer.step()
    change = weight.detach() - (1 - 0.5 * 0.1) * before
    assert change.square().mean().sqrt().item() == pytest.approx(0.2 * 0.5, rel=0.15)
    assert (change * weight.grad).sum() < 0


def test_muon_uses_nesterov_momentum() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(5, 7, dtype=torch.float64))
    first, second = torch.randn(2, 5, 7, dtype=torch.float64)
    optimizer, expected = Muon([weight], lr=1.0, momentum=0.5), torch.zeros(5, 7, dtype=torch.float64)
    for gradient, direction in ((first, 1.5 * first), (second, second + 0.5 * (second + 0.5 * first))):
        weight.grad = gradient.clone()
        optimizer.step()
        expected -= 0.2 * 7**0.5 * orthogonal(direction)
    torch.testing.assert_close(weight.detach(), expected)


@pytest.mark.parametrize(
    "model",
    [ResNet(5, width=8, attention="self"), ViT(5, size=16, width=16), TransformerLM(50, dim=16, layers=1, heads=2)],
    ids=["resnet", "vit", "language"],
)
def test_every_weight_has_exactly_one_optimizer(model: nn.Module) -> None:
    config = TrainConfig(optimizer="muon")
    muon, adamw = optimizers(model, config, fused=True)
    groups = [{id(weight) for weight in optimizer.param_groups[0]["params"]} for optimizer in (muon, adamw)]
    assert not groups[0] & groups[1]
    assert groups[0] | groups[1] == {id(weight) for weight in model.parameters()}
    names = {id(weight): name for name, weight in model.named_parameters()}
    by_muon = {names[weight] for weight in groups[0]}
    assert by_muon
    assert not any("embedding" in name for name in by_muon)
    assert not any(name.startswith("output") for name in by_muon)
    assert all(weight.ndim > 1 for weight in hidden_weights(model))
    assert len(optimizers(model, TrainConfig(), fused=True)) == 1


def test_a_model_without_hidden_layers_uses_adamw() -> None:
    (optimizer,) = optimizers(nn.Embedding(3, 4), TrainConfig(optimizer="muon"), fused=True)
    assert isinstance(optimizer, torch.optim.AdamW)
