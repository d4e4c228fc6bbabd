"""Additive and Luong's attention, GRU, cross-entropy, dropout and StepLinear, against formulas and PyTorch."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from regard import Lengths, Look
from regard.nn import GRU, AdditiveAttention, Dropout, LuongAttention, SequenceDropout, StepLinear, linear_cross_entropy

B, LQ, LK, DQ, DM, WIDTH = 2, 3, 5, 7, 11, 13


def _inputs() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(B, LQ, DQ, generator=random), torch.randn(B, LK, DM, generator=random)


def test_additive_attention_matches_bahdanaus_formula() -> None:
    torch.manual_seed(1)
    layer = AdditiveAttention(DQ, DM, WIDTH)
    query, memory = _inputs()
    context, view = layer(query, memory, mask=Lengths(torch.tensor([5, 2])), look=Look(rows=slice(None)))
    for b, length in enumerate([5, 2]):
        for i in range(LQ):
            w, u = layer.query(query[b, i]), layer.key.weight @ memory[b, :length].T
            weights = torch.softmax(layer.v @ torch.tanh(w[:, None] + u), 0)
            torch.testing.assert_close(context[b, i], weights @ memory[b, :length])
            torch.testing.assert_close(view.rows[b, 0, i, :length], weights)
    assert torch.equal(view.rows[1, 0, :, 2:], torch.zeros(LQ, 3))


@pytest.mark.parametrize("score", ["dot", "general", "concat"])
def test_luong_attention_matches_the_formulas_of_its_scores(score: Literal["dot", "general", "concat"]) -> None:
    torch.manual_seed(1)
    query, memory = _inputs()
    query = query if score != "dot" else torch.randn(B, LQ, DM)
    layer = LuongAttention(query.shape[-1], DM, score)
    context, view = layer(query, memory, look=Look(rows=slice(None)))
    for b in range(B):
        for i in range(LQ):
            q = query[b, i]
            if score == "dot":
                scores = torch.stack([q @ h for h in memory[b]])
            elif score == "general":
                scores = torch.stack([q @ layer.weight @ h for h in memory[b]])
            else:
                joined = torch.cat([layer.query.weight, layer.key.weight], 1)
                scores = torch.stack([layer.v @ torch.tanh(joined @ torch.cat([q, h])) for h in memory[b]])
            weights = torch.softmax(scores, 0)
            torch.testing.assert_close(view.rows[b, 0, i], weights)
            torch.testing.assert_close(context[b, i], weights @ memory[b])


@pytest.mark.parametrize("layer", [AdditiveAttention(DQ, DM, WIDTH), LuongAttention(DQ, DM, "concat")])
def test_precomputed_keys_give_the_same_output(layer: AdditiveAttention | LuongAttention) -> None:
    query, memory = _inputs()
    assert torch.equal(layer(query, memory)[0], layer(query, memory, keys=layer.keys(memory))[0])
    assert layer(query, memory)[1] is None


def test_wrong_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="dot needs query_width, 7, got 11"):
        LuongAttention(7, 11, "dot")
    with pytest.raises(ValueError, match="expected dot, general or concat, got 'cosine'"):
        LuongAttention(7, 11, "cosine")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="widths must be positive"):
        AdditiveAttention(7, 0, 3)


def test_gru_equals_pytorchs_cell() -> None:
    torch.manual_seed(2)
    ours, theirs = GRU(DQ, WIDTH), torch.nn.GRUCell(DQ, WIDTH)
    with torch.no_grad():
        theirs.weight_ih.copy_(ours.input.weight)
        theirs.weight_hh.copy_(ours.state.weight)
        theirs.bias_ih.copy_(ours.input.bias.normal_())
        theirs.bias_hh.copy_(ours.state.bias.normal_())
    inputs, real = torch.randn(B, LQ, DQ), torch.ones(B, LQ, dtype=torch.bool)
    for reverse in (False, True):
        states, last = ours(inputs, real, reverse=reverse)
        state = torch.zeros(B, WIDTH)
        for at in reversed(range(LQ)) if reverse else range(LQ):
            state = theirs(inputs[:, at], state)
            torch.testing.assert_close(states[:, at], state)
        torch.testing.assert_close(last, state)


@pytest.mark.parametrize("reverse", [False, True])
def test_gru_carries_the_state_over_padding(reverse: bool) -> None:
    layer = GRU(DQ, WIDTH)
    inputs = torch.randn(1, 3, DQ)
    padded = torch.cat([inputs, torch.full((1, 4, DQ), 9.0)], 1)
    real = torch.arange(7)[None] < 3
    states, last = layer(padded, real, reverse=reverse)
    plain, plain_last = layer(inputs, real[:, :3], reverse=reverse)
    torch.testing.assert_close(states[:, :3], plain)
    torch.testing.assert_close(last, plain_last)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [1, 5, 17, 256])
def test_linear_cross_entropy_equals_pytorchs(monkeypatch: pytest.MonkeyPatch, smoothing: float, chunk: int) -> None:
    monkeypatch.setattr("regard.nn.cross_entropy._ROWS", chunk)
    torch.manual_seed(3)
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((17, 5), (11, 5), (11,))]
    states, weight, bias = leaves
    target = torch.randint(11, (17,))
    ours = linear_cross_entropy(states, weight, bias, target, smoothing)
    logits = torch.nn.functional.linear(states, weight, bias)
    theirs = torch.nn.functional.cross_entropy(logits, target, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours * 3, leaves), torch.autograd.grad(theirs * 3, leaves))


@pytest.mark.parametrize("compiled", [False, True])
def test_linear_cross_entropy_leaves_out_rows_without_a_target(compiled: bool) -> None:
    torch.manual_seed(3)
    features, weight, bias = leaves = [torch.randn(shape, requires_grad=True) for shape in ((17, 5), (11, 5), (11,))]
    target = torch.randint(11, (17,))
    target[::3] = -1
    call = (
        torch.compile(linear_cross_entropy, backend="aot_eager", fullgraph=True) if compiled else linear_cross_entropy
    )
    kept = target >= 0
    losses = (
        call(features, weight, bias, target, 0.1),
        linear_cross_entropy(features[kept], weight, bias, target[kept], 0.1),
    )
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss * 3, leaves) for loss in losses))
    assert call(features, weight, bias, torch.full_like(target, -1)) == 0


def test_linear_cross_entropy_of_half_precision_and_empty_inputs() -> None:
    torch.manual_seed(3)
    features, weight, bias = torch.randn(17, 5), torch.randn(11, 5), torch.randn(11)
    target = torch.randint(11, (17,))
    exact = linear_cross_entropy(features, weight, bias, target)
    half = linear_cross_entropy(features.bfloat16().requires_grad_(), weight, bias, target)
    assert half.dtype is torch.float32
    torch.testing.assert_close(half, exact, rtol=2e-2, atol=0)
    assert linear_cross_entropy(features[:0], weight, bias, target[:0]) == 0


def test_sequence_dropout_drops_the_same_units_at_every_step() -> None:
    torch.manual_seed(0)
    layer, ones = SequenceDropout(0.25), torch.ones(50, 7, 41)
    dropped = layer(ones)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 4 / 3]))
    assert 0.2 < (dropped == 0).float().mean() < 0.3
    assert torch.equal(layer.eval()(ones), ones)
    with pytest.raises(ValueError, match="dropout: must be at least 0 and below 1, got 1"):
        SequenceDropout(1)


@pytest.mark.parametrize("shape", [(), (3,), (501, 7, 41)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_units_independently(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, ones = Dropout(0.25), torch.ones(shape, dtype=dtype, requires_grad=True)
    dropped = layer(ones)
    (grad,) = torch.autograd.grad(dropped.sum(), ones)
    assert (dropped.dtype, dropped.shape) == (dtype, ones.shape)
    assert torch.equal(grad, dropped)
    assert set(dropped.flatten().tolist()) <= {0.0, torch.tensor(4 / 3, dtype=dtype).item()}
    assert layer.eval()(ones) is ones
    if dropped.numel() > 1000:
        zeros = (dropped == 0).float()
        for mean in (zeros.mean(), zeros.flatten()[::4].mean(), zeros.flatten()[3::4].mean()):
            assert abs(mean - 0.25) < 0.005  # two standard deviations of the mean of 143,787 / 4 units
        neighbours = torch.corrcoef(torch.stack([zeros.flatten()[:-1], zeros.flatten()[1:]]))[0, 1]
        assert abs(neighbours) < 0.01


@pytest.mark.parametrize("bias", [True, False])
def test_step_linear_has_the_gradients_of_linear(bias: bool) -> None:
    torch.manual_seed(4)
    layer = StepLinear(5, 5, bias=bias).double()
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    results = []
    for module in (layer, layer.bound()):
        once = module(x)
        twice = torch.tanh(module(torch.tanh(once)))
        results.append([once, twice, *torch.autograd.grad((once * twice).sum(), [x, *layer.parameters()])])
    torch.testing.assert_close(*results)


def test_step_linear_bound_but_not_used_has_no_gradient() -> None:
    layer = StepLinear(5, 5)
    layer.bound()
    assert layer.weight.grad is None
    with torch.no_grad():
        torch.testing.assert_close(layer.bound()(torch.ones(2, 5)), layer(torch.ones(2, 5)))
