"""Layers for images, attention pooling and location-aware attention: against the papers' formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layers import rand
from regard import Lengths, Look, Sparsemax
from regard.nn import CBAM, AttentionPooling, LocationAwareAttention, SelfAttention2d, SqueezeExcitation


def mlp(gate: Any, x: Tensor) -> Tensor:
    hidden = (gate[0].weight @ x + gate[0].bias).clamp(min=0)
    return gate[2].weight @ hidden + gate[2].bias


def test_squeeze_excitation_matches_the_formula() -> None:
    torch.manual_seed(0)
    layer, x = SqueezeExcitation(8, 4).double(), rand(2, 8, 3, 5)
    output, gates = layer(x)
    for b in range(2):
        gate = torch.sigmoid(mlp(layer.gate, x[b].mean((1, 2))))
        torch.testing.assert_close(gates.channel[b], gate)
        torch.testing.assert_close(output[b], torch.stack([x[b, c] * gate[c] for c in range(8)]))


def test_cbam_gates_channels_and_then_places() -> None:
    torch.manual_seed(0)
    layer, x = CBAM(8, 4, kernel=3).double(), rand(2, 8, 3, 5)
    output, gates = layer(x)
    for b in range(2):
        gate = torch.sigmoid(mlp(layer.gate, x[b].mean((1, 2))) + mlp(layer.gate, x[b].amax((1, 2))))
        gated = x[b] * gate[:, None, None]
        pooled = nn.functional.pad(torch.stack([gated.mean(0), gated.amax(0)]), (1, 1, 1, 1))
        place = torch.empty(3, 5, dtype=torch.float64)
        for i in range(3):
            for j in range(5):
                place[i, j] = (layer.place.weight[0] * pooled[:, i : i + 3, j : j + 3]).sum()
        torch.testing.assert_close(gates.channel[b], gate)
        torch.testing.assert_close(gates.place[b], torch.sigmoid(place))
        torch.testing.assert_close(output[b], gated * torch.sigmoid(place))


@pytest.mark.parametrize("heads", [1, 2])
def test_self_attention_2d_matches_the_non_local_block(heads: int) -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention2d(8, heads, key_channels=4).double(), rand(2, 8, 3, 5)
    assert torch.equal(layer(x)[0], x)
    nn.init.constant_(layer.gain, 0.7)
    output, view = layer(x, look=Look(rows=[7]))
    flat = x.flatten(2)
    q, k, v = (conv.weight[:, :, 0, 0] @ flat for conv in (layer.query, layer.key, layer.value))
    parts = []
    for qh, kh, vh in zip(q.chunk(heads, 1), k.chunk(heads, 1), v.chunk(heads, 1), strict=True):
        weights = torch.softmax(qh.mT @ kh / (4 // heads) ** 0.5, -1)
        parts.append(vh @ weights.mT)
        torch.testing.assert_close(view.rows[:, len(parts) - 1, 0], weights[:, 7])
    attended = layer.output.weight[:, :, 0, 0] @ torch.cat(parts, 1)
    torch.testing.assert_close(output, x + 0.7 * attended.view_as(x))


def test_attention_pooling_ignores_padding() -> None:
    torch.manual_seed(0)
    layer, x = AttentionPooling(8, seeds=3, heads=2).double(), rand(2, 5, 8)
    lengths = torch.tensor([5, 3])
    pooled, view = layer(x, mask=Lengths(lengths), look=Look(rows=slice(None)))
    assert pooled.shape == (2, 3, 8)
    torch.testing.assert_close(pooled[1:], layer(x[1:, :3])[0])
    assert not view.rows[1, :, :, 3:].any()
    torch.testing.assert_close(pooled, layer.attention(layer.seeds.expand(2, -1, -1), x, mask=Lengths(lengths))[0])


def test_location_aware_attention_matches_chorowskis_formula() -> None:
    torch.manual_seed(0)
    layer = LocationAwareAttention(6, 7, 9, filters=2, kernel=3).double()
    query, memory, lengths = rand(2, 6), rand(2, 5, 7, seed=1), [5, 3]
    mask = Lengths(torch.tensor(lengths))
    context, previous, _ = layer(query, memory, mask=mask)
    context, weights, view = layer(query, memory, previous, keys=layer.keys(memory), mask=mask, look=Look(rows=[0]))
    for b, length in enumerate(lengths):
        padded = nn.functional.pad(previous[b], (1, 1))
        scores = []
        for j in range(length):
            location = torch.stack([(layer.filters.weight[f, 0] * padded[j : j + 3]).sum() for f in range(2)])
            hidden = layer.query(query[b]) + layer.key.weight @ memory[b, j] + layer.location.weight @ location
            scores.append(layer.v @ torch.tanh(hidden))
        expected = torch.softmax(torch.stack(scores), 0)
        torch.testing.assert_close(weights[b, :length], expected)
        torch.testing.assert_close(context[b], expected @ memory[b, :length])
        assert not weights[b, length:].any()
    torch.testing.assert_close(view.rows[:, 0, 0], weights)
    # The gradient flows through the previous step's weights to the filters.
    context.sum().backward()
    assert layer.filters.weight.grad.abs().sum() > 0


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "SqueezeExcitation": (lambda: SqueezeExcitation(3), (1, 3, 5, 2)),
    "CBAM": (lambda: CBAM(3), (1, 3, 1, 7)),
    "SelfAttention2d": (lambda: SelfAttention2d(6, 3, normalizer=Sparsemax()), (1, 6, 3, 2)),
    "AttentionPooling": (lambda: AttentionPooling(6, seeds=2), (1, 5, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_odd_sizes_compile_and_give_every_parameter_a_gradient(name: str) -> None:
    make, shape = LAYERS[name]
    torch.compiler.reset()
    torch.manual_seed(0)
    layer, x = make(), rand(*shape).float()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)[0]
    torch.testing.assert_close(compiled, layer(x)[0])
    compiled.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SqueezeExcitation(0), "channels and reduction must be positive, got 0, 16"),
        (lambda: SqueezeExcitation(8, 0), "channels and reduction must be positive"),
        (lambda: CBAM(8, kernel=4), "kernel: must be odd and positive, got 4"),
        (lambda: SelfAttention2d(8, 3), "heads: must divide channels, 8, got 3"),
        (lambda: SelfAttention2d(8, 2, key_channels=3), "key_channels: must be a positive multiple of heads, 2, got 3"),
        (lambda: AttentionPooling(8, seeds=0), "seeds: must be positive"),
        (lambda: AttentionPooling(8, heads=3), "width: must be a positive multiple of heads, 3"),
        (lambda: LocationAwareAttention(4, 4, 0), "widths, filters and kernel must be positive"),
        (lambda: LocationAwareAttention(4, 4, 4, kernel=4), "kernel: must be odd, so that it has a middle, got 4"),
    ],
)
def test_wrong_sizes_are_refused(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
