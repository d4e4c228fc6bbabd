"""Looks: gradients through them, ambient devices, and copies of views."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

import mechanisms
from masks import MASKS
from mechanisms import CASES, SMALL, USUAL, Case
from regard import Causal, Look, attention, use_backend
from test_mechanisms import each_case, full_look

each_backend = pytest.mark.parametrize("backend", ["cpu", "reference"])


@each_case
@each_backend
@pytest.mark.parametrize("mask", ["causal, negative", "boolean", pytest.param("none", marks=pytest.mark.long)])
def test_gradients_through_log_sum_exp_and_rows_to_second_order(case: Case, backend: str, mask: str) -> None:
    query, key, v = mechanisms.inputs(case, SMALL)
    leaves = [t.requires_grad_() for t in (query, key, *case.parameters(SMALL))]
    look = Look(lse="lse" not in case.undefined, rows=[-1, 0] if case.smooth else None)

    def call(q: Tensor, k: Tensor, *parameters: Tensor) -> Any:
        options = case.call(SMALL, *parameters)
        _, view = attention(q, k, v, mask=MASKS[mask].make(SMALL), look=look, backend=backend, **options)
        shown = [view.lse.nan_to_num(neginf=0.0)] if look.lse else []
        return tuple(shown + ([view.rows] if look.rows else []))

    assert torch.autograd.gradcheck(call, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, leaves, fast_mode=True)


@each_case
def test_gradients_through_looks_do_not_depend_on_tiles(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for elements in (1 << 22, 1):
        monkeypatch.setattr("regard.kernels.statistics._TILE_ELEMENTS", elements)
        leaves = [t.requires_grad_() for t in (*mechanisms.inputs(case), *case.parameters(USUAL))]
        look = Look(lse="lse" not in case.undefined, rows=slice(None))
        _, view = attention(*leaves[:3], mask=Causal(), look=look, **case.call(USUAL, *leaves[3:]))
        loss = (view.rows * mechanisms.random(*view.rows.shape)).sum()
        loss = loss + (view.lse * mechanisms.random(*view.lse.shape)).sum() if look.lse else loss
        gradients.append(torch.autograd.grad(loss, leaves, materialize_grads=True))
        assert not gradients[-1][2].any()  # neither the log-sum-exp nor the rows depend on the values
    torch.testing.assert_close(*gradients)


def test_masked_keys_have_no_influence_on_the_gradient_of_a_look() -> None:
    gradients = []
    for number in (1.0, float("nan")):
        q, k, v = mechanisms.inputs(CASES[0])
        k[:, :, -1] = number
        leaves = [t.requires_grad_() for t in (q, k, v)]
        _, view = attention(*leaves, mask=Causal(-1), look=Look(lse=True, rows=slice(1, None)))
        (view.lse[:, :, 1:].sum() + view.rows.square().sum()).backward()
        gradients.append([leaf.grad for leaf in leaves[:2]])
    for clean, with_nan in zip(*gradients, strict=True):
        assert torch.equal(clean, with_nan)


def test_backward_after_an_in_place_change_raises() -> None:
    q, k, v = (t.requires_grad_() for t in mechanisms.inputs(CASES[0]))
    inner = k * 1
    _, view = attention(q, inner, v, look=Look(lse=True))
    inner.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        view.lse.sum().backward()


@each_backend
def test_guided_attention_loss_moves_the_weights_to_the_diagonal(backend: str) -> None:
    """Tachibana et al. 2017 (arXiv:1710.08969), section 4.2: ``mean(A ⊙ W)``, W = 1 − exp(−(i/Lq − j/Lk)² / 2g²)."""
    torch.manual_seed(0)
    q, k = torch.randn(1, 1, 12, 16).requires_grad_(), torch.randn(1, 1, 18, 16).requires_grad_()
    place = torch.arange(12)[:, None] / 12 - torch.arange(18) / 18
    off_diagonal = 1 - torch.exp(-place.square() / (2 * 0.2**2))
    optimizer, losses = torch.optim.Adam([q, k], lr=0.1), []
    for _ in range(80):
        _, view = attention(q, k, k.detach(), look=Look(rows=slice(None)), backend=backend)
        loss = (view.rows * off_diagonal).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 20


def test_partial_attentions_merge_by_log_sum_exp_with_gradients() -> None:
    """Ring and tree attention: one call for each part of the keys, weighted by a softmax of the log-sum-exps."""
    leaves = [t.requires_grad_() for t in mechanisms.inputs(CASES[0])]
    copies = [t.detach().clone().requires_grad_() for t in leaves]
    expected = attention(*leaves)
    outputs, sums = [], []
    for part in (slice(0, 3), slice(3, 7)):
        output, view = attention(copies[0], copies[1][:, :, part], copies[2][:, :, part], look=Look(lse=True))
        outputs.append(output)
        sums.append(view.lse)
    share = torch.softmax(torch.stack(sums), 0)
    merged = (torch.stack(outputs) * share[..., None]).sum(0)
    torch.testing.assert_close(merged, expected)
    grad = mechanisms.random(*expected.shape)
    for ours, theirs in zip(
        torch.autograd.grad(merged, copies, grad), torch.autograd.grad(expected, leaves, grad), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@each_case
@each_backend
def test_an_ambient_device_has_no_influence(case: Case, backend: str) -> None:
    results = []
    for device in ("cpu", "meta"):
        leaves = [t.requires_grad_() for t in (*mechanisms.inputs(case), *case.parameters(USUAL))]
        options = case.call(USUAL, *leaves[3:])
        look = full_look(case, top=3, rows=[-1, 0], map=(2, 3))
        with torch.device(device), use_backend(backend):
            output, view = attention(*leaves[:3], mask=Causal(), look=look, **options)
            piece = view.tile([0, 3], slice(1, 4))
            output.square().sum().backward()
        grads = [leaf.grad for leaf in leaves if leaf.grad is not None]
        results.append([output.detach(), piece, *(t.detach() for t in view._results.values()), *grads])
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize("name", MASKS)
def test_masks_under_an_ambient_device(name: str) -> None:
    q, k, v = mechanisms.inputs(CASES[0])
    mask = MASKS[name].make(USUAL)
    with torch.device("meta"):
        output = attention(q, k, v, mask=mask)
    assert torch.equal(output, attention(q, k, v, mask=mask))


@each_case
def test_copied_and_pickled_views_have_no_gradient(case: Case) -> None:
    leaves = [t.requires_grad_() for t in (*mechanisms.inputs(case), *case.parameters(USUAL))]
    look = full_look(case, rows=[1], top=2)
    _, view = attention(*leaves[:3], mask=Causal(), look=look, **case.call(USUAL, *leaves[3:]))
    assert view.rows.requires_grad
    for copied in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        assert not copied.rows.requires_grad
        assert torch.equal(copied.rows, view.rows)
        assert torch.equal(copied.tile([2], [0, 1]), view.tile([2], [0, 1]))
