"""Estimators of hard attention: the distribution of their samples, and their gradients; noise, dropout and seeds."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor

from regard import Dropout, Hard, Look, Normalizer, Softmax, Variational, attention
from regard.attend.attention import lower
from regard.kernels import random

SAMPLES = 40_000


def sampled(scores: Tensor, normalizer: Normalizer, rows: int = SAMPLES) -> Tensor:
    """The weights of one row of scores, sampled anew for each of ``rows`` queries."""
    keys = scores.shape[-1]
    query = torch.zeros(rows, 1, dtype=scores.dtype)
    return attention(query, query[:keys] * 0, torch.eye(keys, dtype=scores.dtype), bias=scores, normalizer=normalizer)


@pytest.mark.parametrize("estimator", ["gumbel", "reinforce"])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_samples_have_the_frequencies_of_the_softmax(
    estimator: Literal["gumbel", "reinforce"], temperature: float
) -> None:
    scores = torch.tensor([0.0, 1.0, -1.0, 0.5], dtype=torch.float64)
    weights = sampled(scores, Hard(estimator, temperature, seed=3))
    expected = torch.softmax(scores / temperature, -1)
    error = (expected * (1 - expected) / SAMPLES).sqrt()
    assert ((weights.mean(0) - expected).abs() < 4 * error).all()


def test_gumbels_gradient_is_that_of_the_noisy_softmax() -> None:
    scores = torch.tensor([0.0, 1.0, -1.0, 0.5], dtype=torch.float64, requires_grad=True)
    temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(6, 4, dtype=torch.float64)
    normalizer = Hard("gumbel", temperature, seed=3)
    ours = torch.autograd.grad((sampled(scores, normalizer, 6) * upstream).sum(), [scores, temperature])
    query = torch.zeros(6, 1, dtype=torch.float64)
    plan, _ = lower(query, query[:4], query[:4], normalizer=normalizer)
    noisy = scores / temperature + random.gumbel(plan, torch.float64)[0, 0]
    theirs = torch.autograd.grad((torch.softmax(noisy, -1) * upstream).sum(), [scores, temperature])
    torch.testing.assert_close(ours, theirs)


def test_straight_throughs_gradient_is_that_of_the_softmax() -> None:
    scores = torch.tensor([0.0, 1.0, -1.0, 0.5], dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(6, 4, dtype=torch.float64)
    weights = sampled(scores, Hard("straight-through", 0.7), 6)
    assert torch.equal(weights, torch.eye(4, dtype=torch.float64)[1].expand(6, 4))
    ours = torch.autograd.grad((weights * upstream).sum(), scores)
    theirs = torch.autograd.grad((torch.softmax(scores / 0.7, -1) * upstream).sum(), scores)
    torch.testing.assert_close(ours, theirs)


def test_reinforce_has_a_gradient_only_through_the_log_probability() -> None:
    scores = torch.tensor([[0.0, 1.0, -1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    query = torch.zeros(SAMPLES, 1, dtype=torch.float64)
    cost = torch.tensor([[3.0], [1.0], [4.0], [1.5]], dtype=torch.float64)
    output, view = attention(
        query, query[:4], cost, bias=scores, normalizer=Hard("reinforce", seed=5), look=Look(log_prob=True)
    )
    gradient = torch.autograd.grad(output.sum(), scores, materialize_grads=True, retain_graph=True)[0]
    assert not gradient.any()
    estimate = torch.autograd.grad(((output[:, 0] - 2.0) * view.log_prob).mean(), scores)[0]
    exact = torch.autograd.grad((torch.softmax(scores, -1) @ cost).sum(), scores)[0]
    torch.testing.assert_close(estimate, exact, rtol=0, atol=0.03)


def test_noise_is_standard_normal_and_dropout_keeps_the_requested_share() -> None:
    query = torch.zeros(1, 1, 1000, 1)
    plan, _ = lower(query, query, query, normalizer=Variational(seed=11))
    noise = random.normal(plan, torch.float64).flatten()
    assert abs(noise.mean()) < 4e-3
    assert abs(noise.square().mean() - 1) < 6e-3
    assert abs(noise.pow(4).mean() - 3) < 0.05
    plan, _ = lower(query, query, query, normalizer=Dropout(Softmax(), 0.3, seed=11))
    kept = random.kept(plan)[0, 0].double()
    assert abs(kept.mean() - 0.7) < 2e-3
    # Neighbours are independent, along rows and along columns.
    for first, second in ((kept[1:], kept[:-1]), (kept[:, 1:], kept[:, :-1])):
        assert abs(((first - 0.7) * (second - 0.7)).mean()) < 1e-3


def test_a_seed_reproduces_and_without_one_pytorchs_generator_is_used() -> None:
    query = torch.randn(1, 2, 9, 4)

    def call(seed: int | None) -> Tensor:
        return attention(query, query, query, normalizer=Dropout(Softmax(), 0.5, seed))

    assert torch.equal(call(7), call(7))
    assert not torch.equal(call(7), call(8))
    torch.manual_seed(0)
    first, second = call(None), call(None)
    torch.manual_seed(0)
    assert torch.equal(call(None), first)
    assert not torch.equal(first, second)
