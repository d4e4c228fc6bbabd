"""Layers with projections, and caches of keys and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import nn

from layers import rand
from regard import (
    Additive,
    ALiBi,
    Causal,
    Cosine,
    Distance,
    Dot,
    Dropout,
    Entmax,
    Hard,
    Lengths,
    Look,
    RelativeBias,
    Sigmoid,
    Softcap,
    Softmax,
    Sparsemax,
    TopK,
    Window,
    attention,
)  # fmt: skip
from regard.nn import (
    HardAttention,
    KVCache,
    Learned,
    LearnedPositions,
    MultiHeadAttention,
    Rotary,
    SoftAttention,
    VariationalAttention,
    reinforce,
)  # fmt: skip

# MultiHeadAttention


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", [(None, None), (5, 5), (5, 6)], ids=str)
@pytest.mark.parametrize("add_bias_kv", [True, False])
@pytest.mark.parametrize("add_zero_attn", [True, False])
def test_from_torch_gives_pytorchs_output_and_weights(
    bias: bool, widths: tuple[int | None, int | None], add_bias_kv: bool, add_zero_attn: bool
) -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(
        12, 3, bias=bias, kdim=widths[0], vdim=widths[1], add_bias_kv=add_bias_kv, add_zero_attn=add_zero_attn,
        batch_first=True,
    ).double()  # fmt: skip
    if bias:
        nn.init.normal_(theirs.in_proj_bias)
        nn.init.normal_(theirs.out_proj.bias)
    ours = MultiHeadAttention.from_torch(theirs)
    query = rand(2, 4, 12)
    memory = [rand(2, 7, width or 12, seed=1) for width in widths]
    lengths = torch.tensor([7, 3])
    padding = torch.arange(7)[None] >= lengths[:, None]
    expected, weights = theirs(query, *memory, key_padding_mask=padding, average_attn_weights=False)
    output, view = ours(query, *memory, mask=Lengths(lengths), look=Look(rows=slice(None)))
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(view.rows[..., int(add_bias_kv) :], weights[..., :7])
    if add_bias_kv:
        torch.testing.assert_close(view.rows[..., 0], weights[..., 7])
    mask = torch.rand(4, 7, generator=torch.Generator().manual_seed(0)) > 0.5
    mask[:, 0] = True
    torch.testing.assert_close(ours(query, *memory, mask=mask)[0], theirs(query, *memory, attn_mask=~mask)[0])
    torch.testing.assert_close(ours(query[0], *(m[0] for m in memory))[0], theirs(query[0], *(m[0] for m in memory))[0])
    if widths == (None, None):
        causal_mask = nn.Transformer.generate_square_subsequent_mask(4, dtype=torch.float64)
        causal = theirs(query, query, query, attn_mask=causal_mask, is_causal=True)[0]
        torch.testing.assert_close(ours(query, mask=Causal())[0], causal)


@pytest.mark.parametrize("kdim", [None, 5])
def test_from_torch_keeps_parameters_frozen(kdim: int | None) -> None:
    for frozen in ("in_proj_weight", "q_proj_weight", "in_proj_bias", "out_proj.bias", "out_proj.weight", "bias_k"):
        theirs = nn.MultiheadAttention(12, 3, kdim=kdim, add_bias_kv=True)
        names = [name for name, _ in theirs.named_parameters()]
        if frozen not in names:
            continue
        theirs.get_parameter(frozen).requires_grad_(False)
        ours = MultiHeadAttention.from_torch(theirs)
        assert {name for name, parameter in ours.named_parameters() if not parameter.requires_grad} == _FROZEN[frozen]


_FROZEN = {
    "in_proj_weight": {"query.weight", "key.weight", "value.weight"},
    "q_proj_weight": {"query.weight"},
    "in_proj_bias": {"query.bias", "key.bias", "value.bias"},
    "out_proj.bias": {"output.bias"},
    "out_proj.weight": {"output.weight"},
    "bias_k": {"extra_key"},
}


def test_values_of_another_width_are_required_and_an_extra_key_excludes_a_score_bias() -> None:
    layer = MultiHeadAttention(4, 2, memory_width=3, memory_value_width=5)
    with pytest.raises(ValueError, match="value: must be given, of width 5: keys have width 3"):
        layer(torch.zeros(2, 4, 4), torch.zeros(2, 4, 3))
    with pytest.raises(ValueError, match="score_bias: cannot be used with extra_key"):
        MultiHeadAttention(4, 2, extra_key=True, score_bias=ALiBi())


def test_head_widths_and_grouped_heads_match_the_formula() -> None:
    torch.manual_seed(1)
    layer = MultiHeadAttention(10, 4, key_heads=2, head_width=3, value_width=5, memory_width=7).double()
    query, key, value = rand(2, 6, 10), rand(2, 8, 7, seed=1), rand(2, 8, 7, seed=2)
    output, view = layer(query, key, value, look=Look(norms=layer.projections()))
    assert view.norms.value.shape == (2, 4, 8)
    merged = []
    for head in range(4):
        q = layer.query(query)[..., 3 * head : 3 * head + 3]
        k = layer.key(key)[..., 3 * (head // 2) : 3 * (head // 2) + 3]
        v = layer.value(value)[..., 5 * (head // 2) : 5 * (head // 2) + 5]
        merged.append(torch.softmax(q @ k.mT / 3**0.5, -1) @ v)
        norms = (v @ layer.output.weight[:, 5 * head : 5 * head + 5].T).norm(dim=-1)
        torch.testing.assert_close(view.norms.value[:, head], norms)
    torch.testing.assert_close(output, layer.output(torch.cat(merged, -1)))


LAYERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "cosine": {"score": Learned(Cosine, scale=torch.full((4,), 3.0))},
    "additive": {"score": Learned(Additive, v=rand(3).float())},
    "t5": {"score_bias": Learned(RelativeBias, table=rand(4, 8).float())},
    "alibi": {"score_bias": ALiBi()},
    "entmax": {"normalizer": Learned(lambda raw: Entmax(1 + torch.sigmoid(raw)), raw=torch.zeros(()))},
    "sparsemax, dropout": {"normalizer": Sparsemax(), "dropout": 0.1},
    "sink": {"normalizer": Learned(Softmax, sink=torch.zeros(4))},
    "rotary": {"position": Rotary(4), "head_width": 4},
    "position in the key": {"key_position": LearnedPositions(20, 3)},
    "grouped": {"key_heads": 2},
}


@pytest.mark.parametrize("name", LAYERS)
def test_any_mechanism_trains_and_decodes_with_a_cache(name: str) -> None:
    torch.manual_seed(2)
    layer = MultiHeadAttention(12, 4, **LAYERS[name]).double()
    x = rand(2, 9, 12)
    layer(x, mask=Causal())[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    layer.eval()
    full, cache = layer(x, mask=Causal())[0], KVCache(2)
    parts = [layer(x[:, a:b], cache=cache)[0] for a, b in [(0, 4), (4, 5), (5, 7), (7, 8), (8, 9)]]
    torch.testing.assert_close(torch.cat(parts, 1), full, rtol=1e-13, atol=1e-14)


def test_dropout_and_sampling_are_active_in_training_only() -> None:
    x = rand(1, 5, 8)
    for layer in (
        MultiHeadAttention(8, 2, dropout=0.5),
        MultiHeadAttention(8, 2, normalizer=Hard()),
        MultiHeadAttention(8, 2, normalizer=Dropout(Softmax(), 0.5)),
    ):
        layer.double()
        assert not torch.equal(layer(x)[0], layer(x)[0])
        layer.eval()
        assert torch.equal(layer(x)[0], layer(x)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 10, "heads": 3}, "width: must be a positive multiple of heads, 3"),
        ({"width": 12, "heads": 4, "key_heads": 3}, "key_heads: must divide heads, 4, got 3"),
        ({"width": 12, "heads": 4, "dropout": 1.0}, "dropout: must be at least 0 and below 1"),
        ({"width": 12, "heads": 4, "memory_width": 0}, "must be positive, got 3, 3, 0"),
    ],
)
def test_wrong_sizes_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**arguments)


def test_a_cache_needs_causal_self_attention() -> None:
    layer, x = MultiHeadAttention(8, 2), torch.zeros(1, 3, 8)
    with pytest.raises(ValueError, match="cache: is for self-attention"):
        layer(x, x, cache=KVCache())
    with pytest.raises(ValueError, match=r"mask: with a cache it must be None or Causal\(\), got Lengths"):
        layer(x, mask=Lengths(torch.tensor([3])), cache=KVCache())


# The single-head layers


def test_soft_attention_matches_the_formula() -> None:
    torch.manual_seed(3)
    layer = SoftAttention(10, 7).double()
    query, memory = rand(2, 3, 10), rand(2, 5, 7, seed=1)
    assert layer.query.out_features == 5
    weights = torch.softmax(layer.query(query) @ layer.key(memory).mT / 5**0.5, -1)
    output, view = layer(query, memory, look=Look(rows=slice(None)))
    torch.testing.assert_close(output, weights @ layer.value(memory))
    torch.testing.assert_close(view.rows[:, 0], weights)
    assert layer(query, memory)[1] is None


@pytest.mark.parametrize("estimator", ["gumbel", "reinforce", "straight-through"])
def test_hard_attention_selects_one_key(estimator: Literal["gumbel", "reinforce", "straight-through"]) -> None:
    torch.manual_seed(3)
    layer = HardAttention(8, estimator=estimator).double()
    x = rand(2, 5, 8)
    _, view = layer(x, look=Look(rows=slice(None), log_prob=True))
    assert torch.equal(view.rows.sort(-1).values, torch.eye(5)[-1].expand(2, 1, 5, 5).double())
    reinforce(rand(2, 1, 5), view.log_prob, 0.5).backward()
    assert layer.query.weight.grad.abs().sum() > 0
    layer.eval()
    scores = layer.query(x) @ layer.key(x).mT
    torch.testing.assert_close(layer(x)[0], layer.value(x).gather(1, scores.argmax(-1)[..., None].expand(-1, -1, 8)))


def test_variational_attention_learns_the_scale_of_its_noise() -> None:
    torch.manual_seed(3)
    layer, x = VariationalAttention(8, scale=0.3, prior_scale=2.0).double(), rand(2, 5, 8)
    assert isinstance(layer.normalizer, Learned)
    output, view = layer(x, look=Look(kl=True))
    (output.square().mean() + view.kl.mean()).backward()
    assert layer.normalizer.get_parameter("log_scale").grad.abs() > 0
    assert (view.kl > 0).all()
    layer.eval()
    weights = torch.softmax(layer.query(x) @ layer.key(x).mT / 2, -1)
    torch.testing.assert_close(layer(x)[0], weights @ layer.value(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KVCache(0), "length: must be positive"),
        (lambda: KVCache(window=0), "window: must be positive"),
        (lambda: SoftAttention(0), "widths must be positive"),
        (lambda: SoftAttention(4, dropout=1.5), "dropout: must be at least 0"),
        (lambda: VariationalAttention(4, scale=0.0), "scale and prior_scale must be positive"),
    ],
)
def test_wrong_caches_and_single_head_layers_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# Caches


STEPS = (1, 3, 1, 1, 7, 1, 40, 1, 1, 1, 70, 1, 1, 4, 1, 1, 1, 1, 130, 1, 2, 1)

CACHED: dict[str, dict[str, Any]] = {
    "dot": {},
    "cosine": {"score": Cosine(3.0)},
    "additive": {"score": Additive(rand(8))},
    "distance": {"score": Distance(0.1)},
    "softcap, alibi": {"score": Softcap(Dot(), 2.0), "bias": ALiBi()},
    "sink": {"normalizer": Softmax(rand(4))},
    "sparsemax": {"normalizer": Sparsemax()},
    "topk": {"normalizer": TopK(3)},
    "sigmoid": {"normalizer": Sigmoid(-2.0)},
}


ROUNDED = ("sparsemax", "sigmoid")
"""Normalizers whose sums or powers PyTorch rounds differently at another position in the row."""


@pytest.mark.parametrize("window", [None, 1, 4, 50])
@pytest.mark.parametrize("name", CACHED)
def test_steps_with_a_cache_equal_the_full_pass_bit_by_bit(window: int | None, name: str) -> None:
    length = sum(STEPS)
    q, k, v = rand(2, 4, length, 8), rand(2, 2, length, 8, seed=1), rand(2, 2, length, 5, seed=2)
    mask = Causal() if window is None else Window(window - 1, 0)
    full, cache, start = attention(q, k, v, mask=mask, **CACHED[name]), KVCache(3, window=window), 0
    for steps in STEPS:
        part = slice(start, start + steps)
        step = cache.append(k[:, :, part], v[:, :, part])
        output = attention(q[:, :, part], step.key, step.value, mask=step.mask, **CACHED[name])
        if name in ROUNDED:
            torch.testing.assert_close(output, full[:, :, part], rtol=0, atol=4e-15)
        else:
            assert torch.equal(output, full[:, :, part])
        start += steps
    assert cache.position == start == length
    if window is None:
        assert len(cache) == length
    else:
        assert window <= len(cache) < window + 128


def test_the_memory_of_a_window_is_constant_and_a_full_fixed_cache_refuses_more() -> None:
    cache, capacities = KVCache(8, window=4), []
    for _ in range(1000):
        cache.append(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2))
        capacities.append(cache.capacity)
    assert capacities[200] == capacities[-1] < 300
    fixed = KVCache(3, grow=False)
    fixed.append(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    with pytest.raises(ValueError, match="key: the cache has room for 3 keys and may not grow, 4 are needed"):
        fixed.append(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    assert len(fixed) == 2
    with pytest.raises(ValueError, match=r"key: the cache holds \(1, 1, n, 2\), got \(1, 1, 1, 3\)"):
        fixed.append(torch.ones(1, 1, 1, 3), torch.ones(1, 1, 1, 2))
    with pytest.raises(ValueError, match=r"value: the cache holds torch.float32 on cpu, got torch.float64"):
        fixed.append(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2).double())
    with pytest.raises(ValueError, match="key and value: expected"):
        fixed.append(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 2, 2))


def test_a_selection_of_rows_is_independent_of_its_cache() -> None:
    cache = KVCache(2)
    cache.append(rand(2, 1, 3, 4), rand(2, 1, 3, 4))
    beams = cache.select(torch.tensor([1, 1, 0]))
    step = beams.append(rand(3, 1, 1, 4, seed=1), rand(3, 1, 1, 4, seed=1))
    assert torch.equal(step.key[0, :, :3], rand(2, 1, 3, 4)[1])
    assert torch.equal(step.key[2, :, :3], rand(2, 1, 3, 4)[0])
    assert (len(cache), len(beams)) == (3, 4)
