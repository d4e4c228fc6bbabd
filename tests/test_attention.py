"""What holds of `attention` beside the table of mechanisms."""

from __future__ import annotations

import pytest
import torch

import mechanisms
from mechanisms import CASES, USUAL
from regard import Additive, Causal, Documents, Entmax, Look, Sparsemax, attention, explain_choice, use_backend
from regard.attend.attention import lower
from regard.kernels import backends
from regard.kernels.backends import BACKENDS, Backend, choose
from regard.kernels.plan import Plan

Q, K, V = mechanisms.inputs(CASES[0])
BY_NAME = {backend.name: backend for backend in BACKENDS}


@pytest.mark.parametrize("rank", [2, 3])
def test_missing_leading_dimensions_stay_missing(rank: int) -> None:
    size = USUAL._replace(key_heads=USUAL.heads)
    q, k, v = (t[(0,) * (4 - rank)] for t in mechanisms.inputs(CASES[0], size))
    full = attention(*(t[(None,) * (4 - rank)] for t in (q, k, v)), mask=Causal())
    output, view = attention(q, k, v, mask=Causal(), look=Look(received=True, top=2))
    assert torch.equal(output, full[(0,) * (4 - rank)])
    assert view.received.shape == (*q.shape[:-2], USUAL.keys)
    assert view.top.keys.shape == (*q.shape[:-2], USUAL.queries, 2)
    assert view.tile([1]).shape == (*q.shape[:-2], 1, USUAL.keys)


def test_known_answer_of_pytorch() -> None:
    size = USUAL._replace(key_heads=USUAL.heads)
    q, k, v = mechanisms.inputs(CASES[0], size)
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(attention(q, k, v, mask=Causal(offset=0)), theirs)


def test_a_view_holds_only_what_was_asked() -> None:
    _, view = attention(Q, K, V, look=Look(entropy=True))
    assert not view.entropy.requires_grad
    with pytest.raises(AttributeError, match=r"ask for it with look=Look\(received=True\)"):
        _ = view.received
    assert repr(view) == "View(entropy (2, 6, 5))"


def test_norms_after_a_projection() -> None:
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


def test_masks_lower_to_intervals_where_they_can() -> None:
    packed = torch.tensor([0, 0, 1, 1, 1, 4, 4])
    mask = Documents(packed) & Causal()
    plan, _ = lower(Q, K, V, mask=mask)
    assert plan.visible is None
    assert plan.start.tolist() == [[[2, 2, 2, 5, 5]]]
    assert plan.end.tolist() == [[[3, 4, 5, 6, 7]]]
    assert lower(Q, K, V, mask=Causal() | Causal(1))[0].visible is None
    assert lower(Q, K, V, mask=~Causal())[0].start.tolist() == [[[3, 4, 5, 6, 7]]]
    assert lower(Q, K, V, mask=Documents(packed.flip(0) % 2))[0].visible is not None


@pytest.mark.parametrize("normalizer", [Sparsemax(), Entmax(1.5), Entmax(1.3)], ids=repr)
def test_sparse_normalizers_at_extremes(normalizer: Sparsemax | Entmax) -> None:
    scores = torch.tensor([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0], [-1e30, 1e30, 0.0], [1.0, 1.0, -50.0]])
    key = torch.eye(3)
    weights = attention(scores * 3**0.5, key, key, normalizer=normalizer)
    expected = torch.tensor([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 1, 0], [0.5, 0.5, 0]])
    torch.testing.assert_close(weights, expected)


@pytest.mark.parametrize("length", [3, 100, 2000])
def test_known_answers_of_the_entmax_package(length: int) -> None:
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


def test_opcheck() -> None:
    leaves = [t.requires_grad_() for t in mechanisms.inputs(CASES[0])]
    plan, _ = lower(*leaves, mask=Causal())
    arguments = [*leaves, *(getattr(plan, name) for name in backends._FIELDS[3:])]
    results = torch.library.opcheck(torch.ops.regard.attention.default, (*arguments, True, False, "reference"))
    assert set(results.values()) == {"SUCCESS"}


def test_backends_are_asked_in_order_and_a_named_one_never_falls_back() -> None:
    plan = Plan(Q, K, V)
    reference = BY_NAME["reference"]
    shy = Backend("shy", "", lambda plan: "needs company", reference.run)
    keen = Backend("keen", "", lambda plan: None, reference.run)
    assert choose(plan, None, (shy, keen, reference)) is keen
    assert choose(plan, "reference", (shy, keen, reference)) is reference
    with pytest.raises(ValueError, match="shy: needs company"):
        choose(plan, "shy", (shy, keen))
    with pytest.raises(ValueError, match="got 'fast', expected one of shy, keen"):
        choose(plan, "fast", (shy, keen))
    assert backends.choose(plan) is reference


def test_a_backend_can_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (t.float()[..., :11] for t in (Q, K, V))
    plan, _ = lower(q, k, v)
    assert choose(plan).name == "torch"
    with use_backend("reference"):
        assert choose(plan).name == "reference"
        assert choose(plan, "torch").name == "torch"
    assert choose(plan).name == "torch"
    monkeypatch.setenv("REGARD_BACKEND", "reference")
    assert choose(plan).name == "reference"
    with use_backend("torch"):
        assert choose(plan).name == "torch"
    monkeypatch.setenv("REGARD_BACKEND", "quick")
    with pytest.raises(ValueError, match="REGARD_BACKEND: got 'quick', expected one of torch, reference"):
        choose(plan)
    with pytest.raises(ValueError, match="use_backend: got 'quick'"), use_backend("quick"):
        pass


def test_explain_choice_tells_who_refuses_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    q, k, v = (t.float()[..., :11] for t in (Q, K, V))
    assert explain_choice(q, k, v, look=Look(lse=True)).chosen == "torch"
    choice = explain_choice(q, k, v, normalizer=Sparsemax())
    assert choice.chosen == "reference"
    assert choice.reasons == {"torch": "PyTorch's kernel has softmax only, not entmax", "reference": None}
    told = capsys.readouterr().out
    assert "→ torch" in told
    assert "→ reference  runs this call" in told
    pinned = explain_choice(q, k, v, normalizer=Sparsemax(), backend="torch")
    assert pinned.chosen is None
    assert "backend pins torch" in capsys.readouterr().out
    with pytest.raises(ValueError, match="backend: got 'quick'"):
        explain_choice(q, k, v, backend="quick")
