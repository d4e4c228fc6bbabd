"""Scores, biases and normalizers of a user's own."""

from __future__ import annotations

import copy
import doctest
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from masks import MASKS
from mechanisms import CASES, USUAL, Laplace, Sizes, inputs, random
from regard import (
    ALiBi,
    Bias,
    Causal,
    Dropout,
    Entmax,
    Look,
    Normalizer,
    Score,
    Softcap,
    Softmax,
    attention,
    explain_choice,
)  # fmt: skip
from regard.nn import MultiHeadAttention

CASE = CASES[0]


@dataclass(frozen=True, eq=False)
class Powers(Normalizer):
    """Softmax with a learned base, written by hand."""

    base: Tensor

    def weights(self, scores: Tensor) -> Tensor:
        whole = self.base ** (scores - scores.detach().amax(-1, keepdim=True))
        return whole / whole.sum(-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Nearest(Bias):
    """A learned reward for the keys at most one away."""

    reward: Tensor

    def values(self, shape: tuple[int, int, int, int], query: Tensor) -> Tensor:
        rows, columns = (torch.arange(length) for length in shape[2:])
        return self.reward * ((rows[:, None] - columns).abs() <= 1)


def _visible(mask: str, size: Sizes = USUAL) -> Tensor | None:
    made = MASKS[mask].make(size)
    return made if made is None or isinstance(made, Tensor) else made.lower(size.scores, torch.device("cpu")).whole(
        size.scores, torch.device("cpu")
    )  # fmt: skip


def _by_hand(tensors: list[Tensor], mask: str, scale: Tensor, base: Tensor, reward: Tensor) -> tuple[Tensor, Tensor]:
    """Output and weights of all three together, with every pair written out."""
    query, key, value = tensors
    key, value = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
    whole = -scale * (query[:, :, :, None] - key[:, :, None]).abs().sum(-1)
    places = torch.arange(whole.shape[2])[:, None] - torch.arange(whole.shape[3])
    whole = whole + reward * (places.abs() <= 1)
    visible = _visible(mask)
    if visible is not None:
        whole = whole.masked_fill(~visible, -1e30)
    weights = torch.softmax(whole * base.log(), -1)
    weights = weights if visible is None else weights * visible
    return weights @ value, weights


@pytest.mark.parametrize("mask", ["none", "causal", "lengths of both", "boolean", "blocks"])
def test_own_mechanisms_are_the_expression_with_gradients_and_looks(mask: str) -> None:
    tensors = [tensor.requires_grad_() for tensor in inputs(CASE)]
    scale, base, reward = (torch.tensor(x, dtype=torch.float64).requires_grad_() for x in (0.3, 2.5, 0.7))
    leaves = [*tensors, scale, base, reward]
    options: dict[str, Any] = {"mask": MASKS[mask].make(USUAL)}
    output, view = attention(
        *tensors, score=Laplace(scale), bias=Nearest(reward), normalizer=Powers(base), **options,
        look=Look(entropy=True, received=True, top=2, rows=[0, 3]),
    )  # fmt: skip
    wanted, weights = _by_hand(tensors, mask, scale, base, reward)
    torch.testing.assert_close(output, wanted)
    torch.testing.assert_close(view.rows, weights[:, :, [0, 3]])
    torch.testing.assert_close(view.received, weights.sum(2).detach())
    torch.testing.assert_close(view.entropy, torch.special.entr(weights).sum(-1).detach())
    torch.testing.assert_close(view.tile([1], [2, 4]), weights[:, :, [1]][..., [2, 4]].detach())
    assert not view.entropy.requires_grad
    assert not view.tile([1], [2]).requires_grad
    loss = [
        found.square().sum() + shown.square().sum()
        for found, shown in ((output, view.rows), (wanted, weights[:, :, [0, 3]]))
    ]
    torch.testing.assert_close(*(torch.autograd.grad(one, leaves) for one in loss))


def test_what_is_hidden_does_not_reach_an_own_score() -> None:
    query, key, value = (tensor.requires_grad_() for tensor in inputs(CASE))
    hidden = torch.ones(USUAL.keys, dtype=torch.bool)
    hidden[3] = False
    spoilt = [tensor.detach().clone() for tensor in (key, value)]
    for tensor in spoilt:
        tensor[:, :, 3] = torch.nan
        tensor.requires_grad_()
    results = []
    for k, v in ((key, value), spoilt):
        output = attention(query, k, v, score=Laplace(0.3), normalizer=Powers(torch.tensor(2.0)), mask=hidden)
        results.append((output, *torch.autograd.grad(output.sum(), (query, k, v))))
    torch.testing.assert_close(*results)


COMBINED: dict[str, dict[str, Any]] = {
    "within a softcap": {"score": Softcap(Laplace(0.3), 2.0)},
    "with entmax": {"score": Laplace(0.3), "normalizer": Entmax(1.5)},
    "with a sink and ALiBi": {"score": Laplace(0.3), "normalizer": Softmax(torch.ones(6)), "bias": ALiBi()},
    "within dropout": {"normalizer": Dropout(Powers(torch.tensor(2.0)), 0.3, 5)},
}


@pytest.mark.parametrize("name", COMBINED)
def test_own_mechanisms_combine(name: str) -> None:
    """Each query alone gives what it gives among the others, or what built-in parts give of the same scores."""
    query, key, value = (tensor.float() for tensor in inputs(CASE))
    options = COMBINED[name]
    given = options.get("score")
    output = attention(query, key, value, **options)
    if given is None:
        kept = attention(query, key, value, normalizer=Dropout(Softmax(), 0.3, 5), score=_Halved())
        torch.testing.assert_close(output, kept)
        return
    capped = isinstance(given, Softcap)
    inner = given.score if capped else given
    written = inner.scores(query, key.repeat_interleave(2, 1))
    written = torch.tanh(written / 2.0) * 2.0 if capped else written
    rest = {name: option for name, option in options.items() if name not in ("score", "bias")}
    bias = written
    if "bias" in options:
        slopes = 2.0 ** torch.tensor([-2.0, -4, -6, -8, -1, -3])
        places = torch.arange(5)[:, None] + 2 - torch.arange(7)
        bias = written - slopes[:, None, None] * places.abs()
    torch.testing.assert_close(output, attention(torch.zeros_like(query), key, value, bias=bias, **rest))


@dataclass(frozen=True, eq=False)
class _Halved(Score):
    """The dot product times ln 2: to base e what the plain one is to base 2."""

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT * query.shape[-1] ** -0.5 * torch.tensor(2.0).log()


def test_the_other_backends_refuse_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    query, key, value = (tensor.float() for tensor in inputs(CASE))
    own: dict[str, Any] = {"score": Laplace(1.0), "normalizer": Powers(torch.tensor(2.0))}
    choice = explain_choice(query, key, value, **own)
    assert choice.chosen == "reference"
    assert choice.reasons == {
        "cpu": "the C++ kernels cannot call the Python function of Laplace and Powers",
        "torch": "PyTorch's kernel cannot call the Python function of Laplace and Powers",
        "reference": None,
    }
    assert "Laplace" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"backend: none can .*the Python function of Laplace and Powers"):
        attention(query, key, value, backend="cpu", **own)
    assert explain_choice(query, key, value, bias=Nearest(torch.tensor(1.0))).chosen == "cpu"


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {}


