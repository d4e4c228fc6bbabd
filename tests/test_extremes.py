"""Scores near the limits of their dtype, and biases that are used as masks, for every mechanism, backend and dtype.

All scores are exact in every dtype, because queries and keys are unit vectors times powers of two. The weights are
therefore the same in float64 and in bfloat16, and gradients can be compared with those of the reference.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mechanisms
import oracle
from mechanisms import BIASES, CASES, Case, Sizes
from regard import Causal, Cosine, Dot, Lengths, Look, Score, attention
from regard.kernels.backends import BACKENDS
from test_mechanisms import each_case

SIZE = Sizes(2, 6, 3, 5, 7, 16, 16)
"""The square root of the width is an integer, so the scale is exact."""

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
NAMES = [backend.name for backend in BACKENDS]
PRECISION = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 1e-2, torch.float16: 1.5e-3}
"""Tolerance of outputs and gradients, relative to the largest."""

WEIGHT = 2.0**-5
"""The size of the outputs' gradients: small, so that gradients in half precision stay in its range."""

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_backend = pytest.mark.parametrize("backend", NAMES)


def powers(dtype: torch.dtype) -> list[float]:
    """The entries of queries and keys; scores go up to 2³⁰ (10⁹) and 2¹²⁰ (10³⁶), in float16 to 2²⁴."""
    return [2.0**12] if dtype is torch.float16 else [2.0**15, 2.0**60]


def steep(case: Case, dtype: torch.dtype, power: float, top: int) -> list[Tensor]:
    """Inputs whose products are −power², 0 or power² (``top`` 1), or only −power² and 0 (``top`` 0)."""
    size = SIZE._replace(key_heads=SIZE.heads)
    draw = torch.Generator().manual_seed(5)
    power = 1.0 if "additive" in case.name else power  # its scores are large because of its vector: see `check`
    query = torch.zeros(*size.scores[:3], size.width, dtype=torch.float64)
    key = torch.zeros(size.batch, size.key_heads, size.keys, case.key_width or size.width, dtype=torch.float64)
    query.scatter_(-1, torch.randint(2, (*size.scores[:3], 1), generator=draw), power)
    key.scatter_(-1, torch.randint(3, (*key.shape[:3], 1), generator=draw), -power)
    key *= torch.where(torch.rand(key.shape[:3], generator=draw) < 0.5 * top, -1.0, 1.0)[..., None]
    value = mechanisms.random(size.batch, size.key_heads, size.keys, size.width, seed=2)
    return [query.to(dtype), key.to(dtype), value.to(dtype)]


def parameters(case: Case, dtype: torch.dtype, size: Sizes) -> list[Tensor]:
    """The case's parameters: those of scores have query's dtype, others at least float32."""
    precise = dtype if "score" in case.call(size, *case.parameters(size)) else torch.promote_types(dtype, torch.float32)
    return [p.to(precise) for p in case.parameters(size)]


def call(case: Case, size: Sizes, leaves: list[Tensor], bias: Tensor | None, backend: str) -> tuple[list[Any], Any]:
    """Output and gradients, and the view; ``leaves`` are query, key, value and parameters."""
    leaves = [t.clone().requires_grad_() for t in leaves]
    options = case.call(size, *leaves[3:])
    if bias is not None:
        options["bias"] = bias = bias.clone().requires_grad_(backend != "torch")
        leaves.append(bias)
    fields: dict[str, Any] = {
        "lse": True, "entropy": True, "received": True, "top": 2, "map": (2, 3), "rows": [3, 0, 4]
    }  # fmt: skip
    look = Look(**{name: value for name, value in fields.items() if name not in case.undefined})
    output, view = attention(*leaves[:3], look=look, backend=backend, **options)
    weight = WEIGHT * mechanisms.random(*output.shape, seed=4)
    learned = [t for t in leaves if t.requires_grad]
    grads = torch.autograd.grad((output.double() * weight).sum(), learned, allow_unused=True)
    return [output.detach(), *grads], view


