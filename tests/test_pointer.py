"""Models that write and copy: the distribution against its definition, steps, padding, coverage, and learning."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regard.data.padding import pad
from regard.decode import greedy
from regard.models.copying import OpenEmbedding, Pointed, coverage_loss, extended, mixed_loss, mixture
from regard.models.pointer import PointerRNN, PointerTransformer

SIZE, UNK, EOS = 12, 3, 2
SOURCES = [[5, 12, 6, 13, 12, 2], [7, 12, 2], [8, 2]]
TARGETS = [[1, 12, 5, 13, 2], [1, 9, 2], [1, 3, 8, 2]]
KINDS = ["additive", "dot", "general", "concat", "transformer", "deep"]


def _model(kind: str, coverage: float = 0.5) -> Any:
    torch.manual_seed(0)
    options: dict[str, Any] = {"unknown": UNK, "coverage": coverage, "dropout": 0.2}
    if kind in KINDS[:4]:
        model: Any = PointerRNN(SIZE, embedding=6, dim=8, attention=kind, **options)
        if coverage:
            torch.nn.init.normal_(model.cover)
    else:
        layers = 1 if kind == "transformer" else 3
        shape: dict[str, Any] = {"encoder_layers": layers, "decoder_layers": layers, "positions": "rotary"}
        model = PointerTransformer(SIZE, dim=8, heads=2, hidden=16, **shape, **options)
    return model.double().eval()


def _loss(model: Any, sources: list[list[int]], targets: list[list[int]], extra: int = 0) -> torch.Tensor:
    (source, lengths), (target, target_lengths) = pad(sources, 0), pad(targets, 0)
    source, target = (torch.nn.functional.pad(side, (0, extra), value=7) for side in (source, target))
    return model(source, lengths, target, target_lengths, 0.0)


def _by_definition(pointed: Pointed, logits: torch.Tensor, row: int, token: int) -> float:
    gate = 1 / (1 + float((-pointed.gate[row]).exp()))
    write = float(logits[row].softmax(-1)[token]) if token < SIZE else 0.0
    mass = sum(float(w) for w, one in zip(pointed.weights[row], pointed.source[row], strict=True) if one == token)
    return gate * write + (1 - gate) * mass


def test_the_mixture_is_that_of_the_definition() -> None:
    torch.manual_seed(0)
    source = torch.tensor([[5, 12, 5, 13], [12, 13, 6, 6]])
    pointed = Pointed(torch.zeros(2, 1), torch.randn(2), torch.randn(2, 4).softmax(-1), source)
    logits = torch.randn(2, SIZE)
    for token in (4, 5, 6, 12, 13):
        both = mixture(logits, pointed, torch.tensor([token, token]))
        expected = torch.tensor([_by_definition(pointed, logits, row, token) for row in range(2)])
        torch.testing.assert_close(both.total.exp(), expected)
        torch.testing.assert_close(extended(logits, pointed)[:, token].exp(), expected)
        torch.testing.assert_close(both.share, both.copied.exp() / expected)
    torch.testing.assert_close(extended(logits, pointed).exp().sum(-1), torch.ones(2))
    loss = mixed_loss(logits, pointed, torch.tensor([5, 12]), 0.0)
    torch.testing.assert_close(-loss, extended(logits, pointed)[[0, 1], [5, 12]].sum())


def test_the_coverage_loss_is_the_overlap_with_earlier_weights() -> None:
    weights = torch.tensor([[[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]]])
    assert coverage_loss(weights, torch.tensor([[True, True, True]])).item() == 0.5 + 0.75
    assert coverage_loss(weights, torch.tensor([[True, True, False]])).item() == 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_neither_loss_nor_gradients(kind: str) -> None:
    losses, gradients = [], []
    for extra in (None, 0, 3):
        model = _model(kind)
        model.train()
        model.dropout.p = 0.0
        for part in model.modules():
            if hasattr(part, "p"):
                part.p = 0.0
        if extra is None:
            loss = sum(_loss(model, [s], [t]) for s, t in zip(SOURCES, TARGETS, strict=True))
        else:
            loss = _loss(model, SOURCES, TARGETS, extra)
        loss.backward()
        losses.append(loss.detach())
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(gradient is not None for gradient in gradients[0])
    for other in (1, 2):
        torch.testing.assert_close(losses[other], losses[0], atol=1e-10, rtol=0)
        torch.testing.assert_close(gradients[other], gradients[0], atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_equal_the_full_pass(kind: str) -> None:
    model = _model(kind)
    source, lengths = pad(SOURCES[:1], 0)
    target = torch.tensor(TARGETS[:1])
    weights, shares = model.copying(source, lengths, target)
    state, total = model.start(source, lengths), 0.0
    for at, (token, following) in enumerate(zip(TARGETS[0], TARGETS[0][1:], strict=False)):
        step = model.step(torch.tensor([token]), state)
        state = step.state
        assert step.logits.shape == (1, SIZE + 2)
        torch.testing.assert_close(step.logits.logsumexp(-1).item(), 0.0)
        torch.testing.assert_close(step.weights[0], weights[0, at], atol=1e-12, rtol=0)
        total -= step.logits[0, following].item()
    assert shares[0, [0, 2]].tolist() == [1.0, 1.0]  # words outside of the vocabulary are copied
    torch.testing.assert_close(_loss(model, SOURCES[:1], TARGETS[:1]).item(), total)


def test_all_steps_without_a_state_are_those_of_the_full_pass() -> None:
    model = _model("deep")
    source, lengths = pad(SOURCES, 0)
    target, _ = pad(TARGETS, 0)
    logits = model.following(source, lengths, target[:, :-1])
    assert logits.shape == (3, target.shape[1] - 1, SIZE + source.shape[1])
    torch.testing.assert_close(logits[0].logsumexp(-1), torch.zeros(4, dtype=torch.float64))
    weights, shares = model.copying(source, lengths, target)
    copied = logits[..., SIZE:].exp()
    torch.testing.assert_close(copied / copied.sum(-1, keepdim=True), weights)
    mass = (copied * (source[:, None] == target[:, 1:, None])).sum(-1)[0, 1]
    torch.testing.assert_close(mass / (mass + logits[0, 1, target[0, 2]].exp()), shares[0, 1])


def test_coverage_changes_the_attention_of_the_recurrent_model_only_after_the_first_step() -> None:
    source, lengths = pad(SOURCES[:1], 0)
    with_cover, without = _model("additive"), _model("additive", 0.0)
    without.load_state_dict({name: part for name, part in with_cover.state_dict().items() if name != "cover"})
    one, other = (model.copying(source, lengths, torch.tensor(TARGETS[:1]))[0] for model in (with_cover, without))
    torch.testing.assert_close(one[:, 0], other[:, 0])
    assert (one[:, 1:] - other[:, 1:]).abs().max() > 1e-3


def test_the_coverage_loss_is_a_part_of_training_only() -> None:
    model = _model("deep", 2.0)
    plain = _loss(model, SOURCES, TARGETS)
    model.train()
    for part in model.modules():
        if hasattr(part, "p"):
            part.p = 0.0
    source, lengths = pad(SOURCES, 0)
    target, target_lengths = pad(TARGETS, 0)
    real = torch.arange(target.shape[1] - 1) < target_lengths[:, None] - 1
    overlap = coverage_loss(model.copying(source, lengths, target)[0], real)
    torch.testing.assert_close(_loss(model, SOURCES, TARGETS), plain + 2.0 * overlap)


def test_a_model_without_attention_cannot_copy() -> None:
    with pytest.raises(ValueError, match="attention: a model that copies needs one"):
        PointerRNN(SIZE, unknown=UNK, embedding=6, dim=8, attention="none")


@pytest.mark.parametrize("kind", ["additive", "transformer"])
def test_a_model_learns_to_copy_a_word_that_it_has_never_seen(kind: str) -> None:
    """The target is the word after 4, which is always another one, outside of the vocabulary."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"unknown": UNK, "dropout": 0.0}
    model: Any = (
        PointerRNN(SIZE, embedding=16, dim=16, **options)
        if kind == "additive"
        else PointerTransformer(SIZE, dim=16, heads=2, hidden=32, encoder_layers=2, decoder_layers=1, **options)
    )

    def batch(count: int) -> tuple[list[list[int]], list[list[int]]]:
        sources, targets = [], []
        for _ in range(count):
            words = (SIZE + torch.randperm(4)).tolist()
            at = int(torch.randint(0, 4, ()))
            sources.append([*words[:at], 4, *words[at:], EOS])
            targets.append([1, words[at], EOS])
        return sources, targets

    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        loss = _loss(model, *batch(32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    sources, targets = batch(50)
    best = greedy(model.step, model.start(*pad(sources, 0)), torch.ones(50, dtype=torch.int64), eos=EOS, max_length=4)
    assert sum(one.tokens == target[1:-1] for one, target in zip(best, targets, strict=True)) >= 48


def test_the_pointer_prefers_what_follows_the_word_written_last() -> None:
    model = _model("transformer")
    torch.nn.init.zeros_(model.pointer.query.weight)
    torch.nn.init.zeros_(model.pointer.query.bias)
    source, lengths = pad([[5, 12, 6, 12, 2]], 0)
    weights, _ = model.copying(source, lengths, torch.tensor([[1, 12, 5, 13]]))
    follows = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 1, 0, 1], [0, 1, 0, 0, 0]])
    torch.testing.assert_close(weights[0], (model.onward * follows).softmax(-1))


def test_words_outside_of_the_vocabulary_have_embeddings_of_their_own() -> None:
    embedding = OpenEmbedding(SIZE, 4, UNK, (2, 3))
    known, unknown, first, second = embedding(torch.tensor([4, UNK, SIZE, SIZE + 5]))
    torch.testing.assert_close(known, embedding.weight[4])
    for number, vector in ((0, first), (5, second)):
        expected = unknown + embedding.groups.weight[number // 3] + embedding.others.weight[number]
        torch.testing.assert_close(vector, expected)
