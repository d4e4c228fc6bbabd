"""Generic tests of every mechanism in the table, most of them against the oracle."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import masks
import mechanisms
import plain
from masks import MASKS
from mechanisms import CASES, SMALL, USUAL, Case, Sizes
from regard import Causal, Dot, Lengths, Look, attention
from regard.attend.attention import lower
from regard.kernels.backends import BACKENDS

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_mask = pytest.mark.parametrize("mask", MASKS)
visible = cache(masks.visible)

ODD = [(1, 129), (2, 17), (3, 64), (17, 3), (64, 65), (65, 2), (129, 1)]
"""Pairs of Lq and Lk."""


def full_look(case: Case, **more: Any) -> Look:
    """A look with everything that is defined for the case, and ``more``."""
    options = {"lse": True, "entropy": True, "received": True, "reach": True, "norms": True, "sinks": True} | more
    options |= {case.extra: True} if case.extra else {}
    return Look(**{name: value for name, value in options.items() if name not in case.undefined})


@each_case
@each_mask
def test_output_and_every_look_match_the_oracle(case: Case, mask: str) -> None:
    size, (q, k, v) = USUAL, mechanisms.inputs(case)
    parameters = case.parameters(size)
    allowed = visible(mask, size)
    expected = mechanisms.answer(case, q, k, v, parameters, allowed)
    look = full_look(case, top=3, rows=[-1, 0, 2], map=(2, 3))
    options = case.call(size, *parameters)
    output, view = attention(q, k, v, mask=MASKS[mask].make(size), look=look, **options)
    w = expected.weights
    np.testing.assert_allclose(output, expected.output, atol=1e-12)
    if look.lse:
        np.testing.assert_allclose(view.lse, expected.lse, atol=1e-12)
    if look.entropy:
        logs = np.log(w, out=np.zeros_like(w), where=w > 0)
        np.testing.assert_allclose(view.entropy, -(w * logs).sum(-1), atol=1e-12)
    if case.extra:
        np.testing.assert_allclose(getattr(view, case.extra), expected.extra, atol=1e-11)
    np.testing.assert_allclose(view.received, w.sum(2), atol=1e-12)
    far = np.abs(np.arange(size.queries)[:, None] + size.keys - size.queries - np.arange(size.keys))
    np.testing.assert_allclose(view.reach, (w * far).sum(-1), atol=1e-12)
    norms = np.repeat(np.sqrt((v.numpy() ** 2).sum(-1)), size.heads // size.key_heads, 1)
    np.testing.assert_allclose(view.norms.value, norms)
    np.testing.assert_allclose(view.norms.received, w.sum(2) * norms, atol=1e-12)
    np.testing.assert_allclose(view.rows, w[:, :, [-1, 0, 2]], atol=1e-12)
    np.testing.assert_allclose(view.tile([3, 1], slice(2, -1)), w[:, :, [3, 1], 2:-1], atol=1e-12)
    np.testing.assert_allclose(view.sinks.first, w[..., 0], atol=1e-12)
    np.testing.assert_allclose(view.sinks.logit, 1 - w.sum(-1) if "sink" in case.name else 0 * w[..., 0], atol=1e-12)
    _check_map(view.map, w)
    _check_map(view.pool(range(1, 5), slice(1, None), (2, 3)), w[:, :, 1:5, 1:])
    _check_top(view.top, w, allowed)


def _check_map(pooled: Any, w: np.ndarray) -> None:
    rows, columns = pooled.mean.shape[2:]
    for r, c in np.ndindex(rows, columns):
        part = w[:, :, [i * rows // w.shape[2] == r for i in range(w.shape[2])]]
        part = part[..., [j * columns // w.shape[3] == c for j in range(w.shape[3])]]
        np.testing.assert_allclose(pooled.mean[:, :, r, c], part.mean((2, 3)), atol=1e-12)
        np.testing.assert_allclose(pooled.max[:, :, r, c], part.max((2, 3)), atol=1e-12)


def _check_top(top: Any, w: np.ndarray, allowed: np.ndarray) -> None:
    np.testing.assert_allclose(top.weights, -np.sort(-w, -1)[..., : top.weights.shape[-1]], atol=1e-12)
    for place in np.ndindex(*w.shape[:3]):
        for weight, key in zip(top.weights[place], top.keys[place], strict=True):
            if key >= 0:
                assert allowed[place][key]
                assert w[place][key] == pytest.approx(float(weight), abs=1e-12)
            else:
                assert weight == 0
                assert allowed[place].sum() < top.weights.shape[-1]


@each_case
@pytest.mark.parametrize("lengths", ODD, ids=str)
def test_odd_lengths(case: Case, lengths: tuple[int, int]) -> None:
    size = Sizes(1, 2, 1, *lengths, 3, 2)
    q, k, v = mechanisms.inputs(case, size)
    parameters = case.parameters(size)
    for mask in ("none", "causal"):
        expected = mechanisms.answer(case, q, k, v, parameters, visible(mask, size))
        output = attention(q, k, v, mask=MASKS[mask].make(size), **case.call(size, *parameters))
        np.testing.assert_allclose(output, expected.output, atol=1e-11)


@each_case
@pytest.mark.parametrize("heads", [1, 6])
def test_one_key_head_and_one_per_query_head(case: Case, heads: int) -> None:
    size = USUAL._replace(key_heads=heads)
    q, k, v = mechanisms.inputs(case, size)
    parameters = case.parameters(size)
    expected = mechanisms.answer(case, q, k, v, parameters, visible("all three", size))
    output = attention(q, k, v, mask=MASKS["all three"].make(size), **case.call(size, *parameters))
    np.testing.assert_allclose(output, expected.output, atol=1e-12)


@each_case
@pytest.mark.parametrize("mask", ["none", "causal, negative", "boolean"])
def test_gradients_of_first_and_second_order(case: Case, mask: str) -> None:
    if not case.smooth:
        pytest.skip("an estimator is no derivative: see test_hard.py")
    leaves = [t.requires_grad_() for t in (*mechanisms.inputs(case, SMALL), *case.parameters(SMALL))]
    # The divergence is differentiable too.
    look = Look(kl=True) if case.extra == "kl" else None

    def call(q: Tensor, k: Tensor, v: Tensor, *parameters: Tensor) -> Any:
        result = attention(q, k, v, mask=MASKS[mask].make(SMALL), look=look, **case.call(SMALL, *parameters))
        return result if look is None else (result[0], result[1].kl)

    assert torch.autograd.gradcheck(call, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, leaves, fast_mode=True)


@each_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_error_is_at_most_twice_that_of_the_plain_expression(case: Case, dtype: torch.dtype) -> None:
    q, k, v = (t.to(dtype) for t in mechanisms.inputs(case))
    parameters = [p.to(dtype) for p in case.parameters(USUAL)]
    options = case.call(USUAL, *parameters)
    exact = mechanisms.answer(case, q, k, v, parameters, visible("none", USUAL)).output
    output = attention(q, k, v, **options)
    assert output.dtype is dtype
    baseline = plain.attend(q, k, v, drawn_by=lower(q, k, v, **options)[0], **options)
    ours, theirs = (np.abs(t.double().numpy() - exact).max() for t in (output, baseline))
    assert ours <= 2 * theirs + np.finfo(np.float32).eps


@each_case
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_masked_keys_have_no_influence(case: Case, number: float) -> None:
    q, k, v = mechanisms.inputs(case)
    lengths = torch.tensor([4, 0])
    masked = torch.arange(USUAL.keys)[None] >= lengths[:, None]
    poisoned = [t.masked_fill(masked[:, None, :, None], number) for t in (k, v)]
    results = []
    for keys, values in ((k, v), poisoned):
        leaves = [t.clone().requires_grad_() for t in (q, keys, values, *case.parameters(USUAL))]
        options = case.call(USUAL, *leaves[3:])
        output, view = attention(*leaves[:3], mask=Lengths(lengths) & Causal(2), look=full_look(case), **options)
        loss = output.square().sum() + (getattr(view, case.extra).sum() if case.extra else 0)
        loss.backward()
        shown = [view.received, view.reach, *([view.entropy] if "entropy" not in case.undefined else [])]
        results.append([output.detach(), *shown, *(leaf.grad for leaf in leaves if leaf.grad is not None)])
    for clean, replaced in zip(*results, strict=True):
        assert torch.equal(clean, replaced)


@each_case
@pytest.mark.parametrize("argument", ["query", "key", "value"])
def test_a_visible_nan_reaches_the_output(case: Case, argument: str) -> None:
    tensors: dict[str, Any] = dict(zip(("query", "key", "value"), mechanisms.inputs(case), strict=True))
    tensors[argument][0, 0, 3, 1] = math.nan
    output = attention(**tensors, mask=Causal(0), **case.call(USUAL, *case.parameters(USUAL)))
    is_nan = output[0, :2].isnan().any(-1) if argument != "query" else output[0, :1].isnan().any(-1)
    rows = torch.arange(USUAL.queries) == 3 if argument == "query" else torch.arange(USUAL.queries) >= 3
    assert torch.equal(is_nan, rows.expand_as(is_nan))
    assert output[1].isfinite().all()


@each_case
def test_without_visible_keys_output_and_gradients_are_zero(case: Case) -> None:
    leaves = [t.requires_grad_() for t in (*mechanisms.inputs(case), *case.parameters(USUAL))]
    leaves[0].data[:, :, 0] = math.nan  # a padded query
    look = full_look(case, rows=slice(None), top=1)
    lengths = Lengths(torch.tensor([0, 0]))
    output, view = attention(*leaves[:3], mask=lengths, look=look, **case.call(USUAL, *leaves[3:]))
    (output.sum() + (getattr(view, case.extra).sum() if case.extra else 0)).backward()
    assert torch.equal(output, torch.zeros_like(output))
    grads = [leaf.grad for leaf in leaves if leaf.grad is not None]
    assert len(grads) >= 3
    assert all(torch.equal(grad, torch.zeros_like(grad)) for grad in grads)
    for name in ("rows", "received", "reach", "entropy"):
        if name not in case.undefined:
            assert not getattr(view, name).any()
    if look.lse:
        assert view.lse.eq(-math.inf).all()
    assert view.top.keys.eq(-1).all()


@each_case
@pytest.mark.parametrize("sizes", [(0, 3, 5), (2, 0, 5), (2, 3, 0), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("mask", [None, Causal()], ids=["none", "causal"])
def test_empty_sizes(case: Case, sizes: tuple[int, int, int], mask: Causal | None) -> None:
    size = USUAL._replace(batch=sizes[0], queries=sizes[1], keys=sizes[2])
    q, k, v = (t.requires_grad_() for t in mechanisms.inputs(case, size))
    options = case.call(size, *case.parameters(size))
    output, view = attention(q, k, v, mask=mask, look=full_look(case, rows=slice(None)), **options)
    output.sum().backward()
    assert torch.equal(output, torch.zeros(size.batch, size.heads, size.queries, size.value_width, dtype=q.dtype))
    assert view.received.shape == (size.batch, size.heads, size.keys)
    assert view.reach.shape == (size.batch, size.heads, size.queries)
    assert view.rows.shape == size.scores


@each_case
def test_strides_and_expansion_change_nothing(case: Case) -> None:
    size = USUAL._replace(key_heads=1)
    q, k, v = mechanisms.inputs(case, size)
    parameters = case.parameters(size)
    expected = attention(q, k, v, mask=Causal(), **case.call(size, *parameters))
    strided = [torch.stack([t, t], -1).transpose(1, 2)[..., 0].transpose(1, 2) for t in (q, k, v)]
    expanded = (q, k.expand(-1, 3, -1, -1), v.expand(-1, 3, -1, -1))
    for inputs in (strided, expanded):
        assert not inputs[1].is_contiguous()
        output = attention(*inputs, mask=Causal(), **case.call(size, *parameters))
        torch.testing.assert_close(output, expected)


@each_case
def test_equal_inputs_give_equal_bits(case: Case) -> None:
    results = []
    for _ in range(2):
        leaves = [t.float().requires_grad_() for t in (*mechanisms.inputs(case), *case.parameters(USUAL))]
        output = attention(*leaves[:3], mask=Causal(), **case.call(USUAL, *leaves[3:]))
        output.sum().backward()
        results.append([output.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)])
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


@each_case
def test_looks_do_not_depend_on_tiles(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, options = mechanisms.inputs(case), case.call(USUAL, *case.parameters(USUAL))
    look = full_look(case, rows=slice(1, 4), map=(2, 2), lse=False)
    full = attention(*inputs, mask=Causal(), look=look, **options)[1]
    monkeypatch.setattr("regard.kernels.statistics._TILE_ELEMENTS", 2 * math.prod(USUAL.scores) // USUAL.queries)
    tiled = attention(*inputs, mask=Causal(), look=look, **options)[1]
    for name in ("received", "reach", "rows"):
        torch.testing.assert_close(getattr(tiled, name), getattr(full, name))
    for name in ("map", "sinks"):
        torch.testing.assert_close(tuple(getattr(tiled, name)), tuple(getattr(full, name)))
    torch.testing.assert_close(tuple(tiled.pool(slice(None), slice(None), (2, 2))), tuple(full.map))
    torch.testing.assert_close(
        tiled.tile([4, 0]), attention(*inputs, mask=Causal(), look=look, **options)[1].tile([4, 0])
    )


@each_case
@each_mask
def test_every_backend_that_accepts_a_call_agrees(case: Case, mask: str) -> None:
    q, k, v = (t.float() for t in mechanisms.inputs(case, USUAL._replace(value_width=USUAL.width)))
    options = case.call(USUAL, *(p.float() for p in case.parameters(USUAL))) | {"mask": MASKS[mask].make(USUAL)}
    leaves = [t.requires_grad_() for t in (q, k, v)]
    expected = attention(q, k, v, backend="reference", **options)
    expected_grads = torch.autograd.grad(expected.square().sum(), leaves, allow_unused=True)
    for backend in BACKENDS:
        try:
            output = attention(q, k, v, backend=backend.name, **options)
        except ValueError as refusal:
            if not str(refusal).startswith(f"backend: none can run this call ({backend.name}: "):
                raise
            continue
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
        grads = torch.autograd.grad(output.square().sum(), leaves, allow_unused=True)
        torch.testing.assert_close(grads, expected_grads, rtol=1e-4, atol=1e-4)


class Call(torch.nn.Module):
    """One call of `attention`, with the mechanism's parameters as inputs."""

    def __init__(self, case: Case, mask: Any):
        super().__init__()
        self.case, self.mask = case, mask

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *parameters: Tensor) -> Tensor:
        return attention(q, k, v, mask=self.mask, **self.case.call(USUAL, *parameters))