def assert_near(actual: Any, expected: Any, dtype: torch.dtype, name: str, scale: float = 1e-30) -> None:
    """The tolerance is relative to the largest expected number, or to ``scale`` if that is larger."""
    actual, expected = (np.asarray(t.detach().double() if isinstance(t, Tensor) else t) for t in (actual, expected))
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=scale)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=PRECISION[dtype] * largest, err_msg=name)


def check(
    case: Case, dtype: torch.dtype, inputs: list[Tensor], backend: str, bias: Tensor | None = None, vector: float = 1.0,
    forward_only: bool = False
) -> None:  # fmt: skip
    """Compare output and view with the oracle, and gradients with the reference in float64."""
    size = SIZE._replace(key_heads=inputs[1].shape[1])
    leaves = [t.to(dtype) for t in inputs] + parameters(case, dtype, size)
    if "additive" in case.name:
        leaves[3] *= vector
    largest = max(1.0, float(max(t.abs().max() for t in inputs)), vector)
    try:
        results, view = call(case, size, leaves, bias, backend)
    except ValueError as refusal:
        if not str(refusal).startswith(f"backend: none can run this call ({backend}: "):
            raise
        pytest.skip(str(refusal))
    arrays = [t.double().numpy() for t in leaves]
    options = case.answer(size, *arrays[3:])
    if bias is not None:
        options["bias"] = oracle.dense(bias.double().numpy())
    answer = oracle.attend(arrays[0], arrays[1], arrays[2], np.ones(size.scores, bool), **options)
    weights = answer.weights
    assert_near(results[0], answer.output, dtype, "output")
    assert_near(view.rows, weights[:, :, [3, 0, 4]], dtype, "rows")
    assert_near(view.tile([2, 1], [6, 0, 3]), weights[:, :, [2, 1]][..., [6, 0, 3]], dtype, "tile")
    assert_near(view.received, weights.sum(2), dtype, "received")
    assert_near(view.map.max[:, :, 0, 0], weights[:, :, :3, :3].max((2, 3)), dtype, "map")
    assert_near(view.top.weights, -np.sort(-weights, -1)[..., :2], dtype, "top")
    if "lse" not in case.undefined:
        with np.errstate(over="ignore"):
            assert_near(view.lse, answer.lse.astype(view.lse.detach().numpy().dtype), dtype, "lse")
    if "entropy" not in case.undefined:
        logs = np.log(weights, out=np.zeros_like(weights), where=weights > 0)
        assert_near(view.entropy, -(weights * logs).sum(-1), dtype, "entropy")
    if forward_only:
        return
    expected, _ = call(case, size, [t.double() for t in leaves], None if bias is None else bias.double(), "reference")
    for place, (mine, theirs) in enumerate(zip(results[1:], expected[1:], strict=backend != "torch")):
        # A sum of products that should be 0 is as large as the rounding errors of its terms.
        power = 2 if place == 3 and "bilinear" in case.name else place < 3 or (place == 4 and "additive" in case.name)
        terms = 16 * WEIGHT * largest**power
        if place == 3 and "variational" in case.name:
            terms *= 3  # in the gradient of the standard deviation, each term is multiplied by its noise
        assert_near(0.0 if mine is None else mine, 0.0 if theirs is None else theirs, dtype, f"gradient {place}", terms)


@each_backend
@each_dtype
@each_case
def test_keys_with_far_lower_scores_get_no_weight_and_equal_ones_share_it(
    case: Case, dtype: torch.dtype, backend: str
) -> None:
    for power in powers(dtype):
        # PyTorch's kernel saves one log-sum-exp per row, which rounds away the sum next to a large score.
        forward_only = backend == "torch" and "bilinear" in case.name
        check(case, dtype, steep(case, dtype, power, 0), backend, vector=power, forward_only=forward_only)


EXACT = [case for case in CASES if case not in BIASES and case.name not in ("variational", "variational, learned")]
"""Cases that add no small number to a score, which some dtypes would round away."""


