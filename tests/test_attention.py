"""Every mechanism against the oracle: one table, generic tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import mechanisms
import oracle
from mechanisms import EV, LK, LQ, MASKS, SCORES, B, Case, E, G, H
from regard import Additive, Causal, Dot, Lengths, Look, attention
from regard.kernels import backends
from regard.kernels.backends import BACKENDS, Backend, choose
from regard.kernels.plan import Plan

each_score = pytest.mark.parametrize("case", SCORES, ids=lambda case: case.name)
each_mask = pytest.mark.parametrize("mask", MASKS)


def answer(case: Case, mask: str, q: Tensor, k: Tensor, v: Tensor, parameters: list[Tensor]) -> oracle.Answer:
    arrays = (t.detach().double().numpy() for t in (q, k, v))
    return oracle.attend(*arrays, case.oracle(*parameters), mechanisms.visible(mask))


@each_score
@each_mask
@pytest.mark.parametrize("heads", [1, G, H])
def test_output_and_every_look_match_the_oracle(case: Case, mask: str, heads: int) -> None:
    q, k, v = mechanisms.inputs(case, heads=heads)
    parameters = case.parameters()
    expected = answer(case, mask, q, k, v, parameters)
    look = Look(lse=True, entropy=True, received=True, top=3, rows=[-1, 0, 2])
    output, view = attention(q, k, v, score=case.score(*parameters), mask=MASKS[mask][0](), look=look)
    np.testing.assert_allclose(output, expected.output, atol=1e-12)
    np.testing.assert_allclose(view.lse, expected.lse, atol=1e-12)
    logs = np.log(expected.weights, out=np.zeros_like(expected.weights), where=expected.weights > 0)
    np.testing.assert_allclose(view.entropy, -(expected.weights * logs).sum(-1), atol=1e-12)
    np.testing.assert_allclose(view.received, expected.weights.sum(2), atol=1e-12)
    np.testing.assert_allclose(view.rows, expected.weights[:, :, [-1, 0, 2]], atol=1e-12)
    np.testing.assert_allclose(view.top.weights, -np.sort(-expected.weights, -1)[..., :3], atol=1e-12)
    shown = mechanisms.visible(mask)
    for place in np.ndindex(B, H, LQ):
        for weight, key in zip(view.top.weights[place], view.top.keys[place], strict=True):
            if key >= 0:
                assert expected.weights[place][key] == pytest.approx(weight)
            else:
                assert weight == 0
                assert shown[place].sum() < 3


@each_score
@pytest.mark.parametrize("mask", ["none", "lengths", "all three"])
def test_gradients_of_first_and_second_order(case: Case, mask: str) -> None:
    q, k, v = (t[:, :, :3].clone().requires_grad_() for t in mechanisms.inputs(case))
    k, v = (t.detach()[:, :, :4].requires_grad_() for t in mechanisms.inputs(case)[1:])
    parameters = [p.requires_grad_() for p in case.parameters()]
    masks = {
        "none": None,
        "lengths": Lengths(torch.tensor([3, 0])),
        "all three": Causal() & Lengths(torch.tensor([2, 4])) & (torch.arange(4) != 1),
    }

    def call(q: Tensor, k: Tensor, v: Tensor, *parameters: Tensor) -> Tensor:
        return attention(
            q[:1, :2], k[:1, :1], v[:1, :1, :, :2], score=case.score(*(p for p in parameters)), mask=masks[mask]
        )

    small = [p[:2] if p.shape[:1] == (H,) else p for p in parameters]
    q, k, v = (t[1:] if mask != "lengths" else t for t in (q, k, v))
    if mask != "none":
        masks[mask] = {"lengths": Lengths(torch.tensor([3])), "all three": Causal() & (torch.arange(4) != 1)}[mask]
    assert torch.autograd.gradcheck(call, (q, k, v, *small), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, (q, k, v, *small), fast_mode=True)


@each_score
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_error_is_at_most_twice_that_of_the_plain_expression(case: Case, dtype: torch.dtype) -> None:
    q, k, v = (t.to(dtype) for t in mechanisms.inputs(case, heads=H))
    parameters = [p.to(dtype) for p in case.parameters()]
    exact = answer(case, "none", q, k, v, parameters).output
    output = attention(q, k, v, score=case.score(*parameters))
    assert output.dtype is dtype
    plain = _plain(case.name, q, k, v, parameters)
    ours, theirs = (np.abs(t.double().numpy() - exact).max() for t in (output, plain))
    assert ours <= 2 * theirs + np.finfo(np.float32).eps


def _plain(name: str, q: Tensor, k: Tensor, v: Tensor, parameters: list[Tensor]) -> Tensor:
    """The expression that one would write by hand, in the inputs' own dtype."""
    kind, *_ = name.split(",")
    if kind == "dot":
        scores = q @ k.mT * (1.0 if "scale" in name else E**-0.5)
    elif kind == "cosine":
        normal = torch.nn.functional.normalize
        scores = normal(q, dim=-1) @ normal(k, dim=-1).mT * (parameters[0][:, None, None] if parameters else 3.0)
    elif kind == "bilinear":
        scores = q @ parameters[0] @ k.mT
    else:
        shift = parameters[1][:, None, None] if len(parameters) > 1 else 0
        vector = parameters[0] if parameters[0].dim() == 1 else parameters[0][:, None, None]
        scores = (torch.tanh(q[..., :, None, :] + k[..., None, :, :] + shift) * vector).sum(-1)
    return torch.softmax(scores, -1) @ v


