"""Errors of `attention`: the message of each wrong call names the argument and what was expected."""

# Arguments are wrong on purpose.
# mypy: disable-error-code="arg-type, list-item, operator"
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from regard import (
    Additive,
    ALiBi,
    Bilinear,
    BlockSparse,
    Causal,
    Cosine,
    Distance,
    Documents,
    Dot,
    Dropout,
    Entmax,
    Hard,
    Lengths,
    Look,
    Prefix,
    RelativeBias,
    Sigmoid,
    Softcap,
    Softmax,
    Sparsemax,
    TopK,
    Variational,
    View,
    Window,
    attention,
)  # fmt: skip
from regard.attend import Mask

Q = torch.zeros(2, 6, 5, 11)
K = torch.zeros(2, 3, 7, 11)
V = torch.zeros(2, 3, 7, 13)


def call(q: Tensor = Q, k: Tensor = K, v: Tensor = V, **options: Any) -> Callable[[], object]:
    return lambda: attention(q, k, v, **options)


def _view() -> View:
    return attention(Q, K, V, look=Look())[1]


WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (call([[1.0]]), TypeError, "query: expected a tensor, got list"),
    (call(v=None), TypeError, "value: expected a tensor"),
    (call(Q.long()), TypeError, "query: expected float64, float32, bfloat16 or float16, got torch.int64"),
    (call(k=K.double()), TypeError, "key: must have query's dtype torch.float32, got torch.float64"),
    (call(v=V.half()), TypeError, "value: must have query's dtype"),
    (call(Q[0, 0, 0], K[0, 0, 0], V[0, 0, 0]), ValueError, "query: expected 2 to 4 dimensions"),
    (call(Q[None], K[None], V[None]), ValueError, "query: expected 2 to 4 dimensions"),
    (call(k=K[0]), ValueError, "key: must have query's 4 dimensions"),
    (call(v=V[0]), ValueError, "value: must have query's 4 dimensions"),
    (call(k=K[:1]), ValueError, "value: must have key's shape"),
    (call(k=K[:1], v=V[:1]), ValueError, "key: must have query's batch size 2"),
    (call(v=V[:, :, :6]), ValueError, "value: must have key's shape"),
    (call(k=K[:, :1], v=V), ValueError, "value: must have key's shape"),
    (call(Q[:, :5]), ValueError, "key: its number of heads must divide query's 5, got 3"),
    (call(k=K[:, :0], v=V[:, :0]), ValueError, "key: its number of heads must divide query's 6, got 0"),
    (call(k=K.to("meta")), ValueError, "key: is on meta, query on cpu"),
    (call(k=K[..., :10]), ValueError, "key: must be as wide as query for this score, 11, got 10"),
    (call(k=K[..., :10], score=Additive(torch.zeros(11))), ValueError, "key: must be as wide"),
    (call(score="dot"), TypeError, "score: expected a Score, such as Dot"),
    (call(score=Dot), TypeError, "score: expected a Score, such as Dot"),
    (call(score=Dot(scale=float("nan"))), ValueError, "score: Dot.scale must be finite"),
    (call(score=Cosine(float("inf"))), ValueError, "score: Cosine.scale must be finite"),
    (call(score=Cosine(torch.ones(6, device="meta"))), ValueError, "score: Cosine.scale is on meta, query on cpu"),
    (call(score=Cosine(torch.ones(5))), ValueError, r"score: Cosine.scale must have shape \(6,\), got \(5,\)"),
    (call(score=Bilinear(torch.zeros(11, 10))), ValueError, "score: Bilinear.weight must have shape"),
    (call(score=Bilinear(torch.zeros(3, 11, 11))), ValueError, "score: Bilinear.weight must have shape"),
    (call(score=Bilinear(torch.zeros(11, 11).double())), TypeError, "score: Bilinear.weight must have query's dtype"),
    (call(score=Additive(torch.zeros(10))), ValueError, "score: Additive.v must have shape"),
    (call(score=Additive(torch.zeros(3, 11))), ValueError, "score: Additive.v must have shape"),
    (call(score=Additive(torch.zeros(11), torch.zeros(3, 11))), ValueError, "score: Additive.bias must have shape"),
    (call(score=Additive(torch.zeros(11).half())), TypeError, "score: Additive.v must have query's dtype"),
    (call(score=Additive(torch.zeros(11, device="meta"))), ValueError, "score: Additive.v is on meta, query on cpu"),
    (call(normalizer="softmax"), TypeError, "normalizer: expected a Normalizer, such as Softmax"),
    (call(normalizer=Softmax), TypeError, "normalizer: expected a Normalizer"),
    (call(mask="causal"), TypeError, "mask: expected a mask"),
    (call(mask=Causal), TypeError, "mask: expected a mask"),
    (call(mask=torch.ones(5, 7)), TypeError, "mask: expected a mask .* got a tensor of torch.float32"),
    (call(mask=torch.ones(7, 5) > 0), ValueError, r"mask: a boolean mask must broadcast to .* got shape \(7, 5\)"),
    (call(mask=torch.ones(2, 3, 5, 7) > 0), ValueError, "mask: a boolean mask must broadcast"),
    (call(mask=torch.ones(1, 2, 6, 5, 7) > 0), ValueError, "mask: a boolean mask must broadcast"),
    (call(mask=(torch.ones(5, 7) > 0).to("meta")), ValueError, "mask: is on meta, query on cpu"),
    (call(mask=Mask()), TypeError, "mask: Mask must define lower"),
    (call(mask=Lengths(torch.tensor([1, 2, 3]))), ValueError, r"mask: Lengths.keys must have shape \(2,\), got \(3,\)"),
    (call(mask=Lengths(torch.tensor([1.0, 2.0]))), TypeError, "mask: Lengths.keys must be an integer tensor"),
    (call(mask=Lengths([1, 2])), TypeError, "mask: Lengths.keys must be an integer tensor"),
    (call(mask=Lengths(torch.tensor([8, 2]))), ValueError, "mask: Lengths.keys must be from 0 to 7, got"),
    (call(mask=Lengths(torch.tensor([-1, 2]))), ValueError, "mask: Lengths.keys must be from 0 to 7, got"),
    (
        call(mask=Lengths(torch.tensor([7, 2]), torch.tensor([6, 2]))),
        ValueError,
        "mask: Lengths.queries must be from 0",
    ),
    (lambda: Causal() & "x", TypeError, "mask: expected a mask"),
    (call(look=True), TypeError, "look: expected a Look"),
    (call(look=Look(top=8)), ValueError, "look: Look.top must be from 0 to the number of keys, 7, got 8"),
    (call(look=Look(top=-1)), ValueError, "look: Look.top must be from 0"),
    (call(look=Look(rows=[5])), ValueError, "look: Look.rows must be from -5 to 4"),
    (call(look=Look(rows=[[1]])), TypeError, "look: Look.rows must be a slice or whole numbers"),
    (call(look=Look(rows=[0.5])), TypeError, "look: Look.rows must be a slice or whole numbers"),
    (call(look=Look(rows=torch.tensor([True]))), TypeError, "look: Look.rows must be a slice or whole numbers"),
    (call(backend="cuda"), ValueError, "backend: got 'cuda', expected one of cpu, torch, reference, or None"),
]


