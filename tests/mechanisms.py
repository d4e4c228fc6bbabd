"""The table of mechanisms; every generic test runs every row. All sizes but those of heads are distinct primes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import oracle
from regard import (
    Additive,
    ALiBi,
    Bilinear,
    Cosine,
    Distance,
    Dot,
    Dropout,
    Entmax,
    Hard,
    RelativeBias,
    Score,
    Sigmoid,
    Softcap,
    Softmax,
    Sparsemax,
    TopK,
    Variational,
)  # fmt: skip


class Sizes(NamedTuple):
    """The sizes of the inputs of one call."""

    batch: int = 2
    heads: int = 6
    key_heads: int = 3
    queries: int = 5
    keys: int = 7
    width: int = 11
    value_width: int = 13

    @property
    def scores(self) -> tuple[int, int, int, int]:
        return self.batch, self.heads, self.queries, self.keys


USUAL = Sizes()
SMALL = Sizes(1, 2, 1, 3, 4, 3, 2)
"""For numerical gradients, which take many calls."""

SEED = 2**40 + 12345


@dataclass(frozen=True)
class Case:
    """One mechanism with its options.

    Attributes:
        name: for the names of tests.
        call: sizes and parameters → options of `regard.attention`.
        answer: sizes and the same parameters as arrays → options of `oracle.attend`.
        parameters: sizes → the learned tensors, in float64.
        key_width: the width of keys, if it differs from that of queries.
        undefined: fields of a `Look` that this mechanism does not define.
        extra: the field of a `Look` that the normalizer adds.
        smooth: whether the gradient is the derivative of the output; that of an estimator is not.
        reference: whether only the reference backend runs it, because its formula is a Python function.
    """

    name: str
    call: Callable[..., dict[str, Any]]
    answer: Callable[..., dict[str, Any]]
    parameters: Callable[[Sizes], list[Tensor]] = lambda size: []
    key_width: int | None = None
    undefined: tuple[str, ...] = ()
    extra: str | None = None
    smooth: bool = True
    reference: bool = False


def random(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def score(name: str, make: Callable[..., Any], answer: Callable[..., Any], **rest: Any) -> Case:
    return Case(name, lambda z, *p: {"score": make(*p)}, lambda z, *p: {"score": answer(z, *p)}, **rest)


def bias(name: str, make: Callable[..., Any], answer: Callable[..., Any], **rest: Any) -> Case:
    return Case(name, lambda z, *p: {"bias": make(*p)}, lambda z, *p: _dot(z) | {"bias": answer(z, *p)}, **rest)


def normalizer(name: str, make: Callable[..., Any], answer: Callable[..., Any], **rest: Any) -> Case:
    return Case(
        name, lambda z, *p: {"normalizer": make(*p)}, lambda z, *p: _dot(z) | {"normalizer": answer(*p)}, **rest
    )


@dataclass(frozen=True, eq=False)
class Laplace(Score):
    """A score that a user might write: the negative sum of absolute differences."""

    scale: float | Tensor

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return -self.scale * (query[..., :, None, :] - key[..., None, :, :]).abs().sum(-1)


def _dot(size: Sizes) -> dict[str, Any]:
    return {"score": oracle.dot(size.width**-0.5)}


def _shift(size: Sizes) -> int:
    return size.keys - size.queries


ALIBI = {2: (-4, -8), 6: (-2, -4, -6, -8, -1, -3)}
"""Base-2 logarithms of the paper's slopes, by the number of heads."""


def _slopes(size: Sizes) -> np.ndarray:
    return 2.0 ** np.array(ALIBI[size.heads])


def _one(number: float) -> np.ndarray:
    return np.array(number)


SCORES = (
    score("dot", Dot, lambda z: oracle.dot(z.width**-0.5)),
    score("dot, scale 1", lambda: Dot(scale=1.0), lambda z: oracle.dot(1.0)),
    score("cosine", lambda: Cosine(3.0), lambda z: oracle.cosine(np.full(z.heads, 3.0))),
    score("cosine, learned", Cosine, lambda z, s: oracle.cosine(s), parameters=lambda z: [random(z.heads)]),
    score("bilinear", Bilinear, lambda z, w: oracle.bilinear(w), parameters=lambda z: [random(z.width, z.width)]),
    score(
        "bilinear, per head", Bilinear, lambda z, w: oracle.bilinear(w),
        parameters=lambda z: [random(z.heads, z.width, 3)], key_width=3,
    ),
    score("additive", Additive, lambda z, v: oracle.additive(v), parameters=lambda z: [random(z.width)]),
    score(
        "additive, bias, per head", Additive, lambda z, v, b: oracle.additive(v, b),
        parameters=lambda z: [random(z.heads, z.width), random(z.heads, z.width, seed=8)],
    ),
    score("distance", lambda: Distance(0.1), lambda z: oracle.distance(0.1)),
    score("softcap", lambda: Softcap(Dot(), 0.7), lambda z: oracle.softcap(oracle.dot(z.width**-0.5), 0.7)),
    score(
        "softcap of additive", lambda v: Softcap(Additive(v), 1.3), lambda z, v: oracle.softcap(oracle.additive(v),
        1.3), parameters=lambda z: [random(z.width)],
    ),
)  # fmt: skip