@each_score
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_masked_cannot_leak(case: Case, bad: float) -> None:
    q, k, v = mechanisms.inputs(case)
    lengths = torch.tensor([4, 0])
    hidden = torch.arange(LK)[None] >= lengths[:, None]
    poisoned = [t.masked_fill(hidden[:, None, :, None], bad) for t in (k, v)]
    results = []
    for keys, values in ((k, v), poisoned):
        leaves = [t.clone().requires_grad_() for t in (q, keys, values, *case.parameters())]
        output = attention(*leaves[:3], score=case.score(*leaves[3:]), mask=Lengths(lengths) & Causal(2))
        output.square().sum().backward()
        results.append([output.detach(), *(leaf.grad for leaf in leaves)])
    for clean, other in zip(*results, strict=True):
        assert torch.equal(clean, other)


@each_score
@pytest.mark.parametrize("place", ["query", "key", "value"])
def test_what_is_seen_is_not_hidden_by_the_guard(case: Case, place: str) -> None:
    tensors = dict(zip(("query", "key", "value"), mechanisms.inputs(case), strict=True))
    tensors[place][0, 0, 3, 1] = math.nan
    output = attention(**tensors, score=case.score(*case.parameters()), mask=Causal(0))
    spoiled = output[0, :2].isnan().any(-1) if place != "query" else output[0, :1].isnan().any(-1)
    rows = torch.arange(LQ) == 3 if place == "query" else torch.arange(LQ) >= 3
    assert torch.equal(spoiled, rows.expand_as(spoiled))
    assert output[1].isfinite().all()


@each_score
def test_no_visible_key_gives_zeros_and_no_gradient(case: Case) -> None:
    leaves = [t.requires_grad_() for t in (*mechanisms.inputs(case), *case.parameters())]
    leaves[0].data[:, :, 0] = math.nan  # a padded query
    lengths = Lengths(torch.tensor([0, 0]))
    output, view = attention(
        *leaves[:3],
        score=case.score(*leaves[3:]),
        mask=lengths,
        look=Look(rows=slice(None), entropy=True, lse=True, top=1),
    )
    output.sum().backward()
    assert torch.equal(output, torch.zeros_like(output))
    assert all(leaf.grad is not None and torch.equal(leaf.grad, torch.zeros_like(leaf)) for leaf in leaves)
    assert torch.equal(view.rows, torch.zeros_like(view.rows))
    assert torch.equal(view.entropy, torch.zeros_like(view.entropy))
    assert view.lse.eq(-math.inf).all()
    assert view.top.keys.eq(-1).all()