@each_backend
@each_dtype
@pytest.mark.parametrize(
    "case", [case for case in EXACT if not case.name.startswith("all")], ids=lambda case: case.name
)
def test_weights_are_exact_beside_a_large_maximum(case: Case, dtype: torch.dtype, backend: str) -> None:
    for power in powers(dtype):
        check(case, dtype, steep(case, dtype, power, 1), backend, vector=power, forward_only=backend == "torch")


def masking(lowest: float, dtype: torch.dtype) -> Tensor:
    """A bias; each row hides keys in another way."""
    bias = torch.zeros(SIZE.queries, SIZE.keys, dtype=torch.promote_types(dtype, torch.float32))
    bias[0] = lowest
    bias[1] = -math.inf
    bias[2, :3] = -math.inf
    bias[3, 2:5], bias[3, 6] = lowest, -math.inf
    bias[4] = -lowest
    return bias


UNBIASED = [case for case in CASES if "bias" not in case.call(SIZE, *case.parameters(SIZE))]


@each_backend
@each_dtype
@pytest.mark.parametrize("case", UNBIASED, ids=lambda case: case.name)
def test_a_bias_can_be_used_as_a_mask(case: Case, dtype: torch.dtype, backend: str) -> None:
    inputs = [t[..., : SIZE.width] for t in mechanisms.inputs(case, SIZE)]
    lowest = {torch.finfo(torch.float32).min, torch.finfo(torch.promote_types(dtype, torch.float32)).min}
    for low in lowest:
        check(case, dtype, inputs, backend, masking(low, dtype))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("case", [case for case in UNBIASED if case.smooth], ids=lambda case: case.name)
def test_a_row_that_a_bias_hides_has_zero_gradients_of_first_and_second_order(case: Case, backend: str) -> None:
    size = mechanisms.SMALL
    bias = torch.zeros(size.queries, size.keys, dtype=torch.float64)
    bias[1], bias[2, 1] = -math.inf, -math.inf
    leaves = [t.requires_grad_() for t in (*mechanisms.inputs(case, size), *case.parameters(size), bias)]
    output = attention(*leaves[:3], bias=bias, backend=backend, **case.call(size, *leaves[3:-1]))
    assert torch.equal(output[:, :, 1], torch.zeros_like(output[:, :, 1]))
    # The output does not depend on the parameters of a prior.
    leaves = leaves[:3] + [bias] if "learned" in case.name and case.extra else leaves
    first = torch.autograd.grad(output.square().sum(), leaves, create_graph=True)
    squares = torch.stack([g.square().sum() for g in first])
    second = torch.autograd.grad(squares.sum(), leaves, allow_unused=True)
    for grad in (*first, *(g for g in second if g is not None)):
        assert grad.isfinite().all()
    for query, of_bias in ((first[0], first[-1]), (second[0], second[-1])):
        assert query is not None
        assert of_bias is not None
        assert not query[:, :, 1].any()
        assert not of_bias[1].any()
        assert not of_bias[2, 1]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", [(5, 7), (130, 140), (1, 3), (1, 30), (1, 300), (2, 5), (2, 600)], ids=str)
