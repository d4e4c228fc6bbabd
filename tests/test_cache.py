"""Steps with a cache: their gradients, inference mode, padded batches."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from layers import rand
from regard import Causal, RelativeBias, Window
from regard.nn import KVCache, Learned, LearnedPositions, MultiHeadAttention, Rotary, SinusoidalPositions

STEPS = (3, 1, 4, 1, 1, 2)
LENGTH = sum(STEPS)


def steps(layer: MultiHeadAttention, x: Tensor, cache: KVCache, *, real: Tensor | None = None) -> Tensor:
    """The outputs of `STEPS` calls of the layer, each with the next positions of ``x``."""
    outputs, at = [], 0
    for count in STEPS:
        part = None if real is None else real[..., at : at + count]
        outputs.append(layer(x[..., at : at + count, :], cache=cache, real=part)[0])
        at += count
    return torch.cat(outputs, -2)


def make_layer(**options: Any) -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(8, 2, dtype=torch.float64, **options).eval()


LAYERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "grouped, rotary": {"key_heads": 1, "position": Rotary(4)},
    "extra key": {"extra_key": True},
    "t5": {"score_bias": Learned(RelativeBias, table=rand(2, 8))},
    "learned positions": {"key_position": LearnedPositions(40, 4, dtype=torch.float64)},
}


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_through_a_cache_are_those_of_the_full_pass(name: str, window: int | None) -> None:
    layer, x = make_layer(**LAYERS[name]), rand(2, LENGTH, 8)
    results = []
    for stepwise in (False, True):
        leaves = [x.clone().requires_grad_(), *layer.parameters()]
        if stepwise:
            output = steps(layer, leaves[0], KVCache(2, window=window))
        else:
            output = layer(leaves[0], mask=Causal() if window is None else Window(window - 1, 0))[0]
        grads = torch.autograd.grad((output * rand(2, LENGTH, 8, seed=1)).sum(), leaves)
        results.append([output, *grads])
    for full, stepped in zip(*results, strict=True):
        torch.testing.assert_close(stepped, full)


def test_gradients_end_at_steps_without_gradient() -> None:
    layer, x = make_layer(), rand(2, LENGTH, 8)
    full, cache = layer(x, mask=Causal())[0], KVCache(32)
    with torch.no_grad():
        layer(x[:, :4], cache=cache)
    later = x[:, 4:7].clone().requires_grad_()
    output = layer(later, cache=cache)[0]
    torch.testing.assert_close(output, full[:, 4:7])
    output.sum().backward()
    assert later.grad.any()
    with torch.no_grad():
        rest = [layer(x[:, at : at + 1], cache=cache)[0] for at in range(7, LENGTH)]
    assert not cache.append(*(torch.zeros(2, 2, 1, 4).double() for _ in range(2))).key.requires_grad
    torch.testing.assert_close(torch.cat(rest, 1), full[:, 7:])


def test_writing_in_place_to_saved_keys_raises() -> None:
    layer, x = make_layer(), rand(2, LENGTH, 8)
    layer.requires_grad_(False)
    layer.query.requires_grad_(True)
    expected = torch.autograd.grad(layer(x, mask=Causal())[0].sum(), layer.query.weight)[0]
    # Keys without a gradient are written in place. Autograd raises, because the saved ones have changed.
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        steps(layer, x, KVCache(32)).sum().backward()
    inputs = x.clone().requires_grad_()
    gradient = torch.autograd.grad(steps(layer, inputs, KVCache(32)).sum(), layer.query.weight)[0]
    torch.testing.assert_close(gradient, expected)


def test_a_cache_with_a_window_drops_old_keys_in_a_graph() -> None:
    cache = KVCache(8, window=4)
    for _ in range(300):
        key = torch.ones(1, 1, 1, 2, requires_grad=True)
        step = cache.append(key, key)
    assert step.key.requires_grad
    assert len(cache) <= 4 + 127


def test_a_cache_that_may_not_grow_raises_when_it_is_full() -> None:
    key, fixed = torch.ones(1, 1, 1, 2, requires_grad=True), KVCache(3, grow=False)
    fixed.append(key.expand(1, 1, 2, 2), key.expand(1, 1, 2, 2))
    with pytest.raises(ValueError, match="key: the cache has room for 3 keys and may not grow, 4 are needed"):
        fixed.append(key.expand(1, 1, 2, 2), key.expand(1, 1, 2, 2))


@pytest.mark.parametrize("outside", ["no_grad", "grad"])
def test_a_cache_from_inference_mode_can_be_used_outside_of_it(outside: str) -> None:
    layer, x = make_layer(), rand(2, LENGTH, 8)
    full, cache = layer(x, mask=Causal())[0], KVCache(32)
    with torch.inference_mode():
        layer(x[:, :5], cache=cache)
    with torch.set_grad_enabled(outside == "grad"):
        later = layer(x[:, 5:7], cache=cache)[0]
    with torch.inference_mode():
        last = layer(x[:, 7:], cache=cache)[0]
    torch.testing.assert_close(later, full[:, 5:7])
    torch.testing.assert_close(last, full[:, 7:])
    if outside == "grad":
        later.sum().backward()
        assert layer.key.weight.grad.any()


# Padding


POSITIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "rotary": {"position": Rotary(4)},
    "sinusoidal": {"key_position": SinusoidalPositions(4)},
    "learned": {"key_position": LearnedPositions(40, 4, dtype=torch.float64)},
    "extra key": {"extra_key": True},
}


@pytest.mark.parametrize("side", ["left", "right", "both, in steps"])
@pytest.mark.parametrize("name", POSITIONS)
def test_sequences_of_a_padded_batch_give_the_same_outputs_as_alone(name: str, side: str) -> None:
    layer, prompt, later, lengths = make_layer(**POSITIONS[name]), 6, 4, [6, 3, 1]
    x = rand(3, prompt + later, 8)
    real = torch.ones(3, prompt, dtype=torch.bool)
    for row, length in enumerate(lengths):
        missing = prompt - length
        hidden = {"left": slice(0, missing), "right": slice(length, None), "both, in steps": slice(1, 1 + missing)}
        real[row, hidden[side]] = False
    noisy = x.clone()
    noisy[:, :prompt][~real] = float("nan")
    cache, outputs = KVCache(2), []
    for part in (slice(0, 2), slice(2, prompt)) if side == "both, in steps" else (slice(0, prompt),):
        outputs.append(layer(noisy[:, part], cache=cache, real=real[:, part])[0])
    for at in range(prompt, prompt + later):
        cache = cache.select(torch.tensor([0, 1, 2]))
        outputs.append(layer(x[:, at : at + 1], cache=cache)[0])
    output = torch.cat(outputs, 1)
    unpadded = torch.cat([real, torch.ones(3, later, dtype=torch.bool)], 1)
    for row in range(3):
        expected = layer(x[row][unpadded[row]], mask=Causal())[0]
        torch.testing.assert_close(output[row][unpadded[row]], expected)


def test_left_padding_works_with_biases_and_windows() -> None:
    layer = make_layer(score_bias=Learned(RelativeBias, table=rand(2, 8)))
    x, real = rand(2, LENGTH, 8), torch.ones(2, LENGTH, dtype=torch.bool)
    real[1, :2] = False
    output = steps(layer, x, KVCache(2, window=3), real=real)
    expected = layer(x[1, 2:], mask=Window(2, 0))[0]
    torch.testing.assert_close(output[1, 2:], expected)


def test_padding_has_no_gradient() -> None:
    layer, x = make_layer(position=Rotary(4)), rand(2, LENGTH, 8).requires_grad_()
    real = torch.ones(2, LENGTH, dtype=torch.bool)
    real[0, :3] = False
    output = steps(layer, x, KVCache(2), real=real)
    output[real].sum().backward()
    assert x.grad is not None
    assert not x.grad[~real].any()
    assert x.grad[real].any(-1).all()


def test_a_cache_works_for_a_sequence_without_a_batch() -> None:
    layer, x = make_layer(position=Rotary(4)), rand(LENGTH, 8)
    torch.testing.assert_close(steps(layer, x, KVCache()), layer(x, mask=Causal())[0])
    real = torch.arange(LENGTH) > 1
    output = steps(layer, x, KVCache(), real=real)
    torch.testing.assert_close(output[2:], layer(x[2:], mask=Causal())[0])


def test_errors_of_a_wrong_padding_mask() -> None:
    layer, x = make_layer(), rand(2, 3, 8)
    with pytest.raises(ValueError, match="real: is for steps with a cache"):
        layer(x, real=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"real: must be a boolean tensor, got torch.int64"):
        layer(x, real=torch.ones(2, 3, dtype=torch.int64), cache=KVCache())
    with pytest.raises(ValueError, match=r"real: must have shape \(2, 3\), got \(3, 2\)"):
        layer(x, real=torch.ones(3, 2, dtype=torch.bool), cache=KVCache())


def test_copies_and_pickles_of_a_cache_give_the_same_output() -> None:
    layer, x, cache = make_layer(), rand(2, 4, 8), KVCache(4)
    with torch.no_grad():
        layer(x[:, :3], cache=cache, real=torch.tensor([[True] * 3, [False, True, True]]))
        others = [copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))]
        expected = layer(x[:, 3:], cache=cache)[0]
        for other in others:
            assert torch.equal(layer(x[:, 3:], cache=other)[0], expected)
