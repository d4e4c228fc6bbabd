"""Tests of `attention` that do not depend on the mechanism: shapes, views, masks, graphs, the choice of a backend."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import mechanisms
from mechanisms import CASES, USUAL
from regard import (
    Additive,
    ALiBi,
    Causal,
    Cosine,
    Documents,
    Dropout,
    Entmax,
    Hard,
    Look,
    Prefix,
    Softmax,
    Sparsemax,
    Window,
    attention,
    explain_choice,
    use_backend,
)
from regard.attend.attention import lower
from regard.kernels import backends
from regard.kernels.backends import BACKENDS, Backend, choose
from regard.kernels.cpu import library
from regard.kernels.plan import Plan

Q, K, V = mechanisms.inputs(CASES[0])
BY_NAME = {backend.name: backend for backend in BACKENDS}


@pytest.mark.parametrize("rank", [2, 3])
def test_inputs_without_batch_or_heads_give_results_without_them(rank: int) -> None:
    size = USUAL._replace(key_heads=USUAL.heads)
    q, k, v = (t[(0,) * (4 - rank)] for t in mechanisms.inputs(CASES[0], size))
    full = attention(*(t[(None,) * (4 - rank)] for t in (q, k, v)), mask=Causal())
    output, view = attention(q, k, v, mask=Causal(), look=Look(received=True, top=2))
    assert torch.equal(output, full[(0,) * (4 - rank)])
    assert view.received.shape == (*q.shape[:-2], USUAL.keys)
    assert view.top.keys.shape == (*q.shape[:-2], USUAL.queries, 2)
    assert view.tile([1]).shape == (*q.shape[:-2], 1, USUAL.keys)


def test_a_view_has_only_the_requested_fields() -> None:
    _, view = attention(Q, K, V, look=Look(entropy=True))
    assert not view.entropy.requires_grad
    with pytest.raises(AttributeError, match=r"request it with look=Look\(received=True\)"):
        _ = view.received
    assert repr(view) == "View(entropy (2, 6, 5))"


def test_norms_of_projected_values() -> None:
    projection = mechanisms.random(USUAL.heads, USUAL.value_width, 3)
    _, view = attention(Q, K, V, look=Look(norms=projection, rows=slice(None)))
    value = V.repeat_interleave(2, 1)
    expected = torch.stack([(value[:, h] @ projection[h]).norm(dim=-1) for h in range(USUAL.heads)], 1)
    torch.testing.assert_close(view.norms.value, expected)
    torch.testing.assert_close(view.norms.received, (view.rows * expected[..., None, :]).sum(2))


def test_additive_keeps_its_precision_under_autocast() -> None:
    q, k, v = (t.float() for t in (Q, K, V))
    score = Additive(torch.ones(USUAL.width))
    with torch.autocast("cpu", torch.bfloat16):
        output = attention(q.bfloat16(), k, v, score=score)
    torch.testing.assert_close(output, attention(q.bfloat16().float(), k, v, score=score))


def test_masks_become_intervals_where_possible() -> None:
    packed = torch.tensor([0, 0, 1, 1, 1, 4, 4])
    mask = Documents(packed) & Causal()
    plan, _ = lower(Q, K, V, mask=mask)
    assert plan.visible is None
    assert plan.start.tolist() == [[[2, 2, 2, 5, 5]]]
    assert plan.end.tolist() == [[[3, 4, 5, 6, 7]]]
    assert lower(Q, K, V, mask=Causal() | Causal(1))[0].visible is None
    assert lower(Q, K, V, mask=~Causal())[0].start.tolist() == [[[3, 4, 5, 6, 7]]]
    assert lower(Q, K, V, mask=Documents(packed.flip(0) % 2))[0].visible is not None


@pytest.mark.parametrize(
    "options",
    [
        {"mask": Causal()},
        {"bias": ALiBi(), "normalizer": Entmax(1.5)},
        {"mask": Window(3, 0) | Prefix(2), "normalizer": Dropout(Softmax(), 0.1, seed=3)},
        {"score": Cosine(3.0), "normalizer": Hard("gumbel", seed=3)},
    ],
    ids=["causal", "alibi, entmax", "window, dropout", "hard"],
)
def test_one_graph_runs_inputs_of_every_length(options: dict[str, Any]) -> None:
    torch.compiler.reset()

    class Call(torch.nn.Module):
        def forward(self, q: Tensor) -> Tensor:
            return attention(q, q, q, **options)

    call, inputs = Call(), [torch.randn(2, 4, length, 16) for length in (9, 20, 31)]
    compiled = torch.compile(call, fullgraph=True, dynamic=True, backend="aot_eager")
    exported = torch.export.export(call, (inputs[0],), dynamic_shapes=({2: torch.export.Dim("L", min=2, max=512)},))
    for q in inputs:
        torch.testing.assert_close(compiled(q), call(q))
        torch.testing.assert_close(exported.module()(q), call(q))


def test_opcheck() -> None:
    leaves = [t.requires_grad_() for t in mechanisms.inputs(CASES[0])]
    plan, _ = lower(*leaves, mask=Causal())
    arguments = [*leaves, *(getattr(plan, name) for name in backends._FIELDS[3:])]
    results = torch.library.opcheck(torch.ops.regard.attention.default, (*arguments, True, False, "reference"))
    assert set(results.values()) == {"SUCCESS"}


def test_the_first_backend_that_accepts_is_chosen_and_a_named_one_has_no_fallback() -> None:
    plan = Plan(Q, K, V)
    reference = BY_NAME["reference"]
    refusing = Backend("refusing", "", lambda plan: "cannot run it", reference.run)
    accepting = Backend("accepting", "", lambda plan: None, reference.run)
    assert choose(plan, None, (refusing, accepting, reference)) is accepting
    assert choose(plan, "reference", (refusing, accepting, reference)) is reference
    with pytest.raises(ValueError, match="refusing: cannot run it"):
        choose(plan, "refusing", (refusing, accepting))
    with pytest.raises(ValueError, match="got 'fast', expected one of refusing, accepting"):
        choose(plan, "fast", (refusing, accepting))


def test_a_backend_can_be_set_by_context_and_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "level", None)  # as on a machine without a compiler
    q, k, v = (t.float()[..., :11] for t in (Q, K, V))
    plan, _ = lower(q, k, v)
    assert choose(plan).name == "torch"
    assert choose(lower(Q, K, V)[0]).name == "reference"
    with use_backend("reference"):
        assert choose(plan).name == "reference"
        assert choose(plan, "torch").name == "torch"
    assert choose(plan).name == "torch"
    monkeypatch.setenv("REGARD_BACKEND", "reference")
    assert choose(plan).name == "reference"
    with use_backend("torch"):
        assert choose(plan).name == "torch"
    monkeypatch.setenv("REGARD_BACKEND", "quick")
    with pytest.raises(ValueError, match="REGARD_BACKEND: got 'quick', expected one of cpu, torch, reference"):
        choose(plan)
    with pytest.raises(ValueError, match="use_backend: got 'quick'"), use_backend("quick"):
        pass


def test_explain_choice_prints_which_backends_refuse_and_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "level", None)
    monkeypatch.setattr(library, "why_none", "not built")
    q, k, v = (t.float()[..., :11] for t in (Q, K, V))
    assert explain_choice(q, k, v, look=Look(lse=True)).chosen == "torch"
    choice = explain_choice(q, k, v, normalizer=Sparsemax())
    assert choice.chosen == "reference"
    assert choice.reasons == {
        "cpu": "not built",
        "torch": "PyTorch's kernel has softmax only, not entmax",
        "reference": None,
    }
    printed = capsys.readouterr().out
    assert "→ torch" in printed
    assert "→ reference  runs this call" in printed
    choice = explain_choice(q, k, v, normalizer=Sparsemax(), backend="torch")
    assert choice.chosen is None
    assert "backend selects torch" in capsys.readouterr().out
    with pytest.raises(ValueError, match="backend: got 'quick'"):
        explain_choice(q, k, v, backend="quick")


@pytest.mark.parametrize("mask", [None, Causal()], ids=["all", "causal"])
def test_forward_mode_derivatives_are_those_of_the_reference(mask: Causal | None) -> None:
    inputs = [torch.randn(2, 5, 8) for _ in range(3)]
    tangents = [torch.randn(2, 5, 8) for _ in range(3)]
    _, expected = torch.autograd.functional.jvp(
        lambda *t: attention(*t, mask=mask, backend="reference"), tuple(inputs), tuple(tangents)
    )
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(x, t) for x, t in zip(inputs, tangents, strict=True)]
        tangent = forward_ad.unpack_dual(attention(*duals, mask=mask)).tangent
    torch.testing.assert_close(tangent, expected)
    transformed = torch.func.jvp(lambda *t: attention(*t, mask=mask), tuple(inputs), tuple(tangents))
    torch.testing.assert_close(transformed[1], expected)
