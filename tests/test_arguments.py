"""Wrong calls of `attention`: each names its argument."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from regard import Additive, Bilinear, Causal, Cosine, Dot, Lengths, Look, attention
from regard.attend import Mask

Q = torch.zeros(2, 6, 5, 11)
K = torch.zeros(2, 3, 7, 11)
V = torch.zeros(2, 3, 7, 13)


def call(q: Tensor = Q, k: Tensor = K, v: Tensor = V, **options: object) -> Callable[[], object]:
    return lambda: attention(q, k, v, **options)


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
    (call(score="dot"), TypeError, "score: expected Dot"),
    (call(score=Dot), TypeError, "score: expected Dot"),
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
    (call(normalizer="softmax"), TypeError, "normalizer: expected Softmax"),
    (call(mask="causal"), TypeError, "mask: expected a mask"),
    (call(mask=Causal), TypeError, "mask: expected a mask"),
    (call(mask=torch.ones(5, 7)), TypeError, "mask: expected a mask .* got a tensor of torch.float32"),
    (call(mask=torch.ones(7, 5) > 0), ValueError, r"mask: a boolean mask must broadcast to .* got shape \(7, 5\)"),
    (call(mask=torch.ones(2, 3, 5, 7) > 0), ValueError, "mask: a boolean mask must broadcast"),
    (call(mask=torch.ones(1, 2, 6, 5, 7) > 0), ValueError, "mask: a boolean mask must broadcast"),
    (call(mask=(torch.ones(5, 7) > 0).to("meta")), ValueError, "mask: is on meta, query on cpu"),
    (call(mask=Mask()), TypeError, "mask: Mask is not a mask of its own"),
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
    (call(backend="cuda"), ValueError, "backend: got 'cuda', expected one of reference, or None"),
]


@pytest.mark.parametrize(("wrong", "kind", "text"), WRONG, ids=[f"{i}: {row[2][:40]}" for i, row in enumerate(WRONG)])
def test_wrong_calls_name_their_argument(wrong: Callable[[], object], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        wrong()