BIASES = (
    bias("bias", lambda b: b, lambda z, b: oracle.dense(b), parameters=lambda z: [random(*z.scores)]),
    bias(
        "bias, per head", lambda b: b, lambda z, b: oracle.dense(b),
        parameters=lambda z: [random(z.heads, 1, z.keys)],
    ),
    bias("bias, per query", lambda b: b, lambda z, b: oracle.dense(b), parameters=lambda z: [random(z.queries, 1)]),
    bias("alibi", ALiBi, lambda z: oracle.alibi(_slopes(z), _shift(z))),
    bias("alibi, learned", ALiBi, lambda z, s: oracle.alibi(s, _shift(z)), parameters=lambda z: [random(z.heads)]),
    bias("alibi, offset", lambda: ALiBi(offset=-1), lambda z: oracle.alibi(_slopes(z), -1)),
    bias(
        "t5", lambda t: RelativeBias(t, max_distance=6), lambda z, t: oracle.t5(t, _shift(z), True, 6),
        parameters=lambda z: [random(z.heads, 8)],
    ),
    bias(
        "t5, unidirectional", lambda t: RelativeBias(t, max_distance=5, bidirectional=False),
        lambda z, t: oracle.t5(t, _shift(z), False, 5), parameters=lambda z: [random(z.heads, 6)],
    ),
    bias(
        "t5, shared, offset", lambda t: RelativeBias(t, offset=1), lambda z, t: oracle.t5(t, 1, True, 128),
        parameters=lambda z: [random(8)],
    ),
    bias(
        "clipped", lambda t: RelativeBias(t, "clipped"), lambda z, t: oracle.clipped(t, _shift(z)),
        parameters=lambda z: [random(z.heads, 5)],
    ),
)  # fmt: skip

NORMALIZERS = (
    normalizer("sink", Softmax, oracle.sink, parameters=lambda z: [random(z.heads)]),
    normalizer("sparsemax", Sparsemax, lambda: oracle.sparsemax, undefined=("lse",)),
    normalizer("entmax", Entmax, lambda: oracle.entmax(_one(1.5)), undefined=("lse",)),
    normalizer("entmax 1.2", lambda: Entmax(1.2), lambda: oracle.entmax(_one(1.2)), undefined=("lse",)),
    normalizer(
        "entmax, learned, per head", lambda a: Entmax(1.1 + 0.8 * torch.sigmoid(a)), lambda a: oracle.entmax(_alpha(a)),
        parameters=lambda z: [random(z.heads)], undefined=("lse",),
    ),
    normalizer(
        "entmax, learned", lambda a: Entmax(1.1 + 0.8 * torch.sigmoid(a)), lambda a: oracle.entmax(_alpha(a)),
        parameters=lambda z: [random(1)[0]], undefined=("lse",),
    ),
    Case(
        "sigmoid", lambda z: {"normalizer": Sigmoid()},
        lambda z: _dot(z) | {"normalizer": oracle.sigmoid(_one(-np.log(max(1, z.keys))))}, undefined=("lse", "entropy"),
    ),
    normalizer(
        "sigmoid, learned", Sigmoid, oracle.sigmoid, parameters=lambda z: [random(z.heads)], undefined=("lse",
        "entropy"),
    ),
    normalizer("topk", lambda: TopK(2), lambda: oracle.topk(2)),
    normalizer("topk, all keys", lambda: TopK(1000), lambda: oracle.topk(1000)),
    normalizer(
        "hard, evaluation", lambda: Hard(training=False), lambda: oracle.hard(_one(1.0), None), extra="log_prob",
        smooth=False,
    ),
    normalizer(
        "hard, gumbel", lambda t: Hard("gumbel", t.exp(), seed=SEED), lambda t: oracle.hard(np.exp(t), SEED),
        parameters=lambda z: [random(z.heads)], extra="log_prob", smooth=False,
    ),
    normalizer(
        "hard, reinforce", lambda: Hard("reinforce", 0.5, seed=SEED), lambda: oracle.hard(_one(0.5), SEED),
        extra="log_prob", smooth=False,
    ),
    normalizer(
        "hard, straight-through", lambda: Hard("straight-through", 2.0), lambda: oracle.hard(_one(2.0), None),
        extra="log_prob", smooth=False,
    ),
    normalizer(
        "variational", lambda: Variational(0.7, seed=SEED),
        lambda: oracle.variational(_one(0.7), lambda *place: 0.0, 1.0, SEED), extra="kl",
    ),
    normalizer(
        "variational, learned", lambda s, m: Variational(s.exp(), m, 2.0, seed=SEED),
        lambda s, m: oracle.variational(np.exp(s), oracle.dense(m), 2.0, SEED),
        parameters=lambda z: [random(z.heads), random(1, z.heads, 1, z.keys)], extra="kl",
    ),
    normalizer(
        "variational, evaluation", lambda: Variational(0.7, 0.3, training=False),
        lambda: oracle.variational(_one(0.7), lambda *place: 0.3, 1.0, None), extra="kl",
    ),
    Case(
        "dropout", lambda z: {"normalizer": Dropout(Softmax(), 0.4, SEED)},
        lambda z: _dot(z) | {"dropout": (0.4, SEED)},
    ),
    Case(
        "dropout of sparsemax", lambda z: {"normalizer": Dropout(Sparsemax(), 0.3, SEED)},
        lambda z: _dot(z) | {"normalizer": oracle.sparsemax, "dropout": (0.3, SEED)}, undefined=("lse",),
    ),
)  # fmt: skip


