"""The language models: steps, causality, packed documents, the loss, learning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from regard.attend import Look
from regard.decode.step import select
from regard.models.language import LanguageModel, RecurrentLM, TransformerLM

SIZE = 23
KINDS: dict[str, dict[str, Any]] = {
    "rotary, gated, grouped": {"gated": True, "key_heads": 1, "layers": 3},
    "learned, plain": {"positions": "learned", "context": 19, "layers": 2},
    "lstm": {"layers": 2},
    "lstm without attention": {"attention": False, "layers": 1},
}


def _model(kind: str) -> Any:
    torch.manual_seed(0)
    if kind.startswith("lstm"):
        return RecurrentLM(SIZE, dim=14, dropout=0.2, **KINDS[kind]).double().eval()
    return TransformerLM(SIZE, dim=12, heads=3, hidden=20, dropout=0.2, **KINDS[kind]).double().eval()


def _tokens(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, SIZE, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [1, 5])
def test_steps_equal_the_full_pass(kind: str, first: int) -> None:
    model, tokens = _model(kind), _tokens(2, 11)
    full, state = model.logits(tokens), model.start(2, length=4)
    step = model.step(tokens[:, :first], state)
    torch.testing.assert_close(step.logits, full[:, first - 1], atol=1e-12, rtol=0)
    for at in range(first, 11):
        step = model.step(tokens[:, at], step.state)
        torch.testing.assert_close(step.logits, full[:, at], atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_selected_rows_of_a_state_continue_independently(kind: str) -> None:
    model, tokens = _model(kind), _tokens(3, 7)
    state = model.step(tokens[:, :6], model.start(3)).state
    step = model.step(tokens[[2, 0], 6], select(state, torch.tensor([2, 0])))
    torch.testing.assert_close(step.logits, model.logits(tokens)[[2, 0], -1], atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_token_sees_a_later_one(kind: str) -> None:
    model, tokens = _model(kind), _tokens(1, 9)
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % SIZE
    before, after = model.logits(tokens), model.logits(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6], atol=1e-12, rtol=0)
    assert (before[:, 6:] != after[:, 6:]).any(-1).all()


def test_packed_documents_do_not_see_each_other() -> None:
    model = _model("rotary, gated, grouped")
    one, two = _tokens(1, 5), _tokens(1, 6, seed=2)
    packed = model.logits(torch.cat([one, two], 1), torch.tensor([[3] * 5 + [4] * 6]))
    torch.testing.assert_close(packed[:, :5], model.logits(one), atol=1e-12, rtol=0)
    torch.testing.assert_close(packed[:, 5:], model.logits(two), atol=1e-12, rtol=0)


def test_the_recurrent_attention_stays_within_documents() -> None:
    model, tokens = _model("lstm"), _tokens(1, 8)
    documents = torch.tensor([[0] * 3 + [1] * 5])
    torch.testing.assert_close(model.logits(tokens, documents)[:, :3], model.logits(tokens[:, :3]))
    assert not torch.allclose(model.logits(tokens, documents)[:, 4:], model.logits(tokens)[:, 4:])


@pytest.mark.parametrize("kind", ["rotary, gated, grouped", "lstm"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_cross_entropy_of_the_logits(kind: str, smoothing: float) -> None:
    model, tokens, targets = _model(kind), _tokens(2, 11), _tokens(2, 11, seed=2)
    expected = F.cross_entropy(
        model.logits(tokens).flatten(0, 1), targets.flatten(), reduction="sum", label_smoothing=smoothing
    )
    torch.testing.assert_close(model(tokens, targets, None, smoothing), expected)


@pytest.mark.parametrize(("kind", "heads"), [("rotary, gated, grouped", 3), ("lstm", 1)])
def test_look_gives_causal_rows_that_sum_to_one(kind: str, heads: int) -> None:
    rows = _model(kind).look(_tokens(1, 7), -1, Look(rows=slice(None))).rows
    assert rows.shape == (1, heads, 7, 7)
    assert torch.equal(rows, rows.tril(0 if heads == 3 else -1))  # an LSTM's state does not look at itself
    torch.testing.assert_close(rows.sum(-1)[..., 1:], torch.ones(1, heads, 6, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_models_learn_to_recall_the_first_token(kind: str) -> None:
    torch.manual_seed(0)
    model: LanguageModel = RecurrentLM(SIZE, dim=32, layers=1)
    if kind == "transformer":
        model = TransformerLM(SIZE, dim=32, layers=2, heads=2, hidden=64, gated=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(301):
        tokens = torch.randint(1, SIZE, (64, 7), generator=torch.Generator().manual_seed(step))
        tokens[:, -1] = 0  # the query, to be answered with the first token
        logits = model.logits(tokens)[:, -1]
        optimizer.zero_grad()
        F.cross_entropy(logits, tokens[:, 0]).backward()
        optimizer.step()
    assert (logits.argmax(-1) == tokens[:, 0]).float().mean() > 0.95


def test_wrong_models_are_refused() -> None:
    with pytest.raises(ValueError, match="layers: must be positive, got 0"):
        TransformerLM(5, layers=0)
    with pytest.raises(ValueError, match="dropout: must be at least 0 and below 1, got 1"):
        RecurrentLM(5, dropout=1)
    with pytest.raises(ValueError, match="dim and layers must be positive, got 0, 2"):
        RecurrentLM(5, dim=0)
