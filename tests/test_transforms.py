"""The transforms of torch.func, and batched gradients, for every mechanism and mask, against a loop."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian, jacfwd, jacrev, vmap

import mechanisms
from masks import MASKS
from mechanisms import CASES, SMALL, USUAL, Case
from regard import (
    Additive,
    ALiBi,
    BlockSparse,
    Causal,
    Cosine,
    Documents,
    Dropout,
    Entmax,
    Hard,
    Lengths,
    Look,
    Prefix,
    RelativeBias,
    Sigmoid,
    Softmax,
    Variational,
    Window,
    attention,
)
from regard.nn import Rotary
from test_mechanisms import each_case

SAMPLES = 3
BY_NAME = {case.name: case for case in CASES}


def samples(*tensors: Tensor) -> list[Tensor]:
    """Each tensor with a new first dimension of different samples."""
    return [torch.stack([t * (1 - 0.2 * i) for i in range(SAMPLES)]) for t in tensors]


def loop(f: Callable[..., Any], dims: tuple[int | None, ...], *tensors: Tensor) -> Any:
    """The definition of `vmap`: a loop over the samples."""
    each = [f(*(t if d is None else t[i] for t, d in zip(tensors, dims, strict=True))) for i in range(SAMPLES)]
    return tuple(map(torch.stack, zip(*each, strict=True))) if isinstance(each[0], tuple) else torch.stack(each)


def gradients(f: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    """The gradients of the sum of squares of ``f``, by autograd."""

    def of(*tensors: Tensor) -> tuple[Tensor, ...]:
        leaves = [t.detach().clone().requires_grad_() for t in tensors]
        output = f(*leaves)
        if not output.requires_grad:
            return tuple(torch.zeros_like(t) for t in leaves)
        return torch.autograd.grad(output.square().sum(), leaves, allow_unused=True, materialize_grads=True)

    return of


def check(f: Callable[..., Tensor], dims: tuple[int | None, ...], *tensors: Tensor) -> None:
    """Compare `vmap`, and `vmap` of `grad`, of ``f`` with the loop."""
    torch.testing.assert_close(vmap(f, dims)(*tensors), loop(f, dims, *tensors))
    by_func = vmap(grad(lambda *t: f(*t).square().sum(), tuple(range(len(tensors)))), dims)(*tensors)
    torch.testing.assert_close(by_func, loop(gradients(f), dims, *tensors))


@each_case
@pytest.mark.parametrize("mask_name", ["none", "causal", "lengths", "boolean"])
def test_vmap_over_all_tensors(case: Case, mask_name: str) -> None:
    tensors, mask = samples(*mechanisms.inputs(case), *case.parameters(USUAL)), MASKS[mask_name].make(USUAL)

    def f(q: Tensor, k: Tensor, v: Tensor, *parameters: Tensor) -> Tensor:
        return attention(q, k, v, mask=mask, **case.call(USUAL, *parameters))

    check(f, (0,) * len(tensors), *tensors)


@each_case
@pytest.mark.parametrize("which", [0, 1, -1])
def test_vmap_over_one_argument(case: Case, which: int) -> None:
    tensors = [*mechanisms.inputs(case), *case.parameters(USUAL)]
    (tensors[which],) = samples(tensors[which])
    dims = [None] * len(tensors)
    dims[which] = 0  # type: ignore[call-overload]
    check(lambda q, k, v, *p: attention(q, k, v, mask=Causal(), **case.call(USUAL, *p)), tuple(dims), *tensors)


@pytest.mark.parametrize("mask_name", MASKS)
@pytest.mark.parametrize("name", ["dot", "cosine", "bilinear", "sparsemax", "topk"])
def test_vmap_with_every_mask(mask_name: str, name: str) -> None:
    case = BY_NAME[name]
    tensors, mask = samples(*mechanisms.inputs(case), *case.parameters(USUAL)), MASKS[mask_name].make(USUAL)

    def f(q: Tensor, k: Tensor, v: Tensor, *parameters: Tensor) -> Tensor:
        return attention(q, k, v, mask=mask, **case.call(USUAL, *parameters))

    check(f, (0,) * len(tensors), *tensors)


def _drawn(high: int, *shape: int) -> Tensor:
    return torch.randint(high, (SAMPLES, *shape), generator=torch.Generator().manual_seed(3))


B, LQ, LK = USUAL.batch, USUAL.queries, USUAL.keys
MASKS_BY_SAMPLE = {
    "lengths": (lambda t: Lengths(t), _drawn(LK, B)),
    "lengths of queries": (lambda t: Lengths(torch.full((B,), LK), t), _drawn(LQ, B)),
    "prefix": (lambda t: Prefix(t), _drawn(LK, B)),
    "prefix, then causal": (lambda t: Causal() | Prefix(t), _drawn(LK, B)),
    "offset": (lambda t: Causal(t), _drawn(LK, B)),
    "window": (lambda t: Window(1, 1, t), _drawn(LK, B)),
    "not a window": (lambda t: ~Window(1, 1, t), _drawn(LK, B)),
    "documents": (lambda t: Documents(t), _drawn(3, B, LK)),
    "documents, one row": (lambda t: Documents(t), _drawn(3, LK)),
    "documents, packed": (lambda t: Documents(t, packed=True), _drawn(3, B, LK).sort(-1).values),
    "blocks": (lambda t: BlockSparse(t > 0, 2), _drawn(3, -(-LQ // 2), -(-LK // 2))),
    "boolean": (lambda t: t > 0, _drawn(3, B, 1, LQ, LK)),
    "boolean, of keys": (lambda t: t > 0, _drawn(3, LK)),
}
"""How masks are made of a tensor, and that tensor for all samples."""


@pytest.mark.parametrize("name", MASKS_BY_SAMPLE)
@pytest.mark.parametrize("backend", [None, "reference"])
def test_vmap_over_masks(name: str, backend: str | None) -> None:
    make, tensor = MASKS_BY_SAMPLE[name]
    q, k, v = samples(*mechanisms.inputs(CASES[0]))

    def f(tensor: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, k, v, mask=make(tensor), backend=backend)

    for dims in ((0, 0, 0, 0), (0, None, None, None), (0, 0, None, None)):
        inputs = tensor, *(t if d == 0 else t[0] for t, d in zip((q, k, v), dims[1:], strict=True))
        torch.testing.assert_close(vmap(f, dims)(*inputs), loop(f, dims, *inputs))
        grads = vmap(grad(lambda *t: f(*t).square().sum(), (1, 2, 3)), dims)(*inputs)
        expected = loop(lambda mask, *t: gradients(lambda *t: f(mask, *t))(*t), dims, *inputs)
        torch.testing.assert_close(grads, expected)


HEADS = USUAL.heads
OPTIONS: dict[str, tuple[Callable[[Tensor], dict[str, Any]], Tensor]] = {
    "alpha": (lambda t: {"normalizer": Entmax(t)}, torch.tensor([1.2, 1.5, 2.0], dtype=torch.float64)),
    "alpha, a head": (lambda t: {"normalizer": Entmax(1 + t.sigmoid())}, mechanisms.random(SAMPLES, HEADS)),
    "temperature": (
        lambda t: {"normalizer": Hard("straight-through", t)}, torch.tensor([0.2, 0.5, 2.0], dtype=torch.float64),
    ),
    "scale": (lambda t: {"score": Cosine(t)}, mechanisms.random(SAMPLES, HEADS)),
    "sink": (lambda t: {"normalizer": Softmax(t)}, mechanisms.random(SAMPLES, HEADS)),
    "sigmoid": (lambda t: {"normalizer": Sigmoid(t)}, mechanisms.random(SAMPLES, HEADS)),
    "slopes": (lambda t: {"bias": ALiBi(t)}, mechanisms.random(SAMPLES, HEADS)),
    "table, shared": (lambda t: {"bias": RelativeBias(t)}, mechanisms.random(SAMPLES, 8)),
    "bias": (lambda t: {"bias": t}, mechanisms.random(SAMPLES, 1, LQ, LK)),
    "additive": (lambda t: {"score": Additive(t)}, mechanisms.random(SAMPLES, USUAL.width)),
    "noise": (lambda t: {"normalizer": Variational(t.exp(), seed=5)}, mechanisms.random(SAMPLES)),
    "dropout": (lambda t: {"normalizer": Dropout(Sigmoid(t), 0.5, 5)}, mechanisms.random(SAMPLES)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("backend", [None, "reference"])
def test_vmap_over_options(name: str, backend: str | None) -> None:
    make, tensor = OPTIONS[name]
    q, k, v = mechanisms.inputs(CASES[0])

    def f(tensor: Tensor, q: Tensor) -> Tensor:
        return attention(q, k, v, mask=Causal(), backend=backend, **make(tensor))

    check(f, (0, None), tensor, q)
    check(f, (0, 0), tensor, *samples(q))


def test_vmap_over_other_dimensions_and_nested() -> None:
    q, k, v = samples(*mechanisms.inputs(CASES[0]))
    expected = loop(lambda *t: attention(*t, mask=Causal()), (0, 0, 0), q, k, v)
    output = vmap(lambda *t: attention(*t, mask=Causal()), (2, -1, 1), 3)(
        q.movedim(0, 2), k.movedim(0, -1), v.movedim(0, 1)
    )
    torch.testing.assert_close(output.movedim(3, 0), expected)
    pairs = [torch.stack([t, -t]) for t in (q, k, v)]
    nested = vmap(vmap(lambda *t: attention(*t, mask=Causal())))(*pairs)
    torch.testing.assert_close(nested[0], expected)
    torch.testing.assert_close(nested[1], -expected)
    crossed = vmap(vmap(lambda q, k, v: attention(q, k, v), (0, None, None)), (None, 0, 0))(q, k, v)
    torch.testing.assert_close(crossed[1, 2], attention(q[2], k[1], v[1]))


@pytest.mark.parametrize("rank", [2, 3])
def test_vmap_over_inputs_of_fewer_dimensions(rank: int) -> None:
    q, k, v = (t[(slice(None),) + (0,) * (4 - rank)] for t in samples(*mechanisms.inputs(CASES[0])))
    k, v = (k[:, :1], v[:, :1]) if rank == 3 else (k, v)
    check(lambda *t: attention(*t, mask=Causal()), (0, 0, 0), q, k, v)


def test_each_sample_has_the_random_numbers_of_a_separate_call() -> None:
    q, k, v = samples(*mechanisms.inputs(CASES[0]))
    seeds = torch.tensor([3, 4, 3])

    def f(seed: Tensor, q: Tensor) -> Tensor:
        return attention(q, k[0], v[0], normalizer=Dropout(Softmax(), 0.5, seed))

    torch.testing.assert_close(vmap(f)(seeds, q), loop(f, (0, 0), seeds, q))

    def dropped(q: Tensor) -> Tensor:
        return attention(q, k[0], v[0], normalizer=Dropout(Softmax(), 0.5))

    with pytest.raises(RuntimeError, match="randomness"):
        vmap(dropped)(q)
    same = vmap(dropped, randomness="same")(q[:1].expand(3, -1, -1, -1, -1))
    assert torch.equal(same[0], same[1])
    different = vmap(dropped, randomness="different")(q[:1].expand(3, -1, -1, -1, -1))
    assert not torch.equal(different[0], different[1])


def test_vmap_over_looks() -> None:
    q, k, v = samples(*mechanisms.inputs(CASES[0]))

    def f(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        look = Look(lse=True, entropy=True, received=True, reach=True, top=2, map=(2, 2), rows=[0, 3], norms=True)
        output, view = attention(q, k, v, mask=Causal(), look=look)
        return output, view.lse, view.entropy, view.received, view.reach, *view.top, *view.map, view.rows, *view.norms

    torch.testing.assert_close(vmap(f)(q, k, v), loop(f, (0, 0, 0), q, k, v))


DERIVATIVES = (
    "dot", "cosine, learned", "bilinear", "additive", "distance", "bias, per head", "alibi, learned", "t5", "sink",
    "sparsemax", "entmax", "entmax, learned, per head", "sigmoid, learned", "hard, gumbel", "hard, straight-through",
    "variational, learned", "dropout of sparsemax", "all: cosine, t5, sink",
)  # fmt: skip


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("mask_name", ["none", "causal, negative", "boolean"])
def test_jacobians(name: str, mask_name: str) -> None:
    case = BY_NAME[name]
    tensors = (*mechanisms.inputs(case, SMALL), *case.parameters(SMALL))
    numbers, mask = tuple(range(len(tensors))), MASKS[mask_name].make(SMALL)

    def f(*t: Tensor, backend: str | None = None) -> Tensor:
        return attention(*t[:3], mask=mask, backend=backend, **case.call(SMALL, *t[3:])).square()

    jacobian = torch.autograd.functional.jacobian
    expected = jacobian(lambda *t: f(*t, backend="reference"), tensors)
    torch.testing.assert_close(jacrev(f, numbers)(*tensors), expected)
    torch.testing.assert_close(jacfwd(f, numbers)(*tensors), expected)
    torch.testing.assert_close(jacobian(f, tensors, vectorize=True), expected)
    torch.testing.assert_close(jacobian(f, tensors, vectorize=True, strategy="forward-mode"), expected)


@pytest.mark.parametrize(
    "name", ["dot", "cosine, learned", "additive", "sparsemax", "entmax, learned, per head", "sink"]
)
def test_hessians(name: str) -> None:
    case = BY_NAME[name]
    tensors = (*mechanisms.inputs(case, SMALL), *case.parameters(SMALL))

    def f(*t: Tensor, backend: str | None = None) -> Tensor:
        return attention(*t[:3], mask=Causal(), backend=backend, **case.call(SMALL, *t[3:])).square().sum()

    expected = torch.autograd.functional.hessian(lambda *t: f(*t, backend="reference"), tensors)
    numbers = tuple(range(len(tensors)))
    torch.testing.assert_close(hessian(f, numbers)(*tensors), expected)
    torch.testing.assert_close(jacrev(jacrev(f, numbers), numbers)(*tensors), expected)
    torch.testing.assert_close(torch.autograd.functional.hessian(f, tensors, vectorize=True), expected)


@each_case
def test_batched_gradients(case: Case) -> None:
    leaves = [t.requires_grad_() for t in (*mechanisms.inputs(case), *case.parameters(USUAL))]
    for mask in (None, Causal(), Lengths(torch.tensor([3, 0]))):
        output = attention(*leaves[:3], mask=mask, **case.call(USUAL, *leaves[3:]))
        if not output.requires_grad:
            continue
        (upstream,) = samples(mechanisms.random(*output.shape))
        grads = torch.autograd.grad(output, leaves, upstream[0], retain_graph=True, allow_unused=True)
        used = [leaf for leaf, gradient in zip(leaves, grads, strict=True) if gradient is not None]
        batched = torch.autograd.grad(output, used, upstream, is_grads_batched=True, retain_graph=True)
        gradients_of = partial(torch.autograd.grad, output, used, retain_graph=True)
        expected = loop(gradients_of, (0,), upstream)
        torch.testing.assert_close(batched, expected)
        torch.testing.assert_close(vmap(gradients_of)(upstream), expected)


@pytest.mark.parametrize(
    "transform", [lambda f: vmap(grad(f)), jacrev, jacfwd, vmap], ids=["vmap(grad)", "jacrev", "jacfwd", "vmap"]
)
def test_rotary_stores_no_tensor_of_a_transform(transform: Callable[..., Any]) -> None:
    rotary = Rotary(8)
    x = mechanisms.random(2, 4, 8)
    transform(lambda t: rotary(t).square().sum())(x)
    copied, loaded = copy.deepcopy(rotary), pickle.loads(pickle.dumps(rotary))
    for instance in (rotary, copied, loaded):
        assert torch.equal(instance(x), Rotary(8)(x))