WRONG += [
    (call(score=Dot(scale="1")), TypeError, "score: Dot.scale must be a number, got '1'"),
    (call(score=Dot(scale=torch.ones(()))), TypeError, "score: Dot.scale must be a number"),
    (call(score=Distance(0.0)), ValueError, "score: Distance.scale must be positive, got 0"),
    (call(score=Distance(-1.0)), ValueError, "score: Distance.scale must be positive"),
    (call(k=K[..., :10], score=Distance()), ValueError, "key: must be as wide"),
    (call(score=Softcap(Dot(), 0.0)), ValueError, "score: Softcap.cap must be positive, got 0"),
    (call(score=Softcap(Dot(), float("inf"))), ValueError, "score: Softcap.cap must be finite"),
    (call(score=Softcap(50.0, Dot())), TypeError, "score: Softcap.score must be a score such as Dot"),
    (call(score=Softcap(Softcap(Dot(), 1.0), 1.0)), TypeError, "score: Softcap.score must be a score"),
    (call(bias="alibi"), TypeError, "bias: expected a tensor, ALiBi"),
    (call(bias=1.0), TypeError, "bias: expected a tensor"),
    (call(bias=torch.ones(5, 7) > 0), TypeError, "bias: got a boolean tensor, which is a mask: give it as mask="),
    (call(bias=torch.ones(7, 5)), ValueError, r"bias: must broadcast to .* got shape \(7, 5\)"),
    (call(bias=torch.ones(1, 2, 6, 5, 7)), ValueError, "bias: must broadcast"),
    (call(bias=torch.ones(5, 7).double()), TypeError, "bias: must have query's dtype torch.float32 or float32"),
    (call(bias=torch.ones(5, 7).long()), TypeError, "bias: must have query's dtype"),
    (call(bias=torch.ones(5, 7, device="meta")), ValueError, "bias: is on meta, query on cpu"),
    (call(bias=ALiBi(torch.ones(3))), ValueError, r"bias: ALiBi.slopes must have shape \(6,\), got \(3,\)"),
    (call(bias=ALiBi([1.0])), TypeError, "bias: ALiBi.slopes must be a tensor"),
    (call(bias=ALiBi(offset=0.5)), TypeError, "bias: ALiBi.offset must be a whole number or None, got 0.5"),
    (call(bias=RelativeBias(torch.ones(3, 8))), ValueError, "bias: RelativeBias.table must have shape"),
    (call(bias=RelativeBias([1.0])), ValueError, "bias: RelativeBias.table must be a tensor"),
    (call(bias=RelativeBias(torch.ones(6, 7))), ValueError, "bias: RelativeBias.table must have an even number"),
    (call(bias=RelativeBias(torch.ones(6, 2))), ValueError, "bias: RelativeBias.table must have an even number"),
    (call(bias=RelativeBias(torch.ones(6, 8), max_distance=2)), ValueError, "bias: RelativeBias.max_distance must be"),
    (call(bias=RelativeBias(torch.ones(6, 8), "clipped")), ValueError, "bias: RelativeBias.table must have 2m"),
    (call(bias=RelativeBias(torch.ones(6, 7), "clipped", 9)), ValueError, "bias: RelativeBias.max_distance is for t5"),
    (
        call(bias=RelativeBias(torch.ones(6, 7), "clipped", bidirectional=True)),
        ValueError,
        "bias: RelativeBias.bidirectional is for t5",
    ),
    (
        call(bias=RelativeBias(torch.ones(6, 8), "log")),
        ValueError,
        "bias: RelativeBias.buckets must be 't5' or 'clipped'",
    ),
    (
        call(mask=Causal(1.5)),
        TypeError,
        "mask: Causal.offset must be a whole number, an integer tensor or None, got 1.5",
    ),
    (call(mask=Causal(torch.tensor([1, 2, 3]))), ValueError, r"mask: Causal.offset must have shape \(2,\), got \(3,\)"),
    (call(mask=Causal(torch.tensor([1.0, 2.0]))), TypeError, "mask: Causal.offset must be an integer tensor"),
    (call(mask=Window(-1, 0)), ValueError, "mask: Window.left must not be negative, got -1"),
    (call(mask=Window(0, -1)), ValueError, "mask: Window.right must not be negative"),
    (call(mask=Window(1.0, 0)), TypeError, "mask: Window.left must be a whole number or None"),
    (call(mask=Window(0, 0, "x")), TypeError, "mask: Window.offset must be a whole number"),
    (call(mask=Prefix(8)), ValueError, "mask: Prefix.keys must be from 0 to 7, got 8"),
    (call(mask=Prefix(-1)), ValueError, "mask: Prefix.keys must be from 0 to 7"),
    (call(mask=Prefix(True)), TypeError, "mask: Prefix.keys must be a whole number or an integer tensor"),
    (call(mask=Prefix(torch.tensor([1]))), ValueError, r"mask: Prefix.keys must have shape \(2,\)"),
    (call(mask=Documents(torch.zeros(6).long())), ValueError, "mask: Documents.keys must have shape"),
    (call(mask=Documents(torch.zeros(7))), TypeError, "mask: Documents.keys must be an integer tensor"),
    (
        call(mask=Documents(torch.zeros(7).long(), torch.zeros(7).long())),
        ValueError,
        "mask: Documents.queries must have",
    ),
    (
        call(mask=Documents(torch.tensor([0, 1, 0, 1, 0, 1, 0]), packed=True)),
        ValueError,
        "mask: Documents.packed is True",
    ),
    (
        call(torch.zeros(2, 6, 9, 11), mask=Documents(torch.zeros(7).long())),
        ValueError,
        "mask: Documents.queries must be given",
    ),
    (call(mask=BlockSparse(torch.ones(2, 2) > 0, 2)), ValueError, r"mask: BlockSparse.layout must have shape \(3, 4\)"),
    (call(mask=BlockSparse(torch.ones(3, 4), 2)), TypeError, "mask: BlockSparse.layout must be a boolean tensor"),
    (call(mask=BlockSparse(torch.ones(3, 4) > 0, 0)), ValueError, "mask: BlockSparse.size must be a whole number"),
    (call(mask=BlockSparse(torch.ones(3, 3, 4) > 0, 2)), ValueError, "mask: BlockSparse.layout must have shape"),
    (lambda: ~Causal() | 3, TypeError, "mask: expected a mask"),
    (call(normalizer=Softmax(torch.ones(5))), ValueError, r"normalizer: Softmax.sink must have shape \(6,\)"),
    (call(normalizer=Softmax(1.0)), TypeError, "normalizer: Softmax.sink must be a tensor"),
    (call(normalizer=Softmax(torch.ones(6).double())), TypeError, "normalizer: Softmax.sink must have query's dtype"),
    (call(normalizer=Softmax(torch.ones(6, device="meta"))), ValueError, "normalizer: Softmax.sink is on meta"),
    (call(normalizer=Entmax(1.0)), ValueError, r"normalizer: Entmax.alpha must be above 1 \(which is Softmax\)"),
    (call(normalizer=Entmax(2.5)), ValueError, "normalizer: Entmax.alpha must be above 1"),
    (call(normalizer=Entmax("1.5")), TypeError, "normalizer: Entmax.alpha must be a number"),
    (call(normalizer=Entmax(torch.tensor(0.9))), ValueError, "normalizer: Entmax.alpha must be above 1 and at most 2"),
    (call(normalizer=Entmax(torch.ones(3))), ValueError, r"normalizer: Entmax.alpha must have shape \(\) or \(6,\)"),
    (call(normalizer=Sigmoid(float("nan"))), ValueError, "normalizer: Sigmoid.bias must be finite"),
    (call(normalizer=Sigmoid(torch.ones(2))), ValueError, "normalizer: Sigmoid.bias must have shape"),
    (call(normalizer=TopK(0)), ValueError, "normalizer: TopK.k must be at least 1, got 0"),
    (call(normalizer=TopK(1.5)), TypeError, "normalizer: TopK.k must be a whole number, got 1.5"),
    (call(normalizer=Hard("relax")), ValueError, "normalizer: Hard.estimator must be one of gumbel, reinforce"),
    (call(normalizer=Hard(temperature=0.0)), ValueError, "normalizer: Hard.temperature must be positive, got 0"),
    (call(normalizer=Hard(seed=-1)), ValueError, "normalizer: Hard.seed must be from 0"),
    (call(normalizer=Hard(seed=0.5)), TypeError, "normalizer: Hard.seed must be a whole number"),
    (call(normalizer=Hard(seed=torch.tensor(0.5))), TypeError, "normalizer: Hard.seed must be an int64 scalar"),
    (call(normalizer=Variational(-1.0)), ValueError, "normalizer: Variational.scale must be positive, got -1"),
    (call(normalizer=Variational(torch.tensor(-1.0))), ValueError, "normalizer: Variational.scale must be positive"),
    (call(normalizer=Variational(prior_scale=0.0)), ValueError, "normalizer: Variational.prior_scale must be positive"),
    (
        call(normalizer=Variational(prior_mean=torch.ones(3))),
        ValueError,
        "normalizer: Variational.prior_mean must broad",
    ),
    (call(normalizer=Variational(prior_mean="0")), TypeError, "normalizer: Variational.prior_mean must be a number"),
    (call(normalizer=Dropout(Softmax(), 1.0)), ValueError, "normalizer: Dropout.p must be at least 0 and below 1"),
    (call(normalizer=Dropout(Softmax(), -0.1)), ValueError, "normalizer: Dropout.p must be at least 0"),
    (call(normalizer=Dropout(0.1, Softmax())), TypeError, "normalizer: Dropout.normalizer must be one such as Softmax"),
    (call(normalizer=Dropout(Softmax(), 0.1, seed="a")), TypeError, "normalizer: Dropout.seed must be a whole number"),
    (call(look=Look(top=1.5)), TypeError, "look: Look.top must be a whole number, got 1.5"),
    (call(look=Look(map=(0, 3))), ValueError, r"look: Look.map must be from \(1, 1\) to \(5, 7\), got \(0, 3\)"),
    (call(look=Look(map=(5, 8))), ValueError, "look: Look.map must be from"),
    (lambda: _view().pool([0], [1], (1, 2)), ValueError, r"size must be from \(1, 1\) to \(1, 1\), got"),
    (lambda: _view().pool([0], [9], (1, 1)), ValueError, "keys must be from"),
    (call(look=Look(map=4)), TypeError, r"look: Look.map must be \(rows, columns\)"),
    (call(look=Look(rows="all")), TypeError, "look: Look.rows must be a slice or whole numbers"),
    (call(look=Look(norms=torch.ones(6, 11, 2))), ValueError, r"look: Look.norms must have shape \(6, 13, D\)"),
    (call(look=Look(kl=True)), ValueError, "look: Look.kl is not defined here: only Variational has a prior"),
    (call(look=Look(log_prob=True)), ValueError, "look: Look.log_prob is not defined here: only Hard chooses one key"),
    (
        call(look=Look(entropy=True), normalizer=Sigmoid()),
        ValueError,
        "look: Look.entropy is not defined here: the weights",
    ),
    (call(look=Look(lse=True), normalizer=Sigmoid()), ValueError, "look: Look.lse is not defined here"),
    (
        call(look=Look(lse=True), normalizer=Sparsemax()),
        ValueError,
        "look: Look.lse is not defined here: Sparsemax and",
    ),
    (call(backend="torch"), ValueError, "backend: none can run this call .torch: PyTorch's kernel needs value as wide"),
    (call(backend="torch", normalizer=Sparsemax()), ValueError, "torch: PyTorch's kernel has softmax only, not entmax"),
]


@pytest.mark.parametrize(("wrong", "kind", "text"), WRONG, ids=[f"{i}: {row[2][:40]}" for i, row in enumerate(WRONG)])
def test_errors_name_the_wrong_argument(wrong: Callable[[], object], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        wrong()