@each_case
def test_compile_export_and_meta(case: Case) -> None:
    torch.compiler.reset()
    leaves = [t.requires_grad_() for t in (*mechanisms.inputs(case), *case.parameters(USUAL))]
    call = Call(case, Causal())
    expected = call(*leaves)
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")(*leaves)
    torch.testing.assert_close(compiled, expected)
    grads = [torch.autograd.grad(output.square().sum(), leaves, allow_unused=True) for output in (compiled, expected)]
    torch.testing.assert_close(*grads)
    inputs = tuple(leaf.detach() for leaf in leaves)
    exported = torch.export.export(call, inputs)
    torch.testing.assert_close(exported.module()(*inputs), expected.detach())
    meta = call(*(t.to("meta") for t in inputs))
    assert (meta.shape, meta.dtype) == (expected.shape, expected.dtype)


@each_case
def test_autocast_rounds_the_inputs_except_for_additive_scores(case: Case) -> None:
    q, k, v = (t.float() for t in mechanisms.inputs(case))
    parameters = [p.float() for p in case.parameters(USUAL)]
    options = case.call(USUAL, *parameters)
    with torch.autocast("cpu", torch.bfloat16):
        output = attention(q, k.bfloat16(), v, **options)
    dtype = torch.float32 if "additive" in case.name else torch.bfloat16
    assert output.dtype is dtype
    rounded = [t.to(dtype) for t in (q, k.bfloat16(), v)]
    if "bilinear" in case.name:
        options = case.call(USUAL, *(p.to(dtype) for p in parameters))
    torch.testing.assert_close(output, attention(*rounded, **options))


def test_case_names_are_unique_and_the_first_case_is_the_dot_product() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert isinstance(CASES[0].call(USUAL)["score"], Dot)
