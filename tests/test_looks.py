"""What a look shows: gradients through it, ambient devices, and views that are copied."""

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
from test_mechanisms import look_at

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_backend = pytest.mark.parametrize("backend", ["cpu", "reference"])


@each_case
@each_backend
@pytest.mark.parametrize("mask", ["none", "causal, negative", "boolean"])
def test_log_sum_exp_and_rows_have_their_gradient_to_second_order(case: Case, backend: str, mask: str) -> None:
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
def test_gradients_through_looks_are_those_of_the_whole_in_tiles_too(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for elements in (1 << 22, 1):
        monkeypatch.setattr("regard.kernels.statistics._TILE_ELEMENTS", elements)
        leaves = [t.requires_grad_() for t in (*mechanisms.inputs(case), *case.parameters(USUAL))]
        look = Look(lse="lse" not in case.undefined, rows=slice(None))
        _, view = attention(*leaves[:3], mask=Causal(), look=look, **case.call(USUAL, *leaves[3:]))
        loss = (view.rows * mechanisms.random(*view.rows.shape)).sum()
        loss = loss + (view.lse * mechanisms.random(*view.lse.shape)).sum() if look.lse else loss
        found.append(torch.autograd.grad(loss, leaves, allow_unused=True))
        assert found[-1][2] is None or not found[-1][2].any()  # nothing that is shown depends on the values
    for whole, tiled in zip(*found, strict=True):
        torch.testing.assert_close(whole, tiled)


def test_what_is_masked_has_no_share_in_the_gradient_of_a_look() -> None:
    found = []
    for bad in (1.0, float("nan")):
        q, k, v = mechanisms.inputs(CASES[0])
        k[:, :, -1] = bad
        leaves = [t.requires_grad_() for t in (q, k, v)]
        _, view = attention(*leaves, mask=Causal(-1), look=Look(lse=True, rows=slice(1, None)))
        (view.lse[:, :, 1:].sum() + view.rows.square().sum()).backward()
        found.append([leaf.grad for leaf in leaves[:2]])
    for clean, other in zip(*found, strict=True):
        assert torch.equal(clean, other)


def test_an_input_changed_before_the_backward_pass_is_noticed() -> None:
    q, k, v = (t.requires_grad_() for t in mechanisms.inputs(CASES[0]))
    inner = k * 1
    _, view = attention(q, inner, v, look=Look(lse=True))
    inner.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        view.lse.sum().backward()


@each_backend
def test_guided_attention_loss_draws_the_weights_to_the_diagonal(backend: str) -> None:
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


def test_partial_attentions_merge_by_their_log_sum_exps_gradients_too() -> None:
    """Ring and tree attention: each part of the keys by itself, joined by ``softmax`` of the parts' log-sum-exps."""
    whole = [t.requires_grad_() for t in mechanisms.inputs(CASES[0])]
    parts = [t.detach().clone().requires_grad_() for t in whole]
    expected = attention(*whole)
    outputs, sums = [], []
    for part in (slice(0, 3), slice(3, 7)):
        output, view = attention(parts[0], parts[1][:, :, part], parts[2][:, :, part], look=Look(lse=True))
        outputs.append(output)
        sums.append(view.lse)
    share = torch.softmax(torch.stack(sums), 0)
    merged = (torch.stack(outputs) * share[..., None]).sum(0)
    torch.testing.assert_close(merged, expected)
    grad = mechanisms.random(*expected.shape)
    for ours, theirs in zip(
        torch.autograd.grad(merged, parts, grad), torch.autograd.grad(expected, whole, grad), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@each_case
@each_backend
def test_an_ambient_device_has_no_influence(case: Case, backend: str) -> None:
    found = []
    for device in ("cpu", "meta"):
        leaves = [t.requires_grad_() for t in (*mechanisms.inputs(case), *case.parameters(USUAL))]
        options = case.call(USUAL, *leaves[3:])
        look = look_at(case, top=3, rows=[-1, 0], map=(2, 3))
        with torch.device(device), use_backend(backend):
            output, view = attention(*leaves[:3], mask=Causal(), look=look, **options)
            piece = view.tile([0, 3], slice(1, 4))
            output.square().sum().backward()
        grads = [leaf.grad for leaf in leaves if leaf.grad is not None]
        found.append([output.detach(), piece, *(t.detach() for t in view._results.values()), *grads])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("mask", MASKS)
def test_masks_under_an_ambient_device(mask: str) -> None:
    q, k, v = mechanisms.inputs(CASES[0])
    made = MASKS[mask].make(USUAL)
    with torch.device("meta"):
        output = attention(q, k, v, mask=made)
    assert torch.equal(output, attention(q, k, v, mask=made))


@each_case
def test_a_view_is_copied_and_pickled_outside_the_gradient(case: Case) -> None:
    leaves = [t.requires_grad_() for t in (*mechanisms.inputs(case), *case.parameters(USUAL))]
    look = look_at(case, rows=[1], top=2)
    _, view = attention(*leaves[:3], mask=Causal(), look=look, **case.call(USUAL, *leaves[3:]))
    assert view.rows.requires_grad
    for other in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        assert not other.rows.requires_grad
        assert torch.equal(other.rows, view.rows)
        assert torch.equal(other.tile([2], [0, 1]), view.tile([2], [0, 1]))
