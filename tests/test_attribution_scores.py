"""Heads and scores of attributions, on numbers that are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dense_attribution import MODELS, Classifier, Dense, target
from model_families import FAMILIES, inputs
from regard.attribution import curves, head_ablation, head_importance, hit_rate, replaced, score
from regard.attribution.scores import BINS
from regard.errors import UserError

SHARES = torch.tensor([0.0, 0.05, 0.6, 0.0, 0.3, 0.05])


def _sum(keep: Tensor) -> Tensor:
    """A model whose probability is the sum of what is kept."""
    return keep.float() @ SHARES


@pytest.mark.parametrize("name", ["BERT", "GPT-2", "T5"])
def test_the_importance_of_a_head_is_that_of_its_weights(name: str) -> None:
    pytest.importorskip("transformers")
    at = MODELS[name]
    model = at.build()
    dense = Dense.run(at, model)
    model.set_attn_implementation("sdpa")  # type: ignore[operator]
    found = head_importance(model, at.given(), target)
    for heads, call, grad in zip(found.values(), dense.calls, dense.grads, strict=True):
        torch.testing.assert_close(heads, (call.weights * grad).sum((2, 3)).abs())


def test_ablation_is_that_of_columns_of_the_projection() -> None:
    model = Classifier("post").double().eval()
    given = [inputs("encoder")["plain"]["input_ids"]]
    full = model(*given)
    best = full.argmax(1)
    found = head_ablation(model, given)
    assert list(found) == [(f"layers.{number}.attend", 0) for number in range(3)]
    with torch.no_grad():
        weight: Any = model.get_submodule("layers.1.attend.output").weight
        kept = weight[:, 4:8].clone()
        weight[:, 4:8] = 0
        change = (full - model(*given)).gather(1, best[:, None])[:, 0]
        weight[:, 4:8] = kept
    torch.testing.assert_close(found["layers.1.attend", 0][:, 1], change)
    torch.testing.assert_close(model(*given), full)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_layer_that_runs_twice_has_heads_of_two_calls() -> None:
    pytest.importorskip("transformers")
    model = FAMILIES["ALBERT"].build()
    found = head_ablation(model, inputs("encoder")["plain"], target)
    (one, first), (other, second) = found
    assert (one, first, second) == (other, 0, 1)
    assert not torch.allclose(found[one, 0], found[one, 1])


def test_comprehensiveness_and_sufficiency_are_means_over_bins() -> None:
    # of six positions, the bins remove 1, 1, 1, 2 and 3
    removed = [0.6, 0.6, 0.6, 0.9, 0.95]
    found = score(_sum, SHARES)
    assert found.comprehensiveness == pytest.approx(sum(removed) / 5)
    assert found.sufficiency == pytest.approx(1 - sum(removed) / 5)
    assert len(BINS) == 5
    worst = score(_sum, -SHARES)
    assert worst.comprehensiveness < 0.1
    assert worst.sufficiency > 0.9


def test_positions_that_are_no_candidates_always_stay() -> None:
    candidates = SHARES != 0.6
    seen: list[Tensor] = []

    def watched(keep: Tensor) -> Tensor:
        seen.append(keep)
        return _sum(keep)

    found = score(watched, SHARES, candidates)
    assert all(bool(keep[:, 2].all()) for keep in seen)
    removed = [0.3, 0.3, 0.3, 0.3, 0.4]  # of five candidates: 1, 1, 1, 1, 3 positions
    assert found.comprehensiveness == pytest.approx(sum(removed) / 5)
    assert found.sufficiency == pytest.approx(0.4 - sum(removed) / 5)


def test_the_curves_go_from_everything_to_nothing() -> None:
    found = curves(_sum, SHARES, steps=3)
    torch.testing.assert_close(found.share, torch.tensor([0, 1 / 3, 2 / 3, 1]))
    torch.testing.assert_close(found.deletion, torch.tensor([1, 0.1, 0.0, 0.0]))
    torch.testing.assert_close(found.insertion, torch.tensor([0.0, 0.9, 1.0, 1.0]))
    areas = score(_sum, SHARES, steps=3)
    assert areas.deletion == pytest.approx((0.5 + 0.1) / 3)
    assert areas.insertion == pytest.approx((0.5 + 0.9 + 1.0) / 3)
    assert len(curves(_sum, SHARES, steps=50).share) == 7


def test_the_hit_rate_counts_deciding_positions_among_as_many_strongest() -> None:
    found = torch.tensor([[0.1, 0.5, 0.4], [0.6, 0.3, 0.1]])
    deciding = torch.tensor([[False, True, True], [False, True, False]])
    assert hit_rate(found, deciding).tolist() == [1.0, 0.0]
    assert hit_rate(found, deciding, torch.tensor([[True, False, True], [False, True, True]])).tolist() == [0.5, 1.0]


class Counted(nn.Module):
    """Two classes: how often token 5 occurs, and 0."""

    def forward(self, tokens: Tensor, shift: Tensor) -> Tensor:
        count = (tokens == 5).float().sum(1) + shift[:, 0]
        return torch.stack([count, torch.zeros_like(count)], 1)


def test_tokens_that_are_not_kept_are_replaced() -> None:
    given = {"tokens": torch.tensor([[5, 7, 5]]), "shift": torch.tensor([[1.0]])}
    keep = torch.tensor([[True, True, True], [False, True, True], [False, True, False]])
    for batch in (1, 2, 32):
        found = replaced(Counted(), given, token=0, batch_size=batch)(keep)
        torch.testing.assert_close(found, torch.tensor([3.0, 2.0, 1.0]).sigmoid())
    other = replaced(Counted(), list(given.values()), token=0, target=1)(keep)
    torch.testing.assert_close(other, torch.tensor([-3.0, -2.0, -1.0]).sigmoid())
    own = replaced(Counted(), given, token=5, target=lambda output: output[:, 0])(keep)
    torch.testing.assert_close(own, torch.tensor([3.0, 3.0, 3.0]))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UserError, match=r"attribution: expected \(L,\), and candidates the same, got \(1, 6\), None"):
        score(_sum, SHARES[None])
    with pytest.raises(UserError, match="candidates: there is no position that may be removed"):
        score(_sum, SHARES, SHARES > 2)
    with pytest.raises(UserError, match="attribution: a number is not finite"):
        score(_sum, SHARES / 0)
    with pytest.raises(UserError, match="steps: must be positive, got 0"):
        curves(_sum, SHARES, steps=0)
    with pytest.raises(UserError, match=r"deciding: must be boolean, \(1, 6\), with a position in each input"):
        hit_rate(SHARES[None], torch.zeros(1, 6, dtype=torch.bool))
    with pytest.raises(UserError, match=r"inputs: expected the tokens of a single input.*got shape \(2, 3\)"):
        replaced(Counted(), [torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 1)], token=0)
    with pytest.raises(UserError, match=r"inputs: expected the tokens of a single input.*got none"):
        replaced(Counted(), [torch.zeros(1, 3)], token=0)
