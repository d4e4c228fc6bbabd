"""The translators, among them a recurrent one without attention: padding, steps, the loss, learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from job import VOCABULARY, run
from regard.data.padding import pad
from regard.decode import greedy
from regard.decode.step import select
from regard.models.rnn import RNNTranslator
from regard.models.transformer import TransformerTranslator

TRANSFORMERS: dict[str, dict[str, Any]] = {
    "transformer": {},
    "post, learned": {"order": "post", "positions": "learned", "longest": 16},
    "rotary": {"positions": "rotary", "encoder_layers": 1, "decoder_layers": 1},
}
KINDS = ["additive", "dot", "general", "concat", "none", *TRANSFORMERS]
SOURCES = [[3, 4, 5, 6, 7], [8, 9], [10]]
TARGETS = [[1, 11, 12], [1, 13, 14, 15, 16], [1]]


def _model(kind: Any) -> Any:
    torch.manual_seed(0)
    sizes = VOCABULARY, VOCABULARY + 2
    if kind in TRANSFORMERS:
        options: dict[str, Any] = {"encoder_layers": 2, "decoder_layers": 3, **TRANSFORMERS[kind]}
        model = TransformerTranslator(*sizes, dim=12, heads=3, hidden=20, dropout=0.2, attention_dropout=0.1, **options)
        return model.double().eval()
    return RNNTranslator(*sizes, embedding=11, dim=14, attention=kind, dropout=0.2).double().eval()


def _logits(model: Any, sources: list[list[int]], targets: list[list[int]], extra: int = 0) -> torch.Tensor:
    source, lengths = pad(sources, 0)
    target, target_lengths = pad([[*target, 2] for target in targets], 0)
    source = torch.nn.functional.pad(source, (0, extra), value=5)
    target = torch.nn.functional.pad(target, (0, extra), value=5)
    return model.logits(source, lengths, target, target_lengths)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_change_the_logits(kind: str) -> None:
    model = _model(kind)
    alone = torch.cat([_logits(model, [s], [t]) for s, t in zip(SOURCES, TARGETS, strict=True)])
    torch.testing.assert_close(_logits(model, SOURCES, TARGETS), alone, atol=1e-12, rtol=0)
    torch.testing.assert_close(_logits(model, SOURCES, TARGETS, extra=3), alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_change_the_gradients(kind: str) -> None:
    gradients = []
    for extra in (0, 3):
        model = _model(kind)
        _logits(model, SOURCES, TARGETS, extra).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*gradients, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_equal_the_full_pass(kind: str) -> None:
    model = _model(kind)
    full = _logits(model, SOURCES[:1], TARGETS[:1])
    state = model.start(*pad(SOURCES[:1], 0))
    for at, token in enumerate(TARGETS[0]):
        step = model.step(torch.tensor([token]), state)
        state = step.state
        torch.testing.assert_close(step.logits[0], full[at], atol=1e-12, rtol=0)
        if kind == "none":
            assert step.weights is None
        else:
            assert step.weights.shape == (1, 5)
            torch.testing.assert_close(step.weights.sum(), torch.tensor(1.0, dtype=torch.float64))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["additive", "transformer"])
def test_the_loss_is_the_cross_entropy_of_the_logits(kind: str, smoothing: float) -> None:
    model = _model(kind)
    source, target = pad(SOURCES, 0), pad([[*target, 2] for target in TARGETS], 0)
    loss = model(*source, *target, smoothing)
    labels = torch.tensor([token for row in TARGETS for token in [*row[1:], 2]])
    expected = torch.nn.functional.cross_entropy(
        model.logits(*source, *target), labels, reduction="sum", label_smoothing=smoothing
    )
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("kind", ["additive", *TRANSFORMERS])
def test_weights_of_padding_are_zero(kind: str) -> None:
    model = _model(kind)
    weights = model.step(torch.tensor([1, 1, 1]), model.start(*pad(SOURCES, 0))).weights
    assert torch.equal(weights > 0, torch.arange(5) < torch.tensor([[5], [2], [1]]))


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_selected_rows_of_a_state_continue_independently(kind: str) -> None:
    model, rows = _model(kind), torch.tensor([2, 0, 0])
    state = model.step(torch.tensor([1, 1, 1]), model.start(*pad(SOURCES, 0))).state
    selected = select(state, rows)
    step = model.step(torch.tensor([11, 12, 13]), selected)
    for at, row in enumerate(rows.tolist()):
        alone = model.step(torch.tensor([1]), model.start(*pad([SOURCES[row]], 0))).state
        expected = model.step(torch.tensor([11 + at]), alone)
        torch.testing.assert_close(step.logits[at], expected.logits[0], atol=1e-12, rtol=0)
    reordered = select(selected, torch.tensor([0, 2, 1]))
    assert reordered.encoded is selected.encoded  # the same sentences, which are not copied


@pytest.mark.parametrize("kind", ["gru", pytest.param("transformer", marks=pytest.mark.long)])
def test_translators_learn_to_reverse_a_sequence(tmp_path: Path, kind: str) -> None:
    rate = 2e-2 if kind == "gru" else 4e-3
    progress, task = run(tmp_path, kind=kind, dropout=0.0, epochs=60, learning_rate=rate, save_every=1000, clip=5.0)
    assert progress.figures["loss"] < 0.1
    model = task.model.eval()
    source, lengths = pad(task.rows, 0)
    outputs = greedy(
        model.step, model.start(source, lengths), torch.ones(len(task.rows), dtype=torch.int64), eos=2, max_length=12
    )
    correct = sum(output.tokens == row[::-1] for output, row in zip(outputs, task.rows, strict=True))
    assert correct > 0.9 * len(task.rows)


def test_wrong_models_are_refused() -> None:
    with pytest.raises(ValueError, match="dim: must be even"):
        RNNTranslator(5, 5, dim=7)
    with pytest.raises(ValueError, match="dropout: must be at least 0 and below 1, got 1"):
        RNNTranslator(5, 5, dropout=1)
    with pytest.raises(ValueError, match="dim: must be a positive multiple of heads, 3, got 8"):
        TransformerTranslator(5, 5, dim=8, heads=3)
    with pytest.raises(ValueError, match="attention_dropout: must be at least 0 and below 1, got 1"):
        TransformerTranslator(5, 5, attention_dropout=1)
    with pytest.raises(ValueError, match="encoder_layers, decoder_layers: must be positive, got 0, 1"):
        TransformerTranslator(5, 5, encoder_layers=0, decoder_layers=1)