def _wrong(base: type, method: str, function: Callable[..., Any] | None, argument: str, error: str) -> None:
    made = type("Wrong", (base,), {method: function} if function else {})
    WRONG[f"{argument}, {error[:30]}"] = ({argument: made()}, ValueError if function else TypeError, error)


_wrong(Score, "scores", None, "score", r"score: Wrong must define scores\(self, query, key\)")
_wrong(Score, "scores", lambda self, q, k: q, "score", r"score: its function scores must return .* \(2, 6, 5, 7\), got")
_wrong(Normalizer, "weights", None, "normalizer", r"normalizer: Wrong must define weights\(self, scores\)")
_wrong(Normalizer, "weights", lambda self, s: 1.0, "normalizer", r"weights must return .* \(2, 6, 5, 7\), got float")
_wrong(Bias, "values", None, "bias", r"bias: Wrong must define values\(self, shape, query\)")
_wrong(Bias, "values", lambda self, z, q: torch.ones(3), "bias", r"bias: Wrong.values must broadcast to .*, got shape")


@pytest.mark.parametrize("name", WRONG)
def test_what_an_own_mechanism_lacks_is_named(name: str) -> None:
    options, error, text = WRONG[name]
    with pytest.raises(error, match=text):
        attention(*inputs(CASE), **options)


def test_own_mechanisms_under_transforms_compilers_layers_and_autocast() -> None:
    query, key, value = (tensor.float() for tensor in inputs(CASE))
    options: dict[str, Any] = {"score": Laplace(0.3), "normalizer": Powers(torch.tensor(2.0)), "mask": Causal()}
    wanted = attention(query, key, value, **options)
    mapped = torch.vmap(lambda q, k, v: attention(q, k, v, **options))(query, key, value)
    torch.testing.assert_close(mapped, wanted)
    torch.compiler.reset()
    compiled = torch.compile(lambda q, k, v: attention(q, k, v, **options), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(query, key, value), wanted)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(attention(query, key, value, **options).float(), wanted, atol=0.1, rtol=0.1)
    layer = MultiHeadAttention(12, 2, score=Laplace(0.3), normalizer=Powers(torch.tensor(2.0)))
    assert layer(random(2, 5, 12).float(), mask=Causal())[0].isfinite().all()


def test_a_view_of_an_own_mechanism_is_copied_and_pickled() -> None:
    view = attention(*inputs(CASE), score=Laplace(0.3), look=Look(entropy=True))[1]
    for other in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        torch.testing.assert_close(other.tile([1], [2]), view.tile([1], [2]))


def test_the_page_on_own_mechanisms_runs() -> None:
    page = Path(__file__).parents[1] / "docs" / "own_mechanism.md"
    blocks = re.findall(r"```pycon\n(.*?)```", page.read_text(), re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)
    assert len(test.examples) >= 15
    assert doctest.DocTestRunner().run(test).failed == 0