def _alpha(a: np.ndarray) -> np.ndarray:
    return np.asarray(1.1 + 0.8 / (1 + np.exp(-a)))


TOGETHER = (
    Case(
        "all: softcap, alibi, entmax, dropout",
        lambda z: {"score": Softcap(Dot(1.0), 2.0), "bias": ALiBi(), "normalizer": Dropout(Entmax(), 0.2, SEED)},
        lambda z: {
            "score": oracle.softcap(oracle.dot(1.0), 2.0), "bias": oracle.alibi(_slopes(z),
            _shift(z)), "normalizer": oracle.entmax(_one(1.5)), "dropout": (0.2, SEED),
        },
        undefined=("lse",),
    ),
    Case(
        "all: cosine, t5, sink",
        lambda z, s, t, sink: {"score": Cosine(s), "bias": RelativeBias(t), "normalizer": Softmax(sink)},
        lambda z, s, t, sink: {
            "score": oracle.cosine(s), "bias": oracle.t5(t, _shift(z), True, 128), "normalizer": oracle.sink(sink),
        },
        lambda z: [random(z.heads), random(z.heads, 4), random(z.heads, seed=9)],
    ),
    Case(
        "all: additive, bias, sigmoid",
        lambda z, v, b: {"score": Additive(v), "bias": b, "normalizer": Sigmoid(-1.0)},
        lambda z, v, b: {
            "score": oracle.additive(v), "bias": oracle.dense(b), "normalizer": oracle.sigmoid(_one(-1.0)),
        },
        lambda z: [random(z.width), random(z.heads, z.queries, 1)], undefined=("lse", "entropy"),
    ),
)  # fmt: skip

OWN = (score("own", lambda: Laplace(0.3), lambda z: oracle.laplace(0.3), reference=True),)

CASES = (*SCORES, *BIASES, *NORMALIZERS, *TOGETHER, *OWN)


def inputs(case: Case, size: Sizes = USUAL) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value in float64."""
    z = size
    return (
        random(z.batch, z.heads, z.queries, z.width),
        random(z.batch, z.key_heads, z.keys, case.key_width or z.width, seed=1),
        random(z.batch, z.key_heads, z.keys, z.value_width, seed=2),
    )


def answer(case: Case, q: Tensor, k: Tensor, v: Tensor, parameters: list[Tensor], visible: np.ndarray) -> oracle.Answer:
    """The oracle's result for the same inputs."""
    size = Sizes(q.shape[0], q.shape[1], k.shape[1], q.shape[2], k.shape[2], q.shape[3], v.shape[3])
    arrays = [t.detach().double().numpy() for t in (q, k, v, *parameters)]
    return oracle.attend(arrays[0], arrays[1], arrays[2], visible, **case.answer(size, *arrays[3:]))
