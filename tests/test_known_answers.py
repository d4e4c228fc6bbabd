"""Known answers: results of other libraries, and values printed in papers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import mechanisms
from mechanisms import CASES, USUAL
from regard import Additive, ALiBi, Causal, Dot, Entmax, Lengths, Look, RelativeBias, Sparsemax, attention


def test_pytorchs_scaled_dot_product_attention() -> None:
    size = USUAL._replace(key_heads=USUAL.heads)
    q, k, v = mechanisms.inputs(CASES[0], size)
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(attention(q, k, v, mask=Causal(offset=0)), theirs)


@pytest.mark.parametrize("length", [3, 100, 2000])
def test_the_entmax_package(length: int) -> None:
    entmax = pytest.importorskip("entmax")
    torch.manual_seed(0)
    scores = (3 * torch.randn(20, length, dtype=torch.float64)).requires_grad_()
    upstream = torch.randn(20, length, dtype=torch.float64)
    alpha = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    pairs = [
        (Sparsemax(), lambda s: entmax.sparsemax(s, -1)),
        (Entmax(1.5), lambda s: entmax.entmax15(s, -1)),
        (Entmax(1.25), lambda s: entmax.entmax_bisect(s, 1.25, n_iter=100)),
        (Entmax(alpha), lambda s: entmax.entmax_bisect(s, alpha, n_iter=100)),
    ]
    one, eye = torch.ones(20, 1, 1, dtype=torch.float64), torch.eye(length, dtype=torch.float64)
    for normalizer, theirs in pairs:
        leaves = [scores, alpha] if normalizer is pairs[-1][0] else [scores]
        bias = scores[:, None, None]
        ours = attention(0 * one[..., None], one[..., None].expand(-1, 1, length, 1), eye.expand(20, 1, -1, -1),
                         bias=bias, normalizer=normalizer)[:, 0, 0]  # fmt: skip
        torch.testing.assert_close(ours, theirs(scores))
        grads = [torch.autograd.grad((w * upstream).sum(), leaves) for w in (ours, theirs(scores))]
        torch.testing.assert_close(*grads)


@pytest.mark.parametrize("normalizer", [Sparsemax(), Entmax(1.5), Entmax(1.3)], ids=repr)
def test_sparse_normalizers_of_extreme_scores(normalizer: Sparsemax | Entmax) -> None:
    scores = torch.tensor([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0], [-1e30, 1e30, 0.0], [1.0, 1.0, -50.0]])
    key = torch.eye(3)
    weights = attention(scores * 3**0.5, key, key, normalizer=normalizer)
    expected = torch.tensor([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 1, 0], [0.5, 0.5, 0]])
    torch.testing.assert_close(weights, expected)


KERAS = [torch.tensor(rows) for rows in ([[1.0, 0], [0, 1]], [[0.0, 1], [1, 0]], [[1.0, 2], [3, 4]])]
"""Query, key and value of the example in the tests of Keras's attention layers."""


@pytest.mark.parametrize(
    ("score", "output", "weights"),
    [
        (Dot(1.0), [[2.462, 3.462], [1.538, 2.538]], [[0.269, 0.731], [0.731, 0.269]]),
        (Additive(torch.ones(2)), [[1.727, 2.727], [2.272, 3.272]], [[0.636, 0.363], [0.363, 0.636]]),
    ],
    ids=["Attention", "AdditiveAttention"],
)
def test_the_keras_example(score: Dot | Additive, output: list[list[float]], weights: list[list[float]]) -> None:
    result, view = attention(*KERAS, score=score, look=Look(rows=slice(None)))
    torch.testing.assert_close(result, torch.tensor(output), rtol=0, atol=1e-3)
    torch.testing.assert_close(view.rows, torch.tensor(weights), rtol=0, atol=1e-3)


def test_keras_masks() -> None:
    query, value = KERAS[0], torch.ones(2, 2)
    mask = Lengths(torch.tensor([1]), queries=torch.tensor([1]))
    output, view = attention(query, value, value, score=Dot(1.0), mask=mask, look=Look(rows=[0]))
    assert output.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert view.rows.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("t", [-2.0, -1.0, -0.3, 0.0, 0.6, 1.0, 3.0])
def test_sparsemax_of_two_scores_is_a_clipped_line(t: float) -> None:
    """Martins and Astudillo 2016, section 2.2."""
    weights = attention(torch.ones(1, 1), torch.tensor([[t], [0.0]]), torch.eye(2), normalizer=Sparsemax())
    first = min(1.0, max(0.0, (t + 1) / 2))
    torch.testing.assert_close(weights, torch.tensor([[first, 1 - first]]))


@pytest.mark.parametrize(("heads", "powers"), [(8, range(1, 9)), (16, [0.5 * k for k in range(1, 17)])])
def test_alibi_slopes_are_those_of_the_paper(heads: int, powers: list[float]) -> None:
    """Press et al. 2022, section 3: 1/2 to 1/256 for eight heads, and a geometric sequence for sixteen."""
    zeros = torch.zeros(1, heads, 1, 2)
    _, view = attention(zeros[..., :1, :], zeros.expand(-1, -1, 2, -1), zeros.expand(-1, -1, 2, -1), bias=ALiBi(),
                        look=Look(rows=[0]))  # fmt: skip
    logs = view.rows[0, :, 0].log()
    torch.testing.assert_close(logs[:, 1] - logs[:, 0], torch.tensor([2.0**-power for power in powers]))


def test_t5_buckets_are_those_of_the_paper() -> None:
    """Raffel et al. 2020, section 2.1: 32 buckets, logarithmic up to 128; all larger distances share one."""
    table = torch.arange(32.0)
    length = 400
    zeros: Tensor = torch.zeros(length, 1)
    _, view = attention(zeros, zeros, zeros, bias=RelativeBias(table), look=Look(rows=[0, length - 1]))
    after, before = (row.log() - row.log()[at] for row, at in zip(view.rows, (0, -1), strict=True))
    assert [round(float(after[d])) for d in (0, 1, 7, 8, 127, 128, 399)] == [0, 17, 23, 24, 31, 31, 31]
    assert [round(float(before[-1 - d])) for d in (0, 1, 7, 8, 127, 128, 399)] == [0, 1, 7, 8, 15, 15, 15]