@pytest.mark.parametrize("mask", [None, Causal(), Lengths(torch.tensor([3, 1]))], ids=["none", "causal", "lengths"])
def test_large_scores_in_small_calls_and_in_decoding(mask: Any, sizes: tuple[int, int], dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(1)
    for power in (*powers(dtype), 0.0):
        query, key = (
            torch.zeros(2, 4, n, 32, dtype=torch.float64).scatter_(
                -1, torch.randint(3, (2, 4, n, 1), generator=draw), power
            )
            for n in sizes
        )
        key *= torch.randint(-1, 2, key.shape, generator=draw)
        value = mechanisms.random(2, 4, sizes[1], 32)
        exact = [t.to(dtype).double().requires_grad_() for t in (query, key, value)]
        expected = attention(*exact, mask=mask, backend="reference")
        expected_grads = torch.autograd.grad((WEIGHT * expected).sum(), exact)
        leaves = [t.to(dtype).requires_grad_() for t in (query, key, value)]
        assert_near(attention(*(t.detach() for t in leaves), mask=mask), expected, dtype, "output without a gradient")
        output = attention(*leaves, mask=mask)
        assert_near(output, expected, dtype, "output")
        grads = torch.autograd.grad((WEIGHT * output).sum(), leaves)
        for actual, exact_grad in zip(grads, expected_grads, strict=True):
            assert_near(actual, exact_grad, dtype, "gradient", 16 * WEIGHT * max(1.0, power))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_gradient_of_a_large_log_sum_exp_is_the_sum_of_weights(dtype: torch.dtype, backend: str) -> None:
    inputs = [t.to(dtype) for t in mechanisms.inputs(CASES[0], SIZE)]
    bias = masking(torch.finfo(torch.float32).min, dtype).requires_grad_()
    view = attention(*inputs, bias=bias, look=Look(lse=True, rows=slice(None)), backend=backend)[1]
    (grad,) = torch.autograd.grad(torch.where(view.lse.isneginf(), 0.0, view.lse).sum(), bias)
    assert_near(grad, view.rows.sum((0, 1)), dtype, "gradient")
    assert not grad[1].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_cosine_does_not_depend_on_the_length_of_vectors(dtype: torch.dtype, masked: bool) -> None:
    query, key, value = (t.to(dtype) for t in mechanisms.inputs(CASES[0], SIZE))
    mask = Lengths(torch.tensor([7, 4])) if masked else None
    expected = attention(query, key, value, mask=mask, score=Cosine(3.0))
    for length in (2.0**-110, 2.0**-60, 2.0**60, 2.0**110):
        output = attention(query * length, key / length, value, mask=mask, score=Cosine(3.0))
        torch.testing.assert_close(output, expected, rtol=0, atol=PRECISION[dtype])
    for zero in (0.0, float(torch.finfo(dtype).tiny) / 4):
        query[:, :, 1], key[:, :, 2] = zero, zero
        leaves = [t.clone().requires_grad_() for t in (query, key, value)]
        output, view = attention(*leaves, mask=mask, score=Cosine(3.0), look=Look(rows=[1]))
        weights = view.rows[0] if masked else view.rows
        torch.testing.assert_close(weights, torch.full_like(weights, 1 / 7))
        of_query, of_key, _ = torch.autograd.grad(output.square().sum(), leaves)
        assert not of_query[:, :, 1].any()
        assert not of_key[:, :, 2].any()
        assert max(of_query.abs().max(), of_key.abs().max()) < 100


@pytest.mark.parametrize("score", [Dot(1.0), Cosine(3e5)], ids=["dot", "cosine"])
@pytest.mark.parametrize("queries", [1, 3, 9, 40])
@pytest.mark.parametrize("keys", [2, 14, 200])
@pytest.mark.parametrize("width", [8, 32, 40, 64])
def test_looks_and_gradients_sum_large_scores_as_the_forward_pass_does(
    width: int, keys: int, queries: int, score: Score
) -> None:
    """With few queries, as in decoding, the forward pass is by other code."""
    random = torch.Generator().manual_seed(queries)
    query, key, value = (torch.randn(1, 2, n, width, generator=random) for n in (queries, keys, keys))
    value = (300 * value).requires_grad_()
    key[:, :, 1::2] = key[:, :, ::2]  # pairs of equal keys, so that weights are halves
    look = Look(received=True, rows=[0], entropy=True)
    output, view = attention(300 * query, 300 * key, value, score=score, look=look, backend="cpu")
    (grad,) = torch.autograd.grad(output, value, torch.ones_like(output))
    for weights in (view.rows, view.tile([0]), view.received, grad):
        largest = weights.abs().amax()
        torch.testing.assert_close(2 * weights, (2 * weights).round(), atol=1e-4, rtol=0)
        assert largest > 0.4
    torch.testing.assert_close(view.received.sum(-1), torch.full((1, 2), float(queries)))
    torch.testing.assert_close(grad.sum(-2), torch.full((1, 2, width), float(queries)))
