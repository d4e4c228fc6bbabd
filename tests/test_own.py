"""Scores, biases and normalizers that a user defines."""

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

from masks import MASKS, visible
from mechanisms import CASES, USUAL, Laplace, inputs, random
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
    """Softmax with a learned base."""

    base: Tensor

    def weights(self, scores: Tensor) -> Tensor:
        powers = self.base ** (scores - scores.detach().amax(-1, keepdim=True))
        return powers / powers.sum(-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Nearest(Bias):
    """A learned reward for keys at a distance of at most one."""

    reward: Tensor

    def values(self, shape: tuple[int, int, int, int], query: Tensor) -> Tensor:
        rows, columns = (torch.arange(length) for length in shape[2:])
        return self.reward * ((rows[:, None] - columns).abs() <= 1)


def _formula(tensors: list[Tensor], mask: str, scale: Tensor, base: Tensor, reward: Tensor) -> tuple[Tensor, Tensor]:
    """Output and weights with `Laplace`, `Nearest` and `Powers` together."""
    query, key, value = tensors
    key, value = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
    scores = -scale * (query[:, :, :, None] - key[:, :, None]).abs().sum(-1)
    distances = (torch.arange(scores.shape[2])[:, None] - torch.arange(scores.shape[3])).abs()
    scores = scores + reward * (distances <= 1)
    allowed = torch.from_numpy(visible(mask, USUAL))
    weights = torch.softmax(scores.masked_fill(~allowed, -1e30) * base.log(), -1) * allowed
    return weights @ value, weights


@pytest.mark.parametrize("mask", ["none", "causal", "lengths of both", "boolean", "blocks"])
def test_own_mechanisms_match_the_formula_with_gradients_and_looks(mask: str) -> None:
    tensors = [tensor.requires_grad_() for tensor in inputs(CASE)]
    scale, base, reward = (torch.tensor(x, dtype=torch.float64).requires_grad_() for x in (0.3, 2.5, 0.7))
    leaves = [*tensors, scale, base, reward]
    options: dict[str, Any] = {"mask": MASKS[mask].make(USUAL)}
    output, view = attention(
        *tensors, score=Laplace(scale), bias=Nearest(reward), normalizer=Powers(base), **options,
        look=Look(entropy=True, received=True, top=2, rows=[0, 3]),
    )  # fmt: skip
    expected, weights = _formula(tensors, mask, scale, base, reward)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(view.rows, weights[:, :, [0, 3]])
    torch.testing.assert_close(view.received, weights.sum(2).detach())
    torch.testing.assert_close(view.entropy, torch.special.entr(weights).sum(-1).detach())
    torch.testing.assert_close(view.tile([1], [2, 4]), weights[:, :, [1]][..., [2, 4]].detach())
    assert not view.entropy.requires_grad
    assert not view.tile([1], [2]).requires_grad
    losses = [
        result.square().sum() + rows.square().sum()
        for result, rows in ((output, view.rows), (expected, weights[:, :, [0, 3]]))
    ]
    torch.testing.assert_close(*(torch.autograd.grad(loss, leaves) for loss in losses))


def test_masked_keys_have_no_influence_on_an_own_score() -> None:
    query, key, value = (tensor.requires_grad_() for tensor in inputs(CASE))
    mask = torch.ones(USUAL.keys, dtype=torch.bool)
    mask[3] = False
    with_nan = [tensor.detach().clone() for tensor in (key, value)]
    for tensor in with_nan:
        tensor[:, :, 3] = torch.nan
        tensor.requires_grad_()
    results = []
    for k, v in ((key, value), with_nan):
        output = attention(query, k, v, score=Laplace(0.3), normalizer=Powers(torch.tensor(2.0)), mask=mask)
        results.append((output, *torch.autograd.grad(output.sum(), (query, k, v))))
    torch.testing.assert_close(*results)


COMBINED: dict[str, dict[str, Any]] = {
    "within a softcap": {"score": Softcap(Laplace(0.3), 2.0)},
    "with entmax": {"score": Laplace(0.3), "normalizer": Entmax(1.5)},
    "with a sink and ALiBi": {"score": Laplace(0.3), "normalizer": Softmax(torch.ones(6)), "bias": ALiBi()},
    "within dropout": {"normalizer": Dropout(Powers(torch.tensor(2.0)), 0.3, 5)},
}


@pytest.mark.parametrize("name", COMBINED)
def test_own_mechanisms_with_built_in_parts(name: str) -> None:
    """The result is that of built-in parts alone which compute the same scores or weights."""
    query, key, value = (tensor.float() for tensor in inputs(CASE))
    options = COMBINED[name]
    score = options.get("score")
    output = attention(query, key, value, **options)
    if score is None:
        expected = attention(query, key, value, normalizer=Dropout(Softmax(), 0.3, 5), score=_TimesLog2())
        torch.testing.assert_close(output, expected)
        return
    capped = isinstance(score, Softcap)
    inner = score.score if capped else score
    scores = inner.scores(query, key.repeat_interleave(2, 1))
    scores = torch.tanh(scores / 2.0) * 2.0 if capped else scores
    others = {name: option for name, option in options.items() if name not in ("score", "bias")}
    bias = scores
    if "bias" in options:
        slopes = 2.0 ** torch.tensor([-2.0, -4, -6, -8, -1, -3])
        distances = (torch.arange(5)[:, None] + 2 - torch.arange(7)).abs()
        bias = scores - slopes[:, None, None] * distances
    torch.testing.assert_close(output, attention(torch.zeros_like(query), key, value, bias=bias, **others))


@dataclass(frozen=True, eq=False)
class _TimesLog2(Score):
    """The dot product times ln 2. Its softmax is that of the dot product with base 2."""

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT * query.shape[-1] ** -0.5 * torch.tensor(2.0).log()


def test_other_backends_refuse_and_name_the_classes(capsys: pytest.CaptureFixture[str]) -> None:
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
    mechanism = type("Wrong", (base,), {method: function} if function else {})
    WRONG[f"{argument}, {error[:30]}"] = ({argument: mechanism()}, ValueError if function else TypeError, error)


_wrong(Score, "scores", None, "score", r"score: Wrong must define scores\(self, query, key\)")
_wrong(Score, "scores", lambda self, q, k: q, "score", r"score: its function scores must return .* \(2, 6, 5, 7\), got")
_wrong(Normalizer, "weights", None, "normalizer", r"normalizer: Wrong must define weights\(self, scores\)")
_wrong(Normalizer, "weights", lambda self, s: 1.0, "normalizer", r"weights must return .* \(2, 6, 5, 7\), got float")
_wrong(Bias, "values", None, "bias", r"bias: Wrong must define values\(self, shape, query\)")
_wrong(Bias, "values", lambda self, z, q: torch.ones(3), "bias", r"bias: Wrong.values must broadcast to .*, got shape")


@pytest.mark.parametrize("name", WRONG)
def test_incomplete_own_mechanisms_are_refused(name: str) -> None:
    options, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        attention(*inputs(CASE), **options)


def test_own_mechanisms_under_transforms_compilers_layers_and_autocast() -> None:
    query, key, value = (tensor.float() for tensor in inputs(CASE))
    options: dict[str, Any] = {"score": Laplace(0.3), "normalizer": Powers(torch.tensor(2.0)), "mask": Causal()}
    expected = attention(query, key, value, **options)
    mapped = torch.vmap(lambda q, k, v: attention(q, k, v, **options))(query, key, value)
    torch.testing.assert_close(mapped, expected)
    torch.compiler.reset()
    compiled = torch.compile(lambda q, k, v: attention(q, k, v, **options), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(query, key, value), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(attention(query, key, value, **options).float(), expected, atol=0.1, rtol=0.1)
    layer = MultiHeadAttention(12, 2, score=Laplace(0.3), normalizer=Powers(torch.tensor(2.0)))
    assert layer(random(2, 5, 12).float(), mask=Causal())[0].isfinite().all()


def test_a_view_of_an_own_mechanism_can_be_copied_and_pickled() -> None:
    view = attention(*inputs(CASE), score=Laplace(0.3), look=Look(entropy=True))[1]
    for copied in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        torch.testing.assert_close(copied.tile([1], [2]), view.tile([1], [2]))


def test_the_examples_in_the_documentation_of_own_mechanisms_run() -> None:
    page = Path(__file__).parents[1] / "docs" / "own_mechanism.md"
    blocks = re.findall(r"```pycon\n(.*?)```", page.read_text(), re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)
    assert len(test.examples) >= 15
    assert doctest.DocTestRunner().run(test).failed == 0