@pytest.mark.parametrize("sizes", [(0, 3, 5), (2, 0, 5), (2, 3, 0), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("mask", [None, Causal()], ids=["none", "causal"])
def test_empty_sizes(sizes: tuple[int, int, int], mask: Causal | None) -> None:
    batch, queries, keys = sizes
    q, k, v = torch.randn(batch, 1, queries, E), torch.randn(batch, 1, keys, E), torch.randn(batch, 1, keys, EV)
    for score in (Dot(), Additive(torch.randn(E))):
        output, view = attention(q, k, v, score=score, mask=mask, look=Look(lse=True, received=True, rows=slice(None)))
        assert torch.equal(output, torch.zeros(batch, 1, queries, EV))
        assert view.lse.shape == (batch, 1, queries)
        assert view.received.shape == (batch, 1, keys)
        assert view.rows.shape == (batch, 1, queries, keys)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_combinations(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(SCORES))
    mask = data.draw(st.sampled_from(sorted(MASKS)))
    q, k, v = (t * data.draw(st.sampled_from([0.1, 1.0, 30.0])) for t in mechanisms.inputs(case))
    if data.draw(st.booleans(), label="not contiguous"):
        q, k, v = (torch.stack([t, t], -1).transpose(1, 2)[..., 0].transpose(1, 2) for t in (q, k, v))
    if data.draw(st.booleans(), label="expanded"):
        k, v = (t[:, :1].expand(-1, G, -1, -1) for t in (k, v))
    parameters = case.parameters()
    expected = answer(case, mask, q, k, v, parameters)
    output = attention(q, k, v, score=case.score(*parameters), mask=MASKS[mask][0]())
    np.testing.assert_allclose(output, expected.output, atol=1e-9)


@pytest.mark.parametrize("rank", [2, 3])
def test_missing_leading_dimensions_stay_missing(rank: int) -> None:
    q, k, v = (t[(0,) * (4 - rank)] for t in mechanisms.inputs(SCORES[0], heads=H))
    full = attention(*(t[(None,) * (4 - rank)] for t in (q, k, v)), mask=Causal())
    output, view = attention(q, k, v, mask=Causal(), look=Look(received=True, top=2))
    assert torch.equal(output, full[(0,) * (4 - rank)])
    assert view.received.shape == (*q.shape[:-2], LK)
    assert view.top.keys.shape == (*q.shape[:-2], LQ, 2)


def test_known_answer_of_pytorch() -> None:
    q, k, v = mechanisms.inputs(SCORES[0], heads=H)
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(attention(q, k, v, mask=Causal(offset=0)), theirs)


def test_looking_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = mechanisms.inputs(SCORES[0])
    look = Look(entropy=True, received=True, top=2, rows=slice(1, 4))
    whole = attention(q, k, v, mask=Causal(), look=look)[1]
    monkeypatch.setattr("regard.kernels.reference._TILE_ELEMENTS", 2 * B * H * LK)
    tiled = attention(q, k, v, mask=Causal(), look=look)[1]
    for name in ("entropy", "received", "rows"):
        torch.testing.assert_close(getattr(tiled, name), getattr(whole, name))
    assert torch.equal(tiled.top.keys, whole.top.keys)


def test_a_view_holds_only_what_was_asked() -> None:
    _, view = attention(*mechanisms.inputs(SCORES[0]), look=Look(entropy=True))
    assert not view.entropy.requires_grad
    with pytest.raises(AttributeError, match=r"ask for it with look=Look\(received=True\)"):
        _ = view.received


def test_same_inputs_same_bits() -> None:
    q, k, v = mechanisms.inputs(SCORES[6])
    first, second = (attention(q, k, v, score=Additive(v[0, 0, 0, :E].clone())) for _ in range(2))
    assert torch.equal(first, second)


def test_autocast_takes_its_dtype_only_where_products_gain() -> None:
    q, k, v = (t.float() for t in mechanisms.inputs(SCORES[0]))
    with torch.autocast("cpu", torch.bfloat16):
        assert attention(q, k.bfloat16(), v).dtype is torch.bfloat16
        additive = attention(q.bfloat16(), k, v, score=Additive(torch.ones(E)))
    torch.testing.assert_close(additive, attention(q.bfloat16().float(), k, v, score=Additive(torch.ones(E))))


@each_score
def test_compile_export_and_meta(case: Case) -> None:
    q, k, v = mechanisms.inputs(case)
    parameters = case.parameters()

    class Call(torch.nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor, *parameters: Tensor) -> Tensor:
            return attention(q, k, v, score=case.score(*parameters), mask=Causal())

    expected = Call()(q, k, v, *parameters)
    compiled = torch.compile(Call(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(q, k, v, *parameters), expected)
    exported = torch.export.export(Call(), (q, k, v, *parameters))
    torch.testing.assert_close(exported.module()(q, k, v, *parameters), expected)
    meta = Call()(*(t.to("meta") for t in (q, k, v, *parameters)))
    assert meta.shape == expected.shape


def test_opcheck() -> None:
    q, k, v = (t.requires_grad_() for t in mechanisms.inputs(SCORES[0]))
    end = torch.tensor([[[3]], [[0]]])
    arguments = (q, k, v, "dot", 0.5, None, "softmax", None, end, None, True, "reference")
    results = torch.library.opcheck(torch.ops.regard.attention.default, arguments)
    assert set(results.values()) == {"SUCCESS"}


def test_backends_are_asked_in_order_and_a_named_one_never_falls_back() -> None:
    plan = Plan(*mechanisms.inputs(SCORES[0]))
    shy = Backend("shy", lambda plan: "needs company", BACKENDS[0].run, BACKENDS[0].statistics)
    keen = Backend("keen", lambda plan: None, BACKENDS[0].run, BACKENDS[0].statistics)
    assert choose(plan, None, (shy, keen, BACKENDS[0])) is keen
    assert choose(plan, "reference", (shy, keen, BACKENDS[0])) is BACKENDS[0]
    with pytest.raises(ValueError, match="shy: needs company"):
        choose(plan, "shy", (shy, keen))
    with pytest.raises(ValueError, match="got 'fast', expected one of shy, keen"):
        choose(plan, "fast", (shy, keen))
    assert backends.choose(plan) is BACKENDS[0]
